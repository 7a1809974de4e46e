//! Key derivation (RFC 2409 §5, §5.5, appendix B).

use crate::crypto::{Block, ChildSuite, Error, IkeSuite, Prf, Secret};
use crate::ike::child::DirectionKeys;
use crate::wire::IkeSpi;

/// The cookies of both ends, the initiator's first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cookies(pub IkeSpi, pub IkeSpi);

/// What phase 1 ends in: the keys of the ISAKMP SA.
#[derive(Debug)]
pub struct Keys {
    /// The negotiated hash, as a function with a key.
    pub prf: Prf,
    /// The cipher of its messages.
    pub block: Block,
    /// SKEYID_d, from which the keys of phase 2 come.
    pub derive: Secret,
    /// SKEYID_a, which authenticates messages.
    pub authenticate: Secret,
    /// Ka: the key of the cipher, made of SKEYID_e.
    pub cipher: Secret,
}

/// SKEYID for authentication by pre-shared key: `prf(psk, Ni_b | Nr_b)`.
pub fn skeyid_psk(prf: Prf, psk: &Secret, nonces: (&[u8], &[u8])) -> Secret {
    prf.prf(psk.octets(), &[nonces.0, nonces.1])
}

/// SKEYID for authentication by signatures: `prf(Ni_b | Nr_b, g^xy)`.
pub fn skeyid_signatures(prf: Prf, nonces: (&[u8], &[u8]), shared: &Secret) -> Secret {
    prf.prf(&[nonces.0, nonces.1].concat(), &[shared.octets()])
}

/// SKEYID for authentication by public key encryption, plain and revised:
/// `prf(hash(Ni_b | Nr_b), CKY-I | CKY-R)`.
pub fn skeyid_encryption(prf: Prf, nonces: (&[u8], &[u8]), cookies: Cookies) -> Secret {
    let (mut key, len) = prf.hash().digest(&[nonces.0, nonces.1]);
    let skeyid = prf.prf(&key[..len], &[&cookies.0.0, &cookies.1.0]);
    zeroize::Zeroize::zeroize(&mut key);
    skeyid
}

/// The keys of the ISAKMP SA: SKEYID_d, SKEYID_a, SKEYID_e one from the other, and the cipher's key.
///
/// # Errors
///
/// A suite that is not computed here.
pub fn derive(
    suite: &IkeSuite,
    skeyid: &Secret,
    shared: &Secret,
    cookies: Cookies,
) -> Result<Keys, Error> {
    let (prf, block) = (suite.prf()?, suite.block()?);
    let next = |before: &[u8], number: u8| {
        let seed = [before, shared.octets(), &cookies.0.0, &cookies.1.0, &[number]];
        prf.prf(skeyid.octets(), &seed)
    };
    let derive = next(&[], 0);
    let authenticate = next(derive.octets(), 1);
    let encrypt = next(authenticate.octets(), 2);
    let cipher = stretch(prf, &encrypt, block.key_len());
    Ok(Keys { prf, block, derive, authenticate, cipher })
}

/// A cipher's key of SKEYID_e: its first octets, or where they do not suffice those of
/// `K1 | K2 | ...` with `K1 = prf(SKEYID_e, 0)` and each further one of the one before (appendix B).
pub fn stretch(prf: Prf, encrypt: &Secret, len: usize) -> Secret {
    if let Some(key) = encrypt.octets().get(..len) {
        return Secret::from(key);
    }
    let mut all = Vec::with_capacity(len.next_multiple_of(prf.len()));
    let mut last = prf.prf(encrypt.octets(), &[&[0]]);
    all.extend(last.octets());
    while all.len() < len {
        last = prf.prf(encrypt.octets(), &[last.octets()]);
        all.extend(last.octets());
    }
    let key = Secret::from(&all[..len]);
    zeroize::Zeroize::zeroize(&mut all);
    key
}

/// Which SA of phase 2 keys are for: its protocol's number and its SPI as they travel.
#[derive(Debug, Clone, Copy)]
pub struct Destination<'a> {
    /// The protocol.
    pub protocol: u8,
    /// The SPI, chosen by whoever receives.
    pub spi: &'a [u8],
}

/// The keys of one direction of a phase 2 SA (§5.5): the first octets of `K1 | K2 | ...` with
/// `K1 = prf(SKEYID_d, [g(qm)^xy |] protocol | SPI | Ni_b | Nr_b)`, and in each further one the one
/// before in front. The cipher's come before those for integrity (RFC 2407 §4.4.4 leaves it at that).
pub fn child(
    keys: &Keys,
    suite: &ChildSuite,
    destination: Destination<'_>,
    nonces: (&[u8], &[u8]),
    shared: Option<&Secret>,
) -> DirectionKeys {
    let (encryption, integrity) = (suite.encryption_len(), suite.integrity_len());
    let len = encryption + integrity;
    let fresh = shared.map_or(&[][..], Secret::octets);
    let protocol = [destination.protocol];
    let mut all: Vec<u8> = Vec::with_capacity(len.next_multiple_of(keys.prf.len()));
    let mut last = Secret::from(&[][..]);
    while all.len() < len {
        let seed = [last.octets(), fresh, &protocol, destination.spi, nonces.0, nonces.1];
        last = keys.prf.prf(keys.derive.octets(), &seed);
        all.extend(last.octets());
    }
    let cut = DirectionKeys {
        encryption: Secret::from(&all[..encryption]),
        integrity: Secret::from(&all[encryption..len]),
        around: None,
    };
    zeroize::Zeroize::zeroize(&mut all);
    cut
}
