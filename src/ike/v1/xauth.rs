//! Extended authentication within the transaction exchange (draft-beaulieu-ike-xauth): after phase 1 the
//! gateway asks for a name and a password, judges them, and says how it went.
//!
//! ```text
//! gateway                                      client
//!    REQUEST  name? password?         --->
//!                                     <---     REPLY  name, password
//!    SET      status                  --->
//!                                     <---     ACK
//! ```
//!
//! Of the ways that the draft has, the generic one is spoken: a password, under the protection of phase 1. Others
//! are refused by a status of failure.

use zeroize::Zeroize as _;

use crate::crypto::Secret;
use crate::wire::attribute::{Attribute, AttributeValue};
use crate::wire::iana::v1::{ConfigAttribute, ConfigType, XauthType};
use crate::wire::v1::Attributes;

/// The longest name of a user, in octets.
pub const LONGEST_NAME: usize = 128;

/// The longest password, in octets.
pub const LONGEST_PASSWORD: usize = 512;

/// XAUTH-STATUS (draft §7.2).
const FAILED: u16 = 0;
const PASSED: u16 = 1;

/// Who a client says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub name: String,
    /// The password.
    pub password: Secret,
}

/// Whether a message of the transaction exchange is about XAUTH rather than configuration.
pub fn is_meant(attributes: &Attributes) -> bool {
    let xauth = ConfigAttribute::XAUTH_TYPE.0..=ConfigAttribute::XAUTH_ANSWER.0;
    attributes.attributes.iter().any(|attribute| xauth.contains(&attribute.attribute_type))
}

/// The gateway's request for a name and a password.
pub fn request(identifier: u16) -> Attributes {
    let attributes = vec![
        Attribute::short(ConfigAttribute::XAUTH_TYPE.0, XauthType::GENERIC.0),
        ConfigAttribute::XAUTH_USER_NAME.empty(),
        ConfigAttribute::XAUTH_USER_PASSWORD.empty(),
    ];
    Attributes { config_type: ConfigType::REQUEST, identifier, attributes }
}

/// The client's reply to a request.
///
/// # Errors
///
/// Why it cannot be answered, in words; [`refusal`] tells the gateway.
pub fn reply(request: &Attributes, ours: &Credentials) -> Result<Attributes, String> {
    let mut attributes = Vec::new();
    for attribute in &request.attributes {
        let class = ConfigAttribute(attribute.attribute_type);
        attributes.push(match class {
            ConfigAttribute::XAUTH_TYPE => match attribute.to_number() {
                Some(0) | None => Attribute::short(class.0, XauthType::GENERIC.0),
                Some(other) => {
                    let kind = XauthType(u16::try_from(other).unwrap_or(u16::MAX));
                    return Err(format!("the peer wants XAUTH of type {kind}, not a password"));
                }
            },
            ConfigAttribute::XAUTH_USER_NAME => class.with(ours.name.as_bytes()),
            // Some gateways ask for a passcode and take the password for it.
            ConfigAttribute::XAUTH_USER_PASSWORD | ConfigAttribute::XAUTH_PASSCODE => {
                class.with(ours.password.octets())
            }
            // What the gateway has to say, and a domain that we have none for.
            ConfigAttribute::XAUTH_MESSAGE => continue,
            ConfigAttribute::XAUTH_DOMAIN => class.empty(),
            other => return Err(format!("the peer asks for {other}, which is not a password")),
        });
    }
    Ok(Attributes { config_type: ConfigType::REPLY, identifier: request.identifier, attributes })
}

/// The client's reply to a request that it cannot answer.
pub fn refusal(request: &Attributes) -> Attributes {
    let attributes = vec![Attribute::short(ConfigAttribute::XAUTH_STATUS.0, FAILED)];
    Attributes { config_type: ConfigType::REPLY, identifier: request.identifier, attributes }
}

/// What the gateway finds in a reply.
///
/// # Errors
///
/// What is missing or out of bounds, in words.
pub fn credentials(reply: &Attributes) -> Result<Credentials, String> {
    if reply.octets(ConfigAttribute::XAUTH_STATUS).is_some() {
        return Err("the peer cannot answer a request for a name and a password".into());
    }
    let name = reply.octets(ConfigAttribute::XAUTH_USER_NAME).ok_or("no name in the reply")?;
    let password = reply
        .octets(ConfigAttribute::XAUTH_USER_PASSWORD)
        .or_else(|| reply.octets(ConfigAttribute::XAUTH_PASSCODE))
        .map(Secret::new)
        .ok_or("no password in the reply")?;
    if name.is_empty() || name.len() > LONGEST_NAME || password.len() > LONGEST_PASSWORD {
        return Err(format!(
            "a name of {} octets (1 to {LONGEST_NAME}) or a password of {} (up to {LONGEST_PASSWORD})",
            name.len(),
            password.len()
        ));
    }
    let name = String::from_utf8(name).map_err(|_| "a name that is not UTF-8")?;
    if name.chars().any(char::is_control) {
        return Err("a name with control characters".into());
    }
    // Some clients send the terminator of a C string with the password.
    let password = match password.octets().strip_suffix(&[0]) {
        Some(octets) => Secret::from(octets),
        None => password,
    };
    Ok(Credentials { name, password })
}

/// The gateway's word on how it went.
pub fn verdict(identifier: u16, passed: bool) -> Attributes {
    let status = if passed { PASSED } else { FAILED };
    let attributes = vec![Attribute::short(ConfigAttribute::XAUTH_STATUS.0, status)];
    Attributes { config_type: ConfigType::SET, identifier, attributes }
}

/// What the gateway says, if that is what it says.
pub fn status(set: &Attributes) -> Option<bool> {
    set.find(ConfigAttribute::XAUTH_STATUS)?.to_number().map(|status| status == u64::from(PASSED))
}

/// The client's acknowledgement: the attributes without values.
pub fn acknowledgement(set: &Attributes) -> Attributes {
    let empty = |attribute: &Attribute| match attribute.value {
        AttributeValue::Short(value) => Attribute::short(attribute.attribute_type, value),
        AttributeValue::Long(_) => ConfigAttribute(attribute.attribute_type).empty(),
    };
    let attributes = set.attributes.iter().map(empty).collect();
    Attributes { config_type: ConfigType::ACK, identifier: set.identifier, attributes }
}

/// Wipes the values of a message that held a password.
pub fn wipe(attributes: &mut Attributes) {
    for attribute in &mut attributes.attributes {
        if let AttributeValue::Long(octets) = &mut attribute.value {
            octets.zeroize();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Credentials {
        Credentials { name: "alice".into(), password: Secret::from(&b"a password"[..]) }
    }

    #[test]
    fn a_name_and_a_password_cross() {
        let request = request(7);
        assert!(is_meant(&request));
        let mut reply = reply(&request, &ours()).unwrap();
        assert_eq!((reply.config_type, reply.identifier), (ConfigType::REPLY, 7));
        assert_eq!(credentials(&reply), Ok(ours()));
        wipe(&mut reply);
        let password = reply.octets(ConfigAttribute::XAUTH_USER_PASSWORD).unwrap();
        assert!(password.iter().all(|octet| *octet == 0));
        for passed in [true, false] {
            let set = verdict(8, passed);
            assert_eq!(status(&set), Some(passed));
            let ack = acknowledgement(&set);
            assert_eq!((ack.config_type, ack.identifier), (ConfigType::ACK, 8));
        }
    }

    #[test]
    fn what_is_no_password_is_refused() {
        let ask = |attribute| {
            let mut request = request(1);
            request.attributes.push(attribute);
            reply(&request, &ours())
        };
        let words = ask(ConfigAttribute::XAUTH_CHALLENGE.with(&[1; 16])).unwrap_err();
        assert_eq!(words, "the peer asks for XAUTH-CHALLENGE, which is not a password");
        let otp = Attribute::short(ConfigAttribute::XAUTH_TYPE.0, XauthType::OTP.0);
        let words = ask(otp).unwrap_err();
        assert_eq!(words, "the peer wants XAUTH of type OTP, not a password");
        assert!(ask(ConfigAttribute::XAUTH_MESSAGE.with(b"who are you?")).is_ok());
        let words = credentials(&refusal(&request(1))).unwrap_err();
        assert!(words.contains("cannot answer"), "{words}");
    }

    #[test]
    fn lies_in_a_reply_are_told() {
        let said = |name: &[u8], password: usize| {
            let mut reply = request(1);
            reply.attributes = vec![
                ConfigAttribute::XAUTH_USER_NAME.with(name),
                ConfigAttribute::XAUTH_USER_PASSWORD.with(&vec![1; password]),
            ];
            credentials(&reply).map(|found| found.name)
        };
        assert_eq!(said(b"bob", 0).as_deref(), Ok("bob"));
        assert!(said(b"", 1).is_err());
        assert!(said(&[b'a'; LONGEST_NAME + 1], 1).is_err());
        assert!(said(b"bob", LONGEST_PASSWORD + 1).is_err());
        assert!(said(&[0xff], 1).is_err());
        assert!(said(b"bob\nroot", 1).is_err());
        let empty = Attributes { attributes: Vec::new(), ..request(1) };
        assert_eq!(credentials(&empty), Err("no name in the reply".into()));
        let mut terminated = request(1);
        terminated.attributes = vec![
            ConfigAttribute::XAUTH_USER_NAME.with(b"bob"),
            ConfigAttribute::XAUTH_USER_PASSWORD.with(b"pw\0"),
        ];
        assert_eq!(credentials(&terminated).unwrap().password.octets(), b"pw");
    }
}
