//! Child SAs: a pair of SAs in the kernel and the flows that use them.
//!
//! Both versions end their negotiation in an [`Agreement`]; below it nobody can tell which it was.

mod relocate;

use std::sync::Arc;
use std::time::Duration;

use super::bundle::Bundle;
use super::core::{Core, Owner, Part};
use super::event::{
    self, Direction, KernelFlow, KernelLifetime, KernelRequest, KernelSa, KernelSelector,
    SaCounters, SaKey, Time,
};
use super::selector::{Hosts, Traffic, printed, reversed};
use super::table::SaId;
use super::timer::{earliest, soft, soft_bytes};
use super::view::ChildView;
use crate::conf::{Lifetime, Mode, Policy, SaProtocol};
use crate::crypto::{ChildSuite, Secret};
use crate::wire::EspSpi;
use crate::wire::iana::v2::EncryptionId;

/// The replay window of inbound SAs, in packets.
const REPLAY_WINDOW: u32 = 64;

/// How long after its hard lifetime a child is taken down should the kernel say nothing.
const GRACE: Duration = Duration::from_secs(5);

/// How long a responder waits for a sign that the initiator receives on the new SA, and a child for its
/// successor that another IKE SA negotiates.
pub const DEFERRED: Duration = Duration::from_secs(10);

/// How long a child with a successor stays should its deletion not come.
const REPLACED: Duration = Duration::from_secs(90);

/// Names a child SA within the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildId(pub u32);

/// What the two sides agreed on.
#[derive(Debug, Clone)]
pub struct Agreement {
    /// ESP or AH.
    pub protocol: SaProtocol,
    /// Tunnel or transport.
    pub mode: Mode,
    /// The algorithms.
    pub suite: ChildSuite,
    /// SPI of packets that we receive.
    pub spi_in: EspSpi,
    /// SPI of packets that we send.
    pub spi_out: EspSpi,
    /// The traffic.
    pub traffic: Traffic,
    /// The outbound flows.
    pub flows: Box<[KernelSelector]>,
    /// The outer addresses.
    pub hosts: Hosts,
    /// UDP encapsulation: our port and the peer's.
    pub encap: Option<(u16, u16)>,
    /// What stands beside ESP or AH; few have it.
    pub bundle: Option<Box<Bundle>>,
    /// Binds flows to SAs.
    pub reqid: u32,
}

/// The keys of one direction.
#[derive(Debug, Clone)]
pub struct DirectionKeys {
    /// For the cipher, with the salt behind; empty for AH.
    pub encryption: Secret,
    /// For integrity; empty with AEAD.
    pub integrity: Secret,
    /// For AH around ESP.
    pub around: Option<Secret>,
}

/// The keys of a child SA.
#[derive(Debug, Clone)]
pub struct ChildKeys {
    /// For what we receive.
    pub inbound: DirectionKeys,
    /// For what we send.
    pub outbound: DirectionKeys,
}

/// How a child SA stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The kernel is being told.
    Installing,
    /// It carries traffic.
    Up,
    /// A successor is being negotiated.
    Rekeying,
    /// It has a successor, or the peer is being told that it ends.
    Ending,
}

/// A child SA.
#[derive(Debug)]
pub struct Child {
    /// Its name.
    pub id: ChildId,
    /// What was agreed on.
    pub agreement: Agreement,
    /// How it stands.
    pub stage: Stage,
    /// Whether we asked for it, rather than the peer.
    pub initiated: bool,
    /// Kernel requests that are not answered yet.
    pub pending: u16,
    /// When it came to be.
    pub created: Time,
    /// When it is to be rekeyed.
    pub soft: Option<Time>,
    /// When it ends.
    pub hard: Option<Time>,
    /// The packet count of the inbound SA when it was last asked for.
    pub seen: u64,
    /// The child whose place it takes.
    pub replaces: Option<ChildId>,
    /// The child that we delete once this one is up (itself, if it lost a collision).
    pub victim: Option<ChildId>,
    /// The outbound half, while it waits until the peer surely receives on it (RFC 7296 §2.8).
    pub deferred: Option<Box<Deferred>>,
    /// The kernel is moving its SAs: where its flows still are, and how many answers are to come.
    moving: Option<Box<(Hosts, u8)>>,
    in_kernel: (bool, bool),
    flows_claimed: (bool, bool),
    rdomain: Option<u32>,
    /// Routes lead to it, not flows.
    routed: bool,
}

/// The outbound half of a successor that traffic does not use yet.
#[derive(Debug)]
pub struct Deferred {
    keys: DirectionKeys,
    /// When it is used even though nothing has shown that the peer receives on it.
    pub at: Time,
}

impl Child {
    /// A child SA of which the kernel has only the reserved SPI.
    pub fn new(core: &mut Core, sa: SaId, agreement: Agreement, policy: &Policy) -> Self {
        let hard = Duration::from_secs(policy.child_lifetime.seconds.into());
        let soft = (!hard.is_zero()).then(|| core.now.after(soft(hard, &mut *core.random)));
        core.by_spi.insert(agreement.spi_in, sa);
        Self {
            id: core.child_id(),
            agreement,
            stage: Stage::Installing,
            initiated: false,
            pending: 0,
            created: core.now,
            soft,
            hard: (!hard.is_zero()).then(|| core.now.after(hard).after(GRACE)),
            seen: 0,
            replaces: None,
            victim: None,
            deferred: None,
            moving: None,
            in_kernel: (true, false),
            flows_claimed: (false, false),
            rdomain: policy.rdomain,
            routed: policy.sa_iface().is_some(),
        }
    }

    /// The kernel's name for the SA of one direction.
    pub fn key(&self, direction: Direction) -> SaKey {
        let Agreement { protocol, spi_in, spi_out, hosts, .. } = self.agreement;
        match direction {
            Direction::In => SaKey { protocol, spi: spi_in, src: hosts.remote, dst: hosts.local },
            Direction::Out => SaKey { protocol, spi: spi_out, src: hosts.local, dst: hosts.remote },
        }
    }

    /// Both SPIs, inbound first, printed.
    pub fn printed_spis(&self) -> (String, String) {
        (self.agreement.spi_in.to_string(), self.agreement.spi_out.to_string())
    }

    /// The flows, printed.
    pub fn printed_flows(&self) -> Vec<String> {
        self.agreement.flows.iter().map(printed).collect()
    }

    /// What the kernel is asked for by a part of it, in words.
    pub fn part(&self, part: Part) -> String {
        let Agreement { protocol, mode, .. } = &self.agreement;
        let sa = || {
            let protocol = if *protocol == SaProtocol::Esp { "ESP" } else { "AH" };
            let mode = if *mode == Mode::Tunnel { "tunnel" } else { "transport" };
            let suite = self.agreement.printed_suite();
            format!("{protocol} SA with {suite} in {mode} mode")
        };
        match part {
            Part::Sa(Direction::In) => format!("install the inbound {}", sa()),
            Part::Sa(Direction::Out) => format!("install the outbound {}", sa()),
            Part::Move(..) => format!("move the {}", sa()),
            Part::Counters => format!("count what the {} carries", sa()),
            Part::Flow => format!("install the flows {}", self.printed_flows().join(", ")),
        }
    }

    /// Puts one direction into the kernel: the SA, then its flows. [`Child::pending`] counts.
    pub fn install(
        &mut self,
        core: &mut Core,
        sa: SaId,
        direction: Direction,
        keys: &DirectionKeys,
        policy: &Policy,
    ) {
        let mut kernel_sa = Box::new(self.kernel_sa(core, direction, keys, policy));
        kernel_sa.soft.bytes = soft_bytes(policy.child_lifetime.bytes, &mut *core.random);
        core.kernel(self.owner(sa, Part::Sa(direction)), KernelRequest::AddSa(kernel_sa));
        self.pending += 1;
        match direction {
            Direction::In => self.flows_claimed.0 = true,
            Direction::Out => (self.in_kernel.1, self.flows_claimed.1) = (true, true),
        }
        for flow in self.kernel_flows(direction) {
            if core.claim(self.owner(sa, Part::Flow), &flow) {
                self.pending += 1;
            }
        }
    }

    /// Whether packets have come since it was last asked for; these are what it received in all.
    pub fn progressed(&mut self, counters: SaCounters) -> bool {
        std::mem::replace(&mut self.seen, counters.packets) < counters.packets
    }

    /// Whether it has carried nearly all that it may: should what the kernel said of that have got lost.
    pub fn is_full(counters: SaCounters, limit: Lifetime) -> bool {
        limit.bytes > 0 && counters.bytes >= limit.bytes / 10 * 9
    }

    /// Keeps the outbound half back until [`Child::switch`].
    pub fn defer(&mut self, core: &Core, keys: DirectionKeys) {
        let at = core.now.after(DEFERRED);
        self.deferred = Some(Box::new(Deferred { keys, at }));
    }

    /// Traffic goes out on this one from now on, if it did not yet.
    pub fn switch(&mut self, core: &mut Core, sa: SaId, policy: &Policy) {
        if let Some(deferred) = self.deferred.take() {
            self.install(core, sa, Direction::Out, &deferred.keys, policy);
        }
    }

    /// Whether the kernel has an outbound half of it.
    pub fn sends(&self) -> bool {
        self.in_kernel.1
    }

    /// It has a successor: if nobody deletes it, it goes by itself.
    pub fn replaced(&mut self, core: &Core) {
        self.stage = Stage::Ending;
        let latest = core.now.after(REPLACED);
        self.hard = Some(self.hard.map_or(latest, |hard| hard.min(latest)));
    }

    /// Another carries its traffic: it sends nothing any more, and goes after this time.
    pub fn retire(&mut self, core: &mut Core, after: Duration) {
        self.stage = Stage::Ending;
        self.remove_outbound(core);
        self.soft = None;
        self.hard = Some(core.now.after(after));
    }

    /// Whoever negotiated a successor does so no more, if one was: another is to be negotiated at this time.
    pub fn resume(&mut self, at: Time) {
        if self.stage == Stage::Rekeying {
            self.stage = Stage::Up;
            self.soft = Some(at);
        }
    }

    /// The kernel did not take the SA of this direction.
    pub fn not_installed(&mut self, direction: Direction) {
        if direction == Direction::Out {
            self.in_kernel.1 = false;
        }
    }

    /// Takes everything out of the kernel.
    pub fn remove(&mut self, core: &mut Core) {
        self.remove_outbound(core);
        if std::mem::take(&mut self.flows_claimed.0) {
            self.kernel_flows(Direction::In).iter().for_each(|flow| core.release(flow));
        }
        if std::mem::take(&mut self.in_kernel.0) {
            core.delete_sa(self.key(Direction::In));
            core.by_spi.remove(&self.agreement.spi_in);
        }
    }

    /// Takes the outbound half out of the kernel: from now on traffic uses another SA, while what
    /// the peer still sends on this one is received.
    pub fn remove_outbound(&mut self, core: &mut Core) {
        if std::mem::take(&mut self.flows_claimed.1) {
            self.kernel_flows(Direction::Out).iter().for_each(|flow| core.release(flow));
        }
        if std::mem::take(&mut self.in_kernel.1) {
            core.delete_sa(self.key(Direction::Out));
        }
    }

    /// The kernel took the SA of this direction away by itself.
    pub fn vanished(&mut self, core: &mut Core, direction: Direction) {
        match direction {
            Direction::In => {
                self.in_kernel.0 = false;
                core.by_spi.remove(&self.agreement.spi_in);
            }
            Direction::Out => self.in_kernel.1 = false,
        }
    }

    /// The ports of UDP encapsulation in the direction of packets: source, destination.
    fn encap(&self, direction: Direction) -> Option<(u16, u16)> {
        self.agreement.encap.map(|(ours, peers)| match direction {
            Direction::In => (peers, ours),
            Direction::Out => (ours, peers),
        })
    }

    /// The policy has another lifetime: it is rekeyed when that says, but not later than what the
    /// kernel was told.
    pub fn recount(&mut self, core: &mut Core, policy: &Policy) {
        let hard = Duration::from_secs(policy.child_lifetime.seconds.into());
        let new = (!hard.is_zero()).then(|| self.created.after(soft(hard, &mut *core.random)));
        self.soft = earliest([self.soft, new]);
    }

    /// When it is to be looked at next.
    pub fn next_timeout(&self) -> Option<Time> {
        let soft = self.soft.filter(|_| self.stage == Stage::Up);
        earliest([soft, self.hard, self.deferred.as_ref().map(|deferred| deferred.at)])
    }

    /// As it is shown.
    pub fn view(&self, now: Time) -> ChildView {
        let Agreement { protocol, mode, spi_in, spi_out, ref flows, encap, .. } = self.agreement;
        let around = self.agreement.around();
        let state = match self.stage {
            Stage::Installing => "installing",
            Stage::Up => "up",
            Stage::Rekeying => "rekeying",
            Stage::Ending => "ending",
        };
        ChildView {
            protocol,
            mode,
            spi_in: spi_in.0,
            spi_out: spi_out.0,
            ipcomp: self.agreement.ipcomp().map(|(ours, peers)| (ours.0, peers.0)),
            around: around.map(|around| (around.spi_in.0, around.spi_out.0)),
            suite: self.agreement.printed_suite(),
            udp_encap: encap.is_some(),
            state: state.into(),
            flows: flows.to_vec(),
            age: now.since(self.created),
            rekey_in: self.soft.map(|soft| soft.since(now)),
            counters: None::<(SaCounters, SaCounters)>,
        }
    }

    fn owner(&self, sa: SaId, part: Part) -> Owner {
        Owner::Child { sa, child: self.id, part }
    }

    fn kernel_sa(
        &self,
        core: &Core,
        direction: Direction,
        keys: &DirectionKeys,
        policy: &Policy,
    ) -> KernelSa {
        let suite = self.agreement.suite;
        let encap = self.encap(direction);
        let encryption = suite.encryption.map(|(id, _)| (id, keys.encryption.clone()));
        let lifetime = policy.child_lifetime;
        let soft_seconds = self.soft.map_or(0, |soft| soft.since(core.now).as_secs().max(1));
        let first = self.agreement.flows.first();
        KernelSa {
            key: self.key(direction),
            direction,
            mode: self.agreement.mode,
            encryption: encryption.filter(|(id, _)| *id != EncryptionId::ENCR_NULL),
            integrity: suite.integrity.map(|id| (id, keys.integrity.clone())),
            esn: suite.esn,
            replay_window: REPLAY_WINDOW,
            soft: KernelLifetime { seconds: soft_seconds, bytes: 0 },
            hard: KernelLifetime { seconds: lifetime.seconds.into(), bytes: lifetime.bytes },
            encap,
            ipcomp: self.agreement.ipcomp().map(|(ours, peers)| match direction {
                Direction::In => ours,
                Direction::Out => peers,
            }),
            around: self.agreement.around().and_then(|around| {
                let spi = match direction {
                    Direction::In => around.spi_in,
                    Direction::Out => around.spi_out,
                };
                let integrity = (around.integrity, keys.around.clone()?);
                Some(Box::new(event::Around { spi, integrity }))
            }),
            reqid: self.agreement.reqid,
            selector: match direction {
                Direction::In => first.map(reversed),
                Direction::Out => first.copied(),
            },
            tag: policy.tag.clone(),
            tap: policy.tap,
            rdomain: policy.rdomain,
            iface: policy.sa_iface().cloned(),
        }
    }

    fn kernel_flows(&self, direction: Direction) -> Vec<KernelFlow> {
        let hosts = self.moving.as_ref().map_or(self.agreement.hosts, |moving| moving.0);
        let flow = |outbound: &KernelSelector| KernelFlow {
            direction,
            selector: match direction {
                Direction::In => reversed(outbound),
                Direction::Out => *outbound,
            },
            protocol: self.agreement.protocol,
            mode: self.agreement.mode,
            ipcomp: self.agreement.ipcomp().is_some(),
            around: self.agreement.around().is_some(),
            local: hosts.local,
            remote: hosts.remote,
            reqid: self.agreement.reqid,
            rdomain: self.rdomain,
        };
        self.agreement.flows.iter().filter(|_| !self.routed).map(flow).collect()
    }
}

/// The reqid for a new child SA: the policy's own if it carries all of the policy's flows, so that
/// these need not change; else one of its own, so that traffic it does not carry never uses it.
pub fn reqid(core: &mut Core, policy: &Arc<Policy>, flows: &[KernelSelector], hosts: Hosts) -> u32 {
    let able = core.able.as_ref();
    let wanted = Traffic::wanted(policy, hosts).flows(policy, hosts, able).unwrap_or_default();
    let whole = wanted.iter().all(|flow| flows.contains(flow));
    match core.policies.named(&policy.name) {
        Some((_, running)) if whole && running.callable().is_some() => running.reqid,
        _ => core.reqid(),
    }
}
