//! Signatures as IKE puts them on the wire: RFC 7296 §3.8 (RSA), RFC 4754 (ECDSA), RFC 7427 with
//! RFC 8420 (any, named by an AlgorithmIdentifier), RFC 2409 §5.1 (RSA over a hash as it is).

use openssl::bn::BigNum;
use openssl::ecdsa::EcdsaSig;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, Id, PKey, PKeyRef, Private, Public};
use openssl::rsa::Padding;
use openssl::sign::{RsaPssSaltlen, Signer, Verifier};
use x509_parser::prelude::FromDer;
use x509_parser::signature_algorithm::SignatureAlgorithm;
use x509_parser::x509::AlgorithmIdentifier;

use super::Error;
use crate::wire::iana::v2::{AuthMethod, HashId};

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

/// How a signature is computed, apart from the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// RSASSA-PKCS1-v1_5.
    Pkcs1,
    /// RSASSA-PSS, MGF1 with the same hash.
    Pss,
    /// ECDSA.
    Ecdsa,
    /// Ed25519.
    Ed25519,
    /// Ed448.
    Ed448,
}

/// A row of the table: what a signature of method 14 is called, and how it is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheme {
    /// Its name.
    pub name: &'static str,
    /// How it is computed.
    pub family: Family,
    /// Its hash, as SIGNATURE_HASH_ALGORITHMS names it.
    pub hash: HashId,
    /// The AlgorithmIdentifier, in DER.
    pub algorithm: &'static [u8],
}

macro_rules! pss {
    ($hash:literal, $salt:literal) => {
        &[
            0x30, 0x41, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0a, 0x30, 0x34, 0xa0,
            0x0f, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, $hash, 5, 0, 0xa1, 0x1c,
            0x30, 0x1a, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 8, 0x30, 0x0d, 6, 9, 0x60,
            0x86, 0x48, 1, 0x65, 3, 4, 2, $hash, 5, 0, 0xa2, 3, 2, 1, $salt,
        ]
    };
}

/// PKCS #1 with a hash: the last arc of its object identifier.
macro_rules! pkcs1 {
    ($arc:literal) => {
        &[0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, $arc, 5, 0]
    };
}

/// ECDSA with a hash: the last arc of its object identifier.
macro_rules! ecdsa {
    ($arc:literal) => {
        &[0x30, 0x0a, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, $arc]
    };
}

/// The signatures of method 14 (RFC 7427 appendix A, RFC 8420 appendix A), in the order in which they
/// are preferred within a family. Those with SHA-1 are left out: they are refused.
pub const SCHEMES: &[Scheme] = &[
    scheme("RSA with SHA2-256", Family::Pkcs1, HashId::SHA2_256, pkcs1!(11)),
    scheme("RSA with SHA2-384", Family::Pkcs1, HashId::SHA2_384, pkcs1!(12)),
    scheme("RSA with SHA2-512", Family::Pkcs1, HashId::SHA2_512, pkcs1!(13)),
    scheme("RSA-PSS with SHA2-256", Family::Pss, HashId::SHA2_256, pss!(1, 32)),
    scheme("RSA-PSS with SHA2-384", Family::Pss, HashId::SHA2_384, pss!(2, 48)),
    scheme("RSA-PSS with SHA2-512", Family::Pss, HashId::SHA2_512, pss!(3, 64)),
    scheme("ECDSA with SHA2-256", Family::Ecdsa, HashId::SHA2_256, ecdsa!(2)),
    scheme("ECDSA with SHA2-384", Family::Ecdsa, HashId::SHA2_384, ecdsa!(3)),
    scheme("ECDSA with SHA2-512", Family::Ecdsa, HashId::SHA2_512, ecdsa!(4)),
    scheme("Ed25519", Family::Ed25519, HashId::IDENTITY, &[0x30, 5, 6, 3, 0x2b, 0x65, 0x70]),
    scheme("Ed448", Family::Ed448, HashId::IDENTITY, &[0x30, 5, 6, 3, 0x2b, 0x65, 0x71]),
];

const fn scheme(
    name: &'static str,
    family: Family,
    hash: HashId,
    algorithm: &'static [u8],
) -> Scheme {
    Scheme { name, family, hash, algorithm }
}

/// The hashes we announce (RFC 7427 §4).
pub const HASHES: &[HashId] =
    &[HashId::SHA2_256, HashId::SHA2_384, HashId::SHA2_512, HashId::IDENTITY];

/// The scheme for a key, from the hashes that the peer takes. A curve goes with the hash of its strength
/// where that is possible.
pub fn choose(kind: KeyKind, hashes: &[HashId]) -> Option<&'static Scheme> {
    let fits = |scheme: &&Scheme| scheme.family == kind.family() && hashes.contains(&scheme.hash);
    let strength = kind.fixed().map(|(_, hash, _)| hash);
    let best = SCHEMES.iter().filter(fits).find(|scheme| Some(scheme.hash) == strength);
    best.or_else(|| SCHEMES.iter().find(fits))
}

/// What an AlgorithmIdentifier of a peer means.
///
/// # Errors
///
/// Which algorithm it names that is not taken.
pub fn named(algorithm: &[u8]) -> Result<Scheme, String> {
    if let Some(scheme) = SCHEMES.iter().find(|scheme| scheme.algorithm == algorithm) {
        return Ok(*scheme);
    }
    // Others write the same in other octets: parameters absent or NULL, defaults spelt out.
    let malformed = || "an AlgorithmIdentifier that is malformed".to_owned();
    // The parser is lenient about tags.
    let [0x30, len, 6, ..] = *algorithm else { return Err(malformed()) };
    if usize::from(len) + 2 != algorithm.len() {
        return Err(malformed());
    }
    let (rest, identifier) = AlgorithmIdentifier::from_der(algorithm).map_err(|_| malformed())?;
    if !rest.is_empty() {
        return Err(malformed());
    }
    let oid = identifier.algorithm.to_id_string();
    let wanted = match oid.as_str() {
        "1.2.840.113549.1.1.11" => (Family::Pkcs1, HashId::SHA2_256),
        "1.2.840.113549.1.1.12" => (Family::Pkcs1, HashId::SHA2_384),
        "1.2.840.113549.1.1.13" => (Family::Pkcs1, HashId::SHA2_512),
        "1.2.840.10045.4.3.2" => (Family::Ecdsa, HashId::SHA2_256),
        "1.2.840.10045.4.3.3" => (Family::Ecdsa, HashId::SHA2_384),
        "1.2.840.10045.4.3.4" => (Family::Ecdsa, HashId::SHA2_512),
        "1.3.101.112" => (Family::Ed25519, HashId::IDENTITY),
        "1.3.101.113" => (Family::Ed448, HashId::IDENTITY),
        "1.2.840.113549.1.1.10" => (Family::Pss, pss_hash(&identifier)?),
        "1.2.840.113549.1.1.5" | "1.2.840.10045.4.1" => {
            return Err("a signature with SHA-1, which is too weak".into());
        }
        other => return Err(format!("the signature algorithm {other}")),
    };
    let found = SCHEMES.iter().find(|scheme| (scheme.family, scheme.hash) == wanted);
    found.copied().ok_or_else(malformed)
}

/// The hash of RSA-PSS parameters; the mask must be made with the same, and nothing else be unusual.
fn pss_hash(identifier: &AlgorithmIdentifier<'_>) -> Result<HashId, String> {
    let strange = || "RSA-PSS with unusual parameters".to_owned();
    let parsed = SignatureAlgorithm::try_from(identifier).map_err(|_| strange())?;
    let SignatureAlgorithm::RSASSA_PSS(params) = parsed else { return Err(strange()) };
    let mask = params.mask_gen_algorithm().map_err(|_| strange())?;
    let hash = params.hash_algorithm_oid().to_id_string();
    let (hash_id, len) = match hash.as_str() {
        "2.16.840.1.101.3.4.2.1" => (HashId::SHA2_256, 32),
        "2.16.840.1.101.3.4.2.2" => (HashId::SHA2_384, 48),
        "2.16.840.1.101.3.4.2.3" => (HashId::SHA2_512, 64),
        "1.3.14.3.2.26" => return Err("RSA-PSS with SHA-1, which is too weak".into()),
        _ => return Err(strange()),
    };
    let usual = mask.mgf.to_id_string() == "1.2.840.113549.1.1.8"
        && mask.hash.to_id_string() == hash
        && params.salt_length() == len
        && params.trailer_field() == 1;
    usual.then_some(hash_id).ok_or_else(strange)
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

    #[test]
    fn algorithms_are_known_in_other_spellings_and_sha1_is_refused() {
        for scheme in SCHEMES {
            assert_eq!(named(scheme.algorithm).as_ref(), Ok(scheme));
        }
        // SHA2-256 with RSA, its parameters absent.
        let bare = [0x30, 0x0b, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
        assert_eq!(named(&bare).unwrap().name, "RSA with SHA2-256");
        let sha1: &[u8] = pkcs1!(5);
        assert!(named(sha1).unwrap_err().contains("SHA-1"));
        // RSA-PSS without parameters is with SHA-1.
        let pss = [0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10, 0x30, 0];
        assert!(named(&pss).unwrap_err().contains("SHA-1"));
        for cut in 0..sha1.len() {
            assert!(named(&sha1[..cut]).is_err());
        }
    }
}
