//! How a set of prompts stands: distance to each one's optimum, spread within and between groups.
//!
//! Invariant: a pure function of sorted rewards; groups are compared by their mean sorted curves.

use std::collections::BTreeMap;

use super::wasserstein::{Curve, barycentre};

/// A reward closer than this to 0 or 1 is saturated: its logit hardly learns.
pub const SATURATED: f64 = 0.01;

/// The rewards of one prompt's answers, where its loss would take them, and its group.
#[derive(Debug, Clone, Copy)]
pub struct Prompt<'a> {
    /// Rewards in `[0, 1]`, any order, at least one.
    pub rewards: &'a [f64],
    /// The optimum of the prompt's own loss, any order, at least one.
    pub optimum: &'a [f64],
    /// Name of the group.
    pub group: &'a str,
}

/// Two groups apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Between {
    /// W1 between the groups' mean sorted rewards.
    pub between: f64,
    /// The same for their optima: what the loss asks for.
    pub wanted: f64,
}

/// How a set of prompts stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// W1 of each prompt's rewards to its optimum, in the order given.
    pub to_optimum: Vec<f64>,
    /// By group: mean W1 of its prompts to its barycentre.
    pub within: BTreeMap<String, f64>,
    /// Mean W1 of all prompts to the barycentre of all.
    pub dispersion: f64,
    /// By pair of groups, in alphabetical order.
    pub between: BTreeMap<(String, String), Between>,
    /// By group: the mean sorted rewards.
    pub barycentre: BTreeMap<String, Curve>,
    /// By group: the mean of [`rho`] over its prompts; without those that have none.
    pub rho: BTreeMap<String, f64>,
    /// Share of rewards within [`SATURATED`] of 0 or 1.
    pub saturation: f64,
}

/// variance / (mean·(1 − mean)) of rewards in `[0, 1]`: 1 for two points, 1/3 for an even spread; `None` when all are 0 or
/// all are 1.
pub fn rho(rewards: &[f64]) -> Option<f64> {
    let n = rewards.len() as f64;
    let mean = rewards.iter().sum::<f64>() / n;
    let variance = rewards.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / n;
    let most = mean * (1.0 - mean);
    (most > 0.0).then(|| variance / most)
}

/// The mean, or `None` of none.
pub(super) fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.into_iter().fold((0.0, 0usize), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

/// Share of rewards within [`SATURATED`] of 0 or 1.
pub fn saturation<'a>(rewards: impl IntoIterator<Item = &'a f64>) -> Option<f64> {
    mean(rewards.into_iter().map(|&r| f64::from(u8::from(!(SATURATED..=1.0 - SATURATED).contains(&r)))))
}

/// How `prompts` stand; `None` of none.
pub fn picture(prompts: &[Prompt<'_>]) -> Option<Picture> {
    let curves: Vec<Curve> = prompts.iter().map(|prompt| Curve::of_sample(prompt.rewards)).collect();
    let optima: Vec<Curve> = prompts.iter().map(|prompt| Curve::of_sample(prompt.optimum)).collect();
    let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    prompts.iter().enumerate().for_each(|(i, prompt)| members.entry(prompt.group).or_default().push(i));
    let centres = |curves: &[Curve]| -> BTreeMap<String, Curve> {
        let centre = |places: &[usize]| barycentre(places.iter().map(|&i| &curves[i]));
        members.iter().filter_map(|(name, places)| Some(((*name).to_owned(), centre(places)?))).collect()
    };
    let (barycentres, wanted) = (centres(&curves), centres(&optima));
    let grand = barycentre(&curves)?;
    let within = members.iter().filter_map(|(name, places)| {
        let to_centre = mean(places.iter().map(|&i| curves[i].distance(&barycentres[*name])))?;
        Some(((*name).to_owned(), to_centre))
    });
    let rhos = members.iter().filter_map(|(name, places)| {
        Some(((*name).to_owned(), mean(places.iter().filter_map(|&i| rho(prompts[i].rewards)))?))
    });
    let names: Vec<&String> = barycentres.keys().collect();
    let pairs = names.iter().enumerate().flat_map(|(i, &a)| names[i + 1..].iter().map(move |&b| (a, b)));
    let between = pairs.map(|(a, b)| {
        let apart = |centres: &BTreeMap<String, Curve>| centres[a].distance(&centres[b]);
        ((a.clone(), b.clone()), Between { between: apart(&barycentres), wanted: apart(&wanted) })
    });
    Some(Picture {
        to_optimum: curves.iter().zip(&optima).map(|(curve, optimum)| curve.distance(optimum)).collect(),
        within: within.collect(),
        dispersion: mean(curves.iter().map(|curve| curve.distance(&grand)))?,
        between: between.collect(),
        rho: rhos.collect(),
        saturation: saturation(prompts.iter().flat_map(|prompt| prompt.rewards))?,
        barycentre: barycentres,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_two_groups_by_hand() {
        let prompt = |rewards, group| Prompt { rewards, optimum: &[0.0, 1.0], group };
        let seen = picture(&[prompt(&[1.0, 0.0], "a"), prompt(&[0.25, 0.75], "b"), prompt(&[0.75, 0.75], "b")]);
        let seen = seen.expect("three prompts");
        assert_eq!(seen.to_optimum, [0.0, 0.25, 0.5]);
        assert_eq!(seen.within["b"], 0.125, "barycentre 0.5, 0.75: 0.125 from either");
        let apart = seen.between[&("a".to_owned(), "b".to_owned())];
        assert_eq!((apart.between, apart.wanted), (0.375, 0.0));
        assert_eq!(seen.rho["a"], 1.0);
        assert!((seen.saturation - 1.0 / 3.0).abs() < 1e-15);
        assert!(picture(&[]).is_none());
        assert_eq!(rho(&[1.0, 1.0]), None);
    }
}
