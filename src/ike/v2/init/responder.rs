//! The side that is called: whether a first message is taken, by which policy, and the answer.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{NONCE_LEN, Opening, nat_notifications, own_ke, refuse};
use crate::conf::Policy;
use crate::crypto::{IkeSuite, KeyExchange};
use crate::ike::core::{Core, Deed};
use crate::ike::frame::Frame;
use crate::ike::natt;
use crate::ike::proposal::{self, Kind};
use crate::ike::report::{Event, Way};
use crate::ike::sa::{Body, Sa};
use crate::ike::table::{First, SaId, Table};
use crate::ike::v2::auth::AwaitAuthRequest;
use crate::ike::v2::auth::proof::{self, Heard};
use crate::ike::v2::door::{self, Admission};
use crate::ike::v2::keys::{Seeds, expand, first_seed};
use crate::ike::v2::rules::{Bag, Message, sort};
use crate::ike::v2::{State, fragment};
use crate::wire::iana::v2::{ExchangeType, GroupId, NotifyType};
use crate::wire::v2::sa::Proposal as Offer;
use crate::wire::v2::{Nonce, Notify, Payload, Sa as SaPayload, emit_message, parse_message};
use crate::wire::{Flags, Header, IkeSpi, MessageId, Spi, dump};

/// How many further policies for the same peer are named when no proposal is chosen.
const MOST_OTHERS: usize = 8;

/// A first message of a peer.
pub fn request(
    core: &mut Core,
    table: &mut Table,
    header: &Header,
    datagram: &[u8],
    local: SocketAddr,
    remote: SocketAddr,
) {
    if header.message_id != MessageId(0) || header.initiator.is_zero() || core.ending {
        return;
    }
    let bag = match parse_message(datagram) {
        Ok((_, payloads)) => {
            core.ladder(Way::In, local, remote, || dump::rung(header, &payloads));
            sort(Message::InitRequest, payloads)
                .map_err(|why| (why, Notify::new(NotifyType::INVALID_SYNTAX)))
        }
        Err(error) => Err((error.to_string(), Notify::answering(&error))),
    };
    let bag = match bag {
        Ok(bag) => bag,
        Err((why, notify)) => {
            core.stats.malformed += 1;
            core.report(Some(remote), None, Event::Dropped { why });
            return refuse(core, header, notify, local, remote);
        }
    };
    let (Some(sa), Some(ke), Some(nonce)) = (&bag.sa, &bag.ke, &bag.nonce) else { return };
    let returned = bag.notify(NotifyType::COOKIE).map(|notify| notify.data.as_slice());
    match door::admit(core, table, header.initiator, remote, nonce, returned) {
        Admission::Enter => (),
        Admission::Prove(cookie) => {
            let notify = Notify::with_data(NotifyType::COOKIE, cookie);
            return refuse(core, header, notify, local, remote);
        }
        Admission::Full(why) => {
            return core.report(Some(remote), None, Event::Dropped { why: why.into() });
        }
    }
    let group = ke.group;
    let Some((policy, suite, answer)) = choose(core, &sa.proposals, group, local, remote) else {
        core.stats.failed += 1;
        let notify = Notify::new(NotifyType::NO_PROPOSAL_CHOSEN);
        return refuse(core, header, notify, local, remote);
    };
    if suite.group != group {
        let wanted = suite.group.0.to_be_bytes().to_vec();
        let notify = Notify::with_data(NotifyType::INVALID_KE_PAYLOAD, wanted);
        return refuse(core, header, notify, local, remote);
    }
    let id = SaId(core.ike_spi());
    let mut frame = Frame::new(id, false, local, remote, policy, core.now);
    frame.peer_spi = header.initiator;
    let request = header.message(datagram);
    match respond(&mut frame, core, request, &bag, suite, answer) {
        Ok(state) => {
            let opened = (header.initiator, datagram);
            table.half_open.opened(opened, id, remote.ip(), First::Init);
            table.put(core.now, Box::new(Sa { frame, body: Body::V2(state) }));
            core.deeds.push_back(Deed::Called(id));
        }
        Err(why) => {
            frame.report(core, Event::Misbehaved { what: why });
            let notify = Notify::new(NotifyType::INVALID_SYNTAX);
            refuse(core, header, notify, local, remote);
        }
    }
}

fn respond(
    frame: &mut Frame,
    core: &mut Core,
    request: &[u8],
    bag: &Bag,
    suite: IkeSuite,
    answer: Offer,
) -> Result<State, String> {
    let (Some(ke), Some(peers)) = (&bag.ke, &bag.nonce) else { return Err("no KE".into()) };
    let kex = KeyExchange::generate(suite.group, &mut *core.random);
    let kex = kex.map_err(|error| error.to_string())?;
    let nonce = core.octets(NONCE_LEN);
    let (initiator, responder) = frame.spis();
    // The request went out before our SPI was known: its hashes are made with zero.
    let nat = natt::detect(&bag.notifies, initiator, IkeSpi::ZERO, frame.local, frame.remote);
    let announces = nat.is_some();
    frame.nat = nat.unwrap_or_default();
    let mut payloads = vec![
        Payload::Sa(SaPayload { proposals: vec![answer] }),
        own_ke(&kex),
        Payload::Nonce(Nonce(nonce.clone())),
    ];
    if announces {
        payloads.extend(nat_notifications(frame));
    }
    // Which policy it is shows with the peer's identity: it is asked as if it were one with signatures.
    let heard = Heard::of(bag);
    if core.signatures {
        payloads.extend(proof::requests(core, &heard.requests));
        payloads.extend(heard.hashes.is_some().then(proof::hashes));
    }
    frame.fragments.negotiated(core, &bag.notifies);
    if frame.fragments.size.is_some() {
        payloads.extend(fragment::notification(core));
    }
    // The first child SA may also come later, with a key exchange of its own.
    payloads.push(Payload::Notify(Notify::new(NotifyType::CHILDLESS_IKEV2_SUPPORTED)));
    let shared = kex.shared(&ke.data).map_err(|error| error.to_string())?;
    let (exchange, flags) = (ExchangeType::IKE_SA_INIT, Flags::v2(false, true));
    let header = Header::v2(initiator, responder, exchange, flags, MessageId(0));
    let octets = emit_message(&header, &payloads);
    core.ladder(Way::Out, frame.local, frame.remote, || dump::rung(&header, &payloads));
    let seeds = Seeds { nonces: (peers, &nonce), spis: frame.spis() };
    let seed = first_seed(&suite, &seeds, &shared).map_err(|error| error.to_string())?;
    let (protection, proofs) =
        expand(suite, &seed, &seeds, false).map_err(|error| error.to_string())?;
    frame.window.accepted();
    frame.window.replied(&octets);
    let messages = (request.into(), octets.as_slice().into());
    core.send(frame.local, frame.remote, octets);
    let opening = Opening { messages, nonces: (peers.clone(), nonce), heard, childless: true };
    let state = AwaitAuthRequest { protection, proofs, opening };
    Ok(State::AwaitAuthRequest(Box::new(state)))
}

/// The policy and suite for a peer that is only known by its address.
fn choose(
    core: &mut Core,
    theirs: &[Offer],
    group: GroupId,
    local: SocketAddr,
    remote: SocketAddr,
) -> Option<(Arc<Policy>, IkeSuite, Offer)> {
    let chosen = |policy: &Policy| {
        let chosen = proposal::choose_ike(&policy.ike_proposals, theirs, Some(group));
        chosen.and_then(|chosen| match chosen.suite.check() {
            Ok(()) => Ok(chosen),
            Err(why) => Err(proposal::incomputable(&policy.ike_proposals, theirs, &why)),
        })
    };
    let policies = &core.policies;
    match &policies.select(2, local, remote, |policy| chosen(policy).is_ok()) {
        Some(policy) => {
            let chosen = chosen(policy).ok()?;
            return Some((Arc::clone(policy), chosen.suite, chosen.answer));
        }
        None => match policies.select(2, local, remote, |_| true) {
            Some(nearest) => {
                let Err(mut disagreement) = chosen(&nearest) else { return None };
                let others = policies.for_addresses(2, local, remote);
                let others = others.filter(|other| !Arc::ptr_eq(other, &nearest));
                for other in others.take(MOST_OTHERS) {
                    let offers = proposal::offer(&other.ike_proposals, Kind::Ike, &Spi::None);
                    let lines = proposal::printed(&offers);
                    let named = lines.iter().map(|line| format!("{}: {line}", other.name.0));
                    disagreement.ours.extend(named);
                }
                core.report(Some(remote), Some(&nearest.name), Event::Disagreed(disagreement));
            }
            None => {
                let wanted = policies.sought(2, local, remote);
                let candidates =
                    policies.passed_over(2, (local, remote), |_| true, |_| "it fits".into());
                core.report(Some(remote), None, Event::NoPolicy { wanted, candidates });
            }
        },
    }
    None
}
