//! Quick Mode (RFC 2409 §5.5): child SAs, several at once, each known by its message ID.
//!
//! ```text
//! Queued
//! AwaitSpi       (kernel)
//! AwaitAnswer    -- {HASH(1), SA, Ni [, KE] [, IDci, IDcr]} -->   AwaitSpiForPeer, AwaitInbound (kernel)
//!                <-- {HASH(2), SA, Nr [, KE] [, IDci, IDcr]} --   AwaitEnd
//! [AwaitConnected]  -- {HASH(3)} -->
//! Done           [<-- {HASH, N(CONNECTED)} --]
//! ```
//!
//! What the initiator does is in `initiate`, what the responder does in `answer`.

mod answer;
mod initiate;
mod install;
mod reserve;

use std::sync::Arc;
use std::time::Duration;

use super::children::remove;
use super::established::Established;
use super::keys;
use super::message;
use super::offer::{Chosen, Encapsulation, Spis, Wanted, protocol_id};
use super::protect::Iv;
use crate::conf::{Lifetime, Policy, Proposal, SaProtocol};
use crate::crypto::{ChildSuite, Secret, sha1};
use crate::ike::bundle::{Around, Bundle};
use crate::ike::child::{self, Agreement, ChildId, ChildKeys, DirectionKeys};
use crate::ike::core::Core;
use crate::ike::event::Time;
use crate::ike::frame::Frame;
use crate::ike::outstanding::Outstanding;
use crate::ike::report::{Event, Gone};
use crate::ike::selector::{Hosts, Traffic};
use crate::ike::timer::earliest;
use crate::wire::v1::{NatOa, Payload};
use crate::wire::{EspSpi, Header, MessageId, Spi};
use install::postpone;
use reserve::Reserved;

/// How long a Quick Mode that is done repeats its last message.
const LINGER: Duration = Duration::from_secs(30);

/// The most Quick Modes under way, the peer's too, when we begin another. Of more than three exchanges, whatever
/// they are, strongSwan forgets the oldest (max_ikev1_exchanges), and never has the SAs that we think it has.
const AT_ONCE: usize = 2;

/// A message that was sent so often in vain keeps no other Quick Mode waiting.
const HOPE: u32 = 4;

/// How long the commit bit makes the other side wait for CONNECTED.
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
    began: Time,
    /// The child that it is to replace.
    rekeys: Option<ChildId>,
    step: Step,
    /// What the kernel reserved, until a child has it.
    reserved: Reserved,
    /// Our message that waits for the next one.
    out: Option<Box<Outstanding>>,
    /// The digest of the peer's last message and what we answered.
    last: Option<Box<([u8; 20], Vec<u8>)>>,
}

enum Step {
    /// We are to offer, when those before it are done.
    Queued(Vec<Proposal>),
    /// We are about to offer.
    AwaitSpi(Vec<Proposal>),
    /// We offered.
    AwaitAnswer(Box<initiate::Offered>),
    /// What we send waits until the peer surely receives.
    AwaitConnected(Box<Waiting>),
    /// The peer offered and we take it, as soon as there is an SPI.
    AwaitSpiForPeer(Box<answer::Answering>),
    /// The kernel is given the inbound half.
    AwaitInbound(Box<answer::Prepared>),
    /// We answered.
    AwaitEnd(Box<answer::Prepared>),
    /// It is done; our last message may have been lost.
    Done(Time),
}

/// A child whose outbound half waits: until the peer says CONNECTED, or until a time.
struct Waiting {
    child: ChildId,
    keys: DirectionKeys,
    lifetime: Lifetime,
    until: Time,
}

impl std::fmt::Debug for Quick {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Quick").field("id", &self.id).field("traffic", &self.traffic).finish()
    }
}

impl Quick {
    /// Whether it is to end in a child SA for this traffic.
    pub fn is_for(&self, wanted: &Traffic) -> bool {
        !self.is_done() && self.traffic == *wanted
    }

    /// Whether it is over.
    pub fn is_done(&self) -> bool {
        matches!(self.step, Step::Done(_))
    }

    /// Whether the peer knows nothing of it yet.
    pub fn is_unknown(&self) -> bool {
        matches!(self.step, Step::Queued(_) | Step::AwaitSpi(_))
    }

    /// Whether it is to end in the successor of this child.
    pub fn replaces(&self, child: ChildId) -> bool {
        self.rekeys == Some(child)
    }

    /// Whether others wait for its end, as long as there is hope that it comes.
    fn is_under_way(&self) -> bool {
        let hopeless = self.out.as_ref().is_some_and(|out| out.sendings() >= HOPE);
        !matches!(self.step, Step::Queued(_) | Step::AwaitConnected(_) | Step::Done(_)) && !hopeless
    }

    /// When it is to be looked at next.
    pub fn next_timeout(&self) -> Option<Time> {
        let until = match &self.step {
            Step::Done(until) => Some(*until),
            Step::AwaitConnected(waiting) => Some(waiting.until),
            _ => None,
        };
        earliest([until, self.out.as_ref().map(|out| out.deadline())])
    }

    fn child(&self) -> Option<ChildId> {
        match &self.step {
            Step::AwaitConnected(waiting) => Some(waiting.child),
            Step::AwaitInbound(prepared) | Step::AwaitEnd(prepared) => Some(prepared.child),
            _ => None,
        }
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

impl Quick {
    /// What it is to end in.
    fn agreement(
        &self,
        frame: &Frame,
        core: &mut Core,
        sas: &Chosen,
        spis: &Spis,
    ) -> Option<Agreement> {
        let flows = self.traffic.flows(&self.policy, self.hosts, core.able.as_ref()).ok()?;
        let old = self.rekeys.and_then(|id| frame.children.iter().find(|child| child.id == id));
        let reqid = match old.map(|old| &old.agreement).filter(|old| *old.flows == *flows) {
            Some(old) => old.reqid,
            None => child::reqid(core, &self.policy, &flows, self.hosts),
        };
        let ports = (frame.local.port(), frame.remote.port());
        Some(Agreement {
            protocol: self.policy.protocol,
            mode: self.policy.mode,
            suite: sas.suite,
            spi_in: spis.main,
            spi_out: sas.spi,
            traffic: self.traffic.clone(),
            flows,
            hosts: self.hosts,
            encap: self.encapsulation.udp.map(|_| ports),
            bundle: Bundle::of(
                spis.cpi.zip(sas.cpi),
                sas.around.zip(spis.around).map(|((integrity, spi_out), spi_in)| Around {
                    integrity,
                    spi_in,
                    spi_out,
                }),
            ),
            reqid,
        })
    }
}

impl Established {
    /// Takes a Quick Mode out to work on it.
    fn take(&mut self, id: MessageId) -> Option<Box<Quick>> {
        let at = self.exchanges.iter().position(|it| it.id == id)?;
        Some(self.exchanges.swap_remove(at))
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
            Step::AwaitConnected(waiting) => {
                let iv = quick.iv;
                let opened = self.open(frame, core, (header, datagram), &iv, &[]);
                quick.step = Step::AwaitConnected(waiting);
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

    /// The keys of both directions: each SPI, chosen by whoever receives, makes its own.
    fn child_keys(
        &self,
        agreement: &Agreement,
        nonces: (&[u8], &[u8]),
        shared: Option<&Secret>,
    ) -> ChildKeys {
        let one = |suite: &ChildSuite, protocol: SaProtocol, spi: EspSpi| {
            let (protocol, spi) = (protocol_id(protocol).0, Spi::Child(spi).octets());
            let destination = keys::Destination { protocol, spi: &spi };
            keys::child(&self.keys, suite, destination, nonces, shared)
        };
        let around = |spi: fn(&Around) -> EspSpi| {
            let around = agreement.around()?;
            let integrity = Some(around.integrity);
            let suite = ChildSuite { encryption: None, integrity, ..agreement.suite };
            Some(one(&suite, SaProtocol::Ah, spi(around)).integrity)
        };
        let main = |spi: EspSpi| one(&agreement.suite, agreement.protocol, spi);
        let inbound = DirectionKeys { around: around(|it| it.spi_in), ..main(agreement.spi_in) };
        let outbound = DirectionKeys { around: around(|it| it.spi_out), ..main(agreement.spi_out) };
        ChildKeys { inbound, outbound }
    }

    /// Time has passed: messages are sent again, and what is done is forgotten.
    pub fn check_exchanges(&mut self, frame: &mut Frame, core: &mut Core) {
        let now = core.now;
        let mut at = 0;
        while let Some(quick) = self.exchanges.get_mut(at) {
            match &quick.step {
                Step::Done(until) if *until <= now => {
                    let quick = self.exchanges.swap_remove(at);
                    self.remember(quick.id);
                    continue;
                }
                Step::AwaitConnected(waiting) if waiting.until <= now => {
                    let id = quick.child();
                    let children = frame.children.iter().find(|child| Some(child.id) == id);
                    let spi = children.map(|child| child.agreement.spi_out);
                    self.connected(frame, core, spi);
                    continue;
                }
                _ => (),
            }
            match message::send_again(quick.out.as_deref_mut(), frame, core) {
                None => at += 1,
                Some(sent) => {
                    let exchange = "Quick Mode".into();
                    frame.report(core, Event::NoAnswer { exchange, sent });
                    let quick = self.exchanges.swap_remove(at);
                    if !self.given_up(frame, core, &quick) {
                        return;
                    }
                }
            }
        }
        if self.exchanges.is_empty() {
            self.exchanges.shrink_to_fit();
        }
    }

    /// The peer did not go on. If we began, it may be dead, or know nothing of this ISAKMP SA any more.
    /// Dead peer detection tells; a peer that has none, and has sent nothing since, is given up: `false`,
    /// the ISAKMP SA is closed.
    fn given_up(&mut self, frame: &mut Frame, core: &mut Core, quick: &Quick) -> bool {
        match quick.child() {
            None => {
                quick.abandon(core);
                self.remember(quick.id);
                if self.abilities.dpd || self.heard > quick.began {
                    postpone(frame, core, quick.rekeys, &quick.traffic);
                    if self.abilities.dpd && self.probe.is_none() {
                        self.send_probe(frame, core);
                    }
                    return true;
                }
                self.abandon(frame, core);
                frame.close(core, Gone::PeerVanished);
                false
            }
            Some(id) => {
                if let Some(at) = frame.children.iter().position(|child| child.id == id) {
                    let ends = received_on(&frame.children[at].agreement);
                    self.send_deletes(frame, core, &[ends]);
                    remove(frame, core, at, Gone::Failed);
                }
                self.remember(quick.id);
                true
            }
        }
    }
}

/// An SPI that the peer gave already to another child SA.
fn in_use(frame: &Frame, protocol: SaProtocol, sas: &Chosen) -> Option<EspSpi> {
    let around = sas.around.map(|(_, spi)| (SaProtocol::Ah, spi));
    let mut given = [(protocol, sas.spi)].into_iter().chain(around);
    let known =
        |protocol, spi| frame.children.iter().any(|child| child.agreement.sends_by(protocol, spi));
    given.find(|(protocol, spi)| known(*protocol, *spi)).map(|(_, spi)| spi)
}

/// The SPIs of what we receive.
pub fn received_on(agreement: &Agreement) -> (SaProtocol, Spis) {
    let around = agreement.around().map(|around| around.spi_in);
    let cpi = agreement.ipcomp().map(|(ours, _)| ours);
    (agreement.protocol, Spis { main: agreement.spi_in, around, cpi })
}

/// What this policy wants, of which the kernel can do these proposals.
fn wanted<'a>(
    policy: &Policy,
    proposals: &'a [Proposal],
    encapsulation: Encapsulation,
) -> Wanted<'a> {
    let Policy { protocol, around, ipcomp, .. } = *policy;
    Wanted { protocol, proposals, around, ipcomp, encapsulation }
}

/// The policy with the lifetime that was agreed on.
fn with_lifetime(policy: &Arc<Policy>, lifetime: Lifetime) -> Arc<Policy> {
    match policy.child_lifetime == lifetime {
        true => Arc::clone(policy),
        false => Arc::new(Policy { child_lifetime: lifetime, ..(**policy).clone() }),
    }
}
