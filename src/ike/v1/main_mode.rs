//! Main Mode (RFC 2409 §5): six messages, identities encrypted.
//!
//! ```text
//! AwaitSa        -- SA, VID -->                       (first)
//!                <-- SA, VID --                       AwaitKe
//! AwaitKe        -- KE, Ni, NAT-D -->
//!                <-- KE, Nr, NAT-D --                 AwaitProof
//! AwaitProof     -- {IDii, HASH_I or SIG_I} -->
//!                <-- {IDir, HASH_R or SIG_R} --       Established
//! Established
//! ```

use super::encryption::{self, Own};
use super::message::send_clear;
use super::offer::Phase1Choice;
use super::phase1::{
    Exchanged, NONCE_LEN, Opening, abilities, certificate_requests, chosen, detect, fail, float,
    nat_d, own_id,
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

/// An initiator that sent its proposals.
#[derive(Debug)]
pub struct AwaitSa {
    /// What it offered.
    pub offered: Sa,
}

/// Proposals are agreed on. An initiator sent its public value; a responder waits for one.
pub struct AwaitKe {
    opening: Opening,
    /// The initiator's half.
    own: Option<Own>,
}

impl std::fmt::Debug for AwaitKe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AwaitKe").field("opening", &self.opening).finish_non_exhaustive()
    }
}

impl AwaitSa {
    /// The responder chose.
    pub fn answer(self: Box<Self>, frame: &mut Frame, core: &mut Core, came: Came<'_>) -> Next {
        let bag = match came.sorted(Message::MainSa) {
            Ok(bag) => bag,
            Err(why) => return came.drop(frame, core, Stage::AwaitSa(self), why),
        };
        let choice = match chosen(frame, &came, &bag, &self.offered) {
            Ok(choice) => choice,
            Err(what) => return fail(frame, core, Event::Misbehaved { what }),
        };
        let kex = match KeyExchange::generate(choice.suite.group, &mut *core.random) {
            Ok(kex) => kex,
            Err(error) => {
                return fail(frame, core, Event::Internal { what: error.to_string() });
            }
        };
        let sa = Payload::Sa(self.offered).body();
        let opening = Opening {
            mode: conf::Phase1::Main,
            choice,
            sa,
            abilities: abilities(frame, core, &bag),
        };
        let nonce = Secret::new(core.octets(NONCE_LEN));
        if opening.choice.method.layout != Layout::Plain {
            return encryption::third(frame, core, opening, (kex, nonce));
        }
        let shown = Nonce(nonce.octets().to_vec());
        let mut payloads = vec![Payload::Ke(kex.public().to_vec()), Payload::Nonce(shown)];
        payloads.extend(certificate_requests(frame, core, &opening.choice.method));
        payloads.extend(nat_d(frame, &opening));
        let octets = send_clear(frame, core, ExchangeType::IDENTITY_PROTECTION, &payloads);
        let stage = Stage::AwaitKe(Box::new(AwaitKe { opening, own: Some((kex, nonce)) }));
        Next::sent(stage, octets)
    }
}

/// A responder takes a first message: proposals are agreed on.
pub fn respond(
    frame: &mut Frame,
    core: &mut Core,
    (choice, sa): (Phase1Choice, Vec<u8>),
    bag: &Bag,
) -> Next {
    let mut payloads = vec![Payload::Sa(choice.answer.clone())];
    payloads.extend(super::phase1::vendors(core, &frame.policy));
    let octets = send_clear(frame, core, ExchangeType::IDENTITY_PROTECTION, &payloads);
    let opening =
        Opening { mode: conf::Phase1::Main, choice, sa, abilities: abilities(frame, core, bag) };
    let stage = Stage::AwaitKe(Box::new(AwaitKe { opening, own: None }));
    Next::sent(stage, octets)
}

impl AwaitKe {
    /// An initiator sent its public value.
    pub fn initiators(opening: Opening, own: Own) -> Stage {
        Stage::AwaitKe(Box::new(Self { opening, own: Some(own) }))
    }

    /// The message that it waits for.
    pub fn awaited(&self) -> Message {
        Message::MainKe(self.opening.choice.method.layout)
    }

    /// The peer's public value came.
    pub fn exchange(self: Box<Self>, frame: &mut Frame, core: &mut Core, came: Came<'_>) -> Next {
        let mut bag = match came.sorted(self.awaited()) {
            Ok(bag) => bag,
            Err(why) => return came.drop(frame, core, Stage::AwaitKe(self), why),
        };
        if self.opening.choice.method.layout != Layout::Plain {
            let open = match pke::sealed(self.opening.choice.method.layout, &bag) {
                Ok(open) => open,
                Err(why) => return came.drop(frame, core, Stage::AwaitKe(self), why),
            };
            let Self { opening, own } = *self;
            detect(frame, core, &opening, &bag);
            return encryption::open(frame, core, opening, own, (bag, open));
        }
        let (Some(ke), Some(nonce)) = (bag.ke.take(), bag.nonce.take()) else {
            return came.drop(frame, core, Stage::AwaitKe(self), "no key exchange".into());
        };
        let Self { opening, own } = *self;
        detect(frame, core, &opening, &bag);
        let own = own.map_or_else(
            || {
                let group = opening.choice.suite.group;
                let kex = KeyExchange::generate(group, &mut *core.random);
                let kex = kex.map_err(|error| error.to_string())?;
                Ok::<_, String>((kex, Secret::new(core.octets(NONCE_LEN))))
            },
            Ok,
        );
        let agreed = own.and_then(|(kex, own)| {
            Exchanged::new(frame.initiator, kex, own, (ke, Secret::new(nonce)))
        });
        match agreed {
            Ok(agreed) => exchanged(frame, core, opening, agreed, bag),
            Err(what) => fail(frame, core, Event::Misbehaved { what }),
        }
    }
}

/// There are keys: the responder sends its public value, the initiator its proof.
pub fn keyed(frame: &mut Frame, core: &mut Core, ready: Box<Ready>) -> Next {
    if frame.initiator {
        float(frame, core, &ready.opening);
        return ready.prove(frame, core);
    }
    if ready.opening.choice.method.layout != Layout::Plain {
        return encryption::answer(frame, core, ready, None);
    }
    let shown = Nonce(ready.nonce.octets().to_vec());
    let mut payloads = vec![Payload::Ke(ready.publics.1.clone()), Payload::Nonce(shown)];
    payloads.extend(certificate_requests(frame, core, &ready.opening.choice.method));
    payloads.extend(nat_d(frame, &ready.opening));
    let octets = send_clear(frame, core, ExchangeType::IDENTITY_PROTECTION, &payloads);
    Next::sent(Stage::AwaitProof(ready), octets)
}

/// Our proof goes out.
pub fn prove(
    frame: &mut Frame,
    core: &mut Core,
    mut ready: Box<Ready>,
    proof: Payload,
    certs: Vec<Payload>,
) -> Next {
    // Under public key encryption identities are told by now.
    let told = ready.opening.choice.method.layout != Layout::Plain;
    let id = (!told).then(|| Payload::Id(own_id(frame)));
    let mut payloads: Vec<_> = id.into_iter().chain(certs).collect();
    payloads.push(proof);
    if frame.initiator {
        payloads.extend(ready.initial_contact(frame));
    }
    let Some(octets) = ready.send(frame, core, &payloads) else { return Stage::Gone.into() };
    let next = match frame.initiator {
        true => Stage::AwaitProof(ready).into(),
        false => ready.established(frame, core),
    };
    Next::sent(next.stage, octets)
}

/// The message with the peer's proof came.
pub fn proof(mut ready: Box<Ready>, frame: &mut Frame, core: &mut Core, came: &Came<'_>) -> Next {
    let Some(plain) = ready.open(frame, core, came.header, came.datagram) else {
        return Next::same(Stage::AwaitProof(ready));
    };
    let method = ready.opening.choice.method;
    let by = method.proof(!frame.initiator);
    let bag = match sort(Message::MainAuth(method.layout, by), plain.payloads) {
        Ok(bag) => bag,
        Err(what) => {
            frame.report(core, Event::Misbehaved { what });
            return Next::same(Stage::AwaitProof(ready));
        }
    };
    ready.iv = plain.next;
    // The peer may have moved to the other port; who can encrypt took part in the key exchange.
    (frame.local, frame.remote) = (came.local, came.remote);
    ready.judge(frame, core, bag)
}
