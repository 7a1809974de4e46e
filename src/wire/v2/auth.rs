//! The Authentication payload (RFC 7296 §3.8): method, three reserved octets, data.

use serde::{Deserialize, Serialize};

use crate::wire::error::Reason;
use crate::wire::iana::v2::AuthMethod;
use crate::wire::payload::{Parsed, fixed, number8, remainder, saturate8, sized, whole};

/// The proof of an identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Auth {
    /// How it was computed.
    pub method: AuthMethod,
    /// The signature or the message integrity code. For [`AuthMethod::DIGITAL_SIGNATURE`] see
    /// [`SignatureData`].
    pub data: Vec<u8>,
}

/// The data of an AUTH payload with method Digital Signature (RFC 7427 §3): the length of an
/// AlgorithmIdentifier in one octet, the AlgorithmIdentifier, the signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureData {
    /// The AlgorithmIdentifier in DER, at most 255 octets.
    pub algorithm: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
}

impl Auth {
    pub(super) fn parse(body: &[u8]) -> Result<Auth, Reason> {
        whole(body, |input| -> Parsed<'_, Auth> {
            let (rest, method) = number8("authentication method")(input)?;
            let (rest, _) = fixed("reserved", 3)(rest)?;
            let (rest, data) = remainder(rest)?;
            Ok((rest, Auth { method: AuthMethod(method), data }))
        })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend([self.method.0, 0, 0, 0]);
        out.extend(&self.data);
    }
}

impl SignatureData {
    /// Reads the data of an AUTH payload with method Digital Signature.
    ///
    /// # Errors
    ///
    /// No length octet; an AlgorithmIdentifier longer than the data.
    pub fn parse(data: &[u8]) -> Result<SignatureData, Reason> {
        whole(data, |input| -> Parsed<'_, SignatureData> {
            let (rest, size) = number8("AlgorithmIdentifier length")(input)?;
            let (rest, algorithm) = sized("AlgorithmIdentifier length", usize::from(size))(rest)?;
            let (rest, signature) = remainder(rest)?;
            Ok((rest, SignatureData { algorithm: algorithm.to_vec(), signature }))
        })
    }

    /// Writes the data of an AUTH payload with method Digital Signature.
    pub fn emit(&self) -> Vec<u8> {
        let mut out = vec![saturate8(self.algorithm.len())];
        out.extend(&self.algorithm);
        out.extend(&self.signature);
        out
    }
}
