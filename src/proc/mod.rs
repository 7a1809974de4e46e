//! The processes: start, links, drop of privileges, restart.
//!
//! ```text
//!   oakctl ──── control ───────┐
//!                  │           │
//!   files ────── parent ────  ike ──── UDP, PF_KEY
//!   signals        │  │        │ └──── relay ──── UDP   (where ike may not name addresses)
//!                  │ relay     │
//!                  ca ─────────┘   (as many as are configured)
//! ```
//!
//! All are the same program: the parent runs it again with `-P role`, the link on standard input. The
//! child becomes an ordinary user in an empty directory ([`sandbox`]), then gets everything else over
//! the link: other links, sockets, configuration ([`message`]). Nothing is inherited.

pub mod board;
pub mod ca;
pub mod child;
pub mod control;
pub mod ike;
pub mod imsg;
pub mod message;
pub mod options;
pub mod parent;
pub mod poll;
pub mod reader;
pub mod relay;
pub mod road;
pub mod sandbox;
pub mod workers;

use serde::{Deserialize, Serialize};

use crate::conf::MOST_WORKERS;

/// A process of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Root: opens everything, starts the others.
    Parent,
    /// The secrets; a number where several work side by side, from 0.
    Ca(u8),
    /// The engine.
    Ike,
    /// oakctl's other side.
    Control,
    /// The UDP sockets, where `ike` cannot have them.
    Relay,
    /// Root, for a moment: reads configuration and keys.
    Reader,
}

/// The names of the workers that hold the secrets.
const WORKERS: [&str; MOST_WORKERS as usize] =
    ["ca", "ca2", "ca3", "ca4", "ca5", "ca6", "ca7", "ca8"];

impl Role {
    /// Whether these children talk with each other: all talk with `ike` alone.
    pub fn talks_with(self, other: Self) -> bool {
        let talks = |role| matches!(role, Self::Ca(_) | Self::Control | Self::Relay);
        (self == Self::Ike && talks(other)) || (talks(self) && other == Self::Ike)
    }

    /// The name, as `-P` takes it and the log shows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parent => "parent",
            Self::Ca(number) => WORKERS.get(usize::from(number)).copied().unwrap_or("ca?"),
            Self::Ike => "ike",
            Self::Control => "control",
            Self::Relay => "relay",
            Self::Reader => "reader",
        }
    }

    /// The child of a name.
    pub fn child(name: &str) -> Option<Self> {
        let others = [Self::Ike, Self::Control, Self::Relay, Self::Reader];
        let workers = (0..MOST_WORKERS).map(Self::Ca);
        workers.chain(others).find(|role| role.name() == name)
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
