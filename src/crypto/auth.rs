//! What is computed from a pre-shared key: the AUTH value (RFC 7296 §2.15), SKEYID (RFC 2409 §5).

use super::{Error, Prf, Secret};
use crate::wire::iana::v2::PrfId;

const KEY_PAD: &[u8] = b"Key Pad for IKEv2";

/// `prf(prf(psk, "Key Pad for IKEv2"), octets)`.
///
/// # Errors
///
/// A PRF that is not computed here.
pub fn psk_auth(prf: PrfId, psk: &Secret, octets: &[u8]) -> Result<Vec<u8>, Error> {
    let prf = Prf::new(prf)?;
    let key = prf.prf(psk.octets(), &[KEY_PAD]);
    Ok(prf.prf(key.octets(), &[octets]).octets().to_vec())
}

/// Whether `auth` is the AUTH value of this key and these octets; compared in constant time.
///
/// # Errors
///
/// A PRF that is not computed here.
pub fn psk_verify(prf: PrfId, psk: &Secret, octets: &[u8], auth: &[u8]) -> Result<bool, Error> {
    let wanted = psk_auth(prf, psk, octets)?;
    Ok(wanted.len() == auth.len() && openssl::memcmp::eq(&wanted, auth))
}

/// SKEYID of IKEv1: `prf(psk, Ni | Nr)`.
///
/// # Errors
///
/// A PRF that is not computed here.
pub fn psk_skeyid(prf: PrfId, psk: &Secret, nonces: &[u8]) -> Result<Secret, Error> {
    Ok(Prf::new(prf)?.prf(psk.octets(), &[nonces]))
}
