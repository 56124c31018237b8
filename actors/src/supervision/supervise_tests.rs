//! Tests of supervision, with actors that fail in each of the ways there are.

use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;
use std::sync::Mutex;

use actix::{ActorContext, Handler, MessageResult, StreamHandler};
use tokio::time::Instant;

use super::*;
use crate::control::Observe;
use crate::failpoint::{Action, Failpoints, When};
use crate::link::{Ask, AskError, Envelope, Port, ask, one_per_poll};
use crate::locked::locked;
use crate::supervision::Held;
use crate::testkit::{settle, simulated};

type Doublings = Port<Envelope<Ask<u32, u32>>>;

/// Doubles numbers. Fails where its fail points say.
struct Doubler {
    port: Doublings,
    points: Failpoints,
    lifeline: Lifeline,
}

impl Actor for Doubler {
    type Context = Context<Self>;
    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.add_stream(one_per_poll(self.port.inlet().items()));
    }
}

impl StreamHandler<Envelope<Ask<u32, u32>>> for Doubler {
    fn handle(&mut self, envelope: Envelope<Ask<u32, u32>>, ctx: &mut Self::Context) {
        let Some(Envelope { value: Ask { value, reply }, .. }) = envelope.accept() else { return };
        let _held = self.lifeline.hold(Held::new(format!("number {value}")));
        let _unit = self.lifeline.begin("double");
        if let Err(error) = self.points.hit("doubler.before") {
            self.lifeline.fail(error);
            return ctx.stop();
        }
        reply.answer(value * 2);
        let _ = self.points.hit("doubler.after");
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        self.lifeline.finish();
        ctx.stop();
    }
}

impl Handler<Observe<u64>> for Doubler {
    type Result = MessageResult<Observe<u64>>;
    fn handle(&mut self, _: Observe<u64>, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.lifeline.incarnation())
    }
}

type Crashes = Rc<RefCell<Vec<Crash>>>;

fn start(points: &Failpoints, place: Place) -> (Doublings, Supervised, Control<Doubler>, Crashes) {
    let port = Doublings::new("doublings", 16);
    let crashes = Crashes::default();
    let (seen, ingress) = (crashes.clone(), port.clone());
    let (inner, points) = (port.clone(), points.clone());
    let (supervised, control) = Supervision::new("doubler")
        .place(place)
        .on_crash(move |crash| seen.borrow_mut().push(crash.clone()))
        .on_give_up(move |_| assert!(ingress.abandon() <= 16))
        .start(move |lifeline| Ok::<_, String>(Doubler { port: inner.clone(), points: points.clone(), lifeline }));
    (port, supervised, control, crashes)
}

async fn double_all(port: &Doublings, numbers: std::ops::Range<u32>) -> Vec<Result<u32, AskError>> {
    let deadline = Instant::now() + Duration::from_secs(60);
    futures_util::future::join_all(numbers.map(|number| ask(port, number, deadline))).await
}

async fn a_poison_message_is_lost_alone(place: Place) {
    let points = Failpoints::armed();
    points.set("doubler.before", When::Nth(3), Action::Panic);
    let (port, supervised, control, crashes) = start(&points, place.clone());
    supervised.ready().await.unwrap();
    let answers = double_all(&port, 0..8).await;
    let mut expected: Vec<_> = (0..8).map(|number| Ok(number * 2)).collect();
    expected[2] = Err(AskError::Crashed);
    assert_eq!(answers, expected);
    assert_eq!(supervised.restarts(), 1);
    let soon = Instant::now() + Duration::from_secs(60);
    assert_eq!(control.ask(Observe::<u64>::new(), soon).await, Ok(1), "control leads to the new incarnation");
    {
        let crashes = crashes.borrow();
        let text = "fail point 'doubler.before' panicked on purpose at hit 3";
        assert_eq!(crashes.len(), 1);
        assert_eq!(crashes[0].exit, Exit::Panicked(text.to_owned()));
        assert_eq!(crashes[0].in_hand.iter().map(|held| held.label.as_str()).collect::<Vec<_>>(), ["number 2"]);
    }
    port.close();
    assert_eq!(supervised.verdict().await, Verdict::Finished);
    place.stop(Instant::now() + Duration::from_secs(60)).await.unwrap();
}

#[test]
fn a_poison_message_is_lost_alone_and_answered_crashed() {
    simulated(a_poison_message_is_lost_alone(Place::Inline));
}

#[test]
fn a_poison_message_is_lost_alone_on_a_real_thread() {
    let place = Place::dedicated("doubler", || ()).unwrap();
    actix_rt::System::new().block_on(a_poison_message_is_lost_alone(place));
}

#[test]
fn every_way_to_fail_leads_to_the_same_end() {
    for (point, answered) in [("doubler.before", 5), ("doubler.after", 6)] {
        for action in [Action::Panic, Action::Error] {
            for hit in [1, 2] {
                let (failed, restarts) = simulated(async {
                    let points = Failpoints::armed();
                    points.set(point, When::Nth(hit), action.clone());
                    let (port, supervised, ..) = start(&points, Place::Inline);
                    let answers = double_all(&port, 0..6).await;
                    port.close();
                    assert_eq!(supervised.verdict().await, Verdict::Finished);
                    (answers.iter().filter(|answer| answer.is_ok()).count(), supervised.restarts())
                });
                let survived = point == "doubler.after" && action == Action::Error; // the test actor ignores that one
                assert_eq!((failed, restarts), (answered, u64::from(!survived)), "{point} {action:?} at {hit}");
            }
        }
    }
}

#[test]
fn after_too_many_restarts_the_ingress_closes_before_the_verdict_is_told() {
    simulated(async {
        let points = Failpoints::armed();
        points.set("doubler.before", When::Always, Action::Panic);
        let (port, supervised, control, crashes) = start(&points, Place::Inline);
        let answers = double_all(&port, 0..10).await;
        // Six die in hand, four are dropped from the queue; each of the ten gets its outcome.
        assert_eq!(answers, vec![Err(AskError::Crashed); 10]);
        let verdict = supervised.verdict().await;
        assert!(matches!(verdict, Verdict::GaveUp { restarts: 5, .. }), "{verdict}");
        assert_eq!(crashes.borrow().len(), 6);
        let soon = Instant::now() + Duration::from_secs(1);
        assert_eq!(ask(&port, 1, soon).await, Err(AskError::Closed));
        assert_eq!(control.ask(Observe::<u64>::new(), soon).await, Err(AskError::Crashed));
    });
}

#[test]
fn a_failure_now_and_then_is_restarted_for_ever() {
    simulated(async {
        let points: Failpoints = "doubler.before=panic%2".parse().unwrap();
        let (port, supervised, ..) = start(&points, Place::Inline);
        for _ in 0..20 {
            double_all(&port, 0..1).await;
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        assert_eq!((supervised.restarts(), supervised.verdict_now()), (10, None), "three in any minute");
    });
}

#[test]
fn an_actor_that_cannot_be_built_is_an_error_of_the_start_and_not_retried() {
    simulated(async {
        let plan = Supervision::new("doubler");
        let (supervised, _) = plan.start(|_| Err::<Doubler, _>("no model at models/tiny"));
        let Err(Verdict::GaveUp { restarts: 0, last }) = supervised.ready().await else { panic!("it was not built") };
        assert_eq!(last, Exit::Failed("no model at models/tiny".to_owned()));

        let plan = Supervision::new("doubler");
        let (supervised, _) = plan.start(|_| -> Result<Doubler, String> { panic!("bad shape") });
        let Err(Verdict::GaveUp { restarts: 0, last }) = supervised.ready().await else { panic!("it was not built") };
        assert_eq!(last, Exit::Panicked("bad shape".to_owned()));
    });
}

#[test]
fn an_actor_that_stops_without_a_word_has_failed() {
    struct Quitter;
    impl Actor for Quitter {
        type Context = Context<Self>;
        fn started(&mut self, ctx: &mut Self::Context) {
            ctx.stop();
        }
    }
    simulated(async {
        let plan = Supervision::new("quitter").policy(RestartPolicy::never());
        let (supervised, _) = plan.start(|_| Ok::<_, String>(Quitter));
        let last = Exit::Failed("it stopped without a verdict".to_owned());
        assert_eq!(supervised.verdict().await, Verdict::GaveUp { restarts: 0, last });
    });
}

#[test]
fn a_stuck_unit_is_named_cancelled_and_started_anew() {
    simulated(async {
        let (tell, crashes) = (Arc::new(Mutex::new(Vec::new())), Crashes::default());
        let (told, seen) = (tell.clone(), crashes.clone());
        let plan = Supervision::new("ppo").budget(Duration::from_secs(30));
        let supervised = plan.on_crash(move |crash| seen.borrow_mut().push(crash.clone())).start_job(move |lifeline| {
            let tell = tell.clone();
            async move {
                match lifeline.incarnation() {
                    0 => {
                        let _held = lifeline.hold(Held::new("batch 7"));
                        let _unit = lifeline.begin("minibatch");
                        lifeline.cancel().cancelled().await; // looks at the wish, and ends by itself
                        locked(&tell).push("cancelled");
                        Err("cancelled")
                    }
                    1 => {
                        let _unit = lifeline.begin("publish");
                        pending().await // does not look: its task is aborted
                    }
                    _ => Ok(()),
                }
            }
        });
        let began = Instant::now();
        assert_eq!(supervised.verdict().await, Verdict::Finished);
        let stuck = |unit: &str| Exit::Stuck { unit: unit.to_owned(), after: Duration::from_secs(30) };
        let exits: Vec<Exit> = crashes.borrow().iter().map(|crash| crash.exit.clone()).collect();
        assert_eq!(exits, [stuck("minibatch"), stuck("publish")]);
        assert_eq!(crashes.borrow()[0].in_hand[0].label, "batch 7");
        assert_eq!(*locked(&told), ["cancelled"]);
        let took = began.elapsed().as_secs();
        assert!((65..67).contains(&took), "two budgets, one grace, two pauses: {took} s");
    });
}

#[test]
fn a_stopped_actor_is_not_started_again() {
    simulated(async {
        let supervised = Supervision::new("source").start_job(|lifeline| async move {
            lifeline.cancel().cancelled().await;
            Err::<(), _>("cancelled")
        });
        supervised.ready().await.unwrap();
        settle().await;
        supervised.stop();
        let verdict = supervised.verdict().await;
        assert_eq!(verdict, Verdict::Stopped(Exit::Failed("cancelled".to_owned())));
        assert!(!verdict.is_failure());
    });
}
