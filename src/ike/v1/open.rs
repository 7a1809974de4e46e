//! How phase 1 begins: we call, or a first message comes from somebody who has proved nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use super::message::rung;
use super::method::{Method, methods};
use super::offer::{self, Phase1Choice};
use super::phase1::{NONCE_LEN, exchange, neutral, vendors};
use super::rules::{Bag, Message, Method as Layout, sort};
use super::{Next, Stage, State, aggressive, encryption, main_mode, message};
use crate::conf::{Phase1, Policy, Version};
use crate::crypto::{KeyExchange, Secret, sha1};
use crate::ike::core::{Core, Deed};
use crate::ike::frame::Frame;
use crate::ike::id;
use crate::ike::policy::Policies;
use crate::ike::proposal::{self, Kind};
use crate::ike::report::{Disagreement, Event, Way};
use crate::ike::sa::{Body, Sa};
use crate::ike::table::{Crowd, First, SaId, Table};
use crate::wire::header::HEADER_LEN;
use crate::wire::iana::v1::{AuthMethod, ExchangeType, IkeAttribute, NotifyType, PayloadType};
use crate::wire::v1::{
    Content, Notify, Payload, Sa as SaPayload, body_of, emit_message, parse_closed_message,
    parse_opaque,
};
use crate::wire::v2::Id;
use crate::wire::{Flags, Header, MessageId, Spi};

/// How many other policies a peer's proposal is shown beside.
const MOST_OTHERS: usize = 8;

/// Calls a peer.
pub fn initiate(
    core: &mut Core,
    policy: Arc<Policy>,
    local: SocketAddr,
    remote: SocketAddr,
    first_contact: bool,
) -> Option<Box<Sa>> {
    let Version::V1(mode) = policy.version else { return None };
    let method = methods(&policy, true).into_iter().find_map(Method::of)?;
    let offered = offer::phase1(&policy, method.id);
    let group = offered.proposals.iter().flat_map(|it| &it.transforms).find_map(|transform| {
        transform.ike(IkeAttribute::GROUP_DESCRIPTION).and_then(|group| u16::try_from(group).ok())
    });
    let Some(group) = group else {
        let why = offer::lacking(&policy);
        core.report(Some(remote), Some(&policy.name), Event::NothingComputed { why });
        return None;
    };
    let frame = Frame::calling(core, Arc::clone(&policy), local, remote, first_contact);
    let next = match mode {
        Phase1::Main => {
            let mut payloads = vec![Payload::Sa(offered.clone())];
            payloads.extend(vendors(core, &frame.policy));
            let exchange = ExchangeType::IDENTITY_PROTECTION;
            let octets = message::send_clear(&frame, core, exchange, &payloads);
            Next::sent(Stage::AwaitSa(Box::new(main_mode::AwaitSa { offered })), octets)
        }
        Phase1::Aggressive => {
            let group = crate::wire::iana::v2::GroupId(group);
            let kex = match KeyExchange::generate(group, &mut *core.random) {
                Ok(kex) => kex,
                Err(error) => {
                    frame.report(core, Event::Internal { what: error.to_string() });
                    return None;
                }
            };
            // One public value goes with one group (RFC 2409 §5).
            let offered = only_group(offered, group.0);
            let nonce = Secret::new(core.octets(NONCE_LEN));
            match method.layout {
                Layout::Plain => aggressive::first(&frame, core, offered, method, (kex, nonce)),
                _ => encryption::first(&frame, core, offered, method, (kex, nonce)),
            }
        }
    };
    let state = State::new(&frame, core, next, [0; 20]);
    Some(Box::new(Sa { frame, body: Body::V1(state) }))
}

fn only_group(mut offered: SaPayload, group: u16) -> SaPayload {
    for proposal in &mut offered.proposals {
        proposal.transforms.retain(|transform| {
            transform.ike(IkeAttribute::GROUP_DESCRIPTION) == Some(group.into())
        });
    }
    offered
}

/// A first message of a peer.
pub fn first(
    core: &mut Core,
    table: &mut Table,
    header: &Header,
    datagram: &[u8],
    (local, remote): (SocketAddr, SocketAddr),
) {
    if header.initiator.is_zero() || header.message_id != MessageId(0) || core.ending {
        return;
    }
    let mode = match header.exchange_v1() {
        ExchangeType::AGGRESSIVE => Phase1::Aggressive,
        _ => Phase1::Main,
    };
    let (bag, sa, layout) = match read(core, mode, header, datagram, (local, remote)) {
        Ok(read) => read,
        Err((why, notify)) => {
            core.stats.malformed += 1;
            core.report(Some(remote), None, Event::Dropped { why });
            return refuse(core, header, notify, local, remote);
        }
    };
    let Some((policy, choice)) = choose(core, mode, &bag, local, remote) else {
        core.stats.failed += 1;
        let notify = Notify::new(NotifyType::NO_PROPOSAL_CHOSEN);
        return refuse(core, header, notify, local, remote);
    };
    if mode == Phase1::Aggressive && choice.method.layout != layout {
        let what = "several ways of authentication in Aggressive Mode, where one has to be".into();
        core.report(Some(remote), Some(&policy.name), Event::Misbehaved { what });
        return refuse(core, header, Notify::new(NotifyType::NO_PROPOSAL_CHOSEN), local, remote);
    }
    let first = match mode {
        Phase1::Main => First::Main,
        Phase1::Aggressive => First::Aggressive,
    };
    let crowd = table.crowd(remote.ip(), &core.settings, first);
    if let Crowd::Refuse = crowd {
        let why = "too many IKE SAs of Aggressive Mode are half open".into();
        return core.report(Some(remote), None, Event::Dropped { why });
    }
    if let Crowd::Evict(oldest) = crowd {
        core.deeds.push_back(Deed::Evict(oldest));
    }
    let id = SaId(core.ike_spi());
    let mut frame = Frame::new(id, false, local, remote, policy, core.now);
    frame.peer_spi = header.initiator;
    let digest = sha1(&[datagram]);
    let next = match mode {
        Phase1::Main => main_mode::respond(&mut frame, core, (choice, sa), &bag),
        Phase1::Aggressive => aggressive::respond(&mut frame, core, (choice, sa), bag),
    };
    if frame.gone.is_some() {
        return;
    }
    let state = State::new(&frame, core, next, digest);
    table.half_open.opened((header.initiator, datagram), id, remote.ip(), first);
    table.put(core.now, Box::new(Sa { frame, body: Body::V1(state) }));
    core.deeds.push_back(Deed::Called(id));
}

/// The payloads, the body of the SA payload as it travelled, and which way the payloads are ordered.
fn read(
    core: &mut Core,
    mode: Phase1,
    header: &Header,
    datagram: &[u8],
    (local, remote): (SocketAddr, SocketAddr),
) -> Result<(Bag, Vec<u8>, Layout), (String, Notify)> {
    let malformed = |why: String| (why, Notify::new(NotifyType::PAYLOAD_MALFORMED));
    let layout = match mode {
        Phase1::Main => Layout::Plain,
        Phase1::Aggressive => layout(header, datagram),
    };
    let message = match mode {
        Phase1::Main => Message::MainSa,
        Phase1::Aggressive => Message::AggressiveFirst(layout),
    };
    let content = match parse_closed_message(datagram, message.opaque()) {
        Ok((_, content)) => content,
        Err(error) => return Err((error.to_string(), Notify::answering(&error))),
    };
    let Content::Clear(payloads) = content else {
        return Err(malformed("a first message that is encrypted".into()));
    };
    core.ladder(Way::In, local, remote, || rung(header, &payloads));
    let octets = header.message(datagram).get(HEADER_LEN..).unwrap_or_default();
    let sa = body_of(header.next_payload_v1(), octets, PayloadType::SA).unwrap_or_default();
    sort(message, payloads).map(|bag| (bag, sa.to_vec(), layout)).map_err(malformed)
}

/// How the payloads of a first message of Aggressive Mode are ordered: by the way of authentication that
/// stands first in its proposal.
fn layout(header: &Header, datagram: &[u8]) -> Layout {
    let octets = header.message(datagram).get(HEADER_LEN..).unwrap_or_default();
    let any = Message::AggressiveFirst(Layout::Revised).opaque();
    let payloads = parse_opaque(header.next_payload_v1(), octets, any).unwrap_or_default();
    let transforms = payloads.iter().filter_map(|payload| match payload {
        Payload::Sa(sa) => sa.proposals.first()?.transforms.first(),
        _ => None,
    });
    let mut methods = transforms.filter_map(|transform| {
        let number = transform.ike(IkeAttribute::AUTHENTICATION_METHOD)?;
        Method::of(AuthMethod(u16::try_from(number).ok()?))
    });
    methods.next().map_or(Layout::Plain, |method| method.layout)
}

/// The policy and suite for a peer that is known by its address, in Aggressive Mode by its identity.
fn choose(
    core: &mut Core,
    mode: Phase1,
    bag: &Bag,
    local: SocketAddr,
    remote: SocketAddr,
) -> Option<(Arc<Policy>, Phase1Choice)> {
    let theirs = bag.sa.as_ref()?;
    let said = bag.ids.first().map(neutral);
    let chosen = |policy: &Policy| offer::choose_phase1(policy, &methods(policy, false), theirs);
    let named = |policy: &Policy| said.as_ref().is_none_or(|said| id::accepts(policy, said));
    let in_mode = |policy: &Policy| policy.version == Version::V1(mode);
    let policies = &core.policies;
    let fitting = policies.select(1, local, remote, |policy| {
        in_mode(policy) && named(policy) && chosen(policy).is_ok()
    });
    if let Some(policy) = fitting {
        let chosen = chosen(&policy).ok()?;
        return Some((policy, chosen));
    }
    // Of those for the peer, one of its mode tells more than one of the other.
    let of_mode = policies.select(1, local, remote, |policy| named(policy) && in_mode(policy));
    let event = match of_mode.or_else(|| policies.select(1, local, remote, named)) {
        None => match (policies.select(1, local, remote, |_| true), &said) {
            (Some(policy), Some(said)) => (None, another(policies, &policy, (local, remote), said)),
            _ => {
                let wanted = policies.sought(1, local, remote);
                let candidates =
                    policies.passed_over(1, (local, remote), |_| true, |_| "it fits".into());
                (None, Event::NoPolicy { wanted, candidates })
            }
        },
        Some(nearest) => {
            let event = match chosen(&nearest) {
                Err(mut disagreement) if in_mode(&nearest) => {
                    let others = policies.for_addresses(1, local, remote);
                    let others =
                        others.filter(|it| named(it) && in_mode(it) && !Arc::ptr_eq(it, &nearest));
                    disagreement.ours.extend(others.take(MOST_OTHERS).flat_map(|other| {
                        let offers = proposal::offer(&other.ike_proposals, Kind::Ike, &Spi::None);
                        let lines = proposal::printed(&offers).into_iter();
                        lines.map(|line| format!("{}: {line}", other.name.0))
                    }));
                    disagreement
                }
                _ => other_mode(mode, theirs),
            };
            (Some(nearest), Event::Disagreed(event))
        }
    };
    let (policy, event) = event;
    core.report(Some(remote), policy.as_ref().map(|policy| &policy.name), event);
    None
}

/// No policy for these addresses wants a peer that calls itself so; this one is the nearest.
pub fn another(
    policies: &Policies,
    nearest: &Policy,
    path: (SocketAddr, SocketAddr),
    said: &Id,
) -> Event {
    let name = &nearest.name.0;
    let wanted = format!("a peer that calls itself {said}; policy {name} wants another");
    let named = |policy: &Policy| id::accepts(policy, said);
    let unlike = |policy: &Policy| match id::expected(policy) {
        Some(id) if !named(policy) => format!("dstid is {id}"),
        _ => "it fits".into(),
    };
    let candidates = policies.passed_over(1, path, named, unlike);
    Event::NoPolicy { wanted, candidates }
}

fn other_mode(theirs: Phase1, offered: &SaPayload) -> Box<Disagreement> {
    let (ours, word, theirs) = match theirs {
        Phase1::Main => ("aggressive", "main", exchange(Phase1::Main)),
        Phase1::Aggressive => ("main", "aggressive", exchange(Phase1::Aggressive)),
    };
    Box::new(Disagreement {
        about: "the mode of phase 1".into(),
        ours: vec![ours.into()],
        theirs: offer::printed(offered),
        mismatch: format!("mode: we allow {ours}, the peer opens with {theirs}"),
        advice: format!("write `{word}` in this rule, or have the peer use {ours} mode"),
    })
}

/// Answers a first message with a notification, keeping nothing.
fn refuse(core: &mut Core, header: &Header, notify: Notify, local: SocketAddr, remote: SocketAddr) {
    let exchange = ExchangeType::INFORMATIONAL;
    let id = message::fresh_id(core);
    let answer = Header::v1(header.initiator, header.responder, exchange, Flags::default(), id);
    let payloads = [Payload::Notify(notify)];
    core.ladder(Way::Out, local, remote, || rung(&answer, &payloads));
    core.send(local, remote, emit_message(&answer, &payloads));
}
