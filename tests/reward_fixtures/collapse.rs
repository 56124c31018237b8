//! Reward collapse: optima, laws, distances, the monitor.

use serde_json::Value;

/// What the operation gives; `None` where it is not of this family.
pub(super) fn run(_op: &str, _input: &Value) -> Option<Value> {
    None
}
