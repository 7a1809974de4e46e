//! Data attributes (RFC 7296 §3.3.5, RFC 2408 §3.3): a type, and a value of two octets or of any length.
//!
//! ```text
//!                     1                   2                   3
//! 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-----------------------------+-------------------------------+
//! |A|       Attribute Type        |    AF=0  Attribute Length     |
//! |F|                             |    AF=1  Attribute Value      |
//! +-+-----------------------------+-------------------------------+
//! |                   AF=0  Attribute Value                       |
//! +---------------------------------------------------------------+
//! ```

use serde::{Deserialize, Serialize};

use super::payload::{self, Parsed, number16, sized};

const FORMAT_BIT: u16 = 0x8000;

/// A data attribute.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attribute {
    /// The type, without the format bit.
    pub attribute_type: u16,
    /// The value.
    pub value: AttributeValue,
}

/// The value of a data attribute, in the format in which it came.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AttributeValue {
    /// Two octets in place of the length (AF=1).
    Short(u16),
    /// Any number of octets (AF=0).
    Long(Vec<u8>),
}

impl Attribute {
    /// An attribute with a value of two octets.
    pub fn short(attribute_type: u16, value: u16) -> Attribute {
        Attribute { attribute_type, value: AttributeValue::Short(value) }
    }

    pub(crate) fn parse(input: &[u8]) -> Parsed<'_, Attribute> {
        let (rest, tagged) = number16("attribute type")(input)?;
        let attribute_type = tagged & !FORMAT_BIT;
        let (rest, second) = number16("attribute value")(rest)?;
        if tagged & FORMAT_BIT != 0 {
            return Ok((rest, Attribute::short(attribute_type, second)));
        }
        let (rest, octets) = sized("attribute length", usize::from(second))(rest)?;
        let value = AttributeValue::Long(octets.to_vec());
        Ok((rest, Attribute { attribute_type, value }))
    }

    pub(crate) fn emit(&self, out: &mut Vec<u8>) {
        match &self.value {
            AttributeValue::Short(value) => {
                out.extend((self.attribute_type | FORMAT_BIT).to_be_bytes());
                out.extend(value.to_be_bytes());
            }
            AttributeValue::Long(octets) => {
                out.extend((self.attribute_type & !FORMAT_BIT).to_be_bytes());
                payload::emit_sized(out, 0, |out| out.extend(octets));
            }
        }
    }
}
