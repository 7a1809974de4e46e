//! The hashes by which IKEv1 authenticates (RFC 2409 §5 to §5.7), and NAT-D (RFC 3947 §3.2).

use std::net::SocketAddr;

use super::keys::{Cookies, Keys};
use crate::crypto::prf::Hash;
use crate::crypto::{Prf, Secret};
use crate::wire::MessageId;

/// What both hashes of phase 1 are computed of.
#[derive(Debug, Clone, Copy)]
pub struct Phase1<'a> {
    /// The public values as they travelled, the initiator's first.
    pub publics: (&'a [u8], &'a [u8]),
    /// The cookies.
    pub cookies: Cookies,
    /// The body of the initiator's SA payload as it travelled.
    pub sa: &'a [u8],
}

impl Phase1<'_> {
    /// HASH_I: `prf(SKEYID, g^xi | g^xr | CKY-I | CKY-R | SAi_b | IDii_b)`.
    pub fn initiator(&self, prf: Prf, skeyid: &Secret, id: &[u8]) -> Vec<u8> {
        let ((ours, theirs), Cookies(us, them)) = (self.publics, self.cookies);
        prf.prf(skeyid.octets(), &[ours, theirs, &us.0, &them.0, self.sa, id]).octets().to_vec()
    }

    /// HASH_R: `prf(SKEYID, g^xr | g^xi | CKY-R | CKY-I | SAi_b | IDir_b)`.
    pub fn responder(&self, prf: Prf, skeyid: &Secret, id: &[u8]) -> Vec<u8> {
        let ((theirs, ours), Cookies(them, us)) = (self.publics, self.cookies);
        prf.prf(skeyid.octets(), &[ours, theirs, &us.0, &them.0, self.sa, id]).octets().to_vec()
    }
}

/// HASH(1) and its like: `prf(SKEYID_a, M-ID | rest)` where `rest` is what follows the hash payload. Also of
/// informational (§5.7) and transaction exchanges.
pub fn first(keys: &Keys, id: MessageId, rest: &[u8]) -> Vec<u8> {
    authenticated(keys, &[&id.0.to_be_bytes(), rest])
}

/// HASH(2): `prf(SKEYID_a, M-ID | Ni_b | rest)`.
pub fn second(keys: &Keys, id: MessageId, nonce: &[u8], rest: &[u8]) -> Vec<u8> {
    authenticated(keys, &[&id.0.to_be_bytes(), nonce, rest])
}

/// HASH(3): `prf(SKEYID_a, 0 | M-ID | Ni_b | Nr_b)`. What follows the hash payload is not covered.
pub fn third(keys: &Keys, id: MessageId, nonces: (&[u8], &[u8])) -> Vec<u8> {
    authenticated(keys, &[&[0], &id.0.to_be_bytes(), nonces.0, nonces.1])
}

fn authenticated(keys: &Keys, parts: &[&[u8]]) -> Vec<u8> {
    keys.prf.prf(keys.authenticate.octets(), parts).octets().to_vec()
}

/// NAT-D: `hash(CKY-I | CKY-R | address | port)`.
pub fn nat_d(hash: Hash, cookies: Cookies, address: SocketAddr) -> Vec<u8> {
    let port = address.port().to_be_bytes();
    let parts = |ip: &[u8]| {
        let (out, len) = hash.digest(&[&cookies.0.0, &cookies.1.0, ip, &port]);
        out[..len].to_vec()
    };
    match address {
        SocketAddr::V4(v4) => parts(&v4.ip().octets()),
        SocketAddr::V6(v6) => parts(&v6.ip().octets()),
    }
}
