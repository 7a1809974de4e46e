//! Two engines on a network that mutates, and a peer with the right keys that talks nonsense.
//!
//! Never a panic, never a loop; an SA that stands survives what it cannot authenticate; the kernels are
//! empty in the end.

use crate::pair::*;
use oakd::crypto::{KeyExchange, Prf, Random, Secret, SeededRandom, psk_auth};
use oakd::ike::event::{Expire, Input};
use oakd::ike::proposal::{self, Kind};
use oakd::ike::sa::Frame;
use oakd::ike::table::SaId;
use oakd::ike::v2::{keys, seal};
use oakd::wire::iana::v2::{AuthMethod, ExchangeType, GroupId, NotifyType, ProtocolId};
use oakd::wire::v2::*;
use oakd::wire::{EspSpi, Flags, Header, IkeSpi, MessageId, Spi};
use std::sync::Arc;

const ROUNDS: u64 = 150;

/// Changes, cuts, lengthens or doubles some octets.
fn mutate(octets: &[u8], random: &mut SeededRandom) -> Vec<u8> {
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

/// Side A played by hand: it has the right key and may say anything.
struct Insider {
    frame: Frame,
    protection: keys::Protection,
    random: SeededRandom,
    next: u32,
}

impl Insider {
    /// Does IKE_SA_INIT with side B.
    fn open(pair: &mut Pair, seed: u64) -> (Self, keys::ProofKeys, Vec<u8>, Vec<u8>) {
        let mut random = SeededRandom::new(seed + 1000);
        let mut own = [0; 8];
        random.fill(&mut own);
        let kex = KeyExchange::generate(GroupId::CURVE25519, &mut random).unwrap();
        let nonce = vec![7; 32];
        let it = policy(A);
        let offered = proposal::offer(&it.ike_proposals, Kind::Ike, &Spi::None);
        let payloads = [
            Payload::Sa(Sa { proposals: offered }),
            Payload::Ke(Ke { group: kex.group(), data: kex.public().to_vec() }),
            Payload::Nonce(Nonce(nonce.clone())),
        ];
        let (exchange, flags) = (ExchangeType::IKE_SA_INIT, Flags::v2(true, false));
        let header = Header::v2(IkeSpi(own), IkeSpi::ZERO, exchange, flags, MessageId(0));
        let request = emit_message(&header, &payloads);
        let answer = exchange_with_b(pair, &request).expect("an answer");
        let (header, payloads) = parse_message(&answer).unwrap();
        let find = |wanted: fn(&Payload) -> Option<Vec<u8>>| payloads.iter().find_map(wanted);
        let ke = find(|p| if let Payload::Ke(ke) = p { Some(ke.data.clone()) } else { None });
        let nr = find(|p| if let Payload::Nonce(n) = p { Some(n.0.clone()) } else { None });
        let (ke, nr) = (ke.unwrap(), nr.unwrap());
        let suite = oakd::crypto::IkeSuite {
            encryption: it.ike_proposals[0].encryption[0],
            integrity: None,
            prf: it.ike_proposals[0].prf[0],
            group: GroupId::CURVE25519,
        };
        let seeds = keys::Seeds { nonces: (&nonce, &nr), spis: (IkeSpi(own), header.responder) };
        let shared = kex.shared(&ke).unwrap();
        let skeyseed = keys::first_seed(&suite, &seeds, &shared).unwrap();
        let (protection, proofs) = keys::expand(suite, &skeyseed, &seeds, true).unwrap();
        let (local, remote) = (pair.sides[A].address, pair.sides[B].address);
        let id = SaId(IkeSpi(own));
        let mut frame = Frame::new(id, true, local, remote, Arc::new(it), pair.now);
        frame.peer_spi = header.responder;
        (Self { frame, protection, random, next: 1 }, proofs, request, nr)
    }

    fn say(
        &mut self,
        pair: &mut Pair,
        exchange: ExchangeType,
        payloads: &[Payload],
    ) -> Option<Vec<Payload>> {
        let header = seal::header(&self.frame, exchange, false, MessageId(self.next));
        self.next += 1;
        let sealed = seal::seal(&mut self.protection, &header, payloads, &mut self.random);
        let answer = exchange_with_b(pair, &sealed.unwrap())?;
        let header = Header::parse(&answer).unwrap();
        seal::open(&self.protection, &header, &answer).ok()
    }
}

/// Hands a datagram to side B and takes its answer.
fn exchange_with_b(pair: &mut Pair, octets: &[u8]) -> Option<Vec<u8>> {
    let (local, remote) = (pair.sides[B].address, pair.sides[A].address);
    pair.flying.clear();
    pair.input(B, Input::Datagram { local, remote, octets });
    pair.flying.pop().map(|datagram| datagram.octets)
}

fn auth_payloads(octets: Vec<u8>) -> Vec<Payload> {
    let it = policy(A);
    let id = oakd::ike::id::ours(&it, ip("192.0.2.1"));
    let auth = psk_auth(it.ike_proposals[0].prf[0], &Secret::from(&b"secret"[..]), &octets);
    let kind = Kind::FirstChild(oakd::conf::SaProtocol::Esp);
    let offered = proposal::offer(&it.child_proposals, kind, &Spi::Child(EspSpi(0x9999)));
    let ts = |range: &str| {
        let prefix = prefix(range);
        let addresses = (prefix.address(), prefix.last());
        Ts::new(vec![TrafficSelector { protocol: 0, ports: (0, 65535), addresses }])
    };
    vec![
        Payload::IdI(id),
        Payload::Auth(Auth { method: AuthMethod::SHARED_KEY_MIC, data: auth.unwrap() }),
        Payload::Sa(Sa { proposals: offered }),
        Payload::TsI(ts("10.1.0.0/24")),
        Payload::TsR(ts("10.2.0.0/24")),
    ]
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
        let body = oakd::ike::id::ours(&policy(A), ip("192.0.2.1")).body();
        let prf = Prf::new(policy(A).ike_proposals[0].prf[0]).unwrap();
        let octets = keys::proof_octets(prf, &proofs.initiator, &request, &nr, &body);
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
    let body = oakd::ike::id::ours(&policy(A), ip("192.0.2.1")).body();
    let prf = Prf::new(policy(A).ike_proposals[0].prf[0]).unwrap();
    let octets = keys::proof_octets(prf, &proofs.initiator, &request, &nr, &body);
    let answer = insider.say(&mut pair, ExchangeType::IKE_AUTH, &auth_payloads(octets)).unwrap();
    assert!(answer.iter().any(|payload| matches!(payload, Payload::Sa(_))));
    assert_eq!(pair.sides[B].kernel.sas.len(), 2);
    let answer = insider.say(&mut pair, ExchangeType::INFORMATIONAL, &[]).unwrap();
    assert!(answer.is_empty());
    pair.end();
}
