//! A message that waits for its answer: when it is sent again, and when nothing more is to be hoped for.

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

impl Backoff {
    /// How long a request is waited for in all.
    fn whole(&self) -> Duration {
        (0..self.sendings).map(|sent| self.wait(self.first, sent)).sum()
    }

    /// The wait after so many sendings more, where it was `first` at the beginning.
    fn wait(&self, first: Duration, sent: u32) -> Duration {
        first.saturating_mul(1 << sent.min(16)).min(self.longest.max(first))
    }
}

/// The longest first wait for an answer, however long answers take.
const MOST_PATIENT: Duration = Duration::from_secs(8);

/// What is to be done about an outstanding request of ours.
#[derive(Debug, PartialEq, Eq)]
pub enum Due<'a> {
    /// Nothing yet.
    Nothing,
    /// Send it again.
    Again(&'a [u8]),
    /// The peer does not answer; it was sent so often.
    GiveUp(u32),
}

/// A message of ours that waits for its answer.
#[derive(Debug)]
pub struct Outstanding {
    octets: Box<[u8]>,
    sent: u32,
    begun: Time,
    first: Duration,
    next: Time,
}

impl Outstanding {
    /// These octets were sent just now.
    pub fn new(octets: &[u8], now: Time, backoff: &Backoff, random: &mut dyn Random) -> Self {
        Self::patient(octets, now, backoff.first, random)
    }

    /// As [`Outstanding::new`], with another first wait.
    pub fn patient(octets: &[u8], now: Time, first: Duration, random: &mut dyn Random) -> Self {
        let next = now.after(jitter(first, random));
        Self { octets: octets.into(), sent: 1, begun: now, first, next }
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
        let patient = self.first > backoff.first;
        if self.sent >= backoff.sendings || patient && now.since(self.begun) >= backoff.whole() {
            return Due::GiveUp(self.sent);
        }
        let wait = backoff.wait(self.first, self.sent);
        self.sent += 1;
        self.next = now.after(jitter(wait, random));
        Due::Again(&self.octets)
    }

    /// How often it was sent.
    pub fn sendings(&self) -> u32 {
        self.sent
    }

    /// Whether it is these octets.
    pub fn says(&self, octets: &[u8]) -> bool {
        *self.octets == *octets
    }

    /// It says the same in other octets from now on.
    pub fn reword(&mut self, octets: &[u8]) {
        self.octets = octets.into();
    }

    /// It is to be sent again now, and waited for anew.
    pub fn hurry(&mut self, now: Time) {
        (self.next, self.begun, self.sent) = (now, now, self.sent.min(1));
    }

    /// The octets, when it is answered.
    pub fn into_octets(self) -> Box<[u8]> {
        self.octets
    }
}

/// How long answers take on a path, as far as that matters.
#[derive(Debug, Clone, Copy, Default)]
pub struct Patience {
    /// The first wait for an answer, where that of [`Backoff`] is too short.
    wait: Duration,
    /// Which request was answered after it had been sent again, and how long that took.
    doubtful: Option<(MessageId, Duration)>,
}

impl Patience {
    /// The first wait for the answer to the next request.
    pub fn first(&self, backoff: &Backoff) -> Duration {
        backoff.first.max(self.wait)
    }

    /// A request is answered.
    pub fn answered(&mut self, id: MessageId, request: &Outstanding, now: Time) {
        let took = now.since(request.begun);
        if request.sent == 1 {
            self.wait = self.wait.min(took + took / 2);
        } else {
            self.doubtful = Some((id, took));
        }
    }

    /// It is answered again: if it had been sent again, that was for nothing.
    pub fn answered_again(&mut self, id: MessageId) {
        if let Some((_, took)) = self.doubtful.take_if(|(doubtful, _)| *doubtful == id) {
            self.wait = (took + took / 2).min(MOST_PATIENT);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::window::Window;
    use super::*;
    use crate::crypto::SeededRandom;

    #[test]
    fn where_answers_take_long_requests_are_not_sent_again_for_nothing() {
        let mut random = SeededRandom::new(1);
        let backoff = Backoff::default();
        let mut window = Window::default();
        let mut now = Time::default();
        // How often a request is sent whose answers all come after so many seconds.
        let mut ask = |window: &mut Window, seconds: u64, come: bool| {
            let id = window.next_own().unwrap();
            window.sent(b"request", now, &backoff, &mut random);
            let mut sendings = 1;
            for _ in 0..seconds * 10 {
                now = now.after(Duration::from_millis(100));
                sendings +=
                    u32::from(matches!(window.due(now, &backoff, &mut random).1, Due::Again(_)));
            }
            window.answered(id, now);
            if come {
                window.answered_again(id);
            }
            sendings
        };
        assert_eq!(ask(&mut window, 4, true), 3);
        assert_eq!(ask(&mut window, 4, true), 1);
        assert_eq!(ask(&mut window.successor(), 4, true), 1);
        // When they come faster again it does not wait as long.
        assert_eq!(ask(&mut window, 0, true), 1);
        assert_eq!(ask(&mut window, 4, false), 3);
        // Where something was lost there is just one answer.
        assert_eq!(ask(&mut window, 4, true), 3);
    }
}
