//! Failures to agree: what the operator is told of them, on both sides.

use crate::insider::*;
use crate::pair::*;
use oakd::conf::*;
use oakd::ike::event::Input;
use oakd::ike::report::{Event, Explained, Report};
use oakd::wire::iana::v2::{ExchangeType, GroupId, IntegrityId, NotifyType};
use oakd::wire::v2::{Notify, Payload, emit_message, parse_message};
use oakd::wire::{Flags, Header};

/// The failures that a side explains, in their order.
fn explained(pair: &Pair, side: usize) -> Vec<Explained> {
    let reports = pair.sides[side].reports.iter();
    let failures = reports.filter(|report| report.explains_failure());
    failures.map(|report| report.event.explained()).collect()
}

fn only(pair: &Pair, side: usize) -> Explained {
    let mut all = explained(pair, side);
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

/// strongSwan begins, sees that we do not take up its PPK, and says no more.
#[test]
fn a_peer_that_may_insist_on_a_ppk_and_does_not_go_on_is_told_so() {
    for announces in [true, false] {
        let mut pair = Pair::new();
        pair.configure(B, vec![policy(B)]);
        let mut plain = Pair::plain();
        plain.input(A, Input::Timeout);
        let (header, mut payloads) = parse_message(&plain.flying.remove(0).octets).unwrap();
        if announces {
            payloads.push(Payload::Notify(Notify::new(NotifyType::USE_PPK)));
        }
        exchange_with_b(&mut pair, &emit_message(&header, &payloads)).unwrap();
        pair.pass(60);
        let told = only(&pair, B);
        assert_eq!(told.reason.contains("USE_PPK"), announces, "{told:#?}");
    }
}

#[test]
fn a_demand_for_a_group_that_is_not_offered_is_told_once() {
    let mut pair = Pair::new();
    pair.network = Box::new(|_, datagram| {
        let header = Header::parse(&datagram.octets).unwrap();
        if datagram.to == B || header.is_response() && header.message_id.0 > 0 {
            return Fate::Deliver;
        }
        let flags = Flags::v2(false, true);
        let (exchange, id) = (header.exchange, header.message_id);
        let answer = Header::v2(header.initiator, header.responder, exchange, flags, id);
        let wanted = GroupId::ECP_384.0.to_be_bytes().to_vec();
        let notify = Notify::with_data(NotifyType::INVALID_KE_PAYLOAD, wanted);
        Fate::Instead(emit_message(&answer, &[Payload::Notify(notify)]))
    });
    pair.configure(B, vec![policy(B)]);
    pair.configure(A, vec![policy(A)]);
    pair.pass(65);
    let told = only(&pair, A);
    assert!(told.reason.contains("it wants 384-bit random ECP group"), "{told:?}");
    assert!(told.ours[0].contains("Curve25519"), "{told:?}");
    assert!(told.advice.contains("one in common"), "{told:?}");
}

#[test]
fn a_policy_without_a_group_that_can_be_computed_says_so() {
    let mut pair = Pair::new();
    let mut it = policy(A);
    it.ike_proposals = vec![gcm(&[GroupId(22)])];
    pair.configure(A, vec![it]);
    pair.pass(1);
    let told = only(&pair, A);
    assert_eq!(told.what, "the peer cannot be called");
    assert!(told.ours[0].contains("1024-bit MODP Group with 160-bit"), "{told:?}");
    assert_eq!(pair.sent, 0);
}

#[test]
fn the_kernels_refusal_names_the_suite() {
    let mut pair = Pair::new();
    // Two flows, the SPI, then the SA.
    pair.sides[A].kernel.fails.insert(3);
    pair.configure(B, vec![policy(B)]);
    pair.configure(A, vec![policy(A)]);
    pair.pass(1);
    let wanted =
        "the kernel did not install the inbound ESP SA with ENCR_AES_GCM_16-256 in tunnel mode";
    assert!(explained(&pair, A).iter().any(|it| it.reason.starts_with(wanted)));
    pair.pass(30).assert_up();
}

#[test]
fn both_sides_name_the_traffic_that_they_do_not_agree_on() {
    let pair = Pair::each(|side, policy| {
        if side == A {
            policy.flows = vec![flow("10.8.0.0/24", "10.9.0.0/24")];
        }
    });
    let mut pair = pair;
    pair.pass(2);
    let told = only(&pair, A);
    assert!(told.ours.iter().any(|it| it.contains("10.8.0.0")), "{told:?}");
    assert!(told.reason.contains("TS_UNACCEPTABLE"));
    let told = only(&pair, B);
    assert!(told.ours.iter().any(|it| it.starts_with("ours 10.2.0.0")), "{told:?}");
    assert!(told.theirs.iter().any(|it| it.starts_with("peer's 10.8.0.0")), "{told:?}");
    assert!(told.reason.contains("no traffic in common"), "{told:?}");
    pair.end();
}

#[test]
fn a_range_of_ports_that_no_flow_can_say_is_refused_with_that_reason() {
    let mut pair = Pair::each(|side, policy| {
        let flow = &mut policy.flows[0];
        flow.ip_protocol = 6;
        let end = if side == A { &mut flow.remote } else { &mut flow.local };
        end.ports = (1024, 65535);
    });
    // At once, without a peer.
    assert!(only(&pair, B).reason.contains("the range of ports is too wide"));
    pair.sides[B].reports.clear();
    pair.pass(2);
    let told = only(&pair, B);
    assert!(told.reason.contains("the range of ports is too wide"), "{told:?}");
    assert!(told.advice.contains("PORTS AND THE KERNEL"), "{told:?}");
    pair.end();
}

#[test]
fn one_mode_each_is_told() {
    let mut pair = Pair::each(|side, policy| {
        let ends = ["192.0.2.1/32", "192.0.2.2/32"];
        policy.flows = vec![flow(ends[side], ends[1 - side])];
        policy.mode = if side == A { Mode::Transport } else { Mode::Tunnel };
    });
    pair.pass(2);
    let told = only(&pair, B);
    assert_eq!(told.what, "no agreement on the mode of the child SA");
    assert_eq!((&*told.ours[0], &*told.theirs[0]), ("tunnel", "transport"));
    assert!(only(&pair, A).advice.contains("tunnel or transport mode"));
    pair.end();
}

#[test]
fn every_policy_that_could_have_been_meant_says_why_it_was_not() {
    let mut pair = Pair::new();
    let named = |name: &str, change: &dyn Fn(&mut Policy)| {
        let mut it = policy(B);
        it.name = PolicyName(name.into());
        change(&mut it);
        it
    };
    let policies = vec![
        named("other-peer", &|it| it.peer = Some(Prefix::host(ip("192.0.2.77")))),
        named("other-dstid", &|it| it.remote_id = Some(fqdn("c.example"))),
        named("other-srcid", &|it| it.local_id = Some(fqdn("d.example"))),
        named("signed", &|it| it.auth = Auth::signature(Signature::Any)),
        named("not-called", &|it| it.skip = true),
    ];
    pair.configure(B, policies);
    pair.configure(A, vec![policy(A)]);
    pair.pass(1);
    let told = only(&pair, B);
    // Those for this very peer come first.
    let wanted = [
        "other-srcid: srcid is FQDN/d.example",
        "signed: it wants a signature (ikeauth signature)",
        "not-called: it is `skip`: not for peers that call",
        "other-dstid: dstid is FQDN/c.example",
        "other-peer: peer is 192.0.2.77, not 192.0.2.1",
    ];
    for (line, wanted) in told.ours.iter().zip(wanted) {
        assert_eq!(line.replace("ID_FQDN ", "FQDN/"), wanted);
    }
    assert!(told.theirs[0].contains("a.example"), "{told:?}");
    pair.end();
}

#[test]
fn proposals_of_all_policies_for_the_peer_are_named() {
    let mut pair = Pair::new();
    let mut first = policy(B);
    first.name = PolicyName("first".into());
    first.ike_proposals = vec![cbc(&[GroupId::ECP_256])];
    let mut last = policy(B);
    last.name = PolicyName("last".into());
    last.ike_proposals = vec![cbc(&[GroupId::ECP_384])];
    pair.configure(B, vec![first, last]);
    pair.configure(A, vec![policy(A)]);
    pair.pass(1);
    let told = only(&pair, B);
    assert!(told.ours[0].contains("384-bit"), "{told:?}");
    assert!(told.ours[1].starts_with("first: ") && told.ours[1].contains("256-bit"), "{told:?}");
    assert!(!pair.reported(A, |event| matches!(event, Event::NoAnswer { .. })));
    pair.end();
}

#[test]
fn another_identity_of_the_responder_is_a_disagreement() {
    let mut pair = Pair::each(|side, policy| match side {
        // With no dstid A asks for nobody by name, and expects the address.
        A => policy.remote_id = None,
        _ => policy.local_id = Some(fqdn("other.example")),
    });
    pair.pass(2).assert_children(0);
    let told = only(&pair, A);
    assert_eq!(told.what, "no agreement on who the peer is");
    assert!(told.ours[0].contains("192.0.2.2") && told.theirs[0].contains("other.example"));
    pair.end();
}

#[test]
fn keys_that_differ_say_what_to_do() {
    let mut pair = Pair::new();
    pair.sides[A].psk = oakd::crypto::Secret::from(&b"other"[..]);
    pair.configure(B, vec![policy(B)]);
    pair.configure(A, vec![policy(A)]);
    pair.pass(2);
    let told = only(&pair, B);
    assert_eq!(told.what, "the peer did not prove who it is");
    assert_eq!(told.advice, "write the same psk on both sides");
    assert!(told.theirs[0].contains("a.example"));
    pair.end();
}

#[test]
fn a_policy_for_another_method_is_told_by_both_sides() {
    let mut pair = Pair::each(|side, policy| {
        if side == A {
            policy.auth =
                Auth { initiator: Method::Psk, responder: Method::Signature(Signature::Any) };
        }
    });
    pair.pass(2).assert_children(0);
    let told = explained(&pair, A);
    let told = told.iter().find(|it| it.what.contains("how the peer proves who it is"));
    let told = told.expect("a disagreement");
    assert!(told.ours[0].contains("a signature"), "{told:?}");
    assert!(!pair.reported(A, |event| matches!(event, Event::Misbehaved { .. })));
}

#[test]
fn whom_the_peer_does_not_believe_sees_what_was_said() {
    let mut pair = Pair::new();
    pair.sides[A].psk = oakd::crypto::Secret::from(&b"other"[..]);
    pair.configure(B, vec![policy(B)]);
    pair.configure(A, vec![policy(A)]);
    pair.pass(2);
    let told = only(&pair, A);
    assert_eq!(told.what, "the peer refused IKE_AUTH");
    let wanted = ["srcid ID_FQDN a.example, by a pre-shared key", "dstid ID_FQDN b.example, by "];
    assert!(told.ours[0] == wanted[0] && told.ours[1].starts_with(wanted[1]), "{told:?}");
}

#[test]
fn the_responder_hears_that_it_was_not_believed() {
    let mut pair = Pair::each(|side, policy| match side {
        A => policy.remote_id = None,
        _ => policy.local_id = Some(fqdn("other.example")),
    });
    pair.pass(2).assert_children(0);
    let told = only(&pair, B);
    assert_eq!(told.what, "the peer refused our proof of identity");
    assert!(told.ours[0].contains("srcid ID_FQDN other.example"), "{told:?}");
    assert!(told.reason.contains("AUTHENTICATION_FAILED"), "{told:?}");
    pair.end();
}

#[test]
fn a_peer_that_wants_eap_is_told_of_with_what_the_policies_want() {
    let mut pair = Pair::new();
    pair.configure(B, vec![policy(B)]);
    let (mut insider, ..) = Insider::open(&mut pair, 1);
    let payloads = auth_payloads(Vec::new()).into_iter();
    let payloads: Vec<_> = payloads.filter(|it| !matches!(it, Payload::Auth(_))).collect();
    let answer = insider.say(&mut pair, ExchangeType::IKE_AUTH, &payloads).unwrap();
    let wanted = Payload::Notify(Notify::new(NotifyType::AUTHENTICATION_FAILED));
    assert_eq!(answer, [wanted]);
    let told = only(&pair, B);
    assert!(told.theirs[0].starts_with("ID_FQDN a.example"), "{told:?}");
    assert!(told.theirs[0].contains("by EAP, which is not known here"), "{told:?}");
    assert!(told.ours[0].ends_with("it wants a pre-shared key"), "{told:?}");
}

#[test]
fn esp_on_one_side_and_ah_on_the_other_is_told_so() {
    let mut pair = Pair::each(|side, policy| {
        if side == B {
            policy.protocol = SaProtocol::Ah;
            policy.child_proposals = vec![Proposal {
                integrity: vec![IntegrityId::AUTH_HMAC_SHA2_512_256],
                encryption: Vec::new(),
                ..child(gcm(&[]))
            }];
        }
    });
    pair.pass(2).assert_children(0);
    let told = only(&pair, B);
    assert!(told.reason.contains("offers nothing for AH"), "{told:?}");
    assert_eq!(told.advice, "write the same of `esp` and `ah` on both sides");
    pair.end();
}

#[test]
fn a_peer_that_asks_for_an_address_where_there_is_none_is_told_of() {
    let mut pair = Pair::each(|side, policy| {
        if side == A {
            let (option, family) = (CfgOption::Address, Family::Inet);
            policy.wanted = vec![Wanted { option, family, address: None }];
        }
    });
    pair.pass(2).assert_children(0);
    let told = explained(&pair, B);
    assert!(told[0].reason.contains("this policy has none to give"), "{told:?}");
    assert!(told[0].advice.contains("`config address`"), "{told:?}");
}

/// Of many policies the one for this very peer comes first, and no other is called the one concerned.
#[test]
fn of_policies_that_do_not_fit_the_one_for_the_peer_is_told_first() {
    let mut pair = Pair::new();
    let of_others = (0..12).map(|at| Policy {
        name: PolicyName(format!("other{at}")),
        remote_id: Some(fqdn(&format!("other{at}.example"))),
        ..policy(B)
    });
    let meant = Policy { name: PolicyName("meant".into()), ..policy(B) };
    pair.configure(B, of_others.chain([meant]).collect());
    pair.configure(A, vec![Policy { remote_id: Some(fqdn("gw.example")), ..policy(A) }]);
    pair.pass(2).assert_children(0);
    let reports = pair.sides[B].reports.iter();
    let none = |it: &&Report| matches!(it.event, Event::NoPolicy { .. });
    let report = reports.clone().find(none).expect("a report");
    assert_eq!((&report.policy, &report.identity), (&None, &None));
    let told = only(&pair, B);
    assert_eq!(told.ours[0], "meant: srcid is ID_FQDN b.example", "{told:?}");
    pair.end();
}
