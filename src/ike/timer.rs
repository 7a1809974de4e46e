//! When the engine next has something to do.

use std::collections::BTreeSet;
use std::time::Duration;

use super::event::Time;
use super::table::SaId;
use crate::crypto::Random;

/// What a timer wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// An IKE SA: retransmission, half-open limit, rekeying, liveness, lifetime, keepalive.
    Sa(SaId),
    /// A policy (by its place in the configuration) is to be tried (again).
    Policy(u32),
    /// A shutdown no longer waits for acknowledgements.
    Shutdown,
}

/// All timers, each at most once.
#[derive(Debug, Default)]
pub struct Timers(BTreeSet<(Time, Timer)>);

impl Timers {
    /// Moves a timer from one time (if it was set) to another (or to none).
    pub fn set(&mut self, timer: Timer, from: Option<Time>, to: Option<Time>) {
        if from == to {
            return;
        }
        if let Some(from) = from {
            self.0.remove(&(from, timer));
        }
        if let Some(to) = to {
            self.0.insert((to, timer));
        }
    }

    /// The earliest.
    pub fn next(&self) -> Option<Time> {
        self.0.first().map(|(time, _)| *time)
    }

    /// Takes one that is due.
    pub fn take_due(&mut self, now: Time) -> Option<Timer> {
        let first = *self.0.first()?;
        if first.0 > now {
            return None;
        }
        self.0.remove(&first);
        Some(first.1)
    }
}

/// A span made up to a tenth shorter, so that the two sides do not act at once.
pub fn jitter(span: Duration, random: &mut dyn Random) -> Duration {
    let tenth = u64::try_from(span.as_millis() / 10).unwrap_or(u64::MAX);
    span.saturating_sub(Duration::from_millis(random.below(tenth.saturating_add(1))))
}

/// When an SA of this hard lifetime is to be rekeyed: at 80 to 90 per cent of it.
pub fn soft(hard: Duration, random: &mut dyn Random) -> Duration {
    jitter(hard * 9 / 10, random).max(hard * 8 / 10)
}

/// After how many octets an SA of this limit is to be rekeyed: at 80 to 90 per cent of it.
pub fn soft_bytes(hard: u64, random: &mut dyn Random) -> u64 {
    hard / 10 * 8 + random.below(hard / 10 + 1)
}

/// The earliest of some times.
pub fn earliest(times: impl IntoIterator<Item = Option<Time>>) -> Option<Time> {
    times.into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SeededRandom;

    #[test]
    fn a_timer_moves_and_fires_once() {
        let at = |s| Time::at(Duration::from_secs(s));
        let mut timers = Timers::default();
        timers.set(Timer::Policy(1), None, Some(at(5)));
        timers.set(Timer::Policy(1), Some(at(5)), Some(at(3)));
        assert_eq!(timers.next(), Some(at(3)));
        assert_eq!(timers.take_due(at(2)), None);
        assert_eq!(timers.take_due(at(9)), Some(Timer::Policy(1)));
        assert_eq!(timers.take_due(at(9)), None);
    }

    #[test]
    fn soft_lies_between_80_and_90_per_cent() {
        let mut random = SeededRandom::new(1);
        for _ in 0..100 {
            let soft = soft(Duration::from_secs(1000), &mut random).as_secs();
            assert!((800..=900).contains(&soft), "{soft}");
            let bytes = soft_bytes(1_000_000, &mut random);
            assert!((800_000..=900_000).contains(&bytes), "{bytes}");
            assert_eq!(soft_bytes(0, &mut random), 0);
        }
    }
}
