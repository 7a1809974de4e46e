//! What ipsecctl(8) does with a kernel: load and delete manual rules, flush, show, monitor.
//!
//! [`load`] makes requests of the rules of ipsec.conf(5), [`show`] text of what a kernel holds. Here
//! they are put to a kernel and its answers waited for: `oakctl` does nothing else meanwhile.

pub mod load;
pub mod show;

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pfkey::message::{Message, split};
use pfkey::socket::{self, Dump, MESSAGE_MAX};
use pfkey::{Dialect, Incoming, MessageType, Packet, Reply, Request, Socket};
use zeroize::Zeroizing;

/// How long a kernel may take for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a dump may pause: one that holds nothing may bring nothing at all.
const PAUSE: Duration = Duration::from_millis(300);

/// The way to a kernel.
pub trait Road {
    /// Writes a message.
    ///
    /// # Errors
    ///
    /// What write(2) gives: part of the kernel's refusals come here.
    fn send(&mut self, packet: &Packet) -> io::Result<()>;

    /// The next message, waited for so long at most.
    ///
    /// # Errors
    ///
    /// What read(2) gives.
    fn recv(&mut self, most: Duration) -> io::Result<Option<Zeroizing<Vec<u8>>>>;
}

/// A PF_KEY socket.
pub struct PfKey {
    socket: Socket,
    buffer: Zeroizing<Vec<u8>>,
}

impl PfKey {
    /// Opens this host's.
    ///
    /// # Errors
    ///
    /// In words, with what to do.
    pub fn open() -> Result<Self, String> {
        let socket = Socket::open().map_err(|error| {
            format!(
                "PF_KEY: {error}; only root can, and the kernel needs IPsec (Linux: modprobe \
                 af_key esp4 esp6; FreeBSD: kldload ipsec)"
            )
        })?;
        Ok(Self { socket, buffer: Zeroizing::new(vec![0; MESSAGE_MAX]) })
    }
}

impl Road for PfKey {
    fn send(&mut self, packet: &Packet) -> io::Result<()> {
        self.socket.send(packet)
    }

    fn recv(&mut self, most: Duration) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        // Some kernels do not wake a reader for a dump: look first, and again now and then.
        let end = Instant::now().checked_add(most);
        loop {
            if let Some(octets) = self.socket.recv(&mut self.buffer)? {
                return Ok(Some(Zeroizing::new(octets.to_vec())));
            }
            let left = end.map_or(PAUSE, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(None);
            }
            let slice = u16::try_from(left.min(PAUSE).as_millis().max(1)).unwrap_or(u16::MAX);
            let mut wait = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            match poll(&mut wait, PollTimeout::from(slice)) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => (),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A kernel that is asked one thing after the other.
pub struct Admin<R> {
    road: R,
    dialect: &'static Dialect,
    pid: u32,
    seq: u32,
}

impl<R: Road> Admin<R> {
    /// Over this road, as the process `pid`.
    pub fn new(road: R, dialect: &'static Dialect, pid: u32) -> Self {
        Self { road, dialect, pid, seq: 0 }
    }

    /// The dialect spoken.
    pub fn dialect(&self) -> &'static Dialect {
        self.dialect
    }

    /// Asks, and waits for the answers.
    ///
    /// # Errors
    ///
    /// Why the kernel does not do it.
    pub fn ask(&mut self, request: &Request) -> Result<(), String> {
        let packets = self.compose(request)?;
        for (packet, seq) in packets.iter().zip(self.seq..) {
            self.road.send(packet).map_err(|error| error.to_string())?;
            let end = Instant::now() + PATIENCE;
            loop {
                match self.next(end)? {
                    Some(Incoming::Reply(reply)) if reply.answers(self.pid, seq) => {
                        answered(&reply)?;
                        break;
                    }
                    Some(_) => (),
                    None => return Err("the kernel does not answer".into()),
                }
            }
        }
        self.seq = self.seq.wrapping_add(u32::try_from(packets.len()).unwrap_or(1));
        Ok(())
    }

    /// Everything of a kind that the kernel holds, message by message.
    ///
    /// # Errors
    ///
    /// Why the kernel does not tell.
    pub fn dump(&mut self, what: Dump) -> Result<Vec<Zeroizing<Vec<u8>>>, String> {
        match socket::dump(what) {
            Ok(octets) => {
                let messages = split(&octets);
                return Ok(messages.map(|octets| Zeroizing::new(octets.to_vec())).collect());
            }
            Err(error) if error.kind() == io::ErrorKind::Unsupported => (),
            Err(error) => return Err(format!("asking the kernel what it holds: {error}")),
        }
        let (request, message) = match what {
            Dump::Sas => (Request::Dump(None), MessageType::Dump),
            Dump::Flows => (Request::DumpFlows, MessageType::SpdDump),
        };
        for packet in &self.compose(&request)? {
            self.road.send(packet).map_err(|error| error.to_string())?;
        }
        self.seq = self.seq.wrapping_add(1);
        let mut found = Vec::new();
        while let Some(octets) = self.road.recv(PAUSE).map_err(lost)? {
            let Ok(parsed) = Message::parse(self.dialect, &octets) else { continue };
            let header = parsed.header;
            if header.message != message || header.pid != self.pid {
                continue;
            }
            // Nothing to tell: an errno, or a message without anything in it.
            let empty = header.errno != 0 || parsed.extensions().next().is_none();
            if !empty {
                found.push(octets);
            }
            if header.seq == 0 || empty {
                break;
            }
        }
        Ok(found)
    }

    /// Has copies of everybody's messages sent, and hands them on until `each` fails.
    ///
    /// # Errors
    ///
    /// That of `each`, or of the road.
    pub fn monitor(
        &mut self,
        each: &mut dyn FnMut(&Message<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        for packet in &self.compose(&Request::Promisc(true))? {
            self.road.send(packet).map_err(|error| error.to_string())?;
        }
        loop {
            let octets = match self.road.recv(Duration::from_secs(3600)) {
                Ok(Some(octets)) => octets,
                Ok(None) => continue,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    eprintln!("(messages are missing here: they came too fast)");
                    continue;
                }
                Err(error) => return Err(error.to_string()),
            };
            match Message::parse(self.dialect, &octets) {
                Ok(message) => each(&message)?,
                Err(error) => eprintln!("({} octets that are no message: {error})", octets.len()),
            }
        }
    }

    fn compose(&mut self, request: &Request) -> Result<Vec<Packet>, String> {
        self.seq = self.seq.checked_add(1).unwrap_or(1);
        self.dialect.compose(request, self.seq, self.pid).map_err(|error| error.to_string())
    }

    fn next(&mut self, end: Instant) -> Result<Option<Incoming>, String> {
        let left = end.saturating_duration_since(Instant::now());
        let Some(octets) = self.road.recv(left).map_err(lost)? else { return Ok(None) };
        // What is malformed is no answer.
        let understood = self.dialect.interpret(&octets);
        Ok(Some(understood.unwrap_or(Incoming::Other(MessageType::Unknown(0)))))
    }
}

fn lost(error: io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOBUFS) => "the kernel's messages came faster than they were read".into(),
        _ => format!("PF_KEY: {error}"),
    }
}

fn answered(reply: &Reply) -> Result<(), String> {
    match reply.errno {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno.into()).to_string()),
    }
}
