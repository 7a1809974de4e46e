//! IKEv1: NATs on the way, and transport mode, to which they matter most.

use crate::pair::*;
use crate::v1_phases::{behind_nat, ikev1, v1_pair};
use oakd::conf::*;
use oakd::ike::event::*;
use oakd::ike::report::Event;
use oakd::wire::iana::vendor;
use oakd::wire::v1::{Content, Payload, emit_message, parse_message};

#[test]
fn a_new_mapping_moves_the_children_too() {
    for mode in [Phase1::Main, Phase1::Aggressive] {
        let mut pair = behind_nat(mode, 20);
        pair.pass(5).assert_up();
        pair.nat_adds = 20000;
        pair.pass(60).assert_up();
        let sas = pair.sides[B].kernel.sas.values();
        let ports: Vec<_> = sas.filter_map(|sa| sa.encap).collect();
        assert!(ports.iter().all(|(one, other)| [*one, *other].contains(&24500)), "{ports:?}");
        assert!(pair.told(B, "moved: from"));
        pair.end();
    }
}

#[test]
fn transport_mode_is_between_the_hosts() {
    let mut pair = v1_pair(Phase1::Main, |side, policy| {
        policy.mode = Mode::Transport;
        let hosts = ["192.0.2.1/32", "192.0.2.2/32"];
        policy.flows = vec![flow(hosts[side], hosts[1 - side])];
    });
    pair.pass(2).assert_up();
    let modes = |side: usize| pair.sides[side].kernel.sas.values().map(|sa| sa.mode);
    assert!([A, B].into_iter().flat_map(modes).all(|mode| mode == Mode::Transport));
    pair.end();
}

/// Transport mode with A behind a NAT: each side says what it sees.
fn between_hosts_with_nat(side: usize, policy: &mut Policy) {
    policy.mode = Mode::Transport;
    policy.flows = vec![match side {
        A => flow("192.0.2.1/32", "192.0.2.2/32"),
        _ => flow("192.0.2.2/32", "198.51.100.9/32"),
    }];
}

#[test]
fn transport_mode_from_behind_a_nat_is_about_the_addresses_that_each_side_sees() {
    for mode in [Phase1::Main, Phase1::Aggressive] {
        let mut pair = Pair::new();
        pair.nat = Some(ip("198.51.100.9"));
        for side in [B, A] {
            let mut policy = ikev1(side, mode);
            between_hosts_with_nat(side, &mut policy);
            if side == B {
                policy.peer = None;
            }
            pair.configure(side, vec![policy]);
        }
        pair.pass(5).assert_up();
        assert!(pair.sides[B].kernel.sas.values().all(|sa| sa.encap.is_some()), "{mode:?}");
        pair.end();
    }
}

/// A network in which nobody says these vendor IDs.
fn without(vendors: &'static [&'static [u8]]) -> impl FnMut(usize, &Datagram) -> Fate {
    move |_, datagram| match parse_message(&datagram.octets) {
        Ok((header, Content::Clear(mut payloads))) => {
            payloads.retain(|payload| match payload {
                Payload::Vendor(octets) => !vendors.contains(&octets.as_slice()),
                _ => true,
            });
            Fate::Instead(emit_message(&header, &payloads))
        }
        _ => Fate::Deliver,
    }
}

#[test]
fn old_peers_do_nat_traversal_by_the_numbers_of_the_drafts() {
    for transport in [false, true] {
        let mut pair = Pair::new();
        pair.network = Box::new(without(&[vendor::NAT_T]));
        pair.nat = Some(ip("198.51.100.9"));
        for side in [B, A] {
            let mut policy = ikev1(side, Phase1::Main);
            if transport {
                between_hosts_with_nat(side, &mut policy);
            }
            if side == B {
                policy.peer = None;
            }
            pair.configure(side, vec![policy]);
        }
        pair.command(B, Command::Trace(true));
        pair.pass(5).assert_up();
        assert!(pair.sides[A].kernel.sas.values().all(|sa| sa.encap.is_some()));
        let seen = |words: &str| {
            let reports = pair.sides[B].reports.iter();
            reports
                .filter_map(|report| match &report.event {
                    Event::Message { payloads, .. } => Some(payloads.join("\n")),
                    _ => None,
                })
                .any(|lines| lines.contains(words))
        };
        let mode = if transport { "UDP-Encapsulated-Transport" } else { "UDP-Encapsulated-Tunnel" };
        assert!(seen(mode), "{mode}");
        assert_eq!(seen("NAT-OA"), transport);
        pair.end();
    }
}

#[test]
fn without_any_of_the_vendor_ids_there_is_no_nat_traversal() {
    let mut pair = Pair::new();
    let all = &[vendor::NAT_T, vendor::NAT_T_02, vendor::NAT_T_02N, vendor::NAT_T_03, vendor::DPD];
    pair.network = Box::new(without(all));
    for side in [B, A] {
        pair.configure(side, vec![ikev1(side, Phase1::Main)]);
    }
    pair.pass(5).assert_up();
    assert!(!pair.told(A, "NAT found"));
    pair.end();
}

#[test]
fn who_answers_may_be_behind_a_nat_that_passes_ike_on() {
    for transport in [false, true] {
        for mode in [Phase1::Main, Phase1::Aggressive] {
            let mut pair = Pair::new();
            pair.nat = Some(ip("198.51.100.9"));
            pair.nat_adds = 0;
            for side in [A, B] {
                let mut policy = ikev1(side, mode);
                policy.start = if side == A { Start::Passive } else { Start::Active };
                policy.child_lifetime.seconds = 600;
                if transport {
                    between_hosts_with_nat(side, &mut policy);
                }
                if side == B {
                    policy.peer = Some(Prefix::host(ip("198.51.100.9")));
                }
                pair.configure(side, vec![policy]);
            }
            pair.pass(5).assert_up();
            let which = format!("{mode:?} {transport}");
            assert!(pair.sides[A].kernel.sas.values().all(|sa| sa.encap.is_some()), "{which}");
            let before = pair.inbound(A);
            pair.pass(700).assert_up();
            assert!(pair.inbound(A) != before && pair.sides[A].keepalives > 0, "{which}");
            pair.command(A, Command::Rekey { name: "test".into(), ike: true });
            pair.pass(90).assert_up();
            pair.end();
        }
    }
}
