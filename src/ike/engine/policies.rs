//! Policies at work: they come and go, call, wait, and try again.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use crate::conf::diff::{self, Effect, Origin};
use crate::conf::{Config, Policy, PolicyName, Prefix, Start, Version};
use crate::ike::child::ChildId;
use crate::ike::core::Owner;
use crate::ike::event::Acquire;
use crate::ike::policy::{Policies, Running};
use crate::ike::pool::{Lease, ranges};
use crate::ike::report::{Event, Gone};
use crate::ike::sa::Sa;
use crate::ike::table::{Key, SaId};
use crate::ike::timer::{Timer, jitter};
use crate::ike::v2::mobike;

/// The pause before an active policy calls again after it lost its SA.
const AFTER_LOSS: Duration = Duration::from_secs(1);

/// The first and the longest pause after a failure.
const AFTER_FAILURE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));

/// How long we wait before we call a peer that seems to call us.
const GIVES_WAY: Duration = Duration::from_secs(4);

impl Engine {
    /// A policy without SA: if it is active it tries again after a pause.
    pub(super) fn retry(&mut self, name: &PolicyName, failed: bool) {
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
    pub(super) fn attempt(&mut self, index: u32, hint: Option<&Acquire>) {
        let Some(running) = self.core.policies.get_mut(index) else { return };
        let (Some(peer), false) = (running.callable(), self.core.ending) else { return };
        let before = running.due.take();
        self.timers.set(Timer::Policy(index), before, None);
        let policy = Arc::clone(&running.policy);
        let local = match (running.local(peer), hint) {
            (local, Some(hint)) if local.is_unspecified() => hint.local,
            (local, _) => local,
        };
        let addresses = &self.core.addresses;
        // Where we may move, an address that we no longer have is not called from.
        let local = match addresses.iter().find(|other| other.is_ipv4() == local.is_ipv4()) {
            Some(other)
                if !local.is_unspecified()
                    && !addresses.contains(&local)
                    && (policy.local_by_route || mobike::allowed(&self.core, &policy)) =>
            {
                *other
            }
            _ => local,
        };
        let key = match policy.version {
            Version::V1(_) => Key::Remote(peer),
            Version::V2 => Key::Policy(&policy),
        };
        let mine = self.table.found(key, |sa| sa.serves(&policy));
        let (mut standing, mut calls) = (None, false);
        for id in mine {
            let Some(sa) = self.table.get(id) else { continue };
            if sa.is_opening() && sa.frame.initiator {
                return;
            }
            calls |= sa.is_opening();
            if sa.standing().is_some_and(|it| !it.ending && !it.replaced) {
                standing = Some(id);
            }
        }
        if let Some(id) = standing {
            let packet = hint.and_then(|acquire| acquire.selector);
            return self.with(id, |sa, core| sa.create_child(core, &policy, packet.as_ref()));
        }
        // The peer seems to call, but that may come to nothing, or come from somebody else: it gets a while, once.
        let Some(running) = self.core.policies.get_mut(index) else { return };
        let until = before.filter(|_| running.gives_way);
        running.gives_way = calls && (!running.gives_way || until.is_some());
        if running.gives_way {
            let until = until.unwrap_or(self.core.now.after(GIVES_WAY));
            running.due = Some(until);
            return self.timers.set(Timer::Policy(index), None, Some(until));
        }
        let port = self.core.settings.ports.0;
        let (local, remote) = (SocketAddr::new(local, port), SocketAddr::new(peer, port));
        let there =
            |sa: &Sa| sa.frame.remote.ip() == peer && (sa.is_established() || !sa.frame.initiator);
        let first = self.table.found(Key::Remote(peer), there);
        let core = &mut self.core;
        match Sa::open(core, Arc::clone(&policy), local, remote, first.is_empty()) {
            Some(sa) => self.keep(sa),
            None => core.lost(&policy.name, Gone::Failed),
        }
    }

    /// Traffic met a flow without SA.
    pub(super) fn acquire(&mut self, acquire: &Acquire) {
        match self.core.policies.of_acquire(acquire) {
            Some(index) => self.attempt(index, Some(acquire)),
            None => {
                let wanted =
                    format!("traffic to {}, which met a flow of no policy", acquire.remote);
                let peer = SocketAddr::new(acquire.remote, self.core.settings.ports.0);
                let candidates = Vec::new();
                self.core.report(Some(peer), None, Event::NoPolicy { wanted, candidates });
            }
        }
    }

    /// The difference between two configurations is acted upon.
    pub(super) fn configure(&mut self, config: &Config) {
        // One that comes after the end was asked for would put flows where they are taken down.
        if self.core.ending {
            return;
        }
        let woken = self.core.globals.passive && !config.globals.passive;
        self.core.globals = config.globals.clone();
        self.core.signatures = config.policies.iter().any(|policy| policy.auth.signs());
        let owners = self.owners();
        let old = self.core.policies.take();
        self.waiting.clear();
        for (index, running) in (0..).zip(&old) {
            self.timers.set(Timer::Policy(index), running.due, None);
        }
        let plan = {
            let old: Vec<&Policy> = old.iter().map(|running| &*running.policy).collect();
            diff::plan(&old, &config.policies)
        };
        // What is to be done with the SAs of the policies that were; these live until it is done.
        let mut fates = Fates::new();
        for gone in plan.removed.iter().filter_map(|at| old.get(*at)) {
            seal(&mut fates, Arc::clone(&gone.policy), Fate::End);
            gone.traps.iter().for_each(|flow| self.core.release(flow));
        }
        let begin = self.put_to_work(&config.policies, old, plan.origins, &mut fates);
        for id in self.table.ids(|sa| is_touched(sa, &owners, &fates)) {
            self.meet_fate(id, &owners, &fates);
        }
        match woken {
            true => (0..self.core.policies.count()).for_each(|index| self.begin(index)),
            false => begin.into_iter().for_each(|index| self.begin(index)),
        }
        self.core.report(None, None, Event::Configured { policies: config.policies.len() });
    }

    /// The new policies take the place of the old ones, and fare as those did from which they come.
    /// Gives back the numbers of those that are to begin.
    fn put_to_work(
        &mut self,
        new: &[Policy],
        old: Vec<Running>,
        origins: Vec<Origin>,
        fates: &mut Fates,
    ) -> Vec<u32> {
        let mut old: Vec<Option<Running>> = old.into_iter().map(Some).collect();
        let mut all = Vec::with_capacity(new.len());
        let mut begin = Vec::new();
        for ((index, policy), origin) in (0u32..).zip(new).zip(origins) {
            let (was, effect) = match origin {
                Origin::Added => (None, None),
                Origin::Same(was) => (old.get_mut(was).and_then(Option::take), None),
                Origin::Changed(was, effect) => {
                    (old.get_mut(was).and_then(Option::take), Some(effect))
                }
            };
            let mut running = was.unwrap_or_else(|| Running {
                policy: Arc::new(policy.clone()),
                reqid: self.core.reqid(),
                traps: Vec::new(),
                failures: 0,
                due: None,
                gives_way: false,
                waits: false,
            });
            match effect {
                Some(effect) => {
                    let new = Arc::new(policy.clone());
                    let before = std::mem::replace(&mut running.policy, Arc::clone(&new));
                    let fate = if effect.anew { Fate::End } else { Fate::Obey(new, effect) };
                    seal(fates, before, fate);
                    // What failed before says nothing of how it fares now.
                    running.failures = 0;
                    begin.push(index);
                }
                None if origin == Origin::Added => begin.push(index),
                None => self.timers.set(Timer::Policy(index), None, running.due),
            }
            if running.waits {
                self.waiting.push_back(index);
            }
            all.push(running);
        }
        self.core.policies = Policies::new(all);
        begin
    }

    /// The policy of each child SA, where IKE SAs serve several (IKEv1).
    fn owners(&self) -> Owners {
        let shared = self.table.iter().filter(|sa| sa.is_shared());
        let of = |sa: &Sa| {
            let children = sa.frame.children.iter();
            children.map(|child| (child.id, sa.policy_of(&self.core, child))).collect::<Vec<_>>()
        };
        shared.flat_map(of).collect()
    }

    /// An IKE SA and its children do what the policies say now by which they were made.
    fn meet_fate(&mut self, id: SaId, owners: &Owners, fates: &Fates) {
        let Some(sa) = self.table.get(id) else { return };
        let own = Arc::clone(&sa.frame.policy);
        let fate = |policy: &Arc<Policy>| fates.get(&Arc::as_ptr(policy)).map(|(_, fate)| fate);
        let children = sa.frame.children.iter().map(|child| {
            let owner = owners.get(&child.id).unwrap_or(&own);
            (child.id, Arc::clone(owner))
        });
        let (mine, others): (Vec<_>, Vec<_>) =
            children.partition(|(_, owner)| Arc::ptr_eq(owner, &own));
        let mine: Vec<ChildId> = mine.into_iter().map(|(id, _)| id).collect();
        match fate(&own) {
            Some(Fate::Obey(policy, effect)) => {
                let (policy, effect) = (Arc::clone(policy), *effect);
                let here = |prefix: Prefix| prefix.contains(sa.frame.local.ip());
                let stays = sa.frame.mobility.is_some() || policy.local.is_none_or(here);
                if effect.moved && !stays {
                    return self.end(id, Gone::ByConfiguration);
                }
                self.with(id, |sa, core| sa.reconfigure(core, policy, effect, &mine));
            }
            Some(Fate::End) => {
                // Another policy may go over it as well.
                let stays = sa.is_shared() && sa.is_established();
                let heir = {
                    let mut all = self.core.policies.iter().map(|running| &running.policy);
                    all.find(|policy| stays && sa.serves(policy)).cloned()
                };
                let Some(heir) = heir else { return self.end(id, Gone::ByConfiguration) };
                self.with(id, |sa, core| {
                    sa.frame.policy = heir;
                    for child in mine {
                        sa.delete_child(core, child, Gone::ByConfiguration);
                    }
                });
            }
            None => (),
        }
        for (child, owner) in others {
            match fate(&owner) {
                Some(Fate::Obey(policy, effect)) => self.with(id, |sa, core| {
                    sa.reconfigure_child(core, child, policy, *effect);
                }),
                Some(Fate::End) => self.with(id, |sa, core| {
                    sa.delete_child(core, child, Gone::ByConfiguration);
                }),
                None => (),
            }
        }
    }

    /// An address that somebody had before we began.
    pub(super) fn recall(&mut self, lease: Lease) {
        let policies = self.core.policies.iter();
        let ranges = policies.flat_map(|running| ranges(&running.policy));
        let range = ranges.into_iter().find(|range| range.contains(lease.address));
        if let Some(range) = range {
            self.core.pools.recall(lease, &[range]);
        }
    }

    /// A policy is new or another: its flows go into the kernel in place of those that it had, and
    /// if it is active it calls.
    fn begin(&mut self, index: u32) {
        let Some(running) = self.core.policies.get_mut(index) else { return };
        let able = self.core.able.as_ref();
        let (fits, traps) = (running.check_flows(able), running.wanted_traps(able));
        let calls = running.policy.start == Start::Active && running.callable().is_some();
        let name = running.policy.name.clone();
        let had = std::mem::replace(&mut running.traps, traps.clone());
        for flow in traps.iter().filter(|flow| !had.contains(flow)) {
            self.core.claim(Owner::Nobody("install a flow"), flow);
        }
        for flow in had.iter().filter(|flow| !traps.contains(flow)) {
            self.core.release(flow);
        }
        if let Err(why) = fits {
            self.core.report(None, Some(&name), Event::NotSelectable { why: why.to_string() });
        }
        if calls && !self.core.globals.passive {
            self.want_call(index);
        }
    }

    /// A policy is to call its peer. Not all call at once, if there are many.
    pub(super) fn want_call(&mut self, index: u32) {
        if let Some(running) = self.core.policies.get_mut(index)
            && !std::mem::replace(&mut running.waits, true)
        {
            self.waiting.push_back(index);
        }
    }

    /// Has the policy call whose turn it is; `false` if there is none, or enough do.
    pub(super) fn call_next(&mut self) -> bool {
        if self.table.calls() >= self.core.settings.calls {
            return false;
        }
        let Some(index) = self.waiting.pop_front() else { return false };
        if self.waiting.is_empty() {
            self.waiting.shrink_to_fit();
        }
        if let Some(running) = self.core.policies.get_mut(index) {
            running.waits = false;
        }
        self.attempt(index, None);
        true
    }
}

/// The policies of child SAs.
type Owners = HashMap<ChildId, Arc<Policy>>;

/// What becomes of SAs, by the policy that was.
type Fates = HashMap<*const Policy, (Arc<Policy>, Fate)>;

fn seal(fates: &mut Fates, was: Arc<Policy>, fate: Fate) {
    fates.insert(Arc::as_ptr(&was), (was, fate));
}

/// Whether an IKE SA or one of its children was made by a policy that is no more as it was.
fn is_touched(sa: &Sa, owners: &Owners, fates: &Fates) -> bool {
    let concerns = |policy: &Arc<Policy>| fates.contains_key(&Arc::as_ptr(policy));
    let mut children = sa.frame.children.iter().filter_map(|child| owners.get(&child.id));
    concerns(&sa.frame.policy) || children.any(concerns)
}

/// What becomes of the SAs of a policy that is no more as it was.
enum Fate {
    /// They end.
    End,
    /// They stay, and do what this one says.
    Obey(Arc<Policy>, Effect),
}
