//! IKE_AUTH as its responder: the initiator's proof comes, the policy is chosen by its identity, and our
//! proof goes back with the first child SA.

use super::fail;
use super::proof::{self, OwnProof};
use crate::conf::Policy;
use crate::ike::auth::{Answer, QuestionId};
use crate::ike::core::{Core, Deed};
use crate::ike::frame::Frame;
use crate::ike::id;
use crate::ike::report::Event;
use crate::ike::v2::config;
use crate::ike::v2::create::Answering;
use crate::ike::v2::established::Established;
use crate::ike::v2::init::Opening;
use crate::ike::v2::keys::{ProofKeys, Protection};
use crate::ike::v2::rules::{Bag, Message, sort};
use crate::ike::v2::{State, hear_window, mobike, read_sealed, reply};
use crate::wire::iana::v2::{AuthMethod, ExchangeType, NotifyType};
use crate::wire::v2::{Id, Notify, Payload};
use crate::wire::{EspSpi, Header};

/// A responder that sent its IKE_SA_INIT response.
#[derive(Debug)]
pub struct AwaitAuthRequest {
    /// Protects what follows.
    pub protection: Protection,
    /// For the proofs.
    pub proofs: ProofKeys,
    /// The first two messages.
    pub opening: Opening,
}

/// A responder that awaits the verdict about the initiator's proof.
#[derive(Debug)]
pub struct AwaitInitiatorVerdict {
    pub(in crate::ike::v2) protection: Protection,
    proofs: ProofKeys,
    opening: Opening,
    question: QuestionId,
    remote_id: Id,
    bag: Bag,
}

/// A responder that awaits its own proof, and the kernel for the first child SA.
#[derive(Debug)]
pub struct AwaitOwnProof {
    pub(in crate::ike::v2) protection: Protection,
    question: QuestionId,
    proof: Option<OwnProof>,
    config: Vec<Payload>,
    child: FirstChild,
    local_id: Id,
    remote_id: Id,
    initial_contact: bool,
}

/// What becomes of the child SA that an IKE_AUTH request asks for.
#[derive(Debug)]
enum FirstChild {
    NotAsked,
    Refused(NotifyType),
    Underway(Box<Answering>),
}

impl AwaitAuthRequest {
    /// The request came.
    pub fn request(
        mut self: Box<Self>,
        frame: &mut Frame,
        core: &mut Core,
        header: &Header,
        datagram: &[u8],
    ) -> State {
        let payloads = match read_sealed(frame, core, &self.protection, header, datagram) {
            Ok(payloads) => payloads,
            Err(None) => return State::AwaitAuthRequest(self),
            Err(Some(error)) => {
                frame.window.accepted();
                frame.report(core, Event::Misbehaved { what: error.to_string() });
                return fail(frame, core, self.protection, Notify::answering(&error));
            }
        };
        frame.window.accepted();
        let mut bag = match sort(Message::AuthRequest, payloads) {
            Ok(bag) => bag,
            Err(what) => {
                frame.report(core, Event::Misbehaved { what });
                return fail(frame, core, self.protection, NotifyType::INVALID_SYNTAX);
            }
        };
        if mobike::forbidden_nat(&bag, frame.path()) {
            let what = "forbids NATs (NO_NATS_ALLOWED), and one is on the way".into();
            frame.report(core, Event::Misbehaved { what });
            return fail(frame, core, self.protection, NotifyType::UNEXPECTED_NAT_DETECTED);
        }
        let method = bag.auth.as_ref().map(|auth| auth.method);
        let Some(remote_id) = bag.idi.clone() else {
            frame
                .report(core, Event::Misbehaved { what: "an IKE_AUTH request without IDi".into() });
            return fail(frame, core, self.protection, NotifyType::INVALID_SYNTAX);
        };
        if let Err(event) = self.select(frame, core, &remote_id, &bag, method) {
            core.report(Some(frame.remote), None, *event);
            return fail(frame, core, self.protection, NotifyType::AUTHENTICATION_FAILED);
        }
        let asked = (&remote_id, &mut bag);
        let asked =
            proof::ask_peers(frame, core, &self.protection, &self.proofs, &self.opening, asked);
        let Self { protection, proofs, opening } = *self;
        let question = match asked {
            Ok(question) => question,
            Err(event) => {
                frame.report(core, *event);
                return fail(frame, core, protection, NotifyType::AUTHENTICATION_FAILED);
            }
        };
        let state = AwaitInitiatorVerdict { protection, proofs, opening, question, remote_id, bag };
        State::AwaitInitiatorVerdict(Box::new(state))
    }

    /// Now that the peer has said who it is, the policy may be another.
    fn select(
        &mut self,
        frame: &mut Frame,
        core: &Core,
        said: &Id,
        bag: &Bag,
        method: Option<AuthMethod>,
    ) -> Result<(), Box<Event>> {
        let suite = self.protection.suite;
        let allows = |policy: &Policy| {
            policy.ike_proposals.iter().any(|proposal| {
                proposal.encryption.contains(&suite.encryption)
                    && proposal.prf.contains(&suite.prf)
                    && proposal.groups.contains(&suite.group)
                    && match suite.integrity {
                        Some(integrity) => proposal.integrity.contains(&integrity),
                        None => proposal.integrity.is_empty(),
                    }
            })
        };
        let (local, remote) = (frame.local, frame.remote);
        let wanted = bag.idr.as_ref();
        let policies = &core.policies;
        // Without AUTH payload it wants EAP (RFC 7296 §2.16), which no policy can have.
        let takes = |wants| method.is_some_and(|method| proof::takes(wants, method));
        let fits = |policy: &Policy| allows(policy) && takes(policy.auth.theirs(false));
        match policies.select_by_id(2, local, remote, said, wanted, fits) {
            Some(policy) => {
                frame.policy = policy;
                Ok(())
            }
            None => {
                let unlike = |policy: &Policy| {
                    let ours = id::ours(policy, local.ip());
                    let wants = policy.auth.theirs(false);
                    match (id::expected(policy), wanted) {
                        _ if !allows(policy) => format!("ikesa does not allow {suite}"),
                        (Some(peer), _) if !id::same(&peer, said) => format!("dstid is {peer}"),
                        (_, Some(wanted)) if !id::same(&ours, wanted) => format!("srcid is {ours}"),
                        _ if !takes(wants) => format!("it wants {}", proof::said(wants)),
                        _ => "it fits".into(),
                    }
                };
                let candidates = policies.passed_over(
                    2,
                    (local, remote),
                    |policy| id::accepts(policy, said),
                    unlike,
                );
                let whom = wanted.map(|id| format!(" that wants to talk to {id}"));
                let whom = whom.unwrap_or_default();
                let how = match method {
                    Some(method) => format!("with AUTH by {method}"),
                    None => "by EAP, which is not known here: have the peer prove itself by a key \
                             or a certificate"
                        .into(),
                };
                let wanted = format!("{said}{whom} {how}");
                Err(Box::new(Event::NoPolicy { wanted, candidates }))
            }
        }
    }
}

impl AwaitInitiatorVerdict {
    /// The holder of the secrets answered.
    pub fn answer(
        self: Box<Self>,
        frame: &mut Frame,
        core: &mut Core,
        question: QuestionId,
        answer: Answer,
    ) -> State {
        if question != self.question {
            return State::AwaitInitiatorVerdict(self);
        }
        if !proof::verified(frame, core, &self.remote_id, answer) {
            let error = NotifyType::AUTHENTICATION_FAILED;
            return fail(frame, core, self.protection, error);
        }
        let Self { protection, proofs, opening, remote_id, bag, .. } = *self;
        mobike::heard(frame, core, &bag);
        hear_window(frame, &bag);
        let local_id = id::ours(&frame.policy, frame.local.ip());
        let requests = &bag.requests;
        let question = proof::ask_own(frame, core, &protection, &proofs, &opening, requests);
        let config = config::serve(frame, core, &remote_id, &bag);
        let families = config::families(&frame.policy, &bag);
        let child = match (&bag.sa, &config) {
            (None, _) => FirstChild::NotAsked,
            (Some(_), Err(error)) => FirstChild::Refused(*error),
            (Some(_), Ok(_)) => match Answering::consider(frame, core, &bag, true, None) {
                Ok((answering, _)) => {
                    answering.reserve(frame, core);
                    let answering = answering.with_seeds(opening.nonces, None, Vec::new());
                    FirstChild::Underway(Box::new(answering))
                }
                Err(error) => FirstChild::Refused(error),
            },
        };
        let initial_contact = bag.has(NotifyType::INITIAL_CONTACT);
        let proof = None;
        State::AwaitOwnProof(Box::new(AwaitOwnProof {
            protection,
            question,
            proof,
            config: config.ok().flatten().into_iter().chain(families).collect(),
            child,
            local_id,
            remote_id,
            initial_contact,
        }))
    }
}

impl AwaitOwnProof {
    /// The holder of the secrets answered.
    pub fn answer(
        mut self: Box<Self>,
        frame: &mut Frame,
        core: &mut Core,
        question: QuestionId,
        answer: Answer,
    ) -> State {
        if question != self.question {
            return State::AwaitOwnProof(self);
        }
        self.proof = OwnProof::from_answer(frame, core, answer);
        if self.proof.is_none() {
            return fail(frame, core, self.protection, NotifyType::AUTHENTICATION_FAILED);
        }
        self.proceed(frame, core)
    }

    /// The kernel reserved an SPI, or did not.
    pub fn reserved(
        mut self: Box<Self>,
        frame: &mut Frame,
        core: &mut Core,
        spi: Option<EspSpi>,
    ) -> State {
        match (&mut self.child, spi) {
            (FirstChild::Underway(answering), Some(spi)) => {
                answering.reserved(frame, core, &self.protection, spi);
            }
            _ => self.child = FirstChild::Refused(NotifyType::NO_PROPOSAL_CHOSEN),
        }
        self.proceed(frame, core)
    }

    /// The kernel has the inbound half, or not.
    pub fn inbound(mut self: Box<Self>, frame: &mut Frame, core: &mut Core, done: bool) -> State {
        self.child = match self.child {
            FirstChild::Underway(answering) if done => {
                FirstChild::Underway(answering.inbound_done())
            }
            _ => FirstChild::Refused(NotifyType::NO_PROPOSAL_CHOSEN),
        };
        self.proceed(frame, core)
    }

    fn proceed(mut self: Box<Self>, frame: &mut Frame, core: &mut Core) -> State {
        let waits = matches!(&self.child, FirstChild::Underway(answering) if !answering.is_ready());
        let Some(proof) = self.proof.take_if(|_| !waits) else {
            return State::AwaitOwnProof(self);
        };
        let Self { mut protection, config, child, local_id, remote_id, initial_contact, .. } =
            *self;
        let (certs, auth) = proof.payloads();
        let mut payloads = vec![Payload::IdR(local_id.clone())];
        payloads.extend(certs);
        payloads.push(auth);
        payloads.extend(config);
        match &child {
            FirstChild::NotAsked => (),
            FirstChild::Refused(error) => payloads.push(Payload::Notify(Notify::new(*error))),
            FirstChild::Underway(answering) => payloads.extend(answering.payloads()),
        }
        payloads.extend(mobike::announcement(frame, core));
        payloads.extend(Established::limit(frame));
        frame.window.widen(core.settings.window);
        if !reply(frame, core, &mut protection, ExchangeType::IKE_AUTH, &payloads) {
            return State::Gone;
        }
        let established = Established::new(frame, core, protection, local_id, remote_id);
        core.deeds.push_back(Deed::Established(frame.id, initial_contact));
        if let FirstChild::Underway(answering) = child {
            answering.answered(frame, core);
        }
        State::Established(established)
    }
}
