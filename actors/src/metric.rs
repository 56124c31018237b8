//! Names of the metrics of links and supervision.
//!
//! Invariant: a metric is named here once, with its labels, and described in docs/METRICS.md under the same name.

/// Gauge, items waiting in a link. Label `queue`.
pub const QUEUE_DEPTH: &str = "understudy_queue_depth";
/// Gauge, items that a link can hold. Label `queue`.
pub const QUEUE_CAPACITY: &str = "understudy_queue_capacity";
/// Counter, items that a link refused at its edge. Labels `queue`, `reason` (`full`, `closed`).
pub const QUEUE_REFUSED: &str = "understudy_queue_refused_total";
/// Counter, items that a feed forgot because a subscriber was slow. Label `queue`.
pub const FEED_FORGOTTEN: &str = "understudy_feed_forgotten_total";
/// Counter, requests dropped at dequeue. Labels `queue`, `reason` (`expired`, `abandoned`).
pub const REQUEST_DROPPED: &str = "understudy_request_dropped_total";
/// Gauge, samples that the staleness gate would still admit.
pub const PACE_ROOM: &str = "understudy_pace_room";
/// Counter, new incarnations after the first. Label `actor`.
pub const ACTOR_RESTARTS: &str = "understudy_actor_restarts_total";
/// Counter, ends of incarnations. Labels `actor`, `exit` (`finished`, `failed`, `panicked`, `stuck`).
pub const ACTOR_EXITS: &str = "understudy_actor_exits_total";
/// Counter, messages that were kept because an actor died with them in hand. Label `actor`.
pub const QUARANTINED: &str = "understudy_quarantined_total";
/// Counter, violated invariants. Label `invariant`.
pub const INVARIANT_VIOLATIONS: &str = "understudy_invariant_violations_total";
