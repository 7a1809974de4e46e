//! What the kernel answers and tells on its own account.

use pfkey::{MessageType, Moves, Reply, ReplyData, Request, SaId, SaState};

use super::plan::Plan;
use super::{Asked, Kernel, Link, PATIENCE, Pending, translate};
use crate::ike::event::{
    Acquire, Cpi, Input, KernelAnswer, RequestId, SaKey, SaMove, Selects, Time,
};
use crate::wire::EspSpi;

impl<L: Link> Kernel<L> {
    /// An answer from the kernel, to us or to another program.
    pub(super) fn reply(&mut self, now: Time, reply: Reply) {
        let dump = matches!(reply.message, MessageType::Dump | MessageType::SpdDump);
        if dump && reply.errno == 0 {
            return self.dump_entry(&reply);
        }
        if !reply.answers(self.link.pid(), reply.seq) {
            return;
        }
        let before = self.pending.range(..=reply.seq).next_back();
        let first = match before {
            Some((first, pending)) if reply.seq - first < pending.count => *first,
            _ => return,
        };
        let Some(mut pending) = self.pending.remove(&first) else { return };
        if reply.errno != 0 {
            let errno = i32::from(reply.errno);
            let reason = std::io::Error::from_raw_os_error(errno).to_string();
            return self.failed(now, pending, Some(errno), reason);
        }
        if pending.left > 1 {
            pending.left -= 1;
            self.pending.insert(first, pending);
            return;
        }
        self.done(now, pending, reply.data);
    }

    /// An SA moved: everybody is told, and the first who asked for one takes it for the answer.
    pub(super) fn migrated(&mut self, now: Time) {
        let waits = |asked: &Asked| matches!(asked, Asked::Moved { told_to_all: true, .. });
        let first = self.pending.iter().find(|(_, pending)| waits(&pending.asked));
        let Some(seq) = first.map(|(seq, _)| *seq) else { return };
        if let Some(pending) = self.pending.remove(&seq) {
            self.done(now, pending, ReplyData::None);
        }
    }

    /// An entry of a dump bears a sequence number that counts down, not ours.
    fn dump_entry(&mut self, reply: &Reply) {
        if reply.pid != self.link.pid() {
            return;
        }
        let ours = |reqid| translate::reqid_is_ours(reqid, self.link.behaviour());
        match &reply.data {
            // NetBSD tells of those that are deleted already.
            ReplyData::SaInfo(info) if info.state == SaState::Dead => (),
            ReplyData::SaInfo(info) if ours(info.reqid) || self.record.left_sa(info) => {
                self.stale.found_sa(info.id);
            }
            ReplyData::Flow(info) if !info.forward && !info.per_socket => {
                let flow = &info.flow;
                if flow.transforms.iter().any(|t| ours(t.reqid))
                    || translate::is_neighbour_discovery(flow)
                {
                    self.stale.found_flow(flow.clone());
                }
            }
            _ => (),
        }
    }

    fn done(&mut self, now: Time, mut pending: Pending, data: ReplyData) {
        if let (Asked::AddSa { sa, outbound: true, .. }, ReplyData::Sa(_) | ReplyData::SaInfo(_)) =
            (&pending.asked, &data)
        {
            self.stale.succeeded(now, sa);
        }
        if let Some(mut plan) = pending.plan.take_if(|plan| !plan.is_empty()) {
            plan.succeeded(&pending.asked);
            return self.run(now, pending.owner, *plan);
        }
        let answer = match (pending.asked, data) {
            (Asked::GetSpi, ReplyData::Sa(id)) => KernelAnswer::Spi(EspSpi(id.spi.0)),
            (Asked::GetSpi, _) => KernelAnswer::Failed("GETSPI was answered without an SPI".into()),
            (Asked::Register(_), ReplyData::Capabilities(told)) => return self.learn(&told),
            (Asked::QuerySa, ReplyData::SaInfo(info)) => {
                KernelAnswer::Counters(translate::counters(&info))
            }
            (Asked::GetCpi, ReplyData::Sa(id)) => match u16::try_from(id.spi.0) {
                Ok(cpi) => KernelAnswer::Cpi(Cpi(cpi)),
                Err(_) => KernelAnswer::Failed(format!("{} is no CPI", id.spi)),
            },
            (Asked::GetCpi, _) => KernelAnswer::Failed("GETSPI was answered without a CPI".into()),
            (Asked::Inspect(to), ReplyData::SaInfo(info)) => {
                return self.relocate(now, pending.owner, *to, &info);
            }
            (Asked::Inspect(_), _) => KernelAnswer::Failed("GET was answered without an SA".into()),
            (Asked::Moved { counts_on, .. }, _) => KernelAnswer::Moved { counts_on },
            (Asked::FlowOfAcquire(acquire), ReplyData::Flow(info)) => {
                return self.acquired(&acquire, Some(&info.flow));
            }
            (Asked::FlowOfAcquire(acquire), _) => return self.acquired(&acquire, None),
            _ => KernelAnswer::Done,
        };
        if let Some(owner) = pending.owner {
            self.answer(owner, answer);
        }
    }

    /// Moves an SA of which the kernel has told everything.
    fn relocate(&mut self, now: Time, owner: Option<RequestId>, to: SaMove, info: &pfkey::SaInfo) {
        let behaviour = *self.link.behaviour();
        let mut plan = match Plan::relocate(&to, info, &behaviour) {
            Ok(plan) => plan,
            Err(reason) => {
                owner.into_iter().for_each(|owner| {
                    self.answer(owner, KernelAnswer::Failed(reason.clone()));
                });
                return;
            }
        };
        let there = SaKey { src: to.src, dst: to.dst, ..to.key };
        if matches!(behaviour.moves, Moves::Migrate) && there != to.key {
            self.origins.insert(there, to.key);
        }
        if let Some(mut companion) = self.companions.remove(&to.key) {
            if !companion.beside.is_empty() {
                let old = companion.beside.clone();
                companion.beside.relocate(to.src, to.dst);
                let middle = SaId { src: to.src, dst: to.dst, ..info.id };
                plan = plan.then_beside((&old, &companion.beside), middle, behaviour.groups);
            }
            self.companions.insert(there, companion);
        }
        self.run(now, owner, plan);
    }

    pub(super) fn failed(
        &mut self,
        now: Time,
        pending: Pending,
        errno: Option<i32>,
        reason: String,
    ) {
        let is = |known: &[u8]| errno.is_some_and(|e| known.iter().any(|k| i32::from(*k) == e));
        let behaviour = self.link.behaviour();
        let gone = match &pending.asked {
            Asked::DeleteSa => is(behaviour.no_such_sa),
            Asked::DeleteFlow => is(behaviour.no_such_flow),
            _ => false,
        };
        if let Asked::FlowOfAcquire(acquire) = &pending.asked {
            return self.acquired(acquire, None);
        }
        match pending.plan.map(|plan| *plan) {
            // What was to be deleted and is not there is what was wanted.
            Some(plan) if gone && !plan.is_empty() => return self.run(now, pending.owner, plan),
            Some(Plan { otherwise: Some(otherwise), .. }) => {
                return self.run(now, pending.owner, *otherwise);
            }
            Some(Plan { adds: Some(key), stands, .. }) if !gone => {
                let id = self.name(&key);
                self.forget(now, &key);
                if stands {
                    self.remove(now, Request::Delete(id));
                }
            }
            _ => (),
        }
        if let Asked::AddSa { sa, .. } = &pending.asked {
            self.record.remove_sa(sa);
        }
        let Some(owner) = pending.owner else { return };
        let answer = if gone { KernelAnswer::Done } else { KernelAnswer::Failed(reason) };
        self.answer(owner, answer);
    }

    /// The answer did not come in time.
    pub(super) fn lost(&mut self, now: Time, pending: Pending) {
        match pending.asked {
            Asked::AddSa { sa, outbound, check: false } => {
                let asked = Asked::AddSa { sa, outbound, check: true };
                self.put(now, pending.owner, asked, &Request::Get(sa), pending.plan);
            }
            Asked::Register(protocol) => {
                self.ask(now, None, pending.asked, &Request::Register(protocol));
            }
            _ => {
                let mut why = format!("no answer from the kernel in {} s", PATIENCE.as_secs());
                if let Some(unread) = self.unread.take() {
                    why = format!("{why}, and a message of it could not be read: {unread}");
                }
                self.failed(now, pending, None, why);
            }
        }
    }

    /// What REGISTER told, of one protocol; together they are what the engine is told.
    fn learn(&mut self, told: &pfkey::Capabilities) {
        let behaviour = self.link.behaviour();
        let protocols = behaviour.ports_of.to_vec();
        let selects = Selects { protocols, masks: behaviour.port_masks };
        let one_family = behaviour.one_inner_family;
        let capabilities = self.capabilities.get_or_insert_default();
        (capabilities.one_family, capabilities.selects) = (one_family, selects);
        translate::merge(capabilities, told);
        self.inputs.push_back(Input::Capabilities(capabilities.clone()));
    }

    pub(super) fn acquire(&mut self, now: Time, acquire: pfkey::Acquire) {
        match acquire.flow {
            Some(flow) if acquire.reqid == 0 => {
                let asked = Asked::FlowOfAcquire(Box::new(acquire));
                self.ask(now, None, asked, &Request::FlowOf(flow));
            }
            _ => self.acquired(&acquire, None),
        }
    }

    fn acquired(&mut self, acquire: &pfkey::Acquire, flow: Option<&pfkey::Flow>) {
        let transform = flow.and_then(|flow| flow.transforms.first());
        let reqid = transform.map_or(acquire.reqid, |transform| transform.reqid);
        let endpoints = transform.and_then(|transform| transform.endpoints);
        let (local, remote) = match (endpoints, acquire.src) {
            (Some(endpoints), _) => endpoints,
            (None, Some(src)) => (src, acquire.dst),
            (None, None) => return,
        };
        let behaviour = self.link.behaviour();
        self.inputs.push_back(Input::Acquire(Acquire {
            local,
            remote,
            reqid: translate::reqid_from_kernel(reqid, behaviour),
            selector: flow.and_then(|flow| translate::selector(&flow.selector)),
        }));
    }
}
