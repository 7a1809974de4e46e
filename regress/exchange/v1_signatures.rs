//! IKEv1: phase 1 by signatures.

use crate::certs::*;
use crate::pair::*;
use crate::v1_phases::ikev1;
use oakd::conf::*;
use oakd::ike::event::Input;
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
