//! Which payloads each message has: a table, and what came sorted by it (RFC 7296 appendix C).

use crate::ike::auth::{Cert, Request};
use crate::wire::iana::v2::{CertEncoding, NotifyType, PayloadType};
use crate::wire::v2::{self, Auth, Config, Delete, Eap, Id, Ke, Notify, Payload, Sa, Ts};

/// The messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// IKE_SA_INIT request.
    InitRequest,
    /// IKE_SA_INIT response.
    InitResponse,
    /// IKE_AUTH request.
    AuthRequest,
    /// IKE_AUTH response.
    AuthResponse,
    /// CREATE_CHILD_SA request.
    CreateRequest,
    /// CREATE_CHILD_SA response.
    CreateResponse,
    /// INFORMATIONAL, either way.
    Informational,
}

/// A payload that a message must have: least and most.
type Rule = (PayloadType, usize, usize);

const INIT: &[Rule] =
    &[(PayloadType::SA, 1, 1), (PayloadType::KE, 1, 1), (PayloadType::NONCE, 1, 1)];

const AUTH_REQUEST: &[Rule] = &[
    (PayloadType::IDI, 1, 1),
    (PayloadType::IDR, 0, 1),
    (PayloadType::AUTH, 0, 1),
    (PayloadType::SA, 0, 1),
    (PayloadType::TSI, 0, 1),
    (PayloadType::TSR, 0, 1),
    (PayloadType::CP, 0, 1),
];

const AUTH_RESPONSE: &[Rule] = &[
    (PayloadType::IDR, 1, 1),
    (PayloadType::AUTH, 1, 1),
    (PayloadType::SA, 0, 1),
    (PayloadType::TSI, 0, 1),
    (PayloadType::TSR, 0, 1),
    (PayloadType::CP, 0, 1),
];

const CREATE: &[Rule] = &[
    (PayloadType::SA, 1, 1),
    (PayloadType::NONCE, 1, 1),
    (PayloadType::KE, 0, 1),
    (PayloadType::TSI, 0, 1),
    (PayloadType::TSR, 0, 1),
];

const INFORMATIONAL: &[Rule] = &[];

impl Message {
    fn rules(self) -> &'static [Rule] {
        match self {
            Message::InitRequest | Message::InitResponse => INIT,
            Message::AuthRequest => AUTH_REQUEST,
            Message::AuthResponse => AUTH_RESPONSE,
            Message::CreateRequest | Message::CreateResponse => CREATE,
            Message::Informational => INFORMATIONAL,
        }
    }

    /// In these an error notification may stand for everything else.
    fn may_be_error(self) -> bool {
        matches!(self, Message::InitResponse | Message::AuthResponse | Message::CreateResponse)
    }
}

/// A message's payloads by type. What has no place here is of no use to this version and was not
/// marked critical: it is left out.
#[derive(Debug, Default)]
pub struct Bag {
    /// Security Association.
    pub sa: Option<Sa>,
    /// Key Exchange.
    pub ke: Option<Ke>,
    /// Nonce.
    pub nonce: Option<Vec<u8>>,
    /// Initiator's identity.
    pub idi: Option<Id>,
    /// Responder's identity.
    pub idr: Option<Id>,
    /// Authentication.
    pub auth: Option<Auth>,
    /// Initiator's traffic selectors.
    pub tsi: Option<Ts>,
    /// Responder's traffic selectors.
    pub tsr: Option<Ts>,
    /// Configuration.
    pub cp: Option<Config>,
    /// EAP, for rounds of it.
    pub eap: Option<Eap>,
    /// Certificates and what else proves whose a key is.
    pub certs: Vec<Cert>,
    /// The certificates that are asked for.
    pub requests: Vec<Request>,
    /// Notifications.
    pub notifies: Vec<Notify>,
    /// Deletions.
    pub deletes: Vec<Delete>,
}

impl Bag {
    /// The first notification of this type.
    pub fn notify(&self, wanted: NotifyType) -> Option<&Notify> {
        self.notifies.iter().find(|notify| notify.notify_type == wanted)
    }

    /// Whether there is a notification of this type.
    pub fn has(&self, wanted: NotifyType) -> bool {
        self.notify(wanted).is_some()
    }

    /// The first notification of an error.
    pub fn error(&self) -> Option<&Notify> {
        self.notifies.iter().find(|notify| notify.notify_type.is_error())
    }
}

/// Sorts payloads by the rules of their message.
///
/// # Errors
///
/// The rule that is broken, in words.
pub fn sort(message: Message, payloads: Vec<Payload>) -> Result<Bag, String> {
    let count = |wanted| payloads.iter().filter(|p| p.payload_type() == wanted).count();
    let is_error = message.may_be_error()
        && payloads.iter().any(|p| {
            matches!(p, Payload::Notify(n) if n.notify_type.is_error()
            || n.notify_type == NotifyType::COOKIE)
        });
    for &(wanted, least, most) in message.rules() {
        let found = count(wanted);
        if found > most || (found < least && !is_error) {
            return Err(format!(
                "{found} {wanted} payloads in {message:?}, {least} to {most} allowed"
            ));
        }
    }
    let mut bag = Bag::default();
    for payload in payloads {
        match payload {
            Payload::Sa(sa) => bag.sa = Some(sa),
            Payload::Ke(ke) => bag.ke = Some(ke),
            Payload::Nonce(nonce) => bag.nonce = Some(nonce.0),
            Payload::IdI(id) => bag.idi = Some(id),
            Payload::IdR(id) => bag.idr = Some(id),
            Payload::Auth(auth) => bag.auth = Some(auth),
            Payload::TsI(ts) => bag.tsi = Some(ts),
            Payload::TsR(ts) => bag.tsr = Some(ts),
            Payload::Config(config) => bag.cp = Some(config),
            Payload::Eap(eap) => bag.eap = Some(eap),
            Payload::Cert(cert) => bag.certs.push(cert.into()),
            Payload::CertReq(request) => bag.requests.extend(requests(&request)),
            Payload::Notify(notify) => bag.notifies.push(notify),
            Payload::Delete(delete) => bag.deletes.push(delete),
            _ => (),
        }
    }
    Ok(bag)
}

/// How many authorities of one request are looked at.
const MOST_AUTHORITIES: usize = 1024;

impl From<v2::Cert> for Cert {
    fn from(cert: v2::Cert) -> Self {
        match cert.encoding {
            CertEncoding::X509_SIGNATURE => Cert::X509(cert.data),
            CertEncoding::CRL => Cert::Crl(cert.data),
            CertEncoding::OCSP_CONTENT => Cert::Ocsp(cert.data),
            CertEncoding::RAW_PUBLIC_KEY => Cert::PublicKey(cert.data),
            CertEncoding::RAW_RSA_KEY => Cert::RsaKey(cert.data),
            CertEncoding::OPENIKED_KEY => Cert::IkedKey(cert.data),
            other => Cert::Other(other.0),
        }
    }
}

/// What a CERTREQ payload asks for; encodings that we do not send are no requests.
fn requests(request: &v2::CertReq) -> Vec<Request> {
    match request.encoding {
        CertEncoding::X509_SIGNATURE if request.authorities.is_empty() => vec![Request::Any],
        CertEncoding::X509_SIGNATURE => {
            let hashes = request.hashes().take(MOST_AUTHORITIES);
            hashes.filter_map(|hash| Some(Request::KeyHash(hash.try_into().ok()?))).collect()
        }
        CertEncoding::OCSP_CONTENT => vec![Request::Ocsp],
        CertEncoding::RAW_PUBLIC_KEY => vec![Request::PublicKey],
        CertEncoding::RAW_RSA_KEY => vec![Request::RsaKey],
        CertEncoding::OPENIKED_KEY => vec![Request::IkedKey],
        _ => Vec::new(),
    }
}
