//! Keys and certificates: who is believed, and what is said of everybody else.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../util/certs.rs"]
mod certs;
mod encryption;
mod hostile;
mod identity;
mod issuer;
mod layout;
mod revoked;
mod vectors;

use certs::*;
use oakd::crypto::signature;
use oakd::ike::auth::{Cert, Proof, Verify, Wish};
use oakd::pki::Keyring;
use oakd::wire::iana::v2::{AuthMethod, IdType};
use oakd::wire::v2::SignatureData;

/// What a peer with this key says, calling itself so, with these certificates.
pub fn said(holder: &Holder, identity: oakd::conf::Identity, certs: Vec<Cert>) -> Verify {
    let octets = b"what is signed".to_vec();
    let kind = signature::KeyKind::of(&holder.key).unwrap();
    let scheme = signature::choose(kind, signature::HASHES).unwrap();
    let signature = signature::sign(&holder.key, scheme, &octets).unwrap();
    let data = SignatureData { algorithm: scheme.algorithm.to_vec(), signature }.emit();
    let proof = Proof::V2 { method: AuthMethod::DIGITAL_SIGNATURE, data, wish: Wish::Any };
    Verify { identity, octets, proof, certs }
}

pub fn x509(holder: &Holder) -> Cert {
    Cert::X509(holder.cert.to_der().unwrap())
}

pub fn host_id(text: &str) -> oakd::conf::Identity {
    name(IdType::ID_FQDN, text)
}

/// Why a ring does not take it.
pub fn why(ring: &Keyring, asked: &Verify) -> String {
    ring.judge(asked).expect_err("it was accepted").to_string()
}
