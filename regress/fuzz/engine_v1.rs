//! IKEv1: two engines on a network that mutates while a user logs in and is given an address, and a peer with
//! the right key that talks nonsense in transaction exchanges.

use std::collections::BTreeMap;

use crate::engine::mutate;
use crate::pair::*;
use crate::v1_insider::{Insider, hand, heard};
use oakd::conf::*;
use oakd::crypto::{Random, Secret, SeededRandom};
use oakd::wire::iana::v1::{ConfigAttribute, ConfigType, ExchangeType};
use oakd::wire::iana::v2::{GroupId, PrfId};
use oakd::wire::v1::{Attributes, Payload};
use oakd::wire::{Flags, Header};

const ROUNDS: u64 = 60;

fn configure(pair: &mut Pair, mode: Phase1, sides: &[usize]) {
    for side in [A, B] {
        let password = Secret::from(&b"open sesame"[..]);
        pair.sides[side].users = BTreeMap::from([("alice".into(), password)]);
    }
    for side in sides.iter().copied() {
        pair.configure(side, vec![policy_of(side, mode)]);
    }
}

fn policy_of(side: usize, mode: Phase1) -> Policy {
    let dynamic = FlowEnd { addresses: FlowAddresses::Dynamic, ports: (0, 65535) };
    let mut it = Policy {
        version: Version::V1(mode),
        ike_proposals: vec![Proposal {
            prf: vec![PrfId::PRF_HMAC_SHA1],
            integrity: vec![],
            ..cbc(&[GroupId::MODP_1024])
        }],
        child_proposals: vec![child(cbc(&[]))],
        ..policy(side)
    };
    if side == A {
        it.ike1.xauth = Some(Xauth::As("alice".into()));
        it.flows = vec![Flow { local: dynamic, ..flow("10.1.0.0/24", "10.2.0.0/16") }];
        it.wanted =
            vec![Wanted { option: CfgOption::Address, family: Family::Inet, address: None }];
    } else {
        it.ike1.xauth = Some(Xauth::Peer);
        it.flows = vec![Flow { remote: dynamic, ..flow("10.2.0.0/16", "10.1.0.0/24") }];
        it.provision.addresses = vec![AddressPool::new(ip("10.99.0.0"), 24).unwrap()];
    }
    it
}

#[test]
fn a_login_on_a_mutating_network_is_survived() {
    for seed in 0..ROUNDS {
        let mode = if seed % 2 == 0 { Phase1::Main } else { Phase1::Aggressive };
        let mut random = SeededRandom::new(seed);
        let mut pair = Pair::with(oakd::ike::Settings::default(), seed);
        pair.network = Box::new(move |_, datagram| match random.below(4) {
            0 => Fate::Instead(mutate(&datagram.octets, &mut random)),
            _ => Fate::Deliver,
        });
        configure(&mut pair, mode, &[B, A]);
        pair.pass(60);
        pair.network = Box::new(|_, _| Fate::Deliver);
        pair.pass(600);
        pair.assert_children(1);
        pair.end();
    }
}

#[test]
fn attributes_that_make_no_sense_are_survived() {
    for seed in 0..ROUNDS * 4 {
        let mut random = SeededRandom::new(seed);
        let mut pair = Pair::with(oakd::ike::Settings::default(), seed);
        configure(&mut pair, Phase1::Aggressive, &[B]);
        let mut insider = Insider::open(&mut pair, &policy_of(A, Phase1::Aggressive));
        for _ in 0..20 {
            let kind = ConfigType(random.below(6) as u8);
            let classes = [1, 2, 3, 8, 13, 14, 16520, 16521, 16522, 16525, 16527, 28676];
            let count = random.below(4);
            let attributes = (0..count).map(|_| {
                let class = classes[random.below(classes.len() as u64) as usize];
                let octets = vec![random.below(256) as u8; random.below(40) as usize];
                ConfigAttribute(class).with(&octets)
            });
            let attributes = attributes.collect();
            let payload =
                Payload::Attributes(Attributes { config_type: kind, identifier: 1, attributes });
            // What B began, rather than answered.
            let begun = |octets: &Vec<u8>| {
                let header = Header::parse(octets).unwrap();
                header.exchange_v1() == ExchangeType::TRANSACTION && header.message_id.0 > 1 << 16
            };
            let question = heard(&mut pair).into_iter().rfind(begun);
            match question.filter(|_| random.below(2) == 0) {
                Some(question) => insider.reply(&mut pair, &question, payload),
                None => {
                    let id = insider.fresh();
                    let header = insider.header(ExchangeType::TRANSACTION, id, Flags::default());
                    let (octets, _) = insider.seal(&header, &[], vec![payload]);
                    hand(&mut pair, &octets);
                }
            }
            pair.flying.retain(|it| it.to == A);
        }
        assert!(pair.sides[B].kernel.sas.is_empty());
        let login = |it: &oakd::ike::report::Report| format!("{it:?}").contains("LoggedIn");
        assert!(!pair.sides[B].reports.iter().any(login));
    }
}
