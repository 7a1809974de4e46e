//! Messages outside an IKE SA (RFC 7296 §1.5, §2.21.4): what is said of one that names an IKE SA that is
//! not, and what is made of it when a peer says so.
//!
//! Nothing protects either. What we say is never more than what was asked, never an answer to an answer,
//! and bounded, for each network and in all. What we hear is a hint that the peer may have started anew: it is
//! asked whether it is alive, and only its silence ends the IKE SA, though sooner than without the hint.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::established::Established;
use super::init::refuse;
use super::tasks::Task;
use crate::ike::core::Core;
use crate::ike::event::Time;
use crate::ike::frame::Frame;
use crate::ike::quota::Quota;
use crate::ike::report::Event;
use crate::wire::iana::v2::{ExchangeType, NotifyType, PayloadType};
use crate::wire::v2::{Notify, Payload, parse_message};
use crate::wire::{EspSpi, HEADER_LEN, Header};

/// How long a sign of life outweighs hints: a peer is asked no more often than this because of them.
const TRUSTED: Duration = Duration::from_secs(5);

/// The octets of a message that holds one notification without data.
const ANSWER_LEN: usize = HEADER_LEN + 8;

/// In how long a time messages are counted.
const SPAN: Duration = Duration::from_secs(1);

/// The most messages in that time, in all and with one network.
const MOST: (u32, u32) = (64, 8);

/// How much is said and heard.
#[derive(Debug)]
pub struct Strays {
    said: Quota,
    heard: Quota,
}

impl Default for Strays {
    fn default() -> Self {
        let quota = || Quota::new(SPAN, MOST.0, MOST.1);
        Self { said: quota(), heard: quota() }
    }
}

impl Strays {
    /// Whether one more hint from there is worth a search.
    pub fn hears(&mut self, now: Time, remote: IpAddr) -> bool {
        self.heard.admits(now, remote)
    }
}

/// A message of IKEv2 names an IKE SA that is not: the peer is told, if it was a protected request.
pub fn tell(core: &mut Core, header: &Header, octets: &[u8], path: (SocketAddr, SocketAddr)) {
    let protected = [PayloadType::SK, PayloadType::SKF].contains(&header.next_payload);
    let fits = protected && octets.len() >= ANSWER_LEN;
    if fits && header.exchange != ExchangeType::IKE_SA_INIT {
        answer(core, header, Notify::new(NotifyType::INVALID_IKE_SPI), path);
    }
}

/// Answers a request that is for no IKE SA of ours, within bounds.
pub fn answer(
    core: &mut Core,
    header: &Header,
    notify: Notify,
    (local, remote): (SocketAddr, SocketAddr),
) {
    if !header.is_response() && core.strays.said.admits(core.now, remote.ip()) {
        refuse(core, header, notify, local, remote);
    }
}

/// What an unprotected message may say of SAs that we have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// The peer does not know the IKE SA that the message names.
    Ike,
    /// The peer does not know the child SA of ours to it that has this SPI.
    Child(EspSpi),
}

impl Hint {
    /// What an unprotected message says; `None` if it is protected, or of the exchange that always is
    /// unprotected.
    pub fn read(header: &Header, octets: &[u8]) -> Option<Self> {
        if header.next_payload != PayloadType::N || header.exchange == ExchangeType::IKE_SA_INIT {
            return None;
        }
        let (_, payloads) = parse_message(octets).ok()?;
        payloads.iter().find_map(|payload| match payload {
            Payload::Notify(it) if it.notify_type == NotifyType::INVALID_IKE_SPI => Some(Hint::Ike),
            Payload::Notify(it) if it.notify_type == NotifyType::INVALID_SPI => {
                let spi = it.data.as_slice().try_into().ok()?;
                Some(Hint::Child(EspSpi(u32::from_be_bytes(spi))))
            }
            _ => None,
        })
    }
}

impl Established {
    /// The peer was heard of just now: it is alive.
    pub fn is_heard(&mut self, now: Time) {
        (self.heard, self.doubted) = (now, false);
    }

    /// Somebody says that the peer has forgotten this IKE SA, or a child of it: it is asked, unless a request
    /// is on its way anyhow.
    pub fn doubt(&mut self, frame: &mut Frame, core: &mut Core, hint: Hint) {
        if self.doubted || self.heard.after(TRUSTED) > core.now || self.is_ending() {
            return;
        }
        frame.report(core, Event::Doubted { child: hint != Hint::Ike });
        match frame.window.is_idle() {
            true => self.may_be_forgotten(),
            false => self.doubted = true,
        }
        self.advance(frame, core);
    }

    /// The peer is asked next of all whether it is alive, and its silence is short.
    pub fn may_be_forgotten(&mut self) {
        self.doubted = true;
        self.urge(Task::Probe);
    }
}
