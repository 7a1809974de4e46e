//! IKEv1: phase 1 by public key encryption, plain and revised.

use crate::certs::*;
use crate::pair::*;
use crate::v1_phases::ikev1;
use oakd::conf::*;
use oakd::ike::event::Input;
use oakd::ike::report::Event;
use oakd::pki::Keyring;
use oakd::pki::authority::NewKey;
use oakd::wire::Header;
use oakd::wire::iana::v1::ExchangeType;

const NAMES: [&str; 2] = ["a.example", "b.example"];

/// Each side's key, and how it knows the other's.
struct Known {
    keys: [Holder; 2],
    root: Holder,
}

impl Known {
    fn new(kind: NewKey) -> Self {
        let root = Holder::root("Root", NewKey::P256);
        Self { keys: NAMES.map(|name| root.host(name, kind)), root }
    }

    fn ring(&self, side: usize, peers: oakd::pki::files::KeyFile) -> Keyring {
        let mut files = own_files(&self.keys[side], &[&self.root]);
        files.push(peers);
        ring(&files)
    }

    /// The peer's certificate lies among ours.
    fn by_certificate(&self, side: usize) -> Keyring {
        self.ring(side, file("certs/peer.crt", self.keys[1 - side].pem()))
    }

    /// The peer's raw key is known.
    fn by_raw_key(&self, side: usize) -> Keyring {
        let name = format!("pubkeys/fqdn/{}", NAMES[1 - side]);
        self.ring(side, file(&name, self.keys[1 - side].public_pem()))
    }
}

fn start(
    pair: &mut Pair,
    mode: Phase1,
    proof: Ike1Proof,
    rings: [Keyring; 2],
    change: impl Fn(usize, &mut Policy),
) {
    for (side, ring) in rings.into_iter().enumerate() {
        let trust = ring.trust();
        pair.sides[side].ring = Some(ring);
        pair.input(side, Input::Trust(trust));
    }
    for side in [B, A] {
        let mut it = ikev1(side, mode);
        it.auth = Auth::signature(Signature::Rsa);
        it.ike1.proof = proof;
        change(side, &mut it);
        pair.configure(side, vec![it]);
    }
}

const WAYS: [(Phase1, Ike1Proof); 4] = [
    (Phase1::Main, Ike1Proof::Encryption),
    (Phase1::Aggressive, Ike1Proof::Encryption),
    (Phase1::Main, Ike1Proof::RevisedEncryption),
    (Phase1::Aggressive, Ike1Proof::RevisedEncryption),
];

#[test]
fn both_ways_in_both_modes_by_certificates_and_by_raw_keys() {
    let known = Known::new(NewKey::Rsa(2048));
    for (mode, proof) in WAYS {
        for raw in [false, true] {
            let mut pair = Pair::new();
            let rings = [A, B].map(|side| match raw {
                true => known.by_raw_key(side),
                false => known.by_certificate(side),
            });
            start(&mut pair, mode, proof, rings, |_, _| ());
            pair.pass(3).assert_up();
            pair.end();
        }
    }
}

#[test]
fn large_keys_do_too() {
    let known = Known::new(NewKey::Rsa(4096));
    for (mode, proof) in [WAYS[0], WAYS[3]] {
        let mut pair = Pair::new();
        let rings = [A, B].map(|side| known.by_certificate(side));
        start(&mut pair, mode, proof, rings, |_, _| ());
        pair.pass(3).assert_up();
        pair.end();
    }
}

#[test]
fn identities_are_not_to_be_read() {
    let known = Known::new(NewKey::Rsa(2048));
    for (mode, proof) in WAYS {
        let mut pair = Pair::new();
        let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let record = seen.clone();
        pair.network = Box::new(move |_, datagram| {
            record.borrow_mut().push(datagram.octets.clone());
            Fate::Deliver
        });
        let rings = [A, B].map(|side| known.by_certificate(side));
        start(&mut pair, mode, proof, rings, |_, _| ());
        pair.pass(3).assert_up();
        let readable = |octets: &Vec<u8>| octets.windows(8).any(|part| part == b".example");
        assert!(!seen.borrow().iter().any(readable));
    }
}

#[test]
fn every_message_may_be_lost_or_doubled() {
    let known = Known::new(NewKey::Rsa(2048));
    for (mode, proof) in WAYS {
        for lost in 0..9 {
            let mut pair = Pair::new();
            pair.network = Box::new(move |number, _| match number == lost {
                true => Fate::Lose,
                false => Fate::Deliver,
            });
            let rings = [A, B].map(|side| known.by_certificate(side));
            start(&mut pair, mode, proof, rings, |_, _| ());
            pair.pass(20).assert_up();
        }
        let mut pair = Pair::new();
        pair.network = Box::new(|_, _| Fate::Twice);
        let rings = [A, B].map(|side| known.by_certificate(side));
        start(&mut pair, mode, proof, rings, |_, _| ());
        pair.pass(20).assert_up();
        pair.end();
    }
}

#[test]
fn a_key_that_is_not_here_is_told() {
    let known = Known::new(NewKey::Rsa(2048));
    for (mode, proof) in WAYS {
        for without in [A, B] {
            let mut pair = Pair::new();
            let rings = [A, B].map(|side| match side == without {
                true => own(&known.keys[side], &[&known.root]),
                false => known.by_certificate(side),
            });
            start(&mut pair, mode, proof, rings, |_, _| ());
            pair.pass(4);
            // In the revised way the initiator's certificate comes along.
            if (proof, without) == (Ike1Proof::RevisedEncryption, B) {
                pair.assert_up();
                continue;
            }
            assert!(pair.told(without, "no public key of"), "{mode:?} {proof:?} {without}");
            pair.assert_children(0);
            pair.end();
        }
    }
}

#[test]
fn a_certificate_that_comes_along_is_judged_like_any_other() {
    let known = Known::new(NewKey::Rsa(2048));
    let other = Known::new(NewKey::Rsa(2048));
    let revised = WAYS.into_iter().filter(|(_, proof)| *proof == Ike1Proof::RevisedEncryption);
    for (mode, proof) in revised {
        // A's authority is not trusted by B, or its certificate is for somebody else.
        for stranger in [true, false] {
            let mut pair = Pair::new();
            let trusted = if stranger { &other.root } else { &known.root };
            let mine = own(&known.keys[B], &[trusted]);
            start(&mut pair, mode, proof, [known.by_certificate(A), mine], |side, policy| {
                let claims = fqdn("somebody.example");
                match side {
                    _ if stranger => (),
                    A => policy.local_id = Some(claims),
                    _ => policy.remote_id = Some(claims),
                }
            });
            pair.pass(4);
            let words = if stranger { "the certificate of" } else { "no public key of" };
            assert!(pair.told(B, words), "{mode:?} {stranger}");
            pair.assert_children(0);
            pair.end();
        }
    }
}

#[test]
fn who_does_not_hold_the_key_gets_nowhere() {
    // B holds another key than the one that A knows for it.
    let (known, other) = (Known::new(NewKey::Rsa(2048)), Known::new(NewKey::Rsa(2048)));
    for (mode, proof) in WAYS {
        let mut pair = Pair::new();
        let mut files = own_files(&other.keys[B], &[&other.root]);
        files.push(file("certs/peer.crt", known.keys[A].pem()));
        files.push(file("ca/known.crt", known.root.pem()));
        start(&mut pair, mode, proof, [known.by_certificate(A), ring(&files)], |_, _| ());
        pair.pass(100);
        pair.assert_children(0);
        assert!(!pair.reported(A, |event| matches!(event, Event::IkeEstablished { .. })));
        assert!(!pair.reported(B, |event| matches!(event, Event::IkeEstablished { .. })));
        pair.end();
    }
}

#[test]
fn another_way_on_the_other_side_is_told() {
    let known = Known::new(NewKey::Rsa(2048));
    for (mode, proof) in WAYS {
        let mut pair = Pair::new();
        let rings = [A, B].map(|side| known.by_certificate(side));
        start(&mut pair, mode, proof, rings, |side, policy| {
            if side == B {
                policy.ike1.proof = Ike1Proof::Usual;
            }
        });
        pair.pass(4);
        assert!(pair.told(B, "authentication: we allow RSA signatures"), "{mode:?} {proof:?}");
        pair.end();
    }
}

#[test]
fn another_policy_of_the_same_peer_may_be_the_one_that_is_meant() {
    let known = Known::new(NewKey::Rsa(2048));
    for (mode, proof) in WAYS {
        let mut pair = Pair::new();
        let rings = [A, B].map(|side| known.by_certificate(side));
        start(&mut pair, mode, proof, rings, |side, policy| {
            if side == B {
                policy.remote_id = Some(fqdn("somebody.example"));
            }
        });
        let of = |name: &str, id: &str| {
            let mut it = ikev1(B, mode);
            it.name = PolicyName(name.into());
            it.auth = Auth::signature(Signature::Rsa);
            it.ike1.proof = proof;
            it.remote_id = Some(fqdn(id));
            it
        };
        pair.configure(B, vec![of("one", "somebody.example"), of("two", "a.example")]);
        pair.pass(300);
        pair.assert_up();
        let sas = pair.sides[B].engine.sas(pair.now);
        assert_eq!(sas[0].policy, Some(PolicyName("two".into())));
        pair.end();
    }
}

#[test]
fn the_revised_way_offers_one_transform_in_aggressive_mode() {
    let known = Known::new(NewKey::Rsa(2048));
    let mut pair = Pair::new();
    let rings = [A, B].map(|side| known.by_certificate(side));
    start(&mut pair, Phase1::Aggressive, Ike1Proof::RevisedEncryption, rings, |_, policy| {
        let first = policy.ike_proposals[0].clone();
        policy
            .ike_proposals
            .push(Proposal { prf: vec![oakd::wire::iana::v2::PrfId::PRF_HMAC_SHA2_256], ..first });
    });
    let header = Header::parse(&pair.flying[0].octets).unwrap();
    assert_eq!(header.exchange_v1(), ExchangeType::AGGRESSIVE);
    pair.pass(3).assert_up();
    pair.end();
}
