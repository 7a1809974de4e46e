//! Making certificates: keys, authorities, certificates of hosts, revocation lists.

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, Id, PKey, PKeyRef, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName,
    SubjectKeyIdentifier,
};
use openssl::x509::{
    CrlNumber, X509, X509Builder, X509Crl, X509CrlBuilder, X509Extension, X509Name,
    X509NameBuilder, X509Ref, X509RevokedBuilder,
};

use crate::conf::Identity;
use crate::wire::iana::v2::IdType;

/// By how much a new certificate is valid before it is made: clocks differ.
const BEFORE: i64 = 3600;

/// A kind of key that can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NewKey {
    /// ECDSA on P-256.
    #[default]
    P256,
    /// ECDSA on P-384.
    P384,
    /// ECDSA on P-521.
    P521,
    /// Ed25519.
    Ed25519,
    /// RSA with so many bits.
    Rsa(u32),
}

impl NewKey {
    /// Each kind and its word.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("p256", Self::P256),
        ("p384", Self::P384),
        ("p521", Self::P521),
        ("ed25519", Self::Ed25519),
        ("rsa2048", Self::Rsa(2048)),
        ("rsa4096", Self::Rsa(4096)),
    ];

    /// A fresh key.
    ///
    /// # Errors
    ///
    /// The library's.
    pub fn make(self) -> Result<PKey<Private>, ErrorStack> {
        let curve = |nid| -> Result<PKey<Private>, ErrorStack> {
            let mut group = EcGroup::from_curve_name(nid)?;
            group.set_asn1_flag(openssl::ec::Asn1Flag::NAMED_CURVE);
            PKey::from_ec_key(EcKey::generate(&group)?)
        };
        match self {
            Self::P256 => curve(Nid::X9_62_PRIME256V1),
            Self::P384 => curve(Nid::SECP384R1),
            Self::P521 => curve(Nid::SECP521R1),
            Self::Ed25519 => PKey::generate_ed25519(),
            Self::Rsa(bits) => PKey::from_rsa(Rsa::generate(bits)?),
        }
    }
}

/// What a certificate is to say.
pub struct Wanted<'a> {
    /// The subject.
    pub subject: &'a X509Name,
    /// The identities in the subjectAltName.
    pub names: &'a [Identity],
    /// From when and until when, in seconds since 1970.
    pub valid: (i64, i64),
    /// What it is for.
    pub role: Role,
    /// Other extensions.
    pub extensions: Vec<X509Extension>,
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// To sign others; how many authorities may stand below it.
    Authority(Option<u32>),
    /// A host that is called.
    Server,
    /// A host that calls.
    Client,
    /// Both.
    Host,
    /// To answer by OCSP for its issuer.
    Responder,
}

/// A subject of the given attributes, short names and values.
///
/// # Errors
///
/// An attribute that is not known, or whose value does not fit.
pub fn subject(parts: &[(&str, &str)]) -> Result<X509Name, ErrorStack> {
    let mut name = X509NameBuilder::new()?;
    for (field, value) in parts {
        name.append_entry_by_text(field, value)?;
    }
    Ok(name.build())
}

/// When a certificate made now for so many days is valid.
pub fn days(now: i64, days: u32) -> (i64, i64) {
    (now - BEFORE, now + i64::from(days) * 86_400)
}

/// A certificate, signed by an authority, or by its own key where there is none.
///
/// # Errors
///
/// The library's.
pub fn certify<T: HasPublic>(
    key: &PKeyRef<T>,
    wanted: Wanted<'_>,
    (issuer, signer): (Option<&X509Ref>, &PKeyRef<Private>),
) -> Result<X509, ErrorStack> {
    let mut cert = X509Builder::new()?;
    cert.set_version(2)?;
    cert.set_serial_number(&*serial()?)?;
    cert.set_subject_name(wanted.subject)?;
    cert.set_issuer_name(issuer.map_or(wanted.subject, |issuer| issuer.subject_name()))?;
    cert.set_not_before(&*Asn1Time::from_unix(wanted.valid.0)?)?;
    cert.set_not_after(&*Asn1Time::from_unix(wanted.valid.1)?)?;
    cert.set_pubkey(key)?;
    let mut constraints = BasicConstraints::new();
    let mut usage = KeyUsage::new();
    usage.critical();
    let mut extended = ExtendedKeyUsage::new();
    match wanted.role {
        Role::Authority(below) => {
            constraints.critical().ca();
            below.map(|below| constraints.pathlen(below));
            usage.key_cert_sign().crl_sign();
        }
        Role::Responder => {
            usage.digital_signature();
            extended.other("1.3.6.1.5.5.7.3.9");
        }
        role => {
            usage.digital_signature();
            if role != Role::Client {
                extended.server_auth();
            }
            if role != Role::Server {
                extended.client_auth();
            }
            // ipsecIKE (RFC 4945), and iKEIntermediate for older Windows and macOS.
            extended.other("1.3.6.1.5.5.7.3.17").other("1.3.6.1.5.5.8.2.2");
        }
    }
    cert.append_extension(constraints.build()?)?;
    cert.append_extension(usage.build()?)?;
    if !matches!(wanted.role, Role::Authority(_)) {
        cert.append_extension(extended.build()?)?;
    }
    let identifier = SubjectKeyIdentifier::new().build(&cert.x509v3_context(issuer, None))?;
    cert.append_extension(identifier)?;
    if issuer.is_some() {
        let mut identifier = AuthorityKeyIdentifier::new();
        let identifier = identifier.keyid(true).build(&cert.x509v3_context(issuer, None))?;
        cert.append_extension(identifier)?;
    }
    if !wanted.names.is_empty() {
        let names = alternatives(wanted.names)?;
        let names = names.build(&cert.x509v3_context(issuer, None))?;
        cert.append_extension(names)?;
    }
    for extension in wanted.extensions {
        cert.append_extension(extension)?;
    }
    cert.sign(signer, digest(signer))?;
    Ok(cert.build())
}

fn alternatives(names: &[Identity]) -> Result<SubjectAlternativeName, ErrorStack> {
    let mut out = SubjectAlternativeName::new();
    for name in names {
        let text = String::from_utf8_lossy(&name.data);
        match name.id_type {
            IdType::ID_FQDN => out.dns(&text),
            IdType::ID_RFC822_ADDR => out.email(&text),
            IdType::ID_IPV4_ADDR | IdType::ID_IPV6_ADDR => {
                let address =
                    crate::wire::v2::Id { id_type: name.id_type, data: name.data.clone() };
                match address.address() {
                    Some(address) => out.ip(&address.to_string()),
                    None => continue,
                }
            }
            IdType::ID_DER_ASN1_DN => out.dir_name2(X509Name::from_der(&name.data)?),
            _ => continue,
        };
    }
    Ok(out)
}

/// A list of what is revoked: serial numbers and when, in seconds since 1970.
///
/// # Errors
///
/// The library's.
pub fn revoke(
    issuer: &X509Ref,
    signer: &PKeyRef<Private>,
    revoked: &[(BigNum, i64)],
    number: u32,
    valid: (i64, i64),
) -> Result<X509Crl, ErrorStack> {
    let mut list = X509CrlBuilder::new()?;
    list.set_issuer_name(issuer.subject_name())?;
    list.set_last_update(&*Asn1Time::from_unix(valid.0)?)?;
    list.set_next_update(&*Asn1Time::from_unix(valid.1)?)?;
    let mut identifier = AuthorityKeyIdentifier::new();
    let identifier = identifier.keyid(true);
    list.append_extension(
        identifier.build(&X509Builder::new()?.x509v3_context(Some(issuer), None))?,
    )?;
    list.append_extension(CrlNumber::new(BigNum::from_u32(number)?)?.build()?)?;
    for (serial, when) in revoked {
        let mut entry = X509RevokedBuilder::new()?;
        entry.set_serial_number(&*Asn1Integer::from_bn(serial)?)?;
        entry.set_revocation_date(&*Asn1Time::from_unix(*when)?)?;
        list.add_revoked(entry.build())?;
    }
    list.sort()?;
    list.sign(signer, digest(signer))?;
    list.build()
}

/// 127 random bits: never negative, never twice.
fn serial() -> Result<Asn1Integer, ErrorStack> {
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::ONE, false)?;
    Asn1Integer::from_bn(&serial)
}

/// The hash that goes with a key; EdDSA has its own.
fn digest(key: &PKeyRef<Private>) -> MessageDigest {
    match key.id() {
        Id::EC if key.bits() > 384 => MessageDigest::sha512(),
        Id::EC if key.bits() > 256 => MessageDigest::sha384(),
        Id::EC | Id::RSA => MessageDigest::sha256(),
        _ => MessageDigest::null(),
    }
}
