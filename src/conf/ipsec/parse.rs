//! Tokens to rules of ipsec.conf(5), whose clauses come in one order.

use super::{
    AUTH, Algorithms, COMP, ENC, Ends, FlowRule, FlowType, GROUP, IkeMode, IkeRule, Keys, Kind,
    Phase, Rule, SaRule, Transform, Way, transform,
};
use crate::conf::Mode;
use crate::conf::diagnostic::Place;
use crate::conf::lex::TokenKind;
use crate::conf::parse::{Cursor, Fault, Problem};
use crate::conf::syntax::{Host, Side, SideHost, Spanned};
use crate::crypto::Secret;

/// How deep lists of hosts may lie in each other.
const LIST_DEPTH: usize = 8;

const KINDS: &[(&str, Kind)] =
    &[("esp", Kind::Esp), ("ah", Kind::Ah), ("ipcomp", Kind::Ipcomp), ("ipip", Kind::Ipip)];

/// Whether a word begins a rule of ipsec.conf(5).
pub fn starts_rule(word: &str) -> bool {
    let others = ["ike", "flow", "tcpmd5", "tunnel", "transport", "from", "to"];
    others.contains(&word) || KINDS.iter().any(|(kind, _)| *kind == word)
}

/// A whole rule.
pub fn parse(cursor: &mut Cursor) -> Result<Rule, Fault> {
    let rule = if cursor.eat("ike") {
        Rule::Ike(ike(cursor)?)
    } else if cursor.eat("flow") {
        Rule::Flow(flow(cursor)?)
    } else {
        Rule::Sa(sa(cursor)?)
    };
    cursor.finish("the end of the line")?;
    Ok(rule)
}

fn ike(cursor: &mut Cursor) -> Result<IkeRule, Fault> {
    let modes =
        [("active", IkeMode::Active), ("passive", IkeMode::Passive), ("dynamic", IkeMode::Dynamic)];
    let mode = one_of(cursor, &modes);
    let interface = match cursor.eat("interface") {
        true => Some(sec_unit(cursor)?),
        false => None,
    };
    let mut kind = None;
    let mut encapsulation = None;
    let mut ends = match interface {
        Some(_) => no_ends(),
        None => {
            kind = one_of(cursor, KINDS);
            encapsulation = tunnel_or_transport(cursor);
            hosts_with_protocol(cursor)?
        }
    };
    peers(cursor, &mut ends)?;
    let phase1 = match (cursor.is("main"), cursor.is("aggressive")) {
        (false, false) => None,
        (_, aggressive) => Some(phase(cursor, aggressive)?),
    };
    let phase2 = if cursor.is("quick") { Some(phase(cursor, false)?) } else { None };
    ids(cursor, &mut ends)?;
    let psk = match cursor.eat("psk") {
        true => Some(Secret::new(cursor.string("a key in quotes")?.value.into_bytes())),
        false => {
            cursor.eat("rsa");
            None
        }
    };
    let tag = match cursor.eat("tag") {
        true => Some(cursor.string("a tag")?.value),
        false => None,
    };
    let end = end(cursor);
    Ok(IkeRule { mode, kind, encapsulation, interface, ends, phase1, phase2, psk, tag, end })
}

fn flow(cursor: &mut Cursor) -> Result<FlowRule, Fault> {
    let kind = one_of(cursor, KINDS);
    let way = one_of(cursor, &[("in", Way::In), ("out", Way::Out)]);
    let mut ends = hosts_with_protocol(cursor)?;
    peers(cursor, &mut ends)?;
    ids(cursor, &mut ends)?;
    let flow_type = match cursor.eat("type") {
        true => match one_of(cursor, FlowType::WORDS) {
            Some(flow_type) => Some(flow_type),
            None => return cursor.fault("use, acquire, require, dontacq, deny or bypass"),
        },
        false => None,
    };
    Ok(FlowRule { kind, way, ends, flow_type, end: end(cursor) })
}

fn sa(cursor: &mut Cursor) -> Result<SaRule, Fault> {
    let tcpmd5 = cursor.eat("tcpmd5");
    let kind = match tcpmd5 {
        true => Kind::TcpMd5,
        false => one_of(cursor, KINDS).unwrap_or_default(),
    };
    let encapsulation = if tcpmd5 { None } else { tunnel_or_transport(cursor) };
    let (from, to) = hosts(cursor)?;
    let (spi, spi_back) = spis(cursor)?;
    let mut rule = SaRule {
        kind,
        encapsulation,
        from,
        to,
        spi,
        spi_back,
        udpencap: None,
        algorithms: Algorithms::default(),
        authkey: None,
        enckey: None,
        bundle: None,
        end: end(cursor),
    };
    if !tcpmd5 && cursor.eat("udpencap") {
        rule.udpencap = Some(match cursor.eat("port") {
            true => u16::try_from(cursor.number(0, 65535, "a port")?.value).unwrap_or(0),
            false => 0,
        });
    }
    if !tcpmd5 {
        rule.algorithms = algorithms(cursor)?;
    }
    rule.authkey = keys(cursor, "authkey")?;
    if !tcpmd5 {
        rule.enckey = keys(cursor, "enckey")?;
        if cursor.eat("bundle") {
            rule.bundle = Some(cursor.string("the name of a bundle")?.value);
        }
    }
    rule.end = end(cursor);
    Ok(rule)
}

fn end(cursor: &Cursor) -> Spanned<()> {
    Spanned { value: (), place: cursor.place() }
}

fn one_of<T: Copy>(cursor: &mut Cursor, words: &[(&str, T)]) -> Option<T> {
    words.iter().find(|(word, _)| cursor.eat(word)).map(|(_, value)| *value)
}

fn tunnel_or_transport(cursor: &mut Cursor) -> Option<Mode> {
    one_of(cursor, &[("tunnel", Mode::Tunnel), ("transport", Mode::Transport)])
}

/// The unit of `secN`.
fn sec_unit(cursor: &mut Cursor) -> Result<u32, Fault> {
    let name = cursor.string("an interface sec(4)")?;
    let unit = name.value.strip_prefix("sec").and_then(|n| n.parse().ok());
    let found = format!("\"{}\"", name.value);
    unit.ok_or((name.place, Problem::found(found, "\"sec\" and a number")))
}

fn no_ends() -> Ends {
    let any = || Side { hosts: Vec::new(), port: None };
    let (from, to) = (any(), any());
    Ends { protocol: None, from, to, local: None, peer: None, srcid: None, dstid: None }
}

fn hosts_with_protocol(cursor: &mut Cursor) -> Result<Ends, Fault> {
    let protocol = match cursor.eat("proto") {
        true => Some(cursor.word("a protocol")?),
        false => None,
    };
    let (from, to) = hosts(cursor)?;
    Ok(Ends { protocol, from, to, ..no_ends() })
}

fn hosts(cursor: &mut Cursor) -> Result<(Side, Side), Fault> {
    let reversed = cursor.is("to");
    if !reversed && !cursor.is("from") {
        return cursor.fault("\"from\" or \"to\"");
    }
    cursor.next();
    let first = side(cursor)?;
    let word = if reversed { "from" } else { "to" };
    if !cursor.eat(word) {
        return cursor.fault(&format!("\"{word}\""));
    }
    let second = side(cursor)?;
    let (from, to) = if reversed { (second, first) } else { (first, second) };
    if let Some(host) = to.hosts.iter().find(|h| h.srcnat.is_some()) {
        let name = match &host.host.value {
            Host::Named { word, length: Some(length) } => format!("{word}/{length}"),
            Host::Named { word, length: None } => word.clone(),
            Host::Any | Host::Dynamic => "any".to_owned(),
        };
        let sentence = format!("no flow NAT support for destination network: {name}");
        return Err((host.host.place, Problem::says(sentence)));
    }
    Ok((from, to))
}

fn side(cursor: &mut Cursor) -> Result<Side, Fault> {
    let mut hosts = Vec::new();
    host(cursor, &mut hosts, 0)?;
    let port = match cursor.eat("port") {
        true => Some(cursor.word("a port or the name of a service")?),
        false => None,
    };
    Ok(Side { hosts, port })
}

/// A host, or a list of hosts and lists in braces.
fn host(cursor: &mut Cursor, hosts: &mut Vec<SideHost>, depth: usize) -> Result<(), Fault> {
    if depth < LIST_DEPTH && cursor.eat_punct('{') {
        loop {
            host(cursor, hosts, depth + 1)?;
            if cursor.eat_punct('}') {
                return Ok(());
            }
            cursor.eat_punct(',');
        }
    }
    let host = cursor.any_host("an address, a network, a name or \"any\"")?;
    let srcnat = match host.value != Host::Any && cursor.eat_punct('(') {
        true => {
            let nat = cursor.named_host("an address or a network")?;
            cursor.punct(')')?;
            Some(nat)
        }
        false => None,
    };
    hosts.push(SideHost { host, srcnat });
    Ok(())
}

fn peers(cursor: &mut Cursor, ends: &mut Ends) -> Result<(), Fault> {
    for _ in 0..2 {
        if ends.peer.is_none() && cursor.eat("peer") {
            ends.peer = Some(cursor.any_host("an address, a name or \"any\"")?);
        } else if ends.local.is_none() && cursor.eat("local") {
            ends.local = Some(cursor.named_host("an address or a name")?);
        }
    }
    Ok(())
}

fn ids(cursor: &mut Cursor, ends: &mut Ends) -> Result<(), Fault> {
    if cursor.eat("srcid") {
        ends.srcid = Some(cursor.string("an identity")?.value);
    }
    if cursor.eat("dstid") {
        ends.dstid = Some(cursor.string("an identity")?.value);
    }
    Ok(())
}

fn phase(cursor: &mut Cursor, aggressive: bool) -> Result<Phase, Fault> {
    cursor.next();
    let algorithms = algorithms(cursor)?;
    let lifetime = match cursor.eat("lifetime") {
        true => Some(cursor.time()?.value),
        false => None,
    };
    Ok(Phase { aggressive, algorithms, lifetime })
}

fn algorithms(cursor: &mut Cursor) -> Result<Algorithms, Fault> {
    let mut chosen = Algorithms::default();
    loop {
        let (word, table, slot) = match cursor.bare() {
            Some("auth") => ("auth", AUTH, &mut chosen.auth),
            Some("enc") => ("enc", ENC, &mut chosen.enc),
            Some("comp") => ("comp", COMP, &mut chosen.comp),
            Some("group") => ("group", GROUP, &mut chosen.group),
            _ => return Ok(chosen),
        };
        cursor.next();
        let name = cursor.string("the word of an algorithm")?;
        if slot.is_some() {
            return Err((name.place, Problem::says(format!("{word} already set"))));
        }
        *slot = Some(known(&name, table)?);
    }
}

fn known(name: &Spanned<String>, table: &'static [Transform]) -> Result<&'static Transform, Fault> {
    let sentence = || format!("{} not a valid transform", name.value);
    transform(&name.value, table).ok_or_else(|| (name.place, Problem::says(sentence())))
}

/// `spi N` or `spi OUT:IN`.
fn spis(cursor: &mut Cursor) -> Result<(u32, Option<u32>), Fault> {
    if !cursor.eat("spi") {
        return cursor.fault("\"spi\"");
    }
    if matches!(cursor.peek(), TokenKind::Number(n) if *n < 0) {
        return cursor.fault("an SPI");
    }
    let text = cursor.string("an SPI, or two with a colon")?;
    match text.value.split_once(':') {
        Some((out, back)) => {
            let back = spi(back, text.place)?;
            Ok((spi(out, text.place)?, Some(back)))
        }
        None => Ok((spi(&text.value, text.place)?, None)),
    }
}

/// A number in the ways of strtoul(3) with base 0.
fn spi(text: &str, place: Place) -> Result<u32, Fault> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None if text.starts_with('0') => u64::from_str_radix(text, 8),
        None => text.parse(),
    };
    let Ok(number) = parsed else {
        return Err((place, Problem::found(format!("\"{text}\""), "an SPI")));
    };
    match u32::try_from(number) {
        Err(_) => Err((place, Problem::says(format!("{number} not a valid spi")))),
        Ok(1..=255) => Err((place, Problem::says(format!("{number} within reserved spi range")))),
        Ok(number) => Ok(number),
    }
}

/// `authkey` or `enckey`: `0xHEX[:0xHEX]` or `file "PATH[:PATH]"`.
fn keys(cursor: &mut Cursor, word: &str) -> Result<Option<Keys>, Fault> {
    if !cursor.eat(word) {
        return Ok(None);
    }
    let files = cursor.eat("file");
    let text = cursor.string("a key in hexadecimal digits, or \"file\"")?.value;
    let (out, back) = match text.split_once(':') {
        Some((out, back)) => (out, Some(Secret::from(back.as_bytes()))),
        None => (text.as_str(), None),
    };
    Ok(Some(Keys { files, out: Secret::from(out.as_bytes()), back }))
}
