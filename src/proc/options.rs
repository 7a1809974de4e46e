//! What the daemon is told on the command line, and the configuration as it wants it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::conf::{self, Checked, Diagnostic, Prefix, Start};
use crate::log::Detail;
use crate::net;

/// What the command line said.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// The configuration file.
    pub file: String,
    /// The directory of keys and certificates.
    pub keys: PathBuf,
    /// Macros that the file cannot change.
    pub macros: Vec<(String, String)>,
    /// Stay in the foreground and log to standard error.
    pub foreground: bool,
    /// How much to log.
    pub detail: Detail,
    /// Where the control socket is.
    pub socket: PathBuf,
    /// The directory for what the next daemon has to know.
    pub state: PathBuf,
    /// Whom the children become.
    pub user: String,
    /// The empty directory that they see.
    pub root: PathBuf,
    /// The ports for IKE, and for IKE and ESP in UDP.
    pub ports: (u16, u16),
    /// Every child SA is encapsulated in UDP.
    pub force_natt: bool,
    /// Never start a negotiation.
    pub passive: bool,
    /// Datagrams go through the `relay` process, also where this is not needed.
    pub relay: bool,
    /// The kernel to be served.
    pub kernel: KernelAt,
}

/// Where a kernel is and what it speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelAt {
    /// The dialect's name.
    pub dialect: String,
    /// A SOCK_SEQPACKET socket that relays to it; `None` is this host's PF_KEY.
    pub relay: Option<PathBuf>,
}

impl KernelAt {
    /// This host's.
    pub fn here() -> Self {
        Self { dialect: pfkey::Dialect::native().name.into(), relay: None }
    }
}

impl std::str::FromStr for KernelAt {
    type Err = String;

    /// `DIALECT:PATH`.
    fn from_str(text: &str) -> Result<Self, String> {
        let names = || pfkey::Dialect::all().map(|dialect| dialect.name).join(", ");
        let (dialect, path) = text.split_once(':').unwrap_or((text, ""));
        if pfkey::Dialect::by_name(dialect).is_none() {
            return Err(format!("{text}: want dialect:path, and a dialect of {}", names()));
        }
        if path.is_empty() {
            return Err(format!("{text}: want dialect:path, the path of a relay's socket"));
        }
        let path = std::path::absolute(path).map_err(|error| format!("{path}: {error}"))?;
        Ok(Self { dialect: dialect.into(), relay: Some(path) })
    }
}

/// Reads and checks the configuration as the options want it.
///
/// # Errors
///
/// What is wrong, place by place.
pub fn configuration(options: &Options) -> Result<Checked, Vec<Diagnostic>> {
    let files = &conf::system::SystemFiles;
    let names = &conf::system::SystemNames;
    let mut checked = conf::load(&options.file, &options.macros, files, names)?;
    checked.config.globals.passive |= options.passive;
    for policy in &mut checked.config.policies {
        policy.force_natt |= options.force_natt;
        // Who calls a peer, or catches traffic to it, must know his own address. Without a route
        // it stays open, and the peer will take the address it sees for a translated one.
        if policy.start != Start::Passive && policy.local.is_none() {
            let peer = policy.peer.and_then(|peer| peer.as_host());
            let source = peer.and_then(|peer| net::source_for(peer).ok());
            policy.local = source.map(Prefix::host);
            policy.local_by_route = true;
        }
    }
    Ok(checked)
}
