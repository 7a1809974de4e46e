//! IKEv1: Main and Aggressive Mode, Quick Mode, deletions, rekeying.

use crate::pair::*;
use oakd::conf::*;
use oakd::wire::iana::v2::{GroupId, PrfId};

/// A policy of IKEv1: AES and SHA-1, PFS.
pub fn ikev1(side: usize, mode: Phase1) -> Policy {
    Policy {
        version: Version::V1(mode),
        ike_proposals: vec![Proposal {
            prf: vec![PrfId::PRF_HMAC_SHA1],
            integrity: vec![],
            ..cbc(&[GroupId::MODP_1024])
        }],
        child_proposals: vec![child(cbc(&[GroupId::MODP_1024]))],
        ..policy(side)
    }
}

/// Both sides with the plain policy changed; the passive one first.
pub fn v1_pair(mode: Phase1, mut change: impl FnMut(usize, &mut Policy)) -> Pair {
    let mut pair = Pair::new();
    for side in [B, A] {
        let mut it = ikev1(side, mode);
        change(side, &mut it);
        pair.configure(side, vec![it]);
    }
    pair
}

#[test]
fn main_mode_then_quick_mode() {
    let mut pair = v1_pair(Phase1::Main, |_, _| ());
    pair.pass(2).assert_up();
    let sas = pair.sides[A].engine.sas(pair.now);
    assert_eq!(sas[0].version, 1);
    pair.end();
}

#[test]
fn aggressive_mode_then_quick_mode() {
    let mut pair = v1_pair(Phase1::Aggressive, |_, _| ());
    pair.pass(2).assert_up();
    pair.end();
}
