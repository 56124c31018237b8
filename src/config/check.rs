//! What a configuration must satisfy as a whole.
//!
//! Invariant: each rule names the key that has to change, the value it has and what would be right.

use understudy_checkpoints::checkpoint::{Best, parse_age};
use understudy_learning::LearningError;

use super::{Checkpoint, ConfigError, Loaded, Origin, SourceKind};
use crate::corpus::check_name;
use crate::sources::stack_exchange::date;

/// Checks `loaded` against itself.
pub(super) fn check(loaded: &Loaded) -> Result<(), ConfigError> {
    let config = &loaded.config;
    let rule = |holds: bool, key: &str, remedy: &str| match holds {
        true => Ok(()),
        false => Err(ConfigError::Invalid {
            place: loaded.origins.get(key).unwrap_or(&Origin::BuiltIn).to_string(),
            key: key.to_owned(),
            value: loaded.values.get(key).map_or_else(String::new, ToString::to_string),
            remedy: remedy.to_owned(),
        }),
    };
    let positive = |value: f64| value.is_finite() && value > 0.0;

    rule(config.model.trainable_layers >= 1, "model.trainable_layers", "let at least 1 layer learn")?;

    let g = &config.generation;
    rule(g.max_sequences >= 1, "generation.max_sequences", "allow at least 1 answer at a time")?;
    rule(g.max_waiting >= 1, "generation.max_waiting", "allow at least 1 waiting request")?;
    rule(g.prefill_chunk >= 1, "generation.prefill_chunk", "prefill at least 1 token between steps")?;
    rule(
        positive(g.temperature) && g.temperature <= 10.0,
        "generation.temperature",
        "give a number above 0, up to 10",
    )?;
    rule(g.top_p > 0.0 && g.top_p <= 1.0, "generation.top_p", "give a number above 0, up to 1")?;
    let draws = (1..=g.max_sequences).contains(&g.best_of);
    rule(draws, "generation.best_of", "give 1 (no choice) up to generation.max_sequences")?;
    rule(g.best_of_budget_ms >= 1, "generation.best_of_budget_ms", "give at least 1 millisecond")?;
    let finite = g.abstain_below.is_none_or(f64::is_finite);
    rule(finite, "generation.abstain_below", "give a number; scores have mean 0 and variance 1")?;
    let above = g.abstain_std_above.is_none_or(|bound| bound.is_finite() && bound > 0.0);
    rule(above, "generation.abstain_std_above", "give a number above 0")?;
    rule(g.max_tokens >= 1, "generation.max_tokens", "allow at least 1 token")?;
    rule(g.max_context > g.max_tokens, "generation.max_context", "make it larger than generation.max_tokens")?;
    let both = g.max_prompt >= 1 && g.max_prompt + g.max_tokens <= g.max_context;
    rule(both, "generation.max_prompt", "make it and generation.max_tokens fit into generation.max_context")?;
    rule(g.samples_per_prompt >= 1, "generation.samples_per_prompt", "ask for at least 1 answer")?;
    let fits = g.samples_per_prompt <= g.max_sequences;
    rule(fits, "generation.samples_per_prompt", "make it at most generation.max_sequences")?;
    let room = g.kept_for_chat + g.samples_per_prompt <= g.max_sequences;
    let remedy = "leave room for generation.samples_per_prompt within generation.max_sequences";
    rule(room, "generation.kept_for_chat", remedy)?;

    let source = &config.source;
    let needs_file = matches!(source.kind, SourceKind::StackExchange | SourceKind::Jsonl);
    let has_file = !source.path.as_os_str().is_empty();
    rule(!needs_file || has_file, "source.path", "name the file that source.kind reads")?;
    let names = source.corpora.iter().all(|name| check_name(name).is_ok());
    rule(names, "source.corpora", "give names of corpora, as 'understudy corpora list' shows them")?;
    rule(source.speed >= 0.0 && source.speed.is_finite(), "source.speed", "give 0 (no waiting) or seconds a second")?;
    let dated = source.from.is_empty() || date::parse(&source.from).is_some();
    rule(dated, "source.from", "give a date such as \"2024-01-31\", or nothing")?;
    if matches!(source.kind, SourceKind::Api | SourceKind::StackExchange) {
        rule(!source.terms.trim().is_empty(), "source.terms", "say under which terms you have the questions")?;
    }
    if source.kind == SourceKind::Api {
        rule(
            check_name(&source.site).is_ok(),
            "source.site",
            "name the site to ask, such as \"beer.stackexchange.com\"",
        )?;
        let remedy = "what is newer than July 2024 is handed out for uses that do not include the training of a language \
                      model, and this program trains one; where the terms that you have allow it, say so with true";
        rule(source.may_train, "source.may_train", remedy)?;
        rule(source.every_s >= 60, "source.every_s", "give at least 60 seconds")?;
        let polite = source.requests_per_s > 0.0 && source.requests_per_s <= 25.0;
        rule(polite, "source.requests_per_s", "give a number above 0, up to 25")?;
    }
    rule(source.rate >= 0.0 && source.rate.is_finite(), "source.rate", "give 0 (unlimited) or questions a second")?;
    rule((0.0..1.0).contains(&source.held_out), "source.held_out", "give a share from 0 to below 1")?;
    let left = (0.0..1.0).contains(&source.held_back) && source.held_out + source.held_back < 1.0;
    rule(left, "source.held_back", "give a share from 0 that leaves some beside source.held_out to train on")?;

    let http = &config.http;
    let names = http.hosts.iter().all(|host| !host.is_empty() && !host.contains(['/', ':', ' ']));
    rule(names, "http.hosts", "give plain names, such as \"rate.example.org\", without scheme or port")?;
    let limited = http.writes_per_s == 0.0 || (http.writes_per_s.is_finite() && http.writes_per_s >= 1.0);
    rule(limited, "http.writes_per_s", "give 0 (unlimited) or at least 1")?;
    rule(http.write_burst.is_finite() && http.write_burst >= 1.0, "http.write_burst", "give at least 1")?;
    rule(positive(http.head_timeout_s), "http.head_timeout_s", "give seconds above 0")?;
    rule(http.max_body_bytes >= 1024, "http.max_body_bytes", "allow at least 1024 bytes")?;
    rule(http.max_connections >= 1, "http.max_connections", "allow at least 1 connection")?;
    rule(http.max_event_streams >= 1, "http.max_event_streams", "allow at least 1 stream")?;
    let tasks = &config.tasks;
    rule((1..=4096).contains(&tasks.candidates), "tasks.candidates", "keep 1 to 4096 questions")?;
    rule((0.0..=86_400.0).contains(&tasks.lease_s), "tasks.lease_s", "give 0 (no lease) to 86400 seconds")?;
    rule((0.0..=1.0).contains(&tasks.gold_share), "tasks.gold_share", "give a number from 0 to 1")?;
    rule(positive(http.body_timeout_s), "http.body_timeout_s", "give seconds above 0")?;
    rule(positive(http.chat_timeout_s), "http.chat_timeout_s", "give seconds above 0")?;
    rule(positive(http.write_timeout_s), "http.write_timeout_s", "give seconds above 0")?;
    rule(positive(http.feedback_timeout_s), "http.feedback_timeout_s", "give seconds above 0")?;
    rule(positive(http.keep_alive_s), "http.keep_alive_s", "give seconds above 0")?;

    let annotators = &config.annotators;
    let members = annotators.population.members as f64;
    let attention = (0.0..=members).contains(&annotators.attention);
    rule(attention, "annotators.attention", "give 0 (nobody) up to annotators.members")?;
    rule(positive(annotators.speed), "annotators.speed", "give a number above 0; 1 is real time")?;
    let learning = |section: &str, result: Result<(), LearningError>| match result {
        Err(LearningError::Config { field, value, remedy }) => {
            let key = format!("{section}.{field}");
            let place = loaded.origins.get(&key).unwrap_or(&Origin::BuiltIn).to_string();
            Err(ConfigError::Invalid { place, key, value, remedy: remedy.to_owned() })
        }
        // Validation finds no other errors.
        _ => Ok(()),
    };
    learning("ppo", config.ppo.validate())?;
    learning("reward", config.reward.validate())?;
    learning("openness", config.openness.validate())?;
    learning("stage", config.stage.validate())?;
    learning("annotators", annotators.population.validate())?;
    let phases = &config.phases;
    for (key, value) in [
        ("phases.questions", phases.questions),
        ("phases.held_out", phases.held_out),
        ("phases.max_tokens", phases.max_tokens),
        ("phases.answers", phases.answers),
        ("phases.sft.minibatch_size", phases.sft.minibatch_size),
        ("phases.sft.micro_batch_size", phases.sft.micro_batch_size),
    ] {
        rule(value >= 1, key, "give a whole number above 0")?;
    }
    rule((2..=64).contains(&phases.compared), "phases.compared", "compare 2 to 64 answers of a question")?;
    let rate = phases.sft.learning_rate;
    rule(rate.is_finite() && rate >= 0.0, "phases.sft.learning_rate", "give a number that is not below 0")?;
    let decay = phases.sft.weight_decay;
    rule(decay.is_finite() && decay >= 0.0, "phases.sft.weight_decay", "give a number that is not below 0")?;
    rule(positive(phases.sft.max_grad_norm), "phases.sft.max_grad_norm", "give a number above 0")?;
    for (phase, pace) in [("sft", &phases.sft.pace), ("reward", &phases.reward), ("ppo", &phases.ppo)] {
        let key = |name: &str| format!("phases.{phase}.{name}");
        rule(pace.evaluate_every >= 1, &key("evaluate_every"), "look at least every so many steps")?;
        rule(pace.save_every >= 1, &key("save_every"), "write one at least every so many steps")?;
        let delta = pace.min_delta.is_finite() && pace.min_delta >= 0.0;
        rule(delta, &key("min_delta"), "give a number that is not below 0")?;
    }
    let same = config.ppo.temperature == g.temperature;
    rule(same, "ppo.temperature", "leave it out: it follows generation.temperature")?;
    let whole_groups = config.ppo.batch_size.is_multiple_of(g.samples_per_prompt);
    rule(whole_groups, "ppo.batch_size", "make it a multiple of generation.samples_per_prompt")?;

    rule(config.checkpoint.every_updates >= 1, "checkpoint.every_updates", "write one at least every so many updates")?;
    rule(config.checkpoint.keep_last >= 1, "checkpoint.keep_last", "keep at least the newest")?;
    let Checkpoint { keep_best, keep_for, .. } = &config.checkpoint;
    let reads = keep_best.as_ref().is_none_or(|best| best.parse::<Best>().is_ok());
    rule(reads, "checkpoint.keep_best", "write METRIC, METRIC:lowest or METRIC:highest:3")?;
    let reads = keep_for.as_ref().is_none_or(|age| parse_age(age).is_ok());
    rule(reads, "checkpoint.keep_for", "write a whole number and a unit: 90s, 30m, 36h or 7d")?;
    rule(config.store.max_answers >= 1, "store.max_answers", "keep at least 1 answer")?;
    rule(config.store.max_answer_bytes >= 1 << 20, "store.max_answer_bytes", "allow at least 1048576 bytes")?;
    rule(config.store.max_feedback >= 1, "store.max_feedback", "keep at least 1 event")?;
    rule(config.store.max_feedback_bytes >= 1 << 20, "store.max_feedback_bytes", "allow at least 1048576 bytes")?;
    rule(config.store.queue >= 1, "store.queue", "allow at least 1 waiting write")?;
    rule(config.store.queue <= 4096, "store.queue", "give at most 4096")?;
    let h = &config.hearing;
    let owed = h.minibatches_per_event.is_finite() && h.minibatches_per_event >= 0.0;
    rule(owed, "hearing.minibatches_per_event", "give 0 or more")?;
    rule(h.most_owed.is_finite() && h.most_owed >= 1.0, "hearing.most_owed", "give at least 1")?;
    rule(h.replay >= 1, "hearing.replay", "keep at least 1 rating")?;
    rule((0.0..=1.0).contains(&h.recent_share), "hearing.recent_share", "give a number from 0 to 1")?;
    rule(h.reference_answers >= 2, "hearing.reference_answers", "a variance needs at least 2 answers")?;
    rule(h.normalise_every >= 1, "hearing.normalise_every", "give at least 1")?;
    rule(h.groups_before_feedback >= 1, "hearing.groups_before_feedback", "give at least 1")?;
    learning("hearing.drift", h.drift.validate())?;
    let s = &config.supervision;
    rule(positive(s.within_s), "supervision.within_s", "give seconds above 0")?;
    rule(positive(s.unit_budget_s), "supervision.unit_budget_s", "give seconds above 0")?;
    rule(positive(s.drain_s), "supervision.drain_s", "give seconds above 0")?;
    rule((1..=256).contains(&config.threads.intra_op), "threads.intra_op", "give 1 to 256 threads")?;
    rule((0..=256).contains(&config.threads.alone), "threads.alone", "give 1 to 256 threads, or 0 (all cores)")?;
    let bytes = config.telemetry.tensorboard_max_bytes;
    rule(bytes >= 1 << 20, "telemetry.tensorboard_max_bytes", "allow at least 1048576 bytes")?;
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log.filter);
    rule(filter.is_ok(), "log.filter", "give a level (error, warn, info, debug, trace) or target=level, by commas")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Layers, Origin};

    fn load(text: &str) -> Result<crate::config::Loaded, String> {
        let mut layers = Layers::built_in();
        layers.text(Path::new("my.toml"), text).and_then(|()| layers.finish()).map_err(|error| error.to_string())
    }

    fn check(text: &str, wanted: &str) {
        assert_eq!(load(text).expect_err(text), wanted);
    }

    #[test]
    fn the_defaults_satisfy_every_rule() {
        assert_eq!(load("").expect("the defaults are right").config.generation.max_tokens, 64);
    }

    #[test]
    fn an_unknown_key_is_one_sentence_with_line_column_and_the_nearest_key() {
        check(
            "[generation]\nmax_tokens = 5\n  temprature = 1\n",
            "my.toml, line 3, column 3: unknown key 'generation.temprature'; did you mean 'generation.temperature'?",
        );
        check("[modle]\npath = 'x'\n", "my.toml, line 1, column 2: unknown key 'modle'; did you mean 'model'?");
        check(
            "zzz = 1\n",
            "my.toml, line 1, column 1: unknown key 'zzz'; run 'understudy config show' for the valid keys",
        );
    }

    #[test]
    fn a_wrong_type_a_wrong_word_and_broken_toml_name_their_place() {
        check(
            "[log]\nfilter = 3\n",
            "my.toml, line 2, column 1: 'log.filter' is a whole number but must be a string; see config/default.toml \
             for an example",
        );
        check(
            "[model]\ndevice = 'tpu'\n",
            "my.toml, line 2, column 1: 'model.device' is \"tpu\"; unknown variant `tpu`, expected one of `auto`, \
             `cpu`, `cuda`",
        );
        let broken = load("[model\n").expect_err("no closing bracket");
        assert!(broken.starts_with("my.toml, line 1, column 7: not valid TOML: "), "{broken}");
    }

    #[test]
    fn values_that_contradict_each_other_name_the_key_to_change() {
        check(
            "[source]\nkind = 'jsonl'\n",
            "config/default.toml: 'source.path' is \"\"; name the file that source.kind reads",
        );
        check(
            "[http]\nhosts = ['https://rate.example']\n",
            "my.toml, line 2, column 1: 'http.hosts' is [\"https://rate.example\"]; give plain names, such as \
             \"rate.example.org\", without scheme or port",
        );
        check(
            "[generation]\nsamples_per_prompt = 17\n",
            "my.toml, line 2, column 1: 'generation.samples_per_prompt' is 17; make it at most \
             generation.max_sequences",
        );
    }

    #[test]
    fn learning_has_its_own_rules_and_they_name_their_key_too() {
        check("[ppo]\ngamma = 1.5\n", "my.toml, line 2, column 1: 'ppo.gamma' is 1.5; give a number from 0 to 1");
        check(
            "[ppo]\ntemperature = 1.0\n",
            "my.toml, line 2, column 1: 'ppo.temperature' is 1.0; leave it out: it follows generation.temperature",
        );
        let wrong = load("[annotators.taste]\nlength_width = 0.0\n").expect_err("no width");
        assert!(wrong.starts_with("my.toml, line 2, column 1: 'annotators.taste.length_width' is 0"), "{wrong}");
        let right = load("[generation]\ntemperature = 1.0\n[ppo]\ndual_clip = 3\n").expect("both may be set").config;
        assert_eq!((right.ppo.temperature, right.ppo.dual_clip), (1.0, Some(3.0)));
    }

    #[test]
    fn another_kind_of_rule_forgets_the_parameters_of_the_old_one() {
        let none = load("[ppo.correction]\nkind = 'none'\n").expect("needs no bounds").config;
        assert_eq!(none.ppo.correction, understudy_learning::ppo::correction::Correction::None);
        let mask =
            load("[ppo.correction]\nhigh = 3.0\nkind = 'mask_tokens'\nlow = 0.5\n").expect("has its bounds").config;
        assert_eq!(
            mask.ppo.correction,
            understudy_learning::ppo::correction::Correction::MaskTokens { low: 0.5, high: 3.0 }
        );
    }

    #[test]
    fn environment_wins_over_the_file_and_flags_over_both() {
        let mut layers = Layers::built_in();
        layers.text(Path::new("f"), "[generation]\nmax_tokens = 5\ntemperature = 1\n").unwrap();
        let variables =
            [("UNDERSTUDY__GENERATION__MAX_TOKENS".to_owned(), "6".to_owned()), ("HOME".into(), "/".into())];
        layers.environment(variables.into_iter()).unwrap();
        layers.set("data.dir", "7", Origin::Flag("--data-dir".into())).unwrap();
        let loaded = layers.finish().unwrap();
        assert_eq!(loaded.config.generation.max_tokens, 6);
        assert_eq!(loaded.config.generation.temperature, 1.0);
        assert_eq!(loaded.config.data.dir, Path::new("7"));
        let mut layers = Layers::built_in();
        let wrong = layers.environment([("UNDERSTUDY__PPO_".to_owned(), "1".to_owned())].into_iter());
        assert!(
            wrong.unwrap_err().to_string().starts_with("environment variable UNDERSTUDY__PPO_: unknown key 'ppo_'")
        );
    }
}
