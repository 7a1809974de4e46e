//! The EAP payload (RFC 7296 §3.16, RFC 3748 §4): code, identifier, length, data.

use crate::wire::error::Reason;
use crate::wire::iana::v2::EapCode;
use crate::wire::payload::{Parsed, emit_sized, number8, number16, remainder, whole};

/// An EAP packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eap {
    /// Request, response, success or failure.
    pub code: EapCode,
    /// Matches a response with its request.
    pub identifier: u8,
    /// Type and type data of requests and responses; empty otherwise.
    pub data: Vec<u8>,
}

impl Eap {
    pub(super) fn parse(body: &[u8]) -> Result<Eap, Reason> {
        let (said, eap) = whole(body, |input| -> Parsed<'_, (u16, Eap)> {
            let (rest, code) = number8("EAP code")(input)?;
            let (rest, identifier) = number8("EAP identifier")(rest)?;
            let (rest, said) = number16("EAP length")(rest)?;
            let (rest, data) = remainder(rest)?;
            Ok((rest, (said, Eap { code: EapCode(code), identifier, data })))
        })?;
        if usize::from(said) != body.len() {
            let wanted = "the payload's";
            return Err(Reason::BadLength { field: "EAP length", size: said.into(), wanted });
        }
        Ok(eap)
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend([self.code.0, self.identifier]);
        emit_sized(out, 4, |out| out.extend(&self.data));
    }
}
