//! The Certificate and Certificate Request payloads (RFC 2408 §3.9, §3.10): an encoding, then data.

use serde::{Deserialize, Serialize};

use crate::wire::error::Reason;
use crate::wire::iana::v1::CertEncoding;
use crate::wire::payload::kind_and_rest;

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cert {
    /// How the data is encoded.
    pub encoding: CertEncoding,
    /// The certificate data.
    pub data: Vec<u8>,
}

/// A wish for a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertReq {
    /// The encoding that is wanted.
    pub encoding: CertEncoding,
    /// The certification authority that is trusted: for X.509, the DER of its distinguished name.
    /// Empty where any will do.
    pub authority: Vec<u8>,
}

impl Cert {
    /// Reads the body of a Certificate payload.
    ///
    /// # Errors
    ///
    /// No octets.
    pub fn parse(body: &[u8]) -> Result<Cert, Reason> {
        let (encoding, data) = parse(body)?;
        Ok(Cert { encoding, data })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.push(self.encoding.0);
        out.extend(&self.data);
    }
}

impl CertReq {
    pub(super) fn parse(body: &[u8]) -> Result<CertReq, Reason> {
        let (encoding, authority) = parse(body)?;
        Ok(CertReq { encoding, authority })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.push(self.encoding.0);
        out.extend(&self.authority);
    }
}

fn parse(body: &[u8]) -> Result<(CertEncoding, Vec<u8>), Reason> {
    let (encoding, data) = kind_and_rest("certificate encoding", body)?;
    Ok((CertEncoding(encoding), data))
}
