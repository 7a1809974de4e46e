//! The processes: start, links, drop of privileges, restart.
//!
//! ```text
//!   oakctl ──── control ───────┐
//!                  │           │
//!   files ────── parent ────  ike ──── UDP, PF_KEY
//!   signals        │  │        │ └──── relay ──── UDP   (where ike may not name addresses)
//!                  │ relay     │
//!                  ca ─────────┘
//! ```
//!
//! All are the same program: the parent runs it again with `-P role`, the link on standard input. The
//! child becomes an ordinary user in an empty directory ([`sandbox`]), then gets everything else over
//! the link: other links, sockets, configuration ([`message`]). Nothing is inherited.

pub mod ca;
pub mod child;
pub mod control;
pub mod ike;
pub mod imsg;
pub mod message;
pub mod parent;
pub mod poll;
pub mod reader;
pub mod relay;
pub mod road;
pub mod sandbox;

use serde::{Deserialize, Serialize};

/// A process of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Root: opens everything, starts the others.
    Parent,
    /// The secrets.
    Ca,
    /// The engine.
    Ike,
    /// oakctl's other side.
    Control,
    /// The UDP sockets, where `ike` cannot have them.
    Relay,
    /// Root, for a moment: reads configuration and keys.
    Reader,
}

/// The children that always run.
pub const CHILDREN: [Role; 3] = [Role::Ca, Role::Ike, Role::Control];

/// Which children talk with each other.
pub const LINKS: [(Role, Role); 3] =
    [(Role::Ike, Role::Ca), (Role::Control, Role::Ike), (Role::Ike, Role::Relay)];

impl Role {
    /// The name, as `-P` takes it and the log shows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parent => "parent",
            Self::Ca => "ca",
            Self::Ike => "ike",
            Self::Control => "control",
            Self::Relay => "relay",
            Self::Reader => "reader",
        }
    }

    /// The child of a name.
    pub fn child(name: &str) -> Option<Self> {
        let children = [Self::Ca, Self::Ike, Self::Control, Self::Relay, Self::Reader];
        children.into_iter().find(|role| role.name() == name)
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
