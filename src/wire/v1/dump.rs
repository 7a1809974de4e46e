//! Messages for people: one line for a ladder, or one line per payload.

use std::fmt::Write as _;

use super::{Attributes, Content, Delete, Notify, Payload, Proposal, Transform};
use crate::wire::attribute::{Attribute, AttributeValue};
use crate::wire::dump::{Octets, vendor};
use crate::wire::header::{Flags, Header};
use crate::wire::iana::v1::{
    AhTransform, AuthMethod, ConfigAttribute, EncapsulationMode, EncryptionId, EspTransform,
    HashId, IkeAttribute, IntegrityId, IpcompTransform, IpsecAttribute, IsakmpTransform, LifeType,
    ProtocolId,
};
use crate::wire::iana::v2::GroupId;

/// One line: exchange, message ID, payloads, such as
/// `Informational 1a2b3c4d [ HASH N(R-U-THERE) ]`; `encrypted` for what is not opened.
pub fn summary(header: &Header, payloads: &[Payload]) -> String {
    let mut line = format!("{}{} [", header.exchange_v1(), message_id(header));
    for payload in payloads {
        line.push(' ');
        line.push_str(&label(payload));
    }
    line.push_str(" ]");
    line
}

/// As [`summary`], for a message as it came.
pub fn summary_of(header: &Header, content: &Content) -> String {
    match content {
        Content::Clear(payloads) => summary(header, payloads),
        Content::Encrypted(octets) => format!(
            "{}{} [ {} octets encrypted ]",
            header.exchange_v1(),
            message_id(header),
            octets.len()
        ),
    }
}

/// Many lines: the header, then each payload with its content.
pub fn dump(header: &Header, payloads: &[Payload]) -> String {
    let mut flags = String::new();
    for (flag, name) in [
        (Flags::ENCRYPTION, " encrypted"),
        (Flags::COMMIT, " commit"),
        (Flags::AUTHENTICATION, " authenticated-only"),
    ] {
        if header.flags.contains(flag) {
            flags.push_str(name);
        }
    }
    let mut text = format!(
        "{}{}{flags}, version {}, cookies {} {}, {} octets\n",
        header.exchange_v1(),
        message_id(header),
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
        Payload::Id(id) => format!("{label} {id}"),
        Payload::Cert(cert) => format!("{label} {}, {} octets", cert.encoding, cert.data.len()),
        Payload::CertReq(request) => {
            format!("{label} {}, authority {}", request.encoding, Octets(&request.authority))
        }
        Payload::Nonce(nonce) => format!("{label} {} octets", nonce.0.len()),
        Payload::Notify(notify) => format!("{label}{}", about(notify)),
        Payload::Delete(delete) => format!("{label} {}", deleted(delete)),
        Payload::Vendor(octets) => format!("{label} {}", vendor(octets)),
        Payload::NatD { hash, .. } => format!("{label} {}", Octets(hash)),
        Payload::NatOa { address, .. } => format!("{label} {}", address.0),
        Payload::Attributes(attributes) => format!("{label}{}", listed(attributes)),
        Payload::Fragment(fragment) => format!("{label} {} octets", fragment.data.len()),
        Payload::Ke(body)
        | Payload::Hash(body)
        | Payload::Sig(body)
        | Payload::Opaque { body, .. } => format!("{label} {} octets", body.len()),
    }
}

/// Nothing for the message ID of phase 1, which is 0.
fn message_id(header: &Header) -> String {
    match header.message_id.0 {
        0 => String::new(),
        id => format!(" {id:08x}"),
    }
}

/// What stands in the brackets of a summary.
fn label(payload: &Payload) -> String {
    let payload_type = payload.payload_type();
    match payload {
        Payload::Notify(notify) => format!("{payload_type}({})", notify.notify_type),
        Payload::Attributes(attributes) => format!("{payload_type}({})", attributes.config_type),
        Payload::Fragment(fragment) => {
            let last = if fragment.last { ", the last" } else { "" };
            format!("{payload_type}({}/{}{last})", fragment.id, fragment.number)
        }
        _ => payload_type.to_string(),
    }
}

fn proposal(proposal: &Proposal) -> String {
    let mut text = format!("{} {}", proposal.number, proposal.protocol);
    if !proposal.spi.octets().is_empty() {
        let _ = write!(text, " SPI {}", proposal.spi);
    }
    for item in &proposal.transforms {
        let _ = write!(text, " [{}]", transform(proposal.protocol, item));
    }
    text
}

fn transform(protocol: ProtocolId, transform: &Transform) -> String {
    let id = transform.id;
    let name = match protocol {
        ProtocolId::ISAKMP => IsakmpTransform(id).to_string(),
        ProtocolId::IPSEC_AH => AhTransform(id).to_string(),
        ProtocolId::IPSEC_ESP => EspTransform(id).to_string(),
        ProtocolId::IPCOMP => IpcompTransform(id).to_string(),
        _ => id.to_string(),
    };
    let mut text = format!("{} {name}", transform.number);
    for item in &transform.attributes {
        let shown = match protocol {
            ProtocolId::ISAKMP => of_ike(item),
            _ => of_ipsec(item),
        };
        let _ = write!(text, ", {shown}");
    }
    text
}

/// A phase 1 attribute: the name of its value where values have names, else class and value.
fn of_ike(attribute: &Attribute) -> String {
    let class = IkeAttribute(attribute.attribute_type);
    let AttributeValue::Short(value) = attribute.value else { return plain(class, attribute) };
    match class {
        IkeAttribute::ENCRYPTION_ALGORITHM => EncryptionId(value).to_string(),
        IkeAttribute::HASH_ALGORITHM => HashId(value).to_string(),
        IkeAttribute::AUTHENTICATION_METHOD => AuthMethod(value).to_string(),
        IkeAttribute::GROUP_DESCRIPTION => GroupId(value).to_string(),
        IkeAttribute::LIFE_TYPE => LifeType(value).to_string(),
        _ => plain(class, attribute),
    }
}

/// As [`of_ike`], for the IPsec DOI.
fn of_ipsec(attribute: &Attribute) -> String {
    let class = IpsecAttribute(attribute.attribute_type);
    let AttributeValue::Short(value) = attribute.value else { return plain(class, attribute) };
    match class {
        IpsecAttribute::SA_LIFE_TYPE => LifeType(value).to_string(),
        IpsecAttribute::GROUP_DESCRIPTION => GroupId(value).to_string(),
        IpsecAttribute::ENCAPSULATION_MODE => EncapsulationMode(value).to_string(),
        IpsecAttribute::AUTHENTICATION_ALGORITHM => IntegrityId(value).to_string(),
        _ => plain(class, attribute),
    }
}

fn plain(class: impl std::fmt::Display, attribute: &Attribute) -> String {
    match (&attribute.value, attribute.to_number()) {
        (_, Some(number)) => format!("{class} {number}"),
        (AttributeValue::Long(octets), None) => format!("{class} {}", Octets(octets)),
        (AttributeValue::Short(value), None) => format!("{class} {value}"),
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
    let spis: Vec<_> = delete.spis.iter().map(ToString::to_string).collect();
    format!("{} {}", delete.protocol, spis.join(" "))
}

fn listed(attributes: &Attributes) -> String {
    let mut text = String::new();
    for attribute in &attributes.attributes {
        let class = ConfigAttribute(attribute.attribute_type);
        let _ = write!(text, " {class}");
        if is_secret(class) {
            text.push_str(" (not shown)");
            continue;
        }
        let _ = match (&attribute.value, attribute.to_address()) {
            (AttributeValue::Short(value), _) => write!(text, "={value}"),
            (_, Some(address)) => write!(text, "={address}"),
            (AttributeValue::Long(octets), None) if octets.is_empty() => Ok(()),
            (AttributeValue::Long(octets), None) => write!(text, "={}", Octets(octets)),
        };
    }
    text
}

/// What nobody is to read in a trace.
fn is_secret(class: ConfigAttribute) -> bool {
    matches!(
        class,
        ConfigAttribute::XAUTH_USER_PASSWORD
            | ConfigAttribute::XAUTH_PASSCODE
            | ConfigAttribute::XAUTH_NEXT_PIN
            | ConfigAttribute::XAUTH_ANSWER
    )
}
