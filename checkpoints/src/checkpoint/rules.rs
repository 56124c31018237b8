//! Retention rules as people write them: the same words in the configuration and on the command line.
//!
//! Invariant: what does not read is an error that says how it is written; nothing is guessed.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::Best;

const BEST: &str = "METRIC, METRIC:lowest or METRIC:highest:3, where METRIC is the path of a number in the manifest's \
    extra, such as last_update.score";
const AGE: &str = "a whole number and a unit: 90s, 30m, 36h or 7d";

/// A rule that does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{given}' does not say {what}; write {remedy}")]
pub struct RuleError {
    given: String,
    what: &'static str,
    remedy: &'static str,
}

/// `METRIC[:highest|:lowest][:COUNT]`; the highest one when nothing else is said.
impl FromStr for Best {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let bad = || RuleError { given: text.to_owned(), what: "which checkpoints are the best", remedy: BEST };
        let mut words = text.split(':');
        let metric = words.next().unwrap_or_default();
        let mut best = Self { metric: metric.to_owned(), higher: true, count: 1 };
        let mut word = words.next();
        if let Some(order @ ("highest" | "lowest")) = word {
            best.higher = order == "highest";
            word = words.next();
        }
        if let Some(count) = word {
            best.count = count.parse().map_err(|_| bad())?;
        }
        let named = metric.split('.').all(|part| !part.is_empty() && !part.contains(char::is_whitespace));
        (named && best.count > 0 && words.next().is_none()).then_some(best).ok_or_else(bad)
    }
}

impl fmt::Display for Best {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = if self.higher { "highest" } else { "lowest" };
        write!(f, "{}:{order}:{}", self.metric, self.count)
    }
}

/// An age such as `36h`: a whole number of seconds, minutes, hours or days.
pub fn parse_age(text: &str) -> Result<Duration, RuleError> {
    let bad = || RuleError { given: text.to_owned(), what: "an age", remedy: AGE };
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
    let (number, unit) = text.split_at(unit_at);
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(bad()),
    };
    let number: u64 = number.parse().map_err(|_| bad())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_named_by_metric_order_and_count() {
        let check = |text: &str, higher, count| {
            let best: Best = text.parse().unwrap();
            assert_eq!(best, Best { metric: "last_update.score".to_owned(), higher, count }, "{text}");
            assert_eq!(best.to_string().parse(), Ok(best));
        };
        check("last_update.score", true, 1);
        check("last_update.score:lowest", false, 1);
        check("last_update.score:3", true, 3);
        check("last_update.score:lowest:2", false, 2);
        for bad in ["", ":", "a..b", "a b", "a:", "a:best", "a:0", "a:-1", "a:highest:2:3", "a:2:highest"] {
            let told = bad.parse::<Best>().unwrap_err().to_string();
            assert!(told.contains(&format!("'{bad}'")) && told.contains("METRIC:lowest"), "{told}");
        }
    }

    #[test]
    fn an_age_is_a_whole_number_of_one_unit() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("30m", 1800), ("36h", 129_600), ("7d", 604_800)] {
            assert_eq!(parse_age(text), Ok(Duration::from_secs(seconds)));
        }
        for bad in ["", "7", "d", "-1d", "1.5h", "1h30m", "1 d", "99999999999999999999s", "18446744073709551615d"] {
            assert!(parse_age(bad).unwrap_err().to_string().contains("36h"), "{bad}");
        }
    }
}
