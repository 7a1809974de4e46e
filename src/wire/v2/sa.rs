//! The Security Association payload (RFC 7296 §3.3): proposals of transforms.
//!
//! ```text
//!                     1                   2                   3
//! 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+---------------+-------------------------------+
//! | Last Substruc |   RESERVED    |        Transform Length       |
//! +---------------+---------------+---------------+---------------+
//! |Transform Type |   RESERVED    |          Transform ID         |
//! +---------------+---------------+-------------------------------+
//! |                      Transform Attributes                     |
//! +---------------------------------------------------------------+
//! ```

use serde::{Deserialize, Serialize};

use crate::wire::attribute::{Attribute, AttributeValue};
use crate::wire::error::Reason;
use crate::wire::iana::v2::{
    EncryptionId, EsnId, GroupId, IntegrityId, PrfId, ProtocolId, TransformAttribute, TransformType,
};
use crate::wire::payload::{Parsed, fixed, number8, number16, whole};
use crate::wire::proposal;

/// The proposals of an SA payload: one or more, at most 255 of at most 255 transforms each, and at
/// most [`MAX_TRANSFORMS`](proposal::MAX_TRANSFORMS) transforms in all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sa {
    /// The proposals in order of preference; one in an answer.
    pub proposals: Vec<Proposal>,
}

/// A proposal: one of each type of transform is to be chosen. Numbers count from 1; the SPI is the
/// sender's, none for an IKE SA that is negotiated in IKE_SA_INIT.
pub type Proposal = proposal::Proposal<ProtocolId, Transform>;

/// A transform.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Transform {
    /// Type 1: encryption algorithm.
    Encr {
        /// The algorithm.
        id: EncryptionId,
        /// The Key Length attribute in bits, if it came.
        key_bits: Option<u16>,
    },
    /// Type 2: pseudorandom function.
    Prf(PrfId),
    /// Type 3: integrity algorithm.
    Integ(IntegrityId),
    /// Type 4: key exchange method.
    Ke(GroupId),
    /// Type 5: sequence numbers.
    Esn(EsnId),
    /// Types 6 to 12: additional key exchange methods (RFC 9370).
    AddKe {
        /// Which of them, 1 to 7.
        round: u8,
        /// The method.
        id: GroupId,
    },
    /// A transform of an unknown type, or with an attribute that we do not understand. It must not be
    /// chosen (RFC 7296 §3.3.6).
    Unknown {
        /// The type.
        transform_type: TransformType,
        /// The transform ID in the type's registry.
        id: u16,
        /// Its attributes.
        attributes: Vec<Attribute>,
    },
}

impl Sa {
    pub(super) fn parse(body: &[u8]) -> Result<Sa, Reason> {
        whole(body, proposal::parse).map(|proposals| Sa { proposals })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
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

    /// RFC 7296 §3.3.1.
    fn check_spi(self, size: usize) -> Result<(), Reason> {
        let right = match self {
            ProtocolId::IKE => size == 0 || size == 8,
            ProtocolId::AH | ProtocolId::ESP => size == 4,
            _ => true,
        };
        if right { Ok(()) } else { Err(Reason::BadSpi { protocol: self, size }) }
    }
}

impl Transform {
    /// The transform's type.
    pub fn transform_type(&self) -> TransformType {
        match self {
            Transform::Encr { .. } => TransformType::ENCR,
            Transform::Prf(_) => TransformType::PRF,
            Transform::Integ(_) => TransformType::INTEG,
            Transform::Ke(_) => TransformType::KE,
            Transform::Esn(_) => TransformType::ESN,
            Transform::AddKe { round, .. } => TransformType(TransformType::KE.0 + 1 + round),
            Transform::Unknown { transform_type, .. } => *transform_type,
        }
    }

    /// The transform's number in the registry of its type.
    pub fn id(&self) -> u16 {
        match self {
            Transform::Encr { id, .. } => id.0,
            Transform::Prf(id) => id.0,
            Transform::Integ(id) => id.0,
            Transform::Ke(id) | Transform::AddKe { id, .. } => id.0,
            Transform::Esn(id) => id.0,
            Transform::Unknown { id, .. } => *id,
        }
    }

    fn new(transform_type: TransformType, id: u16, attributes: Vec<Attribute>) -> Transform {
        match (transform_type, attributes.as_slice()) {
            (TransformType::ENCR, []) => Transform::Encr { id: EncryptionId(id), key_bits: None },
            (
                TransformType::ENCR,
                [Attribute { attribute_type: KEY_LENGTH, value: AttributeValue::Short(bits) }],
            ) => Transform::Encr { id: EncryptionId(id), key_bits: Some(*bits) },
            (TransformType::PRF, []) => Transform::Prf(PrfId(id)),
            (TransformType::INTEG, []) => Transform::Integ(IntegrityId(id)),
            (TransformType::KE, []) => Transform::Ke(GroupId(id)),
            (TransformType::ESN, []) => Transform::Esn(EsnId(id)),
            (TransformType(number @ 6..=12), []) => {
                Transform::AddKe { round: number - 5, id: GroupId(id) }
            }
            _ => Transform::Unknown { transform_type, id, attributes },
        }
    }
}

impl proposal::Transform for Transform {
    fn parse(inside: &[u8]) -> Parsed<'_, Transform> {
        let (inside, transform_type) = number8("transform type")(inside)?;
        let (inside, _) = fixed("reserved", 1)(inside)?;
        let (inside, id) = number16("transform ID")(inside)?;
        let (inside, attributes) = Attribute::parse_all(inside)?;
        Ok((inside, Transform::new(TransformType(transform_type), id, attributes)))
    }

    fn emit(&self, out: &mut Vec<u8>) {
        out.extend([self.transform_type().0, 0]);
        out.extend(self.id().to_be_bytes());
        match self {
            Transform::Encr { key_bits: Some(bits), .. } => {
                Attribute::short(KEY_LENGTH, *bits).emit(out);
            }
            Transform::Unknown { attributes, .. } => {
                attributes.iter().for_each(|attribute| attribute.emit(out));
            }
            _ => (),
        }
    }
}

const KEY_LENGTH: u16 = TransformAttribute::KEY_LENGTH.0;
