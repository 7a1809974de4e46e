//! What a certificate says about whom: names for the operator, identities to match, uses it is for.

use openssl::x509::X509Name;
use serde::{Deserialize, Serialize};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::conf::Identity;
use crate::wire::iana::v2::IdType;
use crate::wire::v2::Id;

/// The longest name that is shown, in characters.
const SHOWN: usize = 160;

/// What somebody wrote into a certificate, fit for a log: no control characters, not too long.
pub fn clean(text: &str) -> String {
    let harmless = |c: char| if c.is_control() { '?' } else { c };
    let mut out: String = text.chars().take(SHOWN).map(harmless).collect();
    if text.chars().nth(SHOWN).is_some() {
        out.push('…');
    }
    out
}

/// A distinguished name in words.
pub fn distinguished(der: &[u8]) -> String {
    match x509_parser::x509::X509Name::from_der(der) {
        Ok(([], name)) => clean(&name.to_string()),
        _ => "a malformed name".into(),
    }
}

/// An identity in words.
pub fn printed(identity: &Identity) -> String {
    match identity.id_type {
        IdType::ID_DER_ASN1_DN => format!("DN {}", distinguished(&identity.data)),
        id_type => clean(&Id { id_type, data: identity.data.clone() }.to_string()),
    }
}

/// The most names of a certificate that are shown.
const MOST_NAMES: usize = 32;

/// The identities that a certificate is for, in words.
pub fn identities(cert: &X509Certificate<'_>) -> Vec<String> {
    let names = alternatives(cert);
    let mut found: Vec<String> = names.iter().take(MOST_NAMES).map(general).collect();
    if names.len() > MOST_NAMES {
        found.push(format!("{} more", names.len() - MOST_NAMES));
    }
    if cert.subject().iter().next().is_some() {
        found.push(format!("DN {}", clean(&cert.subject().to_string())));
    }
    found
}

/// The names in its subjectAltName; what cannot be read counts as none.
fn alternatives<'a>(cert: &'a X509Certificate<'_>) -> Vec<GeneralName<'a>> {
    let names = cert.subject_alternative_name().ok().flatten();
    names.map(|names| names.value.general_names.clone()).unwrap_or_default()
}

fn general(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => format!("FQDN {}", clean(name)),
        GeneralName::RFC822Name(name) => format!("user FQDN {}", clean(name)),
        GeneralName::IPAddress(octets) => match *octets {
            [a, b, c, d] => format!("address {a}.{b}.{c}.{d}"),
            octets => match <[u8; 16]>::try_from(octets) {
                Ok(octets) => format!("address {}", std::net::Ipv6Addr::from(octets)),
                Err(_) => "a malformed address".into(),
            },
        },
        GeneralName::DirectoryName(name) => format!("DN {}", clean(&name.to_string())),
        GeneralName::URI(uri) => format!("URI {}", clean(uri)),
        other => clean(&other.to_string()),
    }
}

/// Whether a certificate is for this identity (RFC 4945 §3.1): a subjectAltName of its type, the
/// subject for a DN, the subject key identifier for a key ID. No wildcards, no common names.
pub fn is_for(cert: &X509Certificate<'_>, identity: &Identity) -> bool {
    let data = identity.data.as_slice();
    let folded = |name: &str| !data.is_empty() && name.as_bytes().eq_ignore_ascii_case(data);
    match identity.id_type {
        IdType::ID_DER_ASN1_DN => same_name(cert.subject().as_raw(), data),
        IdType::ID_KEY_ID => cert.iter_extensions().any(|extension| {
            use x509_parser::extensions::ParsedExtension;
            matches!(extension.parsed_extension(),
                ParsedExtension::SubjectKeyIdentifier(it) if !data.is_empty() && it.0 == data)
        }),
        IdType::ID_DER_ASN1_GN => {
            let wanted = GeneralName::from_der(data).ok().filter(|(rest, _)| rest.is_empty());
            wanted.is_some_and(|(_, wanted)| alternatives(cert).contains(&wanted))
        }
        IdType::ID_FQDN => {
            alternatives(cert).iter().any(|it| matches!(it, GeneralName::DNSName(n) if folded(n)))
        }
        IdType::ID_RFC822_ADDR => {
            let fits = |it: &GeneralName<'_>| matches!(it, GeneralName::RFC822Name(n) if folded(n));
            alternatives(cert).iter().any(fits)
        }
        IdType::ID_IPV4_ADDR | IdType::ID_IPV6_ADDR => {
            let fits = |it: &GeneralName<'_>| matches!(it, GeneralName::IPAddress(a) if *a == data);
            alternatives(cert).iter().any(fits)
        }
        _ => false,
    }
}

/// Whether two distinguished names are the same, after RFC 5280 §7.1.
pub fn same_name(one: &[u8], other: &[u8]) -> bool {
    if one == other {
        return !one.is_empty();
    }
    let (Ok(one), Ok(other)) = (X509Name::from_der(one), X509Name::from_der(other)) else {
        return false;
    };
    one.try_cmp(&other).is_ok_and(std::cmp::Ordering::is_eq)
}

/// Why a certificate must not sign for IKE (RFC 4945 §5.1.3.2, §5.1.3.12); `None` if it may.
pub fn misuse(cert: &X509Certificate<'_>) -> Option<String> {
    match cert.key_usage() {
        Err(_) => return Some("its key usage cannot be read, or stands twice".into()),
        Ok(Some(usage)) if !usage.value.digital_signature() && !usage.value.non_repudiation() => {
            return Some(format!("its key is not for signatures but for {}", usage.value));
        }
        Ok(_) => (),
    }
    match cert.extended_key_usage() {
        Err(_) => Some("its extended key usage cannot be read, or stands twice".into()),
        Ok(Some(usage)) => {
            let usage = usage.value;
            let ours = usage.other.iter().any(|oid| IKE_USES.contains(&&*oid.to_id_string()));
            let may = usage.any || usage.server_auth || usage.client_auth || ours;
            (!may).then(|| {
                "its extended key usage is neither for IPsec nor for authentication in general"
                    .into()
            })
        }
        Ok(None) => None,
    }
}

/// Extended key usages that are for IKE: ipsecIKE, iKEIntermediate, and the older three for IPsec.
const IKE_USES: &[&str] = &[
    "1.3.6.1.5.5.7.3.17",
    "1.3.6.1.5.5.8.2.2",
    "1.3.6.1.5.5.7.3.5",
    "1.3.6.1.5.5.7.3.6",
    "1.3.6.1.5.5.7.3.7",
];

/// The weak hash that a certificate is signed with, if it is.
pub fn weak_hash(cert: &X509Certificate<'_>) -> Option<&'static str> {
    match cert.signature_algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" | "1.2.840.10045.4.1" => Some("SHA-1"),
        "1.2.840.113549.1.1.4" => Some("MD5"),
        "1.2.840.113549.1.1.2" => Some("MD2"),
        _ => None,
    }
}

/// What a certificate is, for `oakctl show certs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertView {
    /// What it is here for.
    pub part: Part,
    /// The file that it stands in.
    pub file: String,
    /// Whose it is.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// The identities that it is for.
    pub identities: Vec<String>,
    /// The kind of its key.
    pub key: String,
    /// From when, in seconds since 1970.
    pub not_before: i64,
    /// Until when, in seconds since 1970.
    pub not_after: i64,
    /// What is wrong with it; `None` if nothing is.
    pub fault: Option<String>,
    /// The subjects of those above it, up to the trusted one.
    pub chain: Vec<String>,
}

/// What a certificate or key is here for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Part {
    /// A trusted authority.
    Authority,
    /// Ours: its private key is here.
    Own,
    /// An intermediate or a peer's.
    Other,
    /// A revocation list.
    Revocation,
    /// A raw public key of a peer.
    RawKey,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Part::Authority => "authority",
            Part::Own => "own",
            Part::Other => "other",
            Part::Revocation => "revocation list",
            Part::RawKey => "raw key",
        })
    }
}
