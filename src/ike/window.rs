//! The requests outstanding each way (RFC 7296 §2.1 to §2.3): retransmission, give-up, duplicates, and
//! what came before its turn.
//!
//! How many requests may be on their way is said by whom they go to. Those of the peer are taken in the
//! order of their message IDs, whatever order they come in: what a request asks for never meets what
//! one before it asked for half done.

use super::event::Time;
use super::natt::Path;
use super::outstanding::{Backoff, Due, Outstanding, Patience};
use crate::crypto::Random;
use crate::wire::MessageId;

/// The most requests of ours that are on their way at a time, however many the peer would take.
const MOST_OWN: u32 = 16;

/// The most datagrams of one peer, and octets of them, that wait for their turn.
const MOST_HELD: (usize, usize) = (64, 64 * 1024);

/// The two message counters of an IKE SA and what hangs on them.
#[derive(Debug)]
pub struct Window {
    next_own: MessageId,
    /// Our requests on their way, the oldest first.
    own: Vec<(MessageId, Outstanding)>,
    /// How many of them the peer takes at a time.
    peers: u8,
    expected: MessageId,
    /// How many of its requests we take at a time.
    size: u8,
    /// The peer does not know that yet.
    untold: bool,
    /// The last one before `expected` is being worked on.
    answering: bool,
    /// The last answers, kept for duplicates; the newest last.
    answers: Vec<Box<[u8]>>,
    early: Option<Box<Early>>,
    patience: Patience,
}

/// The datagrams of requests whose turn has not come; there are hardly ever any.
#[derive(Debug, Default)]
struct Early {
    held: Vec<Held>,
}

/// A datagram of a request whose turn has not come.
#[derive(Debug)]
pub struct Held {
    id: MessageId,
    /// The way it came by.
    pub path: Path,
    /// It.
    pub octets: Box<[u8]>,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            next_own: MessageId::default(),
            own: Vec::new(),
            peers: 1,
            expected: MessageId::default(),
            size: 1,
            untold: false,
            answering: false,
            answers: Vec::new(),
            early: None,
            patience: Patience::default(),
        }
    }
}

/// What a request from the peer is, by its message ID.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival<'a> {
    /// The one expected.
    New,
    /// One that was answered; this was the answer.
    Duplicate(&'a [u8]),
    /// The one that is being worked on.
    InProgress,
    /// One whose turn comes when those before it are answered.
    Early,
    /// None of these: to be dropped.
    OutOfWindow,
}

impl Window {
    /// Whether a request of ours may go out now.
    pub fn is_free(&self) -> bool {
        let oldest = self.own.first().map_or(self.next_own, |(id, _)| *id);
        self.next_own.0 - oldest.0 < u32::from(self.peers).min(MOST_OWN)
    }

    /// Whether no request of ours is on its way.
    pub fn is_idle(&self) -> bool {
        self.own.is_empty()
    }

    /// The message ID of our next request; `None` when the counter is spent.
    pub fn next_own(&self) -> Option<MessageId> {
        self.next_own.next().map(|_| self.next_own)
    }

    /// The message ID of the request that went out last.
    pub fn latest(&self) -> MessageId {
        MessageId(self.next_own.0.saturating_sub(1))
    }

    /// A request of ours goes out; it must carry [`Window::next_own`].
    pub fn sent(&mut self, octets: &[u8], now: Time, backoff: &Backoff, random: &mut dyn Random) {
        let id = self.next_own;
        self.next_own = id.next().unwrap_or(id);
        self.own.reserve_exact(1);
        let first = self.patience.first(backoff);
        self.own.push((id, Outstanding::patient(octets, now, first, random)));
    }

    /// Whether a response with this message ID is one that we wait for.
    pub fn awaits(&self, id: MessageId) -> bool {
        self.own.iter().any(|(own, _)| *own == id)
    }

    /// The response with this message ID was accepted: gives back the request's octets.
    pub fn answered(&mut self, id: MessageId, now: Time) -> Box<[u8]> {
        let Some(at) = self.own.iter().position(|(own, _)| *own == id) else {
            return Box::default();
        };
        let (_, own) = self.own.remove(at);
        self.own.shrink_to_fit();
        self.patience.answered(id, &own, now);
        own.into_octets()
    }

    /// A response came that we had already. Where the request had been sent again, nothing was lost but
    /// the answer takes long: the next requests wait longer before they are sent again.
    pub fn answered_again(&mut self, id: MessageId) {
        self.patience.answered_again(id);
    }

    /// The window of a successor, over the same path.
    pub fn successor(&self) -> Self {
        Self { patience: self.patience, ..Self::default() }
    }

    /// Our only request is withdrawn and its message ID may be used again: only in IKE_SA_INIT, for
    /// a COOKIE or another group (RFC 7296 §2.6).
    pub fn withdraw(&mut self) {
        self.own.clear();
        self.next_own = MessageId::default();
    }

    /// The initial exchanges are done, or it is an IKE SA made by rekeying: from now on we take as
    /// many requests of the peer at a time. It does not know that yet.
    pub fn widen(&mut self, size: u8) {
        self.size = size.max(1);
        self.untold = self.size > 1;
        // As there was one request at a time, the one at work says that what came before has arrived.
        if self.answering {
            self.answers.clear();
        }
    }

    /// What the peer is to be told of how many requests we take, if it does not know.
    pub fn tell(&mut self) -> Option<u32> {
        std::mem::take(&mut self.untold).then_some(u32::from(self.size))
    }

    /// The peer takes so many of our requests at a time.
    pub fn peer_takes(&mut self, size: u32) {
        self.peers = u8::try_from(size).unwrap_or(u8::MAX).max(1);
    }

    /// Judges a request from the peer.
    pub fn arrival(&self, id: MessageId) -> Arrival<'_> {
        let open = MessageId(self.expected.0 - u32::from(self.answering));
        let back = usize::try_from(open.0.wrapping_sub(id.0)).unwrap_or(usize::MAX);
        let answer = self.answers.len().checked_sub(back).and_then(|at| self.answers.get(at));
        match answer {
            Some(octets) => Arrival::Duplicate(octets),
            None if self.answering && id == open => Arrival::InProgress,
            None if id == self.expected && !self.answering => Arrival::New,
            None if id > open && id.0 - open.0 < u32::from(self.size) => Arrival::Early,
            None => Arrival::OutOfWindow,
        }
    }

    /// An authentic datagram of a request whose turn has not come is kept until then, within bounds.
    pub fn hold(&mut self, id: MessageId, path: Path, octets: &[u8]) {
        let held = &mut self.early.get_or_insert_default().held;
        let total: usize = held.iter().map(|it| it.octets.len()).sum();
        let (most, most_octets) = MOST_HELD;
        let again = held.iter().any(|it| *it.octets == *octets);
        if !again && held.len() < most && total + octets.len() <= most_octets {
            held.push(Held { id, path, octets: octets.into() });
        }
    }

    /// Whether something is kept whose turn it is now.
    pub fn is_due(&self) -> bool {
        !self.answering
            && self.early.iter().flat_map(|early| &early.held).any(|it| it.id == self.expected)
    }

    /// Takes it.
    pub fn take_due(&mut self) -> Option<Held> {
        if self.answering {
            return None;
        }
        let held = &mut self.early.as_mut()?.held;
        held.retain(|it| it.id >= self.expected);
        let at = held.iter().position(|it| it.id == self.expected);
        let due = at.map(|at| held.remove(at));
        if held.is_empty() {
            self.early = None;
        }
        due
    }

    /// The expected request was authenticated and is being worked on.
    pub fn accepted(&mut self) {
        self.expected = self.expected.next().unwrap_or(self.expected);
        self.answering = true;
    }

    /// The message ID of the request that is being worked on, or was last.
    pub fn answering(&self) -> MessageId {
        MessageId(self.expected.0.saturating_sub(1))
    }

    /// The answer went out.
    pub fn replied(&mut self, octets: &[u8]) {
        self.answering = false;
        // The peer has had the answers to all requests but the last `size` (RFC 7296 §2.3).
        let most = usize::from(self.size);
        while self.answers.len() >= most {
            self.answers.remove(0);
        }
        self.answers.reserve_exact(1);
        self.answers.push(octets.into());
    }

    /// An outstanding request of ours says the same in other octets from now on (other fragments).
    pub fn reword(&mut self, old: &[u8], new: &[u8]) {
        let mut own = self.own.iter_mut();
        if let Some((_, own)) = own.find(|(_, own)| own.says(old)) {
            own.reword(new);
        }
    }

    /// As [`Window::reword`], for an answer to the peer.
    pub fn reword_answer(&mut self, old: &[u8], new: &[u8]) {
        if let Some(answer) = self.answers.iter_mut().find(|answer| ***answer == *old) {
            *answer = new.into();
        }
    }

    /// Our outstanding requests are to be sent again now: the path is another.
    pub fn hurry(&mut self, now: Time) {
        for (_, own) in &mut self.own {
            own.hurry(now);
        }
    }

    /// When to look at our outstanding requests.
    pub fn deadline(&self) -> Option<Time> {
        self.own.iter().map(|(_, own)| own.deadline()).min()
    }

    /// What to do about one of them now, and how often it was sent before.
    pub fn due(&mut self, now: Time, backoff: &Backoff, random: &mut dyn Random) -> (u32, Due<'_>) {
        match self.own.iter_mut().find(|(_, own)| own.deadline() <= now) {
            Some((_, own)) => (own.sendings(), own.due(now, backoff, random)),
            None => (0, Due::Nothing),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::crypto::SeededRandom;
    use std::time::Duration;

    fn at(seconds: u64) -> Time {
        Time::at(Duration::from_secs(seconds))
    }

    #[test]
    fn duplicates_get_the_same_octets_and_others_are_dropped() {
        let mut window = Window::default();
        assert_eq!(window.arrival(MessageId(0)), Arrival::New);
        assert_eq!(window.arrival(MessageId(1)), Arrival::OutOfWindow);
        window.accepted();
        assert_eq!(window.arrival(MessageId(0)), Arrival::InProgress);
        assert_eq!(window.arrival(MessageId(1)), Arrival::OutOfWindow);
        window.replied(b"answer");
        assert_eq!(window.arrival(MessageId(0)), Arrival::Duplicate(b"answer"));
        assert_eq!(window.arrival(MessageId(1)), Arrival::New);
        assert_eq!(window.arrival(MessageId(u32::MAX)), Arrival::OutOfWindow);
    }

    #[test]
    fn a_request_is_sent_again_with_growing_waits_and_then_given_up() {
        let mut random = SeededRandom::new(1);
        let backoff = Backoff::default();
        let mut window = Window::default();
        window.sent(b"request", at(0), &backoff, &mut random);
        assert!(!window.is_free());
        let mut times = Vec::new();
        for ms in 0..120_000 {
            let now = Time::at(Duration::from_millis(ms));
            match window.due(now, &backoff, &mut random).1 {
                Due::Nothing => (),
                Due::Again(octets) => {
                    assert_eq!(octets, b"request");
                    times.push(ms);
                }
                Due::GiveUp(sent) => {
                    assert_eq!(sent, 7);
                    assert!((54_000..=64_000).contains(&ms), "{ms}");
                    assert_eq!(times.len(), 6);
                    return;
                }
            }
        }
        panic!("never given up");
    }

    #[test]
    fn as_many_requests_go_out_as_the_peer_takes() {
        let mut random = SeededRandom::new(1);
        let backoff = Backoff::default();
        let mut window = Window::default();
        window.peer_takes(2);
        for id in 0..2 {
            assert!(window.is_free());
            assert_eq!(window.next_own(), Some(MessageId(id)));
            window.sent(format!("{id}").as_bytes(), at(0), &backoff, &mut random);
        }
        assert!(!window.is_free());
        // Request 2 has to wait for the answer to request 0, whatever comes of request 1.
        assert_eq!(*window.answered(MessageId(1), at(1)), *b"1");
        assert!(!window.is_free() && window.awaits(MessageId(0)) && !window.awaits(MessageId(1)));
        assert_eq!(*window.answered(MessageId(0), at(1)), *b"0");
        assert!(window.is_free() && window.is_idle());
        window.peer_takes(u32::MAX);
        for _ in 0..MOST_OWN {
            assert!(window.is_free());
            window.sent(b"more", at(0), &backoff, &mut random);
        }
        assert!(!window.is_free());
    }

    #[test]
    fn what_comes_early_waits_for_its_turn_and_all_answers_of_the_window_are_kept() {
        let path = Path {
            local: "192.0.2.1:500".parse().unwrap(),
            remote: "192.0.2.2:500".parse().unwrap(),
        };
        let mut window = Window::default();
        window.accepted();
        window.replied(b"0");
        window.widen(3);
        assert_eq!((window.tell(), window.tell()), (Some(3), None));
        assert_eq!(window.arrival(MessageId(1)), Arrival::New);
        for id in [2, 3] {
            assert_eq!(window.arrival(MessageId(id)), Arrival::Early);
            window.hold(MessageId(id), path, &[u8::try_from(id).unwrap()]);
            window.hold(MessageId(id), path, &[u8::try_from(id).unwrap()]);
        }
        assert_eq!(window.arrival(MessageId(4)), Arrival::OutOfWindow);
        assert!(!window.is_due());
        window.accepted();
        assert_eq!(window.arrival(MessageId(4)), Arrival::OutOfWindow);
        assert_eq!(window.arrival(MessageId(1)), Arrival::InProgress);
        window.replied(b"1");
        for id in [2u8, 3] {
            assert!(window.is_due());
            let due = window.take_due().unwrap();
            assert_eq!(*due.octets, [id]);
            assert_eq!(window.arrival(MessageId(id.into())), Arrival::New);
            window.accepted();
            window.replied(&[b'0' + id]);
        }
        assert!(window.take_due().is_none());
        assert_eq!(window.arrival(MessageId(0)), Arrival::OutOfWindow);
        for id in [1u8, 2, 3] {
            let answer = [b'0' + id];
            assert_eq!(window.arrival(MessageId(id.into())), Arrival::Duplicate(&answer));
        }
        assert_eq!(window.arrival(MessageId(u32::MAX)), Arrival::OutOfWindow);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let path = Path {
            local: "192.0.2.1:500".parse().unwrap(),
            remote: "192.0.2.2:500".parse().unwrap(),
        };
        let mut window = Window::default();
        window.widen(200);
        for number in 0..200u8 {
            window.hold(MessageId(1), path, &[number; 2000]);
        }
        let held = &window.early.as_ref().unwrap().held;
        assert_eq!(held.len(), MOST_HELD.1 / 2000);
        for number in 0..200u8 {
            window.hold(MessageId(1), path, &[number; 2]);
        }
        assert_eq!(window.early.as_ref().unwrap().held.len(), MOST_HELD.0);
    }
}
