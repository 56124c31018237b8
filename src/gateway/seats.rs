//! Who is connected: a seat each, of which there are so many and no more.
//!
//! Invariant: whoever comes is let in at once or told at once that there is no room; nobody waits for somebody else's
//! patience. Where all seats are taken, the one whose client is awaited longest is given away (its request is not whole,
//! or it takes nothing of its answer), of the address that has most such; a seat whose client waits for us never is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::limits::Peer;

/// What a connection is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Waits for a request, or has a part of its head.
    Head,
    /// Has a request's head and waits for the rest of its body.
    Body,
    /// Has a whole request, which is being answered.
    Working,
}

/// After how long a client that takes nothing of its answer can lose its seat to somebody who waits for one. A slow line
/// takes something more often than that; `http.write_timeout_s` is for when nobody waits.
const STUCK: Duration = Duration::from_secs(2);

/// What is known of a connection.
#[derive(Debug, Clone, Copy)]
struct State {
    stage: Stage,
    since: Instant,
    /// Since when it takes nothing of what is sent.
    stuck: Option<Instant>,
}

impl State {
    fn now(stage: Stage) -> Self {
        Self { stage, since: Instant::now(), stuck: None }
    }

    /// Since when the client is awaited; `None` where it waits for us.
    fn awaited(self) -> Option<Instant> {
        let stuck = self.stuck.filter(|stuck| stuck.elapsed() >= STUCK);
        stuck.or((self.stage != Stage::Working).then_some(self.since))
    }
}

/// One connection's seat.
#[derive(Debug)]
pub(super) struct Seat {
    peer: Peer,
    state: Mutex<State>,
    given_away: Notify,
}

impl Seat {
    fn state(&self) -> MutexGuard<'_, State> {
        // Plain values that are written together: nothing is torn by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request's head has come; its body is `whole` or still to come.
    pub(super) fn serve(self: &Arc<Self>, whole: bool) -> Busy {
        let busy = Busy(self.clone());
        *self.state() = State::now(Stage::Body);
        if whole {
            busy.heard();
        }
        busy
    }

    /// Something that was sent has been taken.
    pub(super) fn moved(&self) {
        let mut state = self.state();
        (state.since, state.stuck) = (Instant::now(), None);
    }

    /// What was sent is not taken now.
    pub(super) fn stuck(&self) {
        self.state().stuck = Some(Instant::now());
    }

    /// Comes back when the seat has been given away, or when no request has come for about `patience`.
    pub(super) async fn over(&self, patience: Duration) {
        loop {
            tokio::select! {
                () = self.given_away.notified() => return,
                () = tokio::time::sleep(patience) => {}
            }
            let state = *self.state();
            if state.stage == Stage::Head && state.since.elapsed() >= patience {
                return;
            }
        }
    }
}

/// A request under way; when it is dropped, the next one is awaited.
#[derive(Debug)]
pub(super) struct Busy(Arc<Seat>);

impl Busy {
    /// The request's body is whole.
    pub(super) fn heard(&self) {
        *self.0.state() = State::now(Stage::Working);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.state();
        *state = State { stuck: state.stuck, ..State::now(Stage::Head) };
    }
}

/// All seats. Clones are the same seats.
#[derive(Debug, Clone)]
pub(super) struct Seats {
    most: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    seats: BTreeMap<u64, Arc<Seat>>,
}

/// A seat that is taken; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Seated {
    pub(super) seat: Arc<Seat>,
    number: u64,
    seats: Seats,
}

impl Drop for Seated {
    fn drop(&mut self) {
        self.seats.taken().seats.remove(&self.number);
    }
}

impl Seats {
    /// So many seats, all free.
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A seat for `peer`; none where everybody has a request under way.
    pub(super) fn enter(&self, peer: Peer) -> Option<Seated> {
        let mut taken = self.taken();
        if taken.seats.len() >= self.most {
            let number = longest_awaited(&taken.seats)?;
            let seat = taken.seats.remove(&number)?;
            seat.given_away.notify_one();
        }
        let number = taken.next;
        taken.next += 1;
        let state = Mutex::new(State::now(Stage::Head));
        let seat = Arc::new(Seat { peer, state, given_away: Notify::new() });
        taken.seats.insert(number, seat.clone());
        Some(Seated { seat, number, seats: self.clone() })
    }
}

/// The seat to give away: the longest awaited of the address that has most seats whose client is awaited.
fn longest_awaited(seats: &BTreeMap<u64, Arc<Seat>>) -> Option<u64> {
    let mut peers: BTreeMap<&Peer, (usize, Instant, u64)> = BTreeMap::new();
    for (number, seat) in seats {
        let awaited = seat.state().awaited();
        if let Some(since) = awaited {
            let (count, oldest, of) = peers.entry(&seat.peer).or_insert((0, since, *number));
            *count += 1;
            if since < *oldest {
                (*oldest, *of) = (since, *number);
            }
        }
    }
    let most = peers.into_values().max_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
    most.map(|(_, _, number)| number)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use futures_util::FutureExt;

    use super::*;

    fn peer(last: u8) -> Peer {
        Peer::at(Some(IpAddr::from([192, 0, 2, last])))
    }

    async fn given_away(seated: &Seated) -> bool {
        seated.seat.over(Duration::from_secs(3600)).now_or_never().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_silent_one_makes_room_and_one_that_is_being_answered_never_does() {
        let seats = Seats::new(3);
        let mut seated = Vec::new();
        for _ in 0..3 {
            seated.push(seats.enter(peer(1)).unwrap());
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        let first = seated[0].seat.serve(true);
        let drips = seated[1].seat.serve(false);
        tokio::time::advance(Duration::from_millis(1)).await;
        // The third has kept silent since before the second's head came.
        let fourth = seats.enter(peer(1)).unwrap();
        assert!(given_away(&seated[2]).await && !given_away(&seated[1]).await && !given_away(&seated[0]).await);
        let fourth_busy = fourth.seat.serve(true);
        let fifth = seats.enter(peer(1)).unwrap();
        assert!(given_away(&seated[1]).await, "a body that drips is no request yet");
        let _fifth_busy = fifth.seat.serve(true);
        assert!(seats.enter(peer(1)).is_none(), "all three are being answered");
        drop((drips, first));
        assert!(seats.enter(peer(1)).is_some());
        assert!(given_away(&seated[0]).await, "its request is over and the next one has not come");
        drop(fourth_busy);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_with_many_seats_gives_one_up_before_an_address_with_few() {
        let seats = Seats::new(3);
        let few = seats.enter(peer(1)).unwrap();
        tokio::time::advance(Duration::from_millis(1)).await;
        let many = [seats.enter(peer(2)).unwrap(), seats.enter(peer(2)).unwrap()];
        tokio::time::advance(Duration::from_millis(1)).await;
        let _newcomer = seats.enter(peer(3)).unwrap();
        assert!(!given_away(&few).await && given_away(&many[0]).await && !given_away(&many[1]).await);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_begins_no_request_for_long_is_let_go_and_whoever_still_takes_what_is_sent_is_not() {
        let seats = Seats::new(2);
        let (silent, reading) = (seats.enter(peer(1)).unwrap(), seats.enter(peer(1)).unwrap());
        let patience = Duration::from_secs(5);
        let over = async |seat: &Seat, seconds| tokio::time::timeout(seconds, seat.over(patience)).await.is_ok();
        let reads = async {
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                reading.seat.moved();
            }
        };
        let within = Duration::from_secs(12);
        let (silent_over, reading_over, ()) =
            tokio::join!(over(&silent.seat, within), over(&reading.seat, within), reads);
        assert!(silent_over && !reading_over);
        let _busy = reading.seat.serve(true);
        assert!(!over(&reading.seat, Duration::from_secs(60)).await, "an answer may take as long as it takes");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_takes_nothing_of_its_answer_makes_room_and_one_that_takes_a_little_does_not() {
        let seats = Seats::new(2);
        let (stuck, slow) = (seats.enter(peer(1)).unwrap(), seats.enter(peer(1)).unwrap());
        let _busy = (stuck.seat.serve(true), slow.seat.serve(true));
        stuck.seat.stuck();
        slow.seat.stuck();
        tokio::time::advance(STUCK / 2).await;
        assert!(seats.enter(peer(1)).is_none(), "both may have been slow for a moment");
        slow.seat.moved();
        slow.seat.stuck();
        tokio::time::advance(STUCK / 2).await;
        let next = seats.enter(peer(1)).unwrap();
        assert!(given_away(&stuck).await && !given_away(&slow).await);
        drop(next);
    }

    #[test]
    fn a_seat_is_free_again_when_its_connection_is_gone() {
        let seats = Seats::new(1);
        for _ in 0..3 {
            let seated = seats.enter(Peer::Unknown).unwrap();
            let _busy = seated.seat.serve(true);
            assert!(seats.enter(Peer::Unknown).is_none());
        }
        assert!(seats.taken().seats.is_empty());
    }
}
