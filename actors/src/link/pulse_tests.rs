//! Tests of the pulse and of one item a turn: control, timers, data and a long job share one actor.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, StreamHandler};
use tokio::time::Instant;

use super::*;
use crate::control::{Control, Pause};
use crate::link::{Inlet, Port, one_per_poll};
use crate::testkit::{settle, simulated};

type Log = Rc<RefCell<Vec<String>>>;

/// Works in units while its pulse runs; notes everything that it is handed. `send_at` sends itself a `Pause` from within
/// a unit or an item, as another thread would at that moment.
struct Worker {
    inlet: Inlet<u32>,
    pulse: Pulse,
    beats: Option<Beats>,
    units: u32,
    send_at: &'static str,
    control: Control<Worker>,
    unit: Rc<dyn Fn()>,
    log: Log,
}

impl Worker {
    fn note(&mut self, word: String) {
        if word == self.send_at {
            self.control.tell(Pause).unwrap();
        }
        self.log.borrow_mut().push(word);
    }
}

impl Actor for Worker {
    type Context = Context<Self>;
    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.add_stream(self.beats.take().unwrap());
        ctx.add_stream(one_per_poll(self.inlet.items()));
        ctx.run_interval(Duration::from_millis(5), |worker, _| worker.note("tick".to_owned()));
    }
}

impl StreamHandler<Beat> for Worker {
    fn handle(&mut self, _: Beat, _: &mut Self::Context) {
        self.units -= 1;
        (self.unit)();
        self.note(format!("unit {}", self.units));
        if self.units == 0 {
            self.pulse.rest();
        }
    }
}

impl StreamHandler<u32> for Worker {
    fn handle(&mut self, item: u32, _: &mut Self::Context) {
        self.note(format!("item {item}"));
    }
}

impl Handler<Pause> for Worker {
    type Result = ();
    fn handle(&mut self, _: Pause, _: &mut Self::Context) {
        self.note("pause".to_owned());
    }
}

fn start(units: u32, items: u32, send_at: &'static str, unit: impl Fn() + 'static) -> (Control<Worker>, Pulse, Log) {
    let port = Port::new("items", 64);
    (0..items).for_each(|item| port.offer(item).unwrap());
    let (pulse, beats) = Pulse::new();
    if units > 0 {
        pulse.start();
    }
    let (log, control) = (Log::default(), Control::new());
    let (inlet, beats, unit) = (port.inlet(), Some(beats), Rc::new(unit));
    let worker = Worker { inlet, pulse: pulse.clone(), beats, units, send_at, control: control.clone(), unit, log };
    let log = worker.log.clone();
    control.attach(worker.start());
    (control, pulse, log)
}

fn after<'a>(log: &'a [String], word: &str) -> &'a str {
    let at = log.iter().position(|entry| entry == word).unwrap();
    &log[at + 1]
}

#[test]
fn control_overtakes_queued_data_after_one_item() {
    simulated(async {
        let (_control, _pulse, log) = start(0, 40, "item 3", || ());
        settle().await;
        assert_eq!(after(&log.borrow(), "item 3"), "pause");
        assert_eq!(log.borrow().iter().filter(|word| word.starts_with("item")).count(), 40);
    });
}

#[test]
fn control_is_heard_between_two_units_of_a_long_job() {
    simulated(async {
        let (_control, pulse, log) = start(30, 0, "unit 20", || ());
        settle().await;
        assert_eq!(after(&log.borrow(), "unit 20"), "pause");
        assert_eq!(log.borrow().iter().filter(|word| word.starts_with("unit")).count(), 30);
        assert!(!pulse.is_running());
    });
}

#[test]
fn a_job_and_queued_items_take_turns() {
    simulated(async {
        let (_control, _pulse, log) = start(20, 20, "", || ());
        settle().await;
        let kinds: Vec<String> = log.borrow().iter().map(|word| word[..4].to_owned()).collect();
        assert_eq!(kinds.len(), 40);
        let longest_run = kinds.chunk_by(|a, b| a == b).map(<[String]>::len).max();
        assert!(longest_run <= Some(2), "neither gets more than one turn ahead: {kinds:?}");
    });
}

#[test]
fn a_resting_pulse_is_silent_and_starts_again() {
    simulated(async {
        let (control, pulse, log) = start(2, 0, "", || ());
        settle().await;
        assert_eq!(*log.borrow(), ["unit 1", "unit 0"]);
        control.tell(Pause).unwrap();
        settle().await;
        assert_eq!(log.borrow().last().unwrap(), "pause");
        pulse.start();
        pulse.rest();
        settle().await;
        assert_eq!(log.borrow().len(), 3, "rested before its turn came");
    });
}

#[test]
fn timers_fire_during_a_job_in_real_time() {
    // 60 units of 2 ms under the real clock, a tick due every 5 ms: every third unit sees one. The test allows 20 units
    // without, because a busy machine delays; without the runtime's own yield there is none before unit 60.
    let busy = || {
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
    };
    actix_rt::System::new().block_on(async {
        let (_control, pulse, log) = start(60, 0, "", busy);
        while pulse.is_running() {
            tokio::time::sleep(Duration::from_millis(1)).await; // never yields by itself: that would help the timers
        }
        let log = log.borrow();
        let longest = log.split(|word| word == "tick").map(<[String]>::len).max();
        assert!(longest <= Some(20), "{longest:?} units in a row without a tick: {log:?}");
    });
}
