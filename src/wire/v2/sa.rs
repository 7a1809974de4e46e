//! The Security Association payload (RFC 7296 §3.3): proposals of transforms.
//!
//! ```text
//!                     1                   2                   3
//! 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+---------------+-------------------------------+
//! | Last Substruc |   RESERVED    |         Proposal Length       |
//! +---------------+---------------+---------------+---------------+
//! | Proposal Num  |  Protocol ID  |    SPI Size   |Num  Transforms|
//! +---------------+---------------+---------------+---------------+
//! |                        SPI (variable)                         |
//! +---------------------------------------------------------------+
//! |                        <Transforms>                           |
//! +---------------------------------------------------------------+
//!
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
use crate::wire::numbers::Spi;
use crate::wire::payload::{
    LAST, MORE_PROPOSALS, MORE_TRANSFORMS, Parsed, check_mark, emit_sized, fail, fixed, number8,
    number16, saturate8, sized, substructure, whole,
};

/// The most transforms we take in one SA payload, over all its proposals.
pub const MAX_TRANSFORMS: usize = 1024;

/// The proposals of an SA payload: one or more, at most 255 of at most 255 transforms each, and at
/// most [`MAX_TRANSFORMS`] transforms in all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sa {
    /// The proposals in order of preference; one in an answer.
    pub proposals: Vec<Proposal>,
}

/// A proposal: one of each type of transform is to be chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Its number, from 1; an answer repeats the number of the chosen one.
    pub number: u8,
    /// The protocol of the SA.
    pub protocol: ProtocolId,
    /// The sender's SPI; none for an IKE SA that is negotiated in IKE_SA_INIT.
    pub spi: Spi,
    /// The transforms in order of preference within each type.
    pub transforms: Vec<Transform>,
}

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
        whole(body, |mut rest| -> Parsed<'_, Sa> {
            let mut proposals = Vec::new();
            let mut room = MAX_TRANSFORMS;
            loop {
                let (after, (mark, proposal)) = Proposal::parse(rest, room)?;
                room -= proposal.transforms.len();
                proposals.push(proposal);
                rest = after;
                check_mark("proposal", mark, MORE_PROPOSALS, rest.is_empty())?;
                if rest.is_empty() {
                    return Ok((rest, Sa { proposals }));
                }
                if proposals.len() == usize::from(u8::MAX) {
                    return fail(Reason::TooMany { field: "proposals", limit: u8::MAX.into() });
                }
            }
        })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        let count = self.proposals.len();
        for (index, proposal) in self.proposals.iter().enumerate() {
            let mark = if index + 1 == count { LAST } else { MORE_PROPOSALS };
            out.extend([mark, 0]);
            emit_sized(out, 4, |out| proposal.emit(out));
        }
    }
}

impl Proposal {
    /// Reads a proposal of at most `room` transforms, and its mark.
    fn parse(input: &[u8], room: usize) -> Parsed<'_, (u8, Proposal)> {
        let (rest, (mark, inside)) = substructure("proposal length", input)?;
        let (inside, number) = number8("proposal number")(inside)?;
        let (inside, protocol) = number8("protocol ID")(inside)?;
        let (inside, spi_size) = number8("SPI size")(inside)?;
        let (inside, said) = number8("number of transforms")(inside)?;
        let (mut inside, spi) = sized("SPI size", usize::from(spi_size))(inside)?;
        let protocol = ProtocolId(protocol);
        if !spi_suits(protocol, spi.len()) {
            return fail(Reason::BadSpi { protocol, size: spi.len() });
        }
        let mut transforms = Vec::new();
        while !inside.is_empty() {
            if transforms.len() == room {
                return fail(Reason::TooMany { field: "transforms", limit: MAX_TRANSFORMS });
            }
            let (mark, transform);
            (inside, (mark, transform)) = Transform::parse(inside)?;
            check_mark("transform", mark, MORE_TRANSFORMS, inside.is_empty())?;
            transforms.push(transform);
        }
        if transforms.len() != usize::from(said) {
            let (said, found) = (said.into(), transforms.len());
            return fail(Reason::Miscounted { field: "transforms", said, found });
        }
        let spi = Spi::from_octets(spi);
        Ok((rest, (mark, Proposal { number, protocol, spi, transforms })))
    }

    fn emit(&self, out: &mut Vec<u8>) {
        let spi = self.spi.octets();
        let count = self.transforms.len();
        out.extend([self.number, self.protocol.0, saturate8(spi.len()), saturate8(count)]);
        out.extend(spi);
        for (index, transform) in self.transforms.iter().enumerate() {
            let mark = if index + 1 == count { LAST } else { MORE_TRANSFORMS };
            out.extend([mark, 0]);
            emit_sized(out, 4, |out| transform.emit(out));
        }
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

    /// Reads a transform and its mark.
    fn parse(input: &[u8]) -> Parsed<'_, (u8, Transform)> {
        let (rest, (mark, inside)) = substructure("transform length", input)?;
        let (inside, transform_type) = number8("transform type")(inside)?;
        let (inside, _) = fixed("reserved", 1)(inside)?;
        let (mut inside, id) = number16("transform ID")(inside)?;
        let mut attributes = Vec::new();
        while !inside.is_empty() {
            let attribute;
            (inside, attribute) = Attribute::parse(inside)?;
            attributes.push(attribute);
        }
        let transform = Transform::new(TransformType(transform_type), id, attributes);
        Ok((rest, (mark, transform)))
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

/// Whether a proposal for this protocol may carry an SPI of this size (RFC 7296 §3.3.1).
fn spi_suits(protocol: ProtocolId, size: usize) -> bool {
    match protocol {
        ProtocolId::IKE => size == 0 || size == 8,
        ProtocolId::AH | ProtocolId::ESP => size == 4,
        _ => true,
    }
}
