//! One PPO iteration, one reward update, one SFT step, each by phase.

use std::sync::Arc;

use serde_json::{Value, json};
use understudy_learning::gold::gold_reward;
use understudy_learning::ppo::{Phase, PpoLearner, Progress};
use understudy_learning::reward::{RewardExample, RewardLearner};
use understudy_learning::sft::{SftConfig, SftExample, SftLearner, SftProgress};
use understudy_learning::stages::{
    Feedback, FeedbackKind, Finish, Prompt, Question, Rollout, ScoredRollout, TrunkStates, VersionSpan,
};
use understudy_model::{Output, Request};

use super::meter::{Meter, Spent, rounded};
use crate::config::Config;
use crate::speaker::{Speaker, answer_all, engine_config, sampling};

/// Real answers of the model to real questions, judged.
pub(super) struct Material {
    scored: Vec<ScoredRollout>,
    samples: usize,
    generated: Spent,
}

impl Material {
    /// One batch of the configured size.
    pub(super) fn generate(speaker: &Speaker, config: &Config, questions: &[Question]) -> anyhow::Result<Self> {
        let samples = config.generation.samples_per_prompt;
        let count = config.ppo.batch_size / samples;
        let limit = config.generation.max_context - config.generation.max_tokens;
        let mut prompts = Vec::new();
        let mut requests = Vec::new();
        for (at, question) in questions.iter().cycle().take(count.max(1)).enumerate() {
            let tokens = speaker.prompt(&config.generation.system, question, limit)?;
            let params = sampling(&config.generation, at as u64);
            requests.push(Request { id: at as u64, prompt: tokens.clone(), samples, params, capture_trunk: true });
            prompts.push(Prompt { question: Arc::new(question.clone()), tokens });
        }
        let mut engine = speaker.engine(engine_config(&config.generation));
        let meter = Meter::start();
        let answers = answer_all(&mut engine, requests, |_| {})?;
        let generated = meter.spent();
        let mut scored = Vec::new();
        for (prompt, outputs) in prompts.into_iter().zip(answers) {
            let group = scored.len() as u64;
            for output in outputs {
                let id = scored.len() as u64;
                scored.push(judged(rollout(id, group, prompt.clone(), output, config), config));
            }
        }
        Ok(Self { scored, samples, generated })
    }

    fn tokens(&self) -> usize {
        self.scored.iter().map(|scored| scored.rollout.tokens.len()).sum()
    }

    fn rollouts(&self) -> Vec<Rollout> {
        self.scored.iter().map(|scored| scored.rollout.clone()).collect()
    }
}

fn rollout(id: u64, group: u64, prompt: Prompt, output: Output, config: &Config) -> Rollout {
    let params = sampling(&config.generation, group);
    let trunk = match output.trunk {
        Some((values, width)) => TrunkStates::Present { values: Arc::new(values), width },
        None => TrunkStates::Absent,
    };
    Rollout {
        id,
        group,
        prompt,
        tokens: output.tokens,
        text: output.text,
        old_logprobs: output.logprobs,
        kept_mass: output.kept_mass,
        version_spans: output.spans.into_iter().map(|(start, version)| VersionSpan { start, version }).collect(),
        sampling: (&params).into(),
        finish: output.finish.into(),
        trunk,
    }
}

fn judged(rollout: Rollout, config: &Config) -> ScoredRollout {
    let finished = rollout.finish == Finish::EndOfSequence;
    let taste = &config.annotators.population.taste;
    let score = gold_reward(taste, &rollout.prompt.question, &rollout.text, finished);
    ScoredRollout { rollout, score, reward_std: 0.0, reward_version: 0 }
}

/// Generation, the passes before the first step, the steps, and the publication.
pub(super) fn ppo(speaker: &Speaker, config: &Config, material: &Material) -> anyhow::Result<Value> {
    let (trunk, branch) = (speaker.trunk.shallow_clone(), speaker.branch.shallow_clone());
    let mut learner = PpoLearner::new(trunk, branch, config.ppo.clone(), config.seed);
    let mut update = learner.begin_update(material.scored.clone())?;
    let (mut measure, mut learn, mut longest) = (Spent::default(), Spent::default(), 0.0f64);
    let report = loop {
        let meter = Meter::start();
        let progress = learner.next_unit(&mut update)?;
        let spent = meter.spent();
        longest = longest.max(spent.wall);
        match &progress {
            Progress::Working { phase: Phase::Measure, .. } => measure.add(spent),
            // The last unit is a step, unless there was nothing to learn.
            Progress::Working { phase: Phase::Learn, .. } | Progress::Done(_) => learn.add(spent),
        }
        if let Progress::Done(report) = progress {
            break report;
        }
    };
    let meter = Meter::start();
    let snapshot = learner.policy_snapshot();
    let publish = meter.spent();
    let parameters: usize = snapshot.parameters().iter().map(|(_, tensor)| tensor.numel()).sum();
    let total = material.generated.wall + measure.wall + learn.wall + publish.wall;
    Ok(json!({
        "answers": material.scored.len(),
        "answer_tokens": material.tokens(),
        "trained_parameters": parameters,
        "generate": material.generated.json(),
        "measure": measure.json(),
        "learn": learn.json(),
        "publish": publish.json(),
        "longest_unit_s": rounded(longest),
        "total_wall_s": rounded(total),
        "epochs": report.epochs,
        "steps": report.steps,
    }))
}

/// Scoring all answers, foretelling and learning a batch of comparisons.
pub(super) fn reward(speaker: &Speaker, config: &Config, material: &Material) -> anyhow::Result<Value> {
    let trunk = speaker.trunk.shallow_clone();
    let mut learner = RewardLearner::new(trunk, &speaker.branch, config.reward.learner.clone(), config.seed)?;
    let rollouts = material.rollouts();
    let meter = Meter::start();
    learner.score(&rollouts)?;
    let score = meter.spent();
    let examples: Vec<RewardExample> = material
        .scored
        .chunks(material.samples)
        .cycle()
        .take(config.reward.batch_size)
        .enumerate()
        .filter(|(_, group)| group.len() >= 2)
        .map(|(seq, group)| ranking(seq as u64, group))
        .collect();
    let meter = Meter::start();
    learner.predict_all(&examples)?;
    let predict = meter.spent();
    let meter = Meter::start();
    let report = learner.learn(&examples)?;
    let learn = meter.spent();
    Ok(json!({
        "scored_answers": rollouts.len(),
        "events": examples.len(),
        "answers_learned_from": report.answers,
        "score": score.json(),
        "predict": predict.json(),
        "learn": learn.json(),
    }))
}

fn ranking(seq: u64, group: &[ScoredRollout]) -> RewardExample {
    let mut order: Vec<&ScoredRollout> = group.iter().collect();
    order.sort_by(|a, b| b.score.total_cmp(&a.score));
    let levels = order.iter().map(|scored| vec![scored.rollout.id]).collect();
    let feedback = Feedback {
        id: format!("bench-{seq}"),
        annotator: "bench".into(),
        at: 0,
        kind: FeedbackKind::Ranking { levels },
        why: None,
    };
    RewardExample {
        seq,
        answers: group.iter().map(|scored| scored.rollout.clone()).collect(),
        feedback,
        closedness: 0.5,
        lines: Vec::new(),
    }
}

/// One pass over a minibatch of the better answers.
pub(super) fn sft(speaker: &Speaker, config: &Config, material: &Material) -> anyhow::Result<Value> {
    let (trunk, branch) = (speaker.trunk.shallow_clone(), speaker.branch.shallow_clone());
    let settings = SftConfig::default();
    let examples: Vec<SftExample> = material
        .scored
        .iter()
        .take(settings.minibatch_size)
        .map(|scored| SftExample {
            prompt: scored.rollout.prompt.tokens.clone(),
            completion: scored.rollout.tokens.clone(),
        })
        .collect();
    let (count, tokens) = (examples.len(), examples.iter().map(|example| example.completion.len()).sum::<usize>());
    let mut learner = SftLearner::new(trunk, branch, settings, config.seed);
    let meter = Meter::start();
    let mut update = learner.begin_update(examples)?;
    let begin = meter.spent();
    let meter = Meter::start();
    while !matches!(learner.next_unit(&mut update)?, SftProgress::Done(_)) {}
    let learn = meter.spent();
    Ok(json!({"examples": count, "completion_tokens": tokens, "begin": begin.json(), "learn": learn.json()}))
}
