//! Aggressive Mode (RFC 2409 §5): three messages, identities in clear.
//!
//! ```text
//! AwaitAnswer    -- SA, KE, Ni, IDii, VID -->             (first)
//!                <-- SA, KE, Nr, IDir, HASH_R, NAT-D --   AwaitProof
//!                -- {HASH_I, NAT-D} -->                   Established
//! Established
//! ```
//!
//! The responder's hash shows whoever asks something to guess the pre-shared key from; a policy has
//! to name this mode.

use super::encryption::{self, Own};
use super::message::{is_encrypted, send_clear};
use super::method::Method;
use super::offer::Phase1Choice;
use super::phase1::{
    Exchanged, NONCE_LEN, Opening, abilities, certificate_requests, chosen, detect, fail, float,
    nat_d, own_id, vendors,
};
use super::pke;
use super::proof::{Ready, exchanged};
use super::rules::{Bag, Message, Method as Layout, sort};
use super::{Came, Next, Stage};
use crate::conf;
use crate::crypto::{KeyExchange, Secret};
use crate::ike::core::Core;
use crate::ike::frame::Frame;
use crate::ike::report::Event;
use crate::wire::iana::v1::ExchangeType;
use crate::wire::v1::{Nonce, Payload, Sa};

/// An initiator that sent everything at once.
pub struct AwaitAnswer {
    /// What it offered.
    pub offered: Sa,
    /// How it will prove who it is.
    pub method: Method,
    /// Its half of the key exchange, and its nonce.
    pub own: Own,
}

impl std::fmt::Debug for AwaitAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AwaitAnswer").field("method", &self.method).finish_non_exhaustive()
    }
}

/// The first message of an initiator.
pub fn first(frame: &Frame, core: &mut Core, offered: Sa, method: Method, own: Own) -> Next {
    let mut payloads = vec![
        Payload::Sa(offered.clone()),
        Payload::Ke(own.0.public().to_vec()),
        Payload::Nonce(Nonce(own.1.octets().to_vec())),
        Payload::Id(own_id(frame)),
    ];
    payloads.extend(certificate_requests(frame, core, &method));
    payloads.extend(vendors(core, &frame.policy));
    let octets = send_clear(frame, core, ExchangeType::AGGRESSIVE, &payloads);
    Next::sent(Stage::AwaitAnswer(Box::new(AwaitAnswer { offered, method, own })), octets)
}

impl AwaitAnswer {
    /// The message that it waits for.
    pub fn awaited(&self) -> Message {
        Message::AggressiveSecond(self.method.layout, self.method.proof(false))
    }

    /// The responder answered, with its proof.
    pub fn answer(self: Box<Self>, frame: &mut Frame, core: &mut Core, came: Came<'_>) -> Next {
        let bag = match came.sorted(self.awaited()) {
            Ok(bag) => bag,
            Err(why) => return came.drop(frame, core, Stage::AwaitAnswer(self), why),
        };
        let choice = match chosen(frame, &came, &bag, &self.offered) {
            Ok(choice) if choice.suite.group == self.own.0.group() => choice,
            Ok(_) => {
                let what = "another group than that of the public values".into();
                return fail(frame, core, Event::Misbehaved { what });
            }
            Err(what) => return fail(frame, core, Event::Misbehaved { what }),
        };
        let Self { offered, own: (kex, nonce), .. } = *self;
        let mode = conf::Phase1::Aggressive;
        let sa = Payload::Sa(offered).body();
        let opening = Opening { mode, choice, sa, abilities: abilities(frame, core, &bag) };
        detect(frame, core, &opening, &bag);
        if opening.choice.method.layout != Layout::Plain {
            return open(frame, core, opening, Some((kex, nonce)), bag);
        }
        go_on(frame, core, opening, (kex, nonce), bag)
    }
}

/// A responder takes a first message: everything for the keys is there.
pub fn respond(
    frame: &mut Frame,
    core: &mut Core,
    (choice, sa): (Phase1Choice, Vec<u8>),
    bag: Bag,
) -> Next {
    if choice.method.layout != Layout::Plain {
        let mode = conf::Phase1::Aggressive;
        let opening = Opening { mode, choice, sa, abilities: abilities(frame, core, &bag) };
        return open(frame, core, opening, None, bag);
    }
    let group = choice.suite.group;
    let kex = match KeyExchange::generate(group, &mut *core.random) {
        Ok(kex) => kex,
        Err(error) => return fail(frame, core, Event::Internal { what: error.to_string() }),
    };
    let mode = conf::Phase1::Aggressive;
    let opening = Opening { mode, choice, sa, abilities: abilities(frame, core, &bag) };
    let nonce = Secret::new(core.octets(NONCE_LEN));
    go_on(frame, core, opening, (kex, nonce), bag)
}

/// What is encrypted is to be decrypted; the rules made sure that it is there.
fn open(frame: &mut Frame, core: &mut Core, opening: Opening, own: Option<Own>, bag: Bag) -> Next {
    match pke::sealed(opening.choice.method.layout, &bag) {
        Ok(open) => encryption::open(frame, core, opening, own, (bag, open)),
        Err(what) => fail(frame, core, Event::Misbehaved { what }),
    }
}

fn go_on(frame: &mut Frame, core: &mut Core, opening: Opening, (kex, own): Own, bag: Bag) -> Next {
    let nonce = Secret::new(bag.nonce.clone().unwrap_or_default());
    let peers = (bag.ke.clone().unwrap_or_default(), nonce);
    match Exchanged::new(frame.initiator, kex, own, peers) {
        Ok(agreed) => exchanged(frame, core, opening, agreed, bag),
        Err(what) => fail(frame, core, Event::Misbehaved { what }),
    }
}

/// There are keys: the initiator judges the answer, the responder makes it.
pub fn keyed(frame: &mut Frame, core: &mut Core, mut ready: Box<Ready>, bag: Bag) -> Next {
    if frame.initiator {
        return ready.judge(frame, core, bag);
    }
    ready.peer = bag.ids.first().cloned();
    ready.prove(frame, core)
}

/// Our proof goes out.
pub fn prove(
    frame: &mut Frame,
    core: &mut Core,
    mut ready: Box<Ready>,
    proof: Payload,
    certs: Vec<Payload>,
) -> Next {
    if frame.initiator {
        // The hashes are of the addresses as they were; the message goes by the new ones.
        let hashes = nat_d(frame, &ready.opening);
        float(frame, core, &ready.opening);
        let mut payloads = certs;
        payloads.push(proof);
        payloads.extend(hashes);
        payloads.extend(ready.initial_contact(frame));
        let Some(octets) = ready.send(frame, core, &payloads) else { return Stage::Gone.into() };
        let next = ready.established(frame, core);
        return Next::sent(next.stage, octets);
    }
    if ready.opening.choice.method.layout != Layout::Plain {
        return encryption::answer(frame, core, ready, Some(proof));
    }
    let mut payloads = vec![
        Payload::Sa(ready.opening.choice.answer.clone()),
        Payload::Ke(ready.publics.1.clone()),
        Payload::Nonce(Nonce(ready.nonce.octets().to_vec())),
        Payload::Id(own_id(frame)),
    ];
    payloads.extend(certs);
    payloads.push(proof);
    payloads.extend(certificate_requests(frame, core, &ready.opening.choice.method));
    payloads.extend(vendors(core, &frame.policy));
    payloads.extend(nat_d(frame, &ready.opening));
    let octets = send_clear(frame, core, ExchangeType::AGGRESSIVE, &payloads);
    Next::sent(Stage::AwaitProof(ready), octets)
}

/// The message with the initiator's proof came: encrypted, or in clear as RFC 2409 has it.
pub fn proof(mut ready: Box<Ready>, frame: &mut Frame, core: &mut Core, came: &Came<'_>) -> Next {
    let (payloads, iv) = match is_encrypted(came.header) {
        true => match ready.open(frame, core, came.header, came.datagram) {
            Some(plain) => (plain.payloads, plain.next),
            None => return Next::same(Stage::AwaitProof(ready)),
        },
        false => (came.payloads.clone(), ready.iv),
    };
    let method = ready.opening.choice.method;
    let by = method.proof(!frame.initiator);
    let bag = match sort(Message::AggressiveThird(by), payloads) {
        Ok(bag) => bag,
        Err(what) => {
            frame.report(core, Event::Misbehaved { what });
            return Next::same(Stage::AwaitProof(ready));
        }
    };
    ready.iv = iv;
    detect(frame, core, &ready.opening, &bag);
    (frame.local, frame.remote) = (came.local, came.remote);
    ready.judge(frame, core, bag)
}
