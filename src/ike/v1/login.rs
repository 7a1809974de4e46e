//! Between phase 1 and phase 2: the user logs in (XAUTH). Until then the ISAKMP SA carries no Quick Mode, and
//! nobody else takes note of it.
//!
//! ```text
//! gateway                                          client
//! AwaitCredentials  -- REQUEST  name, password -->   AwaitGateway
//! AwaitJudgement (ca)  <-- REPLY name, password --   AwaitPassword (ca)
//! AwaitAck             -- SET status -->             AwaitGateway
//!                      <-- ACK --
//! ```
//!
//! Who tries too often waits before the question is asked: see [`crate::ike::guesses`].
//!
//! What is wrong with a login is told to our own operator; the peer only learns that it failed.

use std::time::Duration;

use super::configure::Configuring;
use super::established::Established;
use super::message;
use super::method::Client;
use super::phase1::fail;
use super::state::{Next, Stage};
use super::transaction::Told;
use super::xauth;
use crate::conf::{Xauth, counted};
use crate::crypto::Secret;
use crate::ike::auth::{Answer, Question, QuestionId};
use crate::ike::core::Core;
use crate::ike::event::Time;
use crate::ike::frame::Frame;
use crate::ike::guesses;
use crate::ike::report::Event;
use crate::ike::timer::earliest;
use crate::wire::iana::v1::{ConfigType, ExchangeType};
use crate::wire::v1::Attributes;
use crate::wire::{Header, MessageId};

/// How long a login may take: at the other end a person may have to type.
const LONGEST: Duration = Duration::from_secs(120);

/// How long the peer may take to acknowledge that it is refused.
const FAREWELL: Duration = Duration::from_secs(10);

/// How often a user may try, and how often we answer a gateway that asks again.
const MOST_TRIES: u8 = 3;

const REFUSED: &str = "it was refused";
const WRONG: &str = "the gateway says that the name or the password is wrong";

/// An ISAKMP SA whose user is logging in.
#[derive(Debug)]
pub struct Login {
    /// What it is to become.
    pub(super) sa: Box<Established>,
    step: Awaits,
    tries: u8,
    until: Time,
}

/// What it awaits.
#[derive(Debug)]
enum Awaits {
    /// The peer is asked for its name and password.
    Credentials,
    /// They came, and are not judged before then: there were too many tries.
    Turn { said: xauth::Credentials, at: Time },
    /// The holder of the secrets is asked about them.
    Judgement { question: QuestionId, user: String },
    /// The peer is told how it went; who logged in, if it went well.
    Ack { user: Option<String> },
    /// The gateway is to ask us, or to say how it went.
    Gateway,
    /// The holder of the secrets is asked for our password.
    Password { question: QuestionId, id: MessageId, request: Attributes },
}

impl Awaits {
    fn word(&self) -> &'static str {
        match self {
            Self::Credentials => "awaiting the user's name and password",
            Self::Turn { .. } => "awaiting the next try, after too many wrong ones",
            Self::Judgement { .. } => "awaiting verdict on the login",
            Self::Ack { .. } => "awaiting acknowledgement of the login",
            Self::Gateway | Self::Password { .. } => "awaiting the gateway's login",
        }
    }

    /// Whether it is the peer who logs in.
    fn is_gateways(&self) -> bool {
        !matches!(self, Self::Gateway | Self::Password { .. })
    }
}

/// What a step of a login comes to.
enum Turn {
    /// It goes on.
    Stay(Awaits),
    /// Somebody is logged in.
    Passed(Client, String),
    /// It failed: why.
    Failed(Event),
}

impl Login {
    /// Phase 1 is done, and by its method this side is to log in.
    pub fn begin(
        frame: &mut Frame,
        core: &mut Core,
        sa: Box<Established>,
        client: Client,
    ) -> Stage {
        let until = core.now.after(LONGEST);
        let mut login = Self { sa, step: Awaits::Gateway, tries: 0, until };
        if client == Client::Peer {
            login.request(frame, core);
        }
        Stage::Login(Box::new(login))
    }

    /// The state in a word.
    pub fn word(&self) -> &'static str {
        self.step.word()
    }

    /// When it is to be looked at next.
    pub fn next_timeout(&self, frame: &Frame) -> Option<Time> {
        let turn = match self.step {
            Awaits::Turn { at, .. } => Some(at),
            _ => None,
        };
        earliest([Some(self.until), turn, self.sa.next_transaction(frame)])
    }

    /// What the holder of the secrets is asked.
    pub fn question(&self) -> Option<QuestionId> {
        match self.step {
            Awaits::Judgement { question, .. } | Awaits::Password { question, .. } => {
                Some(question)
            }
            _ => None,
        }
    }

    /// Whether the gateway is to begin.
    pub fn waits_for_gateway(&self) -> bool {
        matches!(self.step, Awaits::Gateway)
    }

    fn request(&mut self, frame: &mut Frame, core: &mut Core) {
        self.tries += 1;
        self.step = Awaits::Credentials;
        let request = xauth::request(self.sa.transactions.identifier());
        self.sa.ask(frame, core, request);
    }

    /// Goes on as a step has it.
    fn go_on(mut self: Box<Self>, frame: &mut Frame, core: &mut Core, turn: Turn) -> Next {
        match turn {
            Turn::Stay(step) => {
                self.step = step;
                Next::same(Stage::Login(self))
            }
            Turn::Passed(client, user) => {
                let peer = client == Client::Peer;
                frame.report(core, Event::LoggedIn { user: user.clone(), peer });
                let mut sa = self.sa;
                sa.login = Some((client, user));
                Configuring::begin(frame, core, sa).into()
            }
            Turn::Failed(event) => {
                self.sa.send_delete_ike(frame, core);
                fail(frame, core, event)
            }
        }
    }

    /// A message of phase 2 came.
    pub fn receive(
        mut self: Box<Self>,
        frame: &mut Frame,
        core: &mut Core,
        header: &Header,
        datagram: &[u8],
    ) -> Next {
        let exchange = header.exchange_v1();
        if !message::is_encrypted(header) {
            let why = format!("{exchange} in clear within an ISAKMP SA");
            frame.report(core, Event::Dropped { why });
            return Next::same(Stage::Login(self));
        }
        match exchange {
            ExchangeType::TRANSACTION => {
                let told = self.sa.transaction(frame, core, header, datagram);
                let step = std::mem::replace(&mut self.step, Awaits::Gateway);
                let turn = match told {
                    None => Turn::Stay(step),
                    Some(Told::Answer(answer)) => self.answered(frame, core, step, answer),
                    Some(Told::Asked(id, asked)) => self.asked(frame, core, step, id, asked),
                };
                self.go_on(frame, core, turn)
            }
            ExchangeType::INFORMATIONAL => {
                self.sa.inform(frame, core, header, datagram);
                match self.sa.deleted {
                    true => fail(frame, core, failed("", "the peer deleted the ISAKMP SA")),
                    false => Next::same(Stage::Login(self)),
                }
            }
            _ => {
                let why = format!("{exchange} while {}", self.word());
                frame.report(core, Event::Dropped { why });
                Next::same(Stage::Login(self))
            }
        }
    }

    /// The peer answered what we sent.
    fn answered(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        step: Awaits,
        mut answer: Attributes,
    ) -> Turn {
        match step {
            Awaits::Credentials => {
                let said = xauth::credentials(&answer);
                xauth::wipe(&mut answer);
                match said {
                    Ok(said) => Turn::Stay(judge(frame, core, said)),
                    Err(why) => self.refuse(frame, core, String::new(), why),
                }
            }
            Awaits::Ack { user: Some(user) } => Turn::Passed(Client::Peer, user),
            Awaits::Ack { user: None } => Turn::Failed(failed("", REFUSED)),
            other => Turn::Stay(other),
        }
    }

    /// The gateway asks us, or says how it went.
    fn asked(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        step: Awaits,
        id: MessageId,
        asked: Attributes,
    ) -> Turn {
        let (Awaits::Gateway, Some(Xauth::As(user))) = (&step, &frame.policy.ike1.xauth) else {
            let what = format!("{} while {}", asked.config_type, step.word());
            frame.report(core, Event::Misbehaved { what });
            return Turn::Stay(step);
        };
        let user = user.clone();
        if asked.config_type == ConfigType::SET {
            return match xauth::status(&asked) {
                Some(passed) => {
                    self.sa.answer(frame, core, id, xauth::acknowledgement(&asked));
                    match passed {
                        true => Turn::Passed(Client::We, user),
                        false => Turn::Failed(failed(user, WRONG)),
                    }
                }
                None => Turn::Stay(step),
            };
        }
        if !xauth::is_meant(&asked) {
            return Turn::Stay(step);
        }
        self.tries += 1;
        if self.tries > MOST_TRIES {
            self.sa.answer(frame, core, id, xauth::refusal(&asked));
            let why = format!("the gateway asked {MOST_TRIES} times and took no answer");
            return Turn::Failed(failed(user, why));
        }
        let question = core.ask(frame.id, Question::Password { user });
        Turn::Stay(Awaits::Password { question, id, request: asked })
    }

    /// The holder of the secrets answered.
    pub fn answer(mut self: Box<Self>, frame: &mut Frame, core: &mut Core, answer: Answer) -> Next {
        let step = std::mem::replace(&mut self.step, Awaits::Gateway);
        let turn = match step {
            Awaits::Judgement { user, .. } => match answer {
                Answer::Verified => {
                    core.guesses.succeeded(core.now, &user, frame.remote.ip());
                    self.tell(frame, core, true);
                    Turn::Stay(Awaits::Ack { user: Some(user) })
                }
                Answer::Wrong => {
                    let why = "the name or the password is wrong".into();
                    self.refuse(frame, core, user, why)
                }
                Answer::Refused(why) => self.refuse(frame, core, user, why),
                _ => self.refuse(frame, core, user, "an answer to another question".into()),
            },
            Awaits::Password { id, request, .. } => match answer {
                Answer::Password(password) => self.reply(frame, core, id, &request, password),
                other => {
                    self.sa.answer(frame, core, id, xauth::refusal(&request));
                    let why = match other {
                        Answer::Refused(why) => why,
                        _ => "an answer to another question".into(),
                    };
                    Turn::Failed(failed(own_name(frame), why))
                }
            },
            other => Turn::Stay(other),
        };
        self.go_on(frame, core, turn)
    }

    /// Our name and password go to the gateway.
    fn reply(
        &mut self,
        frame: &mut Frame,
        core: &mut Core,
        id: MessageId,
        request: &Attributes,
        password: Secret,
    ) -> Turn {
        let ours = xauth::Credentials { name: own_name(frame), password };
        match xauth::reply(request, &ours) {
            Ok(reply) => {
                self.sa.answer(frame, core, id, reply);
                Turn::Stay(Awaits::Gateway)
            }
            Err(why) => {
                self.sa.answer(frame, core, id, xauth::refusal(request));
                Turn::Failed(failed(ours.name, why))
            }
        }
    }

    /// A login that failed: the user may try again, or is told that it is over.
    fn refuse(&mut self, frame: &mut Frame, core: &mut Core, user: String, why: String) -> Turn {
        let why = format!("{why} (try {} of {MOST_TRIES})", self.tries);
        let event = failed(user, why);
        frame.report(core, event);
        if self.tries < MOST_TRIES {
            self.request(frame, core);
            return Turn::Stay(Awaits::Credentials);
        }
        self.until = core.now.after(FAREWELL);
        self.tell(frame, core, false);
        Turn::Stay(Awaits::Ack { user: None })
    }

    /// Tells the peer how it went.
    fn tell(&mut self, frame: &mut Frame, core: &mut Core, passed: bool) {
        let verdict = xauth::verdict(self.sa.transactions.identifier(), passed);
        self.sa.ask(frame, core, verdict);
    }

    /// Time has passed.
    pub fn timeout(mut self: Box<Self>, frame: &mut Frame, core: &mut Core) -> Next {
        self.sa.keep_mapping(frame, core);
        let silent = self.sa.check_transaction(frame, core);
        if silent.is_none() && self.until > core.now {
            self.step = match self.step {
                Awaits::Turn { said, at } if at <= core.now => judge(frame, core, said),
                step => step,
            };
            return Next::same(Stage::Login(self));
        }
        let why = match (silent, &self.step) {
            (Some(sent), _) => format!("no answer, asked {}", counted(sent, "time", "times")),
            (None, Awaits::Gateway) if self.tries == 0 => {
                "the gateway did not ask for a name and a password".into()
            }
            (None, Awaits::Gateway) => "the gateway did not say how it went".into(),
            (None, Awaits::Ack { user: None }) => REFUSED.into(),
            _ => format!("it took longer than {} s", LONGEST.as_secs()),
        };
        let user = if self.step.is_gateways() { String::new() } else { own_name(frame) };
        let event = failed(user, why);
        self.sa.send_delete_ike(frame, core);
        fail(frame, core, event)
    }
}

/// The holder of the secrets is asked about a name and a password, now or when there is a try for them.
fn judge(frame: &Frame, core: &mut Core, said: xauth::Credentials) -> Awaits {
    let address = frame.remote.ip();
    match core.guesses.ask(core.now, &said.name, address) {
        guesses::Turn::Now => {
            let xauth::Credentials { name: user, password } = said;
            let question = Question::Login { user: user.clone(), password };
            Awaits::Judgement { question: core.ask(frame.id, question), user }
        }
        guesses::Turn::Later(at, new) => {
            if new {
                let user = said.name.clone();
                frame.report(core, Event::TooManyTries { user, address });
            }
            Awaits::Turn { said, at }
        }
    }
}

/// That a login failed; the name of the user may not be known.
fn failed(user: impl Into<String>, why: impl Into<String>) -> Event {
    Event::LoginFailed { user: user.into(), why: why.into() }
}

/// The name under which we log in.
fn own_name(frame: &Frame) -> String {
    match &frame.policy.ike1.xauth {
        Some(Xauth::As(user)) => user.clone(),
        _ => String::new(),
    }
}
