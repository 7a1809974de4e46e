//! IKEv1 over a bad line: what gets lost, and what both sides do at once.

use crate::pair::*;
use crate::v1_further::both;
use crate::v1_insider::{Insider, heard};
use crate::v1_phases::{ikev1, v1_pair};
use oakd::conf::{Config, Globals, Lifetime, Phase1, Policy, Start};
use oakd::crypto::{Random, SeededRandom};
use oakd::ike::event::*;
use oakd::ike::report::{Event, Way};
use oakd::ike::v1::protect::Iv;
use oakd::wire::iana::v1::NotifyType;
use oakd::wire::iana::v2::IntegrityId;
use oakd::wire::v1::{Notify, Payload};

#[test]
fn a_quick_mode_that_is_never_answered_does_not_keep_the_others() {
    let mut pair = Pair::new();
    let names = ["f", "fo", "foo", "four"];
    for side in [B, A] {
        pair.configure(side, both(side, &names));
    }
    // The first two of A's offers get lost, and all repetitions of them.
    let mut lost = Vec::new();
    pair.network = Box::new(move |_, datagram| {
        let quick = datagram.octets[18] == 32 && datagram.to == B;
        let id = datagram.octets[20..24].to_vec();
        if quick && lost.len() < 2 && !lost.contains(&id) {
            lost.push(id.clone());
        }
        match quick && lost.contains(&id) {
            true => Fate::Lose,
            false => Fate::Deliver,
        }
    });
    pair.pass(12);
    assert_eq!(pair.sides[A].kernel.count(Direction::Out), 1 + names.len() - 2);
    pair.end();
}

#[test]
fn rekeying_at_once_again_and_again_makes_no_crowd_of_children() {
    let mut pair = v1_pair(Phase1::Main, |_, _| ());
    pair.pass(2).assert_up();
    for _ in 0..5 {
        for side in [A, B] {
            pair.command(side, Command::Rekey { name: "test".into(), ike: false });
        }
        pair.pass(20);
        // Those of the last time only: what they succeeded went, of both.
        pair.assert_children(2);
    }
    pair.command(A, Command::Rekey { name: "test".into(), ike: false });
    pair.pass(20).assert_up();
    pair.end();
}

#[test]
fn the_third_message_of_aggressive_mode_may_be_lost_where_no_quick_mode_follows() {
    let mut pair = v1_pair(Phase1::Aggressive, |_, _| ());
    pair.pass(2).assert_up();
    // Of the second phase 1, whose child SAs are there: nothing else tells B that A has its answer.
    let mut thirds = 0;
    pair.network = Box::new(move |_, datagram| {
        let third = datagram.octets[18] == 4 && datagram.to == B && datagram.octets[19] & 1 == 1;
        thirds += u32::from(third);
        match third && thirds == 1 {
            true => Fate::Lose,
            false => Fate::Deliver,
        }
    });
    pair.command(A, Command::Rekey { name: "test".into(), ike: true });
    pair.pass(10);
    assert!(pair.told(B, "IKE SA rekeyed"));
    pair.pass(100).assert_up();
    pair.end();
}

#[test]
fn other_keys_are_told_by_who_answered_in_aggressive_mode() {
    let mut pair = Pair::new();
    pair.sides[B].psk = oakd::crypto::Secret::from(&b"another"[..]);
    for side in [B, A] {
        pair.configure(side, vec![ikev1(side, Phase1::Aggressive)]);
    }
    pair.pass(5);
    assert!(pair.told(A, "could not prove it: the pre-shared keys of the two sides differ"));
    assert!(pair.told(B, "most likely the pre-shared keys differ, ours for ID_FQDN b.example"));
    pair.assert_children(0);
    pair.end();
}

#[test]
fn a_refusal_of_our_proof_is_told_by_its_name() {
    // B wants another identity than A has, which it sees in the third message of each mode.
    let mut pair = v1_pair(Phase1::Main, |side, policy| {
        if side == B {
            policy.remote_id = Some(fqdn("another.example"));
        }
    });
    pair.pass(3);
    assert!(pair.told(A, "the peer refused our proof of identity: INVALID-ID-INFORMATION"));
    assert!(!pair.told(A, "no answer"));
    let both = "calls itself ID_FQDN a.example; policy test wants another [test: dstid is ID_FQDN another.example]";
    assert!(pair.told(B, both));
    pair.end();
}

#[test]
fn a_refusal_by_who_has_our_last_word_is_told_by_its_name() {
    // A wants another identity than B has, which it sees in the sixth message.
    let mut pair = v1_pair(Phase1::Main, |side, policy| {
        if side == A {
            policy.remote_id = Some(fqdn("another.example"));
        }
    });
    pair.pass(3);
    assert!(pair.told(B, "the peer refused our proof of identity: INVALID-ID-INFORMATION"));
    assert_eq!(pair.sides[B].engine.sas(pair.now).len(), 0);
    pair.end();
}

#[test]
fn so_is_one_by_who_does_not_go_on_from_our_last_word() {
    let policy = |side| Policy { start: Start::Passive, ..ikev1(side, Phase1::Main) };
    for anywhere in [false, true] {
        let mut pair = Pair::new();
        pair.configure(B, vec![policy(B)]);
        let mut insider = Insider::open_main(&mut pair, &policy(A));
        assert_eq!(heard(&mut pair).len(), 1);
        assert!(pair.reported(B, |event| matches!(event, Event::IkeEstablished { .. })));
        if anywhere {
            // libreswan has no chain yet.
            insider.iv = Iv::phase1(insider.keys.prf, insider.keys.block, (b"any", b"where"));
        }
        let refusal = Notify::new(NotifyType::INVALID_ID_INFORMATION);
        insider.tell(&mut pair, Payload::Notify(refusal));
        assert!(pair.told(B, "the peer refused our proof of identity: INVALID-ID-INFORMATION"));
        assert_eq!(pair.sides[B].engine.sas(pair.now).len(), 0);
    }
}

/// Whether what each side sends is an SA that the other has.
fn is_crossing(pair: &Pair) -> bool {
    [A, B].iter().all(|&side| {
        let [own, peers] = [side, 1 - side].map(|it| pair.sides[it].kernel.sas.values());
        let inbound: Vec<_> =
            peers.filter(|it| it.direction == Direction::In).map(|it| it.key.spi).collect();
        let mut outbound = own.filter(|it| it.direction == Direction::Out);
        outbound.any(|it| inbound.contains(&it.key.spi))
    })
}

/// Half an hour over a line that loses so many of a hundred and delays by up to so many milliseconds, while
/// phase 1 and phase 2 are rekeyed every minute or two. For how many seconds nothing crossed.
fn endured(seed: u64, mode: Phase1, both: bool, (loss, late): (u64, u64), dpd: u32) -> u64 {
    let globals = Globals { dpd_check_interval: dpd, ..Globals::default() };
    let mut pair = Pair::new();
    for side in [B, A] {
        let start = if both { Start::Active } else { ikev1(side, mode).start };
        let child_lifetime = Lifetime { seconds: 60, bytes: 0 };
        let policy = Policy { start, child_lifetime, ike_lifetime: 90, ..ikev1(side, mode) };
        let config = Config { globals: globals.clone(), policies: vec![policy] };
        pair.input(side, Input::Configure(std::sync::Arc::new(config)));
    }
    pair.pass(5);
    let mut random = SeededRandom::new(seed);
    pair.network = Box::new(move |_, _| match random.below(100) {
        chance if chance < loss => Fate::Lose,
        chance if chance < loss + 5 => Fate::Twice,
        _ => Fate::Late(std::time::Duration::from_millis(random.below(late))),
    });
    let down = (0..1800).filter(|_| !is_crossing(pair.pass(1))).count();
    pair.network = Box::new(|_, _| Fate::Deliver);
    pair.pass(200).assert_ike(1);
    assert!(is_crossing(&pair));
    for side in [A, B] {
        let kernel = &pair.sides[side].kernel;
        assert!(kernel.count(Direction::Out) <= 2 && kernel.count(Direction::In) <= 4);
    }
    u64::try_from(down).unwrap()
}

#[test]
fn over_a_bad_line_traffic_goes_on() {
    for (line, most) in [((0, 300), 2), ((0, 2000), 10), ((10, 2000), 30), ((25, 100), 60)] {
        for seed in 1..4 {
            for mode in [Phase1::Main, Phase1::Aggressive] {
                for both in [false, true] {
                    let down = endured(seed, mode, both, line, 20);
                    assert!(down <= most, "{down} s: {mode:?}, seed {seed}, {both}, {line:?}");
                }
            }
        }
    }
}

#[test]
fn who_is_called_while_calling_says_nothing_of_a_first_contact() {
    // The peer would drop what it has opened meanwhile, without a word.
    let calls = [ikev1 as fn(usize, Phase1) -> Policy, |side, _| policy(side)];
    for of in calls {
        for both in [false, true] {
            let mut pair = Pair::new();
            for side in [B, A] {
                pair.command(side, Command::Trace(true));
                let policy = of(side, Phase1::Main);
                let start = if both { Start::Active } else { policy.start };
                pair.configure(side, vec![Policy { start, ..policy }]);
            }
            pair.pass(10).assert_up();
            let said = |event: &Event| match event {
                Event::Message { way: Way::Out, summary, .. } => summary.contains("INITIAL"),
                _ => false,
            };
            let told = [A, B].map(|side| pair.reported(side, said));
            assert_eq!(told, if both { [false; 2] } else { [true, false] });
        }
    }
}

#[test]
fn a_refusal_of_what_follows_is_none_of_our_proof() {
    // B refuses the first Quick Mode, which is the first that it says behind Aggressive Mode.
    let mut pair = v1_pair(Phase1::Aggressive, |side, policy| {
        if side == B {
            policy.child_proposals[0].integrity = vec![IntegrityId::AUTH_HMAC_SHA2_512_256];
        }
    });
    pair.pass(3);
    assert!(pair.told(A, "the peer refused Quick Mode: NO-PROPOSAL-CHOSEN"));
    assert!(!pair.told(A, "proof of identity"));
    pair.assert_ike(1);
    pair.end();
}
