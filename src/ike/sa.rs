//! An IKE SA: the seam between the two versions.
//!
//! The seam is [`Body`], and the verbs of [`Sa`] that choose by it; nobody else asks for the version.

mod reconfigure;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::auth::{Answer, QuestionId};
use super::child::{Child, ChildId, DEFERRED, Stage};
use super::core::{Core, Deed, Negotiation, Part};
use super::event::{Cpi, KernelAnswer, KernelSelector, Time};
use super::frame::Frame;
use super::id;
use super::natt::Path;
use super::report::{Event, Gone};
use super::selector::covers;
use super::table::SaId;
use super::v2::tasks::Task;
use super::view::{IkeKeys, SaView};
use super::{v1, v2};
use crate::conf::{Policy, PolicyName, SaProtocol, Version};
use crate::crypto::cipher::Keys;
use crate::wire::v2::Id;
use crate::wire::{EspSpi, Header};

/// How long a call of ours counts as one that is being worked on: less than until it is repeated.
const AT_ONCE: Duration = Duration::from_millis(800);

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
    /// IKEv1 (RFC 2409): an ISAKMP SA.
    V1(Box<v1::State>),
    /// IKEv2 (RFC 7296).
    V2(v2::State),
}

/// What is known of an IKE SA that stands.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// Our identity and the peer's.
    pub ids: &'a (Id, Id),
    /// The user as whom the peer logged in (XAUTH), besides.
    pub user: Option<&'a str>,
    /// When it became established.
    pub since: Time,
    /// When it is to be rekeyed.
    pub rekey_at: Option<Time>,
    /// Whether we are deleting it.
    pub ending: bool,
    /// Whether another takes over its children.
    pub replaced: bool,
}

/// Who a peer has proved to be. Users who log in may all call themselves by the name of their group.
#[derive(Debug, Clone)]
pub struct Who {
    id: Id,
    user: Option<String>,
}

impl Who {
    /// Whether both are the same peer.
    pub fn is(&self, other: &Self) -> bool {
        id::same(&self.id, &other.id) && self.user == other.user
    }
}

impl Standing<'_> {
    /// Who the peer is.
    pub fn who(&self) -> Who {
        Who { id: self.ids.1.clone(), user: self.user.map(str::to_owned) }
    }
}

impl Sa {
    /// Calls the peer of a policy, in the version that the policy is for; `None` (reported) if
    /// that cannot be.
    pub fn open(
        core: &mut Core,
        policy: Arc<Policy>,
        local: SocketAddr,
        remote: SocketAddr,
        first_contact: bool,
    ) -> Option<Box<Self>> {
        match policy.version {
            Version::V1(_) => v1::initiate(core, policy, local, remote, first_contact),
            Version::V2 => v2::init::initiate(core, policy, local, remote, first_contact),
        }
    }

    /// A message for it has come.
    pub fn receive(
        &mut self,
        core: &mut Core,
        header: &Header,
        octets: &[u8],
        path: (SocketAddr, SocketAddr),
    ) {
        match (&self.body, header.version.major()) {
            (Body::V1(_), 1) => v1::receive(self, core, header, octets, path),
            (Body::V2(_), 2) => v2::receive(self, core, header, octets, path),
            (body, theirs) => {
                let ours = if matches!(body, Body::V1(_)) { 1 } else { 2 };
                let event = Event::OtherVersion { ours, theirs };
                // Once the peer has answered in our version, this is a stranger's.
                if self.frame.initiator && self.frame.peer_spi.is_zero() {
                    self.frame.report(core, event);
                } else {
                    self.frame.report(core, Event::Dropped { why: event.to_string() });
                }
            }
        }
    }

    /// Sees that a policy has its child SAs, or the one for a packet: negotiates what is missing,
    /// unless it is on its way.
    pub fn create_child(
        &mut self,
        core: &mut Core,
        policy: &Arc<Policy>,
        packet: Option<&KernelSelector>,
    ) {
        let flows = || self.frame.children.iter().flat_map(|child| &child.agreement.flows);
        match self.body {
            Body::V1(_) => v1::create_child(self, core, policy, packet),
            Body::V2(_) => {
                let serves = match packet {
                    Some(packet) => flows().any(|flow| covers(flow, packet)),
                    None => self.frame.unserved(self.frame.hosts()).is_empty(),
                };
                if !serves {
                    v2::create_child(self, core, packet);
                }
            }
        }
    }

    /// Whether it serves a policy: its own, and in IKEv1 all that are for the same peer and proof.
    pub fn serves(&self, policy: &Arc<Policy>) -> bool {
        let own = &self.frame.policy;
        Arc::ptr_eq(own, policy) || matches!(self.body, Body::V1(_)) && v1::shares(own, policy)
    }

    /// Another with the same peer took over its child SAs.
    pub fn replaced(&mut self, core: &mut Core) {
        if let Body::V1(_) = self.body {
            v1::replaced(self, core);
        }
    }

    /// It was deleted and nobody takes over its child SAs: they live on by themselves.
    pub fn orphan(&mut self) {
        v1::orphan(self);
    }

    /// Who the peer was, if it was deleted while its child SAs live on.
    pub fn orphaned_by(&self) -> Option<&Who> {
        match &self.body {
            Body::V1(state) => state.orphaned().map(|orphaned| &orphaned.peer),
            Body::V2(_) => None,
        }
    }

    /// Negotiates a successor for a child SA.
    pub fn rekey_child(&mut self, core: &mut Core, id: ChildId) {
        match self.body {
            Body::V1(_) => v1::want(self, core, v1::Task::RekeyChild(id)),
            Body::V2(_) => v2::want(self, core, Task::RekeyChild(id)),
        }
    }

    /// Negotiates successors now, as the operator wants: for itself, or for its children.
    pub fn rekey(&mut self, core: &mut Core, ike: bool) {
        let children: Vec<_> = self.frame.children.iter().map(|child| child.id).collect();
        match self.body {
            Body::V2(_) if ike => v2::rekey(self, core),
            Body::V1(_) if ike => core.deeds.push_back(Deed::Reopen(self.frame.id)),
            _ => children.into_iter().for_each(|id| self.rekey_child(core, id)),
        }
    }

    /// Ends a child SA, with notice to the peer.
    pub fn delete_child(&mut self, core: &mut Core, id: ChildId, why: Gone) {
        match self.body {
            Body::V1(_) => v1::want(self, core, v1::Task::DeleteChild(id, why)),
            Body::V2(_) => v2::want(self, core, Task::DeleteChild(id, why)),
        }
    }

    /// Ends it: with notice to the peer if it stands.
    pub fn delete(&mut self, core: &mut Core, why: Gone) {
        match self.body {
            Body::V2(_) if !self.is_established() => self.abandon(core, why),
            Body::V1(_) => v1::delete(self, core, why),
            Body::V2(_) => v2::want(self, core, Task::DeleteIke(why)),
        }
    }

    /// Ends it at this time, because another does its work.
    pub fn supersede(&mut self, core: &mut Core, at: Time) {
        match self.body {
            Body::V1(_) => v1::supersede(self, core, at),
            Body::V2(_) => v2::established(self, core, |state, _, _| {
                state.superseded_at = Some(at);
            }),
        }
    }

    /// Whether policies other than its own may go over it.
    pub fn is_shared(&self) -> bool {
        matches!(self.body, Body::V1(_))
    }

    /// The policy of one of its children.
    pub fn policy_of(&self, core: &Core, child: &Child) -> Arc<Policy> {
        match self.body {
            Body::V1(_) => v1::policy_of(&self.frame, core, &child.agreement.traffic),
            Body::V2(_) => Arc::clone(&self.frame.policy),
        }
    }

    /// Takes it down at once, without a word to the peer.
    pub fn abandon(&mut self, core: &mut Core, why: Gone) {
        match self.body {
            Body::V1(_) => v1::drop_sa(self, core, why),
            Body::V2(_) => v2::drop_sa(self, core, why),
        }
    }

    /// The kernel saw packets of a child SA come by another path.
    pub fn follow(&mut self, core: &mut Core, path: Path) {
        match self.body {
            Body::V1(_) => v1::established(self, core, |state, frame, core| {
                state.follow(frame, core, path);
            }),
            Body::V2(_) => v2::established(self, core, |state, frame, core| {
                state.follow(frame, core, path);
            }),
        }
    }

    /// Others have taken note that it is established.
    pub fn settled(&mut self, core: &mut Core) {
        if let Body::V1(_) = self.body {
            v1::advance(self, core);
        }
    }

    /// Goes on with what waits to be done, after something changed around it.
    pub fn advance(&mut self, core: &mut Core) {
        match self.body {
            Body::V1(_) => v1::advance(self, core),
            Body::V2(_) => v2::established(self, core, |state, frame, core| {
                state.advance(frame, core);
            }),
        }
    }

    /// Time has passed.
    pub fn timeout(&mut self, core: &mut Core) {
        match self.body {
            Body::V1(_) => v1::timeout(self, core),
            Body::V2(_) => v2::timeout(self, core),
        }
    }

    /// The holder of the secrets answered.
    pub fn answer(&mut self, core: &mut Core, question: QuestionId, answer: Answer) {
        match self.body {
            Body::V1(_) => v1::answer(self, core, question, answer),
            Body::V2(_) => v2::answer(self, core, question, answer),
        }
    }

    /// The kernel reserved an SPI, or did not. Gives it back if nobody wants it any more.
    pub fn reserved(
        &mut self,
        core: &mut Core,
        negotiation: Negotiation,
        protocol: SaProtocol,
        spi: Option<EspSpi>,
    ) -> Option<EspSpi> {
        match self.body {
            Body::V1(_) => v1::reserved(self, core, negotiation, protocol, spi),
            Body::V2(_) => v2::reserved(self, core, negotiation == Negotiation::Peers, spi),
        }
    }

    /// The kernel reserved a CPI, or did not. Gives it back if nobody wants it any more.
    pub fn compresses(
        &mut self,
        core: &mut Core,
        negotiation: Negotiation,
        protocol: SaProtocol,
        answer: KernelAnswer,
    ) -> Option<Cpi> {
        match self.body {
            Body::V1(_) => v1::compresses(self, core, negotiation, answer),
            Body::V2(_) => {
                let peers = negotiation == Negotiation::Peers;
                v2::create::compresses(&mut self.frame, core, protocol, peers, answer)
            }
        }
    }

    /// The kernel answered a request about a part of a child.
    pub fn installed(&mut self, core: &mut Core, id: ChildId, part: Part, answer: KernelAnswer) {
        match self.body {
            Body::V1(_) => v1::installed(self, core, id, part, answer),
            Body::V2(_) => v2::installed(self, core, id, part, answer),
        }
    }

    /// Its name.
    pub fn id(&self) -> SaId {
        self.frame.id
    }

    /// What is known of it if it is established.
    pub fn standing(&self) -> Option<Standing<'_>> {
        match &self.body {
            Body::V1(state) => state.standing(),
            Body::V2(state) => state.established().map(|state| Standing {
                ids: &state.ids,
                user: None,
                since: state.since,
                rekey_at: state.rekey_at,
                ending: state.is_ending(),
                replaced: state.successor.is_some(),
            }),
        }
    }

    /// The IKE SA that it took the place of, by rekeying.
    pub fn predecessor(&self) -> Option<SaId> {
        match &self.body {
            Body::V1(_) => None,
            Body::V2(state) => state.established()?.predecessor,
        }
    }

    /// Whether it is established.
    pub fn is_established(&self) -> bool {
        self.standing().is_some()
    }

    /// Whether its negotiation is still going on.
    pub fn is_opening(&self) -> bool {
        match &self.body {
            Body::V1(state) => state.is_opening(),
            Body::V2(state) => state.is_opening(),
        }
    }

    /// Whether its peer has proved nothing yet: also one that tried to, in vain, while it is told so again.
    pub fn is_half_open(&self) -> bool {
        match &self.body {
            Body::V1(state) => state.is_opening(),
            Body::V2(_) => !self.frame.is_authenticated,
        }
    }

    /// Whether it is a call of ours that still counts: one that the peer does not answer at once keeps
    /// nobody busy.
    pub fn is_calling(&self, now: Time) -> bool {
        let fresh = now.since(self.frame.created) < AT_ONCE;
        self.frame.initiator && self.is_opening() && fresh
    }

    /// The name of its policy.
    pub fn policy_name(&self) -> &PolicyName {
        &self.frame.policy.name
    }

    /// Who the peer is, or should be.
    pub fn peer_id(&self) -> Option<Id> {
        let said = self.standing().map(|standing| standing.ids.1.clone());
        said.or_else(|| id::expected(&self.frame.policy))
    }

    /// The keys that protect its messages, if there are any yet.
    pub fn keys(&self) -> Option<IkeKeys> {
        match &self.body {
            Body::V1(state) => Some(IkeKeys::V1 {
                cookie: self.frame.printed_spis().0,
                key: state.keys()?.cipher.clone(),
            }),
            Body::V2(state) => {
                let keys = state.keys()?;
                let pair = |keys: &Keys| (keys.encryption.clone(), keys.integrity.clone());
                let (from_initiator, from_responder) = match self.frame.initiator {
                    true => (&keys.outbound, &keys.inbound),
                    false => (&keys.inbound, &keys.outbound),
                };
                Some(IkeKeys::V2 {
                    spis: self.frame.printed_spis(),
                    suite: keys.suite,
                    from_initiator: pair(from_initiator),
                    from_responder: pair(from_responder),
                })
            }
        }
    }

    /// When it is to be looked at next.
    pub fn next_timeout(&self, core: &Core) -> Option<Time> {
        match &self.body {
            Body::V1(state) => state.next_timeout(&self.frame, core),
            Body::V2(state) => state.next_timeout(&self.frame, core),
        }
    }

    /// As it is shown.
    pub fn view(&self, now: Time) -> SaView {
        let frame = &self.frame;
        let standing = self.standing();
        let (version, word, suite) = match &self.body {
            Body::V1(state) => (1, state.word(), state.suite().map(|suite| suite.to_string())),
            Body::V2(state) => {
                let suite = state.established().map(|state| state.protection.suite.to_string());
                (2, state.word(), suite)
            }
        };
        SaView {
            version,
            spis: frame.printed_spis(),
            policy: Some(frame.policy.name.clone()),
            initiator: frame.initiator,
            state: match standing {
                Some(standing) if standing.ending => "ending",
                Some(standing) if standing.replaced => "replaced",
                _ => word,
            }
            .into(),
            local: frame.local,
            remote: frame.remote,
            local_id: standing.map(|standing| standing.ids.0.to_string()),
            remote_id: standing.map(|standing| standing.ids.1.to_string()),
            login: match &self.body {
                Body::V1(state) => state.login(),
                Body::V2(_) => None,
            },
            inner: frame.hosts().inner.printed(),
            suite,
            path: frame.path_remarks(),
            age: now.since(frame.created),
            rekey_in: standing.and_then(|standing| standing.rekey_at).map(|at| at.since(now)),
            children: frame.children.iter().map(|child| child.view(now)).collect(),
        }
    }
}

/// Moves the children of one IKE SA over to another.
pub fn inherit(from: &mut Sa, to: &mut Sa, core: &mut Core) {
    // What IKEv1 is still about to make ends where it began.
    let shared = from.is_shared();
    let stays = |child: &Child| shared && child.stage == Stage::Installing;
    let children = std::mem::take(&mut from.frame.children);
    let (stay, go): (Vec<_>, Vec<_>) = children.into_iter().partition(stays);
    from.frame.children = stay;
    for mut child in go {
        core.by_spi.insert(child.agreement.spi_in, to.frame.id);
        if shared {
            child.resume(core.now.after(DEFERRED));
        }
        to.frame.adopt(child);
    }
    if shared {
        v1::children::retire_predecessors(&mut to.frame, core);
    }
    if let (Body::V2(from), Body::V2(to)) = (&mut from.body, &mut to.body) {
        v2::inherit(from, to);
    }
    match (&mut from.frame.config, &mut to.frame.config, &to.body) {
        // In IKEv1 the addresses of a successor are asked for anew, or were not yet.
        (Some(_), Some(_), Body::V1(_)) => (),
        (Some(_), None, Body::V1(_)) => to.frame.config = from.frame.config.take(),
        (Some(old), Some(new), Body::V2(_)) => new.inherit(old),
        _ => (),
    }
}
