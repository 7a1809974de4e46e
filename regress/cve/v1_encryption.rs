//! Public key encryption of IKEv1 as an oracle: what the responder does with ciphertexts that are none.

use crate::certs::*;
use crate::pair::*;
use oakd::conf::*;
use oakd::crypto::Secret;
use oakd::ike::auth::{Answer, Question, Seal};
use oakd::ike::event::{Input, Time};
use oakd::pki::Keyring;
use oakd::pki::authority::NewKey;
use oakd::wire::Header;
use oakd::wire::iana::v1::{ExchangeType, PayloadType};
use oakd::wire::iana::v2::{GroupId, PrfId};
use oakd::wire::v1::{Content, Payload, emit_message, parse_closed_message};

/// What an attacker puts in place of a ciphertext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trick {
    /// Octets that do not decrypt.
    Noise,
    /// A ciphertext of PKCS #1 whose content the attacker does not know, of an ordinary length.
    WellFormed,
    /// One whose content is as short or as long as it can be.
    Short,
    Long,
}

fn policies(side: usize, mode: Phase1, proof: Ike1Proof) -> Policy {
    let mut it = Policy {
        version: Version::V1(mode),
        ike_proposals: vec![Proposal {
            prf: vec![PrfId::PRF_HMAC_SHA1],
            integrity: vec![],
            ..cbc(&[GroupId::MODP_1024])
        }],
        auth: Auth::signature(Signature::Rsa),
        child_proposals: vec![child(cbc(&[]))],
        ..policy(side)
    };
    it.ike1.proof = proof;
    it
}

fn ring_of(side: usize, keys: &[Holder; 2], root: &Holder) -> Keyring {
    let mut files = own_files(&keys[side], &[root]);
    files.push(file("certs/peer.crt", keys[1 - side].pem()));
    ring(&files)
}

fn ciphertext(ring: &Keyring, trick: Trick) -> Vec<u8> {
    let len = match trick {
        Trick::Noise => return [&[0x11][..], &[0x5a; 255]].concat(),
        Trick::WellFormed => 32,
        Trick::Short => 1,
        Trick::Long => 245,
    };
    let plain = vec![Secret::from(&vec![0xee; len][..])];
    let seal = Seal { identity: fqdn("b.example"), certs: Vec::new(), plain, own: None };
    match ring.answer(&Question::Seal(Box::new(seal))) {
        Some(Answer::Sealed(mut it)) => it.sealed.remove(0),
        other => panic!("{other:?}"),
    }
}

/// What B sends, and when, when one ciphertext of A's message is another: lengths and exchanges, as the
/// rest is random.
fn seen(
    (mode, proof): (Phase1, Ike1Proof),
    target: PayloadType,
    trick: Trick,
    keys: &[Holder; 2],
    root: &Holder,
) -> Vec<(Time, u8, usize)> {
    let closed = match proof {
        Ike1Proof::RevisedEncryption => {
            &[PayloadType::ID, PayloadType::NONCE, PayloadType::KE, PayloadType::CERT][..]
        }
        _ => &[PayloadType::ID, PayloadType::NONCE],
    };
    let mut pair = Pair::new();
    let other = ciphertext(&ring_of(A, keys, root), trick);
    let sent = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let record = sent.clone();
    pair.network = Box::new(move |_, datagram| {
        if datagram.to == A {
            let header = Header::parse(&datagram.octets).unwrap();
            record.borrow_mut().push((datagram.at, header.exchange.0, datagram.octets.len()));
            return Fate::Deliver;
        }
        let Ok((header, Content::Clear(mut payloads))) =
            parse_closed_message(&datagram.octets, closed)
        else {
            return Fate::Deliver;
        };
        let mut found = false;
        for payload in &mut payloads {
            if let Payload::Opaque { payload_type, body } = payload
                && *payload_type == target
            {
                *body = other.clone();
                found = true;
            }
        }
        if found { Fate::Instead(emit_message(&header, &payloads)) } else { Fate::Deliver }
    });
    for side in [A, B] {
        let ring = ring_of(side, keys, root);
        pair.input(side, Input::Trust(ring.trust()));
        pair.sides[side].ring = Some(ring);
    }
    for side in [B, A] {
        pair.configure(side, vec![policies(side, mode, proof)]);
    }
    pair.pass(60);
    pair.assert_children(0);
    sent.take()
}

#[test]
fn nothing_that_comes_back_tells_which_ciphertext_was_well_formed() {
    let root = Holder::root("Root", NewKey::P256);
    let keys = ["a.example", "b.example"].map(|name| root.host(name, NewKey::Rsa(2048)));
    for (mode, proof, target) in [
        (Phase1::Main, Ike1Proof::Encryption, PayloadType::NONCE),
        (Phase1::Main, Ike1Proof::Encryption, PayloadType::ID),
        (Phase1::Main, Ike1Proof::RevisedEncryption, PayloadType::NONCE),
        (Phase1::Aggressive, Ike1Proof::Encryption, PayloadType::NONCE),
        (Phase1::Aggressive, Ike1Proof::Encryption, PayloadType::ID),
        (Phase1::Aggressive, Ike1Proof::RevisedEncryption, PayloadType::NONCE),
    ] {
        let noise = seen((mode, proof), target, Trick::Noise, &keys, &root);
        for trick in [Trick::WellFormed, Trick::Short, Trick::Long] {
            let other = seen((mode, proof), target, trick, &keys, &root);
            assert_eq!(noise, other, "{mode:?} {proof:?} {target} {trick:?}");
        }
        // A nonce that does not decrypt is answered like one that does.
        if target == PayloadType::NONCE && proof == Ike1Proof::Encryption {
            let exchange = match mode {
                Phase1::Main => ExchangeType::IDENTITY_PROTECTION,
                Phase1::Aggressive => ExchangeType::AGGRESSIVE,
            };
            let answers = noise.iter().filter(|(_, it, _)| *it == exchange.0).count();
            assert!(answers >= if mode == Phase1::Main { 2 } else { 1 }, "{noise:?}");
        }
    }
}
