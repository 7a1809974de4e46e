//! The Security Association payload (RFC 2408 §3.4 to §3.6, RFC 2407 §4.6.1): proposals of transforms.
//!
//! ```text
//!                     1                   2                   3
//! 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------------------------------------------------------+
//! |              Domain of Interpretation (IPsec)                 |
//! +---------------------------------------------------------------+
//! |                       Situation (bitmap)                      |
//! +---------------------------------------------------------------+
//! |                         <Proposals>                           |
//! +---------------------------------------------------------------+
//!
//! +---------------+---------------+-------------------------------+
//! | Next Payload  |   RESERVED    |         Payload Length        |
//! +---------------+---------------+-------------------------------+
//! |  Transform #  |  Transform-Id |           RESERVED2           |
//! +---------------+---------------+-------------------------------+
//! |                        SA Attributes                          |
//! +---------------------------------------------------------------+
//! ```
//!
//! Proposals with the same number belong together: all their protocols are wanted (a bundle). Of the
//! transforms of a proposal one is to be chosen.

use serde::{Deserialize, Serialize};

use crate::wire::attribute::Attribute;
use crate::wire::error::Reason;
use crate::wire::iana::v1::{Doi, IkeAttribute, IpsecAttribute, LifeType, ProtocolId, Situation};
use crate::wire::payload::{Parsed, fail, fixed, number8, number32, whole};
use crate::wire::proposal;

/// The proposals of an SA payload: one or more, and at most
/// [`MAX_TRANSFORMS`](proposal::MAX_TRANSFORMS) transforms in all.
/// DOI and situation are those of IPsec and SIT_IDENTITY_ONLY; no other is spoken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sa {
    /// The proposals in order of preference.
    pub proposals: Vec<Proposal>,
}

/// A proposal: one of its transforms is to be chosen. The SPI is the sender's; in phase 1 there is none,
/// or what the peer fancies (it is ignored).
pub type Proposal = proposal::Proposal<ProtocolId, Transform>;

/// A transform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transform {
    /// Its number, which an answer repeats.
    pub number: u8,
    /// The transform's number in the registry of its protocol.
    pub id: u8,
    /// Its attributes in the order in which they came; an answer repeats them.
    pub attributes: Vec<Attribute>,
}

impl Sa {
    pub(super) fn parse(body: &[u8]) -> Result<Sa, Reason> {
        whole(body, |input| -> Parsed<'_, Sa> {
            let (rest, doi) = number32("DOI")(input)?;
            if Doi(doi) != Doi::IPSEC {
                return fail(Reason::Doi(Doi(doi)));
            }
            let (rest, situation) = number32("situation")(rest)?;
            if Situation(situation) != Situation::IDENTITY_ONLY {
                return fail(Reason::Situation(Situation(situation)));
            }
            let (rest, proposals) = proposal::parse(rest)?;
            Ok((rest, Sa { proposals }))
        })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend(Doi::IPSEC.0.to_be_bytes());
        out.extend(Situation::IDENTITY_ONLY.0.to_be_bytes());
        proposal::emit(&self.proposals, out);
    }
}

impl proposal::Protocol for ProtocolId {
    fn of(number: u8) -> Self {
        ProtocolId(number)
    }

    fn number(self) -> u8 {
        self.0
    }

    /// RFC 2407 §4.6.1, RFC 3173 §4.1.
    fn check_spi(self, size: usize) -> Result<(), Reason> {
        let (right, wanted) = match self {
            ProtocolId::ISAKMP => (size <= 16, "0 to 16"),
            ProtocolId::IPSEC_AH | ProtocolId::IPSEC_ESP => (size == 4, "4"),
            ProtocolId::IPCOMP => (size == 2 || size == 4, "2 or 4"),
            _ => (true, ""),
        };
        if right { Ok(()) } else { Err(Reason::BadLength { field: "SPI size", size, wanted }) }
    }
}

impl Transform {
    /// The value of the first phase 1 attribute of this class, as a number.
    pub fn ike(&self, class: IkeAttribute) -> Option<u64> {
        self.number_of(class.0)
    }

    /// The value of the first attribute of this class of the IPsec DOI, as a number.
    pub fn ipsec(&self, class: IpsecAttribute) -> Option<u64> {
        self.number_of(class.0)
    }

    /// The lifetimes of a phase 1 transform. A duration counts in the unit named before it.
    pub fn ike_lifetimes(&self) -> Vec<(LifeType, u64)> {
        self.lifetimes(IkeAttribute::LIFE_TYPE.0, IkeAttribute::LIFE_DURATION.0)
    }

    /// The lifetimes of a transform of the IPsec DOI. A duration counts in the unit named before it.
    pub fn ipsec_lifetimes(&self) -> Vec<(LifeType, u64)> {
        lifetimes(&self.attributes)
    }

    fn number_of(&self, class: u16) -> Option<u64> {
        self.attributes.iter().find(|a| a.attribute_type == class).and_then(Attribute::to_number)
    }

    fn lifetimes(&self, unit: u16, duration: u16) -> Vec<(LifeType, u64)> {
        lifetimes_of(&self.attributes, unit, duration)
    }
}

impl proposal::Transform for Transform {
    fn parse(inside: &[u8]) -> Parsed<'_, Transform> {
        let (inside, number) = number8("transform number")(inside)?;
        let (inside, id) = number8("transform ID")(inside)?;
        let (inside, _) = fixed("reserved", 2)(inside)?;
        let (inside, attributes) = Attribute::parse_all(inside)?;
        Ok((inside, Transform { number, id, attributes }))
    }

    fn emit(&self, out: &mut Vec<u8>) {
        out.extend([self.number, self.id, 0, 0]);
        self.attributes.iter().for_each(|attribute| attribute.emit(out));
    }
}

/// The lifetimes among attributes of the IPsec DOI, such as RESPONDER-LIFETIME carries them.
pub fn lifetimes(attributes: &[Attribute]) -> Vec<(LifeType, u64)> {
    let (unit, duration) = (IpsecAttribute::SA_LIFE_TYPE, IpsecAttribute::SA_LIFE_DURATION);
    lifetimes_of(attributes, unit.0, duration.0)
}

fn lifetimes_of(attributes: &[Attribute], unit: u16, duration: u16) -> Vec<(LifeType, u64)> {
    // RFC 2407 section 4.5: without a unit before it a duration counts seconds.
    let mut current = LifeType::SECONDS;
    let mut found = Vec::new();
    for attribute in attributes {
        let Some(number) = attribute.to_number() else { continue };
        if attribute.attribute_type == unit {
            current = LifeType(u16::try_from(number).unwrap_or(0));
        } else if attribute.attribute_type == duration {
            found.push((current, number));
        }
    }
    found
}
