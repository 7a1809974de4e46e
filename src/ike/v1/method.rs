//! The authentication methods of phase 1 as a table: what SKEYID is made of, what each side proves itself by,
//! and who logs in afterwards.

use super::rules::{Method as Layout, Proof};
use crate::conf::{self, Ike1Proof, Policy, Signature, Xauth};
use crate::crypto::Prf;
use crate::wire::iana::v1::AuthMethod;
use crate::wire::iana::v2::PrfId;

/// What SKEYID is made of (RFC 2409 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seed {
    /// The pre-shared key.
    SharedKey,
    /// The nonces and the shared secret: where anybody signs.
    Signatures,
    /// The nonces, which only the holders of the keys could read.
    Encryption,
}

/// One method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// Its number.
    pub id: AuthMethod,
    /// What SKEYID is made of.
    pub seed: Seed,
    /// Which payloads come when.
    pub layout: Layout,
    /// By which payload the initiator and the responder prove who they are.
    proofs: (Proof, Proof),
    /// Whether somebody logs in by XAUTH after phase 1, and whether that is the initiator.
    client: Option<bool>,
    /// The method of the signatures, where there are any.
    pub signature: AuthMethod,
}

const fn row(id: AuthMethod, seed: Seed, proofs: (Proof, Proof), client: Option<bool>) -> Method {
    let layout = Layout::Plain;
    Method { id, seed, layout, proofs, client, signature: AuthMethod::RSA_SIGNATURES }
}

const HASHES: (Proof, Proof) = (Proof::Hash, Proof::Hash);
const SIGNATURES: (Proof, Proof) = (Proof::Signature, Proof::Signature);

/// All that are spoken here.
static TABLE: &[Method] = &[
    row(AuthMethod::PRE_SHARED_KEY, Seed::SharedKey, HASHES, None),
    row(AuthMethod::RSA_SIGNATURES, Seed::Signatures, SIGNATURES, None),
    Method {
        signature: AuthMethod::ECDSA_SHA256_P256,
        ..row(AuthMethod::ECDSA_SHA256_P256, Seed::Signatures, SIGNATURES, None)
    },
    Method {
        signature: AuthMethod::ECDSA_SHA384_P384,
        ..row(AuthMethod::ECDSA_SHA384_P384, Seed::Signatures, SIGNATURES, None)
    },
    Method {
        signature: AuthMethod::ECDSA_SHA512_P521,
        ..row(AuthMethod::ECDSA_SHA512_P521, Seed::Signatures, SIGNATURES, None)
    },
    Method {
        layout: Layout::Encryption,
        ..row(AuthMethod::RSA_ENCRYPTION, Seed::Encryption, HASHES, None)
    },
    Method {
        layout: Layout::Revised,
        ..row(AuthMethod::RSA_REVISED_ENCRYPTION, Seed::Encryption, HASHES, None)
    },
    row(AuthMethod::XAUTH_INIT_PRE_SHARED, Seed::SharedKey, HASHES, Some(true)),
    row(AuthMethod::XAUTH_RESP_PRE_SHARED, Seed::SharedKey, HASHES, Some(false)),
    row(AuthMethod::XAUTH_INIT_RSA, Seed::Signatures, SIGNATURES, Some(true)),
    row(AuthMethod::XAUTH_RESP_RSA, Seed::Signatures, SIGNATURES, Some(false)),
    // Who logs in proves nothing before (draft-ietf-ipsec-isakmp-hybrid-auth §3.2).
    row(AuthMethod::HYBRID_INIT_RSA, Seed::Signatures, (Proof::Hash, Proof::Signature), Some(true)),
    row(
        AuthMethod::HYBRID_RESP_RSA,
        Seed::Signatures,
        (Proof::Signature, Proof::Hash),
        Some(false),
    ),
];

impl Method {
    /// The method of this number, if it is spoken here.
    pub fn of(id: AuthMethod) -> Option<Self> {
        TABLE.iter().find(|method| method.id == id).copied()
    }

    /// By which payload the initiator, or the responder, proves who it is.
    pub fn proof(&self, initiators: bool) -> Proof {
        if initiators { self.proofs.0 } else { self.proofs.1 }
    }

    /// Who logs in after phase 1, if somebody does: we, or the peer.
    pub fn client(&self, initiator: bool) -> Option<Client> {
        let client = self.client?;
        Some(if client == initiator { Client::We } else { Client::Peer })
    }

    /// The function that makes what is signed, where it is not the negotiated one: a signature that goes with
    /// one hash is over the HMAC with that hash (RFC 2409 §5.1, RFC 4754).
    pub fn proof_prf(&self) -> Option<Prf> {
        let id = match self.signature {
            AuthMethod::ECDSA_SHA256_P256 => PrfId::PRF_HMAC_SHA2_256,
            AuthMethod::ECDSA_SHA384_P384 => PrfId::PRF_HMAC_SHA2_384,
            AuthMethod::ECDSA_SHA512_P521 => PrfId::PRF_HMAC_SHA2_512,
            _ => return None,
        };
        Prf::new(id).ok()
    }

    /// Whether the pre-shared key is what authenticates.
    pub fn is_shared_key(&self) -> bool {
        self.seed == Seed::SharedKey
    }
}

/// Who logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// We do.
    We,
    /// The peer does.
    Peer,
}

/// How a policy lets the sides prove who they are, where we initiate or respond; the first is offered.
pub fn methods(policy: &Policy, initiator: bool) -> Vec<AuthMethod> {
    // Whether it is the initiator who logs in.
    let client = policy.ike1.xauth.as_ref().map(|who| initiator == matches!(who, Xauth::As(_)));
    let shared_key = policy.auth.responder == conf::Method::Psk;
    match (policy.ike1.proof, client) {
        (Ike1Proof::Encryption, _) => vec![AuthMethod::RSA_ENCRYPTION],
        (Ike1Proof::RevisedEncryption, _) => vec![AuthMethod::RSA_REVISED_ENCRYPTION],
        (Ike1Proof::Hybrid, Some(true)) => vec![AuthMethod::HYBRID_INIT_RSA],
        (Ike1Proof::Hybrid, Some(false)) => vec![AuthMethod::HYBRID_RESP_RSA],
        // It proves nothing at all; the configuration has no such rule.
        (Ike1Proof::Hybrid, None) => Vec::new(),
        (Ike1Proof::Usual, Some(true)) if shared_key => vec![AuthMethod::XAUTH_INIT_PRE_SHARED],
        (Ike1Proof::Usual, Some(false)) if shared_key => vec![AuthMethod::XAUTH_RESP_PRE_SHARED],
        (Ike1Proof::Usual, Some(true)) => vec![AuthMethod::XAUTH_INIT_RSA],
        (Ike1Proof::Usual, Some(false)) => vec![AuthMethod::XAUTH_RESP_RSA],
        (Ike1Proof::Usual, None) => usual(policy.auth.responder),
    }
}

fn usual(method: conf::Method) -> Vec<AuthMethod> {
    match method {
        conf::Method::Psk => vec![AuthMethod::PRE_SHARED_KEY],
        conf::Method::Eap(_) => Vec::new(),
        conf::Method::Signature(kind) => match kind {
            Signature::Rsa => vec![AuthMethod::RSA_SIGNATURES],
            Signature::Ecdsa256 => vec![AuthMethod::ECDSA_SHA256_P256],
            Signature::Ecdsa384 => vec![AuthMethod::ECDSA_SHA384_P384],
            Signature::Ecdsa521 => vec![AuthMethod::ECDSA_SHA512_P521],
            Signature::Any | Signature::Rfc7427 => vec![
                AuthMethod::RSA_SIGNATURES,
                AuthMethod::ECDSA_SHA256_P256,
                AuthMethod::ECDSA_SHA384_P384,
                AuthMethod::ECDSA_SHA512_P521,
            ],
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_as_long_as_the_hash_of_the_signature() {
        let rows = [
            (AuthMethod::RSA_SIGNATURES, None),
            (AuthMethod::ECDSA_SHA256_P256, Some(32)),
            (AuthMethod::ECDSA_SHA384_P384, Some(48)),
            (AuthMethod::ECDSA_SHA512_P521, Some(64)),
        ];
        for (id, len) in rows {
            let method = Method::of(id).unwrap();
            assert_eq!(method.proof_prf().map(|prf| prf.len()), len, "{id}");
        }
    }

    #[test]
    fn who_logs_in_depends_on_who_begins() {
        let init = Method::of(AuthMethod::XAUTH_INIT_PRE_SHARED).unwrap();
        assert_eq!(init.client(true), Some(Client::We));
        assert_eq!(init.client(false), Some(Client::Peer));
        let resp = Method::of(AuthMethod::HYBRID_RESP_RSA).unwrap();
        assert_eq!(resp.client(true), Some(Client::Peer));
        assert_eq!(resp.client(false), Some(Client::We));
        assert_eq!(Method::of(AuthMethod::RSA_SIGNATURES).unwrap().client(true), None);
    }

    #[test]
    fn in_hybrid_authentication_only_the_gateway_signs() {
        for (id, clients) in
            [(AuthMethod::HYBRID_INIT_RSA, true), (AuthMethod::HYBRID_RESP_RSA, false)]
        {
            let method = Method::of(id).unwrap();
            assert_eq!(method.proof(clients), Proof::Hash);
            assert_eq!(method.proof(!clients), Proof::Signature);
        }
    }

    #[test]
    fn each_method_stands_once() {
        for (at, method) in TABLE.iter().enumerate() {
            assert!(TABLE[at + 1..].iter().all(|other| other.id != method.id));
            assert!(method.id.name().is_some());
        }
    }
}
