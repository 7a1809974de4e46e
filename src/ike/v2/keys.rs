//! Key derivation (RFC 7296 §2.13 to §2.18).
//!
//! Fresh keys come from a list of shared secrets, in the order in which they were agreed on: one of
//! the key exchange, none for a child SA without PFS. With additional key exchanges (RFC 9370) there
//! are more: the first stands before the nonces, the others behind them. A key exchange within
//! IKE_INTERMEDIATE (RFC 9370 §2.2.2) replaces all keys by [`expand`] of [`rekey_seed`], with the
//! SK_d and the nonces that there are; what the exchanges themselves said goes into the proofs
//! behind the identity (RFC 9242 §3.3.2).

use crate::crypto::cipher::Keys;
use crate::crypto::{ChildSuite, Cipher, Error, IkeSuite, Prf, Secret};
use crate::ike::child::{ChildKeys, DirectionKeys};
use crate::wire::IkeSpi;

/// What protects the messages of an IKE SA, and what its children's keys come from.
#[derive(Debug)]
pub struct Protection {
    /// The algorithms by number.
    pub suite: IkeSuite,
    /// The cipher.
    pub cipher: Cipher,
    /// The PRF.
    pub prf: Prf,
    /// SK_d.
    pub derive: Secret,
    /// For what we receive.
    pub inbound: Keys,
    /// For what we send.
    pub outbound: Keys,
    /// The next explicit IV where it need only differ: never used twice under one key.
    pub next_iv: u64,
}

/// SK_pi and SK_pr: only needed until both sides have proved who they are.
#[derive(Debug)]
pub struct ProofKeys {
    /// SK_pi.
    pub initiator: Secret,
    /// SK_pr.
    pub responder: Secret,
}

/// The nonces and SPIs of an exchange, initiator's first.
#[derive(Debug, Clone, Copy)]
pub struct Seeds<'a> {
    /// Both nonces.
    pub nonces: (&'a [u8], &'a [u8]),
    /// Both SPIs.
    pub spis: (IkeSpi, IkeSpi),
}

/// SKEYSEED of a first IKE SA: `prf(Ni | Nr, g^ir)`.
///
/// # Errors
///
/// A PRF that is not computed here.
pub fn first_seed(suite: &IkeSuite, seeds: &Seeds<'_>, shared: &Secret) -> Result<Secret, Error> {
    let (ni, nr) = seeds.nonces;
    let key = [ni, nr].concat();
    Ok(suite.prf()?.prf(&key, &[shared.octets()]))
}

/// SKEYSEED of an IKE SA by rekeying: `prf(SK_d (old), g^ir (new) | Ni | Nr)`, further shared secrets
/// behind.
pub fn rekey_seed(old: &Protection, seeds: &Seeds<'_>, shared: &[&Secret]) -> Secret {
    old.prf.prf(old.derive.octets(), &seed_parts(shared, seeds.nonces))
}

/// The shared secrets around the nonces: the first before, the others behind.
fn seed_parts<'a>(shared: &'a [&Secret], nonces: (&'a [u8], &'a [u8])) -> Vec<&'a [u8]> {
    let mut octets = shared.iter().map(|secret| secret.octets());
    let mut parts: Vec<_> = octets.next().into_iter().chain([nonces.0, nonces.1]).collect();
    parts.extend(octets);
    parts
}

/// All keys of an IKE SA: `prf+(SKEYSEED, Ni | Nr | SPIi | SPIr)`, cut in the order SK_d, SK_ai,
/// SK_ar, SK_ei, SK_er, SK_pi, SK_pr.
///
/// # Errors
///
/// A suite that is not computed here.
pub fn expand(
    suite: IkeSuite,
    seed: &Secret,
    seeds: &Seeds<'_>,
    initiator: bool,
) -> Result<(Protection, ProofKeys), Error> {
    let (cipher, prf) = (suite.cipher()?, suite.prf()?);
    let (key, integrity, prf_len) = (cipher.key_len(), cipher.integrity_key_len(), prf.len());
    let parts = [seeds.nonces.0, seeds.nonces.1, &seeds.spis.0.0, &seeds.spis.1.0];
    let all = prf.plus(seed.octets(), &parts, 3 * prf_len + 2 * (key + integrity));
    let mut rest = all.octets();
    let mut cut = |len: usize| {
        let (part, after) = rest.split_at(len.min(rest.len()));
        rest = after;
        Secret::from(part)
    };
    let derive = cut(prf_len);
    let (ai, ar) = (cut(integrity), cut(integrity));
    let (ei, er) = (cut(key), cut(key));
    let proofs = ProofKeys { initiator: cut(prf_len), responder: cut(prf_len) };
    let from_initiator = Keys { encryption: ei, integrity: ai };
    let from_responder = Keys { encryption: er, integrity: ar };
    let (inbound, outbound) = match initiator {
        true => (from_responder, from_initiator),
        false => (from_initiator, from_responder),
    };
    Ok((Protection { suite, cipher, prf, derive, inbound, outbound, next_iv: 0 }, proofs))
}

/// The keys of a child SA: `prf+(SK_d, [g^ir] | Ni | Nr | …)`, initiator's direction first, in each the
/// cipher's before those for integrity (RFC 7296 §2.17). The initiator is that of the exchange.
pub fn child(
    protection: &Protection,
    suite: &ChildSuite,
    nonces: (&[u8], &[u8]),
    shared: &[&Secret],
    initiator: bool,
) -> ChildKeys {
    let (key, integrity) = (suite.encryption_len(), suite.integrity_len());
    let seed = seed_parts(shared, nonces);
    let all = protection.prf.plus(protection.derive.octets(), &seed, 2 * (key + integrity));
    let mut rest = all.octets();
    let mut direction = || {
        let mut cut = |len: usize| {
            let (part, after) = rest.split_at(len.min(rest.len()));
            rest = after;
            Secret::from(part)
        };
        DirectionKeys { encryption: cut(key), integrity: cut(integrity), around: None }
    };
    let (from_initiator, from_responder) = (direction(), direction());
    match initiator {
        true => ChildKeys { inbound: from_responder, outbound: from_initiator },
        false => ChildKeys { inbound: from_initiator, outbound: from_responder },
    }
}

/// The octets that one side proves its identity over (RFC 7296 §2.15): its first message, the
/// other's nonce, `prf(SK_p, its ID payload's body)`.
pub fn proof_octets(
    prf: Prf,
    proof_key: &Secret,
    first_message: &[u8],
    nonce: &[u8],
    id_body: &[u8],
) -> Vec<u8> {
    let id = prf.prf(proof_key.octets(), &[id_body]);
    [first_message, nonce, id.octets()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_secret_stands_before_the_nonces_and_others_behind() {
        let (one, two) = (Secret::from(&b"one"[..]), Secret::from(&b"two"[..]));
        let nonces = (&b"ni"[..], &b"nr"[..]);
        assert_eq!(seed_parts(&[], nonces).concat(), b"ninr");
        assert_eq!(seed_parts(&[&one], nonces).concat(), b"oneninr");
        assert_eq!(seed_parts(&[&one, &two], nonces).concat(), b"oneninrtwo");
    }
}
