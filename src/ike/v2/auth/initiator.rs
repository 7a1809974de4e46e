//! IKE_AUTH as its initiator: our proof and the first child SA go out, the responder's proof comes.

use super::proof::{self, OwnProof};
use super::tell_failed;
use crate::conf::{Method, Policy};
use crate::ike::auth::{Answer, QuestionId};
use crate::ike::core::{Core, Deed};
use crate::ike::frame::Frame;
use crate::ike::id;
use crate::ike::inner::{Configured, Inner};
use crate::ike::report::{Disagreement, Event, Gone};
use crate::ike::v2::config;
use crate::ike::v2::create::{Offering, unreserve};
use crate::ike::v2::established::Established;
use crate::ike::v2::init::Opening;
use crate::ike::v2::keys::{ProofKeys, Protection};
use crate::ike::v2::rules::{Bag, Message, sort};
use crate::ike::v2::tasks::Task;
use crate::ike::v2::{State, hear_window, mobike, read_sealed, refused, send_request};
use crate::wire::iana::v2::{ExchangeType, NotifyType};
use crate::wire::v2::{Id, Notify, Payload};
use crate::wire::{EspSpi, Header};

/// An initiator that awaits its own proof from the holder of the secrets, and an SPI.
#[derive(Debug)]
pub struct AwaitOwnAuth {
    pub(in crate::ike::v2) protection: Protection,
    proofs: ProofKeys,
    opening: Opening,
    question: QuestionId,
    proof: Option<OwnProof>,
    /// The first child SA, unless it comes later (RFC 6023).
    offering: Option<Offering>,
    spi: Option<EspSpi>,
}

/// An initiator that sent its IKE_AUTH request.
#[derive(Debug)]
pub struct AwaitAuthResponse {
    /// Protects what follows.
    pub protection: Protection,
    proofs: ProofKeys,
    opening: Opening,
    child: Option<FirstChild>,
}

/// An initiator that awaits the verdict about the responder's proof.
#[derive(Debug)]
pub struct AwaitResponderVerdict {
    pub(in crate::ike::v2) protection: Protection,
    opening: Opening,
    child: Option<FirstChild>,
    question: QuestionId,
    remote_id: Id,
    bag: Bag,
}

/// The child SA that goes along with IKE_AUTH.
#[derive(Debug)]
struct FirstChild {
    offering: Offering,
    spi: EspSpi,
}

impl FirstChild {
    fn abandon(self, core: &mut Core) {
        self.offering.abandon(core, self.spi);
    }
}

/// The initiator's keys are there: it asks for its proof and an SPI.
pub fn begin_initiator(
    frame: &mut Frame,
    core: &mut Core,
    protection: Protection,
    proofs: ProofKeys,
    opening: Opening,
) -> State {
    frame.config = Inner::asked(&frame.policy).map(Configured::new);
    // Addresses are asked for together with the child SA that they are for.
    let childless = frame.policy.childless && opening.childless && frame.config.is_none();
    let offering = Offering::new(frame, core, true, None, &[]);
    if offering.is_none() {
        frame.close(core, Gone::Failed);
        return State::Gone;
    }
    let offering = offering.filter(|_| !childless);
    let requests = &opening.heard.requests;
    let question = proof::ask_own(frame, core, &protection, &proofs, &opening, requests);
    if let Some(offering) = &offering {
        offering.reserve(frame, core);
    }
    let (proof, spi) = (None, None);
    let state = AwaitOwnAuth { protection, proofs, opening, question, proof, offering, spi };
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
        self.proof = OwnProof::from_answer(frame, core, answer);
        if self.proof.is_none() {
            self.abandon(core);
            frame.close(core, Gone::Failed);
            return State::Gone;
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
        if let (Some(offering), Some(spi)) = (&self.offering, self.spi.take()) {
            unreserve(core, offering.protocol, offering.hosts, spi);
        }
    }

    fn proceed(mut self: Box<Self>, frame: &mut Frame, core: &mut Core) -> State {
        let waits = self.offering.is_some() && self.spi.is_none();
        let Some(proof) = self.proof.take_if(|_| !waits) else {
            return State::AwaitOwnAuth(self);
        };
        let Self { mut protection, proofs, opening, offering, spi, .. } = *self;
        let child = offering.zip(spi).map(|(mut offering, spi)| {
            offering.cpi = frame.cpis[0].take();
            FirstChild { offering, spi }
        });
        let mut payloads = vec![Payload::IdI(id::ours(&frame.policy, frame.local.ip()))];
        let (certs, auth) = proof.payloads();
        payloads.extend(certs);
        if let Method::Signature(_) = frame.policy.auth.theirs(true) {
            payloads.extend(proof::requests(core, &opening.heard.requests));
        }
        if let Some(wanted) = &frame.policy.remote_id {
            payloads.push(Payload::IdR(id::of_identity(wanted)));
        }
        payloads.push(auth);
        payloads.extend(config::request(&frame.policy));
        if let Some(FirstChild { offering, spi }) = &child {
            let (sa, rest) = offering.payloads(*spi);
            payloads.push(sa);
            payloads.extend(rest);
        }
        payloads.extend(mobike::announcement(frame, core));
        if frame.first_contact {
            payloads.push(Payload::Notify(Notify::new(NotifyType::INITIAL_CONTACT)));
        }
        frame.window.widen(core.settings.window);
        if !send_request(frame, core, &mut protection, ExchangeType::IKE_AUTH, &payloads) {
            return State::Gone;
        }
        let state = AwaitAuthResponse { protection, proofs, opening, child };
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
            Err(Some(error)) => return self.broken(frame, core, error.to_string()),
        };
        frame.window.answered(header.message_id, core.now);
        let mut bag = match sort(Message::AuthResponse, payloads) {
            Ok(bag) => bag,
            Err(what) => return self.broken(frame, core, what),
        };
        let Some(remote_id) = bag.idr.clone().filter(|_| bag.auth.is_some()) else {
            return self.refused(frame, core, &bag);
        };
        if !id::accepts(&frame.policy, &remote_id) {
            frame.report(core, Event::Disagreed(other_identity(&frame.policy, &remote_id)));
            return self.farewell(frame, core);
        }
        let asked = (&remote_id, &mut bag);
        let asked =
            proof::ask_peers(frame, core, &self.protection, &self.proofs, &self.opening, asked);
        let question = match asked {
            Ok(question) => question,
            Err(event) => {
                frame.report(core, *event);
                return self.farewell(frame, core);
            }
        };
        let Self { protection, opening, child, .. } = *self;
        let state = AwaitResponderVerdict { protection, opening, child, question, remote_id, bag };
        State::AwaitResponderVerdict(Box::new(state))
    }

    /// Gives the SPI back.
    pub fn abandon(&mut self, core: &mut Core) {
        if let Some(child) = self.child.take() {
            child.abandon(core);
        }
    }

    fn broken(mut self, frame: &mut Frame, core: &mut Core, what: String) -> State {
        frame.report(core, Event::Misbehaved { what });
        self.abandon(core);
        frame.close(core, Gone::Failed);
        State::Gone
    }

    fn refused(mut self, frame: &mut Frame, core: &mut Core, bag: &Bag) -> State {
        // OpenIKED answers so too where it is only the child SA that it does not agree to.
        let error = bag.error();
        let of_child = [NotifyType::NO_PROPOSAL_CHOSEN, NotifyType::TS_UNACCEPTABLE];
        let of_child = error.is_some_and(|error| of_child.contains(&error.notify_type));
        let offered = match &self.child {
            Some(child) if of_child => child.offering.printed(error),
            _ => proof::offered(&frame.policy, frame.local.ip(), true),
        };
        frame.report(core, refused("IKE_AUTH", error, offered));
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

/// The peer calls itself other than the policy has it.
fn other_identity(policy: &Policy, said: &Id) -> Box<Disagreement> {
    let wanted = id::expected(policy).map_or("anybody".into(), |id| id.to_string());
    Box::new(Disagreement {
        about: "who the peer is".into(),
        ours: vec![format!("dstid {wanted}")],
        theirs: vec![format!("srcid {said}")],
        mismatch: format!("{said} answers where {wanted} is expected"),
        advice: "write as dstid here what the peer has as its srcid, or the other way round".into(),
    })
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
        if !proof::verified(frame, core, &self.remote_id, answer) {
            self.abandon(core);
            tell_failed(frame, core, &mut self.protection);
            frame.close(core, Gone::Failed);
            return State::Gone;
        }
        let Self { protection, opening, child, remote_id, bag, .. } = *self;
        mobike::heard(frame, core, &bag);
        hear_window(frame, &bag);
        let local_id = id::ours(&frame.policy, frame.local.ip());
        let mut established = Established::new(frame, core, protection, local_id, remote_id);
        established.limited(core, &bag);
        core.deeds.push_back(Deed::Established(frame.id, false));
        let Some(FirstChild { mut offering, spi }) = child else {
            established.want(Task::CreateChild);
            established.advance(frame, core);
            return State::Established(established);
        };
        if bag.sa.is_none() {
            let error = bag.error();
            let event = match config::refused(&frame.policy, &bag) {
                Some(disagreement) => Event::Disagreed(disagreement),
                None => refused("the child SA", error, offering.printed(error)),
            };
            frame.report(core, event);
            offering.abandon(core, spi);
            match Inner::asked(&frame.policy) {
                None if established.pairs_required(error) => (),
                Some(_) => established.end_without_address(frame, core),
                None => core.lost(&frame.policy.name, Gone::Failed),
            }
            return State::Established(established);
        }
        let (ni, nr) = (&*opening.nonces.0, &*opening.nonces.1);
        let reply = match config::accept(frame, &bag) {
            Ok(reply) => reply,
            Err(disagreement) => {
                frame.report(core, Event::Disagreed(disagreement));
                offering.abandon(core, spi);
                established.end_without_address(frame, core);
                return State::Established(established);
            }
        };
        offering.hosts = frame.hosts();
        match offering.accept(frame, core, &bag, spi) {
            Ok(agreement) => {
                let protection = &established.protection;
                config::apply(frame, core, &agreement.flows, reply);
                offering.install(frame, core, protection, agreement, ((ni, nr), None), true);
            }
            Err(event) => {
                frame.report(core, *event);
                established.reject(frame, core, offering, spi);
            }
        }
        State::Established(established)
    }

    /// Gives the SPI back.
    pub fn abandon(&mut self, core: &mut Core) {
        if let Some(child) = self.child.take() {
            child.abandon(core);
        }
    }
}
