//! The `ca` workers as `ike` sees them: their links, and what is asked of them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::os::fd::OwnedFd;

use mio::Token;

use super::Role;
use super::board::Board;
use super::child::{Child, Fault, batch};
use super::imsg::{self, Link};
use super::message::{AskCa, CaTells};
use crate::conf::MOST_WORKERS;
use crate::ike::Engine;
use crate::ike::auth::{Answer, Question, QuestionId, Trust};
use crate::pki::CertView;

/// The first worker's link; the others follow.
const FIRST: usize = 5;

/// The tokens of the links.
pub const TOKENS: Range<usize> = FIRST..FIRST + MOST_WORKERS as usize;

/// What a worker tells of what it holds. All hold the same.
#[derive(Default)]
pub struct Known {
    /// Whom it trusts.
    pub trust: Trust,
    /// What people can look at.
    pub certs: Vec<CertView>,
}

/// What came from a worker.
pub enum Heard {
    /// The answer to a question.
    Answer(QuestionId, Answer),
    /// All that it holds.
    Known(Known),
}

struct Worker {
    link: Link<AskCa, CaTells>,
    knowing: Known,
}

/// All workers, and what is asked of them.
#[derive(Default)]
pub struct Workers {
    workers: BTreeMap<u8, Worker>,
    board: Board,
}

fn token(number: u8) -> Token {
    Token(FIRST + usize::from(number))
}

impl Workers {
    /// A link to a worker, in place of an earlier one. Questions that could not be asked again.
    ///
    /// # Errors
    ///
    /// A link that cannot be had.
    pub fn meet(
        &mut self,
        child: &mut Child,
        number: u8,
        fd: OwnedFd,
    ) -> Result<Vec<Heard>, Fault> {
        let refused = self.forget(child, number);
        let link = Link::new(fd)?;
        child.events.watch(&link, token(number))?;
        self.workers.insert(number, Worker { link, knowing: Known::default() });
        self.board.come(number);
        Ok(refused)
    }

    /// A worker is gone: others get what it had.
    fn forget(&mut self, child: &mut Child, number: u8) -> Vec<Heard> {
        let Some(worker) = self.workers.remove(&number) else { return Vec::new() };
        child.events.forget(&worker.link);
        let why = "each ca process that was asked died";
        let given_up = self.board.gone(number).into_iter();
        given_up.map(|id| Heard::Answer(id, Answer::Refused(why.into()))).collect()
    }

    /// What the worker behind a link says.
    ///
    /// # Errors
    ///
    /// When the parent cannot be told of a broken link.
    pub fn hear(&mut self, child: &mut Child, at: Token) -> Result<Vec<Heard>, Fault> {
        let found = self.workers.iter_mut().find(|(number, _)| token(**number) == at);
        let Some((&number, worker)) = found else { return Ok(Vec::new()) };
        let (messages, end) = batch(&mut worker.link, &mut child.events, at);
        let mut heard = Vec::new();
        for (told, _) in messages {
            match told {
                // An answer to what was not asked, or was answered before, is of no use.
                CaTells::Answer(id, answer) => {
                    if self.board.answered(number, id) {
                        heard.push(Heard::Answer(id, answer));
                    }
                }
                CaTells::Begin => worker.knowing = Known::default(),
                CaTells::Authorities(some) => worker.knowing.trust.authorities.extend(some),
                CaTells::Cert(view) => worker.knowing.certs.push(*view),
                CaTells::Known { raw_keys, ocsp } => {
                    worker.knowing.trust.raw_keys = raw_keys;
                    worker.knowing.trust.ocsp = ocsp;
                    heard.push(Heard::Known(std::mem::take(&mut worker.knowing)));
                }
            }
        }
        if let Err(error) = end {
            heard.extend(self.forget(child, number));
            child.lost(Role::Ca(number), &error)?;
        }
        Ok(heard)
    }

    /// Another question; an answer where there is no room for it.
    pub fn ask(
        &mut self,
        engine: &mut Engine,
        id: QuestionId,
        question: Question,
    ) -> Option<Heard> {
        let refused = |why: String| Some(Heard::Answer(id, Answer::Refused(why)));
        let octets = match imsg::length(&question) {
            Ok(octets) => octets,
            Err(error) => return refused(error.to_string()),
        };
        if self.board.is_full(octets) {
            self.board.retain(|id| engine.asker(id).is_some());
        }
        // Who asked may be gone already.
        let sa = engine.asker(id)?;
        if self.board.is_full(octets) {
            return refused("too many questions wait for the ca process".into());
        }
        self.board.add(id, sa, question, octets);
        None
    }

    /// Gives the workers what they can take. What cannot be given is answered.
    pub fn give(&mut self, engine: &mut Engine) -> Vec<Heard> {
        let mut refused = Vec::new();
        while let Some((number, id, question)) = self.board.next(|id| engine.asker(id).is_some()) {
            let Some(worker) = self.workers.get_mut(&number) else { continue };
            // If the link broke, reading it will tell, and the question is asked again.
            let sent = worker.link.send(&(id, question.clone()));
            if let Err(error @ (imsg::Error::QueueFull | imsg::Error::TooLong { .. })) = sent {
                self.board.answered(number, id);
                refused.push(Heard::Answer(id, Answer::Refused(error.to_string())));
            }
        }
        refused
    }
}
