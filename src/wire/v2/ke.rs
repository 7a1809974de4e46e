//! The Key Exchange payload (RFC 7296 §3.4): group, two reserved octets, key exchange data.

use crate::wire::error::Reason;
use crate::wire::iana::v2::GroupId;
use crate::wire::payload::{Parsed, fixed, number16, remainder, whole};

/// A key exchange method and this end's public value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ke {
    /// The method.
    pub group: GroupId,
    /// The public value; its length is the method's business.
    pub data: Vec<u8>,
}

impl Ke {
    pub(super) fn parse(body: &[u8]) -> Result<Ke, Reason> {
        whole(body, |input| -> Parsed<'_, Ke> {
            let (rest, group) = number16("key exchange method")(input)?;
            let (rest, _) = fixed("reserved", 2)(rest)?;
            let (rest, data) = remainder(rest)?;
            Ok((rest, Ke { group: GroupId(group), data }))
        })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend(self.group.0.to_be_bytes());
        out.extend([0, 0]);
        out.extend(&self.data);
    }
}
