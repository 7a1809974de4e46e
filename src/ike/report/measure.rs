//! How much is logged of what peers cause, strangers too: nobody is to fill the log.
//!
//! What is left out is told of in one line, once the time is over in which it was counted.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Event, Level, Report};
use crate::conf::counted;
use crate::ike::event::Time;
use crate::ike::quota::Quota;

/// In how long a time reports are counted.
const SPAN: Duration = Duration::from_secs(60);

/// The most failures in that time, in all and about one network. Whoever is not known can cause them, and
/// in the name of any address.
const FAILURES: (u32, u32) = (600, 60);

/// The most of all else about one network: many peers of one may well come up at once.
const OTHERS: u32 = 3000;

/// What is told.
#[derive(Debug)]
pub struct Measure {
    failures: Quota,
    others: Quota,
    left_out: Option<LeftOut>,
}

/// What was not told.
#[derive(Debug)]
struct LeftOut {
    count: u64,
    last: SocketAddr,
    /// When this is told.
    until: Time,
}

impl Default for Measure {
    fn default() -> Self {
        let (most, most_near) = FAILURES;
        Self {
            failures: Quota::new(SPAN, most, most_near),
            others: Quota::new(SPAN, u32::MAX, OTHERS),
            left_out: None,
        }
    }
}

impl Measure {
    /// Whether a report is logged; it is counted. Only what an operator sees who asked for no more is measured.
    pub fn admits(&mut self, now: Time, report: &Report) -> bool {
        let Some(peer) = report.peer.filter(|_| report.level() <= Level::Info) else { return true };
        let quota = if is_failure(report) { &mut self.failures } else { &mut self.others };
        let admitted = quota.admits(now, peer.ip());
        if !admitted {
            let first = LeftOut { count: 0, last: peer, until: quota.until() };
            let left_out = self.left_out.get_or_insert(first);
            left_out.count = left_out.count.saturating_add(1);
            left_out.last = peer;
        }
        admitted
    }

    /// When [`Measure::sum`] has something to say.
    pub fn deadline(&self) -> Option<Time> {
        self.left_out.as_ref().map(|left_out| left_out.until)
    }

    /// What was left out, in words, when its time is over.
    pub fn sum(&mut self, now: Time) -> Option<String> {
        let LeftOut { count, last, .. } = self.left_out.take_if(|it| it.until <= now)?;
        Some(format!(
            "{} left out within {} s, as there were too many of one network or in all; the last was about \
             {}: `oakctl monitor` shows them as they come",
            counted(count, "more line was", "more lines were"),
            SPAN.as_secs(),
            last.ip()
        ))
    }
}

/// Whether it is about something that did not come about.
fn is_failure(report: &Report) -> bool {
    report.explains_failure() || matches!(report.event, Event::NatFound { .. })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::ike::report::Gone;

    fn at(seconds: u64) -> Time {
        Time::at(Duration::from_secs(seconds))
    }

    fn report(address: u32, event: Event) -> Report {
        let peer = Some(SocketAddr::from((address.to_be_bytes(), 500)));
        Report { peer, policy: None, identity: None, event }
    }

    fn broke(address: u32) -> Report {
        report(address, Event::Misbehaved { what: "something".into() })
    }

    #[test]
    fn failures_of_one_network_leave_room_for_others_and_there_is_a_bound_in_all() {
        let mut measure = Measure::default();
        let near = (0..1000).filter(|last| measure.admits(at(5), &broke(0x0a00_0000 + last % 250)));
        assert_eq!(near.count(), 60);
        let all = (1..10_000).filter(|net| measure.admits(at(6), &broke(0x0b00_0000 + net * 256)));
        assert_eq!(all.count(), 600 - 60);
        // What stands and goes is told.
        let gone = || report(0x0a00_0001, Event::IkeDeleted { why: Gone::ByPeer });
        assert!(measure.admits(at(7), &gone()));
        assert_eq!(measure.sum(at(64)), None);
        assert_eq!(measure.deadline(), Some(at(65)));
        let words = measure.sum(at(65)).unwrap();
        assert!(words.starts_with("10399 more lines were left out within 60 s"), "{words}");
        assert!(words.contains("the last was about 11.39.15.0"), "{words}");
        assert_eq!((measure.deadline(), measure.sum(at(200))), (None, None));
        assert!(measure.admits(at(201), &broke(0x0a00_0001)));
    }

    #[test]
    fn many_peers_of_one_network_may_come_up_at_once() {
        let mut measure = Measure::default();
        let up = |number: u32| {
            let flows = Vec::new();
            let (spis, suite) = (("1".into(), "2".into()), String::new());
            report(0x0a00_0000 + number % 250, Event::ChildEstablished { spis, suite, flows })
        };
        assert_eq!((0..5000).filter(|number| measure.admits(at(5), &up(*number))).count(), 3000);
        assert!(measure.admits(at(5), &broke(0x0a00_0001)));
    }

    #[test]
    fn what_nobody_caused_and_what_is_asked_for_is_always_told() {
        let mut measure = Measure::default();
        let own = || Report { peer: None, ..broke(1) };
        let dropped = || report(1, Event::Dropped { why: "something".into() });
        assert!(
            (0..5000).all(|_| measure.admits(at(5), &own()) && measure.admits(at(5), &dropped()))
        );
        assert_eq!(measure.deadline(), None);
    }
}
