//! −log P(what was said) of each event of a batch, and of its reversal, as functions of the answers' logits and of each
//! speaker's temperature and shift.
//!
//! Invariant: an event's likelihood depends on its own speaker's numbers only, so its gradient by them is its own.

use tch::{Device, Kind, Tensor};

use super::losses::crowd::{reversal_mixture_nll, temper_bt_nll};
use super::losses::davidson::{Choice, davidson_nll};
use super::losses::ordinal::{cumulative_logit_nll, level_log_probabilities, rising_thresholds};
use super::losses::plackett_luce::{Ties, plackett_luce_nll};
use super::losses::thumbs::thumbs_nll;
use super::said::{Said, Statements};
use super::terms::LEVELS;

/// What everybody shares beside the scores: thresholds on their scale, and how readily two are called equal.
#[derive(Debug)]
pub(super) struct Scale {
    /// `[LEVELS − 1]` free numbers behind the rising thresholds of grades.
    pub(super) grades: Tensor,
    /// `[1]` threshold of thumbs.
    pub(super) thumb: Tensor,
    /// `[1]` threshold of marked lines.
    pub(super) line: Tensor,
    /// `[1]` log of Davidson's nu.
    pub(super) tie: Tensor,
}

impl Scale {
    /// The same numbers, out of reach of gradients.
    pub(super) fn detached(&self) -> Self {
        let Self { grades, thumb, line, tie } = self;
        Self { grades: grades.detach(), thumb: thumb.detach(), line: line.detach(), tie: tie.detach() }
    }
}

/// The numbers of the speakers by event: tensors `[E]` in the order of [`Statements::speaking`].
#[derive(Debug)]
pub(super) struct Speakers {
    /// Probability that what was said is meant.
    pub(super) eta: Tensor,
    /// Temperature: the slope of choices.
    pub(super) beta: Tensor,
    /// Shift of grades, thumbs and marks: above 0 is strict.
    pub(super) shift: Tensor,
}

/// Events of one form: their rows among the speaking events.
#[derive(Default)]
struct Forms<'a> {
    orders: Vec<(usize, &'a [usize], &'a [i64])>,
    wins: Vec<(usize, usize, usize)>,
    ties: Vec<(usize, usize, usize)>,
    pairs: Vec<(usize, usize, usize, f64)>,
    grades: Vec<(usize, usize, &'a [f64])>,
    thumbs: Vec<(usize, usize, bool)>,
    lines: Vec<(usize, usize, bool)>,
}

impl<'a> Forms<'a> {
    fn of(statements: &'a Statements) -> Self {
        let mut forms = Self::default();
        for (row, said) in statements.said.iter().flatten().enumerate() {
            match said {
                Said::Order { answers, ranks, .. } => forms.orders.push((row, answers, ranks)),
                Said::Two { first, second, outcome: Choice::Tie } => forms.ties.push((row, *first, *second)),
                Said::Two { first, second, .. } => forms.wins.push((row, *first, *second)),
                Said::Pair { better, worse, strength } => forms.pairs.push((row, *better, *worse, *strength)),
                Said::Grade { answer, shares, .. } => forms.grades.push((row, *answer, shares)),
                Said::Thumb { answer, up } => forms.thumbs.push((row, *answer, *up)),
                Said::Lines { marks } => forms.lines.extend(marks.iter().map(|(answer, right)| (row, *answer, *right))),
            }
        }
        forms
    }
}

/// `[E]` −log(eta·P(said) + (1 − eta)·P(the reverse)) of the speaking events, in order.
///
/// Comparisons by Bradley and Terry, with a margin for strength (Touvron et al. 2023, eq. 2), or by Davidson where they
/// could tie; rankings by Plackett and Luce with exact ties; grades by cumulative logits (McCullagh 1980); thumbs and
/// marked lines by a logit with a threshold. Differences are multiplied by the speaker's beta, thresholds moved by the
/// speaker's shift. The reverse swaps a comparison, turns a ranking round, mirrors the grades, and denies thumbs and
/// marks. `logits`: `[N]` of the batch's answers; margin: logits by unit of strength beyond 1.
pub(super) fn event_nll(
    statements: &Statements,
    logits: &Tensor,
    scale: &Scale,
    speakers: &Speakers,
    margin: f64,
) -> Tensor {
    let forms = Forms::of(statements);
    let parts = Parts { logits, speakers, device: logits.device(), kind: logits.kind() };
    let mut rows: Vec<i64> = Vec::new();
    let (mut said, mut reversed) = (Vec::new(), Vec::new());
    let mut add = |of: &mut dyn Iterator<Item = usize>, nll: [Tensor; 2]| {
        rows.extend(of.map(|row| row as i64));
        let [meant, turned] = nll;
        said.push(meant);
        reversed.push(turned);
    };
    for (row, answers, ranks) in forms.orders {
        add(&mut [row].into_iter(), parts.order(row, answers, ranks));
    }
    if !forms.wins.is_empty() {
        let d = parts.differences(&forms.wins);
        let nll = |outcome| davidson_nll(&d, &scale.tie, outcome);
        add(&mut forms.wins.iter().map(|win| win.0), [nll(Choice::Win), nll(Choice::Loss)]);
    }
    if !forms.ties.is_empty() {
        let nll = davidson_nll(&parts.differences(&forms.ties), &scale.tie, Choice::Tie);
        add(&mut forms.ties.iter().map(|tie| tie.0), [nll.shallow_clone(), nll]);
    }
    if !forms.pairs.is_empty() {
        add(&mut forms.pairs.iter().map(|pair| pair.0), parts.pairs(&forms.pairs, margin));
    }
    if !forms.grades.is_empty() {
        add(&mut forms.grades.iter().map(|grade| grade.0), parts.grades(&forms.grades, &scale.grades));
    }
    if !forms.thumbs.is_empty() {
        add(&mut forms.thumbs.iter().map(|thumb| thumb.0), parts.thumbs(&forms.thumbs, &scale.thumb));
    }
    if !forms.lines.is_empty() {
        let mut events: Vec<usize> = forms.lines.iter().map(|line| line.0).collect();
        events.dedup();
        let nll = parts.thumbs(&forms.lines, &scale.line).map(|nll| parts.sums(&nll, &forms.lines, &events));
        add(&mut events.iter().copied(), nll);
    }
    let mut order = vec![0i64; rows.len()];
    rows.iter().enumerate().for_each(|(place, row)| order[*row as usize] = place as i64);
    let order = Tensor::from_slice(&order).to_device(parts.device);
    let in_order = |parts: &[Tensor]| Tensor::cat(parts, 0).index_select(0, &order);
    reversal_mixture_nll(&in_order(&said), &in_order(&reversed), &speakers.eta)
}

/// The tensors that every form needs.
struct Parts<'a> {
    logits: &'a Tensor,
    speakers: &'a Speakers,
    device: Device,
    kind: Kind,
}

impl Parts<'_> {
    fn pick(&self, from: &Tensor, places: impl Iterator<Item = usize>) -> Tensor {
        let places: Vec<i64> = places.map(|place| place as i64).collect();
        from.index_select(0, &Tensor::from_slice(&places).to_device(self.device))
    }

    fn numbers(&self, values: impl Iterator<Item = f64>) -> Tensor {
        Tensor::from_slice(&values.collect::<Vec<f64>>()).to_kind(self.kind).to_device(self.device)
    }

    fn order(&self, row: usize, answers: &[usize], ranks: &[i64]) -> [Tensor; 2] {
        let z = self.pick(self.logits, answers.iter().copied()) * self.speakers.beta.get(row as i64);
        let turned: Vec<i64> = ranks.iter().map(|rank| -rank).collect();
        [ranks, turned.as_slice()].map(|ranks| plackett_luce_nll(&z, ranks, Ties::Exact, None).reshape([1]))
    }

    /// beta·(z_first − z_second).
    fn differences(&self, of: &[(usize, usize, usize)]) -> Tensor {
        let first = self.pick(self.logits, of.iter().map(|two| two.1));
        let second = self.pick(self.logits, of.iter().map(|two| two.2));
        (first - second) * self.pick(&self.speakers.beta, of.iter().map(|two| two.0))
    }

    fn pairs(&self, of: &[(usize, usize, usize, f64)], margin: f64) -> [Tensor; 2] {
        let plain: Vec<(usize, usize, usize)> = of.iter().map(|pair| (pair.0, pair.1, pair.2)).collect();
        let d = self.differences(&plain);
        let margin = self.numbers(of.iter().map(|pair| margin * (pair.3 - 1.0)));
        let one = Tensor::from(1f32).to_kind(self.kind).to_device(self.device);
        [temper_bt_nll(&(&d - &margin), &one), temper_bt_nll(&(-d - margin), &one)]
    }

    fn grades(&self, of: &[(usize, usize, &[f64])], free: &Tensor) -> [Tensor; 2] {
        let scores = self.pick(self.logits, of.iter().map(|grade| grade.1));
        let own = |numbers: &Tensor| self.pick(numbers, of.iter().map(|grade| grade.0)).unsqueeze(1);
        let (beta, shift) = (own(&self.speakers.beta), own(&self.speakers.shift));
        let log_p = level_log_probabilities(&scores, &rising_thresholds(free), &beta, &shift);
        let shares = self.numbers(of.iter().flat_map(|grade| grade.2.iter().copied())).view([-1, LEVELS as i64]);
        [cumulative_logit_nll(&log_p, &shares), cumulative_logit_nll(&log_p, &shares.flip([1]))]
    }

    fn thumbs(&self, of: &[(usize, usize, bool)], threshold: &Tensor) -> [Tensor; 2] {
        let own = |numbers: &Tensor| self.pick(numbers, of.iter().map(|thumb| thumb.0));
        let beta = own(&self.speakers.beta);
        let scores = (self.pick(self.logits, of.iter().map(|thumb| thumb.1)) - own(&self.speakers.shift)) * &beta;
        let up = self.numbers(of.iter().map(|thumb| if thumb.2 { 1.0 } else { 0.0 }));
        let threshold = beta * threshold;
        [thumbs_nll(&scores, &up, &threshold, 1.0), thumbs_nll(&scores, &(1.0 - up), &threshold, 1.0)]
    }

    /// `[events]` sums of the marks' terms by event: what is meant in one line is meant in all.
    fn sums(&self, terms: &Tensor, of: &[(usize, usize, bool)], events: &[usize]) -> Tensor {
        let member = |event: &usize| of.iter().map(|line| if line.0 == *event { 1.0 } else { 0.0 }).collect::<Vec<_>>();
        let member = self.numbers(events.iter().flat_map(member)).view([events.len() as i64, -1]);
        member.mv(terms)
    }
}
