//! IKEv1: users log in after phase 1 (XAUTH).

use std::collections::BTreeMap;

use crate::certs::*;
use crate::pair::*;
use crate::v1_phases::ikev1;
use oakd::conf::*;
use oakd::crypto::Secret;
use oakd::ike::event::Input;
use oakd::ike::report::Event;
use oakd::pki::authority::NewKey;
use oakd::wire::Header;
use oakd::wire::iana::v1::ExchangeType;

/// What Alice and the gateway know; she may know another password.
pub fn users(pair: &mut Pair, hers: &str) {
    for (side, password) in [(A, hers), (B, "open sesame")] {
        let password = Secret::from(password.as_bytes());
        pair.sides[side].users = BTreeMap::from([("alice".into(), password)]);
    }
}

/// A client (A) whose user logs in at a gateway (B).
pub fn with_login(side: usize, policy: &mut Policy) {
    policy.ike1.xauth = Some(if side == A { Xauth::As("alice".into()) } else { Xauth::Peer });
}

fn login(mode: Phase1, hers: &str, change: impl Fn(usize, &mut Policy)) -> Pair {
    let mut pair = Pair::new();
    start(&mut pair, mode, hers, change);
    pair
}

fn start(pair: &mut Pair, mode: Phase1, hers: &str, change: impl Fn(usize, &mut Policy)) {
    users(pair, hers);
    for side in [B, A] {
        let mut it = ikev1(side, mode);
        with_login(side, &mut it);
        change(side, &mut it);
        pair.configure(side, vec![it]);
    }
}

fn exchange(datagram: &Datagram) -> Option<ExchangeType> {
    Header::parse(&datagram.octets).ok().map(|header| header.exchange_v1())
}

fn logged_in(pair: &Pair, side: usize) -> bool {
    let told = |event: &Event| matches!(event, Event::LoggedIn { user, peer } if user == "alice" && *peer == (side == B));
    pair.reported(side, told)
}

fn failure(pair: &Pair, side: usize) -> Option<String> {
    pair.sides[side].reports.iter().rev().find_map(|report| match &report.event {
        Event::LoginFailed { why, .. } => Some(why.clone()),
        _ => None,
    })
}

/// No report names the password.
fn is_discreet(pair: &Pair) -> bool {
    let words = ["open sesame", "guessed", "111, 112, 101"];
    [A, B].iter().all(|side| {
        let reports = &pair.sides[*side].reports;
        reports.iter().all(|it| words.iter().all(|word| !format!("{it} {it:?}").contains(word)))
    })
}

#[test]
fn quick_mode_waits_for_the_login() {
    for mode in [Phase1::Main, Phase1::Aggressive] {
        let mut pair = login(mode, "open sesame", |_, _| ());
        pair.pass(3).assert_up();
        assert!(logged_in(&pair, A) && logged_in(&pair, B));
        let place = |side: usize, wanted: fn(&Event) -> bool| {
            pair.sides[side].reports.iter().position(|report| wanted(&report.event))
        };
        for side in [A, B] {
            let login = place(side, |event| matches!(event, Event::LoggedIn { .. }));
            let stands = place(side, |event| matches!(event, Event::IkeEstablished { .. }));
            assert!(login < stands, "it stands before anybody logged in");
        }
        assert!(is_discreet(&pair));
        pair.end();
    }
}

#[test]
fn the_gateway_may_be_the_one_who_calls() {
    for mode in [Phase1::Main, Phase1::Aggressive] {
        let mut pair = login(mode, "open sesame", |side, policy| {
            policy.start = if side == B { Start::Active } else { Start::Passive };
        });
        pair.pass(3).assert_up();
        assert!(logged_in(&pair, A) && logged_in(&pair, B));
        pair.end();
    }
}

#[test]
fn with_certificates_too() {
    for mode in [Phase1::Main, Phase1::Aggressive] {
        let root = Holder::root("Root", NewKey::P256);
        let mut pair = Pair::new();
        for side in [A, B] {
            let name = ["a.example", "b.example"][side];
            let ring = own(&root.host(name, NewKey::Rsa(2048)), &[&root]);
            let trust = ring.trust();
            pair.sides[side].ring = Some(ring);
            pair.input(side, Input::Trust(trust));
        }
        start(&mut pair, mode, "open sesame", |_, policy| {
            policy.auth = Auth::signature(Signature::Rsa);
        });
        pair.pass(3).assert_up();
        assert!(logged_in(&pair, B));
        pair.end();
    }
}

/// Only the gateway has a key; a client trusts the authority above it, or another.
fn hybrid(mode: Phase1, hers: &str, trusts: bool, change: impl Fn(usize, &mut Policy)) -> Pair {
    let root = Holder::root("Root", NewKey::P256);
    let other = Holder::root("Other", NewKey::P256);
    let gateway = root.host("b.example", NewKey::Rsa(2048));
    let mut pair = Pair::new();
    for side in [A, B] {
        let keys = match side {
            A => ring(&[file("ca/root.crt", if trusts { root.pem() } else { other.pem() })]),
            _ => own(&gateway, &[&root]),
        };
        let trust = keys.trust();
        pair.sides[side].ring = Some(keys);
        pair.input(side, Input::Trust(trust));
    }
    start(&mut pair, mode, hers, |side, policy| {
        policy.auth = Auth::signature(Signature::Rsa);
        policy.ike1.proof = Ike1Proof::Hybrid;
        change(side, policy);
    });
    pair
}

#[test]
fn in_hybrid_authentication_the_gateway_signs_and_the_user_logs_in() {
    for mode in [Phase1::Main, Phase1::Aggressive] {
        let mut pair = hybrid(mode, "open sesame", true, |_, _| ());
        pair.pass(3).assert_up();
        assert!(logged_in(&pair, A) && logged_in(&pair, B));
        assert!(is_discreet(&pair));
        pair.end();
        let mut pair = hybrid(mode, "open sesame", true, |side, policy| {
            policy.start = if side == B { Start::Active } else { Start::Passive };
        });
        pair.pass(3).assert_up();
        pair.end();
    }
}

#[test]
fn in_hybrid_authentication_nobody_gets_in_without_the_login() {
    for mode in [Phase1::Main, Phase1::Aggressive] {
        let mut pair = hybrid(mode, "guessed", true, |_, _| ());
        pair.pass(4);
        assert!(pair.told(B, "the login of alice failed"));
        assert!(!pair.reported(B, |event| matches!(event, Event::IkeEstablished { .. })));
        pair.assert_children(0);
        pair.end();
    }
}

#[test]
fn in_hybrid_authentication_no_password_goes_to_who_is_not_trusted() {
    for mode in [Phase1::Main, Phase1::Aggressive] {
        let mut pair = hybrid(mode, "open sesame", false, |_, _| ());
        pair.pass(4);
        assert!(pair.reported(A, |event| matches!(event, Event::PeerRejected { .. })));
        assert!(!pair.reported(B, |event| matches!(event, Event::LoginFailed { .. })));
        pair.assert_children(0);
        pair.end();
    }
}

#[test]
fn a_user_who_claims_anothers_identity_takes_nothing_from_it() {
    // In hybrid authentication nothing proves the identity of phase 1: a second user who calls itself
    // a.example, and says that it begins anew, leaves Alice's ISAKMP SA alone.
    let mut pair = hybrid(Phase1::Main, "open sesame", true, |_, _| ());
    pair.pass(3).assert_up();
    let password = Secret::from(&b"his own"[..]);
    pair.sides[B].users.insert("mallory".into(), password.clone());
    let settings = oakd::ike::Settings::default();
    let ring = pair.sides[A].ring.take();
    pair.sides[A] = Pair::with(settings, 9).sides.into_iter().next().unwrap();
    pair.sides[A].ring = ring;
    pair.sides[A].users = BTreeMap::from([("mallory".into(), password)]);
    let mut it = ikev1(A, Phase1::Main);
    it.auth = Auth::signature(Signature::Rsa);
    it.ike1 = Ike1Auth { proof: Ike1Proof::Hybrid, xauth: Some(Xauth::As("mallory".into())) };
    pair.configure(A, vec![it]);
    pair.pass(3);
    let logins: Vec<_> =
        pair.sides[B].engine.sas(pair.now).into_iter().filter_map(|sa| sa.login).collect();
    assert_eq!(logins.len(), 2, "{logins:?}");
    assert!(!pair.reported(B, |event| matches!(event, Event::InitialContact { .. })));
}

#[test]
fn a_wrong_password_opens_nothing_and_tries_are_counted() {
    let mut pair = login(Phase1::Main, "guessed", |_, _| ());
    pair.pass(4);
    pair.assert_children(0);
    let why = failure(&pair, A).unwrap();
    assert!(why.contains("the name or the password is wrong"), "{why}");
    for number in 1..=3 {
        assert!(pair.told(B, &format!("password is wrong (try {number} of 3)")));
    }
    assert!(!pair.told(B, "try 4"));
    assert!(pair.told(B, "the login of alice failed"));
    assert!(!logged_in(&pair, A) && !logged_in(&pair, B));
    pair.assert_ike(0);
    assert!(is_discreet(&pair));
    pair.end();
}

#[test]
fn an_unknown_user_is_told_like_a_wrong_password() {
    let mut pair = Pair::new();
    users(&mut pair, "open sesame");
    pair.sides[B].users.clear();
    for side in [B, A] {
        let mut it = ikev1(side, Phase1::Main);
        with_login(side, &mut it);
        pair.configure(side, vec![it]);
    }
    pair.pass(4);
    assert!(pair.told(B, "the login of alice failed: the name or the password is wrong"));
    pair.assert_children(0);
    pair.end();
}

#[test]
fn who_has_no_password_says_so() {
    let mut pair = Pair::new();
    for side in [B, A] {
        let mut it = ikev1(side, Phase1::Main);
        with_login(side, &mut it);
        pair.configure(side, vec![it]);
    }
    pair.pass(4);
    assert!(pair.told(A, "the login of alice failed: there is no line `user \"alice\""));
    assert!(pair.told(B, "cannot answer a request for a name and a password"));
    pair.assert_ike(0);
    pair.end();
}

#[test]
fn a_login_that_one_side_does_not_want_is_told() {
    let mut pair = login(Phase1::Main, "open sesame", |side, policy| {
        if side == A {
            policy.ike1 = Ike1Auth::default();
        }
    });
    pair.pass(4);
    assert!(
        pair.told(B, "authentication: we allow XAUTHInitPreShared, the peer offers pre-shared key")
    );
    pair.assert_ike(0);
    pair.end();
}

#[test]
fn who_never_logs_in_gets_no_quick_mode_and_goes() {
    let mut pair = Pair::new();
    // From the gateway's request on the client is silent.
    pair.network = Box::new(|_, datagram| match (exchange(datagram), datagram.to) {
        (Some(ExchangeType::TRANSACTION), B) => Fate::Lose,
        _ => Fate::Deliver,
    });
    start(&mut pair, Phase1::Main, "open sesame", |_, _| ());
    pair.pass(3);
    let sas = pair.sides[B].engine.sas(pair.now);
    assert_eq!(sas[0].state, "awaiting the user's name and password");
    pair.assert_children(0);
    pair.pass(200);
    let why = failure(&pair, B).unwrap();
    assert!(why.contains("no answer, asked"), "{why}");
    pair.assert_children(0);
    pair.end();
}

#[test]
fn who_shuts_down_while_a_user_logs_in_says_so() {
    for side in [A, B] {
        let mut pair = Pair::new();
        pair.network = Box::new(|_, datagram| match exchange(datagram) {
            Some(ExchangeType::TRANSACTION) => Fate::Lose,
            _ => Fate::Deliver,
        });
        start(&mut pair, Phase1::Main, "open sesame", |_, _| ());
        pair.pass_millis(500);
        pair.command(side, oakd::ike::event::Command::Shutdown);
        pair.pass_millis(500);
        let why = failure(&pair, 1 - side).unwrap();
        assert_eq!(why, "the peer deleted the ISAKMP SA");
    }
}

#[test]
fn a_gateway_that_never_asks_is_told() {
    let mut pair = Pair::new();
    pair.network = Box::new(|_, datagram| match (exchange(datagram), datagram.to) {
        (Some(ExchangeType::TRANSACTION), A) => Fate::Lose,
        _ => Fate::Deliver,
    });
    start(&mut pair, Phase1::Main, "open sesame", |_, _| ());
    pair.pass(20);
    // The gateway's own deletion cannot come either.
    pair.sides[B].dead = true;
    pair.pass(130);
    let why = failure(&pair, A).unwrap();
    assert_eq!(why, "the gateway did not ask for a name and a password");
}

#[test]
fn every_message_of_the_login_may_be_lost_or_doubled() {
    for mode in [Phase1::Main, Phase1::Aggressive] {
        for lost in 0..14 {
            let mut pair = Pair::new();
            pair.network = Box::new(move |number, _| match number == lost {
                true => Fate::Lose,
                false => Fate::Deliver,
            });
            start(&mut pair, mode, "open sesame", |_, _| ());
            pair.pass(30).assert_up();
            pair.end();
        }
        let mut pair = Pair::new();
        pair.network = Box::new(|_, _| Fate::Twice);
        start(&mut pair, mode, "open sesame", |_, _| ());
        pair.pass(30).assert_up();
        assert_eq!(
            pair.sides[B]
                .reports
                .iter()
                .filter(|it| matches!(it.event, Event::LoggedIn { .. }))
                .count(),
            1
        );
        pair.end();
    }
}

#[test]
fn a_successor_of_phase_1_logs_in_anew_and_keeps_the_children() {
    let mut pair = login(Phase1::Main, "open sesame", |_, policy| policy.ike_lifetime = 600);
    pair.pass(3).assert_up();
    pair.pass(700).assert_up();
    let logins = |side: usize| {
        let reports = pair.sides[side].reports.iter();
        reports.filter(|it| matches!(it.event, Event::LoggedIn { .. })).count()
    };
    assert!(logins(A) >= 2 && logins(B) >= 2);
    pair.end();
}

#[test]
fn transaction_exchanges_before_and_after_their_time_change_nothing() {
    // A gateway without logins gets one within phase 1, and one when it stands; both are replays of a
    // real login and neither moves anything.
    let mut recorded = Pair::new();
    let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let record = seen.clone();
    recorded.network = Box::new(move |_, datagram| {
        if exchange(datagram) == Some(ExchangeType::TRANSACTION) {
            record.borrow_mut().push((
                datagram.to,
                datagram.local,
                datagram.remote,
                datagram.octets.clone(),
            ));
        }
        Fate::Deliver
    });
    start(&mut recorded, Phase1::Main, "open sesame", |_, _| ());
    recorded.pass(3).assert_up();
    let all = seen.borrow().clone();
    assert_eq!(all.len(), 4);
    for _ in 0..3 {
        for (to, local, remote, octets) in &all {
            recorded.input(*to, Input::Datagram { local: *local, remote: *remote, octets });
        }
    }
    recorded.pass(30).assert_up();
    let logins =
        recorded.sides[B].reports.iter().filter(|it| matches!(it.event, Event::LoggedIn { .. }));
    assert_eq!(logins.count(), 1);
    recorded.end();

    let mut pair = Pair::new();
    let (_, local, remote, octets) = all[1].clone();
    let early = std::rc::Rc::new(std::cell::Cell::new(false));
    pair.network = Box::new(|_, _| Fate::Deliver);
    start(&mut pair, Phase1::Main, "open sesame", |_, _| ());
    // Within phase 1, under its cookies.
    pair.pass_millis(25);
    let sas = pair.sides[B].engine.sas(pair.now);
    assert!(sas[0].state.starts_with("awaiting Main Mode"), "{}", sas[0].state);
    let first = pair.flying.first().cloned().unwrap();
    let mut octets = octets;
    octets[..16].copy_from_slice(&first.octets[..16]);
    pair.input(B, Input::Datagram { local, remote, octets: &octets });
    early.set(true);
    assert!(pair.told(B, "Transaction Exchange while awaiting"));
    pair.pass(3).assert_up();
    pair.end();
}

#[test]
fn a_login_that_lasts_keeps_the_nat_open_and_ends_in_time() {
    let mut pair = Pair::new();
    pair.nat = Some(ip("198.51.100.9"));
    // The verdict does not get through.
    let mut questions = 0;
    pair.network = Box::new(move |_, datagram| match exchange(datagram) {
        Some(ExchangeType::TRANSACTION) if datagram.to == A => {
            questions += 1;
            if questions == 1 { Fate::Deliver } else { Fate::Lose }
        }
        _ => Fate::Deliver,
    });
    start(&mut pair, Phase1::Main, "open sesame", |side, policy| {
        if side == B {
            policy.peer = None;
        }
    });
    pair.pass(45);
    assert_eq!(pair.sides[A].engine.stats().established, 0);
    assert!(pair.sides[A].keepalives > 0);
    // And it does not hang for ever.
    pair.pass(120);
    assert!(failure(&pair, A).is_some() && failure(&pair, B).is_some());
}
