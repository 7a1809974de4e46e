//! Encrypting and opening messages (RFC 2409 §5.3 end, appendix B): one cipher for both directions, an
//! IV that each message hands on to the next, and in phase 2 a hash over the message.
//!
//! ```text
//! phase 1:  IV = hash(g^xi | g^xr)  -->  message 5  -->  message 6  -.
//!                                        last block      last block  |
//! phase 2:  IV = hash(last block of phase 1 | message ID)  <---------'
//!              -->  first message  -->  second  -->  third           of that message ID
//! ```
//!
//! The next IV is handed back rather than kept: a message that turns out forged must not move the chain.

use super::hash;
use super::keys::Keys;
use crate::crypto::block::MAX_BLOCK;
use crate::crypto::{Block, Error, Prf, same};
use crate::wire::error::Error as WireError;
use crate::wire::iana::v1::{NotifyType, PayloadType};
use crate::wire::v1::{Payload, after_first, emit_content, emit_payloads, parse_padded};
use crate::wire::{Flags, Header, MessageId};

/// Where the cipher's chain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Iv {
    octets: [u8; MAX_BLOCK],
    len: u8,
}

/// A message that is decrypted. Nothing of it counts until its hash is verified.
#[derive(Debug)]
pub struct Plain {
    /// The payloads.
    pub payloads: Vec<Payload>,
    /// Their octets as they came, without padding.
    pub octets: Vec<u8>,
    /// The IV that follows, once the message is believed.
    pub next: Iv,
}

/// Why an encrypted message was not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing sensible came out: another key, another IV, or noise. As good as forged.
    Unreadable(String),
    /// Payloads came out, and the hash over them is wrong or missing.
    Forged,
    /// Our own side failed.
    Own(Error),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(why) => write!(f, "it does not decrypt to payloads ({why})"),
            Self::Forged => write!(f, "its hash is wrong"),
            Self::Own(error) => error.fmt(f),
        }
    }
}

impl From<WireError> for Fault {
    fn from(error: WireError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl Iv {
    /// The first IV of phase 1: `hash(g^xi | g^xr)`.
    pub fn phase1(prf: Prf, block: Block, publics: (&[u8], &[u8])) -> Self {
        Self::cut(&prf.hash().digest(&[publics.0, publics.1]).0, block.block_len())
    }

    /// The first IV of an exchange in phase 2: `hash(last block of phase 1 | message ID)`. `self` is
    /// where the chain of phase 1 ended.
    pub fn phase2(&self, prf: Prf, id: MessageId) -> Self {
        let seed = [self.octets(), &id.0.to_be_bytes()[..]];
        Self::cut(&prf.hash().digest(&seed).0, self.len.into())
    }

    /// Its octets.
    pub fn octets(&self) -> &[u8] {
        self.octets.get(..self.len.into()).unwrap_or(&self.octets)
    }

    fn cut(octets: &[u8], len: usize) -> Self {
        let mut iv = [0; MAX_BLOCK];
        let len = len.min(MAX_BLOCK).min(octets.len());
        iv[..len].copy_from_slice(&octets[..len]);
        Self { octets: iv, len: u8::try_from(len).unwrap_or(0) }
    }

    /// The IV after this ciphertext: its last block.
    fn after(&self, ciphertext: &[u8]) -> Self {
        let len = usize::from(self.len);
        match ciphertext.len().checked_sub(len).and_then(|at| ciphertext.get(at..)) {
            Some(last) => Self::cut(last, len),
            None => *self,
        }
    }
}

/// Encrypts payloads: the message, and the IV that follows it. The encryption flag is set here.
///
/// # Errors
///
/// The library failing.
pub fn seal(
    keys: &Keys,
    iv: &Iv,
    header: &Header,
    payloads: &[Payload],
) -> Result<(Vec<u8>, Iv), Error> {
    let (first, octets) = emit_payloads(payloads);
    seal_octets(keys, iv, header, first, octets)
}

/// As [`seal`], with a hash payload in front over what follows it: `prf(SKEYID_a, M-ID | before |
/// rest)`. `before` is nothing, or the initiator's nonce in the second message of Quick Mode.
///
/// # Errors
///
/// The library failing.
pub fn seal_hashed(
    keys: &Keys,
    iv: &Iv,
    header: &Header,
    before: &[u8],
    payloads: Vec<Payload>,
) -> Result<(Vec<u8>, Iv), Error> {
    let (_, rest) = emit_payloads(&payloads);
    let hash = hash::second(keys, header.message_id, before, &rest);
    let all: Vec<_> = std::iter::once(Payload::Hash(hash)).chain(payloads).collect();
    seal(keys, iv, header, &all)
}

fn seal_octets(
    keys: &Keys,
    iv: &Iv,
    header: &Header,
    first: PayloadType,
    mut octets: Vec<u8>,
) -> Result<(Vec<u8>, Iv), Error> {
    // There is always padding (RFC 2409 appendix B). It is zeroes, as other daemons have it: the count
    // which that appendix wants in the last octet is read by nobody.
    let padded = (octets.len() + 1).next_multiple_of(keys.block.block_len());
    octets.resize(padded, 0);
    keys.block.encrypt(&keys.cipher, iv.octets(), &mut octets)?;
    let header = Header { flags: header.flags | Flags::ENCRYPTION, ..*header };
    let next = iv.after(&octets);
    Ok((emit_content(&header, first, &octets), next))
}

/// Decrypts a message's content and reads its payloads. Their hash is still to be verified.
///
/// # Errors
///
/// [`Fault::Unreadable`]; the library failing.
pub fn open(keys: &Keys, iv: &Iv, header: &Header, content: &[u8]) -> Result<Plain, Fault> {
    let block = keys.block.block_len();
    if content.is_empty() || !content.len().is_multiple_of(block) {
        let why = format!("{} octets are no whole number of blocks of {block}", content.len());
        return Err(Fault::Unreadable(why));
    }
    let mut octets = content.to_vec();
    keys.block.decrypt(&keys.cipher, iv.octets(), &mut octets).map_err(Fault::Own)?;
    let opened = parse_padded(header.next_payload_v1(), &octets)?;
    octets.truncate(opened.used);
    Ok(Plain { payloads: opened.payloads, octets, next: iv.after(content) })
}

/// Opens an informational exchange that may begin with the notification of an error, wherever the chain of IVs
/// stood: at this IV, or else without its first block, which lies within the hash. What of the hash is behind that
/// has to be right.
pub fn open_refusal(keys: &Keys, iv: &Iv, header: &Header, content: &[u8]) -> Option<Vec<Payload>> {
    const HEADER: usize = 4;
    const LEAST: usize = 8;
    if let Ok(plain) = open_hashed(keys, iv, header, content, &[]) {
        return Some(plain.payloads);
    }
    let (block, hash) = (keys.block.block_len(), keys.prf.len());
    let mut octets = content.to_vec();
    keys.block.decrypt(&keys.cipher, &[0; MAX_BLOCK][..block], &mut octets).ok()?;
    let known = block.max(HEADER)..HEADER + hash;
    let rest = octets.get(known.end..).filter(|rest| !rest.is_empty())?;
    let opened = parse_padded(PayloadType::N, rest).ok()?;
    let ours = hash::second(keys, header.message_id, &[], rest.get(..opened.used)?);
    let (ours, theirs) = (ours.get(known.start - HEADER..)?, octets.get(known)?);
    // The type of the first payload is not known: a deletion reads as a notification whose type counts SPIs.
    let refuses = match opened.payloads.first() {
        Some(Payload::Notify(it)) => it.notify_type.0 >= NotifyType::PAYLOAD_MALFORMED.0,
        _ => false,
    };
    (refuses && theirs.len() >= LEAST && same(ours, theirs)).then_some(opened.payloads)
}

/// Whether a notification or deletion was encrypted with these keys, whatever its IV was: that spoils the first
/// block alone, which lies within the hash, and behind the hash a reserved octet and the DOI say what they must.
pub fn reads_behind_hash(keys: &Keys, content: &[u8]) -> bool {
    const HEADER: usize = 4;
    let mut octets = content.to_vec();
    let iv = [0; MAX_BLOCK];
    let decrypted =
        keys.block.decrypt(&keys.cipher, &iv[..keys.block.block_len()], &mut octets).is_ok();
    let body = octets.get(HEADER + keys.prf.len()..).unwrap_or_default();
    decrypted && matches!(body, [_, 0, _, _, 0, 0, 0, 0 | 1, ..])
}

/// As [`open`], and verifies the hash payload in front as [`seal_hashed`] makes it. The hash payload is
/// not among the payloads that come back.
///
/// # Errors
///
/// See [`Fault`].
pub fn open_hashed(
    keys: &Keys,
    iv: &Iv,
    header: &Header,
    content: &[u8],
    before: &[u8],
) -> Result<Plain, Fault> {
    let mut plain = open(keys, iv, header, content)?;
    let rest = after_first(&plain.octets, plain.octets.len());
    let ours = hash::second(keys, header.message_id, before, rest);
    match plain.payloads.first() {
        Some(Payload::Hash(theirs)) if same(&ours, theirs) => {
            plain.payloads.remove(0);
            Ok(plain)
        }
        _ => Err(Fault::Forged),
    }
}
