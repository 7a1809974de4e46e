//! Questions to whoever holds the long-term secrets, and the answers.
//!
//! In the daemon that is the `ca` process; in tests and benchmarks it is answered in place.

use serde::{Deserialize, Serialize};

use crate::conf::PolicyName;
use crate::wire::iana::v2::PrfId;

/// Which question an answer belongs to; never reused while the engine lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct QuestionId(pub u64);

/// What the engine asks of the holder of the secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// Compute our AUTH value: `prf(prf(psk, "Key Pad for IKEv2"), octets)` (RFC 7296 §2.15).
    SharedKeySign {
        /// The policy whose pre-shared key it is.
        policy: PolicyName,
        /// The negotiated PRF.
        prf: PrfId,
        /// The octets to be signed: our first message, the peer's nonce, `prf(SK_p, ID)`.
        octets: Vec<u8>,
    },
    /// Judge the peer's AUTH value, computed likewise.
    SharedKeyVerify {
        /// The policy whose pre-shared key it is.
        policy: PolicyName,
        /// The negotiated PRF.
        prf: PrfId,
        /// The octets the peer signed.
        octets: Vec<u8>,
        /// What the peer sent.
        auth: Vec<u8>,
    },
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Our AUTH value.
    Signed(Vec<u8>),
    /// The peer's AUTH value is right.
    Verified,
    /// The peer's AUTH value is wrong: the keys differ (or somebody is in the middle).
    Wrong,
    /// The question cannot be answered, in a sentence for the operator.
    Refused(String),
}
