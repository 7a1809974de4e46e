//! Rules of ipsec.conf(5) as text: as they are written, and entries as ipsecctl(8) shows them.

use std::fmt::{self, Write};

use super::{
    Algorithms, Ends, Entry, FlowEntry, IkeMode, Keys, Kind, Phase, Rule, SaEntry, Way, isakmpd,
};
use crate::conf::print::{
    Quoted, write_host, write_options, write_secret, write_side, write_valued, write_word,
};
use crate::conf::source::Names;
use crate::conf::syntax::Host;
use crate::conf::{Mode, Signature, Xauth};
use crate::crypto::Secret;

/// How entries are shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// The commands that remove `ike` rules rather than those that add them.
    pub delete: bool,
    /// Keys too.
    pub keys: bool,
    /// A number before each entry, and what macros were not used.
    pub numbers: bool,
}

/// A rule as it is written.
pub fn write_rule(out: &mut String, rule: &Rule, secrets: bool) -> fmt::Result {
    match rule {
        Rule::Ike(rule) => {
            out.push_str("ike");
            write_flag(out, rule.mode.map(ike_mode));
            write_valued(out, "interface", rule.interface.map(|unit| format!("sec{unit}")))?;
            rule.kinds.iter().for_each(|kind| write_flag(out, Some(kind.word())));
            write_flag(out, rule.encapsulation.map(mode));
            write_ends(out, &rule.ends, rule.interface.is_none())?;
            if let Some(phase) = &rule.phase1 {
                let word = if phase.aggressive { "aggressive" } else { "main" };
                write_phase(out, word, phase)?;
            }
            if let Some(phase) = &rule.phase2 {
                write_phase(out, "quick", phase)?;
            }
            write_ids(out, &rule.ends)?;
            if let Some(psk) = &rule.psk {
                out.push_str(" psk ");
                write_secret(out, psk, secrets)?;
            }
            write_flag(out, (rule.signature != Signature::Rsa).then(|| rule.signature.word()));
            write_flag(out, rule.proof.word());
            match &rule.xauth {
                Some(Xauth::As(user)) => write!(out, " xauth {}", Quoted(user))?,
                Some(Xauth::Peer) => out.push_str(" xauth"),
                None => {}
            }
            write_options(out, &rule.options)?;
            write_valued(out, "iface", rule.iface.as_deref().map(Quoted))?;
            write_valued(out, "tag", rule.tag.as_deref().map(Quoted))
        }
        Rule::Flow(rule) => {
            out.push_str("flow");
            write_flag(out, rule.kind.map(Kind::word));
            write_flag(out, rule.way.map(way));
            write_ends(out, &rule.ends, true)?;
            write_ids(out, &rule.ends)?;
            write_valued(out, "type", rule.flow_type.map(|t| t.word()))
        }
        Rule::Sa(rule) => {
            out.push_str(rule.kind.word());
            write_flag(out, rule.encapsulation.map(mode));
            write_side(out, "from", &rule.from)?;
            write_side(out, "to", &rule.to)?;
            write!(out, " spi 0x{:08x}", rule.spi)?;
            if let Some(back) = rule.spi_back {
                write!(out, ":0x{back:08x}")?;
            }
            match rule.udpencap {
                Some(0) => out.push_str(" udpencap"),
                port => write_valued(out, "udpencap port", port)?,
            }
            write_algorithms(out, &rule.algorithms)?;
            write_keys(out, "authkey", rule.authkey.as_ref(), secrets)?;
            write_keys(out, "enckey", rule.enckey.as_ref(), secrets)?;
            write_valued(out, "bundle", rule.bundle.as_deref().map(Quoted))
        }
    }
}

/// An entry as ipsecctl shows it.
///
/// # Errors
///
/// What isakmpd cannot do, in ipsecctl's words; what stands before it is written.
pub fn write_entry(
    out: &mut String,
    entry: &Entry,
    style: Style,
    names: &dyn Names,
) -> Result<(), String> {
    let written = match entry {
        Entry::Ike(entry) if style.delete => {
            isakmpd::delete(out, entry);
            Ok(())
        }
        Entry::Ike(entry) => return isakmpd::add(out, entry, names.hostname().as_deref()),
        Entry::Flow(flow) => write_flow(out, flow, names),
        Entry::Sa(sa) => write_sa(out, sa, style.keys),
        Entry::Bundle { first, second } => {
            let part = |(dst, kind, spi): &(super::Address, Kind, u32)| {
                format!("{} to {dst} spi 0x{spi:08x}", kind.word())
            };
            writeln!(out, "[bundle {} with {}]", part(first), part(second))
        }
    };
    // Writing to a String does not fail.
    written.map_err(|e| e.to_string())
}

fn write_flow(out: &mut String, flow: &FlowEntry, names: &dyn Names) -> fmt::Result {
    write!(out, "flow {} {}", flow.kind.word(), way(flow.way))?;
    if flow.protocol != 0 {
        let name = names.protocol_name(flow.protocol);
        write!(out, " proto {}", name.unwrap_or_else(|| flow.protocol.to_string()))?;
    }
    let port = |port: u16| match port {
        0 => String::new(),
        port => {
            let name = names.service_name(port, flow.protocol);
            format!(" port {}", name.unwrap_or_else(|| port.to_string()))
        }
    };
    write!(out, " from {}{}", flow.src, port(flow.src_port))?;
    write!(out, " to {}{}", flow.dst, port(flow.dst_port))?;
    write_valued(out, "local", flow.local.as_ref())?;
    write_valued(out, "peer", flow.peer.as_ref())?;
    write_valued(out, "srcid", flow.srcid.as_ref())?;
    write_valued(out, "dstid", flow.dstid.as_ref())?;
    writeln!(out, " type {}", flow.flow_type.word())
}

fn write_sa(out: &mut String, sa: &SaEntry, keys: bool) -> fmt::Result {
    out.push_str(sa.kind.word());
    if !matches!(sa.kind, Kind::Ipip | Kind::TcpMd5) {
        write_flag(out, Some(mode(sa.mode)));
    }
    write!(out, " from {} to {} spi 0x{:08x}", sa.src, sa.dst, sa.spi)?;
    let chosen = &sa.algorithms;
    for (word, row) in [("auth", chosen.auth), ("enc", chosen.enc), ("comp", chosen.comp)] {
        write_valued(out, word, row.map(|r| r.word))?;
    }
    let separator = if sa.kind == Kind::TcpMd5 { " " } else { " \\\n\t" };
    let written = [("authkey", &sa.authkey), ("enckey", &sa.enckey)];
    for (word, key) in written.into_iter().filter(|_| keys) {
        let Some(key) = key else { continue };
        write!(out, "{separator}{word} 0x")?;
        write_hexadecimal(out, key)?;
    }
    out.push('\n');
    Ok(())
}

fn write_hexadecimal(out: &mut String, key: &Secret) -> fmt::Result {
    key.octets().iter().try_for_each(|octet| write!(out, "{octet:02x}"))
}

fn write_flag(out: &mut String, word: Option<&str>) {
    if let Some(word) = word {
        out.push(' ');
        out.push_str(word);
    }
}

fn ike_mode(mode: IkeMode) -> &'static str {
    match mode {
        IkeMode::Active => "active",
        IkeMode::Passive => "passive",
        IkeMode::Dynamic => "dynamic",
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Tunnel => "tunnel",
        Mode::Transport => "transport",
    }
}

fn way(way: Way) -> &'static str {
    match way {
        Way::In => "in",
        Way::Out => "out",
    }
}

fn write_ends(out: &mut String, ends: &Ends, traffic: bool) -> fmt::Result {
    if let Some(protocol) = &ends.protocol {
        out.push_str(" proto ");
        write_word(out, &protocol.value)?;
    }
    if traffic {
        write_side(out, "from", &ends.from)?;
        write_side(out, "to", &ends.to)?;
    }
    for (word, host) in [("local", &ends.local), ("peer", &ends.peer)] {
        match host.as_ref().map(|host| &host.value) {
            None => {}
            // No length can stand behind such a word, but within it.
            Some(Host::Named { word: name, length: Some(length) }) => {
                write!(out, " {word} {}", Quoted(&format!("{name}/{length}")).always())?;
            }
            Some(host) => {
                write!(out, " {word} ")?;
                write_host(out, host)?;
            }
        }
    }
    Ok(())
}

fn write_ids(out: &mut String, ends: &Ends) -> fmt::Result {
    write_valued(out, "srcid", ends.srcid.as_deref().map(Quoted))?;
    write_valued(out, "dstid", ends.dstid.as_deref().map(Quoted))
}

fn write_phase(out: &mut String, word: &str, phase: &Phase) -> fmt::Result {
    write!(out, " {word}")?;
    write_algorithms(out, &phase.algorithms)?;
    write_valued(out, "lifetime", phase.lifetime)?;
    write_valued(out, "bytes", phase.bytes)
}

fn write_algorithms(out: &mut String, chosen: &Algorithms) -> fmt::Result {
    let rows = [
        ("auth", chosen.auth),
        ("enc", chosen.enc),
        ("comp", chosen.comp),
        ("group", chosen.group),
    ];
    rows.iter().try_for_each(|(word, row)| write_valued(out, word, row.map(|r| r.word)))
}

fn write_keys(out: &mut String, word: &str, keys: Option<&Keys>, secrets: bool) -> fmt::Result {
    let Some(keys) = keys else { return Ok(()) };
    write!(out, " {word} ")?;
    if keys.files {
        out.push_str("file ");
    } else if !secrets {
        return write_secret(out, &keys.out, false);
    }
    let mut text = String::from_utf8_lossy(keys.out.octets()).into_owned();
    if let Some(back) = &keys.back {
        text.push(':');
        text.push_str(&String::from_utf8_lossy(back.octets()));
    }
    out.write_str(&Quoted(&text).always())
}
