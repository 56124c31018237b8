//! Fail points: places where a test, or an operator who rehearses, makes the code fail.
//!
//! Invariant: a handle is an argument, so two universes in one process never see each other's rules; `Failpoints::off()`
//! (the default) costs one comparison a hit. Names are `actor.before` and `actor.after`, around each unit of work.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use understudy_model::rng::{Purpose, Stream};

use crate::error::ActorError;
use crate::locked::locked;

/// What the daemon's actors do in one unit each: a fail point stands before and after it.
pub const UNITS: [&str; 9] =
    ["policy", "feedback", "reward", "score", "learn", "ppo", "checkpoint", "source", "annotator"];
/// Where the points of a unit stand.
pub const SIDES: [&str; 2] = ["before", "after"];

/// What happens at a fail point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The code there panics.
    Panic,
    /// [`Failpoints::hit`] returns an error.
    Error,
    /// [`Failpoints::pass`] waits so long first, in simulated time under test; `hit` ignores it.
    Delay(Duration),
}

/// Which hits are meant, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Each one.
    Always,
    /// Only this one.
    Nth(u64),
    /// This one and all later ones.
    From(u64),
    /// Each n-th.
    Every(u64),
    /// One in `odds` on average, drawn by `seed`: the same hits each time.
    OneIn {
        /// At least 1.
        odds: u64,
        /// Of the draws.
        seed: u64,
    },
}

/// The error that a fail point injected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("fail point '{point}' failed on purpose at hit {hit}")]
pub struct Injected {
    /// The fail point's name.
    pub point: String,
    /// Which hit it was, from 1.
    pub hit: u64,
}

/// The rules of one universe. Clones are the same rules.
#[derive(Debug, Clone, Default)]
pub struct Failpoints(Option<Arc<Mutex<Rules>>>);

#[derive(Debug, Default)]
struct Rules {
    rules: Vec<(String, When, Action)>,
    hits: BTreeMap<String, u64>,
}

impl Failpoints {
    /// None, for ever: nothing is counted.
    pub fn off() -> Self {
        Self(None)
    }

    /// None yet: hits are counted and rules can be set.
    pub fn armed() -> Self {
        Self(Some(Arc::default()))
    }

    /// Adds a rule; a handle that is `off` ignores it.
    pub fn set(&self, point: &str, when: When, action: Action) {
        if let Some(rules) = &self.0 {
            locked(rules).rules.push((point.to_owned(), when, action));
        }
    }

    /// Drops all rules of a point.
    pub fn clear(&self, point: &str) {
        if let Some(rules) = &self.0 {
            locked(rules).rules.retain(|(name, ..)| name != point);
        }
    }

    /// How often the point was reached.
    pub fn hits(&self, point: &str) -> u64 {
        self.0.as_ref().map_or(0, |rules| locked(rules).hits.get(point).copied().unwrap_or(0))
    }

    /// The point is reached.
    pub fn hit(&self, point: &str) -> Result<(), Injected> {
        self.reach(point).1
    }

    /// The point is reached with a message: `point`, and `point(message)`, where a poison message can be made.
    pub fn hit_for(&self, point: &str, message: impl Display) -> Result<(), Injected> {
        self.hit(point)?;
        self.hit_message(point, message)
    }

    /// The point is reached with one more message: `point(message)` alone.
    pub fn hit_message(&self, point: &str, message: impl Display) -> Result<(), Injected> {
        match self.0 {
            Some(_) => self.hit(&format!("{point}({message})")),
            None => Ok(()),
        }
    }

    /// The point is reached by code that can wait.
    pub async fn pass(&self, point: &str) -> Result<(), Injected> {
        let (delay, outcome) = self.reach(point);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        outcome
    }

    fn reach(&self, point: &str) -> (Duration, Result<(), Injected>) {
        let Some(rules) = &self.0 else { return (Duration::ZERO, Ok(())) };
        let (hit, meant) = {
            let mut rules = locked(rules);
            let hits = rules.hits.entry(point.to_owned()).or_default();
            *hits += 1;
            let hit = *hits;
            let meant: Vec<Action> = rules
                .rules
                .iter()
                .filter(|(name, when, _)| name == point && when.means(hit))
                .map(|(_, _, action)| action.clone())
                .collect();
            (hit, meant)
        };
        let mut delay = Duration::ZERO;
        let mut outcome = Ok(());
        for action in meant {
            match action {
                Action::Panic => panic!("fail point '{point}' panicked on purpose at hit {hit}"),
                Action::Error => outcome = Err(Injected { point: point.to_owned(), hit }),
                Action::Delay(more) => delay += more,
            }
        }
        (delay, outcome)
    }
}

impl When {
    fn means(self, hit: u64) -> bool {
        match self {
            Self::Always => true,
            Self::Nth(n) => hit == n,
            Self::From(n) => hit >= n,
            Self::Every(n) => n > 0 && hit.is_multiple_of(n),
            Self::OneIn { odds, seed } => {
                odds > 0 && Stream::new(seed, Purpose::Backoff, hit).below(odds as usize) == 0
            }
        }
    }
}

/// `policy.before=panic@2; reward.after=error%10; ppo.before=delay:50@3+; score.after=panic~100:7` (one in 100, by seed 7):
/// separated by semicolons.
impl FromStr for Failpoints {
    type Err = ActorError;

    fn from_str(text: &str) -> Result<Self, ActorError> {
        let points = Self::armed();
        for rule in text.split(';').map(str::trim).filter(|rule| !rule.is_empty()) {
            let (name, when, action) = parse(rule).ok_or_else(|| ActorError::FailpointRule(rule.to_owned()))?;
            points.set(name, when, action);
        }
        Ok(points)
    }
}

fn parse(rule: &str) -> Option<(&str, When, Action)> {
    let (name, rest) = rule.split_once('=')?;
    let (action, when) = if let Some((action, hits)) = rest.split_once('@') {
        match hits.strip_suffix('+') {
            Some(first) => (action, When::From(first.parse().ok()?)),
            None => (action, When::Nth(hits.parse().ok()?)),
        }
    } else if let Some((action, every)) = rest.split_once('%') {
        (action, When::Every(every.parse().ok()?))
    } else if let Some((action, chance)) = rest.split_once('~') {
        let (odds, seed) = chance.split_once(':')?;
        (action, When::OneIn { odds: odds.parse().ok()?, seed: seed.parse().ok()? })
    } else {
        (rest, When::Always)
    };
    let action = match action {
        "panic" => Action::Panic,
        "error" => Action::Error,
        other => Action::Delay(Duration::from_millis(other.strip_prefix("delay:")?.parse().ok()?)),
    };
    (!name.is_empty()).then_some((name, when, action))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn rules_mean_the_hits_that_they_name() {
        let points: Failpoints = "a=error@2; b=error%3; c=error@2+; d=delay:1500".parse().unwrap();
        let failed = |point: &str| (1..=6).filter(|_| points.hit(point).is_err()).count();
        assert_eq!([failed("a"), failed("b"), failed("c"), failed("other")], [1, 2, 5, 0]);
        assert_eq!(points.hits("b"), 6);
        let began = tokio::time::Instant::now();
        points.pass("d").await.unwrap();
        assert_eq!(began.elapsed(), Duration::from_millis(1500));
        points.clear("c");
        assert_eq!(points.hit("c"), Ok(()));
    }

    #[test]
    #[should_panic(expected = "fail point 'policy.before' panicked on purpose at hit 2")]
    fn a_panic_names_the_point_and_the_hit() {
        let points = Failpoints::armed();
        points.set("policy.before", When::Nth(2), Action::Panic);
        assert!(points.hit("policy.before").is_ok());
        let _ = points.hit("policy.before");
    }

    #[test]
    fn one_in_n_is_about_that_many_and_the_same_ones_each_time() {
        let hits = |seed: &str| {
            let points: Failpoints = format!("a=error~20:{seed}").parse().unwrap();
            (1..=2000).filter(|_| points.hit("a").is_err()).collect::<Vec<u32>>()
        };
        let (one, other) = (hits("1"), hits("2"));
        assert!(one == hits("1") && one != other);
        // 100 are expected; 40 are four standard deviations.
        assert!(one.len().abs_diff(100) < 40 && other.len().abs_diff(100) < 40, "{} {}", one.len(), other.len());
    }

    #[test]
    fn off_ignores_everything_and_a_bad_rule_names_itself() {
        let off = Failpoints::off();
        off.set("a", When::Always, Action::Panic);
        assert_eq!((off.hit("a"), off.hits("a")), (Ok(()), 0));
        for bad in ["a", "=panic", "a=explode", "a=panic@x", "a=delay:soon", "a=panic~5"] {
            assert!(bad.parse::<Failpoints>().unwrap_err().to_string().contains(bad));
        }
    }
}
