//! Side A played by hand in IKEv1: a peer with the right key that may say anything.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use crate::pair::*;
use oakd::conf::{Phase1 as Mode, Policy};
use oakd::crypto::{KeyExchange, Random, SeededRandom, psk_skeyid};
use oakd::ike::event::{Cpi, Input};
use oakd::ike::v1::hash::{self, Phase1};
use oakd::ike::v1::keys::{self, Cookies, Keys};
use oakd::ike::v1::method::methods;
use oakd::ike::v1::offer;
use oakd::ike::v1::protect::{self, Iv};
use oakd::wire::iana::v1::{ExchangeType, IdType};
use oakd::wire::v1::*;
use oakd::wire::{EspSpi, Flags, Header, IkeSpi, MessageId};

pub struct Insider {
    pub cookies: Cookies,
    pub keys: Keys,
    pub iv: Iv,
    random: SeededRandom,
    last_id: u32,
}

/// What side B sent since, datagram by datagram.
pub fn heard(pair: &mut Pair) -> Vec<Vec<u8>> {
    let (mine, rest) = std::mem::take(&mut pair.flying).into_iter().partition(|it| it.to == A);
    pair.flying = rest;
    let mine: Vec<Datagram> = mine;
    mine.into_iter().map(|it| it.octets).collect()
}

/// Hands side B a message.
pub fn hand(pair: &mut Pair, octets: &[u8]) {
    let (local, remote) = (pair.sides[B].address, pair.sides[A].address);
    pair.input(B, Input::Datagram { local, remote, octets });
}

impl Insider {
    /// Does Aggressive Mode with side B, which has this policy's mirror.
    pub fn open(pair: &mut Pair, policy: &Policy) -> Self {
        Self::open_with(pair, policy, 77)
    }

    /// As [`Insider::open`], with other randomness.
    pub fn open_with(pair: &mut Pair, policy: &Policy, seed: u64) -> Self {
        let offered = offer::phase1(policy, methods(policy, true)[0]);
        Self::open_offering(pair, policy, seed, offered)
    }

    /// As [`Insider::open_with`], with this offer.
    pub fn open_offering(pair: &mut Pair, policy: &Policy, seed: u64, offered: Sa) -> Self {
        assert_eq!(policy.version, oakd::conf::Version::V1(Mode::Aggressive));
        let mut random = SeededRandom::new(seed);
        let mut own = [0; 8];
        random.fill(&mut own);
        let kex = KeyExchange::generate(policy.ike_proposals[0].groups[0], &mut random).unwrap();
        let own_id = policy.local_id.clone().unwrap();
        let id = Id { id_type: IdType(own_id.id_type.0), protocol: 0, port: 0, data: own_id.data };
        let nonce = vec![9; 20];
        let payloads = [
            Payload::Sa(offered.clone()),
            Payload::Ke(kex.public().to_vec()),
            Payload::Nonce(Nonce(nonce.clone())),
            Payload::Id(id.clone()),
        ];
        let exchange = ExchangeType::AGGRESSIVE;
        let first = Header::v1(IkeSpi(own), IkeSpi::ZERO, exchange, Flags::default(), MessageId(0));
        hand(pair, &emit_message(&first, &payloads));
        let answer = heard(pair).pop().expect("an answer");
        let (header, content) = parse_message(&answer).unwrap();
        let Content::Clear(payloads) = content else { panic!("an answer in clear") };
        let (mut ke, mut nr, mut chosen) = (None, None, None);
        for payload in payloads {
            match payload {
                Payload::Ke(body) => ke = Some(body),
                Payload::Nonce(body) => nr = Some(body.0),
                Payload::Sa(sa) => chosen = Some(sa),
                _ => (),
            }
        }
        let (ke, nr) = (ke.unwrap(), nr.unwrap());
        let suite = offer::accept_phase1(&offered, &chosen.unwrap()).unwrap().suite;
        let cookies = Cookies(IkeSpi(own), header.responder);
        let own_public = kex.public().to_vec();
        let shared = kex.shared(&ke).unwrap();
        let psk = &pair.sides[B].psk;
        let skeyid = psk_skeyid(suite.prf, psk, &[&*nonce, &nr].concat()).unwrap();
        let keys = keys::derive(&suite, &skeyid, &shared, cookies).unwrap();
        let publics = (&*own_public, &*ke);
        let iv = Iv::phase1(keys.prf, keys.block, publics);
        let sa = Payload::Sa(offered).body();
        let proof = Phase1 { publics, cookies, sa: &sa };
        let proof = proof.initiator(keys.prf, &skeyid, &id.body());
        let third = Header::v1(cookies.0, cookies.1, exchange, Flags::default(), MessageId(0));
        let (octets, iv) = protect::seal(&keys, &iv, &third, &[Payload::Hash(proof)]).unwrap();
        hand(pair, &octets);
        Self { cookies, keys, iv, random, last_id: 100 }
    }

    /// Does Main Mode with side B up to B's last message, which it does not take: its chain stands before that.
    pub fn open_main(pair: &mut Pair, policy: &Policy) -> Self {
        assert_eq!(policy.version, oakd::conf::Version::V1(Mode::Main));
        let offered = offer::phase1(policy, methods(policy, true)[0]);
        let exchange = ExchangeType::IDENTITY_PROTECTION;
        let mut cookies = Cookies(IkeSpi([7; 8]), IkeSpi::ZERO);
        let mut send = |pair: &mut Pair, payloads: &[Payload]| {
            let header = Header::v1(cookies.0, cookies.1, exchange, Flags::default(), MessageId(0));
            hand(pair, &emit_message(&header, payloads));
            let (header, content) = parse_message(&heard(pair).pop().expect("an answer")).unwrap();
            cookies.1 = header.responder;
            let Content::Clear(payloads) = content else { panic!("an answer in clear") };
            payloads
        };
        let mut random = SeededRandom::new(7);
        let chosen = send(pair, &[Payload::Sa(offered.clone())]);
        let chosen = chosen.into_iter().find_map(|it| match it {
            Payload::Sa(sa) => Some(sa),
            _ => None,
        });
        let suite = offer::accept_phase1(&offered, &chosen.unwrap()).unwrap().suite;
        let kex = KeyExchange::generate(suite.group, &mut random).unwrap();
        let (own_public, nonce) = (kex.public().to_vec(), vec![9; 20]);
        let answer =
            send(pair, &[Payload::Ke(own_public.clone()), Payload::Nonce(Nonce(nonce.clone()))]);
        let (mut ke, mut nr) = (Vec::new(), Vec::new());
        for payload in answer {
            match payload {
                Payload::Ke(body) => ke = body,
                Payload::Nonce(body) => nr = body.0,
                _ => (),
            }
        }
        let shared = kex.shared(&ke).unwrap();
        let psk = &pair.sides[B].psk;
        let skeyid = psk_skeyid(suite.prf, psk, &[&*nonce, &*nr].concat()).unwrap();
        let keys = keys::derive(&suite, &skeyid, &shared, cookies).unwrap();
        let publics = (&*own_public, &*ke);
        let iv = Iv::phase1(keys.prf, keys.block, publics);
        let own_id = policy.local_id.clone().unwrap();
        let id = Id { id_type: IdType(own_id.id_type.0), protocol: 0, port: 0, data: own_id.data };
        let sa = Payload::Sa(offered).body();
        let proof = Phase1 { publics, cookies, sa: &sa };
        let proof = Payload::Hash(proof.initiator(keys.prf, &skeyid, &id.body()));
        let fifth = Header::v1(cookies.0, cookies.1, exchange, Flags::default(), MessageId(0));
        let (octets, iv) = protect::seal(&keys, &iv, &fifth, &[Payload::Id(id), proof]).unwrap();
        hand(pair, &octets);
        Self { cookies, keys, iv, random, last_id: 100 }
    }

    /// A message ID that was not used.
    pub fn fresh(&mut self) -> MessageId {
        self.last_id += 1;
        MessageId(self.last_id)
    }

    pub fn header(&self, exchange: ExchangeType, id: MessageId, flags: Flags) -> Header {
        Header::v1(self.cookies.0, self.cookies.1, exchange, flags, id)
    }

    /// Seals a message whose hash is right.
    pub fn seal(&self, header: &Header, before: &[u8], payloads: Vec<Payload>) -> (Vec<u8>, Iv) {
        let iv = self.iv.phase2(self.keys.prf, header.message_id);
        protect::seal_hashed(&self.keys, &iv, header, before, payloads).unwrap()
    }

    /// Tells B something in an informational exchange.
    pub fn tell(&mut self, pair: &mut Pair, payload: Payload) {
        let id = self.fresh();
        let header = self.header(ExchangeType::INFORMATIONAL, id, Flags::default());
        let (octets, _) = self.seal(&header, &[], vec![payload]);
        hand(pair, &octets);
    }

    /// Answers a message of B's in the same exchange.
    pub fn reply(&self, pair: &mut Pair, question: &[u8], payload: Payload) {
        let of = Header::parse(question).unwrap();
        let iv = self.iv.phase2(self.keys.prf, of.message_id);
        let next = protect::open(&self.keys, &iv, &of, &question[28..]).unwrap().next;
        let header = self.header(of.exchange_v1(), of.message_id, Flags::default());
        let (octets, _) =
            protect::seal_hashed(&self.keys, &next, &header, &[], vec![payload]).unwrap();
        hand(pair, &octets);
    }

    /// Opens what B answered in an exchange of ours, whose first message left the chain there.
    pub fn answered(&self, octets: &[u8], iv: &Iv) -> Vec<Payload> {
        let header = Header::parse(octets).unwrap();
        protect::open(&self.keys, iv, &header, &octets[28..]).unwrap().payloads
    }

    /// Opens what B sent in an exchange of its own.
    pub fn read(&self, octets: &[u8]) -> (Header, Vec<Payload>) {
        let header = Header::parse(octets).unwrap();
        let iv = self.iv.phase2(self.keys.prf, header.message_id);
        let plain = protect::open(&self.keys, &iv, &header, &octets[28..]).unwrap();
        (header, plain.payloads)
    }

    /// Begins a Quick Mode: its first message, where the cipher's chain stands, our nonce.
    pub fn quick(&mut self, policy: &Policy, spi: u32, flags: Flags) -> (Vec<u8>, Header, Iv) {
        self.offer(offered(policy, spi), flags)
    }

    /// As [`Insider::quick`], with these proposals.
    pub fn offer(&mut self, sa: Sa, flags: Flags) -> (Vec<u8>, Header, Iv) {
        let subnet = |text: &str| {
            let prefix = prefix(text);
            Payload::Id(Id::of_subnet(prefix.address(), prefix.length()))
        };
        let payloads = vec![
            Payload::Sa(sa),
            Payload::Nonce(Nonce(NONCE.to_vec())),
            subnet("10.1.0.0/24"),
            subnet("10.2.0.0/24"),
        ];
        let id = self.fresh();
        let header = self.header(ExchangeType::QUICK_MODE, id, flags);
        let (octets, iv) = self.seal(&header, &[], payloads);
        (octets, header, iv)
    }

    /// Answers a Quick Mode of B's: all that it offers, changed so.
    pub fn accept(&mut self, offer: &[u8], change: impl Fn(&mut Sa)) -> Vec<u8> {
        let of = Header::parse(offer).unwrap();
        let iv = self.iv.phase2(self.keys.prf, of.message_id);
        let plain = protect::open(&self.keys, &iv, &of, &offer[28..]).unwrap();
        let (mut payloads, mut ni) = (Vec::new(), Vec::new());
        for payload in plain.payloads {
            match payload {
                Payload::Sa(mut sa) => {
                    change(&mut sa);
                    payloads.push(Payload::Sa(sa));
                }
                Payload::Nonce(nonce) => {
                    ni = nonce.0;
                    payloads.push(Payload::Nonce(Nonce(NONCE.to_vec())));
                }
                Payload::Id(id) => payloads.push(Payload::Id(id)),
                _ => (),
            }
        }
        let header = self.header(of.exchange_v1(), of.message_id, Flags::default());
        protect::seal_hashed(&self.keys, &plain.next, &header, &ni, payloads).unwrap().0
    }

    /// Ends a Quick Mode that B answered.
    pub fn conclude(&self, header: &Header, iv: &Iv, answer: &[u8]) -> Vec<u8> {
        let of = Header::parse(answer).unwrap();
        let plain = protect::open_hashed(&self.keys, iv, &of, &answer[28..], &NONCE).unwrap();
        let nr = plain.payloads.iter().find_map(|payload| match payload {
            Payload::Nonce(nonce) => Some(nonce.0.clone()),
            _ => None,
        });
        let proof = hash::third(&self.keys, header.message_id, (&NONCE, &nr.unwrap()));
        let payloads = [Payload::Hash(proof)];
        protect::seal(&self.keys, &plain.next, header, &payloads).unwrap().0
    }
}

/// Our nonce in Quick Mode.
const NONCE: [u8; 16] = [5; 16];

/// What a side with this policy offers for phase 2: ESP, or AH alone, with this SPI, AH around ESP with
/// the next one, IPComp with the lower half as CPI.
pub fn offered(policy: &Policy, spi: u32) -> Sa {
    let wanted = offer::Wanted {
        protocol: policy.protocol,
        proposals: &policy.child_proposals,
        around: policy.around,
        ipcomp: policy.ipcomp,
        encapsulation: offer::Encapsulation { mode: policy.mode, udp: None },
    };
    let spis = offer::Spis {
        main: EspSpi(spi),
        around: policy.around.map(|_| EspSpi(spi + 1)),
        cpi: policy.ipcomp.then_some(Cpi((spi & 0xffff) as u16)),
    };
    offer::phase2(&wanted, policy.child_lifetime, &spis)
}
