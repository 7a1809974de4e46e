//! The road to a real kernel: a PF_KEY socket and a dialect.

use std::os::fd::{AsFd, BorrowedFd};

use pfkey::socket::MESSAGE_MAX;
use pfkey::{Behaviour, Dialect, Incoming, Request, Socket};

use super::{Link, Refusal};

/// A PF_KEY socket, opened by the parent, and the dialect spoken over it.
pub struct PfKey {
    socket: Socket,
    dialect: &'static Dialect,
    pid: u32,
    buffer: Box<[u8]>,
    closed: bool,
}

impl PfKey {
    /// A road over this socket. Answers are told by this process's id, which OpenBSD insists on.
    pub fn new(socket: Socket, dialect: &'static Dialect) -> Self {
        let buffer = vec![0; MESSAGE_MAX].into_boxed_slice();
        Self { socket, dialect, pid: std::process::id(), buffer, closed: false }
    }
}

impl AsFd for PfKey {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Link for PfKey {
    fn ask(&mut self, seq: u32, request: &Request) -> Result<u32, Refusal> {
        let packets = self
            .dialect
            .compose(request, seq, self.pid)
            .map_err(|error| Refusal { errno: None, reason: error.to_string() })?;
        let mut sent = 0;
        for packet in &packets {
            self.socket.send(packet).map_err(|error| Refusal {
                errno: error.raw_os_error(),
                reason: error.to_string(),
            })?;
            sent += 1;
        }
        Ok(sent)
    }

    fn next(&mut self) -> Option<Result<Incoming, String>> {
        match self.socket.recv(&mut self.buffer) {
            Ok(octets) => Some(self.dialect.interpret(octets?).map_err(|error| error.to_string())),
            // The queue overflowed. Answers that are missing are asked for at their deadlines, and
            // the engine's own timers stand behind every EXPIRE.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                Some(Err("the kernel's messages came faster than they were read".into()))
            }
            Err(_) => {
                self.closed = true;
                None
            }
        }
    }

    fn is_closed(&self) -> bool {
        self.closed
    }

    fn pid(&self) -> u32 {
        self.pid
    }

    fn behaviour(&self) -> &Behaviour {
        &self.dialect.behaviour
    }
}
