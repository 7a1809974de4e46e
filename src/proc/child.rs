//! The frame of every child: privileges, link to the parent, loop.

use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use mio::Token;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::imsg::{self, Link};
use super::message::{Down, Up};
use super::poll::{BATCH, Loop};
use super::{Role, sandbox};
use crate::log::{Detail, Log};
use crate::sys;

/// The parent's link in every child's loop.
const PARENT: Token = Token(0);

/// What every child has.
pub struct Child {
    /// Who waits for what; token 0 is taken.
    pub events: Loop,
    /// The way to the parent.
    pub parent: Link<Up, Down>,
    /// Lines for the parent.
    pub log: Log,
}

/// Why a child ends.
#[derive(Debug)]
pub enum Fault {
    /// The link to the parent broke or was closed.
    Parent(imsg::Error),
    /// The system refused something that is needed.
    Io(io::Error),
    /// The parent said something that this child has no use for.
    Unexpected(String),
    /// A mistake in the program; its place and reason.
    Panic(String),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Parent(error) => write!(f, "link to the parent: {error}"),
            Self::Io(error) => write!(f, "{error}"),
            Self::Unexpected(what) => write!(f, "the parent sent {what}"),
            Self::Panic(words) => write!(f, "{words}"),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What a role does with what comes to it.
pub trait Part {
    /// A message from the parent.
    fn down(
        &mut self,
        child: &mut Child,
        message: Down,
        descriptor: Option<OwnedFd>,
    ) -> Result<(), Fault>;

    /// The wait has ended at this time, and what follows until the next is done at it.
    fn woke(&mut self, at: Instant) {
        let _ = at;
    }

    /// One of its own sources is ready.
    fn ready(&mut self, child: &mut Child, token: Token) -> Result<(), Fault>;

    /// When [`Part::turn`] is wanted even if nothing comes.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Everybody who was ready had his turn.
    fn turn(&mut self, child: &mut Child) -> Result<(), Fault> {
        let _ = child;
        Ok(())
    }
}

/// Runs a child until the parent closes the link; that is how it is told to end.
pub fn run(role: Role, user: &str, root: &Path, part: &mut dyn Part) -> Result<(), Fault> {
    sys::set_title(role.name());
    // A signal to the whole group is for the parent, who says what follows from it.
    sys::ignore_signals(&[libc::SIGHUP, libc::SIGINT, libc::SIGTERM])?;
    let link = sys::take_stdin()?;
    // The library reads its own files and seeds its generator while it can.
    openssl::init();
    openssl::rand::rand_bytes(&mut [0; 32]).map_err(io::Error::other)?;
    sandbox::drop_privileges(user, root)?;
    let mut child =
        Child { events: Loop::new()?, parent: Link::new(link)?, log: Log::parent(Detail::Brief) };
    child.events.watch(&child.parent, PARENT)?;
    sandbox::enter(role)?;
    keep_last_words();
    let turned = catch_unwind(AssertUnwindSafe(|| turns(&mut child, part)));
    let outcome = turned.unwrap_or_else(|_| Err(Fault::Panic(last_words())));
    if let Err(Fault::Parent(imsg::Error::Closed)) = outcome {
        return Ok(());
    }
    // In the background nobody sees standard error; what cannot be sent cannot be helped.
    if let Err(fault) = &outcome {
        child.log.error(fault.to_string());
        let lines = child.log.take();
        let _ = lines.into_iter().try_for_each(|line| child.parent.send(&Up::Log(line)));
    }
    outcome
}

/// What the panic said.
static LAST_WORDS: Mutex<String> = Mutex::new(String::new());

fn keep_last_words() {
    std::panic::set_hook(Box::new(|info| {
        if let Ok(mut words) = LAST_WORDS.lock() {
            *words = info.to_string();
        }
    }));
}

fn last_words() -> String {
    LAST_WORDS.lock().map(|words| words.clone()).unwrap_or_default()
}

/// The loop.
fn turns(child: &mut Child, part: &mut dyn Part) -> Result<(), Fault> {
    loop {
        for line in child.log.take() {
            child.parent.send(&Up::Log(line)).map_err(Fault::Parent)?;
        }
        let ready = child.events.turn(part.deadline())?;
        part.woke(child.events.woke());
        for token in ready {
            if token != PARENT {
                part.ready(child, token)?;
                continue;
            }
            let (messages, end) = batch(&mut child.parent, &mut child.events, PARENT);
            for (message, descriptor) in messages {
                match message {
                    Down::Detail(detail) => child.log.set_detail(detail),
                    other => part.down(child, other, descriptor)?,
                }
            }
            end.map_err(Fault::Parent)?;
        }
        part.turn(child)?;
    }
}

impl Child {
    /// A link to a sibling ended. A broken one is reported: the parent starts the sibling again.
    pub fn lost(&mut self, sibling: Role, error: &imsg::Error) -> Result<(), Fault> {
        if let imsg::Error::Closed = error {
            self.log.debug(format!("{sibling} closed its link"));
            return Ok(());
        }
        let message = Up::Broken(sibling, error.to_string());
        self.parent.send(&message).map_err(Fault::Parent)
    }
}

/// Messages with the descriptors that came along.
type Messages<R> = Vec<(R, Option<OwnedFd>)>;

/// Sends what waits and takes what came, not too much at once; then how the link is.
pub fn batch<S: Serialize, R: DeserializeOwned>(
    link: &mut Link<S, R>,
    events: &mut Loop,
    token: Token,
) -> (Messages<R>, Result<(), imsg::Error>) {
    let mut messages = Vec::new();
    if let Err(error) = link.flush()
        && !matches!(error, imsg::Error::Closed)
    {
        return (messages, Err(error));
    }
    while messages.len() < BATCH {
        match link.recv() {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return (messages, Ok(())),
            Err(error) => return (messages, Err(error)),
        }
    }
    events.again(token);
    (messages, Ok(()))
}

/// The descriptor that a message must have.
pub fn claimed(descriptor: Option<OwnedFd>, what: &str) -> Result<OwnedFd, Fault> {
    descriptor.ok_or_else(|| Fault::Unexpected(format!("{what} without descriptor")))
}
