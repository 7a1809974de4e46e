//! What a kernel holds, as ipsecctl(8) shows it.

use pfkey::message::Message;
use pfkey::print::{self, Flows};
use pfkey::{Dialect, Incoming, ReplyData, SaInfo, SaState};

/// How it is shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// Keys of SAs too.
    pub keys: bool,
    /// Flows that differ in addresses alone on one line.
    pub collapse: bool,
    /// SAs with all that the kernel tells of them.
    pub verbose: bool,
}

/// The flows of a dump, a line each.
pub fn flows<T: AsRef<[u8]>>(dialect: &'static Dialect, dump: &[T], style: Style) -> String {
    let mut flows = Flows::new(style.collapse);
    for octets in dump {
        if let Ok(Incoming::Reply(reply)) = dialect.interpret(octets.as_ref())
            && let ReplyData::Flow(info) = reply.data
            && !info.per_socket
        {
            flows.add(*info);
        }
    }
    flows.to_string()
}

/// The SAs of a dump, by their SPIs.
pub fn sas<T: AsRef<[u8]>>(dialect: &'static Dialect, dump: &[T], style: Style) -> String {
    let mut found: Vec<(Box<SaInfo>, &[u8])> = Vec::new();
    for octets in dump {
        if let Ok(Incoming::Reply(reply)) = dialect.interpret(octets.as_ref())
            && let ReplyData::SaInfo(info) = reply.data
            // NetBSD tells of those that are deleted already.
            && info.state != SaState::Dead
        {
            found.push((info, octets.as_ref()));
        }
    }
    found.sort_by_key(|(info, _)| info.id.spi);
    let mut out = String::new();
    for (info, octets) in found {
        out.push_str(&print::sa(&info, style.keys));
        out.push('\n');
        if style.verbose
            && let Ok(message) = Message::parse(dialect, octets)
        {
            out.push_str(&print::extensions(&message));
        }
    }
    out
}

/// Both, under their titles.
pub fn all<T: AsRef<[u8]>>(
    dialect: &'static Dialect,
    flow_dump: &[T],
    sa_dump: &[T],
    style: Style,
) -> String {
    let or = |text: String, none: &str| if text.is_empty() { format!("{none}\n") } else { text };
    let flows = or(flows(dialect, flow_dump, style), "No flows");
    let sas = or(sas(dialect, sa_dump, style), "No entries");
    format!("FLOWS:\n{flows}\nSAD:\n{sas}")
}
