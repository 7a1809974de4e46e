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

    /// The value as a number, most significant octet first; none if it exceeds 64 bits or is empty.
    pub fn to_number(&self) -> Option<u64> {
        match &self.value {
            AttributeValue::Short(value) => Some((*value).into()),
            AttributeValue::Long(octets) => {
                let zeroes = octets.iter().take_while(|octet| **octet == 0).count();
                let significant = octets.get(zeroes..).unwrap_or_default();
                let fits = significant.len() <= 8 && !octets.is_empty();
                let number = |octets: &[u8]| octets.iter().fold(0, |n, o| n << 8 | u64::from(*o));
                fits.then(|| number(significant))
            }
        }
    }

    /// An attribute with a number for its value: in two octets where they suffice, else in four or eight.
    pub fn number(attribute_type: u16, value: u64) -> Attribute {
        if let Ok(value) = u16::try_from(value) {
            return Attribute::short(attribute_type, value);
        }
        let octets = match u32::try_from(value) {
            Ok(value) => value.to_be_bytes().to_vec(),
            Err(_) => value.to_be_bytes().to_vec(),
        };
        Attribute { attribute_type, value: AttributeValue::Long(octets) }
    }

    fn parse(input: &[u8]) -> Parsed<'_, Attribute> {
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

    /// Attributes to the end of the input.
    pub(crate) fn parse_all(input: &[u8]) -> Parsed<'_, Vec<Attribute>> {
        let (mut rest, mut attributes) = (input, Vec::new());
        while !rest.is_empty() {
            let (after, attribute) = Attribute::parse(rest)?;
            attributes.push(attribute);
            rest = after;
        }
        Ok((rest, attributes))
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
