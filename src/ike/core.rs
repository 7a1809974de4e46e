//! What the engine lends to whoever works on an IKE SA: time, randomness, configuration, and the ways out.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use super::Settings;
use super::auth::{Question, QuestionId, Trust};
use super::child::ChildId;
use super::event::{
    Capabilities, Cpi, Direction, KernelAnswer, KernelFlow, KernelRequest, Output, RequestId,
    SaKey, Time,
};
use super::flow::FlowTable;
use super::guesses::Guesses;
use super::policy::Policies;
use super::pool::Pools;
use super::reassembly::Pool;
use super::report::{Event, Gone, Report, Way};
use super::sa::Sa;
use super::table::SaId;
use super::v2::door::Door;
use super::v2::stray::Strays;
use super::view::Stats;
use crate::conf::{Globals, Policy, PolicyName, SaProtocol};
use crate::crypto::Random;
use crate::wire::dump::Rung;
use crate::wire::v2::Id;
use crate::wire::{EspSpi, Header, IkeSpi, MessageId};

/// For how many questions and requests under way there is room also when there are none.
const KEPT: usize = 7;

/// The engine without its IKE SAs.
pub struct Core {
    /// The time of the input that is being handled.
    pub now: Time,
    /// The source of everything that must not be guessed.
    pub random: Box<dyn Random>,
    /// What is tuned.
    pub settings: Settings,
    /// The `set` lines.
    pub globals: Globals,
    /// The policies and how they fare.
    pub policies: Policies,
    /// Whom the holder of the secrets trusts.
    pub trust: Trust,
    /// Whether any policy has to do with signatures.
    pub signatures: bool,
    /// Who has which address.
    pub pools: Pools,
    /// What the kernel can do, once known.
    pub able: Option<Capabilities>,
    /// The flows in the kernel.
    pub flows: FlowTable,
    /// Counters.
    pub stats: Stats,
    /// Our addresses, the ones to be preferred first; none as long as nobody told.
    pub addresses: Vec<std::net::IpAddr>,
    /// Who may begin, when many want to.
    pub door: Door,
    /// What was said lately of SAs that are not known, outside any.
    pub strays: Strays,
    /// Who tried passwords, and how often.
    pub guesses: Guesses,
    /// What waits for missing fragments.
    pub fragments: Pool,
    /// Whether each message is reported.
    pub trace: bool,
    /// The policy of the IKE SA at work, and who the peer is or should be.
    pub at_work: Option<(Arc<Policy>, Option<Id>)>,
    /// Whether everything is being taken down.
    pub ending: bool,
    /// What waits to be polled.
    pub outputs: VecDeque<Output>,
    /// What concerns other SAs than the one at work.
    pub deeds: VecDeque<Deed>,
    /// Answers to kernel requests that are not to reach the kernel (`set decouple`).
    pub loopback: VecDeque<(RequestId, KernelAnswer)>,
    /// Which IKE SA an inbound child SA belongs to.
    pub by_spi: BTreeMap<EspSpi, SaId>,
    owners: HashMap<RequestId, Owner>,
    askers: HashMap<QuestionId, SaId>,
    last_id: u64,
    last_child: u32,
    last_reqid: u32,
}

/// Something to be done once the SA at work is back in the table.
#[derive(Debug)]
pub enum Deed {
    /// A new IKE SA (by rekeying) enters the table.
    Open(Box<Sa>),
    /// This one became established by IKE_AUTH; the peer may have said INITIAL_CONTACT.
    Established(SaId, bool),
    /// The peer calls by this one: where we call too, that is no first contact any more.
    Called(SaId),
    /// This one is to be replaced by one in which both sides prove anew who they are.
    Reauthenticate(SaId),
    /// This one was, and goes.
    Retire(SaId),
    /// The children of one go over to another.
    Inherit(SaId, SaId),
    /// A successor for this one is to be opened (IKEv1, where that is another phase 1).
    Reopen(SaId),
    /// This one was deleted; its children go to another with the same peer, if there is one.
    Bequeath(SaId),
    /// This one made a child after another with the same peer had taken over the rest (IKEv1).
    HandOver(SaId),
    /// The peer deletes, by this one, a child SA that this one does not have (IKEv1).
    ChildDeleted(SaId, SaProtocol, EspSpi),
    /// This one has a new child, whose flows may have been those of another.
    Cover(SaId, ChildId),
    /// A request of the peer that came early is to be worked on.
    TakeTurn(SaId),
    /// This one is half open and has to give way.
    Evict(SaId),
    /// A policy lost its IKE or child SA, or could not get it (then pause longer).
    Lost(PolicyName, bool),
}

/// Whose a kernel request is.
#[derive(Debug, Clone)]
pub enum Owner {
    /// An SPI for a negotiation of this IKE SA.
    Spi {
        /// The IKE SA.
        sa: SaId,
        /// Which negotiation.
        negotiation: Negotiation,
        /// What is to be deleted should nobody want it any more (its SPI is not known yet).
        protocol: SaProtocol,
        /// From the peer to us.
        path: (std::net::IpAddr, std::net::IpAddr),
    },
    /// A CPI for a negotiation of this IKE SA; an SPI is asked for after it.
    Cpi {
        /// The IKE SA.
        sa: SaId,
        /// Which negotiation.
        negotiation: Negotiation,
        /// What the SPI is for.
        protocol: SaProtocol,
        /// From the peer to us.
        path: (std::net::IpAddr, std::net::IpAddr),
    },
    /// A part of a child SA.
    Child {
        /// The IKE SA.
        sa: SaId,
        /// The child.
        child: ChildId,
        /// Which part.
        part: Part,
    },
    /// Nobody waits for it; what it was, should it fail.
    Nobody(&'static str),
}

/// Which negotiation of an IKE SA wants an SPI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Negotiation {
    /// Our own request, of which there is one at a time.
    Own,
    /// The peer's request, likewise.
    Peers,
    /// The exchange with this message ID, one of several.
    Exchange(MessageId),
}

/// A part of a child SA in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The SA of this direction.
    Sa(Direction),
    /// Another place for the SA of this direction: its name before, and then.
    Move(Direction, SaKey, SaKey),
    /// A flow.
    Flow,
    /// Its counters.
    Counters,
}

impl Core {
    /// Services without configuration.
    pub fn new(random: Box<dyn Random>, settings: Settings) -> Self {
        Self {
            now: Time::default(),
            random,
            settings,
            globals: Globals::default(),
            policies: Policies::default(),
            trust: Trust::default(),
            signatures: false,
            pools: Pools::default(),
            able: None,
            flows: FlowTable::default(),
            stats: Stats::default(),
            addresses: Vec::new(),
            door: Door::default(),
            strays: Strays::default(),
            guesses: Guesses::default(),
            fragments: Pool::default(),
            trace: false,
            at_work: None,
            ending: false,
            outputs: VecDeque::new(),
            deeds: VecDeque::new(),
            loopback: VecDeque::new(),
            by_spi: BTreeMap::new(),
            owners: HashMap::new(),
            askers: HashMap::new(),
            last_id: 0,
            last_child: 0,
            last_reqid: 0,
        }
    }

    /// Random octets.
    pub fn octets(&mut self, len: usize) -> Vec<u8> {
        let mut octets = vec![0; len];
        self.random.fill(&mut octets);
        octets
    }

    /// An SPI for an IKE SA; never zero.
    pub fn ike_spi(&mut self) -> IkeSpi {
        loop {
            let mut spi = [0; 8];
            self.random.fill(&mut spi);
            if !IkeSpi(spi).is_zero() {
                return IkeSpi(spi);
            }
        }
    }

    /// A name for a child SA.
    pub fn child_id(&mut self) -> ChildId {
        self.last_child = self.last_child.wrapping_add(1);
        ChildId(self.last_child)
    }

    /// A reqid that nobody has had for a long time.
    pub fn reqid(&mut self) -> u32 {
        self.last_reqid = self.last_reqid.checked_add(1).unwrap_or(1);
        self.last_reqid
    }

    /// A number that is never used again.
    pub fn number(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Sends a message, or the fragments of one that stand back to back.
    pub fn send(&mut self, local: SocketAddr, remote: SocketAddr, octets: Vec<u8>) {
        for message in Header::messages(&octets) {
            self.stats.datagrams_out += 1;
            let octets = message.to_vec();
            self.outputs.push_back(Output::Datagram { local, remote, octets });
        }
    }

    /// Reports.
    ///
    /// What is not said is taken from the IKE SA at work.
    pub fn report(&mut self, peer: Option<SocketAddr>, policy: Option<&PolicyName>, event: Event) {
        // What is for no policy is not about the one that an address alone made likely.
        let nobody = matches!(event, Event::NoPolicy { .. }) && policy.is_none();
        let at_work = self.at_work.as_ref().filter(|_| !nobody);
        let policy = policy.or(at_work.map(|(policy, _)| &policy.name)).cloned();
        let identity = at_work.and_then(|(_, id)| id.as_ref()).map(ToString::to_string);
        self.outputs.push_back(Output::Report(Report { peer, policy, identity, event }));
    }

    /// Reports a message, if that is wanted.
    pub fn ladder(
        &mut self,
        way: Way,
        local: SocketAddr,
        remote: SocketAddr,
        rung: impl FnOnce() -> Rung,
    ) {
        if self.trace {
            let Rung { summary, payloads } = rung();
            self.report(Some(remote), None, Event::Message { way, local, summary, payloads });
        }
    }

    /// Asks the kernel on somebody's behalf.
    pub fn kernel(&mut self, owner: Owner, request: KernelRequest) {
        self.last_id += 1;
        let id = RequestId(self.last_id);
        self.owners.insert(id, owner);
        if !self.globals.decouple {
            self.outputs.push_back(Output::Kernel(id, request));
            return;
        }
        let answer = match request {
            KernelRequest::GetSpi { .. } => {
                let spi = u32::try_from(self.random.below(u64::from(u32::MAX - 256))).unwrap_or(0);
                KernelAnswer::Spi(EspSpi(spi + 256))
            }
            KernelRequest::GetCpi { .. } => {
                let cpi = u16::try_from(self.random.below(0xf000 - 0x100)).unwrap_or(0);
                KernelAnswer::Cpi(Cpi(cpi + 0x100))
            }
            KernelRequest::QuerySa(_) => KernelAnswer::Failed("decoupled".into()),
            KernelRequest::MoveSa(_) => KernelAnswer::Moved { counts_on: true },
            _ => KernelAnswer::Done,
        };
        self.loopback.push_back((id, answer));
    }

    /// Whose the answer with this number is; it is answered now.
    pub fn owner(&mut self, id: RequestId) -> Option<Owner> {
        let owner = self.owners.remove(&id);
        if self.owners.is_empty() {
            self.owners.shrink_to(KEPT);
        }
        owner
    }

    /// Deletes an SA (or a reserved SPI) from the kernel; nobody waits for it.
    pub fn delete_sa(&mut self, key: SaKey) {
        self.kernel(Owner::Nobody("delete an SA"), KernelRequest::DeleteSa(key));
    }

    /// The kernel moved an SA (or could not) that nobody has any more: it goes, where it is.
    pub fn moved_in_vain(&mut self, (old, new): (SaKey, SaKey), answer: &KernelAnswer) {
        match answer {
            KernelAnswer::Failed(_) => self.delete_sa(old),
            _ => self.delete_sa(new),
        }
    }

    /// Gives a CPI back; nobody waits for it.
    pub fn drop_cpi(&mut self, cpi: Cpi, src: std::net::IpAddr, dst: std::net::IpAddr) {
        let request = KernelRequest::DropCpi { cpi, src, dst };
        self.kernel(Owner::Nobody("give a CPI back"), request);
    }

    /// Somebody wants a flow. Gives back whether the kernel was asked.
    pub fn claim(&mut self, owner: Owner, flow: &KernelFlow) -> bool {
        let change = self.flows.claim(flow);
        let asked = change.is_some();
        if let Some(request) = change {
            self.kernel(owner, request);
        }
        asked
    }

    /// Somebody no longer wants a flow.
    pub fn release(&mut self, flow: &KernelFlow) {
        if let Some(request) = self.flows.release(flow) {
            self.kernel(Owner::Nobody("change a flow"), request);
        }
    }

    /// Asks the holder of the secrets on behalf of an SA.
    pub fn ask(&mut self, sa: SaId, question: Question) -> QuestionId {
        self.last_id += 1;
        let id = QuestionId(self.last_id);
        self.askers.insert(id, sa);
        self.outputs.push_back(Output::Question(id, question));
        id
    }

    /// Who asked.
    pub fn asks(&self, id: QuestionId) -> Option<SaId> {
        self.askers.get(&id).copied()
    }

    /// Who asked; it is answered now.
    pub fn asker(&mut self, id: QuestionId) -> Option<SaId> {
        let asker = self.askers.remove(&id);
        if self.askers.is_empty() {
            self.askers.shrink_to(KEPT);
        }
        asker
    }

    /// A policy is without the SA that it should have.
    pub fn lost(&mut self, policy: &PolicyName, why: Gone) {
        let failed = matches!(why, Gone::Failed | Gone::PeerVanished);
        if !matches!(why, Gone::Replaced | Gone::ByConfiguration | Gone::Shutdown) {
            self.deeds.push_back(Deed::Lost(policy.clone(), failed));
        }
    }
}

/// A policy's name, shared.
pub fn name_of(policy: Option<&Arc<Policy>>) -> Option<PolicyName> {
    policy.map(|policy| policy.name.clone())
}
