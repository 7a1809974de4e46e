//! Who may begin an IKE SA when many want to: cookies (RFC 7296 §2.6), and limits to what is half open.
//!
//! A cookie is demanded when much is half open, in all or from one network, and for a while after
//! many IKE SAs were begun and never proved: then somebody sends first messages for their own sake,
//! though the number at one time may be small. Nothing is kept of who was asked for a cookie.

use std::net::SocketAddr;
use std::time::Duration;

use super::cookie::Cookies;
use crate::ike::core::Core;
use crate::ike::event::Time;
use crate::ike::table::{First, Table};
use crate::wire::IkeSpi;

/// How long what ran out is counted, and how long a cookie is demanded after it was too much.
const MEMORY: Duration = Duration::from_secs(60);

/// What is remembered for it.
#[derive(Debug, Default)]
pub struct Door {
    cookies: Cookies,
    /// How many half-open IKE SAs ran out since then.
    ran_out: (u32, Time),
    wary_until: Option<Time>,
}

/// Whether a first message is taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is.
    Enter,
    /// When it comes again with this cookie.
    Prove(Vec<u8>),
    /// It is not: too much is half open, for this reason.
    Full(&'static str),
}

impl Door {
    /// An IKE SA was half open for as long as that is allowed.
    pub fn ran_out(&mut self, now: Time) {
        let (count, since) = self.ran_out;
        self.ran_out = match now.since(since) < MEMORY {
            true => (count.saturating_add(1), since),
            false => (1, now),
        };
    }

    fn is_wary(&mut self, now: Time, limit: u32) -> bool {
        let (count, since) = self.ran_out;
        if count >= limit && now.since(since) < MEMORY {
            self.wary_until = Some(now.after(MEMORY));
        }
        self.wary_until.is_some_and(|until| now < until)
    }
}

/// Judges a first message by who sends it, with this nonce and perhaps a cookie.
pub fn admit(
    core: &mut Core,
    table: &Table,
    spi: IkeSpi,
    remote: SocketAddr,
    nonce: &[u8],
    returned: Option<&[u8]>,
) -> Admission {
    let (all, near) = table.half_open.counts(First::Init, remote.ip());
    let Core { now, settings, door, random, stats, .. } = core;
    let (now, random) = (*now, &mut **random);
    let many = all >= settings.cookies_from || near >= settings.cookies_from_one;
    if !many && !door.is_wary(now, settings.wary_from) {
        return Admission::Enter;
    }
    let ours = |cookie| door.cookies.is_ours(now, random, spi, remote, nonce, cookie);
    if !returned.is_some_and(ours) {
        stats.cookies += 1;
        return Admission::Prove(door.cookies.bake(now, random, spi, remote, nonce));
    }
    if all >= settings.half_open_most {
        return Admission::Full("too many IKE SAs are half open");
    }
    if near >= settings.half_open_one {
        return Admission::Full("too many IKE SAs of this network are half open");
    }
    Admission::Enter
}
