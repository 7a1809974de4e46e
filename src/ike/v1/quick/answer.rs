//! The responder of Quick Mode: what the peer offers is judged, prepared, answered.

use std::sync::Arc;

use super::reserve::Reserved;
use super::{COMMIT, Quick, Step, Waiting, in_use, wanted, with_lifetime};
use crate::conf::{Lifetime, Policy, Version};
use crate::crypto::{KeyExchange, Secret, same};
use crate::ike::child::{Child, ChildId, DirectionKeys, Stage};
use crate::ike::core::Core;
use crate::ike::event::Direction;
use crate::ike::frame::Frame;
use crate::ike::outstanding::Outstanding;
use crate::ike::report::{Disagreement, Event};
use crate::ike::selector::{Hosts, NoFlows, Traffic};
use crate::ike::v1::established::Established;
use crate::ike::v1::message::content;
use crate::ike::v1::offer::{self, Chosen, Encapsulation, Phase2Choice};
use crate::ike::v1::phase1::NONCE_LEN;
use crate::ike::v1::protect;
use crate::ike::v1::rules::{Bag, Message, sort};
use crate::ike::v1::vendor::NatT;
use crate::ike::v1::{hash, keys, shares, traffic, with_hash};
use crate::wire::iana::v1::{EncapsulationMode, ExchangeType, IpsecAttribute, NotifyType};
use crate::wire::v1::{Id, Nonce, Notify, Payload, Proposal as Offer, Sa};
use crate::wire::{Flags, Header};

/// The most Quick Modes of one peer at once.
const MOST: usize = 32;

/// A child SA that the peer offers and that we take.
pub struct Answering {
    sas: Chosen,
    answer: Vec<Offer>,
    nonces: (Vec<u8>, Vec<u8>),
    shared: Option<Secret>,
    ke: Option<Vec<u8>>,
    ids: Vec<Id>,
    lifetime: Lifetime,
    /// Ours is shorter than what the peer wants.
    tell: bool,
    /// The peer set the commit bit.
    commit: bool,
}

/// Its inbound half is in the kernel, or on its way there.
pub struct Prepared {
    /// The child.
    pub child: ChildId,
    outbound: DirectionKeys,
    nonces: (Vec<u8>, Vec<u8>),
    payloads: Vec<Payload>,
    digest: [u8; 20],
    lifetime: Lifetime,
    /// The peer says when we may send.
    commit: bool,
}

/// What we take of an offer.
struct Considered {
    policy: Arc<Policy>,
    traffic: Traffic,
    choice: Phase2Choice,
    encapsulation: Encapsulation,
}

impl Established {
    /// The peer begins a Quick Mode.
    pub fn offered(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        (header, datagram): (&Header, &[u8]),
        digest: [u8; 20],
    ) {
        let id = header.message_id;
        let iv = self.iv_of(id);
        let Some(plain) = self.open(frame, core, (header, datagram), &iv, &[]) else { return };
        let bag = match sort(Message::Quick, with_hash(plain.payloads)) {
            Ok(bag) => bag,
            Err(what) => {
                frame.report(core, Event::Misbehaved { what });
                let notify = Notify::new(NotifyType::PAYLOAD_MALFORMED);
                return self.notify(frame, core, notify);
            }
        };
        self.take_notifies(frame, core, id, &bag);
        if self.exchanges.len() >= MOST {
            let why = format!("more than {MOST} Quick Modes at once");
            return frame.report(core, Event::Dropped { why });
        }
        let considered = self.consider(frame, core, &bag).and_then(|it| {
            let commit = header.flags.contains(Flags::COMMIT);
            let answering = Answering { commit, ..answering(frame, core, &it, bag)? };
            Ok((it, answering))
        });
        let (considered, answering) = match considered {
            Ok(taken) => taken,
            Err(notify) => {
                self.remember(id);
                return self.notify(frame, core, notify);
            }
        };
        let Considered { policy, traffic, encapsulation, .. } = considered;
        let same = frame.children.iter().filter(|child| {
            matches!(child.stage, Stage::Up | Stage::Rekeying) && child.agreement.traffic == traffic
        });
        let replaced = same.max_by_key(|child| child.id);
        let quick = Quick {
            id,
            iv: plain.next,
            policy,
            hosts: frame.hosts(),
            encapsulation,
            traffic,
            began: core.now,
            rekeys: replaced.map(|child| child.id),
            step: Step::AwaitSpiForPeer(Box::new(answering)),
            reserved: Reserved::default(),
            out: None,
            // Until there is an answer nothing is repeated.
            last: Some(Box::new((digest, Vec::new()))),
        };
        quick.reserve(frame, core);
        self.exchanges.push(Box::new(quick));
    }

    /// Judges what the peer offers: which policy is for its traffic, and which suite.
    fn consider(&self, frame: &Frame, core: &mut Core, bag: &Bag) -> Result<Considered, Notify> {
        let Some(sa) = &bag.sa else { return Err(Notify::new(NotifyType::PAYLOAD_MALFORMED)) };
        let about = |notify_type| match sa.proposals.first().map(|it| (it.protocol, it.spi.child()))
        {
            Some((protocol, Some(spi))) => {
                Notify::about_child(notify_type, protocol, spi, Vec::new())
            }
            _ => Notify::new(notify_type),
        };
        let hosts = frame.hosts();
        let ids = match bag.ids.as_slice() {
            [initiators, responders] => Some((responders, initiators)),
            _ => None,
        };
        let said = traffic::of_ids(ids, hosts).map_err(|what| {
            frame.report(core, Event::Misbehaved { what });
            about(NotifyType::INVALID_ID_INFORMATION)
        })?;
        let udp = self.abilities.nat_t.filter(|_| in_udp(sa)).map(|_| frame.nat);
        let nat = udp.is_some() || frame.nat.found();
        let all = core.policies.iter().map(|running| Arc::clone(&running.policy));
        let ours: Vec<_> = std::iter::once(Arc::clone(&frame.policy))
            .chain(all.filter(|it| !Arc::ptr_eq(it, &frame.policy)))
            .filter(|it| matches!(it.version, Version::V1(_)) && shares(it, &frame.policy))
            .collect();
        if let Some(full) = frame.is_full(ours.iter().map(|it| it.flows.len()).sum()) {
            frame.report(core, Event::Disagreed(full));
            return Err(about(NotifyType::NO_PROPOSAL_CHOSEN));
        }
        let mut why = NoFlows::NothingInCommon;
        let mut fits = |policy: &Arc<Policy>| {
            let said = traffic::seen(said.clone(), policy.mode, hosts, nat);
            if !traffic::is_wanted(&said, policy, hosts) {
                return None;
            }
            let flows = said.flows(policy, hosts, core.able.as_ref());
            flows.map_err(|no_flows| why = no_flows).ok().map(|_| (Arc::clone(policy), said))
        };
        let fitting: Vec<_> = ours.iter().filter_map(&mut fits).collect();
        if fitting.is_empty() {
            let event = Event::Disagreed(no_traffic(&ours, hosts, &said, why));
            frame.report(core, event);
            return Err(about(NotifyType::INVALID_ID_INFORMATION));
        }
        let mut refusal = None;
        for (policy, traffic) in fitting {
            let Some(ours) = frame.feasible(core, &policy) else { continue };
            let draft = self.abilities.nat_t == Some(NatT::Draft);
            let udp = udp.map(|_| draft);
            let encapsulation = Encapsulation { mode: policy.mode, udp };
            let wanted = wanted(&policy, &ours, encapsulation);
            let passes = match frame.nat.found() {
                true => offer::passes_nat(&wanted, sa),
                false => Ok(()),
            };
            match passes.and_then(|()| offer::choose_phase2(&wanted, sa)) {
                Ok(choice) => {
                    return Ok(Considered { policy, traffic, choice, encapsulation });
                }
                Err(disagreement) => refusal = refusal.or(Some(disagreement)),
            }
        }
        if let Some(disagreement) = refusal {
            frame.report(core, Event::Disagreed(disagreement));
        }
        Err(about(NotifyType::NO_PROPOSAL_CHOSEN))
    }

    /// Our SPIs are there: the inbound half goes into the kernel.
    pub fn prepare(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        mut quick: Box<Quick>,
        answering: Answering,
    ) {
        let Some(spis) = quick.reserved.spis() else { return };
        let agreed = quick.agreement(frame, core, &answering.sas, &spis);
        let used = in_use(frame, quick.policy.protocol, &answering.sas);
        let Some(agreement) = agreed.filter(|_| used.is_none()) else {
            let what = match used {
                Some(spi) => format!("offered the SPI {spi}, which another child SA has"),
                None => "offered traffic that makes no flow of this policy any more".into(),
            };
            frame.report(core, Event::Misbehaved { what });
            quick.abandon(core);
            self.remember(quick.id);
            return self.notify(frame, core, Notify::new(NotifyType::INVALID_SPI));
        };
        let nonces = (&*answering.nonces.0, &*answering.nonces.1);
        let keys = self.child_keys(&agreement, nonces, answering.shared.as_ref());
        let policy = with_lifetime(&quick.policy, answering.lifetime);
        let (main, answer) = (quick.policy.protocol, answering.answer.into_iter());
        let proposals = answer
            .map(|it| Offer { spi: spis.of(main, it.protocol).unwrap_or_default(), ..it })
            .collect();
        let mut payloads =
            vec![Payload::Sa(Sa { proposals }), Payload::Nonce(Nonce(answering.nonces.1.clone()))];
        payloads.extend(answering.ke.map(Payload::Ke));
        payloads.extend(answering.ids.into_iter().map(Payload::Id));
        if answering.tell {
            let mut data = Vec::new();
            let attributes = offer::lifetime_attributes(answering.lifetime);
            attributes.iter().for_each(|attribute| attribute.emit(&mut data));
            let kind = NotifyType::RESPONDER_LIFETIME;
            let protocol = offer::protocol_id(quick.policy.protocol);
            let notify = Notify::about_child(kind, protocol, spis.main, data);
            payloads.push(Payload::Notify(notify));
        }
        payloads.extend(quick.nat_oa(quick.encapsulation.udp == Some(true), false));
        quick.reserved = Reserved::default();
        let mut child = Child::new(core, frame.id, agreement, &policy);
        child.replaces = quick.rekeys;
        child.install(core, frame.id, Direction::In, &keys.inbound, &policy);
        let digest = quick.last.as_ref().map_or([0; 20], |last| last.0);
        quick.step = Step::AwaitInbound(Box::new(Prepared {
            child: child.id,
            outbound: keys.outbound,
            nonces: answering.nonces,
            payloads,
            digest,
            lifetime: answering.lifetime,
            commit: answering.commit,
        }));
        frame.adopt(child);
        self.exchanges.push(quick);
    }

    /// The kernel has the inbound half: the answer goes out.
    pub fn send_answer(&mut self, frame: &mut Frame, core: &mut Core, id: ChildId) {
        let at = self.exchanges.iter().position(|quick| quick.child() == Some(id));
        let Some(mut quick) = at.map(|at| self.exchanges.swap_remove(at)) else { return };
        let done = Step::Done(core.now);
        let Step::AwaitInbound(mut prepared) = std::mem::replace(&mut quick.step, done) else {
            return;
        };
        let payloads = std::mem::take(&mut prepared.payloads);
        let message = (ExchangeType::QUICK_MODE, quick.id, &quick.iv.clone());
        let sent = self.send(frame, core, message, &prepared.nonces.0, payloads);
        let Some((octets, next)) = sent else { return };
        quick.iv = next;
        let backoff = core.settings.backoff;
        let out = Outstanding::new(&octets, core.now, &backoff, &mut *core.random);
        quick.out = Some(Box::new(out));
        quick.last = Some(Box::new((prepared.digest, octets)));
        quick.step = Step::AwaitEnd(prepared);
        self.exchanges.push(quick);
    }

    /// The peer has the answer: the outbound half goes into the kernel.
    pub fn ended(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        mut quick: Box<Quick>,
        prepared: Box<Prepared>,
        (header, datagram): (&Header, &[u8]),
    ) {
        let nonces = (&*prepared.nonces.0, &*prepared.nonces.1);
        let opened = open_third(&self.keys, &quick, nonces, header, datagram);
        if self.believed(frame, core, header, opened).is_none() {
            quick.step = Step::AwaitEnd(prepared);
            return self.exchanges.push(quick);
        }
        if prepared.commit || header.flags.contains(Flags::COMMIT) {
            let until = core.now.after(COMMIT);
            let Prepared { child, outbound: keys, lifetime, .. } = *prepared;
            quick.out = None;
            quick.step = Step::AwaitConnected(Box::new(Waiting { child, keys, lifetime, until }));
            return self.exchanges.push(quick);
        }
        self.remember(quick.id);
        let Some(at) = frame.children.iter().position(|it| it.id == prepared.child) else {
            return;
        };
        let policy = with_lifetime(&quick.policy, prepared.lifetime);
        let owner = frame.id;
        let child = &mut frame.children[at];
        child.install(core, owner, Direction::Out, &prepared.outbound, &policy);
        if child.pending == 0 {
            self.up(frame, core, at);
        }
    }
}

/// The seeds of the keys, and what of ours goes into the answer.
fn answering(
    frame: &Frame,
    core: &mut Core,
    considered: &Considered,
    bag: Bag,
) -> Result<Answering, Notify> {
    let choice = &considered.choice;
    let nonce = core.octets(NONCE_LEN);
    let invalid = |core: &mut Core, what: String| {
        frame.report(core, Event::Misbehaved { what });
        Notify::new(NotifyType::INVALID_KEY_INFORMATION)
    };
    let (shared, ke) = match (choice.sas.suite.group, &bag.ke) {
        (None, _) => (None, None),
        (Some(group), Some(peers)) => {
            let kex = KeyExchange::generate(group, &mut *core.random);
            let kex = kex.map_err(|error| invalid(core, error.to_string()))?;
            let own = kex.public().to_vec();
            let shared = kex.shared(peers);
            (Some(shared.map_err(|error| invalid(core, error.to_string()))?), Some(own))
        }
        (Some(group), None) => {
            let what = format!("offered {group} for Quick Mode and sent no public value");
            return Err(invalid(core, what));
        }
    };
    let ours = considered.policy.child_lifetime;
    let lifetime = offer::shorter(ours, choice.lifetime);
    let peers = bag.nonce.ok_or_else(|| Notify::new(NotifyType::PAYLOAD_MALFORMED))?;
    Ok(Answering {
        sas: choice.sas,
        answer: choice.answer.clone(),
        nonces: (peers, nonce),
        shared,
        ke,
        ids: bag.ids,
        lifetime,
        tell: lifetime != choice.lifetime,
        commit: false,
    })
}

/// Whether the peer offers encapsulation in UDP.
fn in_udp(sa: &Sa) -> bool {
    let udp = [
        EncapsulationMode::UDP_TUNNEL,
        EncapsulationMode::UDP_TRANSPORT,
        EncapsulationMode::UDP_TUNNEL_DRAFT,
        EncapsulationMode::UDP_TRANSPORT_DRAFT,
    ];
    let transforms = sa.proposals.iter().flat_map(|it| &it.transforms);
    let mut modes = transforms.filter_map(|it| it.ipsec(IpsecAttribute::ENCAPSULATION_MODE));
    modes.any(|mode| udp.iter().any(|it| u64::from(it.0) == mode))
}

fn no_traffic(
    ours: &[Arc<Policy>],
    hosts: Hosts,
    peers: &Traffic,
    why: NoFlows,
) -> Box<Disagreement> {
    let line = |traffic: &Traffic| {
        let side = |selectors: &[crate::wire::v2::TrafficSelector]| {
            selectors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        format!("ours {}, peer's {}", side(&traffic.local), side(&traffic.remote))
    };
    Box::new(Disagreement {
        about: "the traffic of phase 2".into(),
        ours: ours.iter().map(|policy| line(&Traffic::wanted(policy, hosts))).collect(),
        theirs: vec![line(peers)],
        mismatch: match why {
            NoFlows::NothingInCommon => {
                "what the peer wants lies within no `from` and `to` of ours".into()
            }
            why => why.to_string(),
        },
        advice: why.advice().into(),
    })
}

/// Opens the third message: who made it is known by HASH(3), which it consists of.
fn open_third(
    keys: &keys::Keys,
    quick: &Quick,
    nonces: (&[u8], &[u8]),
    header: &Header,
    datagram: &[u8],
) -> Result<protect::Plain, protect::Fault> {
    let plain = protect::open(keys, &quick.iv, header, content(header, datagram))?;
    let bag = sort(Message::QuickEnd, plain.payloads.clone());
    let bag = bag.map_err(protect::Fault::Unreadable)?;
    let ours = hash::third(keys, quick.id, nonces);
    match bag.hash.is_some_and(|theirs| same(&ours, &theirs)) {
        true => Ok(plain),
        false => Err(protect::Fault::Forged),
    }
}
