//! Phase 1 by public key encryption, plain and revised (RFC 2409 §5.2, §5.3): the holder of the keys encrypts
//! for the peer and decrypts what the peer says; [`pke`] has the payloads.
//!
//! ```text
//! AwaitSealed (ca)  -- [SA,] KE, <IDii>, <Ni> -->    AwaitOpened (ca), SKEYID
//! AwaitKe, AwaitAnswer                               AwaitSealed (ca)
//! AwaitOpened (ca)  <-- KE, <IDir>, <Nr> --          AwaitProof
//! ```
//!
//! What does not decrypt goes the way of what does: it is noise, nobody has said it, and the exchange
//! fails where it fails for a nonce that the peer does not know.

use super::keys::Cookies;
use super::message::send_clear;
use super::method::Method;
use super::offer;
use super::phase1::{
    Exchanged, NONCE_LEN, Opening, cookies, exchange, fail, nat_d, own_id, vendors,
};
use super::pke::{self, Ephemeral, Inside};
use super::proof::{Ready, exchanged, refused};
use super::rules::{Bag, Method as Layout};
use super::state::{Next, Stage};
use super::{aggressive, main_mode};
use crate::conf;
use crate::crypto::{Error, IkeSuite, KeyExchange, Secret};
use crate::ike::auth::{Answer, Open, Question, QuestionId, Seal, Sealed};
use crate::ike::core::Core;
use crate::ike::frame::Frame;
use crate::ike::id;
use crate::ike::report::Event;
use crate::wire::iana::v1::CertEncoding;
use crate::wire::v1::{Cert, Payload, Sa};

/// Our half of the key exchange, and our nonce.
pub type Own = (KeyExchange, Secret);

/// The holder of the keys is asked to encrypt for the peer.
pub struct AwaitSealed {
    /// What was asked.
    pub(super) question: QuestionId,
    suite: IkeSuite,
    layout: Layout,
    inside: Inside,
    then: Then,
}

/// What is sent with it.
enum Then {
    /// The first message of Aggressive Mode.
    First(Sa, Method, Own),
    /// The third of Main Mode.
    Third(Opening, Own),
    /// A responder's; in Aggressive Mode with its proof.
    Answer(Box<Ready>, Option<Payload>),
}

/// The holder of the keys is asked to decrypt what the peer says.
pub struct AwaitOpened {
    /// What was asked.
    pub(super) question: QuestionId,
    opening: Opening,
    own: Option<Own>,
    bag: Bag,
}

impl std::fmt::Debug for AwaitSealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AwaitSealed").field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for AwaitOpened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AwaitOpened").field("opening", &self.opening).finish_non_exhaustive()
    }
}

/// An initiator of Aggressive Mode begins. In the revised way nothing is negotiated: the keys of its first
/// message are made by what it offers, which is one transform (§5.3).
pub fn first(frame: &Frame, core: &mut Core, mut offered: Sa, method: Method, own: Own) -> Next {
    if method.layout == Layout::Revised {
        offered.proposals.iter_mut().for_each(|proposal| proposal.transforms.truncate(1));
    }
    let single = Sa {
        proposals: offered
            .proposals
            .iter()
            .take(1)
            .cloned()
            .map(|mut proposal| {
                proposal.transforms.truncate(1);
                proposal
            })
            .collect(),
    };
    match offer::accept_phase1(&offered, &single) {
        Ok(choice) => {
            let inside = inside(frame, &own);
            seal(
                frame,
                core,
                (choice.suite, method.layout),
                inside,
                Then::First(offered, method, own),
            )
        }
        Err(what) => {
            frame.report(core, Event::Internal { what });
            Stage::Gone.into()
        }
    }
}

/// An initiator of Main Mode goes on.
pub fn third(frame: &Frame, core: &mut Core, opening: Opening, own: Own) -> Next {
    let (suite, layout) = (opening.choice.suite, opening.choice.method.layout);
    let inside = inside(frame, &own);
    seal(frame, core, (suite, layout), inside, Then::Third(opening, own))
}

/// A responder answers, in Aggressive Mode with its proof.
pub fn answer(
    frame: &mut Frame,
    core: &mut Core,
    ready: Box<Ready>,
    proof: Option<Payload>,
) -> Next {
    if let Some(event) = ready.is_refused(frame, core) {
        return fail(frame, core, event);
    }
    let (suite, layout) = (ready.opening.choice.suite, ready.opening.choice.method.layout);
    let (ke, nonce) = (ready.publics.1.clone(), ready.nonce.clone());
    let inside = Inside { ke, id: own_id(frame).body(), nonce, cert: None };
    seal(frame, core, (suite, layout), inside, Then::Answer(ready, proof))
}

fn inside(frame: &Frame, own: &Own) -> Inside {
    let (ke, nonce) = (own.0.public().to_vec(), own.1.clone());
    Inside { ke, id: own_id(frame).body(), nonce, cert: None }
}

fn seal(
    frame: &Frame,
    core: &mut Core,
    (suite, layout): (IkeSuite, Layout),
    inside: Inside,
    then: Then,
) -> Next {
    let said = match &then {
        Then::Answer(ready, _) => ready.peer_id(),
        _ => None,
    };
    let expected = said.or_else(|| id::expected(&frame.policy));
    let peer = expected.unwrap_or_else(|| id::of_address(frame.remote.ip()));
    let certs = match &then {
        Then::Answer(ready, _) => ready.certs.clone(),
        _ => Vec::new(),
    };
    // Only there is a place for it, and only the initiator's is told (§5.3).
    let tells = frame.initiator && layout == Layout::Revised;
    let own = tells.then(|| id::to_identity(&id::ours(&frame.policy, frame.local.ip())));
    let plain = pke::plain(layout, &inside);
    let seal = Seal { identity: id::to_identity(&peer), certs, plain, own };
    let question = core.ask(frame.id, Question::Seal(Box::new(seal)));
    Stage::AwaitSealed(Box::new(AwaitSealed { question, suite, layout, inside, then })).into()
}

/// The keys of what one side says under the revised method.
fn ephemeral(frame: &Frame, suite: &IkeSuite, initiators: bool) -> Result<Ephemeral, Error> {
    let Cookies(initiator, responder) = cookies(frame);
    let cookie = if initiators { initiator } else { responder };
    Ok(Ephemeral { prf: suite.prf()?, block: suite.block()?, cookie })
}

impl AwaitSealed {
    /// The holder of the keys answered: the message goes out.
    pub fn answer(mut self: Box<Self>, frame: &mut Frame, core: &mut Core, answer: Answer) -> Next {
        let Sealed { sealed, key_hash, own } = match answer {
            Answer::Sealed(sealed) => *sealed,
            other => return fail(frame, core, refused(other)),
        };
        // Only the initiator says which key it took.
        let hash = key_hash.filter(|_| frame.initiator);
        let encoding = CertEncoding::X509_KEY_EXCHANGE;
        self.inside.cert = own.map(|data| Payload::Cert(Cert { encoding, data }).body());
        let assembled = ephemeral(frame, &self.suite, frame.initiator)
            .and_then(|with| pke::assemble(self.layout, with, &self.inside, sealed, hash));
        let payloads = match assembled {
            Ok(payloads) => payloads,
            Err(error) => return fail(frame, core, Event::Internal { what: error.to_string() }),
        };
        self.send(frame, core, payloads)
    }

    fn send(self: Box<Self>, frame: &mut Frame, core: &mut Core, payloads: Vec<Payload>) -> Next {
        let (mode, before, after) = match &self.then {
            Then::First(offered, ..) => {
                let vendors = vendors(core, &frame.policy).collect();
                (conf::Phase1::Aggressive, Some(offered.clone()), vendors)
            }
            Then::Third(opening, _) => (opening.mode, None, nat_d(frame, opening)),
            Then::Answer(ready, None) => (ready.opening.mode, None, nat_d(frame, &ready.opening)),
            Then::Answer(ready, Some(proof)) => {
                let mut after = vec![proof.clone()];
                after.extend(vendors(core, &frame.policy));
                after.extend(nat_d(frame, &ready.opening));
                (ready.opening.mode, Some(ready.opening.choice.answer.clone()), after)
            }
        };
        let all = before.map(Payload::Sa).into_iter().chain(payloads).chain(after);
        let octets = send_clear(frame, core, exchange(mode), &all.collect::<Vec<_>>());
        let stage = match self.then {
            Then::First(offered, method, own) => {
                let state = aggressive::AwaitAnswer { offered, method, own };
                Stage::AwaitAnswer(Box::new(state))
            }
            Then::Third(opening, own) => main_mode::AwaitKe::initiators(opening, own),
            Then::Answer(ready, _) => Stage::AwaitProof(ready),
        };
        Next::sent(stage, octets)
    }
}

/// What the peer says came, sorted; the holder of the keys is to decrypt it: `open`, by [`pke::sealed`].
pub fn open(
    frame: &Frame,
    core: &mut Core,
    opening: Opening,
    own: Option<Own>,
    (bag, mut open): (Bag, Open),
) -> Next {
    if frame.initiator {
        // The hash there is the responder's proof.
        open.key_hash = None;
    }
    let question = core.ask(frame.id, Question::Open(Box::new(open)));
    Stage::AwaitOpened(Box::new(AwaitOpened { question, opening, own, bag })).into()
}

impl AwaitOpened {
    /// The holder of the keys answered. Nothing here may depend on whether it could decrypt.
    pub fn answer(self: Box<Self>, frame: &mut Frame, core: &mut Core, answer: Answer) -> Next {
        let opened = match answer {
            Answer::Opened(opened) => opened,
            other => return fail(frame, core, refused(other)),
        };
        let Self { opening, own, mut bag, .. } = *self;
        let (suite, layout) = (&opening.choice.suite, opening.choice.method.layout);
        let read = ephemeral(frame, suite, !frame.initiator)
            .and_then(|with| pke::read(layout, with, &bag, opened));
        let own = own.map_or_else(
            || {
                let kex = KeyExchange::generate(suite.group, &mut *core.random)?;
                Ok::<_, Error>((kex, Secret::new(core.octets(NONCE_LEN))))
            },
            Ok,
        );
        let (inside, (kex, own)) = match read.and_then(|read| Ok((read, own?))) {
            Ok(both) => both,
            Err(error) => return fail(frame, core, Event::Internal { what: error.to_string() }),
        };
        bag.ids = inside.identity().into_iter().collect();
        bag.certs = inside.certificate().into_iter().collect();
        let peers = (inside.ke, inside.nonce);
        match Exchanged::new(frame.initiator, kex, own, peers) {
            Ok(agreed) if !bag.ids.is_empty() => exchanged(frame, core, opening, agreed, bag),
            _ => {
                let what = "what it encrypted for us says nothing that makes sense: another key \
                            than ours, or noise"
                    .into();
                fail(frame, core, Event::Misbehaved { what })
            }
        }
    }
}
