//! All annotators: who is heard, how much each is believed, and what is saved of it.
//!
//! Invariant: at most `most_annotators` are kept; a restored state goes on bit for bit.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::config::ReliabilityConfig;
use super::gold::{Gold, Judgements};
use super::person::{PARAMETERS, Person, below_half};
use super::report::{AnnotatorReport, Standing};
use super::share::most_weight;
use crate::error::LearningError;
use crate::stages::AnswerId;
use crate::state::{get_f64, get_u64, put_f64};

/// η of a pinned annotator: nearly always right, so that a slip of the hand is no catastrophe.
const PINNED_ETA: f64 = 0.99;
/// η of everybody where reliability is not learned: the mixture is then the plain likelihood.
const CERTAIN: f64 = 1.0;
/// η of an inverted annotator is not below this: proof is never that sure.
const LEAST_ETA: f64 = 0.05;
/// Events before an annotator is no longer called new.
const NEW_UNTIL: u64 = 10;
/// Below this reliability, or this temperature, an annotator is called noisy.
const NOISY: (f64, f64) = (0.75, 0.6);
/// The model is held to contradict the pinned ones while P(it foretells less than half of what they say) is above this.
const SUSPICION: f64 = 0.05;
/// Weight of the others against the pinned ones while that is so.
const UNDER_SUSPICION: f64 = 0.5;

/// How one annotator is listened to at the moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::reward) struct Voice {
    /// Logit η, log β, c as they are.
    pub(in crate::reward) parameters: [f64; PARAMETERS],
    /// η as scores learn by it; at most 0.5 only for the ignored (exactly 0.5) and the inverted (below).
    pub(in crate::reward) eta_in_use: f64,
    /// η as events are foretold by it.
    pub(in crate::reward) eta: f64,
    /// Weight of an event, in `[0, 1]`.
    pub(in crate::reward) weight: f64,
    /// Whether the parameters are learned.
    pub(in crate::reward) learned: bool,
}

impl Voice {
    /// Weight of an event in the scores' likelihood: nothing of the ignored, whatever they say.
    pub(in crate::reward) fn influence(&self) -> f64 {
        if self.eta_in_use == 0.5 { 0.0 } else { self.weight }
    }

    /// Weight of an event's comparisons where they are taken at their word: below 0 the wrong way round.
    pub(in crate::reward) fn trust(&self) -> f64 {
        self.influence() * (2.0 * self.eta_in_use - 1.0)
    }
}

/// One event as the annotators' record keeps it: once, before learning from it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::reward) struct Heard {
    /// Who said it.
    pub(in crate::reward) annotator: String,
    /// Choices made in it.
    pub(in crate::reward) choices: f64,
    /// What gold can confirm of it.
    pub(in crate::reward) judgements: Judgements,
}

/// The annotators, gold, and the check of the model against the pinned ones.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::reward) struct People {
    config: ReliabilityConfig,
    known: BTreeMap<String, Person>,
    gold: Gold,
    /// Events of anybody so far.
    clock: u64,
    /// Recent two-way choices of pinned annotators that were foretold rightly and wrongly.
    pinned_foretold: [f64; 2],
}

impl People {
    pub(in crate::reward) fn new(config: ReliabilityConfig) -> Self {
        Self { config, known: BTreeMap::new(), gold: Gold::default(), clock: 0, pinned_foretold: [0.0; 2] }
    }

    fn is_pinned(&self, annotator: &str) -> bool {
        self.config.pinned.iter().any(|name| name == annotator)
    }

    /// Counts an event: `probability` was given to it, `right` of `choices` weight of its two-way choices were foretold
    /// rightly.
    pub(in crate::reward) fn hear(&mut self, heard: &Heard, probability: f64, choices: f64, right: f64) {
        let (pinned, agreement) = (self.is_pinned(&heard.annotator), self.gold.agreement(&heard.judgements));
        let (half_life, memory) = (self.config.half_life, self.config.memory);
        self.clock += 1;
        self.make_room(&heard.annotator);
        let person = self.known.entry(heard.annotator.clone()).or_default();
        person.hear(self.clock, half_life, heard.choices);
        person.foretold(choices, right, -probability.max(1e-12).ln());
        if pinned {
            let fade = 1.0 - 1.0 / f64::from(memory);
            self.pinned_foretold.iter_mut().for_each(|sum| *sum *= fade);
            self.pinned_foretold[0] += right;
            self.pinned_foretold[1] += choices - right;
            self.gold.add(&heard.judgements, self.config.most_gold);
        } else if let Some(agreement) = agreement {
            person.checked(agreement, memory);
        }
    }

    /// The one not heard for longest goes back to the prior when somebody new comes to a full house.
    fn make_room(&mut self, newcomer: &str) {
        while self.known.len() >= self.config.most_annotators && !self.known.contains_key(newcomer) {
            let oldest = self.known.iter().min_by_key(|(_, person)| person.heard_at).map(|(name, _)| name.clone());
            let Some(oldest) = oldest else { return };
            self.known.remove(&oldest);
        }
    }

    /// How each of `names` is listened to, in order.
    pub(in crate::reward) fn voices(&self, names: &[&str]) -> Vec<Voice> {
        if !self.config.learn {
            let plain =
                Voice { parameters: [0.0; PARAMETERS], eta_in_use: CERTAIN, eta: CERTAIN, weight: 1.0, learned: false };
            return vec![plain; names.len()];
        }
        let limits = self.limits();
        let fresh = Person::default();
        names.iter().map(|name| self.voice(name, self.known.get(*name).unwrap_or(&fresh), limits)).collect()
    }

    /// The most that one annotator's recent choices may weigh, and the factor for all who are not pinned.
    fn limits(&self) -> (f64, f64) {
        let recent = |person: &Person| person.recent(self.clock, self.config.half_life);
        let amounts: Vec<f64> = self.known.values().map(recent).filter(|amount| *amount >= 0.01).collect();
        let total: f64 = amounts.iter().sum();
        let most = most_weight(amounts, self.config.most_share, self.config.free_events);
        let pinned: f64 = self.config.pinned.iter().filter_map(|name| self.known.get(name)).map(recent).sum();
        let [right, wrong] = self.pinned_foretold;
        let others = total - pinned;
        if pinned > 0.0 && others > 0.0 && below_half(1.0 + right, 1.0 + wrong) > SUSPICION {
            // A model that contradicts the pinned ones has learned from people who do: those must not win by number.
            return (most, (UNDER_SUSPICION * pinned / others).min(1.0));
        }
        (most, 1.0)
    }

    fn voice(&self, name: &str, person: &Person, (most, others): (f64, f64)) -> Voice {
        if self.is_pinned(name) {
            let parameters = [(PINNED_ETA / (1.0 - PINNED_ETA)).ln(), 0.0, 0.0];
            return Voice { parameters, eta_in_use: PINNED_ETA, eta: PINNED_ETA, weight: 1.0, learned: false };
        }
        let eta = person.eta();
        let reversed = eta < 0.5 && person.gold[1] > person.gold[0] && person.surely_reversed() > self.config.proof;
        let eta_in_use = if reversed { eta.max(LEAST_ETA) } else { eta.max(0.5) };
        let recent = person.recent(self.clock, self.config.half_life);
        let weight = others * if recent > most { most / recent } else { 1.0 };
        Voice { parameters: person.parameters, eta_in_use, eta, weight, learned: true }
    }

    /// One step of an annotator's parameters; `squares` are summed by event as `gradient` is.
    pub(in crate::reward) fn step(
        &mut self,
        annotator: &str,
        events: f64,
        gradient: [f64; PARAMETERS],
        squares: [f64; PARAMETERS],
    ) {
        let (memory, after) = (self.config.memory, self.config.temperature_after);
        self.make_room(annotator);
        let person = self.known.entry(annotator.to_owned()).or_insert_with(|| Person::first_heard(self.clock));
        person.step(events, gradient, squares, memory, after);
    }

    /// Everybody's report, by name.
    pub(in crate::reward) fn report(&self) -> Vec<AnnotatorReport> {
        let names: Vec<&str> = self.known.keys().map(String::as_str).collect();
        let voices = self.voices(&names);
        let of = |((name, person), voice): ((&String, &Person), Voice)| {
            let (accuracy, log_loss) = person.record();
            AnnotatorReport {
                annotator: name.clone(),
                events: person.events,
                eta: voice.eta,
                eta_in_use: voice.eta_in_use,
                temperature: voice.parameters[1].exp(),
                shift: voice.parameters[2],
                weight: voice.weight,
                gold_right: person.gold[0],
                gold_wrong: person.gold[1],
                standing: self.standing(name, person, &voice),
                accuracy,
                log_loss,
            }
        };
        self.known.iter().zip(voices).map(of).collect()
    }

    fn standing(&self, name: &str, person: &Person, voice: &Voice) -> Standing {
        match voice {
            _ if self.is_pinned(name) => Standing::Pinned,
            voice if voice.eta_in_use < 0.5 => Standing::Inverted,
            voice if voice.eta_in_use == 0.5 => Standing::Ignored,
            _ if person.events < NEW_UNTIL => Standing::New,
            voice if voice.eta < NOISY.0 || voice.parameters[1].exp() < NOISY.1 => Standing::Noisy,
            _ => Standing::Trusted,
        }
    }

    /// Everything that a restart needs; numbers as bits.
    pub(in crate::reward) fn saved(&self) -> Value {
        let people: Map<String, Value> =
            self.known.iter().map(|(name, person)| (name.clone(), person.saved())).collect();
        let mut saved = Map::new();
        saved.insert("people".into(), Value::Object(people));
        saved.insert("gold".into(), json!(self.gold.saved()));
        saved.insert("clock".into(), self.clock.into());
        put_f64(&mut saved, "pinned_right", self.pinned_foretold[0]);
        put_f64(&mut saved, "pinned_wrong", self.pinned_foretold[1]);
        Value::Object(saved)
    }

    /// The annotators that [`People::saved`] wrote.
    pub(in crate::reward) fn restored(saved: &Value, config: ReliabilityConfig) -> Result<Self, LearningError> {
        let problem = || LearningError::state("annotators", "are missing or not as they were saved");
        let people = saved.get("people").and_then(Value::as_object).ok_or_else(problem)?;
        let known = people
            .iter()
            .map(|(name, person)| Some((name.clone(), Person::restored(person)?)))
            .collect::<Option<BTreeMap<_, _>>>()
            .ok_or_else(problem)?;
        let gold: Vec<(AnswerId, AnswerId, bool)> =
            serde_json::from_value(saved["gold"].clone()).map_err(|_| problem())?;
        let pinned_foretold = [get_f64(saved, "pinned_right")?, get_f64(saved, "pinned_wrong")?];
        Ok(Self { config, known, gold: Gold::restored(gold), clock: get_u64(saved, "clock")?, pinned_foretold })
    }
}

/// The report of the annotators in a saved learner's scalars ([`crate::LearnerState::scalars`]), by name.
pub fn annotators_of(scalars: &Value, config: &ReliabilityConfig) -> Result<Vec<AnnotatorReport>, LearningError> {
    let saved = scalars.get("annotators").ok_or_else(|| LearningError::state("annotators", "are missing"))?;
    Ok(People::restored(saved, config.clone())?.report())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(config: ReliabilityConfig) -> People {
        People::new(config)
    }

    fn say(people: &mut People, annotator: &str, times: usize) {
        let heard = Heard { annotator: annotator.into(), choices: 1.0, judgements: Judgements::default() };
        (0..times).for_each(|_| people.hear(&heard, 0.7, 1.0, 1.0));
    }

    #[test]
    fn whoever_floods_has_a_quarter_of_the_recent_weight_and_the_others_theirs() {
        let mut people = people(ReliabilityConfig { half_life: 10_000, ..Default::default() });
        for name in ["a", "b", "c", "d", "e"] {
            say(&mut people, name, 60);
        }
        say(&mut people, "flood", 3000);
        let reports = people.report();
        let weights: Vec<f64> = reports.iter().map(|report| report.weight * report.events as f64).collect();
        let total: f64 = weights.iter().sum();
        // Fading moves the recent amounts away from the counts by less than a third.
        assert!(weights[5] < 0.25 * total * 1.34, "{weights:?}");
        assert!(reports[..5].iter().all(|report| report.weight == 1.0), "{weights:?}");
        assert_eq!(people.voices(&["newcomer"])[0].weight, 1.0);
    }

    #[test]
    fn a_full_house_forgets_the_one_not_heard_for_longest() {
        let mut people = people(ReliabilityConfig { most_annotators: 3, ..Default::default() });
        for name in ["a", "b", "c", "a", "d"] {
            say(&mut people, name, 1);
        }
        people.step("e", 1.0, [0.1; 3], [0.01; 3]);
        let names: Vec<String> = people.report().into_iter().map(|report| report.annotator).collect();
        assert_eq!(names, ["a", "d", "e"]);
    }

    #[test]
    fn gold_alone_inverts_and_only_when_it_is_proof() {
        let mut people = people(ReliabilityConfig { pinned: vec!["gold".into()], ..Default::default() });
        let hear = |people: &mut People, annotator: &str, orders: Vec<(AnswerId, AnswerId)>| {
            let judgements = Judgements { orders, sides: Vec::new() };
            people.hear(&Heard { annotator: annotator.into(), choices: 1.0, judgements }, 0.5, 1.0, 1.0);
        };
        (0..20).for_each(|i| hear(&mut people, "gold", vec![(2 * i, 2 * i + 1)]));
        let step = |people: &mut People| people.step("liar", 1.0, [0.0; 3], [0.0; 3]);
        let eta = |people: &People| people.voices(&["liar"])[0].eta_in_use;
        for i in 0..5 {
            hear(&mut people, "liar", vec![(2 * i + 1, 2 * i)]);
            (0..50).for_each(|_| step(&mut people));
            assert!(eta(&people) >= 0.5, "five wrong of five are no proof");
        }
        (5..20).for_each(|i| hear(&mut people, "liar", vec![(2 * i + 1, 2 * i)]));
        (0..50).for_each(|_| step(&mut people));
        assert!(eta(&people) < 0.3, "{}", eta(&people));
        let report = people.report();
        assert_eq!((report[0].standing, report[1].standing), (Standing::Pinned, Standing::Inverted));
        assert!(people.voices(&["liar"])[0].trust() < -0.4, "taken the wrong way round");
        let saved = people.saved();
        let text: Value = serde_json::from_str(&saved.to_string()).unwrap();
        assert_eq!(People::restored(&text, people.config.clone()).unwrap(), people);
        assert!(People::restored(&Value::Null, people.config.clone()).is_err());
        assert_eq!(annotators_of(&json!({ "annotators": saved }), &people.config).unwrap(), report);
    }

    #[test]
    fn without_learning_everybody_is_believed_alike() {
        let mut people = people(ReliabilityConfig { learn: false, ..Default::default() });
        say(&mut people, "a", 1000);
        let voices = people.voices(&["a", "b"]);
        assert_eq!(voices[0], voices[1]);
        assert_eq!((voices[0].trust(), voices[0].eta), (1.0, 1.0));
    }

    #[test]
    fn while_the_model_contradicts_the_pinned_the_others_weigh_half_of_them_together() {
        let pinned = vec!["gold".to_owned()];
        let mut people = people(ReliabilityConfig { pinned, half_life: 1_000_000, memory: 10, ..Default::default() });
        let hear = |people: &mut People, annotator: &str, times: usize, right: f64| {
            let heard = Heard { annotator: annotator.into(), choices: 1.0, judgements: Judgements::default() };
            (0..times).for_each(|_| people.hear(&heard, 0.5, 1.0, right));
        };
        let weight = |people: &People| people.voices(&["a"])[0].weight;
        hear(&mut people, "a", 160, 1.0);
        hear(&mut people, "gold", 40, 0.0);
        // Fading over 200 of a million events: about 1e-4.
        assert!((weight(&people) - 0.5 * 40.0 / 160.0).abs() < 1e-3, "{}", weight(&people));
        assert_eq!(people.voices(&["gold"])[0].weight, 1.0);
        // The suspicion is about the last ten or so, not about all of them.
        hear(&mut people, "gold", 30, 1.0);
        assert_eq!(weight(&people), 1.0);
    }

    #[test]
    fn nobody_is_held_for_a_liar_beyond_doubt_and_new_ones_are_called_new() {
        let mut people = people(ReliabilityConfig::default());
        let mut liar = Person::default();
        (liar.parameters[0], liar.gold) = (-5.0, [0.0, 20.0]);
        people.known.insert("liar".into(), liar);
        let voice = people.voices(&["liar"])[0];
        assert!(voice.eta_in_use == 0.05 && voice.eta < 0.01, "{voice:?}");
        say(&mut people, "a", 9);
        assert_eq!(people.report()[0].standing, Standing::New);
        say(&mut people, "a", 1);
        assert_eq!(people.report()[0].standing, Standing::Trusted);
    }
}
