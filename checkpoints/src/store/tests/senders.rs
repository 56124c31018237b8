//! Many who send the same things again and again, because they do not hear the answer.

use super::*;
use crate::powercut::Dice;
use std::collections::HashMap;

const RATINGS: u64 = 10_000;
const CONNECTIONS: usize = 16;

fn rating(n: u64) -> NewRecord {
    keyed(FEEDBACK, &format!("feedback/{n}"), format!("rating {n}"))
}

/// What each rating's first answer was, as its senders saw it.
type Answers = Mutex<HashMap<u64, u64>>;

/// Sends these over 16 connections; of each connection about every third send hangs up before its answer.
fn send(handle: &StoreHandle, sends: &[u64], dice: &mut Dice, answers: &Answers) {
    let mut connections: Vec<Vec<(u64, bool)>> = vec![Vec::new(); CONNECTIONS];
    for n in sends {
        connections[dice.below(CONNECTIONS)].push((*n, dice.below(3) == 0));
    }
    std::thread::scope(|scope| {
        for connection in &connections {
            scope.spawn(move || {
                for (n, hangs_up) in connection {
                    if *hangs_up {
                        // Full is a refusal like any other: whoever hung up does not hear it.
                        let _ = handle.offer(rating(*n), Box::new(|_| ()));
                        continue;
                    }
                    let ack = handle.append(rating(*n)).unwrap();
                    let mut answers = answers.lock().unwrap();
                    let first = *answers.entry(*n).or_insert(ack.seq);
                    assert_eq!(ack.seq, first, "rating {n} has two numbers");
                }
            });
        }
    });
}

#[test]
fn ten_thousand_ratings_sent_one_to_five_times_over_hung_up_connections_and_a_crash_are_stored_once_each() {
    let mut dice = Dice::from_environment(4);
    let rings = BTreeMap::from([(FEEDBACK, Bounds { records: RATINGS, bytes: 64 << 20 })]);
    let rig = Rig::new(StoreConfig { rings, ..small() });
    let mut sends: Vec<u64> = (1..=RATINGS).flat_map(|n| vec![n; 1 + dice.below(5)]).collect();
    for place in (1..sends.len()).rev() {
        sends.swap(place, dice.below(place + 1));
    }
    let (before, after) = sends.split_at(sends.len() / 2);
    let answers = Answers::default();
    send(&rig.handle(), before, &mut dice, &answers);
    let rig = rig.crash();

    send(&rig.handle(), after, &mut dice, &answers);
    // Whoever has no answer yet sends until there is one.
    let unanswered: Vec<u64> = (1..=RATINGS).filter(|n| !answers.lock().unwrap().contains_key(n)).collect();
    assert!(unanswered.len() > 100, "nobody was left without an answer");
    unanswered.iter().for_each(|n| assert!(rig.handle().append(rating(*n)).is_ok()));

    let handle = rig.handle();
    assert_eq!((handle.last_seq(), handle.stats().rings[&FEEDBACK].records), (RATINGS, RATINGS));
    let stored: Vec<String> =
        handle.read_from(FEEDBACK, 0, usize::MAX).unwrap().into_iter().filter_map(|r| r.key).collect();
    assert_eq!(stored.iter().collect::<std::collections::BTreeSet<_>>().len() as u64, RATINGS);
    for (n, seq) in answers.into_inner().unwrap().into_iter().take(1000) {
        assert_eq!(handle.append(rating(n)), Ok(Ack { seq, duplicate: true }));
        let other = NewRecord { bytes: b"another".to_vec(), ..rating(n) };
        assert_eq!(handle.append(other), Err(CommitError::Conflict { key: format!("feedback/{n}"), seq }));
    }
}
