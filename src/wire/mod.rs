//! Wire formats: octets to values and back.
//!
//! [`Header::parse`] reads the 28 octets which IKEv1 and IKEv2 share; [`v2::parse_message`] goes on to
//! typed payloads, [`v2::emit_message`] is its inverse. [`v2::sk`] says where the parts of an encrypted
//! payload lie, without knowing a key. The numbers live in [`iana`]. Nothing in this room holds state.
//!
//! What is parsed is bounded: a message has at most [`payload::MAX_PAYLOADS`] payloads, an SA payload
//! at most [`proposal::MAX_TRANSFORMS`] transforms; every other list is bounded by its octets.

pub mod attribute;
pub mod dn;
pub mod dump;
pub mod error;
pub mod header;
pub mod iana;
pub mod numbers;
pub mod payload;
pub mod proposal;
pub mod v1;
pub mod v2;

pub use error::{Error, Place, Reason};
pub use header::{Flags, HEADER_LEN, Header, Version};
pub use numbers::{EspSpi, IkeSpi, MessageId, Spi};
