//! Side A played by hand: a peer with the right keys that may say anything.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use crate::pair::*;
use oakd::crypto::{KeyExchange, Prf, Random, Secret, SeededRandom, psk_auth};
use oakd::ike::event::Input;
use oakd::ike::frame::Frame;
use oakd::ike::proposal::{self, Kind};
use oakd::ike::table::SaId;
use oakd::ike::v2::{keys, seal};
use oakd::wire::iana::v2::{AuthMethod, ExchangeType, GroupId};
use oakd::wire::v2::*;
use oakd::wire::{EspSpi, Flags, Header, IkeSpi, MessageId, Spi};
use std::sync::Arc;

/// Side A played by hand: it has the right key and may say anything.
pub struct Insider {
    pub frame: Frame,
    pub protection: keys::Protection,
    pub random: SeededRandom,
    pub next: u32,
}

impl Insider {
    /// Does IKE_SA_INIT with side B; gives back what AUTH is made of.
    pub fn open(pair: &mut Pair, seed: u64) -> (Self, keys::ProofKeys, Vec<u8>, Vec<u8>) {
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

    /// Sends payloads under the right keys and opens the answer.
    pub fn say(
        &mut self,
        pair: &mut Pair,
        exchange: ExchangeType,
        payloads: &[Payload],
    ) -> Option<Vec<Payload>> {
        let header = seal::header(&self.frame, exchange, false, MessageId(self.next));
        self.next += 1;
        let sealed = seal::seal(&mut self.protection, &header, payloads, None, &mut self.random);
        let answer = exchange_with_b(pair, &sealed.unwrap())?;
        let header = Header::parse(&answer).unwrap();
        seal::open(&self.protection, &header, &answer).ok()
    }
}

impl Insider {
    /// Does IKE_SA_INIT and IKE_AUTH with side B, honestly; the policy's child SA stands then.
    pub fn established(pair: &mut Pair, extra: &[Payload]) -> Self {
        let (mut insider, proofs, request, nr) = Self::open(pair, 1);
        let mut payloads = auth_payloads(own_octets(&proofs, &request, &nr));
        payloads.extend_from_slice(extra);
        insider.say(pair, ExchangeType::IKE_AUTH, &payloads).expect("an IKE_AUTH answer");
        insider
    }

    /// The requests that side B has sent.
    pub fn hears(&mut self, pair: &mut Pair) -> Vec<(Header, Vec<Payload>)> {
        let flying = std::mem::take(&mut pair.flying).into_iter();
        let headed = flying.map(|it| (Header::parse(&it.octets).unwrap(), it.octets));
        let requests = headed.filter(|(header, _)| !header.is_response());
        let opened = requests.map(|(header, octets)| {
            let payloads = seal::open(&self.protection, &header, &octets).expect("ours");
            (header, payloads)
        });
        opened.collect()
    }

    /// Answers a request of side B.
    pub fn answer(&mut self, pair: &mut Pair, request: &Header, payloads: &[Payload]) {
        let (exchange, id) = (request.exchange, request.message_id);
        let header = seal::header(&self.frame, exchange, true, id);
        let sealed = seal::seal(&mut self.protection, &header, payloads, None, &mut self.random);
        let (local, remote) = (pair.sides[B].address, pair.sides[A].address);
        let octets = sealed.unwrap();
        pair.input(B, Input::Datagram { local, remote, octets: &octets });
    }
}

/// Hands a datagram to side B and takes its answer.
pub fn exchange_with_b(pair: &mut Pair, octets: &[u8]) -> Option<Vec<u8>> {
    let (local, remote) = (pair.sides[B].address, pair.sides[A].address);
    pair.flying.clear();
    pair.input(B, Input::Datagram { local, remote, octets });
    pair.flying.pop().map(|datagram| datagram.octets)
}

/// The octets that its AUTH is computed over.
pub fn own_octets(proofs: &keys::ProofKeys, request: &[u8], nr: &[u8]) -> Vec<u8> {
    let body = oakd::ike::id::ours(&policy(A), ip("192.0.2.1")).body();
    let prf = Prf::new(policy(A).ike_proposals[0].prf[0]).unwrap();
    keys::proof_octets(prf, &proofs.initiator, request, nr, &body)
}

/// The payloads of an IKE_AUTH request, the AUTH over these octets.
pub fn auth_payloads(octets: Vec<u8>) -> Vec<Payload> {
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
