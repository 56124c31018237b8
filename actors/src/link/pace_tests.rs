//! Tests of the staleness gate.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

#[tokio::test(start_paused = true)]
async fn room_is_eta_plus_v_plus_one_batches_minus_what_was_admitted() {
    let pace = Pace::new(8, 1, 0);
    assert_eq!(pace.room(), 16);
    let first = pace.try_admit(10).unwrap();
    assert_eq!(pace.try_admit(7).unwrap_err(), PaceError::Full);
    assert_eq!(pace.try_admit(17).unwrap_err(), PaceError::TooMany { asked: 17, most: 16 });
    let waiting = tokio::spawn(pace.admit(7));
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    pace.advance(1);
    let second = waiting.await.unwrap().unwrap();
    assert_eq!(pace.room(), 24 - 17);
    pace.advance(0);
    assert_eq!(pace.version(), 1, "old news is ignored");
    first.spend();
    drop(second);
    assert_eq!(pace.room(), 24 - 10, "what was lost gives its place back");
    pace.release(4);
    assert_eq!(pace.room(), 24 - 6);
}

#[tokio::test(start_paused = true)]
async fn a_ticket_is_split_without_loss_and_closing_tells_who_waits() {
    let pace = Pace::new(4, 0, 3);
    assert_eq!(pace.room(), 4, "after a restart nothing is in flight");
    let mut ticket = pace.try_admit(4).unwrap();
    let part = ticket.split(3);
    assert_eq!((ticket.samples(), part.samples(), ticket.split(5).samples()), (1, 3, 1));
    drop(ticket);
    assert_eq!(pace.room(), 1, "the third part was dropped at once, the emptied ticket gives nothing");
    part.spend();
    let waiting = tokio::spawn(pace.admit(4));
    tokio::task::yield_now().await;
    pace.close();
    assert_eq!(waiting.await.unwrap().unwrap_err(), PaceError::Closed);
}

proptest! {
    /// A model of the loop: groups are admitted when there is room, some are lost on the way, the learner takes batches in
    /// order of admission.
    #[test]
    fn no_sample_is_older_than_the_bound_and_the_gate_never_locks_itself(
        batch in 1u64..9, eta in 0u64..4, start in 0u64..5,
        moves in proptest::collection::vec((0u8..3, 1u64..9), 1..200),
    ) {
        let pace = Pace::new(batch, eta, start);
        let mut version = start;
        let mut in_flight: VecDeque<(u64, Ticket)> = VecDeque::new(); // (version at admission, one sample's ticket)
        for (what, samples) in moves {
            match what {
                0 => if let Ok(mut group) = pace.try_admit(samples) {
                    while group.samples() > 0 {
                        in_flight.push_back((version, group.split(1)));
                    }
                },
                1 => { in_flight.remove(samples as usize % in_flight.len().max(1)); }
                _ => if in_flight.len() as u64 >= batch {
                    for (born, ticket) in in_flight.drain(..batch as usize) {
                        prop_assert!(version - born <= eta, "staleness {} of a bound of {eta}", version - born);
                        ticket.spend();
                    }
                    version += 1;
                    pace.advance(version);
                },
            }
            let bound = (eta + version + 1) * batch;
            let used = version * batch - start * batch + in_flight.len() as u64 + start * batch;
            prop_assert!(used <= bound);
            prop_assert_eq!(pace.room(), bound - used);
            prop_assert!(in_flight.len() as u64 >= batch || pace.room() > 0, "short of a batch there is room");
        }
    }
}
