//! Key derivation (RFC 7296 §2.13 to §2.18).

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

/// SKEYSEED of an IKE SA by rekeying: `prf(SK_d (old), g^ir (new) | Ni | Nr)`.
pub fn rekey_seed(old: &Protection, seeds: &Seeds<'_>, shared: &Secret) -> Secret {
    let (ni, nr) = seeds.nonces;
    old.prf.prf(old.derive.octets(), &[shared.octets(), ni, nr])
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

/// The keys of a child SA: `prf+(SK_d, [g^ir] | Ni | Nr)`, initiator's direction first, in each the
/// cipher's before those for integrity (RFC 7296 §2.17). The initiator is that of the exchange.
pub fn child(
    protection: &Protection,
    suite: &ChildSuite,
    nonces: (&[u8], &[u8]),
    shared: Option<&Secret>,
    initiator: bool,
) -> ChildKeys {
    let (key, integrity) = (suite.encryption_len(), suite.integrity_len());
    let fresh = shared.map_or(&[][..], Secret::octets);
    let seed = [fresh, nonces.0, nonces.1];
    let all = protection.prf.plus(protection.derive.octets(), &seed, 2 * (key + integrity));
    let mut rest = all.octets();
    let mut direction = || {
        let mut cut = |len: usize| {
            let (part, after) = rest.split_at(len.min(rest.len()));
            rest = after;
            Secret::from(part)
        };
        DirectionKeys { encryption: cut(key), integrity: cut(integrity) }
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
