//! A kernel that exists only in memory and answers as the real one of a dialect was seen to, its
//! refusals included: for tests of whatever speaks PF_KEY, on any host.
//!
//! It protects no packets. Time passes when it is told to, packets come when they are told to.
//! How true it is, is known: the recorded conversations with real kernels are put to it, and its
//! answers are compared with theirs.
//!
//! ```
//! use pfkey::scripted::Kernel;
//! use pfkey::{Dialect, Incoming, Protocol, Request};
//! let dialect = Dialect::by_name("openbsd").ok_or("no such dialect")?;
//! let mut kernel = Kernel::new(dialect);
//! let socket = kernel.open(100);
//! for packet in dialect.compose(&Request::Register(Protocol::Esp), 1, 100)? {
//!     kernel.write(socket, &packet).map_err(|errno| format!("errno {errno}"))?;
//! }
//! let answer = kernel.read(socket).ok_or("no answer")?;
//! assert!(matches!(dialect.interpret(&answer)?, Incoming::Reply(r) if r.answers(100, 1)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod flows;
mod lifetimes;
mod moves;
mod rules;
mod sadb;
mod sockets;
mod values;

use crate::codec::Packet;
use crate::dialect::{Dialect, ExtType, FlowStyle, MessageType};
use crate::layout::{self, msg};
use crate::message::{Message, ParseError};
use rules::Rules;
use sockets::{Socket, To};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

const ENOENT: u8 = 2;
const ESRCH: u8 = 3;
const EEXIST: u8 = 17;
const EINVAL: u8 = 22;
/// EOPNOTSUPP of the BSDs.
const EOPNOTSUPP: u8 = 45;
/// EAFNOSUPPORT of the BSDs.
const EAFNOSUPPORT: u8 = 47;
/// ENOBUFS of the BSDs.
const ENOBUFS: u8 = 55;

/// A kernel in memory.
#[derive(Debug)]
pub struct Kernel {
    dialect: &'static Dialect,
    rules: &'static Rules,
    sockets: Vec<Socket>,
    sas: Vec<Sa>,
    flows: Vec<Entry>,
    /// Seconds by the wall clock.
    now: u64,
    /// Sequence number of the kernel's own next message.
    seq: u32,
    /// SPIs that the next GETSPIs are to give.
    spis: VecDeque<u32>,
    next_spi: u32,
    next_id: u32,
    next_reqid: u32,
    /// Whether IPComp is switched on, which on OpenBSD it is not at first.
    ipcomp: bool,
    /// Routing domains that there are.
    rdomains: BTreeSet<u16>,
    /// An answer to all found a queue full, which on NetBSD takes it from everybody.
    lost: bool,
    /// OpenBSD's groups: SPIs applied first and next.
    groups: Vec<(u32, u32)>,
    /// Flow of each ACQUIRE by sequence number.
    acquired: Vec<(u32, Entry)>,
}

/// One of the sockets opened to a [`Kernel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SocketId(usize);

/// Extensions by number, as they lie in messages.
type Exts = BTreeMap<u16, Vec<u8>>;

#[derive(Clone, Debug)]
struct Sa {
    sa_type: u8,
    spi: u32,
    src: Option<SocketAddr>,
    dst: SocketAddr,
    larval: bool,
    dying: bool,
    /// Header of the GETSPI or ADD.
    seq: u32,
    pid: u32,
    born: u64,
    used: u64,
    bytes: u64,
    exts: Exts,
}

/// A flow or policy.
#[derive(Clone, Debug)]
struct Entry {
    id: u32,
    sa_type: u8,
    /// What makes it the same: octets of its selector and direction.
    key: Vec<u8>,
    exts: Exts,
}

/// How a request fails.
enum Fail {
    /// write(2) says so and nobody hears of it.
    Write(u8),
    /// An answer says so.
    Reply(u8),
}

impl Kernel {
    /// A kernel without sockets, SAs and flows, at the second 1 000 000 000.
    pub fn new(dialect: &'static Dialect) -> Kernel {
        Kernel {
            dialect,
            rules: rules::of(dialect),
            sockets: Vec::new(),
            sas: Vec::new(),
            flows: Vec::new(),
            now: 1_000_000_000,
            seq: 0,
            spis: VecDeque::new(),
            next_spi: 0xc0de,
            next_id: 0,
            next_reqid: 16385,
            ipcomp: dialect.flows != FlowStyle::Flows,
            rdomains: BTreeSet::from([0]),
            lost: false,
            groups: Vec::new(),
            acquired: Vec::new(),
        }
    }

    /// Opens a socket for the process `pid`.
    pub fn open(&mut self, pid: u32) -> SocketId {
        self.sockets.push(Socket {
            pid,
            registered: BTreeSet::new(),
            promisc: false,
            queue: VecDeque::new(),
            room: usize::MAX,
        });
        SocketId(self.sockets.len() - 1)
    }

    /// Lets a socket's queue hold so many octets; what does not fit is lost.
    pub fn set_room(&mut self, socket: SocketId, octets: usize) {
        if let Some(socket) = self.sockets.get_mut(socket.0) {
            socket.room = octets;
        }
    }

    /// Switches IPComp on: sysctl net.inet.ipcomp.enable of OpenBSD.
    pub fn enable_ipcomp(&mut self) {
        self.ipcomp = true;
    }

    /// Makes a routing domain (OpenBSD).
    pub fn add_rdomain(&mut self, rdomain: u16) {
        self.rdomains.insert(rdomain);
    }

    /// The SPI that the next GETSPI without one is to give.
    pub fn choose_spi(&mut self, spi: u32) {
        self.spis.push_back(spi);
    }

    /// write(2).
    ///
    /// # Errors
    /// The errno that write(2) would give; no answer comes then.
    pub fn write(&mut self, socket: SocketId, octets: &[u8]) -> Result<(), u8> {
        match self.handle(socket, octets) {
            Ok(()) if std::mem::take(&mut self.lost) => Err(ENOBUFS),
            Ok(()) => Ok(()),
            Err(Fail::Write(errno)) => Err(errno),
            Err(Fail::Reply(errno)) => {
                self.refuse(socket, octets, errno);
                Ok(())
            }
        }
    }

    /// read(2): the next message for this socket, if there is one.
    pub fn read(&mut self, socket: SocketId) -> Option<Packet> {
        self.sockets.get_mut(socket.0)?.queue.pop_front()
    }

    /// Lets time pass: larval SAs vanish, lifetimes end.
    pub fn advance(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += 1;
            self.tick();
        }
    }

    /// Lets a packet of so many octets go through an SA.
    pub fn packet(&mut self, spi: u32, octets: u64) {
        let now = self.now;
        for sa in self.sas.iter_mut().filter(|sa| sa.spi == spi && !sa.larval) {
            sa.bytes += octets;
            if sa.used == 0 {
                sa.used = now;
            }
        }
        self.tick();
    }

    /// Number of SAs, larval ones included.
    pub fn sa_count(&self) -> usize {
        self.sas.len()
    }

    /// Number of flows or policies.
    pub fn flow_count(&self) -> usize {
        self.flows.len()
    }

    fn handle(&mut self, socket: SocketId, octets: &[u8]) -> Result<(), Fail> {
        use MessageType as M;
        let mut second: Vec<u8>;
        let octets = match octets.split_first() {
            // OpenBSD does not look at the version.
            Some((version, _)) if self.rules.strict_header && *version != 2 => {
                second = octets.to_vec();
                second[0] = 2;
                &second[..]
            }
            _ => octets,
        };
        let m = match Message::parse(self.dialect, octets) {
            Ok(m) => m,
            Err(ParseError::Version(_)) if self.rules.version_by_reply => {
                return Err(Fail::Reply(EINVAL));
            }
            // Linux answers whatever has a header.
            Err(_) if self.rules.all_by_reply && octets.len() >= msg::SIZE => {
                return Err(Fail::Reply(EINVAL));
            }
            Err(_) => return Err(Fail::Write(EINVAL)),
        };
        self.check(socket, &m)?;
        self.copy_request(octets, m.header.pid);
        match m.header.message {
            M::Register => self.register(socket, &m),
            M::Promisc => self.promisc(socket, &m),
            M::GetSpi => self.get_spi(socket, &m),
            M::Update => self.update(socket, &m),
            M::Add => self.add(socket, &m),
            M::Delete => self.delete(socket, &m),
            M::Get => self.get(socket, &m),
            M::Flush => self.flush(socket, &m),
            M::Dump => self.dump(socket, &m),
            M::Acquire => self.user_acquire(socket, &m),
            M::Migrate if self.rules.all_by_reply => self.migrate(&m),
            _ if self.dialect.flows == FlowStyle::Flows => self.openbsd_flows(socket, &m),
            _ => self.policies(socket, &m),
        }
    }

    /// What is judged before the type of the message matters.
    fn check(&self, socket: SocketId, m: &Message<'_>) -> Result<(), Fail> {
        let h = &m.header;
        if matches!(h.message, MessageType::Unknown(_)) {
            return Err(if self.rules.version_by_reply {
                Fail::Reply(EINVAL)
            } else {
                Fail::Write(EINVAL)
            });
        }
        let pid = self.sockets.get(socket.0).map_or(0, |s| s.pid);
        if self.rules.strict_header && (h.errno != 0 || h.reserved != 0 || h.pid != pid) {
            return Err(Fail::Write(EINVAL));
        }
        let strange = |kind| match kind {
            ExtType::Unknown(_) => true,
            // Has a number, but the parsers of the BSDs do not take it.
            ExtType::KmPrivate => self.rules.echoes_refused,
            _ => false,
        };
        if m.extensions().any(|(kind, _)| strange(kind)) {
            return Err(Fail::Write(EINVAL));
        }
        let Some((required, optional)) = rules::openbsd_extensions(self.dialect, h.message) else {
            return Ok(());
        };
        let there: BTreeSet<u16> =
            m.extensions().filter_map(|(kind, _)| self.dialect.ext_number(kind)).collect();
        let allowed = |n: &u16| required.contains(n) || optional.contains(n);
        if required.iter().any(|n| !there.contains(n)) || !there.iter().all(allowed) {
            return Err(Fail::Write(EINVAL));
        }
        Ok(())
    }

    fn register(&mut self, socket: SocketId, m: &Message<'_>) -> Result<(), Fail> {
        let sa_type = m.header.sa_type;
        if self.rules.echoes_refused && (5..=8).contains(&sa_type) {
            return Err(Fail::Reply(EOPNOTSUPP));
        }
        let known = self.dialect.protocol(sa_type).is_some() || sa_type == 0;
        if !known && !self.rules.registers_anything {
            return Err(Fail::Reply(EINVAL));
        }
        let taken = self.sockets.get_mut(socket.0).is_some_and(|s| {
            sa_type != 0 && !s.registered.insert(sa_type) && !self.rules.registers_anything
        });
        if taken {
            return Err(Fail::Reply(EEXIST));
        }
        let exts = self.rules.supported.iter().map(|(number, algs)| {
            let mut raw = vec![0; layout::supported::SIZE];
            for &[id, iv, min, max] in algs.iter() {
                raw.extend_from_slice(&[id as u8, iv as u8]);
                raw.extend_from_slice(&min.to_ne_bytes());
                raw.extend_from_slice(&max.to_ne_bytes());
                raw.extend_from_slice(&[0; 2]);
            }
            head(&mut raw, *number);
            raw
        });
        let reply = self.reply(m, exts);
        let to = if self.rules.broadcasts_all { To::All } else { To::OneAndRegistered(socket) };
        self.send(to, reply);
        Ok(())
    }

    fn promisc(&mut self, socket: SocketId, m: &Message<'_>) -> Result<(), Fail> {
        if let Some(s) = self.sockets.get_mut(socket.0) {
            s.promisc = m.header.sa_type != 0;
        }
        let reply = self.reply(m, []);
        self.send(To::All, reply);
        Ok(())
    }

    fn user_acquire(&mut self, socket: SocketId, m: &Message<'_>) -> Result<(), Fail> {
        if self.dialect.flows != FlowStyle::Flows && m.octets().len() == msg::SIZE {
            return Ok(()); // we could not: nobody answers
        }
        let exts: Vec<Vec<u8>> = raws(m).into_values().collect();
        let reply = self.reply(m, exts);
        let to = if self.rules.broadcasts_all { To::All } else { To::OneAndRegistered(socket) };
        self.send(to, reply);
        Ok(())
    }

    /// The header of the request with these extensions behind it.
    fn reply(&self, m: &Message<'_>, exts: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
        let mut out = m.octets().get(..msg::SIZE).unwrap_or_default().to_vec();
        for ext in exts {
            out.extend_from_slice(&ext);
        }
        msg::ERRNO.put(&mut out, 0);
        finish(&mut out);
        out
    }

    /// A message by the kernel itself.
    fn own(&self, message: MessageType, sa_type: u8, seq: u32, exts: Vec<Vec<u8>>) -> Vec<u8> {
        let mut out = vec![0; msg::SIZE];
        msg::VERSION.put(&mut out, 2);
        msg::TYPE.put(&mut out, self.dialect.message_number(message).unwrap_or(0));
        msg::SATYPE.put(&mut out, sa_type);
        msg::SEQ.put(&mut out, seq);
        out.extend(exts.into_iter().flatten());
        finish(&mut out);
        out
    }

    fn refuse(&mut self, socket: SocketId, octets: &[u8], errno: u8) {
        let whole = self.rules.echoes_refused;
        let len = if whole { octets.len() } else { msg::SIZE };
        let mut reply = octets.get(..len).unwrap_or(octets).to_vec();
        msg::ERRNO.put(&mut reply, errno);
        if !whole {
            finish(&mut reply);
        }
        self.send(if self.rules.broadcasts_all { To::All } else { To::One(socket) }, reply);
    }

    /// The selected extensions in the dialect's order.
    fn pick(&self, exts: &Exts, order: &[u16]) -> Vec<Vec<u8>> {
        order.iter().filter_map(|n| exts.get(n).cloned()).collect()
    }
}

/// Sets the length of a message.
fn finish(octets: &mut [u8]) {
    let words = (octets.len() / 8) as u16;
    msg::LEN.put(octets, words);
}

/// Sets length and type of an extension.
fn head(raw: &mut [u8], number: u16) {
    let words = (raw.len() / 8) as u16;
    layout::ext::LEN.put(raw, words);
    layout::ext::TYPE.put(raw, number);
}

/// The extensions of a message, octet for octet.
fn raws(m: &Message<'_>) -> Exts {
    let mut out = Exts::new();
    let mut left = m.octets().get(msg::SIZE..).unwrap_or_default();
    while left.len() >= layout::ext::SIZE {
        let len = usize::from(layout::ext::LEN.get(left)) * 8;
        let Some(raw) = left.get(..len).filter(|raw| !raw.is_empty()) else { break };
        out.insert(layout::ext::TYPE.get(raw), raw.to_vec());
        left = left.get(len..).unwrap_or_default();
    }
    out
}
