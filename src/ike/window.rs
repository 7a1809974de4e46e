//! One request outstanding each way (RFC 7296 §2.1 to §2.3): retransmission, give-up, duplicates.

use std::time::Duration;

use super::event::Time;
use super::timer::jitter;
use crate::crypto::Random;
use crate::wire::MessageId;

/// How requests are sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first sending; it doubles each time.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// How often a request is sent in all.
    pub sendings: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), longest: Duration::from_secs(16), sendings: 7 }
    }
}

/// The two message counters of an IKE SA and what hangs on them.
#[derive(Debug, Default)]
pub struct Window {
    next_own: MessageId,
    own: Option<Box<Outstanding>>,
    expected: MessageId,
    answer: Answer,
}

/// A message of ours that waits for its answer.
#[derive(Debug)]
pub struct Outstanding {
    octets: Box<[u8]>,
    sent: u32,
    next: Time,
}

impl Outstanding {
    /// These octets were sent just now.
    pub fn new(octets: &[u8], now: Time, backoff: &Backoff, random: &mut dyn Random) -> Self {
        Self { octets: octets.into(), sent: 1, next: now.after(jitter(backoff.first, random)) }
    }

    /// When to look at it.
    pub fn deadline(&self) -> Time {
        self.next
    }

    /// What to do about it now.
    pub fn due(&mut self, now: Time, backoff: &Backoff, random: &mut dyn Random) -> Due<'_> {
        if self.next > now {
            return Due::Nothing;
        }
        if self.sent >= backoff.sendings {
            return Due::GiveUp(self.sent);
        }
        let wait = backoff.first.saturating_mul(1 << self.sent.min(16)).min(backoff.longest);
        self.sent += 1;
        self.next = now.after(jitter(wait, random));
        Due::Again(&self.octets)
    }
}

/// How far the answer to the peer's last request is.
#[derive(Debug, Default)]
enum Answer {
    /// There was no request yet.
    #[default]
    None,
    /// It is being worked on.
    Pending,
    /// It was sent; the octets are kept for duplicates.
    Sent(Box<[u8]>),
}

/// What a request from the peer is, by its message ID.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival<'a> {
    /// The one expected.
    New,
    /// The last one again; this was the answer.
    Duplicate(&'a [u8]),
    /// The last one again; the answer is not ready.
    InProgress,
    /// Neither: to be dropped.
    OutOfWindow,
}

/// What is to be done about our outstanding request.
#[derive(Debug, PartialEq, Eq)]
pub enum Due<'a> {
    /// Nothing yet.
    Nothing,
    /// Send it again.
    Again(&'a [u8]),
    /// The peer does not answer; it was sent so often.
    GiveUp(u32),
}

impl Window {
    /// Whether a request of ours may go out now.
    pub fn is_free(&self) -> bool {
        self.own.is_none()
    }

    /// The message ID of our next request; `None` when the counter is spent.
    pub fn next_own(&self) -> Option<MessageId> {
        self.next_own.next().map(|_| self.next_own)
    }

    /// A request of ours goes out; it must carry [`Window::next_own`].
    pub fn sent(&mut self, octets: &[u8], now: Time, backoff: &Backoff, random: &mut dyn Random) {
        self.own = Some(Box::new(Outstanding::new(octets, now, backoff, random)));
    }

    /// Whether a response with this message ID is the one we wait for.
    pub fn awaits(&self, id: MessageId) -> bool {
        self.own.is_some() && id == self.next_own
    }

    /// The response to our request was accepted: gives back the request's octets.
    pub fn answered(&mut self) -> Box<[u8]> {
        self.next_own = self.next_own.next().unwrap_or(self.next_own);
        self.own.take().map(|own| own.octets).unwrap_or_default()
    }

    /// Our request is withdrawn and its message ID may be used again: only in IKE_SA_INIT, for
    /// a COOKIE or another group (RFC 7296 §2.6).
    pub fn withdraw(&mut self) {
        self.own = None;
    }

    /// Judges a request from the peer.
    pub fn arrival(&self, id: MessageId) -> Arrival<'_> {
        let duplicate = self.expected.0.checked_sub(1) == Some(id.0);
        match &self.answer {
            Answer::Pending if duplicate => Arrival::InProgress,
            Answer::Pending => Arrival::OutOfWindow,
            Answer::Sent(octets) if duplicate => Arrival::Duplicate(octets),
            Answer::None | Answer::Sent(_) if id == self.expected => Arrival::New,
            Answer::None | Answer::Sent(_) => Arrival::OutOfWindow,
        }
    }

    /// The expected request was authenticated and is being worked on.
    pub fn accepted(&mut self) {
        self.expected = self.expected.next().unwrap_or(self.expected);
        self.answer = Answer::Pending;
    }

    /// The message ID of the request that is being worked on.
    pub fn answering(&self) -> MessageId {
        MessageId(self.expected.0.saturating_sub(1))
    }

    /// Whether a request of the peer is being worked on.
    pub fn is_answering(&self) -> bool {
        matches!(self.answer, Answer::Pending)
    }

    /// The answer went out.
    pub fn replied(&mut self, octets: &[u8]) {
        self.answer = Answer::Sent(octets.into());
    }

    /// Our outstanding request says the same in other octets from now on (other fragments).
    pub fn reword(&mut self, old: &[u8], new: &[u8]) {
        if let Some(own) = self.own.as_mut().filter(|own| *own.octets == *old) {
            own.octets = new.into();
        }
    }

    /// As [`Window::reword`], for the answer to the peer's last request.
    pub fn reword_answer(&mut self, id: MessageId, new: &[u8]) {
        let last = id == self.answering();
        if let (Answer::Sent(octets), true) = (&mut self.answer, last) {
            *octets = new.into();
        }
    }

    /// How often our outstanding request was sent; 0 if there is none.
    pub fn sendings(&self) -> u32 {
        self.own.as_ref().map_or(0, |own| own.sent)
    }

    /// Our outstanding request is to be sent again now: the path is another.
    pub fn hurry(&mut self, now: Time) {
        if let Some(own) = &mut self.own {
            (own.next, own.sent) = (now, own.sent.min(1));
        }
    }

    /// When to look at our outstanding request.
    pub fn deadline(&self) -> Option<Time> {
        self.own.as_ref().map(|own| own.deadline())
    }

    /// What to do about it now.
    pub fn due(&mut self, now: Time, backoff: &Backoff, random: &mut dyn Random) -> Due<'_> {
        match &mut self.own {
            Some(own) => own.due(now, backoff, random),
            None => Due::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SeededRandom;

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
            match window.due(now, &backoff, &mut random) {
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
}
