#![doc = include_str!("../README.md")]

pub mod alg;
mod codec;
mod compose;
pub mod dialect;
pub mod event;
pub mod ext;
mod interpret;
mod layout;
pub mod message;
pub mod policy;
pub mod print;
pub mod request;
pub mod scripted;
mod secret;
pub mod socket;
mod sys;

pub use alg::{Authentication, Capabilities, Compression, Encryption, KeySizes, Protocol};
pub use codec::{Packet, Sockaddr};
pub use compose::ComposeError;
pub use dialect::{Behaviour, Dialect, ExtType, Interface, MessageType, Moves, SockOpt};
pub use event::{
    Acquire, Counters, Expire, FlowInfo, Incoming, NewMapping, Reply, ReplyData, SaInfo, SaState,
};
pub use ext::Ext;
pub use layout::Layout;
pub use message::{Builder, Header, Message, ParseError};
pub use policy::{
    Direction, Flow, FlowKind, Identity, IdentityKind, Mode, Port, Prefix, Selector, Transform,
};
pub use request::{Encap, GetSpi, Iface, Lifetime, Move, Request, SaId, SaSpec, Spi};
pub use secret::Secret;
pub use socket::{Dump, Socket};
