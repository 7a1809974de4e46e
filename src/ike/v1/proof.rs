//! There are keys: proofs are made and judged, and phase 1 ends.
//!
//! ```text
//!  keys exchanged --> AwaitSkeyid (ca) --> own proof: AwaitOwnProof (ca, signatures only)
//!                                          peer's:    AwaitVerdict (ca, signatures only)
//! ```

use super::configure::Configuring;
use super::established::Established;
use super::hash::Phase1;
use super::keys::{self, Keys};
use super::login::Login;
use super::message::{content, header, send_sealed};
use super::method::{Method, Seed, methods};
use super::open::another;
use super::phase1::{Exchanged, Opening, cookies, exchange, fail, neutral, own_id};
use super::protect::{self, Iv, Plain};
use super::rules::{Bag, Proof as Kind};
use super::{Next, Stage, aggressive, main_mode, offer};
use crate::conf::{self, Identity, Lifetime, Policy};
use crate::crypto::{Prf, Secret, same};
use crate::ike::auth::{
    Answer, Cert as Certificate, Manner, Proof, Question, QuestionId, Request, Sign, Verify,
};
use crate::ike::core::Core;
use crate::ike::frame::Frame;
use crate::ike::id;
use crate::ike::report::Event;
use crate::wire::iana::v1::{CertEncoding, ExchangeType, NotifyType};
use crate::wire::v1::{Cert, Id, Notify, Payload};
use crate::wire::v2::Id as Neutral;
use crate::wire::{Header, MessageId};

/// Keys exchanged; the holder of the secrets is asked for SKEYID.
#[derive(Debug)]
pub struct AwaitSkeyid {
    opening: Opening,
    exchanged: Exchanged,
    told: Bag,
    /// What was asked.
    pub(super) question: QuestionId,
}

/// There are keys: proofs are made and judged.
#[derive(Debug)]
pub struct Ready {
    /// What was agreed on.
    pub opening: Opening,
    /// Both public values, the initiator's first.
    pub publics: (Vec<u8>, Vec<u8>),
    /// Our nonce.
    pub nonce: Secret,
    /// The keys.
    pub keys: Keys,
    /// Where the cipher's chain stands.
    pub iv: Iv,
    /// Who the peer says it is.
    pub peer: Option<Id>,
    /// The peer began anew.
    pub initial_contact: bool,
    /// The certificates that came with public values under public key encryption.
    pub certs: Vec<Certificate>,
    /// What certificates the peer asked for.
    pub requests: Vec<Request>,
    skeyid: Secret,
    /// That the peer seems to have other keys was told.
    pub(super) doubted: bool,
    /// What was asked last.
    pub(super) question: Option<QuestionId>,
}

/// What proves who we are.
struct OwnProof {
    payload: Payload,
    certs: Vec<Payload>,
}

/// Keys are exchanged: SKEYID is computed, or asked for.
pub fn exchanged(
    frame: &mut Frame,
    core: &mut Core,
    opening: Opening,
    exchanged: Exchanged,
    told: Bag,
) -> Next {
    let prf = opening.choice.suite.prf;
    let (ni, nr) = (exchanged.nonces.0.octets(), exchanged.nonces.1.octets());
    let computed = match opening.choice.method.seed {
        Seed::SharedKey => {
            let (policy, nonces) = (frame.policy.name.clone(), [ni, nr].concat());
            let question = core.ask(frame.id, Question::Skeyid { policy, prf, nonces });
            let state = AwaitSkeyid { opening, exchanged, told, question };
            return Stage::AwaitSkeyid(Box::new(state)).into();
        }
        Seed::Signatures => {
            Prf::new(prf).map(|prf| keys::skeyid_signatures(prf, (ni, nr), &exchanged.shared))
        }
        Seed::Encryption => {
            Prf::new(prf).map(|prf| keys::skeyid_encryption(prf, (ni, nr), cookies(frame)))
        }
    };
    match computed {
        Ok(skeyid) => Ready::begin(frame, core, opening, exchanged, skeyid, told),
        Err(error) => fail(frame, core, Event::Internal { what: error.to_string() }),
    }
}

impl AwaitSkeyid {
    /// The holder of the secrets answered.
    pub fn answer(self: Box<Self>, frame: &mut Frame, core: &mut Core, answer: Answer) -> Next {
        let Self { opening, exchanged, told, .. } = *self;
        match answer {
            Answer::Skeyid(skeyid) => Ready::begin(frame, core, opening, exchanged, skeyid, told),
            other => fail(frame, core, refused(other)),
        }
    }
}

impl Ready {
    fn begin(
        frame: &mut Frame,
        core: &mut Core,
        opening: Opening,
        exchanged: Exchanged,
        skeyid: Secret,
        told: Bag,
    ) -> Next {
        let suite = &opening.choice.suite;
        let keys = match keys::derive(suite, &skeyid, &exchanged.shared, cookies(frame)) {
            Ok(keys) => keys,
            Err(error) => return fail(frame, core, Event::Internal { what: error.to_string() }),
        };
        let publics = (&*exchanged.publics.0, &*exchanged.publics.1);
        let iv = Iv::phase1(keys.prf, keys.block, publics);
        let Exchanged { publics, nonces, .. } = exchanged;
        let nonce = if frame.initiator { nonces.0 } else { nonces.1 };
        let encrypted = opening.choice.method.seed == Seed::Encryption;
        let certs = told.certs.iter().filter(|_| encrypted).map(peers_cert).collect();
        let ready = Box::new(Self {
            opening,
            publics,
            nonce,
            keys,
            iv,
            peer: told.ids.first().cloned(),
            initial_contact: false,
            certs,
            requests: requests(&told),
            skeyid,
            doubted: false,
            question: None,
        });
        match ready.opening.mode {
            conf::Phase1::Main => main_mode::keyed(frame, core, ready),
            conf::Phase1::Aggressive => aggressive::keyed(frame, core, ready, told),
        }
    }

    /// HASH_I or HASH_R, with the body of that side's identity.
    fn hash(&self, frame: &Frame, initiators: bool, id: &[u8]) -> Vec<u8> {
        let phase1 = Phase1 {
            publics: (&self.publics.0, &self.publics.1),
            cookies: cookies(frame),
            sa: &self.opening.sa,
        };
        let prf = self.opening.choice.method.proof_prf().unwrap_or(self.keys.prf);
        match initiators {
            true => phase1.initiator(prf, &self.skeyid, id),
            false => phase1.responder(prf, &self.skeyid, id),
        }
    }

    /// Makes our proof and sends it.
    pub fn prove(mut self: Box<Self>, frame: &mut Frame, core: &mut Core) -> Next {
        let hash = self.hash(frame, frame.initiator, &own_id(frame).body());
        let method = self.opening.choice.method;
        if method.proof(frame.initiator) == Kind::Hash {
            let proof = OwnProof { payload: Payload::Hash(hash), certs: Vec::new() };
            return self.proved(frame, core, proof);
        }
        let own = id::ours(&frame.policy, frame.local.ip());
        let identity = Identity { id_type: own.id_type, data: own.data };
        let requests = std::mem::take(&mut self.requests);
        let sign = Sign { identity, octets: hash, manner: Manner::V1(method.signature), requests };
        self.question = Some(core.ask(frame.id, Question::Sign(Box::new(sign))));
        Stage::AwaitOwnProof(self).into()
    }

    /// The holder of the keys signed, or did not.
    pub fn signed(self: Box<Self>, frame: &mut Frame, core: &mut Core, answer: Answer) -> Next {
        match answer {
            Answer::Signature(signature) => {
                let certs = signature.certs.into_iter().filter_map(own_cert).collect();
                let payload = Payload::Sig(signature.data);
                self.proved(frame, core, OwnProof { payload, certs })
            }
            other => fail(frame, core, refused(other)),
        }
    }

    fn proved(self: Box<Self>, frame: &mut Frame, core: &mut Core, proof: OwnProof) -> Next {
        let OwnProof { payload, certs } = proof;
        match self.opening.mode {
            conf::Phase1::Main => main_mode::prove(frame, core, self, payload, certs),
            conf::Phase1::Aggressive => aggressive::prove(frame, core, self, payload, certs),
        }
    }

    /// Judges the peer's proof. `bag` is the message with it.
    pub fn judge(mut self: Box<Self>, frame: &mut Frame, core: &mut Core, bag: Bag) -> Next {
        if let [id] = bag.ids.as_slice() {
            self.peer = Some(id.clone());
        }
        self.initial_contact = bag.has(NotifyType::INITIAL_CONTACT);
        let Some(peer) = self.peer.clone() else {
            return fail(frame, core, Event::Misbehaved { what: "no identity".into() });
        };
        let said = neutral(&peer);
        if let Some(event) = self.refuses(frame, core, &said) {
            return self.unproved(frame, core, event);
        }
        let hash = self.hash(frame, !frame.initiator, &peer.body());
        let method = self.opening.choice.method;
        if method.proof(!frame.initiator) == Kind::Hash {
            return match bag.hash.as_deref().is_some_and(|theirs| same(&hash, theirs)) {
                true => self.verified(frame, core),
                false if method.is_shared_key() => {
                    let identity = said.to_string();
                    self.unproved(frame, core, Event::PeerNotAuthenticated { identity })
                }
                false => {
                    let what = format!("the hash of {said} is wrong: it does not hold its key");
                    self.unproved(frame, core, Event::Misbehaved { what })
                }
            };
        }
        self.requests.extend(requests(&bag));
        let certs = bag.certs.iter().map(peers_cert).collect();
        let data = bag.signature.unwrap_or_default();
        let identity = Identity { id_type: said.id_type, data: said.data };
        let proof = Proof::V1 { method: method.signature, data };
        let verify = Verify { identity, octets: hash, proof, certs };
        self.question = Some(core.ask(frame.id, Question::Verify(Box::new(verify))));
        Stage::AwaitVerdict(self).into()
    }

    /// Who the peer says it is.
    pub fn peer_id(&self) -> Option<Neutral> {
        self.peer.as_ref().map(neutral)
    }

    /// Whether the peer may not call itself what it said already: what to report then.
    pub fn is_refused(&self, frame: &mut Frame, core: &Core) -> Option<Event> {
        let said = self.peer_id()?;
        self.refuses(frame, core, &said)
    }

    /// Whether the peer may not call itself so: what to report then. Another policy for the same
    /// addresses may be the one that is meant.
    fn refuses(&self, frame: &mut Frame, core: &Core, said: &Neutral) -> Option<Event> {
        if id::accepts(&frame.policy, said) {
            return None;
        }
        let (mode, Method { id, .. }) = (self.opening.mode, self.opening.choice.method);
        // With a pre-shared key the policy's own was used already.
        let key = self.opening.choice.method.is_shared_key().then_some(frame.policy.key_mark);
        let agreed = &self.opening.choice.answer;
        let fits = |policy: &Policy| {
            policy.version == conf::Version::V1(mode)
                && methods(policy, false).contains(&id)
                && key.is_none_or(|key| policy.key_mark == key)
                && offer::choose_phase1(policy, &[id], agreed).is_ok()
        };
        let (local, remote) = (frame.local, frame.remote);
        let found = core.policies.select_by_id(1, local, remote, said, None, fits);
        match found.filter(|_| !frame.initiator) {
            Some(policy) => {
                frame.policy = policy;
                None
            }
            None => Some(another(&core.policies, &frame.policy, (local, remote), said)),
        }
    }

    /// The verdict on the peer's signature came.
    pub fn verdict(self: Box<Self>, frame: &mut Frame, core: &mut Core, answer: Answer) -> Next {
        match answer {
            Answer::Proved(proved) => {
                let identity = self.peer.as_ref().map(|id| neutral(id).to_string());
                let (identity, by) = (identity.unwrap_or_default(), proved.by);
                frame.report(core, Event::Authenticated { identity, by });
                self.verified(frame, core)
            }
            Answer::Rejected(why) => {
                let identity = self.peer.as_ref().map(ToString::to_string).unwrap_or_default();
                self.unproved(frame, core, Event::PeerRejected { identity, why: *why })
            }
            other => self.unproved(frame, core, refused(other)),
        }
    }

    /// The peer did not prove itself: it is told, and the SA is over.
    fn unproved(self: Box<Self>, frame: &mut Frame, core: &mut Core, event: Event) -> Next {
        let notify = match event {
            Event::NoPolicy { .. } => NotifyType::INVALID_ID_INFORMATION,
            _ => NotifyType::AUTHENTICATION_FAILED,
        };
        self.notify(frame, core, notify);
        fail(frame, core, event)
    }

    /// Tells the peer, protected.
    fn notify(&self, frame: &mut Frame, core: &mut Core, notify: NotifyType) {
        let id = super::message::fresh_id(core);
        let payloads = vec![Payload::Notify(Notify::new(notify))];
        let header = header(frame, ExchangeType::INFORMATIONAL, id);
        let iv = self.iv.phase2(self.keys.prf, id);
        let shown = payloads.clone();
        let sealed = protect::seal_hashed(&self.keys, &iv, &header, &[], payloads);
        send_sealed(frame, core, &header, &shown, sealed);
    }

    /// The peer proved itself.
    fn verified(self: Box<Self>, frame: &mut Frame, core: &mut Core) -> Next {
        match (self.opening.mode, frame.initiator) {
            (conf::Phase1::Main, false) | (conf::Phase1::Aggressive, true) => {
                self.prove(frame, core)
            }
            _ => self.established(frame, core),
        }
    }

    /// Phase 1 is done.
    pub fn established(self: Box<Self>, frame: &mut Frame, core: &mut Core) -> Next {
        let own = neutral(&own_id(frame));
        let Self { opening, keys, iv, peer, initial_contact, .. } = *self;
        let peer = peer.map_or_else(|| id::of_address(frame.remote.ip()), |id| neutral(&id));
        let ids = Box::new((own, peer));
        let ours = Lifetime { seconds: frame.policy.ike_lifetime, bytes: 0 };
        let lifetime = offer::shorter(ours, opening.choice.lifetime);
        let (suite, abilities) = (opening.choice.suite, opening.abilities);
        let (keys, contact) = ((keys, iv, suite), initial_contact);
        let sa = Established::begin(frame, core, keys, abilities, ids, lifetime, contact);
        match opening.choice.method.client(frame.initiator) {
            Some(client) => Login::begin(frame, core, sa, client).into(),
            None => Configuring::begin(frame, core, sa).into(),
        }
    }

    /// Opens an encrypted message of phase 1; what is not readable is reported, and nothing moves.
    pub fn open(
        &self,
        frame: &Frame,
        core: &mut Core,
        header: &Header,
        datagram: &[u8],
    ) -> Option<Plain> {
        match protect::open(&self.keys, &self.iv, header, content(header, datagram)) {
            Ok(plain) => {
                let (local, remote) = (frame.local, frame.remote);
                core.ladder(crate::ike::report::Way::In, local, remote, || {
                    super::message::rung(header, &plain.payloads)
                });
                Some(plain)
            }
            Err(fault) => {
                core.stats.forged += 1;
                let event = match self.opening.choice.method.is_shared_key() {
                    true => Event::ProofUnreadable {
                        local_id: neutral(&own_id(frame)).to_string(),
                        remote_id: id::expected(&frame.policy).map(|id| id.to_string()),
                        why: fault.to_string(),
                    },
                    false => Event::Dropped { why: fault.to_string() },
                };
                frame.report(core, event);
                None
            }
        }
    }

    /// Seals a message of phase 1 and sends it.
    pub fn send(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        payloads: &[Payload],
    ) -> Option<Vec<u8>> {
        let header = header(frame, exchange(self.opening.mode), MessageId(0));
        let sealed = protect::seal(&self.keys, &self.iv, &header, payloads);
        let (octets, next) = send_sealed(frame, core, &header, payloads, sealed)?;
        self.iv = next;
        Some(octets)
    }

    /// INITIAL-CONTACT, where we know of no other SA with the peer.
    pub fn initial_contact(&self, frame: &Frame) -> Option<Payload> {
        let (initiator, responder) = frame.spis();
        let notify = NotifyType::INITIAL_CONTACT;
        frame
            .first_contact
            .then(|| Payload::Notify(Notify::about_ike(notify, initiator, responder, Vec::new())))
    }
}

/// What to report when a question is not answered.
pub fn refused(answer: Answer) -> Event {
    match answer {
        Answer::Refused(reason) => Event::QuestionRefused { reason },
        _ => Event::QuestionRefused { reason: "an answer to another question".into() },
    }
}

fn own_cert(cert: Certificate) -> Option<Payload> {
    match cert {
        Certificate::X509(data) => {
            Some(Payload::Cert(Cert { encoding: CertEncoding::X509_SIGNATURE, data }))
        }
        _ => None,
    }
}

fn peers_cert(cert: &Cert) -> Certificate {
    match cert.encoding {
        CertEncoding::X509_SIGNATURE | CertEncoding::X509_KEY_EXCHANGE => {
            Certificate::X509(cert.data.clone())
        }
        CertEncoding::CRL => Certificate::Crl(cert.data.clone()),
        other => Certificate::Other(other.0),
    }
}

/// The peer's wishes for certificates.
pub fn requests(bag: &Bag) -> Vec<Request> {
    let x509 = bag.requests.iter().filter(|it| it.encoding == CertEncoding::X509_SIGNATURE);
    x509.map(|it| match it.authority.is_empty() {
        true => Request::Any,
        false => Request::Name(it.authority.clone()),
    })
    .collect()
}
