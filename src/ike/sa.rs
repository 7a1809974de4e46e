//! An IKE SA: what both versions have, and the seam between them.

use std::net::SocketAddr;
use std::sync::Arc;

use super::child::Child;
use super::core::{Core, name_of};
use super::event::Time;
use super::natt::Nat;
use super::report::{Event, Gone};
use super::selector::Hosts;
use super::table::SaId;
use super::v2;
use super::window::Window;
use crate::conf::{Policy, PolicyName};
use crate::wire::IkeSpi;

/// An IKE SA, in whatever state.
#[derive(Debug)]
pub struct Sa {
    /// What does not depend on the version.
    pub frame: Frame,
    /// What does.
    pub body: Body,
}

/// The two versions.
#[derive(Debug)]
pub enum Body {
    /// IKEv2 (RFC 7296).
    V2(v2::State),
}

/// What an IKE SA of either version has.
#[derive(Debug)]
pub struct Frame {
    /// Its name: the SPI that we chose.
    pub id: SaId,
    /// The peer's SPI; zero as long as it is not known.
    pub peer_spi: IkeSpi,
    /// Whether we initiated it.
    pub initiator: bool,
    /// Our address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The policy: at first by address, with IKE_AUTH by identity.
    pub policy: Arc<Policy>,
    /// We initiated while there was no other IKE SA with this peer (INITIAL_CONTACT).
    pub first_contact: bool,
    /// NATs on the way.
    pub nat: Nat,
    /// When it came to be.
    pub created: Time,
    /// When it is to be looked at next, as it stands in the timers.
    pub deadline: Option<Time>,
    /// Message IDs, our outstanding request, the last answer.
    pub window: Window,
    /// Its child SAs.
    pub children: Vec<Child>,
    /// It is at its end: leaves the table after the current input.
    pub gone: Option<Gone>,
}

impl Sa {
    /// Its name.
    pub fn id(&self) -> SaId {
        self.frame.id
    }

    /// Whether it is established.
    pub fn is_established(&self) -> bool {
        let Body::V2(state) = &self.body;
        state.established().is_some()
    }

    /// The name of its policy.
    pub fn policy_name(&self) -> &PolicyName {
        &self.frame.policy.name
    }

    /// When it is to be looked at next.
    pub fn next_timeout(&self, core: &Core) -> Option<Time> {
        let Body::V2(state) = &self.body;
        state.next_timeout(&self.frame, core)
    }
}

impl Frame {
    /// An IKE SA that begins.
    pub fn new(
        id: SaId,
        initiator: bool,
        local: SocketAddr,
        remote: SocketAddr,
        policy: Arc<Policy>,
        now: Time,
    ) -> Self {
        Self {
            id,
            peer_spi: IkeSpi::ZERO,
            initiator,
            local,
            remote,
            policy,
            first_contact: false,
            nat: Nat::default(),
            created: now,
            deadline: None,
            window: Window::default(),
            children: Vec::new(),
            gone: None,
        }
    }

    /// Both SPIs, initiator's first.
    pub fn spis(&self) -> (IkeSpi, IkeSpi) {
        match self.initiator {
            true => (self.id.0, self.peer_spi),
            false => (self.peer_spi, self.id.0),
        }
    }

    /// Both SPIs, printed.
    pub fn printed_spis(&self) -> (String, String) {
        let (initiator, responder) = self.spis();
        (initiator.to_string(), responder.to_string())
    }

    /// The outer addresses.
    pub fn hosts(&self) -> Hosts {
        Hosts { local: self.local.ip(), remote: self.remote.ip() }
    }

    /// The ports of UDP encapsulation (ours, the peer's), where it is to be used.
    pub fn encap(&self) -> Option<(u16, u16)> {
        (self.nat.found() || self.policy.force_natt)
            .then_some((self.local.port(), self.remote.port()))
    }

    /// One more child SA. Most IKE SAs have just one: no room is kept for others.
    pub fn adopt(&mut self, child: Child) {
        self.children.reserve_exact(1);
        self.children.push(child);
    }

    /// The child SA at this place goes.
    pub fn part_with(&mut self, at: usize) -> Child {
        let child = self.children.remove(at);
        self.children.shrink_to_fit();
        child
    }

    /// Reports about this SA.
    pub fn report(&self, core: &mut Core, event: Event) {
        let name = name_of(Some(&self.policy));
        core.report(Some(self.remote), name.as_ref(), event);
    }

    /// Takes the SA and its children down, without a word to the peer.
    pub fn close(&mut self, core: &mut Core, why: Gone) {
        if self.gone.is_some() {
            return;
        }
        self.gone = Some(why);
        for mut child in std::mem::take(&mut self.children) {
            child.remove(core);
            if why != Gone::Replaced {
                let spis = child.printed_spis();
                self.report(core, Event::ChildDeleted { spis, why });
            }
        }
    }
}
