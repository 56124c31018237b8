//! How sure the reward model is of a score: a Bayesian last layer beside the learned one.
//!
//! Invariant: the covariance is symmetric to the last bit and positive on its diagonal, it only shrinks, and an event
//! enters it once, however often it is replayed. An update that would not be finite changes nothing but a count.
//!
//! The posterior of the last layer's weights is Gaussian, with the curvature of the likelihoods as its precision
//! (Laplace's approximation; MacKay 1992, "The evidence framework applied to classification networks"). Only the last
//! layer is treated so (Kristiadi, Hein, Hennig 2020, arXiv 2002.10118: enough against over-confidence far from the
//! data). With P = λ·I + Σ w·φφᵀ over all likelihood terms, a score φ·θ has the variance φᵀP⁻¹φ. The covariance P⁻¹ is
//! kept and brought up to date term by term (Sherman and Morrison 1950), M² operations each.
//!
//! Limits: where layers learn, features move and what was heard before speaks of old ones; it is not forgotten. The
//! curvature of a term is taken where the logits stood when the event was first learned from. A withdrawn rating stays
//! in until the learner is made anew from its events.

mod seen;
#[cfg(test)]
mod tests;
mod witness;

use tch::{Device, Kind, Tensor};

use seen::Seen;
use witness::Witness;
pub(super) use witness::witnesses;

use crate::error::LearningError;
use crate::rng::{Purpose, Stream};

/// Index of the projection among the streams of fresh weights.
const PROJECTION_STREAM: u64 = 2;

/// The posterior covariance of the last layer over projected features.
#[derive(Debug)]
pub(super) struct Epistemic {
    /// `[F, M]` f32, or nothing where `M = F` and features are taken as they are.
    projection: Option<Tensor>,
    /// `[M, M]` f64.
    covariance: Tensor,
    /// `[M]` f64: mean feature of the reference answers, whose mean score is 0 by definition.
    centre: Tensor,
    prior: f64,
    seen: Seen,
    skipped: u64,
}

impl Epistemic {
    /// Before any rating: covariance I/`prior`. `features` numbers are read of an answer; at most `dims` are kept.
    ///
    /// The projection is Gaussian and a function of `seed` (Johnson and Lindenstrauss 1984: lengths and angles are kept
    /// to about 1/√M), so it needs no saving.
    pub(super) fn new(features: usize, dims: usize, prior: f64, seed: u64) -> Self {
        let size = dims.min(features) as i64;
        let projection = (dims < features).then(|| {
            let mut stream = Stream::new(seed, Purpose::Init, PROJECTION_STREAM);
            let deviation = 1.0 / (size as f64).sqrt();
            let values: Vec<f32> = (0..features as i64 * size).map(|_| (deviation * stream.normal()) as f32).collect();
            Tensor::from_slice(&values).view([features as i64, size])
        });
        Self::under(projection, size, prior)
    }

    fn under(projection: Option<Tensor>, size: i64, prior: f64) -> Self {
        Self {
            projection,
            covariance: Tensor::eye(size, (Kind::Double, Device::Cpu)) / prior,
            centre: Tensor::zeros([size], (Kind::Double, Device::Cpu)),
            prior,
            seen: Seen::default(),
            skipped: 0,
        }
    }

    /// As before any rating.
    pub(super) fn fresh(&self) -> Self {
        Self::under(self.projection.as_ref().map(Tensor::shallow_clone), self.centre.size()[0], self.prior)
    }

    /// `[N, M]` f64 features, of length about 1, from the parts `[N, D]` that the head reads.
    ///
    /// Each part is brought to unit size first: they differ in scale by what the network's norms make of them, which
    /// says nothing about how much is known.
    pub(super) fn project(&self, parts: &[Tensor]) -> Tensor {
        let _guard = tch::no_grad_guard();
        let unit = |part: &Tensor| part / part.square().mean_dim(1, true, Kind::Float).clamp_min(1e-12).sqrt();
        let read = Tensor::cat(&parts.iter().map(unit).collect::<Vec<_>>(), 1).to_device(Device::Cpu);
        let read = &read / (read.size()[1] as f64).sqrt();
        match &self.projection {
            Some(projection) => read.matmul(projection).to_kind(Kind::Double),
            None => read.to_kind(Kind::Double),
        }
    }

    /// Sets where scores are 0: at the mean of the reference answers' `features` `[N, M]`.
    pub(super) fn centre_on(&mut self, features: &Tensor) {
        self.centre = features.mean_dim(0, false, Kind::Double);
    }

    /// Standard deviations of the raw scores of answers with `features` `[N, M]` against the reference answers' mean.
    pub(super) fn deviations(&self, features: &Tensor) -> Result<Vec<f64>, LearningError> {
        let _guard = tch::no_grad_guard();
        let from_centre = features - &self.centre;
        let variances = (from_centre.matmul(&self.covariance) * from_centre).sum_dim_intlist(1, false, Kind::Double);
        Ok(Vec::try_from(variances.clamp_min(0.0).sqrt())?)
    }

    /// Whether the event has not been heard yet.
    pub(super) fn is_new(&self, seq: u64) -> bool {
        !self.seen.contains(seq)
    }

    /// Hears an event's terms about answers with `features` `[N, M]`; nothing if it was heard before.
    pub(super) fn hear(&mut self, seq: u64, features: &Tensor, witnesses: &[Witness]) {
        if !self.seen.insert(seq) {
            return;
        }
        let _guard = tch::no_grad_guard();
        for witness in witnesses {
            let own = features.get(witness.answer as i64);
            let direction = match witness.against {
                Some(other) => own - features.get(other as i64),
                None => own,
            };
            self.shrink(&direction, witness.information);
        }
    }

    /// Σ − w·Σφφᵀ Σ / (1 + w·φᵀΣφ), for precision P + w·φφᵀ (Sherman and Morrison 1950).
    fn shrink(&mut self, direction: &Tensor, information: f64) {
        let reach = self.covariance.mv(direction);
        let variance = direction.dot(&reach).double_value(&[]);
        let share = information / (1.0 + information * variance);
        if !(information.is_finite() && information >= 0.0 && variance.is_finite() && variance >= 0.0) {
            self.skipped += 1;
            return;
        }
        // One vector on both sides: x·y and y·x are the same number, so symmetry is exact.
        let step = reach * share.sqrt();
        let next = &self.covariance - step.outer(&step);
        let least = next.diag(0).min().double_value(&[]);
        if least > 0.0 && least.is_finite() {
            self.covariance = next;
        } else {
            self.skipped += 1;
        }
    }

    /// Updates that were left out for numerical reasons.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Covariance `[M, M]` f64, centre `[M]` f64 and the ranges of heard events `[R, 2]` i64.
    pub(super) fn tensors(&self) -> Vec<(String, Tensor)> {
        vec![
            (COVARIANCE.to_owned(), self.covariance.shallow_clone()),
            (CENTRE.to_owned(), self.centre.shallow_clone()),
            (SEEN.to_owned(), self.seen.to_tensor()),
        ]
    }

    /// What [`Epistemic::tensors`] gave, under the same projection; a state that does not fit is refused.
    pub(super) fn restored(&self, saved: &[(String, Tensor)], skipped: u64) -> Result<Self, LearningError> {
        let find = |name: &str, like: &Tensor| {
            let tensor = &saved.iter().find(|(own, _)| own == name).ok_or_else(|| missing(name))?.1;
            if tensor.kind() != Kind::Double || tensor.size() != like.size() {
                let problem =
                    format!("is {:?} {:?} where {:?} f64 is wanted", tensor.size(), tensor.kind(), like.size());
                return Err(LearningError::state(name, problem));
            }
            match tensor.isfinite().all().int64_value(&[]) {
                0 => Err(LearningError::state(name, "holds numbers that are not finite")),
                _ => Ok(tensor.to_device(Device::Cpu).copy()),
            }
        };
        let covariance = find(COVARIANCE, &self.covariance)?;
        if covariance != covariance.tr() || covariance.diag(0).min().double_value(&[]) <= 0.0 {
            return Err(LearningError::state(
                COVARIANCE,
                "is no covariance: it is not symmetric with a positive diagonal",
            ));
        }
        let ranges = &saved.iter().find(|(own, _)| own == SEEN).ok_or_else(|| missing(SEEN))?.1;
        let (centre, seen) = (find(CENTRE, &self.centre)?, Seen::from_tensor(ranges)?);
        Ok(Self { covariance, centre, seen, skipped, ..self.fresh() })
    }
}

const COVARIANCE: &str = "covariance";
const CENTRE: &str = "centre";
const SEEN: &str = "seen";

fn missing(name: &str) -> LearningError {
    LearningError::state(name, "is missing")
}
