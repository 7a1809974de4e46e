//! Which payloads each message has: a table per message, judged before anything is done with it.
//!
//! A row says how often a payload may come; what no row names is passed over (RFC 7296 §2.5), and
//! Notify and Vendor ID payloads may come anywhere. The order of payloads does not matter.

use crate::wire::iana::v2::{ExchangeType, PayloadType};
use crate::wire::v2::Payload;

/// How often a payload comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    Once,
    AtMostOnce,
}

use Times::{AtMostOnce, Once};

type Row = (PayloadType, Times);

/// Appendix C.1.
const INIT: &[Row] =
    &[(PayloadType::SA, Once), (PayloadType::KE, Once), (PayloadType::NONCE, Once)];

/// Appendix C.2. (A childless exchange has no SA, TSi, TSr: RFC 6023.)
const AUTH_REQUEST: &[Row] = &[
    (PayloadType::IDI, Once),
    (PayloadType::IDR, AtMostOnce),
    (PayloadType::AUTH, AtMostOnce),
    (PayloadType::SA, AtMostOnce),
    (PayloadType::TSI, AtMostOnce),
    (PayloadType::TSR, AtMostOnce),
    (PayloadType::CP, AtMostOnce),
];

const AUTH_RESPONSE: &[Row] = &[
    (PayloadType::IDR, Once),
    (PayloadType::AUTH, Once),
    (PayloadType::SA, AtMostOnce),
    (PayloadType::TSI, AtMostOnce),
    (PayloadType::TSR, AtMostOnce),
    (PayloadType::CP, AtMostOnce),
];

/// Appendix C.4 and C.5: of a child SA, or of the IKE SA itself.
const CREATE: &[Row] = &[
    (PayloadType::SA, Once),
    (PayloadType::NONCE, Once),
    (PayloadType::KE, AtMostOnce),
    (PayloadType::TSI, AtMostOnce),
    (PayloadType::TSR, AtMostOnce),
    (PayloadType::CP, AtMostOnce),
];

const INFORMATIONAL: &[Row] = &[(PayloadType::CP, AtMostOnce)];

fn table(exchange: ExchangeType, response: bool) -> Option<&'static [Row]> {
    Some(match (exchange, response) {
        (ExchangeType::IKE_SA_INIT, _) => INIT,
        (ExchangeType::IKE_AUTH, false) => AUTH_REQUEST,
        (ExchangeType::IKE_AUTH, true) => AUTH_RESPONSE,
        (ExchangeType::CREATE_CHILD_SA, _) => CREATE,
        (ExchangeType::INFORMATIONAL, _) => INFORMATIONAL,
        _ => return None,
    })
}

/// What is wrong with the set of payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleError {
    /// An exchange that is not spoken here.
    UnknownExchange(ExchangeType),
    /// A payload that must come did not.
    Missing(PayloadType),
    /// A payload came too often.
    Repeated(PayloadType),
}

impl std::fmt::Display for RuleError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UnknownExchange(exchange) => write!(f, "exchange {exchange} is not spoken here"),
            Self::Missing(payload) => write!(f, "the {payload} payload is missing"),
            Self::Repeated(payload) => write!(f, "the {payload} payload comes more than once"),
        }
    }
}

/// Judges the payloads of a message. In a response that carries an error notification nothing else is
/// required: see whether there is one first.
///
/// # Errors
///
/// The first rule that is broken.
pub fn check(
    exchange: ExchangeType,
    response: bool,
    payloads: &[Payload],
) -> Result<(), RuleError> {
    let rows = table(exchange, response).ok_or(RuleError::UnknownExchange(exchange))?;
    for (payload, times) in rows {
        match (payloads.iter().filter(|p| p.payload_type() == *payload).count(), times) {
            (0, Once) => return Err(RuleError::Missing(*payload)),
            (0 | 1, _) => (),
            _ => return Err(RuleError::Repeated(*payload)),
        }
    }
    Ok(())
}
