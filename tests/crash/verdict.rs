//! The last look: the store and the checkpoints, opened with the library, against the oracle.
//!
//! Invariant: no daemon runs. Looked at twice: as the daemon left it, and rebuilt from the journal alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use understudy_checkpoints::{RecordKind, Store, StoreConfig};
use understudy_learning::stages::{Feedback, FeedbackKind};

use super::oracle::Oracle;
use crate::program::understudy;

/// What is stored, by id: each sequence number and content.
pub(crate) type Stored = BTreeMap<String, Vec<(u64, Feedback)>>;

/// Compares everything that is stored with everything that is known.
pub(super) fn compare(data: &Path, oracle: &mut Oracle) {
    let as_left = stored(data);
    judge(&as_left, oracle);
    learned(data, &as_left, oracle);
    std::fs::remove_dir_all(data.join("sled")).expect("it can be removed");
    let rebuilt = stored(data);
    if as_left != rebuilt {
        oracle.fault("the journal alone gives other events than the replay store gave".to_owned());
        judge(&rebuilt, oracle);
    }
}

/// `understudy annotators`: each person was heard as often as they have ratings that are not taken back.
fn learned(data: &Path, stored: &Stored, oracle: &mut Oracle) {
    let events: Vec<&Feedback> = stored.values().flatten().map(|(_, event)| event).collect();
    let taken_back: BTreeSet<&str> = events
        .iter()
        .filter_map(|event| match &event.kind {
            FeedbackKind::Retract { feedback } => Some(feedback.as_str()),
            _ => None,
        })
        .collect();
    let mut said: BTreeMap<&str, u64> = BTreeMap::new();
    let stands = |event: &&&Feedback| event.kind_name() != "retract" && !taken_back.contains(event.id.as_str());
    for event in events.iter().filter(stands) {
        *said.entry(&event.annotator).or_default() += 1;
    }
    let output = understudy().args(["annotators", "--json", "--data-dir"]).arg(data).output().expect("it runs");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let heard = |name: &str| {
        let people = report["annotators"].as_array()?;
        people.iter().find(|person| person["annotator"] == name)?["events"].as_u64()
    };
    for (name, count) in said.into_iter().filter(|(name, _)| name.starts_with("person-")) {
        if heard(name) != Some(count) {
            let heard = heard(name);
            oracle.fault(format!("{name} has {count} ratings that stand, and the model has learned from {heard:?}"));
        }
    }
}

/// All feedback in a store that no daemon holds.
pub(crate) fn stored(data: &Path) -> Stored {
    let (store, _) =
        Store::open(data, StoreConfig { schema: understudy_actors::answers::SCHEMA, ..StoreConfig::default() })
            .expect("the store opens");
    let (handle, mut stored, mut from) = (store.handle(), Stored::new(), 0);
    loop {
        let records = handle.read_from(RecordKind::Feedback, from, 256).expect("the store reads");
        let Some(last) = records.last() else { break };
        from = last.seq + 1;
        for record in records {
            let event: Feedback = serde_json::from_slice(&record.bytes).expect("an event");
            stored.entry(event.id.clone()).or_default().push((record.seq, event));
        }
    }
    store.close().expect("it closes");
    stored
}

/// Compares what is stored with what was acknowledged.
pub(super) fn judge(stored: &Stored, oracle: &mut Oracle) {
    let (mut lost, mut doubled, mut faults) = (0, 0, Vec::new());
    for (id, found) in stored {
        if found.len() > 1 {
            doubled += 1;
            let seqs: Vec<u64> = found.iter().map(|(seq, _)| *seq).collect();
            faults.push(format!("{id} is stored {} times, under {seqs:?}", found.len()));
        }
    }
    for (id, event) in &oracle.events {
        let found = stored.get(id).and_then(|found| found.first());
        let is = |body: &Value, found: &Feedback| {
            serde_json::from_value::<Feedback>(body.clone()).ok().as_ref() == Some(found)
        };
        match (event.acknowledged, found) {
            (Some((seq, body)), Some((at, found))) if *at == seq && is(&event.bodies[body], found) => {}
            (Some(acknowledged), None) => {
                lost += 1;
                faults.push(format!("{id} was acknowledged as {acknowledged:?} and is not stored"));
            }
            (Some(acknowledged), Some(found)) => {
                faults.push(format!("{id} was acknowledged as {acknowledged:?} and is stored as {found:?}"));
            }
            (None, None) => {}
            (None, Some((_, found))) => {
                let sent = event.bodies.iter().enumerate().filter(|(at, _)| !event.refused.contains(at));
                if !sent.into_iter().any(|(_, body)| is(body, found)) {
                    faults.push(format!("{id} is stored as something that was refused or never sent: {found:?}"));
                }
            }
        }
    }
    // What nobody here said was said by the simulated people.
    for id in stored.keys().filter(|id| id.starts_with("person-") && !oracle.events.contains_key(*id)) {
        faults.push(format!("{id} is stored and was never sent"));
    }
    oracle.lost += lost;
    oracle.doubled += doubled;
    faults.into_iter().for_each(|fault| oracle.fault(fault));
}
