//! A reload is a difference: what did not change stays, what did is brought to what the new
//! configuration says with as little as that takes.

use std::time::Duration;

use oakd::conf::{Phase1, Policy, PolicyName, Start};
use oakd::crypto::{Random, Secret};
use oakd::ike::event::{Acquire, Input, SaKey};
use oakd::ike::report::Event;
use oakd::wire::iana::v2::GroupId;

use super::pair::*;

/// Both names of the only IKE SA of a side.
fn spis(pair: &Pair, side: usize) -> (String, String) {
    let sas = pair.sides[side].engine.sas(pair.now);
    assert_eq!(sas.len(), 1, "{sas:#?}");
    sas[0].spis.clone()
}

/// The IKE SA and the child SA of A, which is up.
fn names(pair: &Pair) -> ((String, String), SaKey) {
    pair.assert_up();
    (spis(pair, A), pair.inbound(A))
}

/// A pair that is up, and A's policy for it.
fn up() -> (Pair, Policy) {
    let mut pair = Pair::plain();
    pair.pass(1).assert_up();
    (pair, policy(A))
}

#[test]
fn what_did_not_change_is_not_touched() {
    let (mut pair, it) = up();
    let (before, sent) = (names(&pair), pair.sent);
    pair.configure(A, vec![it]);
    pair.pass(5);
    assert_eq!((names(&pair), pair.sent), (before, sent));
    pair.end();
}

#[test]
fn a_rule_that_changed_is_tried_soon_however_often_it_failed_before() {
    let pauses = |pair: &Pair| -> Vec<Duration> {
        let reports = pair.sides[A].reports.iter();
        reports
            .filter_map(|report| match report.event {
                Event::WillRetry { after } => Some(after),
                _ => None,
            })
            .collect()
    };
    let mut pair = Pair::new();
    pair.network = Box::new(|_, _| Fate::Lose);
    pair.configure(A, vec![policy(A)]);
    pair.pass(3600);
    let before = pauses(&pair);
    pair.sides[A].reports.clear();
    let mut changed = policy(A);
    changed.child_lifetime.seconds = 7200;
    pair.configure(A, vec![changed]);
    pair.pass(3600);
    let after = pauses(&pair);
    let ([.., last], [first, ..]) = (&before[..], &after[..]) else { panic!("never tried again") };
    assert!(*last > *first * 4, "{before:?} {after:?}");
}

#[test]
fn what_concerns_later_negotiations_touches_nothing() {
    let changes: [fn(&mut Policy); 5] = [
        |it| it.start = Start::Passive,
        |it| it.quick = true,
        |it| it.default = true,
        |it| it.ike_lifetime = 90_000,
        |it| it.child_lifetime.seconds = 7200,
    ];
    for change in changes {
        let (mut pair, mut it) = up();
        let (before, sent) = (names(&pair), pair.sent);
        change(&mut it);
        pair.configure(A, vec![it]);
        pair.pass(5);
        assert_eq!((names(&pair), pair.sent), (before, sent));
        pair.end();
    }
}

#[test]
fn a_shorter_lifetime_counts_from_the_beginning_and_drops_nothing() {
    let (mut pair, mut it) = up();
    pair.pass(1200);
    let (ike, child) = names(&pair);
    it.child_lifetime.seconds = 1300;
    pair.configure(A, vec![it.clone()]);
    pair.pass(5);
    let (same, rekeyed) = names(&pair);
    assert_eq!(same, ike);
    assert_ne!(rekeyed, child);
    it.ike_lifetime = 1300;
    pair.configure(A, vec![it]);
    pair.pass(60);
    assert_ne!(names(&pair).0, ike);
    assert!(!pair.told(A, "no longer configured"));
    pair.end();
}

#[test]
fn what_the_kernel_does_with_traffic_rekeys_the_child() {
    let changes: [fn(&mut Policy); 4] = [
        |it| it.tag = Some("t".into()),
        |it| it.tap = Some(3),
        |it| it.child_lifetime.bytes = 1 << 20,
        |it| it.child_proposals = vec![child(gcm(&[])), child(cbc(&[]))],
    ];
    for change in changes {
        let (mut pair, mut it) = up();
        let (ike, before) = names(&pair);
        change(&mut it);
        pair.configure(A, vec![it.clone()]);
        pair.pass(5);
        let (same, rekeyed) = names(&pair);
        assert_eq!(same, ike);
        assert_ne!(rekeyed, before);
        let held = pair.sides[A].kernel.sas.values().all(|sa| sa.tag == it.tag && sa.tap == it.tap);
        assert!(held);
        pair.end();
    }
}

#[test]
fn another_group_for_the_ike_sa_rekeys_it_and_keeps_the_child() {
    let mut pair = Pair::each(|side, it| {
        if side == B {
            it.ike_proposals = vec![gcm(&[GroupId::CURVE25519, GroupId::ECP_384])];
        }
    });
    pair.pass(1);
    let (ike, before) = names(&pair);
    let mut it = policy(A);
    it.ike_proposals = vec![gcm(&[GroupId::ECP_384])];
    pair.configure(A, vec![it]);
    pair.pass(60);
    let (other, same) = names(&pair);
    assert_ne!(other, ike);
    assert_eq!(same, before);
    let suite = pair.sides[A].engine.sas(pair.now)[0].suite.clone().unwrap();
    assert!(suite.contains("384"), "{suite}");
    pair.end();
}

#[test]
fn other_traffic_replaces_the_child_under_the_same_ike_sa() {
    let wide = |side: usize, it: &mut Policy| {
        let nets = ["10.0.0.0/14", "10.0.0.0/14"];
        it.flows = vec![flow(nets[side], nets[1 - side])];
    };
    // The other side takes whatever lies within.
    let mut pair = Pair::each(|side, it| {
        if side == B {
            wide(side, it)
        }
    });
    pair.pass(1);
    let (ike, before) = names(&pair);
    let mut it = policy(A);
    it.flows = vec![flow("10.1.0.0/25", "10.2.0.0/24")];
    pair.configure(A, vec![it.clone()]);
    pair.pass(5);
    let (same, narrower) = names(&pair);
    assert_eq!(same, ike);
    assert_ne!(narrower, before);
    // One more flow: what is there stays.
    it.flows.push(flow("10.3.0.0/24", "10.2.0.0/24"));
    pair.configure(A, vec![it.clone()]);
    pair.pass(5);
    assert_eq!(spis(&pair, A), ike);
    let flows = pair.sides[A].kernel.flows.len();
    assert_eq!(flows, 4, "{:?}", pair.sides[A].kernel.flows.keys());
    // And back to one.
    it.flows.remove(0);
    pair.configure(A, vec![it]);
    pair.pass(100);
    assert_eq!(spis(&pair, A), ike);
    assert_eq!(pair.sides[A].kernel.flows.len(), 2);
    pair.end();
}

#[test]
fn another_identity_is_negotiated_anew() {
    let (mut pair, mut it) = up();
    let (ike, before) = names(&pair);
    let mut theirs = policy(B);
    theirs.remote_id = Some(fqdn("other.example"));
    pair.configure(B, vec![theirs]);
    it.local_id = Some(fqdn("other.example"));
    pair.configure(A, vec![it]);
    pair.pass(30);
    let (other, fresh) = names(&pair);
    assert_ne!((other, fresh), (ike, before));
    pair.end();
}

#[test]
fn another_key_is_negotiated_anew() {
    for version in [1, 2] {
        let of = |side| match version {
            1 => crate::v1_phases::ikev1(side, Phase1::Main),
            _ => policy(side),
        };
        let mut pair = Pair::new();
        [B, A].into_iter().for_each(|side| pair.configure(side, vec![of(side)]));
        pair.pass(2);
        let (ike, before) = names(&pair);
        for side in [B, A] {
            pair.sides[side].psk = Secret::from(&b"another key"[..]);
            pair.configure(side, vec![Policy { key_mark: 7, ..of(side) }]);
        }
        pair.pass(30);
        let (other, fresh) = names(&pair);
        assert!(other != ike && fresh != before, "IKEv{version}");
        // Nothing but the key is different: what was proven by it stays.
        pair.configure(A, vec![Policy { key_mark: 7, ..of(A) }]);
        pair.pass(5);
        assert_eq!(names(&pair), (other, fresh), "IKEv{version}");
        pair.end();
    }
}

#[test]
fn a_policy_that_is_gone_takes_its_sas_along() {
    let (mut pair, _) = up();
    pair.configure(A, vec![]);
    pair.pass(5).assert_ike(0);
    pair.assert_children(0);
    assert!(pair.sides[A].kernel.flows.is_empty());
    pair.end();
}

#[test]
fn a_rule_put_before_one_without_a_name_does_not_disturb_it() {
    let named = |name: &str, side| Policy { name: PolicyName(name.into()), ..policy(side) };
    let mut pair = Pair::new();
    pair.configure(B, vec![policy(B)]);
    pair.configure(A, vec![named("policy1", A)]);
    pair.pass(1);
    let (before, sent) = (names(&pair), pair.sent);
    let mut first = named("policy1", A);
    first.start = Start::Passive;
    first.peer = Some(prefix("203.0.113.0/24"));
    pair.configure(A, vec![first, named("policy2", A)]);
    pair.pass(5);
    assert_eq!((names(&pair), pair.sent), (before, sent));
    let shown = pair.sides[A].engine.sas(pair.now)[0].policy.clone();
    assert_eq!(shown, Some(PolicyName("policy2".into())));
    pair.end();
}

#[test]
fn a_policy_that_waits_to_try_again_still_does_after_a_reload() {
    let mut pair = Pair::new();
    pair.sides[B].dead = true;
    pair.configure(A, vec![policy(A)]);
    let waits = |pair: &Pair| pair.sides[A].engine.sas(pair.now).is_empty();
    while !waits(&pair) {
        pair.pass(1);
    }
    pair.configure(A, vec![policy(A)]);
    assert!(waits(&pair));
    pair.sides[B].dead = false;
    pair.configure(B, vec![policy(B)]);
    pair.pass(400).assert_up();
    pair.end();
}

#[test]
fn traffic_finds_its_policy_among_many_after_a_reload() {
    let mut pair = Pair::new();
    let mut many: Vec<Policy> = (0..50u8)
        .map(|number| {
            let mut it = policy(A);
            it.name = PolicyName(format!("p{number}"));
            it.start = Start::OnDemand;
            it.peer = Some(prefix(&format!("198.51.100.{number}/32")));
            it.flows = vec![flow("10.1.0.0/24", &format!("10.9.{number}.0/24"))];
            it
        })
        .collect();
    let mut it = policy(A);
    it.start = Start::OnDemand;
    many.insert(20, it);
    pair.configure(B, vec![policy(B)]);
    pair.configure(A, many.clone());
    many.rotate_left(30);
    pair.configure(A, many);
    let traps = pair.sides[A].kernel.flows.values().filter(|flow| flow.remote == ip("192.0.2.2"));
    let trap = traps.clone().next().unwrap().clone();
    for reqid in [Some(trap.reqid), None] {
        let selector = Some(trap.selector);
        let acquire = Acquire { local: ip("192.0.2.1"), remote: ip("192.0.2.2"), selector, reqid };
        pair.input(A, Input::Acquire(acquire));
    }
    pair.pass(3).assert_up();
    pair.end();
}

/// Configurations at random, one after the other: in the end A and B have what the last says.
#[test]
fn reloads_at_random_come_to_rest_at_what_the_last_one_says() {
    for seed in 1..30 {
        let mut random = oakd::crypto::SeededRandom::new(seed);
        let mut pair = Pair::plain();
        pair.pass(1);
        for _ in 0..8 {
            let mut it = policy(A);
            match random.below(8) {
                0 => it.tag = Some("x".into()),
                1 => it.child_lifetime.seconds = 60 + random.below(4000) as u32,
                2 => it.ike_lifetime = 60 + random.below(4000) as u32,
                3 => it.child_proposals = vec![child(gcm(&[])), child(cbc(&[]))],
                4 => it.ike_proposals = vec![gcm(&[GroupId::CURVE25519]), cbc(&[GroupId::ECP_256])],
                5 => it.start = Start::OnDemand,
                6 => it.force_natt = true,
                _ => (),
            }
            let all = if random.below(10) == 0 { vec![] } else { vec![it] };
            pair.configure(A, all);
            pair.pass(random.below(20));
        }
        pair.configure(A, vec![policy(A)]);
        pair.pass(200).assert_up();
        assert!(pair.now.since(oakd::ike::event::Time::default()) > Duration::from_secs(200));
        pair.end();
    }
}
