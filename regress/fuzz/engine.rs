//! Two engines on a network that mutates, and a peer with the right keys that talks nonsense.
//!
//! Never a panic, never a loop; an SA that stands survives what it cannot authenticate; the kernels are
//! empty in the end.

use crate::insider::*;
use crate::pair::*;
use oakd::crypto::{Random, SeededRandom};
use oakd::ike::event::{Expire, Input};
use oakd::ike::proposal::{self, Kind};
use oakd::wire::iana::v2::{ExchangeType, GroupId, NotifyType, ProtocolId};
use oakd::wire::v2::*;
use oakd::wire::{EspSpi, IkeSpi, Spi};

const ROUNDS: u64 = 150;

/// Changes, cuts, lengthens or doubles some octets.
pub fn mutate(octets: &[u8], random: &mut SeededRandom) -> Vec<u8> {
    let mut octets = octets.to_vec();
    for _ in 0..=random.below(3) {
        let len = octets.len().max(1) as u64;
        let at = random.below(len) as usize;
        match random.below(6) {
            0 => octets.truncate(at),
            1 => octets.insert(at.min(octets.len()), random.below(256) as u8),
            2 if at < octets.len() => drop(octets.remove(at)),
            3 if at < octets.len() => octets[at] ^= 1 << random.below(8),
            4 if at + 1 < octets.len() => octets[at..at + 2].fill(0xff),
            _ if at < octets.len() => octets[at] = random.below(256) as u8,
            _ => (),
        }
    }
    octets
}

#[test]
fn what_a_mutating_network_delivers_is_survived() {
    for seed in 0..ROUNDS {
        let mut random = SeededRandom::new(seed);
        let mut pair = Pair::with(oakd::ike::Settings::default(), seed);
        pair.network = Box::new(move |_, datagram| match random.below(3) {
            0 => Fate::Instead(mutate(&datagram.octets, &mut random)),
            _ => Fate::Deliver,
        });
        pair.configure(B, vec![policy(B)]);
        pair.configure(A, vec![policy(A)]);
        pair.pass(60);
        pair.network = Box::new(|_, _| Fate::Deliver);
        pair.pass(200).assert_up();
        pair.end();
    }
}

#[test]
fn an_established_sa_does_not_care_for_forgeries() {
    for seed in 0..ROUNDS {
        let mut random = SeededRandom::new(seed);
        let mut pair = Pair::plain();
        let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let tap = seen.clone();
        pair.network = Box::new(move |_, datagram| {
            tap.borrow_mut().push(datagram.clone());
            Fate::Deliver
        });
        pair.pass(1);
        pair.expire(A, false);
        pair.pass(1).assert_up();
        let before = pair.inbound(A);
        for datagram in seen.borrow().iter() {
            let octets = mutate(&datagram.octets, &mut random);
            if octets == datagram.octets {
                continue;
            }
            let (local, remote) = (datagram.local, datagram.remote);
            pair.flying.push(Datagram { octets, at: pair.now, local, remote, to: datagram.to });
        }
        pair.pass(1).assert_children(1);
        pair.pass(60).assert_up();
        assert_eq!(pair.inbound(A), before);
        let key = pair.inbound(B);
        pair.input(B, Input::Expire(Expire { key, hard: false }));
        pair.pass(1).assert_up();
        pair.end();
    }
}

/// Mutates the octets of payloads and reads back what still parses.
fn twist(payloads: &[Payload], random: &mut SeededRandom) -> Vec<Payload> {
    for _ in 0..20 {
        let (first, octets) = emit_payloads(payloads);
        if let Ok(twisted) = parse_payloads(first, &mutate(&octets, random)) {
            return twisted;
        }
    }
    payloads.to_vec()
}

#[test]
fn an_insider_may_say_anything() {
    for seed in 0..ROUNDS * 2 {
        let mut pair = Pair::with(oakd::ike::Settings::default(), seed);
        pair.configure(B, vec![policy(B)]);
        pair.sides[A].dead = true;
        let (mut insider, proofs, request, nr) = Insider::open(&mut pair, seed);
        let octets = own_octets(&proofs, &request, &nr);
        let mut good = auth_payloads(octets);
        if seed % 2 == 0 {
            good = twist(&good, &mut insider.random);
        }
        insider.say(&mut pair, ExchangeType::IKE_AUTH, &good);
        let esp = ProtocolId::ESP;
        let spis = vec![EspSpi(0x9999), EspSpi(1)];
        let texts = [
            vec![Payload::Delete(Delete::Child { protocol: esp, spis })],
            vec![Payload::Notify(Notify::new(NotifyType::INVALID_SPI))],
            {
                let mut child = auth_payloads(Vec::new());
                child.drain(..2);
                child.push(Payload::Nonce(Nonce(vec![1; 32])));
                let rekeys = Notify::about_child(NotifyType::REKEY_SA, esp, EspSpi(0x9999));
                child.push(Payload::Notify(rekeys));
                child
            },
            {
                let spi = Spi::Ike(IkeSpi([9; 8]));
                let offered = proposal::offer(&policy(A).ike_proposals, Kind::Ike, &spi);
                let data = vec![9; 32];
                vec![
                    Payload::Sa(Sa { proposals: offered }),
                    Payload::Nonce(Nonce(vec![2; 32])),
                    Payload::Ke(Ke { group: GroupId::CURVE25519, data }),
                ]
            },
        ];
        for _ in 0..6 {
            let text = &texts[insider.random.below(4) as usize];
            let text = twist(text, &mut insider.random);
            let exchange = match insider.random.below(5) {
                0 | 1 => ExchangeType::CREATE_CHILD_SA,
                2 => ExchangeType::INFORMATIONAL,
                3 => ExchangeType::IKE_AUTH,
                _ => ExchangeType(insider.random.below(256) as u8),
            };
            insider.say(&mut pair, exchange, &text);
        }
        pair.end();
    }
}

#[test]
fn an_insider_that_behaves_is_served() {
    let mut pair = Pair::plain();
    pair.sides[A].dead = true;
    pair.flying.clear();
    let (mut insider, proofs, request, nr) = Insider::open(&mut pair, 1);
    let octets = own_octets(&proofs, &request, &nr);
    let answer = insider.say(&mut pair, ExchangeType::IKE_AUTH, &auth_payloads(octets)).unwrap();
    assert!(answer.iter().any(|payload| matches!(payload, Payload::Sa(_))));
    assert_eq!(pair.sides[B].kernel.sas.len(), 2);
    let answer = insider.say(&mut pair, ExchangeType::INFORMATIONAL, &[]).unwrap();
    assert!(answer.is_empty());
    pair.end();
}
