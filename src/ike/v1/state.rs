//! The state of an ISAKMP SA: its stage, and what is sent again.

use std::net::SocketAddr;

use super::configure::Configuring;
use super::encryption::{AwaitOpened, AwaitSealed};
use super::established::{Established, Orphaned};
use super::fragment::Pieces;
use super::keys::Keys;
use super::login::Login;
use super::method::Client;
use super::rules::{Bag, Message, sort};
use super::{aggressive, main_mode, message, proof};
use crate::crypto::IkeSuite;
use crate::ike::auth::QuestionId;
use crate::ike::core::Core;
use crate::ike::event::Time;
use crate::ike::frame::Frame;
use crate::ike::outstanding::Outstanding;
use crate::ike::report::{Event, explained};
use crate::ike::sa::Standing;
use crate::ike::timer::earliest;
use crate::wire::Header;
use crate::wire::iana::v1::PayloadType;
use crate::wire::v1::Payload;

/// How often an answer is repeated to a peer that has proved nothing yet.
const MOST_ECHOES: u8 = 5;

/// The state of an ISAKMP SA.
#[derive(Debug)]
pub struct State {
    /// What it waits for.
    pub stage: Stage,
    /// Our message of phase 1 that waits for the next one of the peer.
    pub(super) out: Option<Box<Outstanding>>,
    /// Our answer of phase 1, for when the peer's message comes again.
    pub(super) echo: Option<Box<Echo>>,
    /// The digest of the peer's last message of phase 1.
    pub(super) latest: [u8; 20],
    /// A message of which fragments are here.
    pub(super) pieces: Option<Box<Pieces>>,
}

/// The stages.
#[derive(Debug)]
pub enum Stage {
    /// See [`main_mode::AwaitSa`].
    AwaitSa(Box<main_mode::AwaitSa>),
    /// See [`main_mode::AwaitKe`].
    AwaitKe(Box<main_mode::AwaitKe>),
    /// See [`AwaitSealed`].
    AwaitSealed(Box<AwaitSealed>),
    /// See [`AwaitOpened`].
    AwaitOpened(Box<AwaitOpened>),
    /// See [`aggressive::AwaitAnswer`].
    AwaitAnswer(Box<aggressive::AwaitAnswer>),
    /// See [`proof::AwaitSkeyid`].
    AwaitSkeyid(Box<proof::AwaitSkeyid>),
    /// The holder of the keys is asked for our signature.
    AwaitOwnProof(Box<proof::Ready>),
    /// The peer's proof is to come.
    AwaitProof(Box<proof::Ready>),
    /// The holder of the keys is asked about the peer's signature.
    AwaitVerdict(Box<proof::Ready>),
    /// See [`Login`].
    Login(Box<Login>),
    /// See [`Configuring`].
    Configuring(Box<Configuring>),
    /// See [`Established`].
    Established(Box<Established>),
    /// See [`Orphaned`].
    Orphaned(Box<Orphaned>),
    /// It is over.
    Gone,
}

/// What a step of phase 1 comes to.
#[derive(Debug)]
pub struct Next {
    /// The stage.
    pub(super) stage: Stage,
    /// What was sent.
    pub(super) sent: Option<Vec<u8>>,
    /// Whether the peer's message was taken.
    pub(super) moved: bool,
}

/// An answer that may have been lost.
#[derive(Debug)]
pub struct Echo {
    pub(super) question: [u8; 20],
    pub(super) answer: Box<[u8]>,
    pub(super) left: u8,
}

/// A message of phase 1, as it came.
#[derive(Debug)]
pub struct Came<'a> {
    /// Its header.
    pub header: &'a Header,
    /// All of it.
    pub datagram: &'a [u8],
    /// Its payloads, unless they are encrypted.
    pub payloads: Vec<Payload>,
    /// The address of ours that it came to.
    pub local: SocketAddr,
    /// The address that it came from.
    pub remote: SocketAddr,
}

impl Next {
    /// The peer's message changed nothing.
    pub fn same(stage: Stage) -> Self {
        Self { stage, sent: None, moved: false }
    }

    /// These octets were sent.
    pub fn sent(stage: Stage, octets: Vec<u8>) -> Self {
        Self { stage, sent: Some(octets), moved: true }
    }
}

impl From<Stage> for Next {
    fn from(stage: Stage) -> Self {
        Self { stage, sent: None, moved: true }
    }
}

impl Came<'_> {
    /// The payloads sorted by the rules of a message in clear.
    ///
    /// # Errors
    ///
    /// The rule that is broken.
    pub fn sorted(&self, message: Message) -> Result<Bag, String> {
        if message::is_encrypted(self.header) {
            return Err("it is encrypted".into());
        }
        sort(message, self.payloads.clone())
    }

    /// It is dropped; nothing proves that the peer sent it.
    pub fn drop(&self, frame: &Frame, core: &mut Core, stage: Stage, why: String) -> Next {
        core.stats.malformed += 1;
        frame.report(core, Event::Dropped { why });
        Next::same(stage)
    }
}

impl State {
    /// The state after a first step.
    pub fn new(frame: &Frame, core: &mut Core, next: Next, latest: [u8; 20]) -> Box<Self> {
        let mut state = Self { stage: Stage::Gone, out: None, echo: None, latest, pieces: None };
        state.take(frame, core, next);
        Box::new(state)
    }

    /// Takes a step: what was sent is sent again as the role has it.
    pub(super) fn take(&mut self, frame: &Frame, core: &mut Core, next: Next) {
        let Next { stage, sent, moved } = next;
        self.stage = stage;
        if !moved {
            return;
        }
        // The last message of phase 1 goes again when the one before it does; or by the clock, where
        // the peer is to begin what follows.
        let waits = match &self.stage {
            Stage::Login(login) => frame.initiator && login.waits_for_gateway(),
            Stage::Configuring(_) => false,
            _ => frame.initiator && self.is_opening(),
        };
        self.out = None;
        match sent {
            Some(octets) if waits => {
                let backoff = core.settings.backoff;
                let out = Outstanding::new(&octets, core.now, &backoff, &mut *core.random);
                self.out = Some(Box::new(out));
            }
            Some(octets) => {
                let (question, answer) = (self.latest, octets.into());
                self.echo = Some(Box::new(Echo { question, answer, left: MOST_ECHOES }));
            }
            None => (),
        }
    }

    /// What is known of it if it is established.
    pub fn standing(&self) -> Option<Standing<'_>> {
        match &self.stage {
            Stage::Established(state) => Some(state.standing()),
            _ => None,
        }
    }

    /// When the peer last sent something genuine, once there are keys for it.
    pub(super) fn heard(&self) -> Option<Time> {
        self.with_keys().map(|sa| sa.heard)
    }

    /// What phase 1 ended in, even though somebody may still have to log in or to be configured.
    fn with_keys(&self) -> Option<&Established> {
        match &self.stage {
            Stage::Established(sa) => Some(sa),
            Stage::Login(login) => Some(&login.sa),
            Stage::Configuring(state) => Some(&state.sa),
            _ => None,
        }
    }

    /// The question to the holder of the secrets whose answer is waited for.
    pub(super) fn question(&self) -> Option<QuestionId> {
        match &self.stage {
            Stage::AwaitSealed(state) => Some(state.question),
            Stage::AwaitOpened(state) => Some(state.question),
            Stage::AwaitSkeyid(state) => Some(state.question),
            Stage::AwaitOwnProof(ready) | Stage::AwaitVerdict(ready) => ready.question,
            Stage::Login(login) => login.question(),
            _ => None,
        }
    }

    /// The established state.
    pub fn established(&self) -> Option<&Established> {
        match &self.stage {
            Stage::Established(state) => Some(state),
            _ => None,
        }
    }

    /// The keys of its messages, once there are some.
    pub fn keys(&self) -> Option<&Keys> {
        match &self.stage {
            Stage::AwaitOwnProof(ready) | Stage::AwaitProof(ready) | Stage::AwaitVerdict(ready) => {
                Some(&ready.keys)
            }
            _ => self.with_keys().map(|sa| &sa.keys),
        }
    }

    /// Whether the negotiation is still going on.
    pub fn is_opening(&self) -> bool {
        !matches!(self.stage, Stage::Established(_) | Stage::Orphaned(_) | Stage::Gone)
    }

    /// Who the peer was, of an SA that only has children left.
    pub fn orphaned(&self) -> Option<&Orphaned> {
        match &self.stage {
            Stage::Orphaned(state) => Some(state),
            _ => None,
        }
    }

    /// The state in a word.
    pub fn word(&self) -> &'static str {
        match self.stage {
            Stage::Login(ref login) => login.word(),
            Stage::Configuring(_) => "awaiting Mode Config",
            Stage::AwaitSa(_) => "awaiting Main Mode proposal",
            Stage::AwaitKe(_) => "awaiting Main Mode key exchange",
            Stage::AwaitAnswer(_) => "awaiting Aggressive Mode answer",
            Stage::AwaitSealed(_) => "awaiting encryption for the peer",
            Stage::AwaitOpened(_) => "awaiting decryption of what the peer says",
            Stage::AwaitSkeyid(_) => "awaiting SKEYID",
            Stage::AwaitOwnProof(_) => "awaiting own proof",
            Stage::AwaitProof(_) => "awaiting the peer's proof",
            Stage::AwaitVerdict(_) => "awaiting verdict on the peer's proof",
            Stage::Established(_) => "established",
            Stage::Orphaned(_) => "deleted, with child SAs left",
            Stage::Gone => "over",
        }
    }

    /// The payloads of the peer's next message that are encrypted each by itself.
    pub(super) fn closed(&self) -> &'static [PayloadType] {
        match &self.stage {
            Stage::AwaitKe(state) => state.awaited().opaque(),
            Stage::AwaitAnswer(state) => state.awaited().opaque(),
            _ => &[],
        }
    }

    /// What we sent last, for who does not get an answer.
    pub(super) fn unanswered(&self) -> &'static str {
        match self.stage {
            Stage::AwaitSa(_) => explained::MAIN_MODE,
            Stage::AwaitKe(_) => "Main Mode's key exchange",
            Stage::AwaitAnswer(_) => explained::AGGRESSIVE_MODE,
            Stage::AwaitProof(_) => explained::MAIN_MODE_PROOF,
            Stage::Login(_) => "Aggressive Mode's proof",
            _ => "a message",
        }
    }

    /// Who logged in, in words.
    pub fn login(&self) -> Option<String> {
        let (client, user) = self.established()?.login.as_ref()?;
        Some(match client {
            Client::We => format!("as {user}"),
            Client::Peer => format!("{user} (the peer)"),
        })
    }

    /// The algorithms, once it is established.
    pub fn suite(&self) -> Option<&IkeSuite> {
        self.established().map(|state| &state.suite)
    }

    /// When it is to be looked at next.
    pub fn next_timeout(&self, frame: &Frame, core: &Core) -> Option<Time> {
        earliest([self.next_of_stage(frame, core), self.pieces.as_ref().map(|it| it.deadline())])
    }

    fn next_of_stage(&self, frame: &Frame, core: &Core) -> Option<Time> {
        match &self.stage {
            Stage::Login(login) => {
                earliest([login.next_timeout(frame), self.out.as_ref().map(|out| out.deadline())])
            }
            Stage::Configuring(state) => state.next_timeout(frame),
            Stage::Established(state) => state.next_timeout(frame, core),
            Stage::Orphaned(_) => {
                let times = frame.children.iter().map(|child| child.hard.or(child.soft));
                earliest(times)
            }
            Stage::Gone => None,
            _ => {
                let limit = match frame.initiator {
                    true => None,
                    false => Some(frame.created.after(core.settings.half_open)),
                };
                earliest([limit, self.out.as_ref().map(|out| out.deadline())])
            }
        }
    }
}
