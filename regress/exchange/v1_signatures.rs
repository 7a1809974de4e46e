//! IKEv1: phase 1 by signatures.

use crate::certs::*;
use crate::pair::*;
use crate::v1_phases::ikev1;
use oakd::conf::*;
use oakd::ike::event::Input;
use oakd::ike::report::Event;
use oakd::pki::authority::NewKey;

fn signed(mode: Phase1, kind: NewKey, word: Signature) -> Pair {
    let root = Holder::root("Root", NewKey::P256);
    let mut pair = Pair::new();
    for side in [A, B] {
        let ring = own(&root.host(["a.example", "b.example"][side], kind), &[&root]);
        let trust = ring.trust();
        pair.sides[side].ring = Some(ring);
        pair.input(side, Input::Trust(trust));
    }
    for side in [B, A] {
        let auth = Auth::signature(word);
        pair.configure(side, vec![Policy { auth, ..ikev1(side, mode) }]);
    }
    pair.pass(3);
    pair
}

#[test]
fn both_modes_by_signatures() {
    let rows = [
        (NewKey::Rsa(2048), Signature::Rsa),
        (NewKey::P256, Signature::Ecdsa256),
        (NewKey::P384, Signature::Ecdsa384),
        (NewKey::P521, Signature::Ecdsa521),
    ];
    for mode in [Phase1::Main, Phase1::Aggressive] {
        for (kind, word) in rows {
            let pair = signed(mode, kind, word);
            pair.assert_up();
            pair.end();
        }
    }
}

/// The responder has a certificate by each of two authorities; the initiator trusts the second, and says
/// so (or not) by its name.
fn two_authorities(asks: bool) -> Pair {
    let [one, two] = ["One", "Two"].map(|name| Holder::root(name, NewKey::P256));
    let mut longer = Oddity::none(&[fqdn("b.example")]);
    longer.valid.1 += 100 * DAY;
    let by_one = one.issue("b.example by One", NewKey::Rsa(2048), longer);
    let by_two = two.host("b.example", NewKey::Rsa(2048));
    let responder = ring(&[
        file("ca/one.crt", one.pem()),
        file("ca/two.crt", two.pem()),
        file("certs/one.crt", by_one.pem()),
        file("certs/two.crt", by_two.pem()),
        file("private/one.key", by_one.key_pem()),
        file("private/two.key", by_two.key_pem()),
    ]);
    let initiator = own(&two.host("a.example", NewKey::Rsa(2048)), &[&two]);
    let mut pair = Pair::new();
    for (side, ring) in [(A, initiator), (B, responder)] {
        let trust = ring.trust();
        pair.sides[side].ring = Some(ring);
        if side == B || asks {
            pair.input(side, Input::Trust(trust));
        }
    }
    for side in [B, A] {
        let auth = Auth::signature(Signature::Rsa);
        pair.configure(side, vec![Policy { auth, ..ikev1(side, Phase1::Main) }]);
    }
    pair.pass(3);
    pair
}

#[test]
fn a_certificate_by_the_authority_that_was_named_is_sent() {
    let pair = two_authorities(true);
    pair.assert_up();
    let by = pair.sides[A].reports.iter().find_map(|report| match &report.event {
        Event::Authenticated { by, .. } => Some(by.clone()),
        _ => None,
    });
    assert_eq!(by.unwrap(), "certificate O=Cases, CN=b.example, authority O=Cases, CN=Two");
    pair.end();
}

#[test]
fn an_authority_that_is_not_named_is_not_guessed() {
    let pair = two_authorities(false);
    let refused = pair.sides[A].reports.iter().any(|report| match &report.event {
        Event::PeerRejected { why, .. } => why.certificate.contains("by One"),
        _ => false,
    });
    // The first is valid for longer (and of the same standing): it is what goes to whoever asks for none.
    assert!(refused, "{:#?}", pair.sides[A].reports);
}
