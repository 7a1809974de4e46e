//! Engine requests to and from the kernel, by the pfkey crate.
//!
//! PF_KEY is not a reliable road: answers come twice, late or never, other programs' messages come
//! too, a write may fail although the kernel did what it was asked. So every request has an owner, a
//! deadline and a failure path here, and exactly one answer goes back to the engine for each.
//!
//! What an earlier run of the daemon left in the kernel is found by the reqids, which come from a
//! range of our own, or by a record of it (`record`); it carries traffic until its successor stands
//! and is removed then (`stale`).

mod answers;
mod link;
mod plan;
mod record;
mod stale;
mod translate;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use pfkey::{Behaviour, Incoming, MessageType, Request, SaId};

use crate::ike::event::{
    Capabilities, Cpi, Expire, Input, KernelAnswer, KernelFlow, KernelRequest, KernelSa, RequestId,
    SaKey, SaMove, Time,
};
use crate::wire::EspSpi;
pub use link::PfKey;
use plan::{Companion, Companions, Plan};
use record::Record;
pub use record::{Kept, Left, Note};
use stale::Stale;

/// How long an answer may take before we ask what became of it.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why the kernel did not take a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The errno, where there is one.
    pub errno: Option<i32>,
    /// In words.
    pub reason: String,
}

/// The road to a kernel: the PF_KEY socket, or a scripted kernel.
pub trait Link {
    /// Sends the messages of a request, numbered from `seq` on; how many they are. Each is answered.
    ///
    /// # Errors
    ///
    /// What the request cannot say in this dialect, or what the write gave.
    fn ask(&mut self, seq: u32, request: &Request) -> Result<u32, Refusal>;

    /// The next message from the kernel, if there is one; `Err` for one that does not parse.
    fn next(&mut self) -> Option<Result<Incoming, String>>;

    /// The process id under which answers to us come.
    fn pid(&self) -> u32;

    /// How this kernel behaves.
    fn behaviour(&self) -> &Behaviour;

    /// Whether the road is closed for good.
    fn is_closed(&self) -> bool {
        false
    }
}

/// What a request was about, for when the answer comes.
#[derive(Debug, Clone)]
enum Asked {
    GetSpi,
    GetCpi,
    /// With `check`, it is a question whether an SA whose answer was lost is there.
    AddSa {
        sa: SaId,
        outbound: bool,
        check: bool,
    },
    DeleteSa,
    QuerySa,
    AddFlow,
    DeleteFlow,
    Group,
    /// What an SA is that shall move, its companion with it.
    Inspect(Box<SaMove>),
    /// A step of a move. With `told_to_all` no answer bears our number: everybody is told.
    Moved {
        counts_on: bool,
        told_to_all: bool,
    },
    Register(pfkey::Protocol),
    DumpSas,
    DumpFlows,
    FlowOfAcquire(Box<pfkey::Acquire>),
}

#[derive(Debug)]
struct Pending {
    /// `None` for what was asked on our own account.
    owner: Option<RequestId>,
    asked: Asked,
    /// How many messages it was; they bear numbers in a row.
    count: u32,
    /// Answers still to come; the first failure counts.
    left: u32,
    deadline: Time,
    /// What follows it, if it is one of several steps.
    plan: Option<Box<Plan>>,
}

/// Asks for an SPI. Mode and reqid are not agreed on yet.
fn get_spi(protocol: pfkey::Protocol, src: IpAddr, dst: IpAddr) -> Request {
    let (range, mode, reqid) = (None, pfkey::Mode::Tunnel, 0);
    Request::GetSpi(pfkey::GetSpi { protocol, src, dst, range, mode, reqid })
}

/// The kernel side of the `ike` process.
pub struct Kernel<L> {
    link: L,
    seq: u32,
    pending: BTreeMap<u32, Pending>,
    inputs: VecDeque<Input<'static>>,
    capabilities: Option<Capabilities>,
    stale: Stale,
    record: Record,
    companions: Companions,
    /// Where SAs were before they moved, by where they should be now.
    origins: HashMap<SaKey, SaKey>,
    /// Why a message could not be read, since an answer was last missed: it may have been that one.
    unread: Option<String>,
    /// That of encrypted packets.
    rdomain: u16,
}

impl<L: Link> Kernel<L> {
    /// A kernel side over this road.
    pub fn new(link: L) -> Self {
        Self {
            link,
            seq: 0,
            pending: BTreeMap::new(),
            inputs: VecDeque::new(),
            capabilities: None,
            stale: Stale::default(),
            record: Record::default(),
            companions: Companions::default(),
            origins: HashMap::new(),
            unread: None,
            rdomain: 0,
        }
    }

    /// The daemon's sockets are in this rdomain, and so are encrypted packets.
    pub fn in_rdomain(self, rdomain: u16) -> Self {
        Self { rdomain, ..self }
    }

    /// The road, for its descriptor.
    pub fn link(&self) -> &L {
        &self.link
    }

    /// What an earlier run has kept; to be told before [`Kernel::start`].
    pub fn earlier(&mut self, left: Vec<Left>) {
        self.record.earlier(left);
    }

    /// The next change of what is to be kept for a later run.
    pub fn note(&mut self) -> Option<Note> {
        self.record.note()
    }

    /// Registers for ACQUIRE and EXPIRE, learns what the kernel can do, and looks for what an
    /// earlier run left.
    pub fn start(&mut self, now: Time) {
        for protocol in [pfkey::Protocol::Esp, pfkey::Protocol::Ah] {
            self.ask(now, None, Asked::Register(protocol), &Request::Register(protocol));
        }
        self.stale.begin(now);
        for flow in self.record.left_flows() {
            let reqid = translate::reqid_to_kernel(flow.reqid, self.link.behaviour());
            self.stale.found_flow(translate::flow(&flow, reqid));
        }
        self.ask(now, None, Asked::DumpSas, &Request::Dump(None));
        self.ask(now, None, Asked::DumpFlows, &Request::DumpFlows);
        self.readable(now);
    }

    /// Asks the kernel for the engine. The answer comes by [`Kernel::poll`].
    pub fn request(&mut self, now: Time, owner: RequestId, request: KernelRequest) {
        let (asked, request) = match request {
            KernelRequest::GetSpi { protocol, src, dst } => {
                (Asked::GetSpi, get_spi(translate::protocol(protocol), src, dst))
            }
            KernelRequest::GetCpi { src, dst } => {
                (Asked::GetCpi, get_spi(pfkey::Protocol::IpComp, src, dst))
            }
            KernelRequest::DropCpi { cpi: Cpi(cpi), src, dst } => {
                let (protocol, spi) = (pfkey::Protocol::IpComp, pfkey::Spi(cpi.into()));
                let id = SaId { protocol, spi, src, dst, rdomain: None };
                (Asked::DeleteSa, Request::Delete(id))
            }
            KernelRequest::AddSa(sa) => match self.plan_of(&sa) {
                Ok(plan) => return self.run(now, Some(owner), plan),
                Err(reason) => return self.answer(owner, KernelAnswer::Failed(reason)),
            },
            KernelRequest::MoveSa(to) => {
                let id = self.name(&to.key);
                (Asked::Inspect(to), Request::Get(id))
            }
            KernelRequest::DeleteSa(key) => {
                let id = self.name(&key);
                self.forget(now, &key);
                self.forget_origins(now, key);
                (Asked::DeleteSa, Request::Delete(id))
            }
            KernelRequest::QuerySa(key) => (Asked::QuerySa, Request::Get(self.told(&key))),
            KernelRequest::AddFlow(flow) => (Asked::AddFlow, self.flow_to_add(now, &flow)),
            KernelRequest::DeleteFlow(flow) => (Asked::DeleteFlow, self.flow_to_delete(now, &flow)),
        };
        self.ask(now, Some(owner), asked, &request);
    }

    /// The steps by which an SA comes into the kernel, or why it cannot. What belongs to it is
    /// remembered.
    fn plan_of(&mut self, sa: &KernelSa) -> Result<Plan, String> {
        let behaviour = *self.link.behaviour();
        let spec = translate::sa(sa, &behaviour, self.rdomain)?;
        let beside = translate::beside(sa, &spec)?;
        let plan = Plan::add(sa.key, spec.clone(), &beside, sa.direction, &behaviour);
        let rdomain = spec.id().rdomain;
        if !beside.is_empty() || rdomain.is_some() {
            self.companions.insert(sa.key, Companion { rdomain, beside });
        }
        Ok(plan)
    }

    /// Puts in the bypasses that a flow needs beside it; gives back the request for itself.
    fn flow_to_add(&mut self, now: Time, flow: &KernelFlow) -> Request {
        let behaviour = *self.link.behaviour();
        for bypass in translate::neighbour_discovery(flow, &behaviour) {
            self.stale.adopt(&bypass);
            self.ask(now, None, Asked::AddFlow, &Request::AddFlow(Box::new(bypass)));
        }
        if !behaviour.reqids {
            self.record.add_flow(flow);
        }
        let flow = translate::flow(flow, translate::reqid_to_kernel(flow.reqid, &behaviour));
        self.stale.adopt(&flow);
        Request::AddFlow(Box::new(flow))
    }

    /// Takes out the bypasses that a flow has beside it; gives back the request for itself.
    fn flow_to_delete(&mut self, now: Time, flow: &KernelFlow) -> Request {
        let behaviour = *self.link.behaviour();
        for bypass in translate::neighbour_discovery(flow, &behaviour) {
            self.remove(now, Request::DeleteFlow(Box::new(bypass)));
        }
        self.record.remove_flow(flow);
        let flow = translate::flow(flow, translate::reqid_to_kernel(flow.reqid, &behaviour));
        Request::DeleteFlow(Box::new(flow))
    }

    /// Reads everything that the kernel has said.
    pub fn readable(&mut self, now: Time) {
        while let Some(message) = self.link.next() {
            match message {
                Ok(Incoming::Reply(reply)) => self.reply(now, reply),
                Ok(Incoming::Acquire(acquire)) => self.acquire(now, acquire),
                Ok(Incoming::Expire(expire)) => self.expired(now, &expire.sa.id, expire.hard),
                Ok(Incoming::NewMapping(mapping)) => {
                    let (spi, remote) = (EspSpi(mapping.sa.spi.0), mapping.new);
                    self.inputs.push_back(Input::Mapping { spi, remote });
                }
                Ok(Incoming::Other(MessageType::Migrate)) => self.migrated(now),
                // Other programs' messages: not ours to act upon.
                Ok(_) => (),
                Err(why) => self.unread = Some(why),
            }
        }
    }

    /// The next thing to tell the engine.
    pub fn poll(&mut self) -> Option<Input<'static>> {
        self.inputs.pop_front()
    }

    /// When [`Kernel::timeout`] is to be called.
    pub fn next_timeout(&self) -> Option<Time> {
        let pending = self.pending.values().map(|pending| pending.deadline).min();
        [pending, self.stale.next_timeout()].into_iter().flatten().min()
    }

    /// Looks after answers that did not come and leftovers whose time is over.
    pub fn timeout(&mut self, now: Time) {
        let late: Vec<u32> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.deadline <= now)
            .map(|(seq, _)| *seq)
            .collect();
        for seq in late {
            if let Some(pending) = self.pending.remove(&seq) {
                self.lost(now, pending);
            }
        }
        for request in self.stale.due(now) {
            self.remove(now, request);
        }
        if self.stale.is_over(now) {
            self.record.forget_earlier();
        }
    }

    /// Whether the kernel has not yet told all that an earlier run left.
    pub fn is_searching(&self) -> bool {
        let dumps = |pending: &Pending| matches!(pending.asked, Asked::DumpSas | Asked::DumpFlows);
        self.pending.values().any(dumps)
    }

    /// Removes at once what an earlier run left: the daemon ends.
    pub fn sweep(&mut self, now: Time) {
        for request in self.stale.all() {
            self.remove(now, request);
        }
        self.record.forget_earlier();
    }

    fn remove(&mut self, now: Time, request: Request) {
        let asked = match request {
            Request::DeleteFlow(_) => Asked::DeleteFlow,
            _ => Asked::DeleteSa,
        };
        self.ask(now, None, asked, &request);
    }

    /// An SA reached a lifetime; if it stands beside another in a bundle, so did that.
    fn expired(&mut self, now: Time, id: &SaId, hard: bool) {
        if hard {
            self.record.remove_sa(id);
        }
        let middle = self.companions.middle_of(id);
        let Some(key) = middle.or_else(|| translate::sa_key(id)) else { return };
        if hard {
            let name = self.name(&key);
            self.forget(now, &key);
            if middle.is_some() {
                self.remove(now, Request::Delete(name));
            }
        }
        self.inputs.push_back(Input::Expire(Expire { key, hard }));
    }

    /// An SA goes: what came with it goes too.
    fn forget(&mut self, now: Time, key: &SaKey) {
        let Some(companion) = self.companions.remove(key) else { return };
        for spec in companion.beside.iter() {
            self.remove(now, Request::Delete(spec.id()));
        }
    }

    /// Takes away what is left of an SA where it was: Linux moves one of those that have the same ends and
    /// reqid, and if another of them goes meanwhile one may stay behind.
    fn forget_origins(&mut self, now: Time, mut key: SaKey) {
        while let Some(origin) = self.origins.remove(&key) {
            self.remove(now, Request::Delete(self.name(&origin)));
            key = origin;
        }
    }

    /// The kernel's name for an SA.
    fn name(&self, key: &SaKey) -> SaId {
        let rdomain = self.companions.get(key).and_then(|companion| companion.rdomain);
        SaId { rdomain, ..translate::sa_id(key) }
    }

    /// The SA to be asked for what an SA carries: of SAs that are tied together by groups the kernel
    /// tells only of the outermost.
    fn told(&self, key: &SaKey) -> SaId {
        let bundle = self.companions.get(key).map(|companion| &companion.beside);
        let around = bundle.and_then(|beside| beside.around.as_ref());
        match around.filter(|_| self.link.behaviour().groups) {
            Some(around) => around.id(),
            None => self.name(key),
        }
    }

    fn ask(&mut self, now: Time, owner: Option<RequestId>, asked: Asked, request: &Request) {
        self.put(now, owner, asked, request, None);
    }

    /// Asks the first of several steps; the next follows its answer.
    fn run(&mut self, now: Time, owner: Option<RequestId>, mut plan: Plan) {
        if let Some((asked, request)) = plan.next() {
            self.put(now, owner, asked, &request, Some(Box::new(plan)));
        }
    }

    fn put(
        &mut self,
        now: Time,
        owner: Option<RequestId>,
        asked: Asked,
        request: &Request,
        plan: Option<Box<Plan>>,
    ) {
        self.keep(request);
        self.seq = self.seq.checked_add(1).unwrap_or(1);
        let first = self.seq;
        let deadline = now.after(PATIENCE);
        let pending = Pending { owner, asked, count: 1, left: 1, deadline, plan };
        match self.link.ask(first, request) {
            Ok(count) => {
                self.seq = first.saturating_add(count.saturating_sub(1));
                self.pending.insert(first, Pending { count, left: count, ..pending });
            }
            // Done perhaps, and only the answer lost: wait for it, then ask.
            Err(refusal) if self.may_be_done(&refusal) => {
                self.pending.insert(first, pending);
            }
            Err(refusal) => self.failed(now, pending, refusal.errno, refusal.reason),
        }
    }

    /// Keeps what the kernel will not tell as ours, from before it is there until after.
    fn keep(&mut self, request: &Request) {
        let behaviour = self.link.behaviour();
        let tells = |reqid| behaviour.reqids && translate::reqid_is_ours(reqid, behaviour);
        match request {
            Request::Add(sa) | Request::Update(sa) if !tells(sa.reqid) => {
                self.record.add_sa(&sa.id());
            }
            Request::Move(to) if !tells(to.reqid) => {
                self.record.remove_sa(&to.id);
                self.record.add_sa(&SaId { src: to.src, dst: to.dst, ..to.id });
            }
            Request::Delete(id) => self.record.remove_sa(id),
            _ => (),
        }
    }

    fn may_be_done(&self, refusal: &Refusal) -> bool {
        refusal.errno == Some(libc::ENOBUFS) && self.link.behaviour().enobufs_may_be_done
    }

    fn answer(&mut self, owner: RequestId, answer: KernelAnswer) {
        self.inputs.push_back(Input::Kernel(owner, answer));
    }
}
