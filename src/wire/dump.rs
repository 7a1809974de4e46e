//! Messages for people: one line for a ladder, or one line per payload.

use std::fmt::{self, Write as _};

use super::header::Header;
use super::iana::v2::TransformType;
use super::iana::vendor;
use super::v2::{Config, Delete, Notify, Payload, Proposal, Transform};

/// The most octets of opaque data that a dump shows.
const SHOWN: usize = 32;

/// One line: exchange, direction, message ID, payloads, such as
/// `IKE_SA_INIT request 0 [ SA KE Nonce N(NAT_DETECTION_SOURCE_IP) ]`.
pub fn summary(header: &Header, payloads: &[Payload]) -> String {
    let direction = if header.is_response() { "response" } else { "request" };
    let mut line = format!("{} {direction} {} [", header.exchange, header.message_id);
    for payload in payloads {
        line.push(' ');
        line.push_str(&label(payload));
    }
    line.push_str(" ]");
    line
}

/// A message as a rung of a ladder. Keys, shared secrets and proofs are not in it: of these only the
/// kind and the length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rung {
    /// The message on one line.
    pub summary: String,
    /// Its payloads, a line each.
    pub payloads: Vec<String>,
}

/// A message with what its payloads say.
pub fn rung(header: &Header, payloads: &[Payload]) -> Rung {
    Rung { summary: summary(header, payloads), payloads: payloads.iter().map(line).collect() }
}

/// Many lines: the header, then each payload with its content.
pub fn dump(header: &Header, payloads: &[Payload]) -> String {
    let direction = if header.is_response() { "response" } else { "request" };
    let sender = if header.from_initiator() { "initiator" } else { "responder" };
    let mut text = format!(
        "{} {direction} {} from {sender}, version {}, SPIs {} {}, {} octets\n",
        header.exchange,
        header.message_id,
        header.version,
        header.initiator,
        header.responder,
        header.length,
    );
    for payload in payloads {
        text.push_str("  ");
        text.push_str(&line(payload));
        text.push('\n');
    }
    text
}

/// The payload's content on one line, beginning with its notation.
pub fn line(payload: &Payload) -> String {
    let label = label(payload);
    match payload {
        Payload::Sa(sa) => {
            let proposals: Vec<_> = sa.proposals.iter().map(proposal).collect();
            format!("{label} {}", proposals.join("; "))
        }
        Payload::Ke(ke) => format!("{label} {}, {} octets", ke.group, ke.data.len()),
        Payload::IdI(id) | Payload::IdR(id) => format!("{label} {id}"),
        Payload::Cert(cert) => format!("{label} {}, {} octets", cert.encoding, cert.data.len()),
        Payload::CertReq(request) => {
            format!("{label} {}, {} authorities", request.encoding, request.hashes().count())
        }
        Payload::Auth(auth) => format!("{label} {}, {} octets", auth.method, auth.data.len()),
        Payload::Nonce(nonce) => format!("{label} {} octets", nonce.0.len()),
        Payload::Notify(notify) => format!("{label}{}", about(notify)),
        Payload::Delete(delete) => format!("{label} {}", deleted(delete)),
        Payload::Vendor(octets) => format!("{label} {}", vendor(octets)),
        Payload::TsI(ts) | Payload::TsR(ts) => {
            let ranges = ts.selectors.iter().map(ToString::to_string);
            let others = ts.others.iter().map(|other| other.ts_type.to_string());
            let selectors: Vec<_> = ranges.chain(others).collect();
            format!("{label} {}", selectors.join(", "))
        }
        Payload::Encrypted(encrypted) => {
            format!("{label} first {}, {} octets", encrypted.first, encrypted.body.len())
        }
        Payload::EncryptedFragment(fragment) => {
            format!("{label} {} octets", fragment.body.len())
        }
        Payload::Config(config) => format!("{label} {}", attributes(config)),
        Payload::Eap(eap) => format!("{label} {} {} octets", eap.identifier, eap.data.len()),
        Payload::Unknown { critical, body, .. } => {
            let critical = if *critical { " critical" } else { "" };
            format!("{label}{critical} {}", Octets(body))
        }
    }
}

/// A vendor ID: its name where it has one.
pub(crate) fn vendor(octets: &[u8]) -> String {
    vendor::name(octets).map_or_else(|| Octets(octets).to_string(), Into::into)
}

/// What stands in the brackets of a summary.
fn label(payload: &Payload) -> String {
    let payload_type = payload.payload_type();
    match payload {
        Payload::Notify(notify) => format!("{payload_type}({})", notify.notify_type),
        Payload::EncryptedFragment(fragment) => {
            format!("{payload_type}({}/{})", fragment.number, fragment.total)
        }
        Payload::Config(config) => format!("{payload_type}({})", config.cfg_type),
        Payload::Eap(eap) => format!("{payload_type}({})", eap.code),
        _ => payload_type.to_string(),
    }
}

fn proposal(proposal: &Proposal) -> String {
    let mut text = format!("{} {}", proposal.number, proposal.protocol);
    let size = proposal.spi.octets().len();
    if size > 0 {
        let _ = write!(text, " SPI {}", proposal.spi);
    }
    for item in &proposal.transforms {
        text.push(' ');
        text.push_str(&transform(item));
    }
    text
}

fn transform(transform: &Transform) -> String {
    match transform {
        Transform::Encr { id, key_bits: Some(bits) } => format!("{id}/{bits}"),
        Transform::Encr { id, key_bits: None } => id.to_string(),
        Transform::Prf(id) => id.to_string(),
        Transform::Integ(id) => id.to_string(),
        Transform::Ke(id) => id.keyword(None).map_or_else(|| id.to_string(), str::to_string),
        Transform::Esn(id) => id.keyword(None).map_or_else(|| id.to_string(), str::to_string),
        Transform::AddKe { round, id } => format!("ADDKE{round}={id}"),
        Transform::Unknown { transform_type, id, attributes } => {
            let count = attributes.len();
            match *transform_type {
                TransformType::ENCR => format!("encr {id} with {count} attributes"),
                other => format!("{other} {id} with {count} attributes"),
            }
        }
    }
}

fn about(notify: &Notify) -> String {
    let mut text = String::new();
    if !notify.spi.octets().is_empty() {
        let _ = write!(text, " {} SPI {}", notify.protocol, notify.spi);
    }
    if !notify.data.is_empty() {
        let _ = write!(text, " {}", Octets(&notify.data));
    }
    text
}

fn deleted(delete: &Delete) -> String {
    match delete {
        Delete::Ike => "IKE".to_string(),
        Delete::Child { protocol, spis } => {
            let spis: Vec<_> = spis.iter().map(ToString::to_string).collect();
            format!("{protocol} {}", spis.join(" "))
        }
    }
}

fn attributes(config: &Config) -> String {
    let shown = config.attributes.iter().map(|attribute| match attribute.to_address() {
        Some((address, None)) => format!("{}={address}", attribute.attribute),
        Some((address, Some(length))) => format!("{}={address}/{length}", attribute.attribute),
        None if attribute.value.is_empty() => attribute.attribute.to_string(),
        None => format!("{}={}", attribute.attribute, Octets(&attribute.value)),
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// Opaque octets in hexadecimal, cut short.
pub(super) struct Octets<'a>(pub(super) &'a [u8]);

impl fmt::Display for Octets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(SHOWN).try_for_each(|octet| write!(f, "{octet:02x}"))?;
        match self.0.len() {
            len if len > SHOWN => write!(f, "... ({len} octets)"),
            _ => Ok(()),
        }
    }
}
