//! IKEv1 with a peer that has the right key and says what it should not, or what few say.

use crate::pair::*;
use crate::v1_insider::{Insider, hand, heard};
use crate::v1_phases::ikev1;
use oakd::conf::{Lifetime, Phase1, Policy, Start};
use oakd::ike::event::*;
use oakd::ike::v1::{offer, protect};
use oakd::wire::iana::v1::{
    AuthMethod, Doi, ExchangeType, IkeAttribute, IpsecAttribute, NotifyType, ProtocolId,
};
use oakd::wire::v1::*;
use oakd::wire::{EspSpi, Flags, Spi};

/// Side B, and an insider that has done Aggressive Mode with it.
fn opened() -> (Pair, Insider, Policy) {
    opened_with(|_, _| ())
}

/// As [`opened`], with other policies.
pub fn opened_with(change: impl Fn(usize, &mut Policy)) -> (Pair, Insider, Policy) {
    let of = |side| {
        let mut policy = Policy {
            start: Start::Passive,
            child_proposals: vec![child(cbc(&[]))],
            ..ikev1(side, Phase1::Aggressive)
        };
        change(side, &mut policy);
        policy
    };
    let mut pair = Pair::new();
    pair.configure(B, vec![of(B)]);
    let insider = Insider::open(&mut pair, &of(A));
    assert!(pair.told(B, "established"));
    heard(&mut pair);
    (pair, insider, of(A))
}

fn notify_of(payloads: &[Payload]) -> Option<NotifyType> {
    payloads.iter().find_map(|payload| match payload {
        Payload::Notify(notify) => Some(notify.notify_type),
        _ => None,
    })
}

#[test]
fn new_group_mode_is_refused_politely() {
    let (mut pair, mut insider, policy) = opened();
    let id = insider.fresh();
    let header = insider.header(ExchangeType::NEW_GROUP_MODE, id, Flags::default());
    let sa = offer::phase1(&policy, AuthMethod::PRE_SHARED_KEY);
    let (octets, _) = insider.seal(&header, &[], vec![Payload::Sa(sa)]);
    hand(&mut pair, &octets);
    let answers = heard(&mut pair);
    let (_, payloads) = insider.read(&answers[0]);
    assert_eq!(notify_of(&payloads), Some(NotifyType::UNSUPPORTED_EXCHANGE_TYPE));
    assert!(pair.told(B, "New Group Mode, which is not spoken here"));
    assert_eq!(pair.sides[B].engine.sas(pair.now).len(), 1);
}

#[test]
fn an_initiator_that_sets_the_commit_bit_is_waited_for() {
    let (mut pair, mut insider, policy) = opened();
    let (first, header, iv) = insider.quick(&policy, 0x2000, Flags::COMMIT);
    hand(&mut pair, &first);
    let answer = heard(&mut pair).pop().unwrap();
    hand(&mut pair, &insider.conclude(&header, &iv, &answer));
    let count = |pair: &Pair| pair.sides[B].kernel.count(Direction::Out);
    assert_eq!(count(&pair), 0, "it must wait");
    let (kind, spi) = (NotifyType::CONNECTED, EspSpi(0x2000));
    let connected = Notify::about_child(kind, ProtocolId::IPSEC_ESP, spi, Vec::new());
    insider.tell(&mut pair, Payload::Notify(connected));
    assert_eq!(count(&pair), 1);
    assert!(pair.told(B, "child SA in"));
}

#[test]
fn one_that_never_says_connected_is_not_waited_for_long() {
    let (mut pair, mut insider, policy) = opened();
    let (first, header, iv) = insider.quick(&policy, 0x2000, Flags::COMMIT);
    hand(&mut pair, &first);
    let answer = heard(&mut pair).pop().unwrap();
    hand(&mut pair, &insider.conclude(&header, &iv, &answer));
    pair.pass(5);
    assert_eq!(pair.sides[B].kernel.count(Direction::Out), 1);
}

#[test]
fn quick_modes_without_end_are_bounded() {
    let (mut pair, mut insider, policy) = opened();
    for number in 0..60 {
        let (first, ..) = insider.quick(&policy, 0x2000 + number, Flags::default());
        hand(&mut pair, &first);
    }
    assert!(pair.told(B, "more than 32 Quick Modes at once"));
    assert_eq!(pair.sides[B].kernel.count(Direction::In), 32);
    pair.pass(300);
    assert_eq!(pair.sides[B].kernel.count(Direction::In), 0);
    assert!(pair.sides[B].kernel.larval.is_empty());
}

#[test]
fn what_decrypts_and_does_not_begin_with_a_hash_counts_for_nothing() {
    let (mut pair, mut insider, _) = opened();
    let (initiator, responder) = (insider.cookies.0, insider.cookies.1);
    let spis = vec![Spi::Other([initiator.0, responder.0].concat())];
    let delete = Payload::Delete(Delete { doi: Doi::IPSEC, protocol: ProtocolId::ISAKMP, spis });
    // Under the right key, but nothing says that who sent it has SKEYID_a.
    for hash in [None, Some(Payload::Hash(vec![0; 20]))] {
        let id = insider.fresh();
        let header = insider.header(ExchangeType::INFORMATIONAL, id, Flags::default());
        let iv = insider.iv.phase2(insider.keys.prf, id);
        let payloads: Vec<_> = hash.into_iter().chain([delete.clone()]).collect();
        let (octets, _) = protect::seal(&insider.keys, &iv, &header, &payloads).unwrap();
        hand(&mut pair, &octets);
        assert_eq!(pair.sides[B].engine.sas(pair.now).len(), 1);
    }
    assert_eq!(pair.sides[B].engine.stats().forged, 2);
    insider.tell(&mut pair, delete);
    assert_eq!(pair.sides[B].engine.sas(pair.now).len(), 0);
}

#[test]
fn probes_are_answered_with_their_own_number() {
    let (mut pair, mut insider, _) = opened();
    for sequence in [7u32, 7, 3, 0xffff_ffff] {
        let kind = NotifyType::R_U_THERE;
        let data = sequence.to_be_bytes().to_vec();
        let cookies = (insider.cookies.0, insider.cookies.1);
        let probe = Notify::about_ike(kind, cookies.0, cookies.1, data.clone());
        insider.tell(&mut pair, Payload::Notify(probe));
        let (_, payloads) = insider.read(&heard(&mut pair)[0]);
        assert_eq!(notify_of(&payloads), Some(NotifyType::R_U_THERE_ACK));
        let Some(Payload::Notify(ack)) = payloads.last() else { panic!("{payloads:?}") };
        assert_eq!(ack.data, data);
    }
}

#[test]
fn a_limit_in_kilobytes_ends_phase_1() {
    for kilobytes in [1, 1 << 20] {
        let of = |side| Policy { start: Start::Passive, ..ikev1(side, Phase1::Aggressive) };
        let mut pair = Pair::new();
        pair.configure(B, vec![of(B)]);
        let mut offered = offer::phase1(&of(A), AuthMethod::PRE_SHARED_KEY);
        let limit = Lifetime { seconds: 0, bytes: kilobytes << 10 };
        let attributes = &mut offered.proposals[0].transforms[0].attributes;
        attributes.extend(offer::lifetime_attributes(limit).into_iter().map(|mut it| {
            // The same units; the numbers of phase 1.
            it.attribute_type = match IpsecAttribute(it.attribute_type) {
                IpsecAttribute::SA_LIFE_TYPE => IkeAttribute::LIFE_TYPE.0,
                _ => IkeAttribute::LIFE_DURATION.0,
            };
            it
        }));
        let mut insider = Insider::open_offering(&mut pair, &of(A), 77, offered);
        for sequence in 0u32..20 {
            let (initiator, responder) = (insider.cookies.0, insider.cookies.1);
            let data = sequence.to_be_bytes().to_vec();
            let probe = Notify::about_ike(NotifyType::R_U_THERE, initiator, responder, data);
            insider.tell(&mut pair, Payload::Notify(probe));
        }
        assert_eq!(pair.sides[B].engine.sas(pair.now).len(), 1, "it is used to the end");
        pair.pass(40);
        let left = pair.sides[B].engine.sas(pair.now).len();
        assert_eq!(left, usize::from(kilobytes > 1), "{kilobytes}");
    }
}
