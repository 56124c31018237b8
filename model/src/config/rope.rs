//! Rotary positions as configurations state them: `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling`
//! at the top level (transformers 4).
//!
//! Invariant: a kind of scaling that the network does not implement is refused.

use serde_json::{Value, json};

use super::fields::Fields;
use crate::error::ModelError;

/// Rotary position embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f64,
    /// How positions beyond the training length are brought back.
    pub scaling: RopeScaling,
}

/// Scaling of the rotary frequencies.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// As trained.
    None,
    /// Every position is divided by the factor.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3.1: low frequencies are divided, high ones kept, those between interpolated.
    Llama3 {
        /// The divisor of low frequencies.
        factor: f64,
        /// Wavelengths above `original_max_position / low_freq_factor` are divided.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_position / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// The training length before scaling.
        original_max_position: usize,
    },
}

impl Rope {
    pub(super) fn read(top: &Fields) -> Result<Self, ModelError> {
        let old = top.object("rope_scaling")?;
        let new = top.object("rope_parameters")?;
        let (group, name) = match (&new, &old) {
            (Some(fields), _) => (Some(fields), "rope_parameters"),
            (None, Some(fields)) => (Some(fields), "rope_scaling"),
            (None, None) => (None, "rope_scaling"),
        };
        let inner = |key: &str| group.map_or(Ok(None), |fields| fields.number(key));
        let theta = inner("rope_theta")?.map_or_else(|| top.number_or("rope_theta", 10_000.0), Ok)?;
        if theta <= 1.0 {
            return Err(ModelError::config("rope_theta", format!("is {theta}; it must be above 1")));
        }
        let partial =
            inner("partial_rotary_factor")?.map_or_else(|| top.number_or("partial_rotary_factor", 1.0), Ok)?;
        if partial != 1.0 {
            return Err(ModelError::config("partial_rotary_factor", format!("is {partial}; only 1 is supported")));
        }
        let Some(group) = group else { return Ok(Self { theta, scaling: RopeScaling::None }) };
        let kind = match group.text("rope_type")? {
            Some(kind) => kind,
            None => group.text("type")?.unwrap_or("default"),
        };
        let needed = |key: &str| {
            let number = group.number(key)?.filter(|number| *number > 0.0);
            number.ok_or_else(|| ModelError::config(format!("{name}.{key}"), "is absent or not above 0"))
        };
        let scaling = match kind {
            "default" => RopeScaling::None,
            "linear" => RopeScaling::Linear { factor: needed("factor")? },
            "llama3" => {
                let (low, high) = (needed("low_freq_factor")?, needed("high_freq_factor")?);
                if low >= high {
                    let reason = format!("is {high}, but must be above low_freq_factor, {low}");
                    return Err(ModelError::config(format!("{name}.high_freq_factor"), reason));
                }
                RopeScaling::Llama3 {
                    factor: needed("factor")?,
                    low_freq_factor: low,
                    high_freq_factor: high,
                    original_max_position: group.size("original_max_position_embeddings")?,
                }
            }
            other => {
                let reason = format!("'{other}' is not supported; use default, linear or llama3");
                return Err(ModelError::config(format!("{name}.rope_type"), reason));
            }
        };
        Ok(Self { theta, scaling })
    }

    /// `rope_scaling` of transformers 4: null, or the kind and its numbers.
    pub(super) fn scaling_json(&self) -> Value {
        match self.scaling {
            RopeScaling::None => Value::Null,
            RopeScaling::Linear { factor } => json!({ "rope_type": "linear", "factor": factor }),
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position } => json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low_freq_factor,
                "high_freq_factor": high_freq_factor,
                "original_max_position_embeddings": original_max_position,
            }),
        }
    }

    /// `rope_parameters` of transformers 5: theta stands beside the kind.
    pub(super) fn parameters_json(&self) -> Value {
        let mut parameters = match self.scaling_json() {
            Value::Null => json!({ "rope_type": "default" }),
            scaling => scaling,
        };
        parameters["rope_theta"] = json!(self.theta);
        parameters
    }
}
