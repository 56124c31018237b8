//! The catalogue of metrics: name, kind and meaning. `docs/METRICS.md` has formula and what bad looks like.
//!
//! Invariant: a test keeps this list, the document and the names emitted anywhere in the workspace the same. Base units
//! only; `_total` on counters and nowhere else.

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// What a metric does over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in buckets.
    Histogram,
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name, as Prometheus shows it.
    pub name: &'static str,
    /// What it does over time.
    pub kind: Kind,
    /// One line of meaning.
    pub help: &'static str,
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, help }
}

const fn histogram(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, help }
}

/// Requests over HTTP, by route and status class.
pub const HTTP_REQUESTS: &str = "understudy_http_requests_total";
/// Time to answer an HTTP request; streams count until their last byte.
pub const HTTP_SECONDS: &str = "understudy_http_request_seconds";
/// Ratings that were refused at the edge, by reason.
pub const RATINGS_REJECTED: &str = "understudy_ratings_rejected_total";
/// Questions read from a source, by source.
pub const QUESTIONS_INGESTED: &str = "understudy_questions_ingested_total";

/// Every metric of the program.
pub const CATALOGUE: &[Metric] = &[
    counter(HTTP_REQUESTS, "HTTP requests, by route and status"),
    histogram(HTTP_SECONDS, "Seconds to answer an HTTP request, by route"),
    counter(RATINGS_REJECTED, "Ratings refused at the edge, by reason"),
    counter(QUESTIONS_INGESTED, "Questions taken from a source, by source"),
];

/// Tells the recorder what each metric means.
pub fn describe_all() {
    for metric in CATALOGUE {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.help),
            Kind::Histogram => describe_histogram!(metric.name, metric.help),
        }
    }
}

/// Keeps constructors in use while a kind has no member.
const _: fn(&'static str, &'static str) -> Metric = gauge;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        for Metric { name, kind, .. } in CATALOGUE {
            assert!(name.starts_with("understudy_"), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}: _total is for counters");
            assert!(*kind != Kind::Histogram || name.ends_with("_seconds"), "{name}: histograms here are of seconds");
        }
    }
}
