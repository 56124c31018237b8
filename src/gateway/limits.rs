//! How often one peer may write: a token bucket each.
//!
//! Invariant: at most [`MOST`] peers are remembered, whoever comes; the one not seen for longest is forgotten first, which
//! can only give somebody back a full bucket.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// Peers that are remembered.
const MOST: usize = 4096;

/// Who is counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Peer {
    /// Who showed a token, by its id.
    Token(String),
    /// Anybody else, by address; an IPv6 network of 64 bits counts as one, since a host may have all of it.
    Address(IpAddr),
    /// Where no address is known.
    Unknown,
}

impl Peer {
    /// The peer at an address.
    pub(super) fn at(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V6(address)) => {
                let network = address.to_bits() >> 64 << 64;
                Self::Address(IpAddr::V6(network.into()))
            }
            Some(address) => Self::Address(address),
            None => Self::Unknown,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    seen: Instant,
}

/// How often each peer may write; it may be another one each time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    /// Writes a second; 0 is no limit.
    pub(super) per_s: f64,
    /// Writes at once.
    pub(super) burst: f64,
}

/// The buckets.
#[derive(Debug, Default)]
pub(super) struct Limits {
    buckets: Mutex<BTreeMap<Peer, Bucket>>,
}

impl Limits {
    /// Whether `peer` may write at `now`.
    pub(super) fn take(&self, peer: Peer, rate: Rate, now: Instant) -> bool {
        let Rate { per_s, burst } = rate;
        if per_s == 0.0 {
            return true;
        }
        // One number changes at a time: nothing is torn by a panic.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MOST && !buckets.contains_key(&peer) {
            let oldest = buckets.iter().min_by_key(|(_, bucket)| bucket.seen).map(|(peer, _)| peer.clone());
            oldest.map(|oldest| buckets.remove(&oldest));
        }
        let bucket = buckets.entry(peer).or_insert(Bucket { left: burst, seen: now });
        let since = now.saturating_duration_since(bucket.seen).as_secs_f64();
        *bucket = Bucket { left: (bucket.left + since * per_s).min(burst), seen: now.max(bucket.seen) };
        let admitted = bucket.left >= 1.0;
        if admitted {
            bucket.left -= 1.0;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_then_as_many_as_the_rate_gives_and_one_peer_does_not_pay_for_another() {
        let (limits, rate) = (Limits::default(), Rate { per_s: 2.0, burst: 3.0 });
        let begun = Instant::now();
        let (ana, bob) = (Peer::Token("ana".into()), Peer::at(Some(IpAddr::from([192, 0, 2, 1]))));
        let passed = |peer: &Peer, ms: u64, tries: usize| {
            (0..tries).filter(|_| limits.take(peer.clone(), rate, begun + Duration::from_millis(ms))).count()
        };
        assert_eq!(passed(&ana, 0, 10), 3);
        assert_eq!(passed(&ana, 1000, 10), 2);
        assert_eq!(passed(&bob, 1000, 10), 3);
        // However long the pause, never more than the burst.
        assert_eq!(passed(&ana, 1_000_000, 10), 3);
    }

    #[test]
    fn an_ipv6_network_is_one_peer_and_a_mapped_address_is_the_ipv4_one() {
        let at = |text: &str| Peer::at(Some(text.parse().unwrap()));
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:2"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
    }

    #[test]
    fn however_many_peers_come_only_so_many_are_remembered_and_the_newest_stay() {
        let (limits, rate) = (Limits::default(), Rate { per_s: 1.0, burst: 1.0 });
        let begun = Instant::now();
        for n in 0..MOST as u32 + 10 {
            assert!(limits.take(
                Peer::at(Some(IpAddr::from(n.to_be_bytes()))),
                rate,
                begun + Duration::from_nanos(u64::from(n))
            ));
        }
        assert_eq!(limits.buckets.lock().unwrap().len(), MOST);
        for kept in [MOST as u32 + 9, MOST as u32 + 8, 10] {
            let peer = Peer::at(Some(IpAddr::from(kept.to_be_bytes())));
            assert!(!limits.take(peer, rate, begun + Duration::from_millis(1)), "{kept} was forgotten");
        }
    }
}
