//! Dawid and Skene's model: the agreed label of each item, and how each annotator confuses the classes.
//!
//! Invariant: posteriors, confusions and the prior are distributions; a label of nobody changes nothing.

/// What one annotator said of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// From 0.
    pub item: usize,
    /// From 0.
    pub annotator: usize,
    /// From 0, below the number of classes.
    pub class: usize,
}

/// The agreement of several annotators on several items.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreement {
    /// `[items][classes]` P(class | labels).
    pub posterior: Vec<Vec<f64>>,
    /// `[annotators][true class][said class]` P(said | true).
    pub confusion: Vec<Vec<Vec<f64>>>,
    /// `[classes]` shares of the classes.
    pub prior: Vec<f64>,
    /// Log-likelihood of the labels after each iteration, in nats.
    pub log_likelihood: Vec<f64>,
}

/// Expectation maximisation from the shares of each item's labels, each iteration M then E.
///
/// Dawid and Skene 1979, eqs. 2.3 to 2.5, with `alpha` > 0 added to every count (classes and confusions), so that a few
/// labels prove nothing for ever. Items without a label have the prior. Labels of a class from `classes` on are left
/// out. O(iterations · labels · classes) time.
pub fn dawid_skene(labels: &[Label], classes: usize, alpha: f64, iterations: usize) -> Agreement {
    let labels: Vec<Label> = labels.iter().filter(|label| label.class < classes).copied().collect();
    let items = labels.iter().map(|label| label.item + 1).max().unwrap_or(0);
    let annotators = labels.iter().map(|label| label.annotator + 1).max().unwrap_or(0);
    let mut votes = vec![vec![0.0; classes]; items];
    labels.iter().for_each(|label| votes[label.item][label.class] += 1.0);
    let labelled: Vec<bool> = votes.iter().map(|votes| votes.iter().sum::<f64>() > 0.0).collect();
    let share = |votes: Vec<f64>| normalised(votes, 1.0 / classes.max(1) as f64);
    let mut agreement = Agreement {
        posterior: votes.into_iter().map(share).collect(),
        confusion: vec![vec![vec![1.0 / classes.max(1) as f64; classes]; classes]; annotators],
        prior: vec![1.0 / classes.max(1) as f64; classes],
        log_likelihood: Vec::new(),
    };
    for _ in 0..iterations {
        agreement.maximise(&labels, &labelled, alpha);
        let log_likelihood = agreement.expect(&labels, &labelled);
        agreement.log_likelihood.push(log_likelihood);
    }
    agreement
}

impl Agreement {
    fn maximise(&mut self, labels: &[Label], labelled: &[bool], alpha: f64) {
        let classes = self.prior.len();
        let mut counts = vec![alpha; classes];
        for (posterior, _) in self.posterior.iter().zip(labelled).filter(|(_, labelled)| **labelled) {
            counts.iter_mut().zip(posterior).for_each(|(count, p)| *count += p);
        }
        self.prior = normalised(counts, 1.0 / classes.max(1) as f64);
        let mut confusion = vec![vec![vec![alpha; classes]; classes]; self.confusion.len()];
        for label in labels {
            let rows = confusion[label.annotator].iter_mut().zip(&self.posterior[label.item]);
            rows.for_each(|(row, p)| row[label.class] += p);
        }
        let rows = |rows: Vec<Vec<f64>>| rows.into_iter().map(|row| normalised(row, 1.0 / classes as f64)).collect();
        self.confusion = confusion.into_iter().map(rows).collect();
    }

    fn expect(&mut self, labels: &[Label], labelled: &[bool]) -> f64 {
        let fresh: Vec<f64> = self.prior.iter().map(|p| p.ln()).collect();
        let mut logs = vec![fresh; self.posterior.len()];
        for label in labels {
            let said = self.confusion[label.annotator].iter().map(|row| row[label.class].ln());
            logs[label.item].iter_mut().zip(said).for_each(|(log, said)| *log += said);
        }
        let mut total = 0.0;
        for ((log, posterior), labelled) in logs.into_iter().zip(&mut self.posterior).zip(labelled) {
            let top = log.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = log.iter().map(|log| (log - top).exp()).sum();
            *posterior = log.iter().map(|log| (log - top).exp() / sum).collect();
            if *labelled {
                total += top + sum.ln();
            }
        }
        total
    }
}

/// Divided by its sum; `empty` everywhere where the sum is 0.
fn normalised(values: Vec<f64>, empty: f64) -> Vec<f64> {
    let sum: f64 = values.iter().sum();
    values.into_iter().map(|value| if sum > 0.0 { value / sum } else { empty }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, Stream};

    #[test]
    fn the_agreed_label_beats_the_majority_where_some_guess_and_some_lie() {
        // 14 annotators, 2 at random, 2 who lie, the others right at 0.75; each labels a third of the items.
        let (mut agreed, mut majority, mut items) = (0.0, 0.0, 0.0);
        for seed in 0..5 {
            let mut stream = Stream::new(seed, Purpose::Evaluation, 0);
            let truth: Vec<usize> = (0..100).map(|_| stream.below(2)).collect();
            let right = |annotator: usize| [0.5, 0.5, 0.1, 0.1].get(annotator).copied().unwrap_or(0.75);
            let mut labels = Vec::new();
            for (item, &class) in truth.iter().enumerate() {
                for annotator in (0..14).filter(|_| stream.uniform() < 0.33).collect::<Vec<_>>() {
                    let class = if stream.uniform() < right(annotator) { class } else { 1 - class };
                    labels.push(Label { item, annotator, class });
                }
            }
            let agreement = dawid_skene(&labels, 2, 0.5, 30);
            for (item, &class) in truth.iter().enumerate() {
                let votes: Vec<f64> =
                    labels.iter().filter(|label| label.item == item).map(|label| label.class as f64 - 0.5).collect();
                let vote: f64 = votes.iter().sum();
                let (yes, posterior) = (class as f64 - 0.5, agreement.posterior.get(item).map_or(0.5, |p| p[1]));
                agreed += f64::from((posterior - 0.5) * yes > 0.0);
                majority += if vote == 0.0 { 0.5 } else { f64::from(vote * yes > 0.0) };
                items += 1.0;
            }
            assert!(agreement.log_likelihood.windows(2).all(|two| two[1] > two[0] - 0.5), "nearly rises (alpha)");
            let lies = agreement.confusion[2][0][1] + agreement.confusion[2][1][0];
            assert!(lies > 1.4, "the liar is found out: {:?}", agreement.confusion[2]);
        }
        // Near 0.88 against 0.77 of 500 items: standard error 0.02 each.
        assert!(agreed / items > majority / items + 0.04, "{} {}", agreed / items, majority / items);
    }

    #[test]
    fn no_labels_and_items_without_a_label_are_no_trouble() {
        assert!(dawid_skene(&[], 2, 0.01, 3).posterior.is_empty());
        let labels = [Label { item: 1, annotator: 0, class: 1 }, Label { item: 1, annotator: 0, class: 7 }];
        let agreement = dawid_skene(&labels, 2, 0.01, 3);
        let sums = agreement.posterior.iter().map(|posterior| posterior.iter().sum::<f64>());
        assert!(sums.into_iter().all(|sum| (sum - 1.0).abs() < 1e-12));
        assert!(agreement.posterior[1][1] > 0.9);
    }
}
