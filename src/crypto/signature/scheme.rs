//! What the signatures of method 14 are called (RFC 7427 appendix A, RFC 8420 appendix A).

use x509_parser::prelude::FromDer;
use x509_parser::signature_algorithm::SignatureAlgorithm;
use x509_parser::x509::AlgorithmIdentifier;

use super::KeyKind;
use crate::wire::iana::v2::HashId;

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

#[cfg(test)]
mod tests {
    use super::*;

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
