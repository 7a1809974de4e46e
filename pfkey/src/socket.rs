//! The socket: one write is one message, one read is one message.
//!
//! It is not reliable. Queues are short (8 KiB on OpenBSD) and what does not fit is lost, silently
//! or with ENOBUFS at the next read; other programs' answers come along; some answers never come.
//! Whoever asks needs a deadline, and after an overflow must dump and compare.

use crate::codec::Packet;
use crate::dialect::{Dialect, openbsd};
use crate::sys;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use zeroize::Zeroizing;

/// Room for the longest message of any kernel.
pub const MESSAGE_MAX: usize = 65536;

/// A PF_KEY socket, or what stands for one.
#[derive(Debug)]
pub struct Socket {
    file: File,
}

impl Socket {
    /// Opens this host's PF_KEY, with large buffers, non-blocking, closed on exec. Needs root;
    /// the descriptor may then be handed to a process that is not.
    ///
    /// # Errors
    /// EACCES or EPERM without root; EAFNOSUPPORT where the kernel has no PF_KEY.
    pub fn open() -> io::Result<Socket> {
        let fd = sys::open()?;
        let wanted = Dialect::native().behaviour.receive_buffer;
        // Kernels differ in what they allow (NetBSD: 200000, not 220000): take the most they do.
        for octets in [wanted, 200_000, 131_072, 65_536] {
            if sys::set_buffer(fd.as_fd(), true, octets).is_ok() {
                break;
            }
        }
        // A send buffer as it is takes a message; larger is only better.
        let _ = sys::set_buffer(fd.as_fd(), false, 65_536);
        Socket::from_fd(fd)
    }

    /// Connects to a SOCK_SEQPACKET socket at `path`, behind which a relay or a scripted kernel
    /// takes and gives one message per record.
    ///
    /// # Errors
    /// Those of socket(2) and connect(2).
    pub fn relay(path: &Path) -> io::Result<Socket> {
        Socket::from_fd(sys::connect(path)?)
    }

    /// Takes over a descriptor that keeps message boundaries, and makes it non-blocking.
    ///
    /// # Errors
    /// Those of fcntl(2).
    pub fn from_fd(fd: OwnedFd) -> io::Result<Socket> {
        sys::set_nonblocking(fd.as_fd())?;
        Ok(Socket { file: File::from(fd) })
    }

    /// Writes one message.
    ///
    /// # Errors
    /// Part of the kernel's judgement comes here and not in an answer: EINVAL, and ENOBUFS which
    /// on NetBSD may mean "done, but the answer is lost"
    /// ([`Behaviour::enobufs_may_be_done`](crate::Behaviour::enobufs_may_be_done)).
    pub fn send(&self, packet: &Packet) -> io::Result<()> {
        let written = retry(|| (&self.file).write(packet))?;
        if written != packet.len() {
            return Err(io::Error::new(io::ErrorKind::WriteZero, "message cut off by the kernel"));
        }
        Ok(())
    }

    /// Reads one message into `buffer`, which should have [`MESSAGE_MAX`] octets: what does not
    /// fit is lost. `None`: nothing is there now.
    ///
    /// # Errors
    /// ENOBUFS: messages were lost, dump and compare. UnexpectedEof: the relay is gone.
    pub fn recv<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
        match retry(|| (&self.file).read(buffer)) {
            Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            Ok(len) => Ok(buffer.get(..len)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// What [`dump`] is to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dump {
    /// Security associations.
    Sas,
    /// Flows.
    Flows,
}

/// Everything that OpenBSD's kernel holds, by sysctl(2): messages one behind the other, to be cut
/// by [`message::split`](crate::message::split) and then understood as answers to DUMP. Needs
/// root, and no pledge(2). Elsewhere ask with [`Request::Dump`](crate::Request::Dump).
///
/// # Errors
/// Unsupported where the kernel does not tell it this way.
pub fn dump(what: Dump) -> io::Result<Zeroizing<Vec<u8>>> {
    let what = match what {
        Dump::Sas => openbsd::SYSCTL_SADB_DUMP,
        Dump::Flows => openbsd::SYSCTL_SPD_DUMP,
    };
    sys::sysctl(what, 0).map(Zeroizing::new)
}

fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> OwnedFd {
        socket.file.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Protocol, Request};
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn one_write_is_one_message() {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let socket = Socket::from_fd(OwnedFd::from(ours)).unwrap();
        let mut buffer = vec![0; MESSAGE_MAX];
        assert!(socket.recv(&mut buffer).unwrap().is_none());
        let request = Request::Register(Protocol::Esp);
        let packets = Dialect::native().compose(&request, 1, 2).unwrap();
        socket.send(&packets[0]).unwrap();
        let mut seen = [0; 64];
        assert_eq!(theirs.recv(&mut seen).unwrap(), 16);
        theirs.send(&seen[..16]).unwrap();
        theirs.send(&seen[..16]).unwrap();
        assert_eq!(socket.recv(&mut buffer).unwrap(), Some(&seen[..16]));
        assert_eq!(socket.recv(&mut buffer).unwrap(), Some(&seen[..16]));
        assert!(socket.recv(&mut buffer).unwrap().is_none());
    }
}
