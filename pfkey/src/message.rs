//! A whole message: header and extensions.

use crate::codec::Packet;
use crate::dialect::{Dialect, EXT_SLOTS, ExtType, MessageType};
use crate::ext::{self, Ext};
use crate::layout::{self, msg};
use std::fmt;

/// PF_KEY_V2, the only version.
const VERSION: u8 = 2;

/// `struct sadb_msg` without its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Type.
    pub message: MessageType,
    /// 0, or an errno value of the kernel's system.
    pub errno: u8,
    /// SA type in the dialect's numbers.
    pub sa_type: u8,
    /// Zero in requests; KAME kernels put a reference count here.
    pub reserved: u16,
    /// Sequence number.
    pub seq: u32,
    /// Process id of who asked; 0: the kernel speaks by itself.
    pub pid: u32,
}

/// Why octets are no message. Offsets are octets from the beginning of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// Fewer octets than a header.
    Short {
        /// How many there are.
        have: usize,
    },
    /// Not version 2.
    Version(u8),
    /// The header's length is not that of the octets.
    Length {
        /// Octets by the header.
        said: usize,
        /// Octets there.
        have: usize,
    },
    /// An extension's length is zero, or more than is left.
    ExtLength {
        /// Which extension.
        ext: ExtType,
        /// Where it begins.
        offset: usize,
        /// Its length by its own word, in octets.
        said: usize,
        /// Octets left in the message.
        left: usize,
    },
    /// Octets at the end that are no extension.
    Tail {
        /// Where they begin.
        offset: usize,
    },
    /// An extension comes twice.
    Doubled {
        /// Which.
        ext: ExtType,
        /// Where the second begins.
        offset: usize,
    },
    /// An extension's body makes no sense.
    Malformed {
        /// Which.
        ext: ExtType,
        /// Where it begins.
        offset: usize,
        /// Why.
        reason: &'static str,
    },
    /// Of that type a message must have an extension that is not there.
    Missing(ExtType),
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ParseError::Short { have } => write!(f, "{have} octets are no PF_KEY header"),
            ParseError::Version(v) => write!(f, "PF_KEY version {v}, expected {VERSION}"),
            ParseError::Length { said, have } => {
                write!(f, "header says {said} octets, there are {have}")
            }
            ParseError::ExtLength { ext, offset, said, left } => {
                write!(f, "{ext:?} at offset {offset}: length {said}, {left} octets are left")
            }
            ParseError::Tail { offset } => write!(f, "octets at offset {offset} are no extension"),
            ParseError::Doubled { ext, offset } => {
                write!(f, "{ext:?} at offset {offset}: comes a second time")
            }
            ParseError::Malformed { ext, offset, reason } => {
                write!(f, "{ext:?} at offset {offset}: {reason}")
            }
            ParseError::Missing(ext) => write!(f, "{ext:?} is missing"),
        }
    }
}

impl std::error::Error for ParseError {}

/// A message that has been read and found well formed. It borrows the octets: no extension is
/// copied.
///
/// ```
/// use pfkey::{Dialect, ExtType, Message, MessageType};
/// let dialect = Dialect::by_name("linux").ok_or("no such dialect")?;
/// // REGISTER of ESP, nothing more than a header.
/// let octets = [2, 7, 0, 3, 2, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0];
/// if cfg!(target_endian = "little") {
///     let message = Message::parse(dialect, &octets)?;
///     assert_eq!(message.header.message, MessageType::Register);
///     assert_eq!(message.get(ExtType::Sa), None);
///     assert_eq!(&message.emit()[..], octets);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Message<'a> {
    /// The header.
    pub header: Header,
    dialect: &'static Dialect,
    octets: &'a [u8],
    /// Where each known extension begins, 0 for those that are not there.
    offsets: [u16; EXT_SLOTS],
}

impl<'a> Message<'a> {
    /// Reads one message, which is all of `octets`.
    pub fn parse(dialect: &'static Dialect, octets: &'a [u8]) -> Result<Message<'a>, ParseError> {
        if octets.len() < msg::SIZE {
            return Err(ParseError::Short { have: octets.len() });
        }
        let version = msg::VERSION.get(octets);
        if version != VERSION {
            return Err(ParseError::Version(version));
        }
        let header = Header {
            message: dialect.message_type(msg::TYPE.get(octets)),
            errno: msg::ERRNO.get(octets),
            sa_type: msg::SATYPE.get(octets),
            reserved: msg::RESERVED.get(octets),
            seq: msg::SEQ.get(octets),
            pid: msg::PID.get(octets),
        };
        let mut message = Message { header, dialect, octets, offsets: [0; EXT_SLOTS] };
        let said = usize::from(msg::LEN.get(octets)) * 8;
        if message.inner().is_some() {
            if said != octets.len() && said != octets.len() + dialect.copies_claim {
                return Err(ParseError::Length { said, have: octets.len() });
            }
            return Ok(message);
        }
        if said != octets.len() {
            return Err(ParseError::Length { said, have: octets.len() });
        }
        message.index()?;
        Ok(message)
    }

    /// Reads the extensions once: lengths, doubles, and each body.
    fn index(&mut self) -> Result<(), ParseError> {
        let mut offset = msg::SIZE;
        while offset < self.octets.len() {
            let left = self.octets.get(offset..).unwrap_or_default();
            if left.len() < layout::ext::SIZE {
                return Err(ParseError::Tail { offset });
            }
            let number = layout::ext::TYPE.get(left);
            let kind = self.dialect.ext_type(number);
            let said = usize::from(layout::ext::LEN.get(left)) * 8;
            let raw = match left.get(..said) {
                Some(raw) if said > 0 => raw,
                _ => {
                    return Err(ParseError::ExtLength {
                        ext: kind,
                        offset,
                        said,
                        left: left.len(),
                    });
                }
            };
            if let Some(slot) = self.offsets.get_mut(usize::from(number)) {
                if *slot != 0 {
                    return Err(ParseError::Doubled { ext: kind, offset });
                }
                *slot = u16::try_from(offset).unwrap_or(0);
            }
            ext::parse(self.dialect, kind, raw).map_err(|reason| ParseError::Malformed {
                ext: kind,
                offset,
                reason,
            })?;
            offset += said;
        }
        Ok(())
    }

    /// The dialect that it was read in.
    pub fn dialect(&self) -> &'static Dialect {
        self.dialect
    }

    /// The octets that it was read from.
    pub fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// The message within a copy (X_PROMISC), if this is one.
    pub fn inner(&self) -> Option<&'a [u8]> {
        let body = self.octets.get(msg::SIZE..)?;
        (self.header.message == MessageType::Promisc && body.len() >= msg::SIZE).then_some(body)
    }

    /// One extension.
    pub fn get(&self, kind: ExtType) -> Option<Ext<'a>> {
        let number = usize::from(self.dialect.ext_number(kind)?);
        match self.offsets.get(number) {
            Some(0) => None,
            Some(&offset) => {
                let left = self.octets.get(usize::from(offset)..)?;
                let len = usize::from(layout::ext::LEN.get(left)) * 8;
                ext::parse(self.dialect, kind, left.get(..len)?).ok()
            }
            None => self.extensions().find(|(k, _)| *k == kind).map(|(_, ext)| ext),
        }
    }

    /// All extensions in the order in which they stand.
    pub fn extensions(&self) -> Extensions<'a> {
        let left = match self.inner() {
            Some(_) => &[],
            None => self.octets.get(msg::SIZE..).unwrap_or_default(),
        };
        Extensions { dialect: self.dialect, left }
    }

    /// Writes it anew from what was read.
    pub fn emit(&self) -> Packet {
        let mut builder = Builder::new(self.dialect, self.header);
        for (kind, ext) in self.extensions() {
            builder.push(kind, &ext);
        }
        if let Some(inner) = self.inner() {
            builder.octets.extend_from_slice(inner);
        }
        builder.finish()
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ", self.header)?;
        f.debug_map().entries(self.extensions()).finish()
    }
}

/// Cuts what a sysctl(2) dump gave into messages.
pub fn split(octets: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut left = octets;
    std::iter::from_fn(move || {
        if left.is_empty() {
            return None;
        }
        let len = (usize::from(msg::LEN.get(left)) * 8).clamp(msg::SIZE, left.len().max(msg::SIZE));
        let (first, rest) = left.split_at(len.min(left.len()));
        left = rest;
        Some(first)
    })
}

/// Iterates over the extensions of a [`Message`].
#[derive(Clone)]
pub struct Extensions<'a> {
    dialect: &'static Dialect,
    left: &'a [u8],
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (ExtType, Ext<'a>);

    fn next(&mut self) -> Option<(ExtType, Ext<'a>)> {
        if self.left.len() < layout::ext::SIZE {
            return None;
        }
        let len = usize::from(layout::ext::LEN.get(self.left)) * 8;
        let kind = self.dialect.ext_type(layout::ext::TYPE.get(self.left));
        let raw = self.left.get(..len).filter(|raw| !raw.is_empty())?;
        self.left = self.left.get(len..).unwrap_or_default();
        ext::parse(self.dialect, kind, raw).ok().map(|ext| (kind, ext))
    }
}

/// Composes a message extension by extension.
pub struct Builder {
    dialect: &'static Dialect,
    octets: Vec<u8>,
    missing: Option<ExtType>,
}

impl Builder {
    /// A message of a header alone.
    pub fn new(dialect: &'static Dialect, header: Header) -> Builder {
        // One allocation for what the longest of our own messages needs: no key is left behind in
        // a buffer that was outgrown.
        let mut octets = Vec::with_capacity(2048);
        octets.resize(msg::SIZE, 0);
        msg::VERSION.put(&mut octets, VERSION);
        msg::TYPE.put(&mut octets, dialect.message_number(header.message).unwrap_or(0));
        msg::ERRNO.put(&mut octets, header.errno);
        msg::SATYPE.put(&mut octets, header.sa_type);
        msg::RESERVED.put(&mut octets, header.reserved);
        msg::SEQ.put(&mut octets, header.seq);
        msg::PID.put(&mut octets, header.pid);
        Builder { dialect, octets, missing: None }
    }

    /// Puts an extension behind the others.
    pub fn push(&mut self, kind: ExtType, ext: &Ext<'_>) -> &mut Builder {
        match self.dialect.ext_number(kind) {
            Some(number) => ext::emit(self.dialect, number, ext, &mut self.octets),
            None => self.missing = Some(kind),
        }
        self
    }

    /// An extension was pushed that the dialect does not have.
    pub fn missing(&self) -> Option<ExtType> {
        self.missing
    }

    /// The finished message.
    pub fn finish(mut self) -> Packet {
        let words = (self.octets.len() / 8) as u16;
        msg::LEN.put(&mut self.octets, words);
        Packet::new(self.octets)
    }
}
