//! The engine: inputs find their IKE SA, deeds reach the others, timers fire.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Settings;
use super::auth::{Answer, QuestionId};
use super::core::{Core, Deed, Owner};
use super::event::{
    Acquire, Command, Direction, Expire, Input, KernelAnswer, KernelFlow, Output, RequestId, SaKey,
    Time,
};
use super::policy::Running;
use super::report::{Event, Gone};
use super::sa::{Body, Sa};
use super::selector::covers;
use super::table::{SaId, Table};
use super::timer::{Timer, Timers, jitter};
use super::v2::established::{Established, Task};
use super::v2::{self, State};
use super::view::{SaView, Stats};
use super::{id, v2::init};
use crate::conf::{Config, PolicyName, Start};
use crate::crypto::Random;
use crate::wire::Header;
use crate::wire::v2::Notify;

/// The pause before an active policy calls again after it lost its SA.
const AFTER_LOSS: Duration = Duration::from_secs(1);

/// The first and the longest pause after a failure.
const AFTER_FAILURE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));

/// How long the loser of two IKE SAs opened at once is kept, until the other surely carries traffic.
const SUPERSEDED: Duration = Duration::from_secs(2);

/// The least time between two looks at one SA.
const TICK: Duration = Duration::from_millis(10);

/// The protocol engine.
///
/// Tell it with [`Engine::handle`], then do what [`Engine::poll`] says until it says no more, then
/// sleep until [`Engine::next_timeout`] or the next input.
pub struct Engine {
    core: Core,
    table: Table,
    timers: Timers,
    shutdown_at: Option<Time>,
}

impl Engine {
    /// An engine without configuration.
    pub fn new(random: Box<dyn Random>, settings: Settings) -> Self {
        Self {
            core: Core::new(random, settings),
            table: Table::default(),
            timers: Timers::default(),
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
            Input::Configure(config) => self.configure(&config),
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

    /// When to hand in [`Input::Timeout`].
    pub fn next_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    /// All IKE SAs with their children.
    pub fn sas(&self, now: Time) -> Vec<SaView> {
        let ids = self.table.ids(|sa| {
            let Body::V2(state) = &sa.body;
            state.is_opening() || sa.is_established()
        });
        ids.into_iter().filter_map(|id| self.table.get(id)).map(|sa| view(sa, now)).collect()
    }

    /// The flows that are in the kernel.
    pub fn flows(&self) -> Vec<KernelFlow> {
        self.core.flows.iter().collect()
    }

    /// Counters since the start.
    pub fn stats(&self) -> Stats {
        let half_open = u64::try_from(self.table.half_open_count()).unwrap_or(u64::MAX);
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
            if !header.is_response() {
                init::refuse(core, &header, Notify::answering(&error), local, remote);
            }
            return;
        }
        if header.version.major() == 1 {
            let why = "IKEv1, which no policy is for".into();
            return core.report(Some(remote), None, Event::Dropped { why });
        }
        let id = if v2::is_first(&header) {
            match self.table.half_open(header.initiator) {
                Some(id) => id,
                None => {
                    init::request(core, &mut self.table, &header, octets, local, remote);
                    if let Some(id) = self.table.half_open(header.initiator) {
                        self.with(id, |_, _| ());
                    }
                    return;
                }
            }
        } else if header.from_initiator() {
            SaId(header.responder)
        } else {
            SaId(header.initiator)
        };
        if !self.table.contains(id) {
            let why = format!("{} for an IKE SA that is not (any more)", header.exchange);
            return self.core.report(Some(remote), None, Event::Dropped { why });
        }
        self.with(id, |sa, core| v2::receive(sa, core, &header, octets, (local, remote)));
    }

    /// Works on an IKE SA, then sees to its place in the table and among the timers.
    fn with(&mut self, id: SaId, work: impl FnOnce(&mut Sa, &mut Core)) {
        let Some(mut sa) = self.table.take(id) else { return };
        let stood = sa.is_established();
        work(&mut sa, &mut self.core);
        if sa.frame.gone.is_some() {
            return self.bury(sa, stood);
        }
        self.keep(sa);
    }

    fn keep(&mut self, mut sa: Box<Sa>) {
        let Body::V2(state) = &sa.body;
        if !sa.frame.initiator && !state.is_opening() {
            self.table.closed(sa.frame.peer_spi);
        }
        let soonest = self.core.now.after(TICK);
        let next = sa.next_timeout(&self.core).map(|time| time.max(soonest));
        self.timers.set(Timer::Sa(sa.id()), sa.frame.deadline, next);
        sa.frame.deadline = next;
        self.table.put(sa);
    }

    /// An IKE SA is over and out of the table.
    fn bury(&mut self, mut sa: Box<Sa>, stood: bool) {
        let why = sa.frame.gone.unwrap_or(Gone::Failed);
        self.timers.set(Timer::Sa(sa.id()), sa.frame.deadline.take(), None);
        if !sa.frame.initiator {
            self.table.closed(sa.frame.peer_spi);
        }
        // Whatever is still reserved goes back.
        v2::drop_sa(&mut sa, &mut self.core, why);
        let Body::V2(state) = &sa.body;
        if why == Gone::Replaced || matches!(state, State::Lingering(_)) {
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
            } else {
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
                self.established(id, |state, sa, core| state.advance(sa, core));
            }
            Deed::Established(id, initial_contact) => self.newly_established(id, initial_contact),
            Deed::Inherit(from, to) => self.inherit(from, to),
            Deed::Lost(name, failed) => self.retry(&name, failed),
        }
    }

    /// Works on the established state of an SA.
    fn established(
        &mut self,
        id: SaId,
        work: impl FnOnce(&mut Established, &mut super::sa::Frame, &mut Core),
    ) {
        self.with(id, |sa, core| {
            let Body::V2(state) = &mut sa.body;
            if let Some(state) = state.established_mut() {
                work(state, &mut sa.frame, core);
            }
        });
    }

    /// Wants something done by an established SA, as soon as it can.
    fn want(&mut self, id: SaId, task: Task) {
        self.established(id, |state, frame, core| {
            state.want(task);
            state.advance(frame, core);
        });
    }

    fn inherit(&mut self, from: SaId, to: SaId) {
        let (Some(mut old), Some(mut new)) = (self.table.take(from), self.table.take(to)) else {
            return;
        };
        v2::inherit(&mut old, &mut new, &mut self.core);
        self.keep(new);
        self.keep(old);
        self.established(from, |state, frame, core| state.advance(frame, core));
    }

    /// What a newly authenticated peer means for its other IKE SAs.
    fn newly_established(&mut self, id: SaId, initial_contact: bool) {
        let Some(sa) = self.table.get(id) else { return };
        let Body::V2(State::Established(state)) = &sa.body else { return };
        let (created, remote_id) = (sa.frame.created, state.ids.1.clone());
        let (policy, peer) = (Arc::clone(&sa.frame.policy), sa.frame.remote);
        self.core.policies.succeeded(&policy.name);
        let others = self.table.ids(|other| match &other.body {
            Body::V2(State::Established(state)) => {
                other.id() != id && id::same(&state.ids.1, &remote_id)
            }
            Body::V2(_) => false,
        });
        let older = |engine: &Self, other: &SaId| {
            let other = engine.table.get(*other).map(|sa| &sa.body);
            matches!(other, Some(Body::V2(State::Established(state))) if state.since < created)
        };
        if initial_contact {
            // One that came to be since the peer began is not one that the peer has forgotten.
            let old: Vec<_> = others.iter().filter(|other| older(self, other)).copied().collect();
            if !old.is_empty() {
                let event = Event::InitialContact { removed: old.len() };
                self.core.report(Some(peer), Some(&policy.name), event);
            }
            for other in old {
                self.with(other, |sa, core| v2::drop_sa(sa, core, Gone::Forgotten));
            }
        } else if self.core.globals.enforce_single_ike_sa {
            let old: Vec<_> = others.iter().filter(|other| older(self, other)).copied().collect();
            for other in old {
                self.want(other, Task::DeleteIke(Gone::Replaced));
            }
        }
        for other in others {
            self.supersede(id, other);
        }
    }

    /// Both sides opened at once: of two IKE SAs for the same policy, opened by different sides, the
    /// one with the lower initiator's SPI goes, deleted by the side that opened it.
    fn supersede(&mut self, one: SaId, other: SaId) {
        let (Some(first), Some(second)) = (self.table.get(one), self.table.get(other)) else {
            return;
        };
        let alike = Arc::ptr_eq(&first.frame.policy, &second.frame.policy)
            && first.frame.remote.ip() == second.frame.remote.ip()
            && first.frame.initiator != second.frame.initiator;
        if !alike {
            return;
        }
        let loser = match first.frame.spis().0 < second.frame.spis().0 {
            true => first,
            false => second,
        };
        if !loser.frame.initiator {
            return;
        }
        loser.frame.report(&mut self.core, Event::Superseded);
        let id = loser.id();
        let at = self.core.now.after(SUPERSEDED);
        self.established(id, |state, _, _| state.superseded_at = Some(at));
    }

    /// A policy without SA: if it is active it tries again after a pause.
    fn retry(&mut self, name: &PolicyName, failed: bool) {
        if self.core.ending || self.core.globals.passive {
            return;
        }
        let random = &mut *self.core.random;
        let now = self.core.now;
        let Some((index, running)) = self.core.policies.named(name) else { return };
        if running.policy.start != Start::Active || running.callable().is_none() {
            return;
        }
        let pause = match failed {
            true => {
                let (first, longest) = AFTER_FAILURE;
                let pause = first.saturating_mul(1 << running.failures.min(8)).min(longest);
                running.failures = running.failures.saturating_add(1);
                jitter(pause, random)
            }
            false => AFTER_LOSS,
        };
        let due = now.after(pause);
        self.timers.set(Timer::Policy(index), running.due, Some(due));
        running.due = Some(due);
        let peer = running.callable().map(|ip| SocketAddr::new(ip, self.core.settings.ports.0));
        self.core.report(peer, Some(name), Event::WillRetry { after: pause });
    }

    /// Sees that a policy has an IKE SA and a child SA, or gets them.
    fn attempt(&mut self, index: u32, hint: Option<&Acquire>) {
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(running) = self.core.policies.0.get_mut(at) else { return };
        let (Some(peer), false) = (running.callable(), self.core.ending) else { return };
        self.timers.set(Timer::Policy(index), running.due.take(), None);
        let policy = Arc::clone(&running.policy);
        let local = match (running.local(peer), hint) {
            (local, Some(hint)) if local.is_unspecified() => hint.local,
            (local, _) => local,
        };
        let mine = self.table.ids(|sa| Arc::ptr_eq(&sa.frame.policy, &policy));
        let mut standing = None;
        for id in mine {
            let Some(Body::V2(state)) = self.table.get(id).map(|sa| &sa.body) else { continue };
            match state {
                State::Established(state) if !state.is_ending() && state.successor.is_none() => {
                    standing = Some(id);
                }
                // One is on its way already.
                state if state.is_opening() => return,
                _ => (),
            }
        }
        if let Some(id) = standing {
            return self.fill(id, hint);
        }
        let port = self.core.settings.ports.0;
        let (local, remote) = (SocketAddr::new(local, port), SocketAddr::new(peer, port));
        let first = self.table.ids(|sa| sa.is_established() && sa.frame.remote.ip() == peer);
        let core = &mut self.core;
        match init::initiate(core, Arc::clone(&policy), local, remote, first.is_empty()) {
            Some(sa) => self.keep(sa),
            None => core.lost(&policy.name, Gone::Failed),
        }
    }

    /// Sees that an established SA has a child for this traffic.
    fn fill(&mut self, id: SaId, hint: Option<&Acquire>) {
        let packet = hint.and_then(|acquire| acquire.selector);
        let Some(sa) = self.table.get(id) else { return };
        let serves = sa.frame.children.iter().any(|child| {
            let flows = &child.agreement.flows;
            packet.is_none_or(|packet| flows.iter().any(|flow| covers(flow, &packet)))
        });
        if !serves {
            self.established(id, |state, frame, core| {
                if !state.is_creating() {
                    state.want(Task::CreateChild);
                    state.advance(frame, core);
                }
            });
        }
    }

    fn acquire(&mut self, acquire: &Acquire) {
        match self.core.policies.of_acquire(acquire) {
            Some(index) => self.attempt(index, Some(acquire)),
            None => {
                let wanted =
                    format!("traffic to {}, which met a flow of no policy", acquire.remote);
                let peer = SocketAddr::new(acquire.remote, self.core.settings.ports.0);
                self.core.report(Some(peer), None, Event::NoPolicy { wanted });
            }
        }
    }

    fn expire(&mut self, expire: &Expire) {
        let Some((id, direction)) = self.owner_of(&expire.key) else { return };
        let (key, hard) = (expire.key, expire.hard);
        self.established(id, |state, frame, core| {
            let child = frame.children.iter_mut().find(|child| child.key(direction) == key);
            let Some(child) = child else { return };
            if !hard {
                child.soft = None;
                state.want(Task::RekeyChild(child.id));
            } else {
                child.vanished(core, direction);
                state.want(Task::DeleteChild(child.id, Gone::Expired));
            }
            state.advance(frame, core);
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
        // The peer chose this SPI; it need not be unique here, and the case is rare.
        let outbound = self.table.iter().find(|sa| owns(sa, Direction::Out))?;
        Some((outbound.id(), Direction::Out))
    }

    fn answer(&mut self, id: QuestionId, answer: Answer) {
        if let Some(sa) = self.core.asker(id) {
            self.with(sa, |sa, core| v2::answer(sa, core, id, answer));
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
                let holder = match self.table.get(sa).is_some_and(has) {
                    true => Some(sa),
                    // It went over to a successor meanwhile.
                    false => self.table.iter().find(|sa| has(sa)).map(Sa::id),
                };
                self.with(holder.unwrap_or(sa), |sa, core| {
                    v2::installed(sa, core, child, part, answer);
                });
            }
            Some(Owner::Spi { sa, peers, protocol, path: (src, dst) }) => {
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
                self.with(sa, |sa, core| unwanted = v2::reserved(sa, core, peers, spi));
                if let Some(spi) = unwanted {
                    self.core.delete_sa(SaKey { protocol, spi, src, dst });
                }
            }
        }
    }

    fn configure(&mut self, config: &Config) {
        let mut old = std::mem::take(&mut self.core.policies.0);
        for (index, running) in (0..).zip(&mut old) {
            self.timers.set(Timer::Policy(index), running.due.take(), None);
        }
        self.core.globals = config.globals.clone();
        let mut fresh = Vec::new();
        for (index, policy) in (0u32..).zip(&config.policies) {
            let kept = old.iter().position(|running| *running.policy == *policy);
            let running = match kept {
                Some(at) => old.swap_remove(at),
                None => {
                    fresh.push(index);
                    Running {
                        policy: Arc::new(policy.clone()),
                        reqid: self.core.reqid(),
                        traps: Vec::new(),
                        failures: 0,
                        due: None,
                    }
                }
            };
            self.core.policies.0.push(running);
        }
        for gone in old {
            gone.traps.iter().for_each(|flow| self.core.release(flow));
            let ids = self.table.ids(|sa| Arc::ptr_eq(&sa.frame.policy, &gone.policy));
            ids.into_iter().for_each(|id| self.end(id, Gone::ByConfiguration));
        }
        for index in fresh {
            self.begin(index);
        }
        self.core.report(None, None, Event::Configured { policies: config.policies.len() });
    }

    /// A policy is new: its flows go into the kernel, and if it is active it calls.
    fn begin(&mut self, index: u32) {
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(running) = self.core.policies.0.get(at) else { return };
        let traps = running.wanted_traps();
        let calls = running.policy.start == Start::Active && running.callable().is_some();
        for flow in &traps {
            self.core.claim(Owner::Nobody("install a flow"), flow);
        }
        if let Some(running) = self.core.policies.0.get_mut(at) {
            running.traps = traps;
        }
        if calls && !self.core.globals.passive {
            self.attempt(index, None);
        }
    }

    /// Ends an IKE SA: with notice to the peer if it stands.
    fn end(&mut self, id: SaId, why: Gone) {
        let stands = self.table.get(id).is_some_and(Sa::is_established);
        match stands {
            true => self.want(id, Task::DeleteIke(why)),
            false => self.with(id, |sa, core| v2::drop_sa(sa, core, why)),
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::ResetAll | Command::ResetSa => self.end_where(Gone::ByOperator, |_| true),
            Command::ResetId(name) => self.end_where(Gone::ByOperator, |sa| {
                let Body::V2(state) = &sa.body;
                let id = state.established().map(|state| state.ids.1.to_string());
                let said = |id: &String| *id == name || id.ends_with(&format!(" {name}"));
                sa.policy_name().0 == name || id.as_ref().is_some_and(said)
            }),
            Command::Trace(on) => self.core.trace = on,
            Command::Shutdown => self.shutdown(),
        }
    }

    fn end_where(&mut self, why: Gone, condition: impl FnMut(&Sa) -> bool) {
        for id in self.table.ids(condition) {
            self.end(id, why);
        }
    }

    fn shutdown(&mut self) {
        if self.core.ending {
            return;
        }
        self.core.ending = true;
        self.shutdown_at = Some(self.core.now.after(self.core.settings.farewell));
        self.timers.set(Timer::Shutdown, None, self.shutdown_at);
        for running in std::mem::take(&mut self.core.policies.0) {
            running.traps.iter().for_each(|flow| self.core.release(flow));
        }
        self.end_where(Gone::Shutdown, |_| true);
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Sa(id) => self.with(id, |sa, core| {
                sa.frame.deadline = None;
                v2::timeout(sa, core);
            }),
            Timer::Policy(index) => {
                let at = usize::try_from(index).unwrap_or(usize::MAX);
                if let Some(running) = self.core.policies.0.get_mut(at) {
                    running.due = None;
                }
                self.attempt(index, None);
            }
            Timer::Shutdown => {
                for id in self.table.ids(|_| true) {
                    self.with(id, |sa, core| v2::drop_sa(sa, core, Gone::Shutdown));
                }
            }
        }
    }
}

/// Whether a shutdown waits for this IKE SA.
fn matters(sa: &Sa) -> bool {
    sa.is_established()
}

fn view(sa: &Sa, now: Time) -> SaView {
    let (frame, Body::V2(state)) = (&sa.frame, &sa.body);
    let established = state.established();
    SaView {
        spis: frame.printed_spis(),
        policy: Some(frame.policy.name.clone()),
        initiator: frame.initiator,
        state: match established {
            Some(state) if state.is_ending() => "ending",
            Some(state) if state.successor.is_some() => "replaced",
            _ => state.word(),
        }
        .into(),
        local: frame.local,
        remote: frame.remote,
        local_id: established.map(|state| state.ids.0.to_string()),
        remote_id: established.map(|state| state.ids.1.to_string()),
        suite: established.map(|state| state.protection.suite.to_string()),
        age: now.since(frame.created),
        rekey_in: established.and_then(|state| state.rekey_at).map(|at| at.since(now)),
        children: frame.children.iter().map(|child| child.view(now)).collect(),
    }
}
