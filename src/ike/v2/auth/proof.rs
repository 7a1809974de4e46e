//! Proofs of identity: what is asked of the holder of the secrets, and what goes over the wire with
//! them (RFC 7296 §2.15, RFC 7427).

use std::net::IpAddr;

use super::super::init::Opening;
use super::super::keys::{ProofKeys, Protection, proof_octets};
use super::super::rules::Bag;
use crate::conf::{Method, Policy};
use crate::crypto::signature::HASHES;
use crate::ike::auth::{Answer, Cert, Manner, Proof, Question, QuestionId, Request, Sign, Verify};
use crate::ike::core::Core;
use crate::ike::frame::Frame;
use crate::ike::id;
use crate::ike::report::{Disagreement, Event};
use crate::wire::iana::v2::{AuthMethod, CertEncoding, HashId, NotifyType};
use crate::wire::v2::{self, Auth, CertReq, Id, Notify, Payload};

/// The most octets that a question may hold; a message between processes has room for some more.
const MOST_OCTETS: usize = 56 * 1024;

/// The most authorities that a certificate request names; where there are more, it names none.
const MOST_AUTHORITIES: usize = 256;

/// What a peer says about signatures before any is made.
#[derive(Debug, Default)]
pub struct Heard {
    /// The hashes it takes in signatures (RFC 7427 §4); `None` if it knows nothing of them.
    pub hashes: Option<Vec<HashId>>,
    /// The certificates it asks for.
    pub requests: Vec<Request>,
}

impl Heard {
    /// What a message of IKE_SA_INIT says.
    pub fn of(bag: &Bag) -> Self {
        let hashes = bag.notify(NotifyType::SIGNATURE_HASH_ALGORITHMS).map(|notify| {
            let pairs = notify.data.chunks_exact(2).take(64);
            pairs.map(|pair| HashId(u16::from_be_bytes([pair[0], pair[1]]))).collect()
        });
        Self { hashes, requests: bag.requests.clone() }
    }
}

/// SIGNATURE_HASH_ALGORITHMS: the hashes that we take (RFC 7427 §4).
pub fn hashes() -> Payload {
    let octets = HASHES.iter().flat_map(|hash| hash.0.to_be_bytes()).collect();
    Payload::Notify(Notify::with_data(NotifyType::SIGNATURE_HASH_ALGORITHMS, octets))
}

/// Requests for certificates by those whom we trust (RFC 7296 §3.7), for OCSP answers about them
/// (RFC 4806), and for raw keys where the peer has
/// shown that it knows of them: OpenIKED finds no key for a kind that it does not know, and needs to be
/// asked by its own number. Who has a key in a file needs none sent.
pub fn requests(core: &Core, heard: &[Request]) -> Vec<Payload> {
    let mut payloads = Vec::new();
    let known = &core.trust.authorities;
    if !known.is_empty() {
        let few = known.iter().filter(|_| known.len() <= MOST_AUTHORITIES);
        let authorities = few.flat_map(|(hash, _)| *hash).collect();
        let encoding = CertEncoding::X509_SIGNATURE;
        payloads.push(Payload::CertReq(CertReq { encoding, authorities }));
    }
    if let Some(responders) = core.trust.ocsp.as_ref().filter(|_| !known.is_empty()) {
        let few = responders.iter().take(MOST_AUTHORITIES);
        let (encoding, authorities) =
            (CertEncoding::OCSP_CONTENT, few.copied().flatten().collect());
        payloads.push(Payload::CertReq(CertReq { encoding, authorities }));
    }
    let known = [
        (Request::IkedKey, CertEncoding::OPENIKED_KEY),
        (Request::PublicKey, CertEncoding::RAW_PUBLIC_KEY),
    ];
    let raw = known.iter().find(|(request, _)| core.trust.raw_keys && heard.contains(request));
    if let Some((_, encoding)) = raw {
        let (encoding, authorities) = (*encoding, Vec::new());
        payloads.push(Payload::CertReq(CertReq { encoding, authorities }));
    }
    payloads
}

/// Our proof, ready to be sent.
#[derive(Debug)]
pub struct OwnProof {
    auth: Auth,
    certs: Vec<Cert>,
}

impl OwnProof {
    /// From the answer; `None`, reported, if that is no proof.
    pub fn from_answer(frame: &Frame, core: &mut Core, answer: Answer) -> Option<Self> {
        let reason = match answer {
            Answer::Signed(data) => {
                let auth = Auth { method: AuthMethod::SHARED_KEY_MIC, data };
                return Some(Self { auth, certs: Vec::new() });
            }
            Answer::Signature(made) => {
                let auth = Auth { method: made.method, data: made.data };
                return Some(Self { auth, certs: made.certs });
            }
            Answer::Refused(reason) => reason,
            _ => "an answer to another question".into(),
        };
        frame.report(core, Event::QuestionRefused { reason });
        None
    }

    /// The CERT payloads, which come before the AUTH payload, and that.
    pub fn payloads(self) -> (Vec<Payload>, Payload) {
        let certs = self.certs.into_iter().filter_map(|cert| {
            let (encoding, data) = match cert {
                Cert::X509(data) => (CertEncoding::X509_SIGNATURE, data),
                Cert::Crl(data) => (CertEncoding::CRL, data),
                Cert::Ocsp(data) => (CertEncoding::OCSP_CONTENT, data),
                Cert::PublicKey(data) => (CertEncoding::RAW_PUBLIC_KEY, data),
                Cert::RsaKey(data) => (CertEncoding::RAW_RSA_KEY, data),
                Cert::IkedKey(data) => (CertEncoding::OPENIKED_KEY, data),
                Cert::Other(_) => return None,
            };
            Some(Payload::Cert(v2::Cert { encoding, data }))
        });
        (certs.collect(), Payload::Auth(self.auth))
    }
}

/// Asks for our proof. EAP proves nothing by itself: the caller sees to it.
pub fn ask_own(
    frame: &Frame,
    core: &mut Core,
    protection: &Protection,
    proofs: &ProofKeys,
    opening: &Opening,
    requests: &[Request],
) -> QuestionId {
    let identity = id::ours(&frame.policy, frame.local.ip());
    let (key, first, nonce) = match frame.initiator {
        true => (&proofs.initiator, &opening.messages.0, &opening.nonces.1),
        false => (&proofs.responder, &opening.messages.1, &opening.nonces.0),
    };
    let octets = proof_octets(protection.prf, key, first, nonce, &identity.body());
    let question = match frame.policy.auth.ours(frame.initiator) {
        Method::Signature(wish) => Question::Sign(Box::new(Sign {
            identity: id::to_identity(&identity),
            octets,
            manner: Manner::V2 { wish, hashes: opening.heard.hashes.clone() },
            requests: requests.to_vec(),
        })),
        Method::Psk | Method::Eap(_) => {
            let (policy, prf) = (frame.policy.name.clone(), protection.suite.prf);
            Question::SharedKeySign { policy, prf, octets }
        }
    };
    core.ask(frame.id, question)
}

/// Asks for a verdict on the peer's proof.
///
/// # Errors
///
/// That the method is not the policy's, or that it is too much: to be reported.
pub fn ask_peers(
    frame: &Frame,
    core: &mut Core,
    protection: &Protection,
    proofs: &ProofKeys,
    opening: &Opening,
    (identity, bag): (&Id, &mut Bag),
) -> Result<QuestionId, Box<Event>> {
    let broken = |what: String| Box::new(Event::Misbehaved { what });
    let (key, first, nonce) = match frame.initiator {
        true => (&proofs.responder, &opening.messages.1, &opening.nonces.0),
        false => (&proofs.initiator, &opening.messages.0, &opening.nonces.1),
    };
    let Some(auth) = bag.auth.take() else { return Err(broken("no AUTH".into())) };
    let certs = std::mem::take(&mut bag.certs);
    let octets = proof_octets(protection.prf, key, first, nonce, &identity.body());
    let size: usize = certs.iter().map(Cert::len).sum();
    if size + octets.len() + auth.data.len() > MOST_OCTETS {
        return Err(broken(format!("{size} octets of certificates, which is too much")));
    }
    let wanted = frame.policy.auth.theirs(frame.initiator);
    let Auth { method, data } = auth;
    let question = match wanted {
        _ if !takes(wanted, method) => {
            return Err(Box::new(Event::Disagreed(other_method(wanted, method))));
        }
        Method::Signature(wish) => Question::Verify(Box::new(Verify {
            identity: id::to_identity(identity),
            octets,
            proof: Proof::V2 { method, data, wish },
            certs,
        })),
        Method::Psk | Method::Eap(_) => {
            let (policy, prf) = (frame.policy.name.clone(), protection.suite.prf);
            Question::SharedKeyVerify { policy, prf, octets, auth: data }
        }
    };
    Ok(core.ask(frame.id, question))
}

/// Whether an AUTH payload of this method is what a policy wants.
pub fn takes(wanted: Method, method: AuthMethod) -> bool {
    match wanted {
        Method::Psk => method == AuthMethod::SHARED_KEY_MIC,
        Method::Signature(kind) => kind.takes(method),
        Method::Eap(_) => false,
    }
}

fn other_method(wanted: Method, method: AuthMethod) -> Box<Disagreement> {
    let wanted = said(wanted);
    Box::new(Disagreement {
        about: "how the peer proves who it is".into(),
        mismatch: format!("we want {wanted}, the peer proves itself by {method}"),
        ours: vec![wanted],
        theirs: vec![method.to_string()],
        advice: "write the same method in the rules of both sides, or in each what the other does"
            .into(),
    })
}

/// What a policy wants, in words.
pub fn said(wanted: Method) -> String {
    match wanted {
        Method::Psk => "a pre-shared key".into(),
        Method::Signature(kind) => format!("a signature (ikeauth {})", kind.word()),
        Method::Eap(method) => format!("EAP ({})", method.word()),
    }
}

/// Who we say we are, whom we want, and how both are proved: what a peer may have disliked, a line each.
pub fn offered(policy: &Policy, local: IpAddr, initiator: bool) -> Vec<String> {
    let wanted = id::expected(policy).map_or("anybody".into(), |id| id.to_string());
    vec![
        format!("srcid {}, by {}", id::ours(policy, local), said(policy.auth.ours(initiator))),
        format!("dstid {wanted}, by {}", said(policy.auth.theirs(initiator))),
    ]
}

/// The verdict on the peer's proof, reported.
pub fn verified(frame: &Frame, core: &mut Core, said: &Id, answer: Answer) -> bool {
    let identity = said.to_string();
    let (event, right) = match answer {
        Answer::Verified => return true,
        Answer::Proved(proved) => (Event::Authenticated { identity, by: proved.by }, true),
        Answer::Wrong => (Event::PeerNotAuthenticated { identity }, false),
        Answer::Rejected(why) => (Event::PeerRejected { identity, why: *why }, false),
        Answer::Refused(reason) => (Event::QuestionRefused { reason }, false),
        _ => {
            let reason = "an answer to another question".into();
            (Event::QuestionRefused { reason }, false)
        }
    };
    frame.report(core, event);
    right
}
