//! IKEv1 (RFC 2407, 2408, 2409): states named for what they await.
//!
//! [`main_mode`] and [`aggressive`] draw their own messages, and [`encryption`] what public key encryption
//! makes of them. A [`login`] may follow, and addresses be told ([`configure`]), in [`transaction`]
//! exchanges. All end in [`mod@established`], where
//! [`quick`] negotiates child SAs and [`inform`] takes and gives notice.
//!
//! A message is sent again by whoever waits for the next one: an initiator by the clock, a responder
//! only when the message that it answered comes again, and not often: nobody can make us send more
//! than was sent to us. In phase 2, where the peer is known, both go by the clock.

pub mod aggressive;
pub mod algorithms;
pub mod alive;
pub mod children;
pub mod config;
pub mod configure;
pub mod encryption;
pub mod established;
pub mod fragment;
pub mod hash;
pub mod inform;
pub mod instead;
pub mod keys;
pub mod login;
pub mod main_mode;
pub mod message;
pub mod method;
pub mod offer;
pub mod open;
pub mod phase1;
pub mod pke;
pub mod proof;
pub mod protect;
pub mod quick;
pub mod rules;
pub mod state;
pub mod traffic;
pub mod transaction;
pub mod vendor;
pub mod xauth;

use std::net::SocketAddr;

use super::auth::{Answer, QuestionId};
use super::child::ChildId;
use super::core::{Core, Negotiation, Part};
use super::event::{Cpi, KernelAnswer, Time};
use super::frame::Frame;
use super::natt::Path;
use super::report::{Event, Gone, Way};
use super::sa::{Body, Sa};
use crate::conf::{Policy, SaProtocol};
use crate::crypto::sha1;
use crate::wire::iana::v1::{ExchangeType, PayloadType};
use crate::wire::v1::{Content, Payload, parse_closed_message, parse_message};
use crate::wire::{EspSpi, Header, MessageId};
pub use children::policy_of;
use established::{Established, Orphaned};
use fragment::Pieces;
pub use open::{first, initiate};
pub use state::{Came, Next, Stage, State};

/// Something that an established SA is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// A successor for this child.
    RekeyChild(ChildId),
    /// The end of this child, and why.
    DeleteChild(ChildId, Gone),
    /// The end of the ISAKMP SA, and why.
    DeleteIke(Gone),
}

/// Whether two policies go over one ISAKMP SA: the same peer, proved in the same way.
pub fn shares(one: &Policy, other: &Policy) -> bool {
    one.version == other.version
        && one.local == other.local
        && one.peer == other.peer
        && one.local_id == other.local_id
        && one.remote_id == other.remote_id
        && one.auth == other.auth
        && one.key_mark == other.key_mark
        && one.ike1 == other.ike1
        && one.wanted == other.wanted
}

/// Whether a datagram is a first message of phase 1.
pub fn is_first(header: &Header) -> bool {
    let opens = [ExchangeType::IDENTITY_PROTECTION, ExchangeType::AGGRESSIVE];
    opens.contains(&header.exchange_v1()) && header.responder.is_zero()
}

/// Works on the stage, which is consumed and comes back as the next one.
fn step(sa: &mut Sa, core: &mut Core, work: impl FnOnce(&mut Frame, &mut Core, Stage) -> Next) {
    let Body::V1(state) = &mut sa.body else { return };
    let stage = std::mem::replace(&mut state.stage, Stage::Gone);
    let next = work(&mut sa.frame, core, stage);
    state.take(&sa.frame, core, next);
}

/// Works on the established state, if it is one.
pub fn established(
    sa: &mut Sa,
    core: &mut Core,
    work: impl FnOnce(&mut Established, &mut Frame, &mut Core),
) {
    let Body::V1(state) = &mut sa.body else { return };
    if let Stage::Established(state) = &mut state.stage {
        work(state, &mut sa.frame, core);
        if sa.frame.gone.is_none() {
            state.begin_queued(&sa.frame, core);
        }
    }
}

/// A message for this SA.
pub fn receive(
    sa: &mut Sa,
    core: &mut Core,
    header: &Header,
    datagram: &[u8],
    (local, remote): (SocketAddr, SocketAddr),
) {
    let Body::V1(state) = &mut sa.body else { return };
    if fragment::is_fragment(header) {
        let Some(whole) = piece(state, &mut sa.frame, core, datagram) else { return };
        let Ok(header) = Header::parse(&whole) else { return };
        return receive(sa, core, &header, &whole, (local, remote));
    }
    let digest = sha1(&[datagram]);
    if state.echo.as_ref().is_some_and(|echo| echo.question == digest) {
        core.stats.duplicates += 1;
        return answer_again(state, &sa.frame, core);
    }
    if digest == state.latest {
        core.stats.duplicates += 1;
        return;
    }
    let exchange = header.exchange_v1();
    let phase1 = [ExchangeType::IDENTITY_PROTECTION, ExchangeType::AGGRESSIVE];
    if phase1.contains(&exchange) {
        return phase1_message(sa, core, (header, datagram), digest, (local, remote));
    }
    match &state.stage {
        Stage::Established(_) | Stage::Login(_) | Stage::Configuring(_) => {
            after_phase1(sa, core, (header, datagram), Path { local, remote });
        }
        Stage::AwaitProof(_)
            if exchange == ExchangeType::INFORMATIONAL && message::is_encrypted(header) =>
        {
            instead::informed(sa, core, header, datagram);
        }
        Stage::AwaitProof(_) if !sa.frame.initiator && message::is_encrypted(header) => {
            // The initiator of Aggressive Mode goes on: its last message must have been lost.
            answer_again(state, &sa.frame, core);
        }
        _ if exchange == ExchangeType::INFORMATIONAL && !message::is_encrypted(header) => {
            inform::in_clear(sa, core, header, datagram);
        }
        _ => {
            let why = format!("{exchange} while {}", state.word());
            sa.frame.report(core, Event::Dropped { why });
        }
    }
}

/// What was answered last goes out once more, but not without end.
fn answer_again(state: &mut State, frame: &Frame, core: &mut Core) {
    let Some(echo) = state.echo.as_mut().filter(|echo| echo.left > 0) else { return };
    echo.left -= 1;
    let answer = echo.answer.to_vec();
    core.send(frame.local, frame.remote, answer);
}

/// A message under the keys of phase 1.
fn after_phase1(sa: &mut Sa, core: &mut Core, (header, datagram): (&Header, &[u8]), path: Path) {
    let Body::V1(state) = &mut sa.body else { return };
    let (before, heard) = (sa.frame.remote, state.heard());
    step(sa, core, |frame, core, stage| match stage {
        Stage::Established(mut state) => {
            state.receive(frame, core, header, datagram);
            Next::same(Stage::Established(state))
        }
        Stage::Login(login) => login.receive(frame, core, header, datagram),
        Stage::Configuring(state) => state.receive(frame, core, header, datagram),
        other => Next::same(other),
    });
    let Body::V1(state) = &mut sa.body else { return };
    if state.heard() == Some(core.now) {
        // The peer has our last message of phase 1.
        state.out = None;
    }
    // Behind a NAT the peer is wherever its last genuine message came from.
    let now = Some(core.now);
    let genuine = state.heard() == now && (heard != now || before == path.remote);
    match &state.stage {
        Stage::Established(_) if genuine => established(sa, core, |state, frame, core| {
            state.follow(frame, core, path);
        }),
        _ if genuine && sa.frame.follows(path) => sa.frame.take_path(core, path),
        _ => (),
    }
}

/// A fragment came: the whole message, if it was the one that was missing.
fn piece(
    state: &mut State,
    frame: &mut Frame,
    core: &mut Core,
    datagram: &[u8],
) -> Option<Vec<u8>> {
    let fragment = match parse_message(datagram) {
        Ok((_, Content::Clear(payloads))) => match <[Payload; 1]>::try_from(payloads) {
            Ok([Payload::Fragment(fragment)]) => Ok(fragment),
            _ => Err("a fragment beside other payloads".to_string()),
        },
        Ok((_, Content::Encrypted(_))) => Err("a fragment that is encrypted".into()),
        Err(error) => Err(error.to_string()),
    };
    // We said that we can in our first message, before we know what the peer can.
    let wanted = core.globals.fragmentation;
    let proved = state.heard().is_some();
    let room = || Box::new(Pieces::new(core.fragments.room(frame.remote.ip(), proved)));
    let taken = fragment.and_then(|fragment| match wanted {
        true => state.pieces.get_or_insert_with(room).add(core.now, fragment, frame.spis()),
        false => Err("a fragment, which was not negotiated".into()),
    });
    let whole = taken.unwrap_or_else(|why| {
        core.stats.malformed += 1;
        frame.report(core, Event::Dropped { why });
        None
    });
    if whole.is_some() {
        state.pieces = None;
        if !std::mem::replace(&mut frame.fragments.used.1, true) {
            frame.report(core, Event::Fragmented { way: Way::In });
        }
    }
    whole
}

fn phase1_message(
    sa: &mut Sa,
    core: &mut Core,
    (header, datagram): (&Header, &[u8]),
    digest: [u8; 20],
    (local, remote): (SocketAddr, SocketAddr),
) {
    let Body::V1(state) = &sa.body else { return };
    let payloads = match parse_closed_message(datagram, state.closed()) {
        Ok((_, Content::Clear(payloads))) => {
            core.ladder(Way::In, local, remote, || message::rung(header, &payloads));
            payloads
        }
        Ok((_, Content::Encrypted(_))) => Vec::new(),
        Err(error) => {
            core.stats.malformed += 1;
            return sa.frame.report(core, Event::Dropped { why: error.to_string() });
        }
    };
    if header.message_id != MessageId(0) {
        let why = "a message of phase 1 with a message ID".into();
        return sa.frame.report(core, Event::Dropped { why });
    }
    let Body::V1(state) = &mut sa.body else { return };
    let before = std::mem::replace(&mut state.latest, digest);
    let main = header.exchange_v1() == ExchangeType::IDENTITY_PROTECTION;
    let came = Came { header, datagram, payloads, local, remote };
    let mut moved = false;
    step(sa, core, |frame, core, stage| {
        let next = match stage {
            Stage::AwaitSa(state) if main => state.answer(frame, core, came),
            Stage::AwaitKe(state) if main => state.exchange(frame, core, came),
            Stage::AwaitAnswer(state) if !main => state.answer(frame, core, came),
            Stage::AwaitProof(state) if main && message::is_encrypted(header) => {
                main_mode::proof(state, frame, core, &came)
            }
            Stage::AwaitProof(state) if !main => aggressive::proof(state, frame, core, &came),
            other => {
                let why = format!("{} in a stage that has none", header.exchange_v1());
                frame.report(core, Event::Dropped { why });
                Next::same(other)
            }
        };
        moved = next.moved;
        next
    });
    let Body::V1(state) = &mut sa.body else { return };
    if !moved {
        state.latest = before;
    }
}

/// The holder of the secrets answered.
pub fn answer(sa: &mut Sa, core: &mut Core, question: QuestionId, answer: Answer) {
    let Body::V1(state) = &sa.body else { return };
    // One is waited for at a time; what was asked before is of no interest any more.
    if state.question() != Some(question) {
        return;
    }
    step(sa, core, |frame, core, stage| match stage {
        Stage::AwaitSealed(state) => state.answer(frame, core, answer),
        Stage::AwaitOpened(state) => state.answer(frame, core, answer),
        Stage::AwaitSkeyid(state) => state.answer(frame, core, answer),
        Stage::AwaitOwnProof(state) => state.signed(frame, core, answer),
        Stage::AwaitVerdict(state) => state.verdict(frame, core, answer),
        Stage::Login(login) => login.answer(frame, core, answer),
        other => Next::same(other),
    });
}

/// Wants something done by an established SA.
pub fn want(sa: &mut Sa, core: &mut Core, task: Task) {
    established(sa, core, |state, frame, core| state.start(frame, core, task));
}

/// Ends it: with notice to the peer if there are keys for that.
pub fn delete(sa: &mut Sa, core: &mut Core, why: Gone) {
    let Body::V1(state) = &mut sa.body else { return };
    match &mut state.stage {
        Stage::Established(_) => return want(sa, core, Task::DeleteIke(why)),
        Stage::Login(login) => login.sa.send_delete_ike(&mut sa.frame, core),
        Stage::Configuring(state) => state.sa.send_delete_ike(&mut sa.frame, core),
        _ => (),
    }
    drop_sa(sa, core, why);
}

/// Goes on with what waits to be done.
pub fn advance(sa: &mut Sa, core: &mut Core) {
    established(sa, core, |state, frame, core| state.advance(frame, core));
}

/// Sees that a policy has its child SAs, or the one for a packet.
pub fn create_child(
    sa: &mut Sa,
    core: &mut Core,
    policy: &std::sync::Arc<Policy>,
    packet: Option<&super::event::KernelSelector>,
) {
    established(sa, core, |state, frame, core| state.fill(frame, core, policy, packet));
}

/// Ends it at this time, because another does its work.
pub fn supersede(sa: &mut Sa, core: &mut Core, at: Time) {
    established(sa, core, |state, _, _| state.superseded_at = Some(at));
}

/// Takes an SA down at once, without a word to the peer.
pub fn drop_sa(sa: &mut Sa, core: &mut Core, why: Gone) {
    if let Body::V1(state) = &mut sa.body {
        if let Stage::Established(state) = &mut state.stage {
            state.abandon(&mut sa.frame, core);
        }
        state.stage = Stage::Gone;
    }
    sa.frame.close(core, why);
}

/// Another IKE SA with the same peer takes over, or has taken over, the child SAs of this one.
pub fn replaced(sa: &mut Sa, core: &mut Core) {
    established(sa, core, |state, frame, core| state.replaced(frame, core));
}

/// It was deleted, and nobody takes over its child SAs: they live on by themselves.
pub fn orphan(sa: &mut Sa) {
    let Body::V1(state) = &mut sa.body else { return };
    if let Stage::Established(established) = &state.stage {
        let peer = established.standing().who();
        state.stage = Stage::Orphaned(Box::new(Orphaned { peer }));
    }
}

/// Time has passed.
pub fn timeout(sa: &mut Sa, core: &mut Core) {
    let now = core.now;
    let Body::V1(state) = &mut sa.body else { return };
    state.pieces.take_if(|pieces| pieces.deadline() <= now);
    if let Some(sent) = message::send_again(state.out.as_deref_mut(), &sa.frame, core) {
        let exchange = state.unanswered().into();
        sa.frame.report(core, Event::NoAnswer { exchange, sent });
        return drop_sa(sa, core, Gone::PeerVanished);
    }
    if let Stage::Login(_) | Stage::Configuring(_) = state.stage {
        // They have limits of their own.
        return step(sa, core, |frame, core, stage| match stage {
            Stage::Login(login) => login.timeout(frame, core),
            Stage::Configuring(state) => state.timeout(frame, core),
            other => Next::same(other),
        });
    }
    established(sa, core, |state, frame, core| state.timeout(frame, core));
    let Body::V1(state) = &mut sa.body else { return };
    if state.orphaned().is_some() {
        return Orphaned::timeout(&mut sa.frame, core);
    }
    let half_open = sa.frame.created.after(core.settings.half_open);
    if !sa.frame.initiator && state.is_opening() && half_open <= now {
        sa.frame.report(core, Event::HalfOpenExpired { unmet: None });
        drop_sa(sa, core, Gone::Failed);
    }
}

/// The kernel reserved an SPI, or did not. Gives it back if nobody wants it any more.
pub fn reserved(
    sa: &mut Sa,
    core: &mut Core,
    negotiation: Negotiation,
    protocol: SaProtocol,
    spi: Option<EspSpi>,
) -> Option<EspSpi> {
    let mut unwanted = spi;
    if let Negotiation::Exchange(id) = negotiation {
        established(sa, core, |state, frame, core| {
            unwanted = state.reserved(frame, core, id, protocol, spi);
        });
    }
    unwanted
}

/// The kernel reserved a CPI, or did not. Gives it back if nobody wants it any more.
pub fn compresses(
    sa: &mut Sa,
    core: &mut Core,
    negotiation: Negotiation,
    answer: KernelAnswer,
) -> Option<Cpi> {
    let mut unwanted = match &answer {
        KernelAnswer::Cpi(cpi) => Some(*cpi),
        _ => None,
    };
    if let Negotiation::Exchange(id) = negotiation {
        established(sa, core, |state, frame, core| {
            unwanted = state.compresses(frame, core, id, answer);
        });
    }
    unwanted
}

/// The kernel answered a request about a part of a child.
pub fn installed(sa: &mut Sa, core: &mut Core, id: ChildId, part: Part, answer: KernelAnswer) {
    if part == Part::Counters {
        let counters = match answer {
            KernelAnswer::Counters(counters) => Some(counters),
            _ => None,
        };
        return established(sa, core, |state, frame, core| {
            state.counted(frame, core, id, counters);
        });
    }
    if let Part::Move(direction, old, _) = part {
        return established(sa, core, |state, frame, core| {
            state.moved(frame, core, id, (direction, old), &answer);
        });
    }
    let failed = sa.frame.kernel_failed(core, id, part, answer).map(|_| part);
    let child = sa.frame.children.iter_mut().find(|child| child.id == id);
    let Some(child) = child else { return };
    child.pending = child.pending.saturating_sub(1);
    established(sa, core, |state, frame, core| state.installed(frame, core, id, failed));
}

/// What a payload list begins with, as a message of phase 2 that was opened has it.
fn with_hash(mut payloads: Vec<Payload>) -> Vec<Payload> {
    payloads.insert(0, Payload::Hash(Vec::new()));
    debug_assert_eq!(payloads[0].payload_type(), PayloadType::HASH);
    payloads
}
