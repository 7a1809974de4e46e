//! The initiator of Quick Mode: what we offer, and what comes of it.

use std::sync::Arc;
use std::time::Duration;

use super::install::postpone;
use super::reserve::Reserved;
use super::{AT_ONCE, COMMIT, LINGER, Quick, Step, Waiting, in_use, wanted, with_lifetime};
use crate::conf::{Lifetime, Policy, Proposal};
use crate::crypto::KeyExchange;
use crate::ike::child::{Agreement, Child, ChildId, ChildKeys};
use crate::ike::core::Core;
use crate::ike::event::Direction;
use crate::ike::frame::Frame;
use crate::ike::outstanding::Outstanding;
use crate::ike::report::Event;
use crate::ike::selector::Traffic;
use crate::ike::v1::established::Established;
use crate::ike::v1::offer::{self, Encapsulation};
use crate::ike::v1::phase1::NONCE_LEN;
use crate::ike::v1::rules::{Bag, Message, sort};
use crate::ike::v1::vendor::NatT;
use crate::ike::v1::{hash, inform, message, protect, traffic, with_hash};
use crate::wire::iana::v1::{ExchangeType, NotifyType};
use crate::wire::v1::{Id, Nonce, Notify, Payload, Sa};
use crate::wire::{Flags, Header};

/// How long an initiator waits until the responder surely receives on a successor.
const SETTLE: Duration = Duration::from_secs(1);

/// What we offered.
pub struct Offered {
    sa: Sa,
    feasible: Vec<Proposal>,
    nonce: Vec<u8>,
    kex: Option<KeyExchange>,
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
        let wanted = wanted(policy, &feasible, self.encapsulation(frame, policy));
        let nothing = Sa { proposals: Vec::new() };
        if frame.nat.found()
            && let Err(disagreement) = offer::passes_nat(&wanted, &nothing)
        {
            frame.report(core, Event::Disagreed(disagreement));
            return postpone(frame, core, rekeys, &traffic);
        }
        let id = self.own_id(core);
        let quick = Quick {
            id,
            iv: self.iv_of(id),
            policy: Arc::clone(policy),
            hosts: frame.hosts(),
            encapsulation: wanted.encapsulation,
            traffic,
            began: core.now,
            rekeys,
            step: Step::Queued(feasible),
            reserved: Reserved::default(),
            out: None,
            last: None,
        };
        self.exchanges.push(Box::new(quick));
        self.begin_queued(frame, core);
    }

    /// Quick Modes of ours whose turn has come begin.
    pub fn begin_queued(&mut self, frame: &Frame, core: &mut Core) {
        while self.exchanges.iter().filter(|quick| quick.is_under_way()).count() < AT_ONCE {
            let mut waiting =
                self.exchanges.iter_mut().filter(|it| matches!(it.step, Step::Queued(_)));
            let Some(quick) = waiting.next() else { return };
            if let Step::Queued(feasible) = &mut quick.step {
                quick.step = Step::AwaitSpi(std::mem::take(feasible));
            }
            quick.began = core.now;
            quick.reserve(frame, core);
        }
    }

    fn encapsulation(&self, frame: &Frame, policy: &Policy) -> Encapsulation {
        let udp = self.abilities.nat_t.filter(|_| frame.encap().is_some());
        Encapsulation { mode: policy.mode, udp: udp.map(|spoken| spoken == NatT::Draft) }
    }

    /// Our SPIs are there: the offer goes out.
    pub fn send_offer(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        mut quick: Box<Quick>,
        feasible: &[Proposal],
    ) {
        let Some(spis) = quick.reserved.spis() else { return };
        let policy = Arc::clone(&quick.policy);
        let lifetime = policy.child_lifetime;
        let encapsulation = quick.encapsulation;
        let sa = offer::phase2(&wanted(&policy, feasible, encapsulation), lifetime, &spis);
        let group = offer::pfs_group(feasible);
        let kex = group.and_then(|group| KeyExchange::generate(group, &mut *core.random).ok());
        let nonce = core.octets(NONCE_LEN);
        let ids = ids_of(&quick.traffic);
        let (Some((ours, peers)), true) = (ids, kex.is_some() == group.is_some()) else {
            let what = "traffic that IKEv1 cannot say: a range of ports, or several ranges".into();
            frame.report(core, Event::Internal { what });
            quick.abandon(core);
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
            let feasible = feasible.to_vec();
            quick.step = Step::AwaitAnswer(Box::new(Offered { sa, feasible, nonce, kex }));
            self.exchanges.push(quick);
        }
    }

    /// The answer to our offer came.
    pub fn answered(
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
        let rekeys = quick.rekeys;
        let sorted = sort(Message::Quick, with_hash(plain.payloads));
        let accepted = sorted.and_then(|bag| self.accept(frame, core, &quick, offered, bag));
        let (agreement, keys, lifetime, nonces) = match accepted {
            Ok(accepted) => accepted,
            Err(what) => {
                frame.report(core, Event::Misbehaved { what });
                quick.abandon(core);
                let ends = quick.reserved.spis().map(|spis| (quick.policy.protocol, spis));
                self.send_deletes(frame, core, ends.as_slice());
                return postpone(frame, core, rekeys, &quick.traffic);
            }
        };
        let commit = header.flags.contains(Flags::COMMIT);
        let policy = with_lifetime(&quick.policy, lifetime);
        quick.reserved = Reserved::default();
        let mut child = Child::new(core, frame.id, agreement, &policy);
        child.replaces = rekeys;
        child.install(core, frame.id, Direction::In, &keys.inbound, &policy);
        // The responder may receive on the new one only once it has our last message: until then what we
        // send goes over the old one, if there is one.
        let wait = match (commit, rekeys) {
            (true, _) => Some(COMMIT),
            (false, Some(_)) => Some(SETTLE),
            (false, None) => None,
        };
        if wait.is_none() {
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
        quick.step = match wait {
            Some(wait) => {
                let until = core.now.after(wait);
                let waiting = Waiting { child: id, keys: keys.outbound, lifetime, until };
                Step::AwaitConnected(Box::new(waiting))
            }
            None => Step::Done(core.now.after(LINGER)),
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
        let wanted = wanted(&quick.policy, &offered.feasible, quick.encapsulation);
        let chosen = offer::accept_phase2(&wanted, &offered.sa, sa)?;
        if let Some(spi) = in_use(frame, wanted.protocol, &chosen.sas) {
            return Err(format!("the SPI {spi}, which another child SA has"));
        }
        if let [ours, peers] = bag.ids.as_slice() {
            let said = traffic::of_ids(Some((ours, peers)), quick.hosts)?;
            let nat = quick.encapsulation.udp.is_some();
            let said = traffic::seen(said, quick.policy.mode, quick.hosts, nat);
            if said != quick.traffic {
                return Err(format!("other traffic than what was offered: {ours} to {peers}"));
            }
        }
        let shared = match (chosen.sas.suite.group, offered.kex, &bag.ke) {
            (None, _, _) => None,
            (Some(group), Some(kex), Some(ke)) if kex.group() == group => {
                Some(kex.shared(ke).map_err(|error| error.to_string())?)
            }
            _ => return Err("an answer without the public value that PFS needs".into()),
        };
        let responder = bag.notify(NotifyType::RESPONDER_LIFETIME);
        let said = responder.map(|it| offer::lifetime(&it.lifetimes()));
        let ours = quick.policy.child_lifetime;
        // It may say so in the transform that it chose, too.
        let lifetime =
            [Some(chosen.lifetime), said].into_iter().flatten().fold(ours, offer::shorter);
        let agreement = quick.reserved.spis();
        let agreement = agreement
            .and_then(|spis| quick.agreement(frame, core, &chosen.sas, &spis))
            .ok_or("traffic that makes no flow of this policy")?;
        let nonces = (offered.nonce, nonce);
        let keys = self.child_keys(&agreement, (&nonces.0, &nonces.1), shared.as_ref());
        Ok((agreement, keys, lifetime, nonces))
    }

    /// The peer refuses something that we offered.
    pub fn refused(&mut self, frame: &mut Frame, core: &mut Core, notify: &Notify) {
        let spi = notify.spi.child();
        let offers = |quick: &Quick| matches!(quick.step, Step::AwaitAnswer(_));
        let names = |quick: &Quick| {
            let Reserved { main, around, .. } = quick.reserved;
            offers(quick) && spi.is_some() && (main == spi || around == spi)
        };
        let named = self.exchanges.iter().position(|quick| names(quick));
        let only = || self.exchanges.iter().position(|quick| offers(quick));
        let kind = notify.notify_type;
        let Some(at) = named.or_else(only) else {
            if kind == NotifyType::AUTHENTICATION_FAILED
                || kind == NotifyType::INVALID_ID_INFORMATION
            {
                return self.disbelieved(frame, core, kind);
            }
            // The keys of phase 1 are right, or nobody could have read this.
            let what = "a message that is no offer".into();
            let (notify, offered) = (kind.to_string(), Vec::new());
            let advice = "see the peer's log".into();
            return frame.report(core, Event::Refused { what, notify, offered, advice });
        };
        let quick = self.exchanges.swap_remove(at);
        let offered = match &quick.step {
            Step::AwaitAnswer(offered) => offer::printed(&offered.sa),
            _ => Vec::new(),
        };
        quick.abandon(core);
        let (what, notify) = ("Quick Mode".into(), kind.to_string());
        let advice = inform::advice(kind);
        frame.report(core, Event::Refused { what, notify, offered, advice });
        postpone(frame, core, quick.rekeys, &quick.traffic);
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
