//! Tests of the port, by itself and between actors.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, ContextFutureSpawner, StreamHandler, WrapFuture};
use tokio::time::Instant;

use super::*;
use crate::link::one_per_poll;
use crate::testkit::{settle, simulated};

#[tokio::test(start_paused = true)]
async fn the_bound_holds_with_a_clone_per_call() {
    let port = Port::new("prompts", 4);
    let taken = (0..1000).filter(|n| port.clone().offer(*n).is_ok()).count();
    assert_eq!((taken, port.len(), port.room()), (4, 4, 0));
    assert_eq!(port.offer(7), Err(OfferError::Full(7)));
    assert_eq!(port.inlet().recv().await, Some(0));
    assert_eq!((port.len(), port.room()), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn who_waits_inside_is_served_before_who_offers_later() {
    let port = Port::new("rollouts", 1);
    let inlet = port.inlet();
    port.offer(1).unwrap();
    let waiting = tokio::spawn(port.send(2));
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    assert_eq!(inlet.recv().await, Some(1));
    assert_eq!(port.offer(3), Err(OfferError::Full(3)), "the free place belongs to who waits");
    waiting.await.unwrap().unwrap();
    assert_eq!(inlet.try_recv(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn closing_delivers_what_is_queued_and_frees_who_waits() {
    let port = Port::new("rollouts", 2);
    port.offer(1).unwrap();
    port.offer(2).unwrap();
    let waiting = tokio::spawn(port.send(3));
    tokio::task::yield_now().await;
    port.close();
    assert_eq!(waiting.await.unwrap(), Err(Closed(3)));
    assert_eq!(port.offer(4), Err(OfferError::Closed(4)));
    assert_eq!(port.inlet().items().collect::<Vec<_>>().await, [1, 2]);
    assert_eq!(port.inlet().recv().await, None);
}

#[tokio::test(start_paused = true)]
async fn the_queue_outlives_its_reader_and_forgets_a_dead_one() {
    let port = Port::new("prompts", 8);
    for incarnation in 0..3 {
        port.offer(incarnation * 10).unwrap();
        port.offer(incarnation * 10 + 1).unwrap();
        let mut items = port.inlet().items();
        assert!(items.next().await.is_some());
        drop(items);
    }
    assert_eq!(port.len(), 3);
    let mut reader = port.inlet().items();
    for _ in 0..3 {
        reader.next().await.unwrap();
    }
    // A reader that waited and died must not take the wake-up of the next.
    let dead = tokio::spawn({
        let inlet = port.inlet();
        async move { inlet.recv().await }
    });
    tokio::task::yield_now().await;
    dead.abort();
    assert!(dead.await.unwrap_err().is_cancelled());
    assert!(locked(&port.core.state).readers.take().is_empty());
    let alive = tokio::spawn(async move { reader.next().await });
    tokio::task::yield_now().await;
    port.offer(99).unwrap();
    assert_eq!(alive.await.unwrap(), Some(99));
}

#[test]
fn an_item_offered_on_a_plain_thread_wakes_the_reader() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let port = Port::new("ratings", 1);
    let inlet = port.inlet();
    let offerer = std::thread::spawn(move || {
        for n in 0..1000 {
            while port.offer(n).is_err() {
                std::thread::yield_now();
            }
        }
        port.close();
    });
    let all: Vec<i32> = runtime.block_on(inlet.items().collect());
    assert_eq!(all, (0..1000).collect::<Vec<_>>());
    offerer.join().unwrap();
}

/// Passes numbers on; the last stage, without `next`, waits until it is let go.
struct Stage {
    inlet: Inlet<u32>,
    next: Option<Port<u32>>,
    open: Rc<tokio::sync::Semaphore>,
    done: Rc<RefCell<Vec<u32>>>,
}

impl Actor for Stage {
    type Context = Context<Self>;
    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.add_stream(one_per_poll(self.inlet.items()));
    }
}

impl StreamHandler<u32> for Stage {
    fn handle(&mut self, number: u32, ctx: &mut Self::Context) {
        let (next, open) = (self.next.clone(), self.open.clone());
        let pass = async move {
            match next {
                Some(next) => next.send(number).await.is_ok(),
                None => open.acquire().await.map(tokio::sync::SemaphorePermit::forget).is_ok(),
            }
        };
        pass.into_actor(self).map(move |_, stage, _| stage.done.borrow_mut().push(number)).wait(ctx);
    }
}

#[test]
fn three_stages_with_capacities_2_1_1_accept_exactly_7_before_the_source_is_refused() {
    simulated(async {
        let ports = [("prompts", 2), ("rollouts", 1), ("scored", 1)].map(|(name, room)| Port::<u32>::new(name, room));
        let open = Rc::new(tokio::sync::Semaphore::new(0));
        let done = Rc::new(RefCell::new(Vec::new()));
        for stage in 0..3 {
            let (inlet, next) = (ports[stage].inlet(), ports.get(stage + 1).cloned());
            let done = if next.is_none() { done.clone() } else { Rc::default() };
            Stage { inlet, next, open: open.clone(), done }.start();
        }
        let mut accepted = Vec::new();
        for number in 0..100 {
            settle().await; // what can move on has moved on
            if ports[0].clone().offer(number).is_ok() {
                accepted.push(number);
            }
        }
        // Sum of capacities (2 + 1 + 1) and one in each stage's hand (3).
        assert_eq!(accepted, (0..7).collect::<Vec<_>>());
        open.add_permits(100);
        settle().await;
        assert_eq!(*done.borrow(), accepted, "nothing accepted is lost");
    });
}

#[test]
fn a_send_within_an_actor_waits_without_blocking_its_neighbours() {
    simulated(async {
        let (full, open) = (Port::<u32>::new("scored", 1), Rc::new(tokio::sync::Semaphore::new(100)));
        full.offer(0).unwrap();
        let ports = [Port::<u32>::new("prompts", 4), Port::<u32>::new("ratings", 4)];
        let done = [Rc::<RefCell<Vec<u32>>>::default(), Rc::default()];
        for (n, next) in [Some(full.clone()), None].into_iter().enumerate() {
            Stage { inlet: ports[n].inlet(), next, open: open.clone(), done: done[n].clone() }.start();
            ports[n].offer(1).unwrap();
        }
        let began = Instant::now();
        settle().await;
        assert_eq!((done[0].borrow().clone(), done[1].borrow().clone()), (vec![], vec![1]));
        assert!(began.elapsed() < Duration::from_millis(2), "simulated");
        assert_eq!(full.inlet().recv().await, Some(0));
        settle().await;
        assert_eq!(*done[0].borrow(), [1]);
    });
}
