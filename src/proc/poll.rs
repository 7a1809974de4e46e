//! The loop that all processes share: wait, then say who is ready.
//!
//! mio tells of a change once. So whoever has not read all there was asks to be told [`Loop::again`],
//! and is, after the others had their turn. Everything is watched for reading and writing, as being
//! writable is told only when a full socket has drained.

use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

/// How many messages of one source are handled before the others have their turn.
pub const BATCH: usize = 64;

/// What waits and tells.
pub struct Loop {
    poll: Poll,
    events: Events,
    again: Vec<Token>,
    woke: Instant,
}

impl Loop {
    /// A loop that watches nothing yet.
    pub fn new() -> io::Result<Self> {
        let (poll, events) = (Poll::new()?, Events::with_capacity(64));
        Ok(Self { poll, events, again: Vec::new(), woke: Instant::now() })
    }

    /// Watches a descriptor; it must be taken off by [`Loop::forget`] before it is closed, as the
    /// kernel watches what is behind it, which another process may hold too.
    pub fn watch(&mut self, source: &impl AsRawFd, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut SourceFd(&source.as_raw_fd()), token, interest)?;
        self.again(token);
        Ok(())
    }

    /// Watches a descriptor no more.
    pub fn forget(&mut self, source: &impl AsRawFd) {
        // It fails only for what is not watched, which is what is wanted.
        let _ = self.poll.registry().deregister(&mut SourceFd(&source.as_raw_fd()));
    }

    /// This source may have more: tell again without waiting.
    pub fn again(&mut self, token: Token) {
        if !self.again.contains(&token) {
            self.again.push(token);
        }
    }

    /// When the last wait ended. Whatever is done until the next one is done at this time: the clock is
    /// read once for all of it.
    pub fn woke(&self) -> Instant {
        self.woke
    }

    /// Waits until somebody is ready or the time has come; gives who is ready.
    pub fn turn(&mut self, until: Option<Instant>) -> io::Result<Vec<Token>> {
        let wait = match until {
            _ if !self.again.is_empty() => Some(Duration::ZERO),
            // One millisecond more, as epoll counts those and would wake too early.
            Some(until) => match until.saturating_duration_since(Instant::now()) {
                Duration::ZERO => Some(Duration::ZERO),
                wait => Some(wait + Duration::from_millis(1)),
            },
            None => None,
        };
        match self.poll.poll(&mut self.events, wait) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => (),
        }
        self.woke = Instant::now();
        let mut ready: Vec<Token> = std::mem::take(&mut self.again);
        for event in &self.events {
            if !ready.contains(&event.token()) {
                ready.push(event.token());
            }
        }
        Ok(ready)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    const A: Token = Token(1);

    #[test]
    fn who_asks_again_is_told_again_without_waiting() {
        let mut events = Loop::new().unwrap();
        let (mut near, mut far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        events.watch(&near, A).unwrap();
        while !events.turn(Some(Instant::now())).unwrap().is_empty() {}
        far.write_all(b"two").unwrap();
        assert_eq!(events.turn(None).unwrap(), [A]);
        near.read_exact(&mut [0]).unwrap();
        events.again(A);
        events.again(A);
        assert_eq!(events.turn(None).unwrap(), [A]);
        events.forget(&near);
        far.write_all(b"more").unwrap();
        assert!(events.turn(Some(Instant::now())).unwrap().is_empty());
    }

    #[test]
    fn the_time_ends_the_wait_and_not_before() {
        let mut events = Loop::new().unwrap();
        let until = Instant::now() + Duration::from_millis(30);
        assert!(events.turn(Some(until)).unwrap().is_empty());
        assert!(Instant::now() >= until);
    }
}
