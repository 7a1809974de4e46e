//! Quick Mode (RFC 2409 §5.5): child SAs, several at once, each known by its message ID.
//!
//! ```text
//! AwaitSpi       (kernel)
//! AwaitAnswer    -- {HASH(1), SA, Ni [, KE] [, IDci, IDcr]} -->   AwaitSpiForPeer, AwaitInbound (kernel)
//!                <-- {HASH(2), SA, Nr [, KE] [, IDci, IDcr]} --   AwaitEnd
//! [AwaitConnected]  -- {HASH(3)} -->
//! Done           [<-- {HASH, N(CONNECTED)} --]
//! ```
//!
//! What the responder does is in [`answer`].

mod answer;

use std::sync::Arc;
use std::time::Duration;

use super::established::{Established, GRACE, PAUSE, policy_of, remove};
use super::message::content;
use super::offer::{self, Encapsulation, protocol_id};
use super::phase1::NONCE_LEN;
use super::protect::{self, Iv};
use super::rules::{Bag, Message, sort};
use super::vendor::NatT;
use super::{hash, keys, message, traffic, with_hash};
use crate::conf::{Lifetime, Policy, Proposal, SaProtocol};
use crate::crypto::{ChildSuite, KeyExchange, Secret, same, sha1};
use crate::ike::child::{self, Agreement, Child, ChildId, ChildKeys, DirectionKeys, Stage};
use crate::ike::core::{Core, Negotiation, Owner, Part};
use crate::ike::event::{Direction, KernelRequest, SaKey, Time};
use crate::ike::report::{Event, Gone};
use crate::ike::sa::Frame;
use crate::ike::selector::{Hosts, Traffic};
use crate::ike::timer::{earliest, jitter};
use crate::ike::window::{Due, Outstanding};
use crate::wire::iana::v1::{ExchangeType, NotifyType};
use crate::wire::v1::{Id, NatOa, Nonce, Notify, Payload, Sa};
use crate::wire::{EspSpi, Flags, Header, MessageId, Spi};

/// How long a Quick Mode that is done repeats its last message.
const LINGER: Duration = Duration::from_secs(30);

/// How long the commit bit makes an initiator wait for CONNECTED.
const COMMIT: Duration = Duration::from_secs(3);

/// A Quick Mode.
pub struct Quick {
    /// Its message ID.
    pub id: MessageId,
    iv: Iv,
    policy: Arc<Policy>,
    hosts: Hosts,
    encapsulation: Encapsulation,
    traffic: Traffic,
    /// The child that it is to replace.
    rekeys: Option<ChildId>,
    step: Step,
    /// Our message that waits for the next one.
    out: Option<Box<Outstanding>>,
    /// The digest of the peer's last message and what we answered.
    last: Option<Box<([u8; 20], Vec<u8>)>>,
}

enum Step {
    /// We are about to offer.
    AwaitSpi(Vec<Proposal>),
    /// We offered.
    AwaitAnswer(Box<Offered>),
    /// The peer set the commit bit: what we send waits until it says so, or until this time.
    AwaitConnected(ChildId, DirectionKeys, Time),
    /// The peer offered and we take it, as soon as there is an SPI.
    AwaitSpiForPeer(Box<answer::Answering>),
    /// The kernel is given the inbound half.
    AwaitInbound(Box<answer::Prepared>),
    /// We answered.
    AwaitEnd(Box<answer::Prepared>),
    /// It is done; our last message may have been lost.
    Done(Time),
}

/// What we offered.
struct Offered {
    spi: EspSpi,
    sa: Sa,
    nonce: Vec<u8>,
    kex: Option<KeyExchange>,
}

impl std::fmt::Debug for Quick {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Quick").field("id", &self.id).field("traffic", &self.traffic).finish()
    }
}

impl Quick {
    /// Whether it is to end in a child SA for this traffic.
    pub fn is_for(&self, wanted: &Traffic) -> bool {
        !matches!(self.step, Step::Done(_)) && self.traffic == *wanted
    }

    /// When it is to be looked at next.
    pub fn next_timeout(&self) -> Option<Time> {
        let until = match self.step {
            Step::Done(until) | Step::AwaitConnected(_, _, until) => Some(until),
            _ => None,
        };
        earliest([until, self.out.as_ref().map(|out| out.deadline())])
    }

    /// Gives back whatever is reserved.
    pub fn abandon(&self, core: &mut Core) {
        if let Step::AwaitAnswer(offered) = &self.step {
            let Hosts { local, remote, .. } = self.hosts;
            let (protocol, spi) = (self.policy.protocol, offered.spi);
            core.delete_sa(SaKey { protocol, spi, src: remote, dst: local });
        }
    }

    fn child(&self) -> Option<ChildId> {
        match &self.step {
            Step::AwaitConnected(id, ..) => Some(*id),
            Step::AwaitInbound(prepared) | Step::AwaitEnd(prepared) => Some(prepared.child),
            _ => None,
        }
    }

    fn reserve(&self, frame: &Frame, core: &mut Core) {
        let Hosts { local, remote, .. } = self.hosts;
        let (protocol, negotiation) = (self.policy.protocol, Negotiation::Exchange(self.id));
        let owner = Owner::Spi { sa: frame.id, negotiation, protocol, path: (remote, local) };
        core.kernel(owner, KernelRequest::GetSpi { protocol, src: remote, dst: local });
    }

    /// NAT-OA: both addresses as we know them (RFC 3947 §5.2).
    fn nat_oa(&self, draft: bool, initiator: bool) -> Vec<Payload> {
        let transport = self.policy.mode == crate::conf::Mode::Transport;
        if self.encapsulation.udp.is_none() || !transport {
            return Vec::new();
        }
        let Hosts { local, remote, .. } = self.hosts;
        let both = if initiator { [local, remote] } else { [remote, local] };
        let payload = |address| Payload::NatOa { draft, address: NatOa(address) };
        both.map(payload).into()
    }
}

impl Established {
    /// Begins a Quick Mode for this traffic.
    pub fn offer(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        policy: &Arc<Policy>,
        traffic: Traffic,
        rekeys: Option<ChildId>,
    ) {
        let Some(feasible) = frame.feasible(core, policy) else {
            return postpone(frame, core, rekeys, &traffic);
        };
        let id = self.own_id(core);
        let quick = Quick {
            id,
            iv: self.iv_of(id),
            policy: Arc::clone(policy),
            hosts: frame.hosts(),
            encapsulation: self.encapsulation(frame, policy),
            traffic,
            rekeys,
            step: Step::AwaitSpi(feasible),
            out: None,
            last: None,
        };
        quick.reserve(frame, core);
        self.exchanges.push(Box::new(quick));
    }

    fn encapsulation(&self, frame: &Frame, policy: &Policy) -> Encapsulation {
        let udp = self.abilities.nat_t.filter(|_| frame.encap().is_some());
        Encapsulation { mode: policy.mode, udp: udp.map(|spoken| spoken == NatT::Draft) }
    }

    /// Takes a Quick Mode out to work on it.
    fn take(&mut self, id: MessageId) -> Option<Box<Quick>> {
        let at = self.exchanges.iter().position(|it| it.id == id)?;
        Some(self.exchanges.swap_remove(at))
    }

    /// The kernel reserved an SPI, or did not. Gives it back if nobody wants it any more.
    pub fn reserved(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        id: MessageId,
        _protocol: SaProtocol,
        spi: Option<EspSpi>,
    ) -> Option<EspSpi> {
        let Some(mut quick) = self.take(id) else { return spi };
        let Some(spi) = spi else {
            match quick.step {
                Step::AwaitSpi(_) => postpone(frame, core, quick.rekeys, &quick.traffic),
                _ => self.notify(frame, core, Notify::new(NotifyType::NO_PROPOSAL_CHOSEN)),
            }
            return None;
        };
        match std::mem::replace(&mut quick.step, Step::Done(core.now)) {
            Step::AwaitSpi(feasible) => self.send_offer(frame, core, quick, &feasible, spi),
            Step::AwaitSpiForPeer(answering) => {
                self.prepare(frame, core, quick, *answering, spi);
            }
            other => {
                quick.step = other;
                self.exchanges.push(quick);
                return Some(spi);
            }
        }
        None
    }

    fn send_offer(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        mut quick: Box<Quick>,
        feasible: &[Proposal],
        spi: EspSpi,
    ) {
        let policy = Arc::clone(&quick.policy);
        let lifetime = policy.child_lifetime;
        let (protocol, encapsulation) = (policy.protocol, quick.encapsulation);
        let sa = offer::phase2(feasible, protocol, encapsulation, lifetime, spi);
        let group = offer::pfs_group(feasible);
        let kex = group.and_then(|group| KeyExchange::generate(group, &mut *core.random).ok());
        let nonce = core.octets(NONCE_LEN);
        let ids = ids_of(&quick.traffic);
        let (Some((ours, peers)), true) = (ids, kex.is_some() == group.is_some()) else {
            let what = "traffic that IKEv1 cannot say: a range of ports, or several ranges".into();
            frame.report(core, Event::Internal { what });
            let key = SaKey { protocol, spi, src: quick.hosts.remote, dst: quick.hosts.local };
            core.delete_sa(key);
            return postpone(frame, core, quick.rekeys, &quick.traffic);
        };
        let mut payloads = vec![Payload::Sa(sa.clone()), Payload::Nonce(Nonce(nonce.clone()))];
        payloads.extend(kex.as_ref().map(|kex| Payload::Ke(kex.public().to_vec())));
        payloads.extend([Payload::Id(ours), Payload::Id(peers)]);
        payloads.extend(quick.nat_oa(encapsulation.udp == Some(true), true));
        let message = (ExchangeType::QUICK_MODE, quick.id, &quick.iv.clone());
        if let Some((octets, next)) = self.send(frame, core, message, &[], payloads) {
            quick.iv = next;
            let backoff = core.settings.backoff;
            let out = Outstanding::new(&octets, core.now, &backoff, &mut *core.random);
            quick.out = Some(Box::new(out));
            quick.step = Step::AwaitAnswer(Box::new(Offered { spi, sa, nonce, kex }));
            self.exchanges.push(quick);
        }
    }

    /// A message of a Quick Mode.
    pub fn quick(&mut self, frame: &mut Frame, core: &mut Core, header: &Header, datagram: &[u8]) {
        let id = header.message_id;
        let digest = sha1(&[datagram]);
        let Some(quick) = self.take(id) else {
            if self.used.contains(&id) || id == MessageId(0) {
                core.stats.duplicates += 1;
                return;
            }
            return self.offered(frame, core, (header, datagram), digest);
        };
        if let Some(last) = quick.last.as_ref().filter(|last| last.0 == digest) {
            core.stats.duplicates += 1;
            let answer = last.1.clone();
            if !answer.is_empty() {
                core.send(frame.local, frame.remote, answer);
            }
            return self.exchanges.push(quick);
        }
        let mut quick = quick;
        match std::mem::replace(&mut quick.step, Step::Done(core.now)) {
            Step::AwaitAnswer(offered) => {
                self.answered(frame, core, quick, *offered, (header, datagram, digest));
            }
            Step::AwaitEnd(prepared) => {
                self.ended(frame, core, quick, prepared, (header, datagram));
            }
            Step::AwaitConnected(child, keys, until) => {
                let iv = quick.iv;
                let opened = self.open(frame, core, (header, datagram), &iv, &[]);
                quick.step = Step::AwaitConnected(child, keys, until);
                self.exchanges.push(quick);
                if opened.is_some() {
                    self.connected(frame, core, None);
                }
            }
            other => {
                quick.step = other;
                let why = "a message of Quick Mode out of its order".into();
                frame.report(core, Event::Dropped { why });
                self.exchanges.push(quick);
            }
        }
    }

    /// The answer to our offer came.
    fn answered(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        mut quick: Box<Quick>,
        offered: Offered,
        (header, datagram, digest): (&Header, &[u8], [u8; 20]),
    ) {
        let iv = quick.iv;
        let Some(plain) = self.open(frame, core, (header, datagram), &iv, &offered.nonce) else {
            quick.step = Step::AwaitAnswer(Box::new(offered));
            return self.exchanges.push(quick);
        };
        quick.iv = plain.next;
        let own_spi = offered.spi;
        let (rekeys, hosts, protocol) = (quick.rekeys, quick.hosts, quick.policy.protocol);
        let sorted = sort(Message::Quick, with_hash(plain.payloads));
        let accepted = sorted.and_then(|bag| self.accept(frame, core, &quick, offered, bag));
        let (agreement, keys, lifetime, nonces) = match accepted {
            Ok(accepted) => accepted,
            Err(what) => {
                frame.report(core, Event::Misbehaved { what });
                let src = hosts.remote;
                core.delete_sa(SaKey { protocol, spi: own_spi, src, dst: hosts.local });
                self.send_delete(frame, core, protocol, &[own_spi]);
                return postpone(frame, core, rekeys, &quick.traffic);
            }
        };
        let commit = header.flags.contains(Flags::COMMIT);
        let policy = with_lifetime(&quick.policy, lifetime);
        let mut child = Child::new(core, frame.id, agreement, &policy);
        child.replaces = rekeys;
        child.install(core, frame.id, Direction::In, &keys.inbound, &policy);
        if !commit {
            child.install(core, frame.id, Direction::Out, &keys.outbound, &policy);
        }
        let id = child.id;
        frame.adopt(child);
        // HASH(3).
        let hash = hash::third(&self.keys, quick.id, (&nonces.0, &nonces.1));
        let payloads = [Payload::Hash(hash)];
        let header = message::header(frame, ExchangeType::QUICK_MODE, quick.id);
        let sealed = protect::seal(&self.keys, &quick.iv, &header, &payloads);
        self.sent = core.now;
        let sent = message::send_sealed(frame, core, &header, &payloads, sealed);
        let Some((octets, next)) = sent else { return };
        quick.iv = next;
        quick.out = None;
        quick.last = Some(Box::new((digest, octets)));
        quick.step = match commit {
            true => Step::AwaitConnected(id, keys.outbound, core.now.after(COMMIT)),
            false => Step::Done(core.now.after(LINGER)),
        };
        self.exchanges.push(quick);
    }

    #[allow(clippy::type_complexity)]
    fn accept(
        &self,
        frame: &Frame,
        core: &mut Core,
        quick: &Quick,
        offered: Offered,
        bag: Bag,
    ) -> Result<(Agreement, ChildKeys, Lifetime, (Vec<u8>, Vec<u8>)), String> {
        let (Some(sa), Some(nonce)) = (&bag.sa, bag.nonce.clone()) else {
            return Err("an answer without SA or Nonce".into());
        };
        let chosen = offer::accept_phase2(&offered.sa, sa)?;
        if in_use(frame, chosen.spi_out) {
            return Err(format!("the SPI {}, which another child SA has", chosen.spi_out));
        }
        if let [ours, peers] = bag.ids.as_slice() {
            let said = traffic::of_ids(Some((ours, peers)), quick.hosts)?;
            let nat = quick.encapsulation.udp.is_some();
            let said = traffic::seen(said, quick.policy.mode, quick.hosts, nat);
            if said != quick.traffic {
                return Err(format!("other traffic than what was offered: {ours} to {peers}"));
            }
        }
        let shared = match (chosen.suite.group, offered.kex, &bag.ke) {
            (None, _, _) => None,
            (Some(group), Some(kex), Some(ke)) if kex.group() == group => {
                Some(kex.shared(ke).map_err(|error| error.to_string())?)
            }
            _ => return Err("an answer without the public value that PFS needs".into()),
        };
        let responder = bag.notify(NotifyType::RESPONDER_LIFETIME);
        let said = responder.map(|it| offer::lifetime(&it.lifetimes()));
        let none = Lifetime { seconds: 0, bytes: 0 };
        let lifetime = offer::shorter(quick.policy.child_lifetime, said.unwrap_or(none));
        let agreement = quick
            .agreement(frame, core, chosen.suite, (offered.spi, chosen.spi_out))
            .ok_or("traffic that makes no flow of this policy")?;
        let nonces = (offered.nonce, nonce);
        let keys = self.child_keys(&agreement, (&nonces.0, &nonces.1), shared.as_ref());
        Ok((agreement, keys, lifetime, nonces))
    }

    /// The keys of both directions: each SPI, chosen by whoever receives, makes its own.
    fn child_keys(
        &self,
        agreement: &Agreement,
        nonces: (&[u8], &[u8]),
        shared: Option<&Secret>,
    ) -> ChildKeys {
        let protocol = protocol_id(agreement.protocol).0;
        let direction = |spi: EspSpi| {
            let spi = Spi::Child(spi).octets();
            let destination = keys::Destination { protocol, spi: &spi };
            keys::child(&self.keys, &agreement.suite, destination, nonces, shared)
        };
        ChildKeys { inbound: direction(agreement.spi_in), outbound: direction(agreement.spi_out) }
    }

    /// The peer says that its side stands: what we send no longer waits.
    pub fn connected(&mut self, frame: &mut Frame, core: &mut Core, spi: Option<EspSpi>) {
        let spi_of = |id: ChildId| {
            let child = frame.children.iter().find(|child| child.id == id);
            child.map(|child| child.agreement.spi_out)
        };
        let waits = |quick: &Quick| match &quick.step {
            Step::AwaitConnected(id, ..) => spi.is_none() || spi_of(*id) == spi,
            _ => false,
        };
        let Some(at) = self.exchanges.iter().position(|quick| waits(quick)) else { return };
        let quick = &mut self.exchanges[at];
        let done = Step::Done(core.now.after(LINGER));
        let policy = Arc::clone(&quick.policy);
        if let Step::AwaitConnected(id, keys, _) = std::mem::replace(&mut quick.step, done)
            && let Some(child) = frame.children.iter_mut().find(|child| child.id == id)
        {
            child.install(core, frame.id, Direction::Out, &keys, &policy);
        }
    }

    /// The peer refuses something that we offered.
    pub fn refused(&mut self, frame: &mut Frame, core: &mut Core, notify: &Notify) {
        let spi = notify.spi.child();
        let offers = |quick: &Quick| match &quick.step {
            Step::AwaitAnswer(offered) => Some(offered.spi),
            _ => None,
        };
        let named = self.exchanges.iter().position(|quick| spi.is_some() && offers(quick) == spi);
        let only = || self.exchanges.iter().position(|quick| offers(quick).is_some());
        let kind = notify.notify_type;
        let Some(at) = named.or_else(only) else {
            let (what, notify) = ("an ISAKMP SA".into(), kind.to_string());
            let (offered, advice) = (Vec::new(), super::inform::advice(kind));
            return frame.report(core, Event::Refused { what, notify, offered, advice });
        };
        let quick = self.exchanges.swap_remove(at);
        let offered = match &quick.step {
            Step::AwaitAnswer(offered) => offer::printed(&offered.sa),
            _ => Vec::new(),
        };
        quick.abandon(core);
        let (what, notify) = ("Quick Mode".into(), kind.to_string());
        let advice = super::inform::advice(kind);
        frame.report(core, Event::Refused { what, notify, offered, advice });
        postpone(frame, core, quick.rekeys, &quick.traffic);
    }

    /// Time has passed: messages are sent again, and what is done is forgotten.
    pub fn check_exchanges(&mut self, frame: &mut Frame, core: &mut Core) {
        let now = core.now;
        let backoff = core.settings.backoff;
        let mut at = 0;
        while let Some(quick) = self.exchanges.get_mut(at) {
            match &quick.step {
                Step::Done(until) if *until <= now => {
                    let quick = self.exchanges.swap_remove(at);
                    self.remember(quick.id);
                    continue;
                }
                Step::AwaitConnected(_, _, until) if *until <= now => {
                    let id = quick.child();
                    let children = frame.children.iter().find(|child| Some(child.id) == id);
                    let spi = children.map(|child| child.agreement.spi_out);
                    self.connected(frame, core, spi);
                    continue;
                }
                _ => (),
            }
            let due = match &mut quick.out {
                Some(out) => out.due(now, &backoff, &mut *core.random),
                None => Due::Nothing,
            };
            match due {
                Due::Nothing => (),
                Due::Again(octets) => {
                    let octets = octets.to_vec();
                    core.stats.retransmits += 1;
                    core.send(frame.local, frame.remote, octets);
                }
                Due::GiveUp(sent) => {
                    let exchange = "Quick Mode".into();
                    frame.report(core, Event::NoAnswer { exchange, sent });
                    let quick = self.exchanges.swap_remove(at);
                    if !self.given_up(frame, core, &quick) {
                        return;
                    }
                    continue;
                }
            }
            at += 1;
        }
        if self.exchanges.is_empty() {
            self.exchanges.shrink_to_fit();
        }
    }

    /// The peer did not go on. If we began, it knows nothing of this ISAKMP SA any more, or is dead:
    /// `false`, it is closed.
    fn given_up(&mut self, frame: &mut Frame, core: &mut Core, quick: &Quick) -> bool {
        match quick.child() {
            None => {
                quick.abandon(core);
                self.abandon(core);
                frame.close(core, Gone::PeerVanished);
                false
            }
            Some(id) => {
                if let Some(at) = frame.children.iter().position(|child| child.id == id) {
                    let agreement = &frame.children[at].agreement;
                    let (protocol, spi) = (agreement.protocol, agreement.spi_in);
                    self.send_delete(frame, core, protocol, &[spi]);
                    remove(frame, core, at, Gone::Failed);
                }
                self.remember(quick.id);
                true
            }
        }
    }

    /// The kernel put a part of a child in, or did not.
    pub fn installed(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        id: ChildId,
        failed: Option<Part>,
    ) {
        let Some(at) = frame.children.iter().position(|child| child.id == id) else { return };
        if frame.children[at].stage != Stage::Installing {
            return;
        }
        let quick = self.exchanges.iter().position(|quick| quick.child() == Some(id));
        if let Some(part) = failed {
            if let Part::Sa(direction) = part {
                frame.children[at].not_installed(direction);
            }
            let agreement = &frame.children[at].agreement;
            let (protocol, spi) = (agreement.protocol, agreement.spi_in);
            let (old, traffic) = (frame.children[at].replaces, agreement.traffic.clone());
            frame.part_with(at).remove(core);
            match quick.map(|at| self.exchanges.swap_remove(at)) {
                Some(quick) if matches!(quick.step, Step::AwaitInbound(_)) => {
                    self.remember(quick.id);
                    self.notify(frame, core, Notify::new(NotifyType::NO_PROPOSAL_CHOSEN));
                }
                _ => {
                    self.send_delete(frame, core, protocol, &[spi]);
                    postpone(frame, core, old, &traffic);
                }
            }
            return;
        }
        if frame.children[at].pending > 0 {
            return;
        }
        match quick.map(|at| &self.exchanges[at].step) {
            Some(Step::AwaitInbound(_)) => self.send_answer(frame, core, id),
            Some(Step::AwaitEnd(_) | Step::AwaitConnected(..)) => (),
            _ => up(frame, core, at),
        }
    }
}

impl Quick {
    /// What it is to end in.
    fn agreement(
        &self,
        frame: &Frame,
        core: &mut Core,
        suite: ChildSuite,
        (spi_in, spi_out): (EspSpi, EspSpi),
    ) -> Option<Agreement> {
        let flows = self.traffic.flows(&self.policy, self.hosts)?;
        let old = self.rekeys.and_then(|id| frame.children.iter().find(|child| child.id == id));
        let reqid = match old.map(|old| &old.agreement).filter(|old| *old.flows == *flows) {
            Some(old) => old.reqid,
            None => child::reqid(core, &self.policy, &flows, self.hosts),
        };
        let ports = (frame.local.port(), frame.remote.port());
        Some(Agreement {
            protocol: self.policy.protocol,
            mode: self.policy.mode,
            suite,
            spi_in,
            spi_out,
            traffic: self.traffic.clone(),
            flows,
            hosts: self.hosts,
            encap: self.encapsulation.udp.map(|_| ports),
            ipcomp: None,
            reqid,
        })
    }
}

/// A child carries traffic.
fn up(frame: &mut Frame, core: &mut Core, at: usize) {
    let child = &mut frame.children[at];
    child.stage = Stage::Up;
    core.stats.children += 1;
    let spis = child.printed_spis();
    let (old, traffic) = (child.replaces.take(), child.agreement.traffic.clone());
    let event = match old {
        Some(_) => {
            core.stats.rekeys += 1;
            let old = frame.children.iter_mut().find(|child| Some(child.id) == old);
            let spi = old.as_ref().map(|old| old.printed_spis().0).unwrap_or_default();
            if let Some(old) = old {
                old.stage = Stage::Ending;
                old.remove_outbound(core);
                old.soft = None;
                old.hard = Some(core.now.after(GRACE));
            }
            Event::ChildRekeyed { spis, old: spi }
        }
        None => {
            let (suite, flows) = (child.agreement.suite.to_string(), child.printed_flows());
            Event::ChildEstablished { spis, suite, flows }
        }
    };
    frame.report(core, event);
    let policy = policy_of(frame, core, &traffic);
    core.policies.succeeded(&policy.name);
}

/// What could not be had now is tried again later.
fn postpone(frame: &mut Frame, core: &mut Core, rekeys: Option<ChildId>, traffic: &Traffic) {
    let Some(id) = rekeys else {
        let policy = policy_of(frame, core, traffic);
        return core.lost(&policy.name, Gone::Failed);
    };
    let again = core.now.after(jitter(PAUSE, &mut *core.random));
    let old = frame.children.iter_mut().find(|child| child.id == id);
    if let Some(old) = old.filter(|old| old.stage == Stage::Rekeying) {
        old.stage = Stage::Up;
        old.soft = Some(again);
    }
}

/// The identities of both sides of the traffic, ours first.
fn ids_of(wanted: &Traffic) -> Option<(Id, Id)> {
    let one = |list: &[crate::wire::v2::TrafficSelector]| match list {
        [selector] => traffic::id(selector),
        _ => None,
    };
    Some((one(&wanted.local)?, one(&wanted.remote)?))
}

/// Whether the peer gave this SPI to another child SA.
fn in_use(frame: &Frame, spi_out: EspSpi) -> bool {
    frame.children.iter().any(|child| child.agreement.spi_out == spi_out)
}

/// The policy with the lifetime that was agreed on.
fn with_lifetime(policy: &Arc<Policy>, lifetime: Lifetime) -> Arc<Policy> {
    match policy.child_lifetime == lifetime {
        true => Arc::clone(policy),
        false => Arc::new(Policy { child_lifetime: lifetime, ..(**policy).clone() }),
    }
}

/// What HASH(3) must be.
fn is_third(keys: &keys::Keys, id: MessageId, nonces: (&[u8], &[u8]), theirs: &[u8]) -> bool {
    same(&hash::third(keys, id, nonces), theirs)
}

/// Opens a message without verifying its hash.
fn open_plain(
    state: &Established,
    iv: &Iv,
    header: &Header,
    datagram: &[u8],
) -> Result<protect::Plain, protect::Fault> {
    protect::open(&state.keys, iv, header, content(header, datagram))
}
