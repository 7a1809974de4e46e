//! The engine: inputs find their IKE SA, deeds reach the others, timers fire.

mod ends;
mod peers;
mod policies;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Settings;
use super::auth::{Answer, QuestionId};
use super::child::Stage;
use super::core::{Core, Deed, Owner, Part};
use super::event::{
    Direction, Expire, Input, KernelAnswer, KernelFlow, Output, RequestId, SaKey, Time,
};
use super::report::{Event, Gone};
use super::sa::Sa;
use super::table::{Key, SaId, Table};
use super::timer::{Timer, Timers};
use super::v2::stray::Hint;
use super::view::{IkeKeys, SaView, Stats};
use super::{v1, v2};
use crate::conf::PolicyName;
use crate::crypto::Random;
use crate::wire::Header;
use crate::wire::v2::Notify;

/// The least time between two looks at one SA.
const TICK: Duration = Duration::from_millis(10);

/// The longest first message, in octets: it is kept until the peer has proved who it is.
const LONGEST_FIRST: usize = 16 * 1024;

/// The protocol engine.
///
/// Tell it with [`Engine::handle`], then do what [`Engine::poll`] says until it says no more, then
/// sleep until [`Engine::next_timeout`] or the next input.
pub struct Engine {
    core: Core,
    table: Table,
    timers: Timers,
    /// The policies that are to call as soon as it is their turn.
    waiting: VecDeque<u32>,
    shutdown_at: Option<Time>,
}

impl Engine {
    /// An engine without configuration.
    pub fn new(random: Box<dyn Random>, settings: Settings) -> Self {
        Self {
            core: Core::new(random, settings),
            table: Table::default(),
            timers: Timers::default(),
            waiting: VecDeque::new(),
            shutdown_at: None,
        }
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Time, input: Input<'_>) {
        self.core.now = now.max(self.core.now);
        match input {
            Input::Datagram { local, remote, octets } => self.datagram(local, remote, octets),
            Input::Kernel(id, answer) => self.kernel(id, answer),
            Input::Capabilities(able) => self.core.able = Some(able),
            Input::Acquire(acquire) => self.acquire(&acquire),
            Input::Expire(expire) => self.expire(&expire),
            Input::Answer(id, answer) => self.answer(id, answer),
            Input::Trust(trust) => self.core.trust = trust,
            Input::Lease(lease) => self.recall(lease),
            Input::Configure(config) => self.configure(&config),
            Input::Mapping { spi, remote } => self.mapping(spi, remote),
            Input::Addresses(addresses) => self.addresses(addresses),
            Input::Command(command) => self.command(command),
            Input::Timeout => (),
        }
        self.settle();
        while let Some(timer) = self.timers.take_due(self.core.now) {
            self.fire(timer);
            self.settle();
        }
    }

    /// What to do next.
    pub fn poll(&mut self) -> Option<Output> {
        let output = self.core.outputs.pop_front();
        if output.is_none() {
            // What a burst needed is not kept while nothing happens.
            self.core.outputs.shrink_to_fit();
            self.core.deeds.shrink_to_fit();
        }
        output
    }

    /// The IKE SA that waits for the answer to a question. When it is gone, the question is forgotten.
    pub fn asker(&mut self, question: QuestionId) -> Option<SaId> {
        let asker = self.core.asks(question).filter(|sa| self.table.contains(*sa));
        if asker.is_none() {
            self.core.asker(question);
        }
        asker
    }

    /// When to hand in [`Input::Timeout`].
    pub fn next_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    /// All IKE SAs with their children.
    pub fn sas(&self, now: Time) -> Vec<SaView> {
        let ids = self.table.ids(|sa| sa.is_opening() || sa.is_established());
        ids.into_iter().filter_map(|id| self.table.get(id)).map(|sa| sa.view(now)).collect()
    }

    /// Whose IKE SA a message belongs to: the policy, and who the peer is or should be.
    pub fn whose(&self, octets: &[u8]) -> Option<(PolicyName, Option<String>)> {
        let sa = self.sa_of(octets)?;
        Some((sa.policy_name().clone(), sa.peer_id().map(|id| id.to_string())))
    }

    /// The keys that protect a message. They are for nobody but an operator who asks for them.
    pub fn keys(&self, octets: &[u8]) -> Option<IkeKeys> {
        self.sa_of(octets)?.keys()
    }

    /// The IKE SA of a message, whichever side sent it.
    fn sa_of(&self, octets: &[u8]) -> Option<&Sa> {
        let header = Header::parse(octets).ok()?;
        let half_open = || self.table.half_open.named(header.initiator);
        let own = [header.initiator, header.responder].map(SaId);
        let id = own.into_iter().find(|id| self.table.contains(*id)).or_else(half_open)?;
        self.table.get(id)
    }

    /// The flows that are in the kernel.
    pub fn flows(&self) -> Vec<KernelFlow> {
        self.core.flows.iter().collect()
    }

    /// Counters since the start.
    pub fn stats(&self) -> Stats {
        let half_open = u64::try_from(self.table.half_open.count()).unwrap_or(u64::MAX);
        Stats { half_open, ..self.core.stats }
    }

    fn datagram(&mut self, local: SocketAddr, remote: SocketAddr, octets: &[u8]) {
        let core = &mut self.core;
        core.stats.datagrams_in += 1;
        let header = match Header::parse(octets) {
            Ok(header) => header,
            Err(error) => {
                core.stats.malformed += 1;
                return core.report(Some(remote), None, Event::Dropped { why: error.to_string() });
            }
        };
        let octets = header.message(octets);
        if let Err(error) = header.check_version() {
            core.stats.malformed += 1;
            core.report(Some(remote), None, Event::Dropped { why: error.to_string() });
            return v2::stray::answer(core, &header, Notify::answering(&error), (local, remote));
        }
        if header.version.major() == 2
            && let Some(hint) = Hint::read(&header, octets)
        {
            return self.hinted(&header, hint, remote);
        }
        let first = match header.version.major() {
            1 => v1::is_first(&header),
            _ => v2::is_first(&header),
        };
        let known = match first {
            true => self.table.half_open.of(header.initiator, octets),
            false => self.named(&header),
        };
        match known {
            Some(id) => {
                self.with(id, |sa, core| sa.receive(core, &header, octets, (local, remote)));
            }
            None if first => self.first(&header, octets, local, remote),
            None => {
                let exchange = match header.version.major() {
                    1 => crate::wire::iana::v1::ExchangeType(header.exchange.0).to_string(),
                    _ => {
                        v2::stray::tell(&mut self.core, &header, octets, (local, remote));
                        header.exchange.to_string()
                    }
                };
                let why = format!("{exchange} for an IKE SA that is not (any more)");
                self.core.report(Some(remote), None, Event::Dropped { why });
            }
        }
    }

    /// The IKE SA that a message names: by our SPI, which is the initiator's or the responder's.
    fn named(&self, header: &Header) -> Option<SaId> {
        let spis = match header.version.major() {
            1 => [header.responder, header.initiator],
            _ if header.from_initiator() => [header.responder; 2],
            _ => [header.initiator; 2],
        };
        spis.into_iter().map(SaId).find(|id| self.table.contains(*id))
    }

    /// A first message of a peer.
    fn first(&mut self, header: &Header, octets: &[u8], local: SocketAddr, remote: SocketAddr) {
        let (core, table) = (&mut self.core, &mut self.table);
        if octets.len() > LONGEST_FIRST {
            let why = format!("a first message of {} octets, which is too much", octets.len());
            return core.report(Some(remote), None, Event::Dropped { why });
        }
        match header.version.major() {
            1 => v1::first(core, table, header, octets, (local, remote)),
            _ => v2::init::request(core, table, header, octets, local, remote),
        }
        if let Some(id) = self.table.half_open.of(header.initiator, octets) {
            self.with(id, |_, _| ());
        }
    }

    /// Works on an IKE SA, then sees to its place in the table and among the timers.
    fn with(&mut self, id: SaId, work: impl FnOnce(&mut Sa, &mut Core)) {
        let Some(mut sa) = self.table.take(id) else { return };
        let stood = sa.is_established();
        self.core.at_work = Some((Arc::clone(&sa.frame.policy), sa.peer_id()));
        work(&mut sa, &mut self.core);
        match sa.frame.gone {
            Some(_) => self.bury(sa, stood),
            None => self.keep(sa),
        }
        self.core.at_work = None;
    }

    fn keep(&mut self, mut sa: Box<Sa>) {
        if !sa.frame.initiator && !sa.is_half_open() {
            self.table.half_open.closed(sa.id());
        }
        let soonest = self.core.now.after(TICK);
        let next = sa.next_timeout(&self.core).map(|time| time.max(soonest));
        self.timers.set(Timer::Sa(sa.id()), sa.frame.deadline, next);
        sa.frame.deadline = next;
        self.table.put(self.core.now, sa);
    }

    /// An IKE SA is over and out of the table.
    fn bury(&mut self, mut sa: Box<Sa>, stood: bool) {
        let why = sa.frame.gone.unwrap_or(Gone::Failed);
        self.table.forget(&mut sa);
        self.timers.set(Timer::Sa(sa.id()), sa.frame.deadline.take(), None);
        if !sa.frame.initiator {
            self.table.half_open.closed(sa.id());
        }
        // Whatever is still reserved goes back.
        sa.abandon(&mut self.core, why);
        sa.frame.give_back(&mut self.core);
        if why == Gone::Replaced {
            return;
        }
        if stood {
            sa.frame.report(&mut self.core, Event::IkeDeleted { why });
        } else {
            self.core.stats.failed += 1;
        }
        if stood || sa.frame.initiator {
            self.core.lost(&sa.frame.policy.name, why);
        }
    }

    /// Does the deeds and the answers that wait, until there are none.
    fn settle(&mut self) {
        loop {
            if let Some(deed) = self.core.deeds.pop_front() {
                self.do_deed(deed);
            } else if let Some((id, answer)) = self.core.loopback.pop_front() {
                self.kernel(id, answer);
            } else if !self.call_next() {
                break;
            }
        }
        if self.core.ending && self.shutdown_at.is_some() && !self.table.iter().any(matters) {
            self.timers.set(Timer::Shutdown, self.shutdown_at.take(), None);
            self.core.report(None, None, Event::Finished);
            self.core.outputs.push_back(Output::Finished);
        }
    }

    fn do_deed(&mut self, deed: Deed) {
        match deed {
            Deed::Open(sa) => {
                let id = sa.id();
                self.keep(sa);
                self.with(id, |sa, core| sa.advance(core));
            }
            Deed::Established(id, initial_contact) => {
                self.newly_established(id, initial_contact);
                self.with(id, |sa, core| sa.settled(core));
            }
            Deed::Called(id) => self.called(id),
            Deed::Cover(id, child) => self.covers(id, child),
            Deed::TakeTurn(id) => self.with(id, v2::take_turns),
            Deed::Evict(id) => self.with(id, |sa, core| sa.abandon(core, Gone::Failed)),
            Deed::Reopen(id) => self.reopen(id),
            Deed::Bequeath(id) => self.bequeath(id),
            Deed::HandOver(id) => self.hand_over(id),
            Deed::ChildDeleted(id, protocol, spi) => self.child_deleted(id, protocol, spi),
            Deed::Inherit(from, to) => self.inherit(from, to),
            Deed::Reauthenticate(id) => self.reauthenticate(id),
            Deed::Retire(id) => self.with(id, |sa, core| sa.delete(core, Gone::Replaced)),
            Deed::Lost(name, failed) => self.retry(&name, failed),
        }
    }

    fn expire(&mut self, expire: &Expire) {
        let Some((id, direction)) = self.owner_of(&expire.key) else { return };
        let (key, hard) = (expire.key, expire.hard);
        self.with(id, |sa, core| {
            let children = &mut sa.frame.children;
            let Some(child) = children.iter_mut().find(|child| child.key(direction) == key) else {
                return;
            };
            let id = child.id;
            if hard {
                child.vanished(core, direction);
                let replaced = child.stage == Stage::Ending;
                let why = if replaced { Gone::Replaced } else { Gone::Expired };
                sa.delete_child(core, id, why);
            } else {
                child.soft = None;
                sa.rekey_child(core, id);
            }
        });
    }

    fn owner_of(&self, key: &SaKey) -> Option<(SaId, Direction)> {
        let owns =
            |sa: &Sa, direction| sa.frame.children.iter().any(|child| child.key(direction) == *key);
        let inbound = self.core.by_spi.get(&key.spi).copied();
        let inbound = inbound.and_then(|id| self.table.get(id));
        if let Some(sa) = inbound.filter(|sa| owns(sa, Direction::In)) {
            return Some((sa.id(), Direction::In));
        }
        // The peer chose this SPI; it need not be unique here.
        let there = Key::Remote(key.dst);
        let outbound = self.table.found(there, |sa| owns(sa, Direction::Out));
        Some((*outbound.first()?, Direction::Out))
    }

    fn answer(&mut self, id: QuestionId, answer: Answer) {
        if let Some(sa) = self.core.asker(id) {
            self.with(sa, |sa, core| sa.answer(core, id, answer));
        }
    }

    fn kernel(&mut self, id: RequestId, answer: KernelAnswer) {
        match self.core.owner(id) {
            None => (),
            Some(Owner::Nobody(request)) => {
                if let KernelAnswer::Failed(reason) = answer {
                    let request = request.into();
                    self.core.report(None, None, Event::KernelFailed { request, reason });
                }
            }
            Some(Owner::Child { sa, child, part }) => {
                let has = |sa: &Sa| sa.frame.children.iter().any(|it| it.id == child);
                let holder = match self.table.get(sa) {
                    Some(asked) if has(asked) => Some(sa),
                    // It went over to a successor meanwhile.
                    Some(old) => {
                        let heirs = self.table.found(Key::Policy(&old.frame.policy), has);
                        heirs.first().copied()
                    }
                    None => self.table.iter().find(|sa| has(sa)).map(Sa::id),
                };
                if let (None, Part::Move(_, old, new)) = (holder, part) {
                    return self.core.moved_in_vain((old, new), &answer);
                }
                self.with(holder.unwrap_or(sa), |sa, core| {
                    sa.installed(core, child, part, answer);
                });
            }
            Some(Owner::Cpi { sa, negotiation, protocol, path: (src, dst) }) => {
                let mut unwanted = match answer {
                    KernelAnswer::Cpi(cpi) => Some(cpi),
                    _ => None,
                };
                self.with(sa, |sa, core| {
                    unwanted = sa.compresses(core, negotiation, protocol, answer);
                });
                if let Some(cpi) = unwanted {
                    self.core.drop_cpi(cpi, src, dst);
                }
            }
            Some(Owner::Spi { sa, negotiation, protocol, path: (src, dst) }) => {
                let spi = match answer {
                    KernelAnswer::Spi(spi) => Some(spi),
                    KernelAnswer::Failed(reason) => {
                        let request = "reserve an SPI".into();
                        self.core.report(None, None, Event::KernelFailed { request, reason });
                        None
                    }
                    _ => None,
                };
                let mut unwanted = spi;
                self.with(sa, |sa, core| {
                    unwanted = sa.reserved(core, negotiation, protocol, spi);
                });
                if let Some(spi) = unwanted {
                    self.core.delete_sa(SaKey { protocol, spi, src, dst });
                }
            }
        }
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Sa(id) => self.with(id, |sa, core| {
                sa.frame.deadline = None;
                sa.timeout(core);
            }),
            Timer::Policy(index) => {
                if let Some(running) = self.core.policies.get_mut(index) {
                    running.due = None;
                }
                self.want_call(index);
            }
            Timer::Shutdown => {
                for id in self.table.ids(|_| true) {
                    self.with(id, |sa, core| sa.abandon(core, Gone::Shutdown));
                }
            }
        }
    }
}

/// Whether a shutdown waits for this IKE SA.
fn matters(sa: &Sa) -> bool {
    sa.is_established()
}
