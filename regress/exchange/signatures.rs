//! Signatures, certificates and raw keys in IKE_AUTH.

use std::collections::BTreeMap;

use crate::certs::*;
use crate::pair::*;
use crate::v1_phases::ikev1;
use oakd::conf::{Auth, Method, Ocsp, Phase1, Policy, Signature};
use oakd::ike::auth::Answer;
use oakd::ike::event::Input;
use oakd::ike::report::Event;
use oakd::pki::authority::{NewKey, Role};
use oakd::pki::{Keyring, Options};
use oakd::wire::iana::v2::IdType;

const NAMES: [&str; 2] = ["a.example", "b.example"];

/// Both sides with these keys.
fn pair_with(rings: [Keyring; 2], mut change: impl FnMut(usize, &mut Policy)) -> Pair {
    let mut pair = Pair::new();
    for (side, ring) in rings.into_iter().enumerate() {
        let trust = ring.trust();
        pair.sides[side].ring = Some(ring);
        pair.input(side, Input::Trust(trust));
    }
    for side in [B, A] {
        let mut it = policy(side);
        it.auth = Auth::signature(Signature::Any);
        change(side, &mut it);
        pair.configure(side, vec![it]);
    }
    pair.pass(1);
    pair
}

/// The one reason that a side gives for not taking the other.
fn rejection(pair: &Pair, side: usize) -> String {
    let found = pair.sides[side].reports.iter().find_map(|report| match &report.event {
        Event::PeerRejected { why, .. } => Some(why.to_string()),
        _ => None,
    });
    let all: Vec<String> = pair.sides[side].reports.iter().map(ToString::to_string).collect();
    found.unwrap_or_else(|| panic!("no rejection: {all:#?}"))
}

fn kinds() -> Vec<NewKey> {
    NewKey::WORDS.iter().map(|(_, kind)| *kind).filter(|kind| *kind != NewKey::Rsa(4096)).collect()
}

#[test]
fn every_kind_of_key_serves_both_sides() {
    let root = Holder::root("Root", NewKey::P256);
    for kind in kinds() {
        let rings = NAMES.map(|name| own(&root.host(name, kind), &[&root]));
        let pair = pair_with(rings, |_, _| ());
        pair.assert_up();
        let told = |side: usize| {
            let it = pair.sides[side].reports.iter();
            it.filter(|r| matches!(r.event, Event::Authenticated { .. })).count()
        };
        assert_eq!((told(A), told(B)), (1, 1));
        pair.end();
    }
}

#[test]
fn the_methods_before_rfc_7427_serve_too() {
    let root = Holder::root("Root", NewKey::P256);
    let rows = [
        (NewKey::Rsa(2048), Signature::Rsa),
        (NewKey::P256, Signature::Ecdsa256),
        (NewKey::P384, Signature::Ecdsa384),
        (NewKey::P521, Signature::Ecdsa521),
    ];
    for (kind, signature) in rows {
        let rings = NAMES.map(|name| own(&root.host(name, kind), &[&root]));
        let pair = pair_with(rings, |_, it| it.auth = Auth::signature(signature));
        pair.assert_up();
        pair.end();
        // The other side insists on RFC 7427.
        let rings = NAMES.map(|name| own(&root.host(name, kind), &[&root]));
        let pair = pair_with(rings, |side, it| {
            let kind = if side == A { signature } else { Signature::Rfc7427 };
            it.auth = Auth::signature(kind);
        });
        let told = pair.sides[B].reports.iter().any(|report| match &report.event {
            Event::NoPolicy { candidates, .. } => {
                candidates[0].contains("wants a signature (ikeauth rfc7427)")
            }
            _ => false,
        });
        assert!(told);
    }
}

#[test]
fn the_sides_may_prove_themselves_in_different_ways() {
    let root = Holder::root("Root", NewKey::P256);
    for (initiator, responder) in [
        (Method::Psk, Method::Signature(Signature::Any)),
        (Method::Signature(Signature::Any), Method::Psk),
    ] {
        let rings = NAMES.map(|name| own(&root.host(name, NewKey::P256), &[&root]));
        let pair = pair_with(rings, |_, it| it.auth = Auth { initiator, responder });
        pair.assert_up();
        pair.end();
    }
}

#[test]
fn intermediates_are_sent_and_found_in_any_order() {
    let root = Holder::root("Root", NewKey::P256);
    let middle = root.below("Middle", NewKey::P384);
    let host = |name| {
        let host = middle.host(name, NewKey::P256);
        let all = [middle.pem(), b"words between\n".to_vec(), host.pem(), host.key_pem()].concat();
        ring(&[file("ca/ca.crt", root.pem()), file("certs/all.pem", all)])
    };
    let pair = pair_with(NAMES.map(host), |_, _| ());
    pair.assert_up();
    pair.end();
}

#[test]
fn raw_keys_need_no_authority() {
    let root = Holder::root("Root", NewKey::P256);
    let hosts = NAMES.map(|name| root.host(name, NewKey::Ed25519));
    let rings = [0, 1].map(|side: usize| {
        let peer = format!("pubkeys/fqdn/{}", NAMES[1 - side]);
        ring(&[
            file("private/local.key", hosts[side].key_pem()),
            file(&peer, hosts[1 - side].public_pem()),
        ])
    });
    let pair = pair_with(rings, |_, _| ());
    pair.assert_up();
    pair.end();
}

#[test]
fn a_raw_key_that_is_another_is_refused_by_its_print() {
    let root = Holder::root("Root", NewKey::P256);
    let hosts = NAMES.map(|name| root.host(name, NewKey::P256));
    let other = root.host("other", NewKey::P256);
    let rings = [0, 1].map(|side: usize| {
        let peer = format!("pubkeys/fqdn/{}", NAMES[1 - side]);
        let key = if side == B { other.public_pem() } else { hosts[B].public_pem() };
        ring(&[file("private/local.key", hosts[side].key_pem()), file(&peer, key)])
    });
    let pair = pair_with(rings, |_, _| ());
    let why = rejection(&pair, B);
    assert!(why.starts_with("pubkeys/fqdn/a.example: the signature is not of this key"), "{why}");
    // Its own key the peer does not send unless it is asked to: what can be named is the one here.
    let ours = why.split_once("(").and_then(|(_, rest)| rest.split_once(")"));
    let print = ours.map(|(print, _)| print).unwrap_or_default();
    assert!(print.len() == 32 && print.chars().all(|c| c.is_ascii_hexdigit()), "{why}");
    assert!(why.contains("the peer has another key"), "{why}");
}

/// Side A's certificate is odd; what B says of it.
fn refused(odd: impl FnOnce(&Holder) -> Holder) -> String {
    let root = Holder::root("Root", NewKey::P256);
    let rings = [own(&odd(&root), &[&root]), own(&root.host(NAMES[B], NewKey::P256), &[&root])];
    let pair = pair_with(rings, |_, _| ());
    assert_eq!(pair.sides[B].kernel.sas.len(), 0);
    rejection(&pair, B)
}

#[test]
fn a_certificate_for_somebody_else_is_refused_with_both_names() {
    let root = Holder::root("Root", NewKey::P256);
    let hosts = [root.host("x.example", NewKey::P256), root.host(NAMES[B], NewKey::P256)];
    // A raw key speaks for anybody; the peer finds the certificate among its own copies.
    let mut files = own_files(&hosts[A], &[&root]);
    files.retain(|file| !file.name.starts_with("certs/"));
    let rings = [ring(&files), own(&hosts[B], &[&root])];
    let pair = pair_with(rings, |_, _| ());
    let why = rejection(&pair, B);
    assert!(why.contains("the peer sent no certificate"), "{why}");
    // Without a certificate of its own for its srcid a side does not even begin.
    let rings = [own(&hosts[A], &[&root]), own(&hosts[B], &[&root])];
    let pair = pair_with(rings, |_, _| ());
    let told = pair.sides[A].reports.iter().find_map(|report| match &report.event {
        Event::QuestionRefused { reason } => Some(reason.clone()),
        _ => None,
    });
    let told = told.unwrap();
    assert!(told.contains("no certificate of ours is for ID_FQDN a.example"), "{told}");
    assert!(told.contains("FQDN x.example"), "{told}");
}

#[test]
fn old_and_future_certificates_are_refused_with_their_dates() {
    let with = |valid| {
        refused(move |root| {
            let mut odd = Oddity::none(&[name(IdType::ID_FQDN, NAMES[A])]);
            odd.valid = valid;
            root.issue(NAMES[A], NewKey::P256, odd)
        })
    };
    let why = with((now() - 9 * DAY, now() - DAY));
    assert!(why.starts_with("O=Cases, CN=a.example: it expired on "), "{why}");
    assert!(why.contains("wanted ID_FQDN a.example, found FQDN a.example"), "{why}");
    let why = with((now() + DAY, now() + 2 * DAY));
    assert!(why.contains("it is not valid before "), "{why}");
}

#[test]
fn a_certificate_of_another_authority_is_refused_with_its_name() {
    let why = refused(|_| Holder::root("Elsewhere", NewKey::P256).host(NAMES[A], NewKey::P256));
    assert!(why.contains("its issuer is not known here: O=Cases, CN=Elsewhere"), "{why}");
}

#[test]
fn a_chain_that_its_authority_does_not_allow_is_refused() {
    // Middle may not have authorities below it, but has one.
    let why = refused(|root| {
        let middle = root.below("Middle", NewKey::P256);
        middle.host(NAMES[A], NewKey::P256)
    });
    assert!(why.contains("its issuer is not known here: O=Cases, CN=Middle"), "{why}");
    // A host is no authority.
    let why = refused(|root| root.host("host.example", NewKey::P256).host(NAMES[A], NewKey::P256));
    assert!(why.contains("its issuer is not known here: O=Cases, CN=host.example"), "{why}");
}

#[test]
fn an_authoritys_own_certificate_does_not_sign_for_ike() {
    let why = refused(|root| {
        let mut odd = Oddity::none(&[name(IdType::ID_FQDN, NAMES[A])]);
        odd.role = Role::Authority(None);
        root.issue(NAMES[A], NewKey::P256, odd)
    });
    assert!(why.contains("its key is not for signatures but for "), "{why}");
}

#[test]
fn who_trusts_nobody_says_so() {
    let root = Holder::root("Root", NewKey::P256);
    let hosts = NAMES.map(|name| root.host(name, NewKey::P256));
    let mut files = own_files(&hosts[B], &[]);
    files.retain(|file| !file.name.starts_with("ca/"));
    let pair = pair_with([own(&hosts[A], &[&root]), ring(&files)], |_, _| ());
    let why = rejection(&pair, B);
    assert!(why.contains("no authority is trusted here"), "{why}");
}

#[test]
fn ocsp_answers_are_asked_for_and_sent() {
    let place = std::env::temp_dir().join(format!("oakd-ocsp-{}", std::process::id()));
    let root = Holder::root("Root", NewKey::P256);
    let hosts = NAMES.map(|name| root.host(name, NewKey::P256));
    let told = |revoked: bool, asks: bool| -> Option<Pair> {
        let mut rings = Vec::new();
        for host in &hosts {
            let answer = ocsp_answer(&place, &root, &root, host, revoked, &["-ndays", "1"])?;
            let mut files = own_files(host, &[&root]);
            files.push(file("ocsp/own.der", answer));
            let (url, tolerate, maxage) = ("http://ocsp.example".into(), 300, None);
            let ocsp = asks.then_some(Ocsp { url, tolerate, maxage });
            let options = Options { ocsp, ..Options::default() };
            rings.push(Keyring::load(&files, &BTreeMap::new(), options).unwrap());
        }
        let [a, b] = <[Keyring; 2]>::try_from(rings).ok().unwrap();
        Some(pair_with([a, b], |_, _| ()))
    };
    let by = |pair: &Pair| {
        [A, B].map(|side| {
            let found = pair.sides[side].reports.iter().find_map(|report| match &report.event {
                Event::Authenticated { by, .. } => Some(by.clone()),
                _ => None,
            });
            found.unwrap()
        })
    };
    let Some(pair) = told(false, true) else {
        eprintln!("skipped: there is no openssl(1) to answer");
        return;
    };
    pair.assert_up();
    assert!(by(&pair).iter().all(|by| by.ends_with(", good by OCSP")), "{:?}", by(&pair));
    pair.end();
    let pair = told(false, false).unwrap();
    pair.assert_up();
    assert!(by(&pair).iter().all(|by| !by.contains("OCSP")), "{:?}", by(&pair));
    pair.end();
    // Who has only an answer that is of no use sends none.
    let pair = told(true, true).unwrap();
    pair.assert_up();
    assert!(by(&pair).iter().all(|by| by.ends_with("without an OCSP answer")), "{:?}", by(&pair));
    pair.end();
}

#[test]
fn questions_of_ike_sas_that_are_gone_are_forgotten() {
    for version in ["v2", "v1"] {
        let mut pair = Pair::new();
        pair.sides[B].mute = true;
        for side in [B, A] {
            let one = if version == "v2" { policy(side) } else { ikev1(side, Phase1::Main) };
            pair.configure(side, vec![one]);
        }
        pair.pass(1);
        let [(id, _), ..] = pair.sides[B].asked[..] else { panic!("{version}: none was asked") };
        let (now, engine) = (pair.now, &mut pair.sides[B].engine);
        let asker = engine.asker(id).expect("nobody waits for the answer");
        assert_eq!(engine.asker(id), Some(asker), "looking changes nothing");
        // The initiator gives up, and so does the responder in time.
        pair.sides[A].dead = true;
        pair.pass(300);
        let engine = &mut pair.sides[B].engine;
        assert_eq!(engine.asker(id), None, "{version}");
        // An answer that comes so late does nothing.
        engine.handle(now, Input::Answer(id, Answer::Verified));
        assert!(engine.poll().is_none());
    }
}
