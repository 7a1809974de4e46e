//! Signatures as IKE puts them on the wire: RFC 7296 §3.8 (RSA), RFC 4754 (ECDSA), RFC 7427 with
//! RFC 8420 (any, named by an AlgorithmIdentifier), RFC 2409 §5.1 (RSA over a hash as it is).

use openssl::bn::BigNum;
use openssl::ecdsa::EcdsaSig;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, Id, PKey, PKeyRef, Private, Public};
use openssl::rsa::Padding;
use openssl::sign::{RsaPssSaltlen, Signer, Verifier};

use super::Error;
use crate::wire::iana::v2::{AuthMethod, HashId};

mod scheme;

pub use scheme::{Family, HASHES, SCHEMES, Scheme, choose, named};

/// Ed448's and RSA-PSS's numbers in the library; named here because not every version has constants.
const NID_ED448: i32 = 1088;
const NID_RSA_PSS: i32 = 912;

/// The smallest and largest RSA modulus that is taken, in bits.
const RSA_BITS: std::ops::RangeInclusive<u32> = 2048..=16384;

/// What kind of key it is, as far as signatures go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// RSA.
    Rsa,
    /// RSA, for PSS alone.
    RsaPss,
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// ECDSA on P-521.
    P521,
    /// Ed25519.
    Ed25519,
    /// Ed448.
    Ed448,
}

impl KeyKind {
    /// The kind of a key.
    ///
    /// # Errors
    ///
    /// A kind that IKE has no signature for, or an RSA modulus out of bounds.
    pub fn of<T: HasPublic>(key: &PKeyRef<T>) -> Result<Self, Error> {
        let unsupported = |what: &str| Err(Error::Unsupported(what.to_owned()));
        match key.id() {
            id if id == Id::RSA || id.as_raw() == NID_RSA_PSS => {
                if !RSA_BITS.contains(&key.bits()) {
                    return unsupported(&format!("an RSA key of {} bits", key.bits()));
                }
                Ok(if id == Id::RSA { Self::Rsa } else { Self::RsaPss })
            }
            Id::EC => match key.ec_key()?.group().curve_name() {
                Some(Nid::X9_62_PRIME256V1) => Ok(Self::P256),
                Some(Nid::SECP384R1) => Ok(Self::P384),
                Some(Nid::SECP521R1) => Ok(Self::P521),
                _ => unsupported("a key on a curve other than P-256, P-384 and P-521"),
            },
            Id::ED25519 => Ok(Self::Ed25519),
            id if id.as_raw() == NID_ED448 => Ok(Self::Ed448),
            _ => unsupported("a key that is neither RSA, ECDSA, Ed25519 nor Ed448"),
        }
    }

    /// The method of RFC 4754 for the curve, with its hash and octets of a coordinate.
    fn fixed(self) -> Option<(AuthMethod, HashId, i32)> {
        Some(match self {
            Self::P256 => (AuthMethod::ECDSA_SHA256_P256, HashId::SHA2_256, 32),
            Self::P384 => (AuthMethod::ECDSA_SHA384_P384, HashId::SHA2_384, 48),
            Self::P521 => (AuthMethod::ECDSA_SHA512_P521, HashId::SHA2_512, 66),
            _ => return None,
        })
    }

    /// The method that goes with this kind where method 14 cannot be used; none for EdDSA.
    pub fn method(self) -> Option<AuthMethod> {
        match self {
            Self::Rsa => Some(AuthMethod::RSA_SIGNATURE),
            other => other.fixed().map(|(method, ..)| method),
        }
    }

    fn family(self) -> Family {
        match self {
            Self::Rsa => Family::Pkcs1,
            Self::RsaPss => Family::Pss,
            Self::P256 | Self::P384 | Self::P521 => Family::Ecdsa,
            Self::Ed25519 => Family::Ed25519,
            Self::Ed448 => Family::Ed448,
        }
    }
}

impl std::fmt::Display for KeyKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Rsa => "RSA",
            Self::RsaPss => "RSA-PSS",
            Self::P256 => "ECDSA P-256",
            Self::P384 => "ECDSA P-384",
            Self::P521 => "ECDSA P-521",
            Self::Ed25519 => "Ed25519",
            Self::Ed448 => "Ed448",
        })
    }
}

fn digest(hash: HashId) -> Result<MessageDigest, Error> {
    Ok(match hash {
        HashId::SHA1 => MessageDigest::sha1(),
        HashId::SHA2_256 => MessageDigest::sha256(),
        HashId::SHA2_384 => MessageDigest::sha384(),
        HashId::SHA2_512 => MessageDigest::sha512(),
        _ => return Err(Error::Unsupported(hash.to_string())),
    })
}

/// A signature of method 14.
///
/// # Errors
///
/// The library's.
pub fn sign(key: &PKeyRef<Private>, scheme: &Scheme, octets: &[u8]) -> Result<Vec<u8>, Error> {
    if matches!(scheme.family, Family::Ed25519 | Family::Ed448) {
        return Ok(Signer::new_without_digest(key)?.sign_oneshot_to_vec(octets)?);
    }
    let digest = digest(scheme.hash)?;
    let mut signer = Signer::new(digest, key)?;
    if scheme.family == Family::Pss {
        signer.set_rsa_padding(Padding::PKCS1_PSS)?;
        signer.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
        signer.set_rsa_mgf1_md(digest)?;
    }
    signer.update(octets)?;
    Ok(signer.sign_to_vec()?)
}

/// Whether a signature of method 14 is right. A key of another kind than the scheme's is an error.
///
/// # Errors
///
/// A key that does not go with the scheme, or the library's.
pub fn verify(
    key: &PKeyRef<Public>,
    scheme: &Scheme,
    octets: &[u8],
    signature: &[u8],
) -> Result<bool, Error> {
    let kind = KeyKind::of(key)?;
    let goes =
        kind.family() == scheme.family || (kind == KeyKind::Rsa && scheme.family == Family::Pss);
    if !goes {
        return Err(Error::Unsupported(format!("{} with an {kind} key", scheme.name)));
    }
    if matches!(scheme.family, Family::Ed25519 | Family::Ed448) {
        let mut verifier = Verifier::new_without_digest(key)?;
        return Ok(verifier.verify_oneshot(signature, octets).unwrap_or(false));
    }
    let digest = digest(scheme.hash)?;
    let mut verifier = Verifier::new(digest, key)?;
    if scheme.family == Family::Pss {
        verifier.set_rsa_padding(Padding::PKCS1_PSS)?;
        verifier.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
        verifier.set_rsa_mgf1_md(digest)?;
    }
    verifier.update(octets)?;
    // What the library cannot even read is wrong, too.
    Ok(verifier.verify(signature).unwrap_or(false))
}

/// A signature of method 1, 9, 10 or 11, by the kind of key. RSA's is with SHA-1, which is what a peer
/// takes that knows nothing of RFC 7427 (RFC 7296 §3.8).
///
/// # Errors
///
/// A key that has no such method, or the library's.
pub fn sign_classic(key: &PKeyRef<Private>, octets: &[u8]) -> Result<(AuthMethod, Vec<u8>), Error> {
    let kind = KeyKind::of(key)?;
    if kind == KeyKind::Rsa {
        let mut signer = Signer::new(MessageDigest::sha1(), key)?;
        signer.update(octets)?;
        return Ok((AuthMethod::RSA_SIGNATURE, signer.sign_to_vec()?));
    }
    let Some((method, hash, width)) = kind.fixed() else {
        return Err(Error::Unsupported(format!("{kind} without RFC 7427")));
    };
    let mut signer = Signer::new(digest(hash)?, key)?;
    signer.update(octets)?;
    Ok((method, side_by_side(&signer.sign_to_vec()?, width)?))
}

/// Whether a signature of method 1, 9, 10 or 11 is right.
///
/// # Errors
///
/// A key that does not go with the method, or the library's.
pub fn verify_classic(
    key: &PKeyRef<Public>,
    method: AuthMethod,
    octets: &[u8],
    signature: &[u8],
) -> Result<bool, Error> {
    let kind = KeyKind::of(key)?;
    if kind.method() != Some(method) {
        return Err(Error::Unsupported(format!("{method} with an {kind} key")));
    }
    let right = |hash, signature: &[u8]| -> Result<bool, Error> {
        let mut verifier = Verifier::new(digest(hash)?, key)?;
        verifier.update(octets)?;
        Ok(verifier.verify(signature).unwrap_or(false))
    };
    let Some((_, hash, width)) = kind.fixed() else {
        // The signature says within itself which hash it is with.
        for hash in [HashId::SHA1, HashId::SHA2_256, HashId::SHA2_384, HashId::SHA2_512] {
            if right(hash, signature)? {
                return Ok(true);
            }
        }
        return Ok(false);
    };
    match in_der(signature, width) {
        Some(der) => right(hash, &der),
        None => Ok(false),
    }
}

/// A signature over a hash as it is (IKEv1): RSA after PKCS #1 without naming the hash, or ECDSA.
///
/// # Errors
///
/// A key of another kind, or the library's.
pub fn sign_hash(key: &PKeyRef<Private>, hash: &[u8]) -> Result<Vec<u8>, Error> {
    let kind = KeyKind::of(key)?;
    if kind == KeyKind::Rsa {
        let rsa = key.rsa()?;
        let mut out = vec![0; usize::try_from(rsa.size()).unwrap_or(0)];
        let len = rsa.private_encrypt(hash, &mut out, Padding::PKCS1)?;
        out.truncate(len);
        return Ok(out);
    }
    let Some((_, _, width)) = kind.fixed() else {
        return Err(Error::Unsupported(format!("{kind} in IKEv1")));
    };
    let signature = EcdsaSig::sign(hash, &*key.ec_key()?)?;
    side_by_side(&signature.to_der()?, width)
}

/// Whether a signature over a hash as it is (IKEv1) is right.
///
/// # Errors
///
/// A key of a kind that IKEv1 has no signature for, or the library's.
pub fn verify_hash(key: &PKeyRef<Public>, hash: &[u8], signature: &[u8]) -> Result<bool, Error> {
    let kind = KeyKind::of(key)?;
    if kind == KeyKind::Rsa {
        let rsa = key.rsa()?;
        let mut out = vec![0; usize::try_from(rsa.size()).unwrap_or(0)];
        let Ok(len) = rsa.public_decrypt(signature, &mut out, Padding::PKCS1) else {
            return Ok(false);
        };
        return Ok(len == hash.len() && openssl::memcmp::eq(&out[..len], hash));
    }
    let Some((_, _, width)) = kind.fixed() else {
        return Err(Error::Unsupported(format!("{kind} in IKEv1")));
    };
    let Some(der) = in_der(signature, width) else { return Ok(false) };
    Ok(EcdsaSig::from_der(&der)?.verify(hash, &*key.ec_key()?).unwrap_or(false))
}

/// From DER to r and s side by side, each as wide as the curve (RFC 4754 §7).
fn side_by_side(der: &[u8], width: i32) -> Result<Vec<u8>, Error> {
    let signature = EcdsaSig::from_der(der)?;
    let mut out = signature.r().to_vec_padded(width)?;
    out.extend(signature.s().to_vec_padded(width)?);
    Ok(out)
}

/// From r and s side by side to DER; `None` if it has not the right length.
fn in_der(signature: &[u8], width: i32) -> Option<Vec<u8>> {
    let width = usize::try_from(width).ok()?;
    let (r, s) = signature.split_at_checked(width).filter(|(_, s)| s.len() == width)?;
    let (r, s) = (BigNum::from_slice(r).ok()?, BigNum::from_slice(s).ok()?);
    EcdsaSig::from_private_components(r, s).ok()?.to_der().ok()
}

/// The public half of a key.
///
/// # Errors
///
/// The library's.
pub fn public_half(key: &PKeyRef<Private>) -> Result<PKey<Public>, Error> {
    Ok(PKey::public_key_from_der(&key.public_key_to_der()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::rsa::Rsa;

    fn keys() -> Vec<PKey<Private>> {
        let curves = [Nid::X9_62_PRIME256V1, Nid::SECP384R1, Nid::SECP521R1];
        let ec = curves.map(|nid| {
            let group = EcGroup::from_curve_name(nid).unwrap();
            PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
        });
        let mut keys = vec![PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()];
        keys.extend(ec);
        for (id, len) in [(Id::ED25519, 32), (Id::from_raw(NID_ED448), 57)] {
            keys.extend(PKey::private_key_from_raw_bytes(&vec![7; len], id));
        }
        keys
    }

    #[test]
    fn what_is_signed_verifies_and_nothing_else_does() {
        for key in keys() {
            let public = public_half(&key).unwrap();
            let kind = KeyKind::of(&key).unwrap();
            let scheme = choose(kind, HASHES).unwrap();
            let signature = sign(&key, scheme, b"octets").unwrap();
            assert!(verify(&public, scheme, b"octets", &signature).unwrap(), "{kind}");
            assert!(!verify(&public, scheme, b"other", &signature).unwrap(), "{kind}");
            assert!(!verify(&public, scheme, b"octets", &signature[1..]).unwrap(), "{kind}");
            let Some(method) = kind.method() else { continue };
            let (made, signature) = sign_classic(&key, b"octets").unwrap();
            assert_eq!(made, method);
            assert!(verify_classic(&public, method, b"octets", &signature).unwrap());
            assert!(!verify_classic(&public, method, b"other", &signature).unwrap());
            assert!(!verify_classic(&public, method, b"octets", &[]).unwrap());
            let hash = [9; 32];
            let signature = sign_hash(&key, &hash).unwrap();
            assert!(verify_hash(&public, &hash, &signature).unwrap());
            assert!(!verify_hash(&public, &[8; 32], &signature).unwrap());
        }
    }
}
