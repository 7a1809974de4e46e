//! What a kernel holds and says, for eyes: in the manner of OpenBSD's ipsecctl(8).
//!
//! Keys are shown only where asked for.

use crate::alg::Encryption;
use crate::dialect::{Dialect, ExtType};
use crate::event::{FlowInfo, SaInfo};
use crate::ext::Ext;
use crate::message::Message;
use crate::policy::{Direction, Flow, FlowKind, Mode, Port, Prefix, Selector};
use crate::request::Lifetime;
use crate::secret::Secret;
use std::fmt::{self, Display, Write};
use std::net::IpAddr;

/// An SA as `ipsecctl -s sa` shows it; with `keys` as `-k` does.
///
/// The line ends without a newline; keys are on lines of their own, each line but the last ending
/// with a backslash.
pub fn sa(info: &SaInfo, keys: bool) -> String {
    let mut out = info.id.protocol.to_string();
    match info.mode {
        Some(Mode::Tunnel) => out += " tunnel",
        Some(Mode::Transport) => out += " transport",
        None => {}
    }
    append(&mut out, format_args!(" from {} to {}", info.id.src, info.id.dst));
    append(&mut out, format_args!(" spi {}", info.id.spi));
    if let Some(encap) = info.encap {
        append(&mut out, format_args!(" udpencap {}", encap.dst_port));
    }
    let combined = info.encryption.is_some_and(Encryption::is_aead);
    if let (Some(auth), false) = (info.authentication, combined) {
        append(&mut out, format_args!(" auth {}", auth.name()));
    }
    if let Some(encryption) = info.encryption {
        append(&mut out, format_args!(" enc {}", encryption.name()));
        if let (true, Some(key)) = (sized(encryption), &info.encryption_key) {
            let bits = key.len().saturating_sub(encryption.salt_len()) * 8;
            append(&mut out, format_args!("-{bits}"));
        }
    }
    if let Some(compression) = info.compression {
        append(&mut out, format_args!(" comp {}", compression.name()));
    }
    if keys {
        let mut show = |name: &str, key: &Option<Secret>| {
            let Some(key) = key.as_ref().filter(|key| !key.is_empty()) else { return };
            append(&mut out, format_args!(" \\\n\t{name} 0x"));
            for octet in key.expose() {
                append(&mut out, format_args!("{octet:02x}"));
            }
        };
        if !combined {
            show("authkey", &info.authentication_key);
        }
        show("enckey", &info.encryption_key);
    }
    out
}

/// Ciphers whose key length is part of what ipsecctl calls them.
fn sized(encryption: Encryption) -> bool {
    matches!(
        encryption,
        Encryption::AesCbc | Encryption::AesCtr | Encryption::AesGcm16 | Encryption::AesGmac
    )
}

/// A flow as `ipsecctl -s flow` shows it.
pub fn flow(info: &FlowInfo) -> String {
    let (src, dst) = (info.flow.selector.src, info.flow.selector.dst);
    flow_between(info, &src.to_string(), &dst.to_string())
}

/// Flows as `ipsecctl -s flow` shows them; collapsed as `-c` does: neighbours that differ in
/// addresses alone on one line.
///
/// ```
/// use pfkey::print::Flows;
/// assert_eq!(Flows::new(true).to_string(), "");
/// ```
#[derive(Debug, Default)]
pub struct Flows {
    collapse: bool,
    lines: Vec<(FlowInfo, Vec<Prefix>, Vec<Prefix>)>,
}

impl Flows {
    /// None yet.
    pub fn new(collapse: bool) -> Flows {
        Flows { collapse, lines: Vec::new() }
    }

    /// One more.
    pub fn add(&mut self, info: FlowInfo) {
        let like = |info: &FlowInfo| flow_between(info, "", "");
        let Selector { src, dst, .. } = info.flow.selector;
        match self.lines.last_mut().filter(|(last, ..)| self.collapse && like(last) == like(&info))
        {
            Some((last, srcs, dsts)) => {
                srcs.extend((src != last.flow.selector.src).then_some(src));
                dsts.extend((dst != last.flow.selector.dst).then_some(dst));
            }
            None => self.lines.push((info, vec![src], vec![dst])),
        }
    }
}

impl Display for Flows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (info, srcs, dsts) in &self.lines {
            let list = |prefixes: &[Prefix]| {
                let each: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
                match self.collapse {
                    true => format!("{{ {} }}", each.join(", ")),
                    false => each.concat(),
                }
            };
            writeln!(f, "{}", flow_between(info, &list(srcs), &list(dsts)))?;
        }
        Ok(())
    }
}

fn flow_between(info: &FlowInfo, src: &str, dst: &str) -> String {
    let Flow { direction, kind, selector, transforms, identities, .. } = &info.flow;
    let transform = transforms.first();
    let mut out = "flow".to_owned();
    if let Some(transform) = transform {
        append(&mut out, format_args!(" {}", transform.protocol));
    } else {
        out += " esp";
    }
    out += match (direction, info.forward) {
        (Direction::In, true) => " fwd",
        (Direction::In, false) => " in",
        (Direction::Out, _) => " out",
    };
    match selector.protocol {
        0 => {}
        1 => out += " proto icmp",
        6 => out += " proto tcp",
        17 => out += " proto udp",
        other => append(&mut out, format_args!(" proto {other}")),
    }
    out += " from ";
    side(&mut out, src, selector.src_port);
    out += " to ";
    side(&mut out, dst, selector.dst_port);
    if let Some((src, dst)) = transform.and_then(|t| t.endpoints) {
        let (local, peer) = match direction {
            Direction::Out => (src, dst),
            Direction::In => (dst, src),
        };
        let known = |addr: &IpAddr| !addr.is_unspecified();
        if known(&local) {
            append(&mut out, format_args!(" local {local}"));
        }
        if known(&peer) {
            append(&mut out, format_args!(" peer {peer}"));
        }
    }
    if let Some((src, dst)) = identities {
        append(&mut out, format_args!(" srcid {} dstid {}", src.name, dst.name));
    }
    out += match kind {
        FlowKind::Use => " type use",
        FlowKind::Acquire => " type acquire",
        FlowKind::Require => " type require",
        FlowKind::Bypass => " type bypass",
        FlowKind::Deny => " type deny",
        FlowKind::DontAcquire => " type dontacq",
    };
    out
}

fn side(out: &mut String, addresses: &str, port: Port) {
    out.push_str(addresses);
    if !port.is_any() {
        append(out, format_args!(" port {}", port.port));
    }
}

/// A message as `ipsecctl -m` shows it: a line for the header, and one for each extension.
/// Keys are shown by their length.
///
/// ```
/// use pfkey::{Dialect, Message, Protocol, Request};
/// let dialect = Dialect::by_name("openbsd").ok_or("no such dialect")?;
/// let packets = dialect.compose(&Request::Register(Protocol::Esp), 7, 100)?;
/// let text = pfkey::print::message(&Message::parse(dialect, &packets[0])?);
/// assert_eq!(text, "sadb_register: satype esp vers 2 len 2 seq 7 pid 100");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn message(m: &Message<'_>) -> String {
    let dialect = m.dialect();
    let h = &m.header;
    let mut out = match dialect.message_name(h.message) {
        Some(name) => name.to_lowercase(),
        None => format!("{:?}", h.message).to_lowercase(),
    };
    match dialect.protocol(h.sa_type) {
        Some(protocol) => append(&mut out, format_args!(": satype {protocol}")),
        None if h.sa_type == 0 => out += ": satype unspec",
        None => append(&mut out, format_args!(": satype {}", h.sa_type)),
    }
    let words = m.octets().len() / 8;
    append(&mut out, format_args!(" vers 2 len {words} seq {} pid {}", h.seq, h.pid));
    if h.errno != 0 {
        append(&mut out, format_args!(" errno {}", h.errno));
    }
    for line in extensions(m).lines() {
        append(&mut out, format_args!("\n{line}"));
    }
    if let Some(inner) = m.inner() {
        match Message::parse(dialect, inner) {
            // A copy of a copy could go on for long.
            Ok(inner) if inner.inner().is_some() => out += "\n\tcopy of a copy",
            Ok(inner) => append(&mut out, format_args!("\n\tcopy of {}", message(&inner))),
            Err(e) => append(&mut out, format_args!("\n\tcopy of what is no message: {e}")),
        }
    }
    out
}

/// The extensions of a message alone, a line for each, as `ipsecctl -v -s sa` shows them.
pub fn extensions(m: &Message<'_>) -> String {
    let dialect = m.dialect();
    let mut out = String::new();
    for (kind, ext) in m.extensions() {
        let name = ext_name(dialect, kind);
        append(&mut out, format_args!("\t{name}: {}\n", Shown(dialect, &ext)));
    }
    out
}

fn ext_name(dialect: &Dialect, kind: ExtType) -> String {
    match (dialect.ext_name(kind), kind) {
        (Some(name), _) => {
            let bare = name.strip_prefix("SADB_X_EXT_").or(name.strip_prefix("SADB_EXT_"));
            bare.unwrap_or(name).to_lowercase()
        }
        (None, ExtType::Unknown(number)) => format!("unknown {number}"),
        (None, other) => format!("{other:?}"),
    }
}

/// The body of an extension for eyes.
struct Shown<'a>(&'static Dialect, &'a Ext<'a>);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dialect = self.0;
        match self.1 {
            Ext::Sa(sa) => {
                write!(f, "spi 0x{:08x} auth ", sa.spi)?;
                match dialect.authentication(sa.auth) {
                    Some(auth) => f.write_str(auth.name())?,
                    None if sa.auth == 0 => f.write_str("none")?,
                    None => write!(f, "{}", sa.auth)?,
                }
                match dialect.encryption(sa.encrypt) {
                    Some(encryption) => write!(f, " enc {}", encryption.name())?,
                    None if sa.encrypt == 0 => f.write_str(" enc none")?,
                    None => write!(f, " enc {}", sa.encrypt)?,
                }
                let state = ["larval", "mature", "dying", "dead"];
                let state = state.get(usize::from(sa.state)).copied().unwrap_or("unknown");
                write!(f, "\n\t\tstate {state} replay {} flags {:#x}", sa.replay, sa.flags)
            }
            Ext::Lifetime(Lifetime { allocations, bytes, add_seconds, use_seconds }) => {
                write!(f, "alloc {allocations} bytes {bytes} add {add_seconds} first {use_seconds}")
            }
            Ext::Address(address) => match address.addr.socket() {
                Some(addr) if addr.port() != 0 => write!(f, "{} port {}", addr.ip(), addr.port()),
                Some(addr) => write!(f, "{}", addr.ip()),
                None => f.write_str("none"),
            },
            Ext::Key(key) => write!(f, "bits {}", key.bits),
            Ext::Identity(ident) => {
                let end = ident.name.iter().position(|&b| b == 0).unwrap_or(ident.name.len());
                write!(
                    f,
                    "type {} id {}: {}",
                    ident.kind,
                    ident.id,
                    ident.name[..end].escape_ascii()
                )
            }
            Ext::SpiRange { min, max } => write!(f, "min 0x{min:08x} max 0x{max:08x}"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// Appends to a string, which cannot fail.
fn append(out: &mut String, text: fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}
