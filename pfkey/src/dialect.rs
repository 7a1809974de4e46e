//! Dialects: what each kernel's PF_KEY v2 calls things, as constant values.
//!
//! A [`Dialect`] is tables of numbers plus a few enums for true differences of shape. All of them
//! compile and are tested on every host; [`Dialect::native`] alone looks at the target.

mod behaviour;
pub(crate) mod freebsd;
pub(crate) mod kame;
pub(crate) mod linux;
pub(crate) mod netbsd;
pub(crate) mod openbsd;
pub(crate) mod rfc2367;

use crate::alg::{Authentication, Compression, Encryption, KeySizes, Protocol};
use crate::layout::Layout;
pub use behaviour::{Behaviour, DumpBy, EmptyDump, Interface, Moves, SockOpt, UdpEncapsulation};
use std::fmt;

/// A row of a table: the header's name, its number, what it is in our words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<T> {
    pub(crate) name: &'static str,
    pub(crate) number: u32,
    pub(crate) is: T,
}

pub(crate) const fn row<T: Copy>(name: &'static str, number: u32, is: T) -> Row<T> {
    Row { name, number, is }
}

/// Finds a number by the name it has in the header; does not compile when there is none.
pub(crate) const fn number(rows: &[Row<()>], name: &str) -> u32 {
    let mut i = 0;
    while i < rows.len() {
        if same(rows[i].name, name) {
            return rows[i].number;
        }
        i += 1;
    }
    panic!("no such constant")
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// Message types of all dialects. What a kernel calls them and which number it gives them is the
/// dialect's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // the names are those of RFC 2367 §3.1 and of the headers
pub enum MessageType {
    GetSpi,
    Update,
    Add,
    Delete,
    Get,
    Acquire,
    Register,
    Expire,
    Flush,
    Dump,
    Promisc,
    PChange,
    SpdUpdate,
    SpdAdd,
    SpdDelete,
    SpdGet,
    SpdAcquire,
    SpdDump,
    SpdFlush,
    SpdSetIdx,
    SpdExpire,
    SpdDelete2,
    NatTNewMapping,
    Migrate,
    AddFlow,
    DelFlow,
    GrpSpis,
    AskPolicy,
    /// A number that the dialect does not know.
    Unknown(u8),
}

/// Extensions of all dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // the names are those of RFC 2367 §2.3 and of the headers
pub enum ExtType {
    Sa,
    LifetimeCurrent,
    LifetimeHard,
    LifetimeSoft,
    AddressSrc,
    AddressDst,
    AddressProxy,
    KeyAuth,
    KeyEncrypt,
    IdentitySrc,
    IdentityDst,
    Sensitivity,
    Proposal,
    SupportedAuth,
    SupportedEncrypt,
    SpiRange,
    SrcMask,
    DstMask,
    Protocol,
    FlowType,
    SrcFlow,
    DstFlow,
    /// OpenBSD: a second SA.
    Sa2OpenBsd,
    Dst2,
    /// OpenBSD: the ACQUIRE asked about.
    PolicyOpenBsd,
    LocalCredentials,
    RemoteCredentials,
    LocalAuth,
    RemoteAuth,
    SupportedComp,
    UdpEncap,
    LifetimeLastUse,
    Tag,
    Tap,
    SaType2,
    Counter,
    Rdomain,
    Mtu,
    Replay,
    Iface,
    KmPrivate,
    /// KAME: a kernel policy with its requests.
    Policy,
    /// KAME: mode, sequence and reqid of an SA.
    Sa2,
    NatTType,
    NatTSport,
    NatTDport,
    NatTOai,
    NatTOar,
    NatTOa,
    NatTFrag,
    SaReplay,
    NewAddressSrc,
    NewAddressDst,
    LifetimeSwOffload,
    LifetimeHwOffload,
    IfHwOffload,
    SecCtx,
    KmAddress,
    Filter,
    /// A number that the dialect does not know.
    Unknown(u16),
}

/// A table in its parts: what is shared first, then what is the dialect's own.
pub(crate) type Table<T> = &'static [&'static [Row<T>]];

/// All tables of a dialect.
pub(crate) struct Tables {
    pub(crate) messages: Table<MessageType>,
    pub(crate) sa_types: Table<Protocol>,
    pub(crate) authentication: Table<Authentication>,
    pub(crate) encryption: Table<Encryption>,
    pub(crate) compression: Table<Compression>,
    pub(crate) extensions: Table<ExtType>,
    pub(crate) constants: Table<()>,
}

/// How a dialect writes a socket address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SockaddrStyle {
    /// An octet of length, an octet of family.
    Bsd { inet6: u8 },
    /// Two octets of family, in host order.
    Linux { inet6: u16 },
}

/// Whether SADB addresses tell an upper protocol and a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressStyle {
    /// They do.
    ProtoPrefix,
    /// OpenBSD keeps these four octets zero; masks are extensions of their own.
    Reserved,
}

/// How a dialect says which packets are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlowStyle {
    /// ADDFLOW and DELFLOW, with masks.
    Flows,
    /// SPDUPDATE and SPDDELETE, with prefixes and a list of requests.
    Policies(PolicyStyle),
}

/// Shape of a policy's request, `struct sadb_x_ipsecrequest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PolicyStyle {
    /// reqid of 32 bits at the end of a longer structure (Linux), or of 16 bits within it.
    pub(crate) wide: bool,
    /// Whether what is forwarded has a direction of its own.
    pub(crate) forward: bool,
    /// Whether the last four octets of x_policy are a priority.
    pub(crate) priority: bool,
}

/// Unit of the replay window in `struct sadb_sa`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplayStyle {
    /// Packets, at most this many.
    Packets { most: u8 },
    /// Octets of a bit map: packets / 8. With `extension`, more can be said by SA_REPLAY.
    Octets { extension: bool },
}

/// One kernel's PF_KEY v2.
///
/// ```
/// use pfkey::Dialect;
/// let kernel = Dialect::by_name("openbsd").ok_or("no such dialect")?;
/// assert_eq!(kernel.name, "openbsd");
/// assert!(Dialect::all().iter().any(|d| d.name == "linux"));
/// # Ok::<(), &str>(())
/// ```
pub struct Dialect {
    /// `openbsd`, `freebsd`, `netbsd` or `linux`.
    pub name: &'static str,
    /// How this kernel behaves where others behave otherwise.
    pub behaviour: Behaviour,
    pub(crate) tables: Tables,
    pub(crate) ext_index: [Option<ExtType>; EXT_SLOTS],
    pub(crate) layouts: &'static [&'static [Layout]],
    pub(crate) sockaddr: SockaddrStyle,
    pub(crate) address: AddressStyle,
    pub(crate) flows: FlowStyle,
    pub(crate) replay: ReplayStyle,
    /// How many octets too many the header of a copy (X_PROMISC) may claim.
    pub(crate) copies_claim: usize,
    /// Flag of an SA with extended sequence numbers.
    pub(crate) esn_flag: Option<u32>,
    /// Whether an SA's inner family must be told where it is not the outer's: by ADDRESS_PROXY.
    pub(crate) inner_by_proxy: bool,
    /// Whether ENCR_NULL wants a KEY_ENCRYPT of no bits.
    pub(crate) null_key: bool,
    /// What the kernel takes although its REGISTER answer does not say so.
    pub(crate) unlisted: &'static [KeySizes<Encryption>],
}

/// More than the highest extension number of any dialect.
pub(crate) const EXT_SLOTS: usize = 48;

/// The index of extension numbers that a dialect's table gives.
pub(crate) const fn index(table: Table<ExtType>) -> [Option<ExtType>; EXT_SLOTS] {
    let mut out = [None; EXT_SLOTS];
    let mut part = 0;
    while part < table.len() {
        let mut i = 0;
        while i < table[part].len() {
            out[table[part][i].number as usize] = Some(table[part][i].is);
            i += 1;
        }
        part += 1;
    }
    out
}

fn by_number<T: Copy>(table: Table<T>, number: u32) -> Option<T> {
    rows(table).find(|r| r.number == number).map(|r| r.is)
}

fn number_of<T: Copy + PartialEq>(table: Table<T>, is: T) -> Option<u32> {
    rows(table).find(|r| r.is == is).map(|r| r.number)
}

fn rows<T>(table: Table<T>) -> impl Iterator<Item = &'static Row<T>> {
    table.iter().flat_map(|part| part.iter())
}

impl Dialect {
    /// Every dialect.
    pub const fn all() -> [&'static Dialect; 4] {
        [&openbsd::DIALECT, &freebsd::DIALECT, &netbsd::DIALECT, &linux::DIALECT]
    }

    /// The dialect with this name.
    pub fn by_name(name: &str) -> Option<&'static Dialect> {
        Dialect::all().into_iter().find(|d| d.name == name)
    }

    /// The dialect of the kernel this program was built for; on a system without PF_KEY, Linux's.
    pub const fn native() -> &'static Dialect {
        if cfg!(target_os = "openbsd") {
            &openbsd::DIALECT
        } else if cfg!(target_os = "freebsd") {
            &freebsd::DIALECT
        } else if cfg!(target_os = "netbsd") {
            &netbsd::DIALECT
        } else {
            &linux::DIALECT
        }
    }

    /// Every constant of the dialect: the header's name and its number.
    pub fn constants(&self) -> impl Iterator<Item = (&'static str, u32)> + use<'_> {
        let t = &self.tables;
        rows(t.messages)
            .map(|r| (r.name, r.number))
            .chain(rows(t.sa_types).map(|r| (r.name, r.number)))
            .chain(rows(t.authentication).map(|r| (r.name, r.number)))
            .chain(rows(t.encryption).map(|r| (r.name, r.number)))
            .chain(rows(t.compression).map(|r| (r.name, r.number)))
            .chain(rows(t.extensions).map(|r| (r.name, r.number)))
            .chain(rows(t.constants).map(|r| (r.name, r.number)))
    }

    /// Every structure of the dialect.
    pub fn layouts(&self) -> impl Iterator<Item = &'static Layout> + use<'_> {
        self.layouts.iter().flat_map(|l| l.iter())
    }

    /// The header's name of a message type, for people.
    pub fn message_name(&self, message: MessageType) -> Option<&'static str> {
        rows(self.tables.messages).find(|r| r.is == message).map(|r| r.name)
    }

    /// The header's name of an extension, for people.
    pub fn ext_name(&self, ext: ExtType) -> Option<&'static str> {
        rows(self.tables.extensions).find(|r| r.is == ext).map(|r| r.name)
    }

    pub(crate) fn message_type(&self, number: u8) -> MessageType {
        by_number(self.tables.messages, number.into()).unwrap_or(MessageType::Unknown(number))
    }

    pub(crate) fn message_number(&self, message: MessageType) -> Option<u8> {
        match message {
            MessageType::Unknown(n) => Some(n),
            known => number_of(self.tables.messages, known).map(|n| n as u8),
        }
    }

    pub(crate) fn ext_type(&self, number: u16) -> ExtType {
        self.ext_index
            .get(usize::from(number))
            .copied()
            .flatten()
            .unwrap_or(ExtType::Unknown(number))
    }

    pub(crate) fn ext_number(&self, ext: ExtType) -> Option<u16> {
        match ext {
            ExtType::Unknown(n) => Some(n),
            known => number_of(self.tables.extensions, known).map(|n| n as u16),
        }
    }

    pub(crate) fn protocol(&self, sa_type: u8) -> Option<Protocol> {
        by_number(self.tables.sa_types, sa_type.into())
    }

    pub(crate) fn sa_type(&self, protocol: Protocol) -> Option<u8> {
        number_of(self.tables.sa_types, protocol).map(|n| n as u8)
    }

    pub(crate) fn authentication(&self, number: u8) -> Option<Authentication> {
        by_number(self.tables.authentication, number.into())
    }

    pub(crate) fn authentication_number(&self, algorithm: Authentication) -> Option<u8> {
        number_of(self.tables.authentication, algorithm).map(|n| n as u8)
    }

    pub(crate) fn encryption(&self, number: u8) -> Option<Encryption> {
        by_number(self.tables.encryption, number.into())
    }

    pub(crate) fn encryption_number(&self, algorithm: Encryption) -> Option<u8> {
        number_of(self.tables.encryption, algorithm).map(|n| n as u8)
    }

    pub(crate) fn compression(&self, number: u8) -> Option<Compression> {
        by_number(self.tables.compression, number.into())
    }

    pub(crate) fn compression_number(&self, algorithm: Compression) -> Option<u8> {
        number_of(self.tables.compression, algorithm).map(|n| n as u8)
    }
}

impl fmt::Debug for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dialect({})", self.name)
    }
}

impl PartialEq for Dialect {
    fn eq(&self, other: &Dialect) -> bool {
        self.name == other.name
    }
}

impl Eq for Dialect {}
