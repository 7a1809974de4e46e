//! Typed messages between two processes, over a stream socket.
//!
//! ```text
//!  0               4       5                     5 + length
//!  | length (u32)  | flags | postcard of the message |
//! ```
//!
//! A frame's descriptor is attached to its first octet, so it arrives with the frame or before the
//! rest of it; a frame says by its flag whether it claims one. Lengths and queues are bounded. Any
//! error means that the other side is broken or hostile: the link is not to be used again.

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::{Zeroize, Zeroizing};

use crate::sys;

/// The longest message: a UDP datagram of 65,535 octets with its addresses has room.
pub const MAX_LENGTH: usize = 68 * 1024;
/// How many octets may wait to be sent, unless [`Link::limit_queued`] says otherwise.
pub const MAX_QUEUED: usize = 4 * 1024 * 1024;
/// How many descriptors may have come whose frames have not been taken yet.
const MAX_DESCRIPTORS: usize = 32;
/// Octets before the message.
const HEADER: usize = 5;
/// The flag of a frame that claims a descriptor.
const WITH_DESCRIPTOR: u8 = 1;

/// Why a link cannot be used any more.
#[derive(Debug)]
pub enum Error {
    /// The other side closed it.
    Closed,
    /// The system refused.
    Io(io::Error),
    /// A frame says that it is longer than allowed.
    TooLong {
        /// What it says, or what was to be sent.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A frame has flags that mean nothing.
    UnknownFlags(u8),
    /// A message does not decode as its type.
    Undecodable(postcard::Error),
    /// Octets are left over behind a message.
    TrailingOctets(usize),
    /// A frame claims a descriptor, none came.
    NoDescriptor,
    /// A descriptor came that no frame claims.
    StrayDescriptor,
    /// The other side does not read: too much waits for it.
    QueueFull,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => write!(f, "the other side closed the link"),
            Self::Io(error) => write!(f, "{error}"),
            Self::TooLong { length, limit } => {
                write!(f, "a message of {length} octets, more than the {limit} allowed")
            }
            Self::UnknownFlags(flags) => write!(f, "a frame with unknown flags {flags:#04x}"),
            Self::Undecodable(error) => write!(f, "a message that does not decode: {error}"),
            Self::TrailingOctets(count) => write!(f, "{count} octets left over behind a message"),
            Self::NoDescriptor => write!(f, "a message claims a descriptor that did not come"),
            Self::StrayDescriptor => write!(f, "a descriptor came that no message claims"),
            Self::QueueFull => write!(f, "the other side does not read its messages"),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

/// A frame that waits to be sent; wiped afterwards, for it may hold a secret.
struct Frame {
    octets: Zeroizing<Vec<u8>>,
    descriptor: Option<OwnedFd>,
}

/// One end of a link: `S` is sent, `R` is received. Never waits.
pub struct Link<S, R> {
    socket: UnixStream,
    limit_out: usize,
    limit_in: usize,
    limit_queued: usize,
    queue: VecDeque<Frame>,
    queued: usize,
    /// Octets of the first frame in the queue that have gone already.
    sent: usize,
    /// Octets received; those before `taken` have been decoded.
    buffer: Zeroizing<Vec<u8>>,
    taken: usize,
    descriptors: VecDeque<OwnedFd>,
    ended: bool,
    types: PhantomData<fn(S) -> R>,
}

/// Two connected ends, to be handed to two processes.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (a, b) = UnixStream::pair()?;
    Ok((a.into(), b.into()))
}

impl<S: Serialize, R: DeserializeOwned> Link<S, R> {
    /// A link over a connected stream socket.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        Self::with_limit(socket, MAX_LENGTH)
    }

    /// A link whose messages may not be longer than `limit` octets.
    pub fn with_limit(socket: OwnedFd, limit: usize) -> io::Result<Self> {
        let socket = UnixStream::from(socket);
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            limit_out: limit,
            limit_in: limit,
            limit_queued: MAX_QUEUED,
            queue: VecDeque::new(),
            queued: 0,
            sent: 0,
            buffer: Zeroizing::new(Vec::with_capacity(4096)),
            taken: 0,
            descriptors: VecDeque::new(),
            ended: false,
            types: PhantomData,
        })
    }

    /// From now on takes only messages of at most so many octets.
    pub fn limit_received(&mut self, limit: usize) {
        self.limit_in = limit;
    }

    /// From now on lets so many octets wait to be sent.
    pub fn limit_queued(&mut self, limit: usize) {
        self.limit_queued = limit;
    }

    /// Queues a message and sends what can be sent now.
    pub fn send(&mut self, message: &S) -> Result<(), Error> {
        self.enqueue(message, None)
    }

    /// The same, with a descriptor that goes to the other side.
    pub fn send_with(&mut self, message: &S, descriptor: OwnedFd) -> Result<(), Error> {
        self.enqueue(message, Some(descriptor))
    }

    fn enqueue(&mut self, message: &S, descriptor: Option<OwnedFd>) -> Result<(), Error> {
        let octets = encode(message, descriptor.is_some(), self.limit_out)?;
        if self.queued + octets.len() > self.limit_queued {
            return Err(Error::QueueFull);
        }
        self.queued += octets.len();
        self.queue.push_back(Frame { octets, descriptor });
        self.flush()
    }

    /// Sends what can be sent now.
    pub fn flush(&mut self) -> Result<(), Error> {
        while let Some(frame) = self.queue.front() {
            let rest = &frame.octets[self.sent..];
            let result = match &frame.descriptor {
                Some(fd) if self.sent == 0 => {
                    sys::send_descriptor(self.socket.as_fd(), rest, fd.as_fd())
                }
                _ => sys::send(self.socket.as_fd(), &[rest], None, None),
            };
            match result {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // Some systems say so when the other side's buffer is full.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            if self.sent == frame.octets.len() {
                self.queued -= self.sent;
                self.sent = 0;
                self.queue.pop_front();
            }
        }
        Ok(())
    }

    /// How many octets wait to be sent.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// The next message with its descriptor; `None` if there is none yet.
    pub fn recv(&mut self) -> Result<Option<(R, Option<OwnedFd>)>, Error> {
        loop {
            if let Some(message) = self.decode()? {
                return Ok(Some(message));
            }
            if self.ended {
                return Err(Error::Closed);
            }
            match self.fill() {
                Ok(0) => self.ended = true,
                Ok(_) => (),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(None);
                }
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads once from the socket.
    fn fill(&mut self) -> Result<usize, Error> {
        self.make_room();
        let start = self.buffer.len();
        let capacity = self.buffer.capacity();
        self.buffer.resize(capacity, 0);
        let received = sys::recv(self.socket.as_fd(), &mut self.buffer[start..]);
        self.buffer.truncate(start + received.as_ref().map_or(0, |r| r.len));
        let received = received?;
        if received.truncated {
            return Err(Error::StrayDescriptor);
        }
        self.descriptors.extend(received.descriptors);
        if self.descriptors.len() > MAX_DESCRIPTORS {
            return Err(Error::StrayDescriptor);
        }
        Ok(received.len)
    }

    /// Makes the buffer large enough for the frame that is under way, and for some octets at least.
    /// A secret is not left behind when the buffer moves.
    fn make_room(&mut self) {
        let rest = self.buffer.len() - self.taken;
        self.buffer.copy_within(self.taken.., 0);
        self.buffer[rest..].zeroize();
        self.buffer.truncate(rest);
        self.taken = 0;
        let wanted = match self.buffer.first_chunk::<4>() {
            Some(length) => HEADER + (u32::from_be_bytes(*length) as usize).min(self.limit_in),
            None => HEADER,
        };
        if wanted.max(rest + 512) > self.buffer.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(wanted.max(rest + 512)));
            larger.extend_from_slice(&self.buffer);
            self.buffer = larger;
        }
    }

    /// Takes one whole frame out of the buffer, if it is there.
    fn decode(&mut self) -> Result<Option<(R, Option<OwnedFd>)>, Error> {
        let octets = &self.buffer[self.taken..];
        let Some((header, rest)) = octets.split_first_chunk::<HEADER>() else { return Ok(None) };
        let [a, b, c, d, flags] = *header;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > self.limit_in {
            return Err(Error::TooLong { length, limit: self.limit_in });
        }
        if flags & !WITH_DESCRIPTOR != 0 {
            return Err(Error::UnknownFlags(flags));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let (message, left) = postcard::take_from_bytes(body).map_err(Error::Undecodable)?;
        if !left.is_empty() {
            return Err(Error::TrailingOctets(left.len()));
        }
        self.taken += HEADER + length;
        let descriptor = match flags & WITH_DESCRIPTOR {
            0 => None,
            _ => Some(self.descriptors.pop_front().ok_or(Error::NoDescriptor)?),
        };
        if self.taken == self.buffer.len() && !self.descriptors.is_empty() {
            return Err(Error::StrayDescriptor);
        }
        Ok(Some((message, descriptor)))
    }
}

/// A frame, in a buffer of its exact size so that no copy of a secret is left behind.
fn encode<S: Serialize>(
    message: &S,
    descriptor: bool,
    limit: usize,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let length = length(message)?;
    let announced = u32::try_from(length).ok().filter(|_| length <= limit);
    let announced = announced.ok_or(Error::TooLong { length, limit })?;
    let mut octets = Zeroizing::new(vec![0; HEADER + length]);
    octets[..4].copy_from_slice(&announced.to_be_bytes());
    octets[4] = if descriptor { WITH_DESCRIPTOR } else { 0 };
    postcard::to_slice(message, &mut octets[HEADER..]).map_err(Error::Undecodable)?;
    Ok(octets)
}

/// How long a message is, in octets.
///
/// # Errors
///
/// One that has no encoding.
pub fn length(message: &impl Serialize) -> Result<usize, Error> {
    let size = postcard::ser_flavors::Size::default();
    postcard::serialize_with_flavor(message, size).map_err(Error::Undecodable)
}

impl<S, R> AsRawFd for Link<S, R> {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl<S, R> AsFd for Link<S, R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;

    use super::*;

    type Words = Link<Vec<String>, Vec<String>>;

    fn ends() -> (Words, Words) {
        let (a, b) = pair().unwrap();
        (Link::new(a).unwrap(), Link::new(b).unwrap())
    }

    fn words(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("word {n}")).collect()
    }

    #[test]
    fn messages_arrive_in_order_and_whole() {
        let (mut a, mut b) = ends();
        assert!(b.recv().unwrap().is_none());
        for count in [0, 1, 3000, 2] {
            a.send(&words(count)).unwrap();
        }
        for count in [0, 1, 3000, 2] {
            a.flush().unwrap();
            assert_eq!(b.recv().unwrap().unwrap().0, words(count));
        }
        drop(a);
        assert!(matches!(b.recv(), Err(Error::Closed)));
    }

    #[test]
    fn more_than_the_socket_holds_is_queued_and_bounded() {
        let (mut a, mut b) = ends();
        let mut sent = 0;
        let error = loop {
            match a.send(&words(4000)) {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::QueueFull));
        assert!(a.queued() > MAX_QUEUED - MAX_LENGTH);
        for _ in 0..sent {
            a.flush().unwrap();
            assert_eq!(b.recv().unwrap().unwrap().0.len(), 4000);
        }
    }

    #[test]
    fn a_descriptor_belongs_to_its_message() {
        let (mut a, mut b) = ends();
        let (left, right) = pair().unwrap();
        a.send(&words(1)).unwrap();
        a.send_with(&words(2), left).unwrap();
        a.send(&words(3)).unwrap();
        a.send_with(&words(4), right).unwrap();
        let mut ends = Vec::new();
        for count in 1..=4 {
            let (message, descriptor) = b.recv().unwrap().unwrap();
            assert_eq!(message.len(), count);
            assert_eq!(descriptor.is_some(), count % 2 == 0);
            ends.extend(descriptor);
        }
        sys::send(ends[0].as_fd(), &[b"hello"], None, None).unwrap();
        assert_eq!(sys::recv(ends[1].as_fd(), &mut [0; 8]).unwrap().len, 5);
    }

    #[test]
    fn a_stray_or_missing_descriptor_is_refused() {
        let (a, b) = pair().unwrap();
        let mut b = Words::new(b).unwrap();
        let frame = encode(&words(1), false, MAX_LENGTH).unwrap();
        sys::send_descriptor(a.as_fd(), &frame, a.as_fd()).unwrap();
        assert!(matches!(b.recv(), Err(Error::StrayDescriptor)));

        let (a, b) = pair().unwrap();
        let mut b = Words::new(b).unwrap();
        let frame = encode(&words(1), true, MAX_LENGTH).unwrap();
        sys::send(a.as_fd(), &[&frame], None, None).unwrap();
        assert!(matches!(b.recv(), Err(Error::NoDescriptor)));
    }

    /// What a hostile other side writes.
    fn refusal(octets: &[u8]) -> Option<Error> {
        let (a, b) = pair().unwrap();
        let mut link = Words::with_limit(b, 64).unwrap();
        UnixStream::from(a).write_all(octets).unwrap();
        loop {
            match link.recv() {
                Ok(Some(_)) => (),
                Ok(None) => return None,
                Err(error) => return Some(error),
            }
        }
    }

    #[test]
    fn malformed_frames_are_refused() {
        assert!(matches!(refusal(&[0, 1, 0, 0, 0]), Some(Error::TooLong { length: 65536, .. })));
        assert!(matches!(refusal(&[0, 0, 0, 1, 8, 0]), Some(Error::UnknownFlags(8))));
        assert!(matches!(refusal(&[0, 0, 0, 1, 0, 9]), Some(Error::Undecodable(_))));
        assert!(matches!(refusal(&[0, 0, 0, 2, 0, 0, 0]), Some(Error::TrailingOctets(1))));
        assert!(matches!(refusal(&[0, 0, 0, 9, 0, 1]), Some(Error::Closed)));
    }

    #[test]
    fn a_message_that_is_too_long_is_not_sent() {
        let (a, _b) = pair().unwrap();
        let mut link = Words::with_limit(a, 64).unwrap();
        assert!(matches!(link.send(&words(100)), Err(Error::TooLong { limit: 64, .. })));
        assert_eq!(link.queued(), 0);
    }
}
