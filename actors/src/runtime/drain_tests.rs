//! Tests of the drain and of running until the end.

use std::cell::RefCell;
use std::future::{pending, ready};
use std::rc::Rc;

use super::*;
use crate::link::Port;
use crate::runtime::{Ending, Reason, run};
use crate::supervision::{RestartPolicy, Supervision};
use crate::testkit::simulated;

type Log = Rc<RefCell<Vec<&'static str>>>;

fn noting(log: &Log, word: &'static str) -> impl FnOnce() + 'static {
    let log = log.clone();
    move || log.borrow_mut().push(word)
}

fn step(log: &Log, word: &'static str, seconds: u64) -> impl Future<Output = Result<(), String>> + 'static {
    let note = noting(log, word);
    async move {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        note();
        Ok(())
    }
}

fn in_seconds(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn steps_end_in_order_and_a_failed_one_keeps_nobody_from_its_end() {
    let log = Log::default();
    let drain = Drain::new().step("http", step(&log, "http", 3)).step("policy", step(&log, "policy", 1));
    let drained = drain.run(in_seconds(10), pending()).await.unwrap();
    let secs = Duration::from_secs;
    assert_eq!(drained.steps, [("http".to_owned(), secs(3)), ("policy".to_owned(), secs(1))]);

    let failing = Drain::new().step("store", ready(Err("disk full"))).step("threads", step(&log, "threads", 0));
    let error = failing.run(in_seconds(10), pending()).await.unwrap_err();
    assert_eq!(error.to_string(), "ended with faults: store: disk full");
    assert_eq!(*log.borrow(), ["http", "policy", "threads"]);
}

#[tokio::test(start_paused = true)]
async fn who_keeps_the_gate_from_closing_is_named_and_the_hard_path_runs_from_the_sink_upwards() {
    let log = Log::default();
    let drain = Drain::new()
        .step("http", ready(Ok::<_, String>(())))
        .force(noting(&log, "http forced"))
        .step("reward", pending::<Result<(), String>>())
        .force(noting(&log, "reward forced"))
        .step("ppo", step(&log, "ppo", 0))
        .force(noting(&log, "ppo forced"));
    let error = drain.run(in_seconds(10), pending()).await.unwrap_err();
    assert_eq!(error.to_string(), "'reward' kept the gate from closing; never begun: ppo");
    assert_eq!(*log.borrow(), ["ppo forced", "reward forced"], "what had ended needs no force");
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_ends_at_once() {
    let began = Instant::now();
    let drain = Drain::new().step("policy", pending::<Result<(), String>>());
    let again = tokio::time::sleep(Duration::from_secs(2));
    let error = drain.run(in_seconds(30), again).await.unwrap_err();
    assert_eq!(error, DrainError::Interrupted { step: "policy".to_owned() });
    assert_eq!(began.elapsed().as_secs(), 2);
}

#[test]
fn an_actor_that_hangs_in_a_unit_is_named_with_the_unit() {
    simulated(async {
        let actor = Supervision::new("reward").budget(Duration::from_secs(600)).start_job(|lifeline| async move {
            let _unit = lifeline.begin("minibatch");
            pending::<Result<(), String>>().await
        });
        actor.ready().await.unwrap();
        let drain = Drain::new().actor(actor.clone(), || ()).force(move || actor.stop());
        let error = drain.run(in_seconds(30), pending()).await.unwrap_err();
        let text = "'reward' kept the gate from closing (in 'minibatch' for 30.0 s); never begun: none";
        assert_eq!(error.to_string(), text);
    });
}

#[test]
fn the_exit_code_says_how_it_ended() {
    let asked = |fault| Ending { reason: Reason::Asked("SIGTERM".to_owned()), fault };
    simulated(async {
        // Asked, and drained: an actor ends because its ingress closes.
        let port = Port::<u32>::new("ratings", 2);
        let inlet = port.inlet();
        let reader = Supervision::new("reader").start_job(move |_| {
            let inlet = inlet.clone();
            async move {
                while inlet.recv().await.is_some() {}
                Ok::<_, String>(())
            }
        });
        let drain = |_| Drain::new().actor(reader.clone(), move || port.close());
        let told = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            "SIGTERM".to_owned()
        };
        let ending = run(told, std::slice::from_ref(&reader), pending(), drain, Duration::from_secs(30)).await;
        assert_eq!((ending.clone(), ending.exit_code()), (asked(None), 0));

        // Nobody asked: an actor is given up.
        let doomed = Supervision::new("doomed").policy(RestartPolicy::never()).start_job(|_| ready(Err("no disk")));
        let ending = run(pending(), &[reader, doomed], pending(), |_| Drain::new(), Duration::from_secs(30)).await;
        assert!(matches!(&ending.reason, Reason::GaveUp { actor, .. } if actor == "doomed"), "{ending:?}");
        assert_eq!(ending.exit_code(), 70);
    });
    assert_eq!(asked(Some(DrainError::Failed(vec![]))).exit_code(), 70);
    assert_eq!(asked(Some(DrainError::Interrupted { step: String::new() })).exit_code(), 130);
    let kept = DrainError::KeptOpen { step: String::new(), doing: String::new(), unbegun: vec![] };
    assert_eq!(asked(Some(kept)).exit_code(), 75);
}
