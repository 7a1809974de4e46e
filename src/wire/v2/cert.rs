//! The Certificate and Certificate Request payloads (RFC 7296 §3.6, §3.7): encoding, then data.

use serde::{Deserialize, Serialize};

use crate::wire::error::Reason;
use crate::wire::iana::v2::CertEncoding;
use crate::wire::payload::kind_and_rest;

/// Octets of the SHA-1 hash of a trust anchor's public key in a certificate request.
pub const AUTHORITY_LEN: usize = 20;

/// A certificate, revocation list or raw public key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cert {
    /// How the data is encoded.
    pub encoding: CertEncoding,
    /// The certificate data.
    pub data: Vec<u8>,
}

/// A wish for certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertReq {
    /// The encoding that is wanted.
    pub encoding: CertEncoding,
    /// The certification authorities that are trusted: for X.509, SHA-1 hashes of their
    /// SubjectPublicKeyInfo, one after another. May be empty.
    pub authorities: Vec<u8>,
}

impl Cert {
    pub(super) fn parse(body: &[u8]) -> Result<Cert, Reason> {
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
        let (encoding, authorities) = parse(body)?;
        Ok(CertReq { encoding, authorities })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.push(self.encoding.0);
        out.extend(&self.authorities);
    }

    /// The hashes of the trusted authorities' public keys, for encodings of X.509 certificates.
    pub fn hashes(&self) -> impl Iterator<Item = &[u8]> {
        self.authorities.chunks_exact(AUTHORITY_LEN)
    }
}

fn parse(body: &[u8]) -> Result<(CertEncoding, Vec<u8>), Reason> {
    let (encoding, data) = kind_and_rest("certificate encoding", body)?;
    Ok((CertEncoding(encoding), data))
}
