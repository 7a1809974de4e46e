//! Policies that a story begins with, and what they are made of.

use std::net::IpAddr;
use std::sync::Arc;

use oakd::conf::*;
use oakd::wire::iana::v2::{EncryptionId, GroupId, IdType, IntegrityId, PrfId};

use super::A;

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').unwrap();
    Prefix::new(ip(address), length.parse().unwrap()).unwrap()
}

pub fn flow(from: &str, to: &str) -> Flow {
    let end = |text| FlowEnd { addresses: FlowAddresses::Prefix(prefix(text)), ports: (0, 65535) };
    Flow { ip_protocol: 0, local: end(from), remote: end(to), srcnat: None }
}

pub fn fqdn(name: &str) -> Identity {
    Identity { id_type: IdType::ID_FQDN, data: name.as_bytes().to_vec() }
}

pub fn gcm(groups: &[GroupId]) -> Proposal {
    Proposal {
        encryption: vec![(EncryptionId::ENCR_AES_GCM_16, Some(256))],
        prf: vec![PrfId::PRF_HMAC_SHA2_256],
        integrity: vec![],
        groups: groups.to_vec(),
        esn: EsnChoice::No,
    }
}

pub fn cbc(groups: &[GroupId]) -> Proposal {
    Proposal {
        encryption: vec![(EncryptionId::ENCR_AES_CBC, Some(128))],
        integrity: vec![IntegrityId::AUTH_HMAC_SHA2_256_128],
        ..gcm(groups)
    }
}

pub fn child(mut proposal: Proposal) -> Proposal {
    proposal.prf.clear();
    proposal
}

/// A policy of side A (B is the mirror): active, one flow, AES-GCM with x25519.
pub fn policy(side: usize) -> Policy {
    let nets = ["10.1.0.0/24", "10.2.0.0/24"];
    let hosts = ["192.0.2.1", "192.0.2.2"];
    let names = ["a.example", "b.example"];
    let peer = 1 - side;
    Policy {
        name: PolicyName("test".into()),
        version: Version::V2,
        start: if side == A { Start::Active } else { Start::Passive },
        quick: false,
        skip: false,
        default: false,
        protocol: SaProtocol::Esp,
        mode: Mode::Tunnel,
        ipcomp: false,
        around: None,
        force_natt: false,
        family: None,
        rdomain: None,
        flows: vec![flow(nets[side], nets[peer])],
        local: Some(Prefix::host(ip(hosts[side]))),
        peer: Some(Prefix::host(ip(hosts[peer]))),
        ike_proposals: vec![gcm(&[GroupId::CURVE25519])],
        child_proposals: vec![child(gcm(&[]))],
        child_proposals_explicit: false,
        key_mark: 0,
        local_id: Some(fqdn(names[side])),
        remote_id: Some(fqdn(names[peer])),
        auth: Auth::PSK,
        ike1: Ike1Auth::default(),
        provision: Provision::default(),
        wanted: Vec::new(),
        ike_lifetime: 86400,
        local_by_route: false,
        reauth: false,
        no_nat: false,
        childless: false,
        child_lifetime: Lifetime { seconds: 3600, bytes: 0 },
        tag: None,
        tap: None,
        iface: None,
    }
}

pub fn config(policies: Vec<Policy>) -> Arc<Config> {
    let globals = Globals { dpd_check_interval: 0, ..Globals::default() };
    Arc::new(Config { globals, policies })
}
