//! IKE_AUTH (RFC 7296 §1.2, §2.15): who we are, who the peer is, and the first child SA.

use super::create::{Answering, Offering, reserve, unreserve};
use super::established::Established;
use super::init::Opening;
use super::keys::{ProofKeys, Protection, proof_octets};
use super::rules::{Bag, Message, sort};
use super::{Lingering, State, read_sealed, refusal_advice, reply, send_request};
use crate::ike::auth::{Answer, Question, QuestionId};
use crate::ike::core::{Core, Deed};
use crate::ike::id;
use crate::ike::proposal;
use crate::ike::report::{Event, Gone};
use crate::ike::sa::Frame;
use crate::ike::view::Stats;
use crate::wire::iana::v2::{AuthMethod, ExchangeType, NotifyType};
use crate::wire::v2::{Auth, Id, Notify, Payload};
use crate::wire::{EspSpi, Header};

/// An initiator that awaits its own proof from the holder of the secrets, and an SPI.
#[derive(Debug)]
pub struct AwaitOwnAuth {
    pub(super) protection: Protection,
    proofs: ProofKeys,
    opening: Opening,
    question: QuestionId,
    auth: Option<Vec<u8>>,
    offering: Offering,
    spi: Option<EspSpi>,
}

/// An initiator that sent its IKE_AUTH request.
#[derive(Debug)]
pub struct AwaitAuthResponse {
    /// Protects what follows.
    pub protection: Protection,
    proofs: ProofKeys,
    opening: Opening,
    offering: Offering,
    spi: EspSpi,
}

/// An initiator that awaits the verdict about the responder's proof.
#[derive(Debug)]
pub struct AwaitResponderVerdict {
    pub(super) protection: Protection,
    opening: Opening,
    offering: Offering,
    spi: EspSpi,
    question: QuestionId,
    remote_id: Id,
    bag: Bag,
}

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
    pub(super) protection: Protection,
    proofs: ProofKeys,
    opening: Opening,
    question: QuestionId,
    remote_id: Id,
    bag: Bag,
}

/// A responder that awaits its own proof, and the kernel for the first child SA.
#[derive(Debug)]
pub struct AwaitOwnProof {
    pub(super) protection: Protection,
    question: QuestionId,
    auth: Option<Vec<u8>>,
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

/// The initiator's keys are there: it asks for its proof and an SPI.
pub fn begin_initiator(
    frame: &mut Frame,
    core: &mut Core,
    protection: Protection,
    proofs: ProofKeys,
    opening: Opening,
) -> State {
    let Some(offering) = Offering::new(frame, core, true, None) else {
        frame.close(core, Gone::Failed);
        return State::Gone;
    };
    let body = id::ours(&frame.policy, frame.local.ip()).body();
    let (first, nonce) = (&opening.messages.0, &opening.nonces.1);
    let octets = proof_octets(protection.prf, &proofs.initiator, first, nonce, &body);
    let (policy, prf) = (frame.policy.name.clone(), protection.suite.prf);
    let question = core.ask(frame.id, Question::SharedKeySign { policy, prf, octets });
    reserve(frame, core, offering.protocol, false);
    let (auth, spi) = (None, None);
    let state = AwaitOwnAuth { protection, proofs, opening, question, auth, offering, spi };
    State::AwaitOwnAuth(Box::new(state))
}

impl AwaitOwnAuth {
    /// The holder of the secrets answered.
    pub fn answer(
        mut self: Box<Self>,
        frame: &mut Frame,
        core: &mut Core,
        question: QuestionId,
        answer: Answer,
    ) -> State {
        if question != self.question {
            return State::AwaitOwnAuth(self);
        }
        match signed(answer) {
            Ok(auth) => self.auth = Some(auth),
            Err(reason) => {
                frame.report(core, Event::QuestionRefused { reason });
                self.abandon(core);
                frame.close(core, Gone::Failed);
                return State::Gone;
            }
        }
        self.proceed(frame, core)
    }

    /// The kernel reserved an SPI.
    pub fn reserved(mut self: Box<Self>, frame: &mut Frame, core: &mut Core, spi: EspSpi) -> State {
        self.spi = Some(spi);
        self.proceed(frame, core)
    }

    /// Gives the SPI back.
    pub fn abandon(&mut self, core: &mut Core) {
        if let Some(spi) = self.spi.take() {
            unreserve(core, self.offering.protocol, self.offering.hosts, spi);
        }
    }

    fn proceed(self: Box<Self>, frame: &mut Frame, core: &mut Core) -> State {
        let (Some(auth), Some(spi)) = (self.auth.clone(), self.spi) else {
            return State::AwaitOwnAuth(self);
        };
        let Self { mut protection, proofs, opening, offering, .. } = *self;
        let mut payloads = vec![Payload::IdI(id::ours(&frame.policy, frame.local.ip()))];
        if let Some(wanted) = &frame.policy.remote_id {
            payloads.push(Payload::IdR(id::of_identity(wanted)));
        }
        payloads.push(Payload::Auth(Auth { method: AuthMethod::SHARED_KEY_MIC, data: auth }));
        let (sa, rest) = offering.payloads(spi);
        payloads.push(sa);
        payloads.extend(rest);
        if frame.first_contact {
            payloads.push(Payload::Notify(Notify::new(NotifyType::INITIAL_CONTACT)));
        }
        if !send_request(frame, core, &mut protection, ExchangeType::IKE_AUTH, &payloads) {
            return State::Gone;
        }
        let state = AwaitAuthResponse { protection, proofs, opening, offering, spi };
        State::AwaitAuthResponse(Box::new(state))
    }
}

impl AwaitAuthResponse {
    /// The response came.
    pub fn response(
        self: Box<Self>,
        frame: &mut Frame,
        core: &mut Core,
        header: &Header,
        datagram: &[u8],
    ) -> State {
        let payloads = match read_sealed(frame, core, &self.protection, header, datagram) {
            Ok(payloads) => payloads,
            Err(None) => return State::AwaitAuthResponse(self),
            Err(Some(what)) => return self.broken(frame, core, what),
        };
        frame.window.answered();
        let bag = match sort(Message::AuthResponse, payloads) {
            Ok(bag) => bag,
            Err(what) => return self.broken(frame, core, what),
        };
        let (Some(remote_id), Some(auth)) = (&bag.idr, &bag.auth) else {
            return self.refused(frame, core, &bag);
        };
        if auth.method != AuthMethod::SHARED_KEY_MIC {
            let what = format!("AUTH by {}, while our policy wants a pre-shared key", auth.method);
            return self.broken(frame, core, what);
        }
        if !id::accepts(&frame.policy, remote_id) {
            let wanted = id::expected(&frame.policy).map(|id| id.to_string()).unwrap_or_default();
            let wanted = format!("{remote_id}, which answers where {wanted} is expected (dstid)");
            frame.report(core, Event::NoPolicy { wanted });
            return self.farewell(frame, core);
        }
        let Self { protection, proofs, opening, offering, spi } = *self;
        let (first, nonce) = (&opening.messages.1, &opening.nonces.0);
        let octets =
            proof_octets(protection.prf, &proofs.responder, first, nonce, &remote_id.body());
        let (policy, prf) = (frame.policy.name.clone(), protection.suite.prf);
        let auth = auth.data.clone();
        let ask = Question::SharedKeyVerify { policy, prf, octets, auth };
        let question = core.ask(frame.id, ask);
        let remote_id = remote_id.clone();
        let state =
            AwaitResponderVerdict { protection, opening, offering, spi, question, remote_id, bag };
        State::AwaitResponderVerdict(Box::new(state))
    }

    /// Gives the SPI back.
    pub fn abandon(&mut self, core: &mut Core) {
        unreserve(core, self.offering.protocol, self.offering.hosts, self.spi);
    }

    fn broken(mut self, frame: &mut Frame, core: &mut Core, what: String) -> State {
        frame.report(core, Event::Misbehaved { what });
        self.abandon(core);
        frame.close(core, Gone::Failed);
        State::Gone
    }

    fn refused(mut self, frame: &mut Frame, core: &mut Core, bag: &Bag) -> State {
        let error = bag.error().map(|notify| notify.notify_type);
        let notify = error.map_or("no identity and no proof".into(), |error| error.to_string());
        let advice = error.map(refusal_advice).unwrap_or_default();
        let what = "IKE_AUTH".into();
        frame.report(core, Event::Refused { what, notify, offered: Vec::new(), advice });
        self.abandon(core);
        frame.close(core, Gone::Failed);
        State::Gone
    }

    /// The responder is not whom we want: it is told, once.
    fn farewell(mut self, frame: &mut Frame, core: &mut Core) -> State {
        self.abandon(core);
        tell_failed(frame, core, &mut self.protection);
        frame.close(core, Gone::Failed);
        State::Gone
    }
}

impl AwaitResponderVerdict {
    /// The holder of the secrets answered.
    pub fn answer(
        mut self: Box<Self>,
        frame: &mut Frame,
        core: &mut Core,
        question: QuestionId,
        answer: Answer,
    ) -> State {
        if question != self.question {
            return State::AwaitResponderVerdict(self);
        }
        if !verified(frame, core, &self.remote_id, answer) {
            self.abandon(core);
            tell_failed(frame, core, &mut self.protection);
            frame.close(core, Gone::Failed);
            return State::Gone;
        }
        let Self { protection, opening, offering, spi, remote_id, bag, .. } = *self;
        let local_id = id::ours(&frame.policy, frame.local.ip());
        let mut established = Established::new(frame, core, protection, local_id, remote_id);
        core.deeds.push_back(Deed::Established(frame.id, false));
        if bag.sa.is_none() {
            let notify = bag.error().map(|notify| notify.notify_type);
            let advice = notify.map(refusal_advice).unwrap_or_default();
            let notify = notify.map_or("no reason given".into(), |notify| notify.to_string());
            let (what, offered) = ("the child SA".into(), proposal::printed(&offering.offered));
            frame.report(core, Event::Refused { what, notify, offered, advice });
            unreserve(core, offering.protocol, offering.hosts, spi);
            core.lost(&frame.policy.name, Gone::Failed);
            return State::Established(established);
        }
        let (ni, nr) = (&*opening.nonces.0, &*opening.nonces.1);
        match offering.accept(frame, core, &bag, spi) {
            Ok(agreement) => {
                let protection = &established.protection;
                Offering::install(frame, core, protection, agreement, ((ni, nr), None), true);
            }
            Err(what) => {
                frame.report(core, Event::Misbehaved { what });
                established.reject(frame, core, offering.protocol, offering.hosts, spi);
            }
        }
        State::Established(established)
    }

    /// Gives the SPI back.
    pub fn abandon(&mut self, core: &mut Core) {
        unreserve(core, self.offering.protocol, self.offering.hosts, self.spi);
    }
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
            Err(Some(what)) => {
                frame.window.accepted();
                frame.report(core, Event::Misbehaved { what });
                return fail(frame, core, self.protection, NotifyType::INVALID_SYNTAX);
            }
        };
        frame.window.accepted();
        let bag = match sort(Message::AuthRequest, payloads) {
            Ok(bag) => bag,
            Err(what) => {
                frame.report(core, Event::Misbehaved { what });
                return fail(frame, core, self.protection, NotifyType::INVALID_SYNTAX);
            }
        };
        let (Some(remote_id), Some(auth)) = (bag.idi.clone(), &bag.auth) else {
            let wanted = "EAP: the peer sends no AUTH payload; policies here want a pre-shared key";
            frame.report(core, Event::NoPolicy { wanted: wanted.into() });
            return fail(frame, core, self.protection, NotifyType::AUTHENTICATION_FAILED);
        };
        if let Err(wanted) = self.select(frame, core, &remote_id, &bag, auth.method) {
            frame.report(core, Event::NoPolicy { wanted });
            return fail(frame, core, self.protection, NotifyType::AUTHENTICATION_FAILED);
        }
        let Self { protection, proofs, opening } = *self;
        let (first, nonce) = (&opening.messages.0, &opening.nonces.1);
        let body = remote_id.body();
        let octets = proof_octets(protection.prf, &proofs.initiator, first, nonce, &body);
        let (policy, prf) = (frame.policy.name.clone(), protection.suite.prf);
        let auth = auth.data.clone();
        let ask = Question::SharedKeyVerify { policy, prf, octets, auth };
        let question = core.ask(frame.id, ask);
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
        method: AuthMethod,
    ) -> Result<(), String> {
        if method != AuthMethod::SHARED_KEY_MIC {
            return Err(format!("AUTH by {method}; policies here want a pre-shared key"));
        }
        let suite = self.protection.suite;
        let allows = |policy: &crate::conf::Policy| {
            policy.skip
                || policy.ike_proposals.iter().any(|proposal| {
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
        match core.policies.select_by_id(2, local, remote, said, wanted, allows) {
            Some(policy) if policy.skip => Err(format!("{said}: {} says skip", policy.name.0)),
            Some(policy) => {
                frame.policy = policy;
                Ok(())
            }
            None => {
                let whom = wanted.map(|id| format!(", which wants to talk to {id}"));
                let expected = id::expected(&frame.policy);
                let ours = id::ours(&frame.policy, local.ip());
                Err(format!(
                    "{said}{}; {} expects {} and is itself {ours} (dstid, srcid)",
                    whom.unwrap_or_default(),
                    frame.policy.name.0,
                    expected.map_or("anybody".into(), |id| id.to_string()),
                ))
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
        if !verified(frame, core, &self.remote_id, answer) {
            let error = NotifyType::AUTHENTICATION_FAILED;
            return fail(frame, core, self.protection, error);
        }
        let Self { protection, proofs, opening, remote_id, bag, .. } = *self;
        let local_id = id::ours(&frame.policy, frame.local.ip());
        let (first, nonce) = (&opening.messages.1, &opening.nonces.0);
        let body = local_id.body();
        let octets = proof_octets(protection.prf, &proofs.responder, first, nonce, &body);
        let (policy, prf) = (frame.policy.name.clone(), protection.suite.prf);
        let question = core.ask(frame.id, Question::SharedKeySign { policy, prf, octets });
        let child = match bag.sa {
            None => FirstChild::NotAsked,
            Some(_) => match Answering::consider(frame, core, &bag, true, None) {
                Ok((answering, _)) => {
                    reserve(frame, core, frame.policy.protocol, true);
                    let answering = answering.with_seeds(opening.nonces, None, Vec::new());
                    FirstChild::Underway(Box::new(answering))
                }
                Err(error) => FirstChild::Refused(error),
            },
        };
        let initial_contact = bag.has(NotifyType::INITIAL_CONTACT);
        let auth = None;
        State::AwaitOwnProof(Box::new(AwaitOwnProof {
            protection,
            question,
            auth,
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
        match signed(answer) {
            Ok(auth) => self.auth = Some(auth),
            Err(reason) => {
                frame.report(core, Event::QuestionRefused { reason });
                return fail(frame, core, self.protection, NotifyType::AUTHENTICATION_FAILED);
            }
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
        let Some(auth) = self.auth.take_if(|_| !waits) else {
            return State::AwaitOwnProof(self);
        };
        let Self { mut protection, child, local_id, remote_id, initial_contact, .. } = *self;
        let mut payloads = vec![
            Payload::IdR(local_id.clone()),
            Payload::Auth(Auth { method: AuthMethod::SHARED_KEY_MIC, data: auth }),
        ];
        match &child {
            FirstChild::NotAsked => (),
            FirstChild::Refused(error) => payloads.push(Payload::Notify(Notify::new(*error))),
            FirstChild::Underway(answering) => payloads.extend(answering.payloads()),
        }
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

/// The responder refuses; it stays a while to say so again, should the answer get lost.
fn fail(
    frame: &mut Frame,
    core: &mut Core,
    mut protection: Protection,
    error: NotifyType,
) -> State {
    let Stats { failed, .. } = &mut core.stats;
    *failed += 1;
    let payloads = [Payload::Notify(Notify::new(error))];
    if !reply(frame, core, &mut protection, ExchangeType::IKE_AUTH, &payloads) {
        return State::Gone;
    }
    for mut child in std::mem::take(&mut frame.children) {
        child.remove(core);
    }
    State::Lingering(Box::new(Lingering::new(core, protection)))
}

/// The initiator tells the responder, once and without waiting, that it did not prove itself
/// (RFC 7296 §2.21.2).
fn tell_failed(frame: &mut Frame, core: &mut Core, protection: &mut Protection) {
    let payloads = [Payload::Notify(Notify::new(NotifyType::AUTHENTICATION_FAILED))];
    send_request(frame, core, protection, ExchangeType::INFORMATIONAL, &payloads);
}

fn signed(answer: Answer) -> Result<Vec<u8>, String> {
    match answer {
        Answer::Signed(auth) => Ok(auth),
        Answer::Refused(reason) => Err(reason),
        _ => Err("an answer to another question".into()),
    }
}

fn verified(frame: &Frame, core: &mut Core, said: &Id, answer: Answer) -> bool {
    let event = match answer {
        Answer::Verified => return true,
        Answer::Wrong => Event::PeerNotAuthenticated { identity: said.to_string() },
        Answer::Refused(reason) => Event::QuestionRefused { reason },
        _ => Event::QuestionRefused { reason: "an answer to another question".into() },
    };
    frame.report(core, event);
    false
}
