//! Tokens to rules of ipsec.conf(5), whose clauses come in one order.

use super::{
    AUTH, Algorithms, COMP, ENC, Ends, FlowRule, FlowType, GROUP, IkeMode, IkeRule, Keys, Kind,
    Look, Phase, Rule, SaRule, Transform, Way, transform,
};
use crate::conf::diagnostic::{Place, nearest};
use crate::conf::lex::TokenKind;
use crate::conf::parse::{Cursor, Fault, Problem, Stop, option};
use crate::conf::syntax::{Host, Side, SideHost, Spanned, Word};
use crate::conf::{Ike1Proof, Mode, Signature, Xauth};
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
        Rule::Ike(Box::new(ike(cursor)?))
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
    let mut kinds = Vec::new();
    let mut encapsulation = None;
    let mut ends = match interface {
        Some(_) => no_ends(),
        None => {
            kinds = bundle(cursor);
            encapsulation = tunnel_or_transport(cursor);
            hosts_with_protocol(cursor)?
        }
    };
    peers(cursor, &mut ends)?;
    let phase1 = match (cursor.is("main"), cursor.is("aggressive")) {
        (false, false) => None,
        (_, aggressive) => Some(phase(cursor, aggressive)?),
    };
    let mut phase2 = if cursor.is("quick") { Some(phase(cursor, false)?) } else { None };
    if let Some(quick) = phase2.as_mut().filter(|quick| quick.lifetime.is_some())
        && cursor.eat("bytes")
    {
        quick.bytes = Some(cursor.octets()?.value);
    }
    ids(cursor, &mut ends)?;
    let (psk, signature) = match cursor.eat("psk") {
        true => {
            let key = cursor.string("a key in quotes")?.value.into_bytes();
            (Some(Secret::new(key)), Signature::Rsa)
        }
        false => (None, one_of(cursor, Signature::OF_IKEV1).unwrap_or(Signature::Rsa)),
    };
    let proof = one_of(cursor, Ike1Proof::WORDS).unwrap_or_default();
    let xauth = match cursor.eat("xauth") {
        true if matches!(cursor.peek(), TokenKind::Quoted(_)) => {
            Some(Xauth::As(cursor.string("the name of a user")?.value))
        }
        true => Some(Xauth::Peer),
        false => None,
    };
    let mut options = Vec::new();
    while cursor.is("config") || cursor.is("request") {
        options.push(option(cursor)?);
    }
    let iface = match interface.is_none() && cursor.eat("iface") {
        true => Some(cursor.string("an interface")?.value),
        false => None,
    };
    let tag = match interface.is_none() && cursor.eat("tag") {
        true => Some(cursor.string("a tag")?.value),
        false => None,
    };
    let end = end(cursor);
    Ok(IkeRule {
        mode,
        kinds,
        encapsulation,
        interface,
        ends,
        phase1,
        phase2,
        psk,
        signature,
        proof,
        xauth,
        options,
        iface,
        tag,
        end,
    })
}

fn flow(cursor: &mut Cursor) -> Result<FlowRule, Fault> {
    let kind = one_of(cursor, KINDS);
    let way = one_of(cursor, &[("in", Way::In), ("out", Way::Out)]);
    let mut ends = hosts_with_protocol(cursor)?;
    no_dynamic(&ends.from, &ends.to)?;
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
    no_dynamic(&from, &to)?;
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

/// The protocols of an `ike` rule, each once; ipsecctl knows one.
fn bundle(cursor: &mut Cursor) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = Vec::new();
    loop {
        let left = |(_, kind): &&(&str, Kind)| !kinds.contains(kind);
        let left: Vec<_> = KINDS.iter().filter(left).copied().collect();
        match one_of(cursor, &left) {
            Some(kind) => kinds.push(kind),
            None => return kinds,
        }
    }
}

fn tunnel_or_transport(cursor: &mut Cursor) -> Option<Mode> {
    one_of(cursor, &[("tunnel", Mode::Tunnel), ("transport", Mode::Transport)])
}

/// The unit of `secN`.
fn sec_unit(cursor: &mut Cursor) -> Result<u32, Fault> {
    let name = cursor.string("an interface sec(4)")?;
    let digits = name.value.strip_prefix("sec").filter(|digits| !digits.is_empty());
    let Some(digits) = digits else {
        return Err((name.place, Problem::says_too("invalid sec interface name")));
    };
    digits.parse().map_err(|_| {
        let long = digits.len() > 1 && digits.chars().all(|c| c.is_ascii_digit());
        let why = if long { "too large" } else { "invalid" };
        (name.place, Problem::says_too(format!("invalid sec interface unit: {why}")))
    })
}

fn no_ends() -> Ends {
    let any = || Side { hosts: Vec::new(), port: None };
    let (from, to) = (any(), any());
    Ends { protocol: None, from, to, local: None, peer: None, srcid: None, dstid: None }
}

fn hosts_with_protocol(cursor: &mut Cursor) -> Result<Ends, Fault> {
    let protocol = match cursor.eat("proto") {
        true => Some(protocol(cursor)?),
        false => None,
    };
    let (from, to) = hosts(cursor)?;
    Ok(Ends { protocol, from, to, ..no_ends() })
}

/// A protocol; `esp` and `ah` are keywords and protocols too.
fn protocol(cursor: &mut Cursor) -> Result<Spanned<Word>, Fault> {
    let place = cursor.place();
    let keyword = one_of(cursor, &[("esp", "esp"), ("ah", "ah")]);
    let word = match keyword {
        Some(word) => Spanned { value: Word::Name(word.to_owned()), place },
        None => cursor.word("a protocol")?,
    };
    cursor.mark(cursor.last_place(), Look::Protocol(word.value.clone()));
    Ok(word)
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
        return Err((cursor.place(), Problem::says_too(sentence)));
    }
    Ok((from, to))
}

/// Only an `ike` rule is there when an address is assigned.
fn no_dynamic(from: &Side, to: &Side) -> Result<(), Fault> {
    let mut hosts = from.hosts.iter().chain(&to.hosts);
    match hosts.find(|host| host.host.value == Host::Dynamic) {
        Some(host) => {
            let sentence = "\"dynamic\" stands for an address of Mode Config, in an ike rule";
            Err((host.host.place, Problem::says(sentence)))
        }
        None => Ok(()),
    }
}

fn side(cursor: &mut Cursor) -> Result<Side, Fault> {
    let mut hosts = Vec::new();
    host(cursor, &mut hosts, 0)?;
    let port = match cursor.eat("port") {
        true => {
            let port = cursor.word("a port or the name of a service")?;
            cursor.mark(cursor.last_place(), Look::Port(port.value.clone()));
            Some(port)
        }
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
    let place = cursor.place();
    let host = match cursor.eat("dynamic") {
        true => Spanned { value: Host::Dynamic, place },
        false => cursor.any_host("an address, a network, a name or \"any\"")?,
    };
    marked(cursor, &host);
    let srcnat = match host.value != Host::Any && cursor.eat_punct('(') {
        true => {
            let nat = cursor.named_host("an address or a network")?;
            marked(cursor, &nat);
            cursor.punct(')')?;
            let look = Look::Nat(host.value.clone(), nat.value.clone());
            cursor.mark(cursor.last_place(), look);
            Some(nat)
        }
        false => None,
    };
    hosts.push(SideHost { host, srcnat });
    Ok(())
}

/// Marks a host where ipsecctl knows that it is complete: a name may go on with a length.
fn marked(cursor: &mut Cursor, host: &Spanned<Host>) {
    let place = match &host.value {
        Host::Named { length: None, .. } => cursor.place(),
        Host::Named { .. } => cursor.last_place(),
        Host::Any | Host::Dynamic => return,
    };
    cursor.mark(place, Look::Host(host.value.clone()));
}

/// `peer` and `local`, in either order. One without an address is as good as none.
fn peers(cursor: &mut Cursor, ends: &mut Ends) -> Result<(), Fault> {
    let (mut peer, mut local) = (false, false);
    for _ in 0..2 {
        if !peer && cursor.eat("peer") {
            peer = true;
            let place = cursor.place();
            ends.peer = match cursor.eat("any") {
                true => Some(Spanned { value: Host::Any, place }),
                false => single(cursor)?,
            };
        } else if !local && cursor.eat("local") {
            local = true;
            ends.local = single(cursor)?;
        }
    }
    Ok(())
}

fn single(cursor: &mut Cursor) -> Result<Option<Spanned<Host>>, Fault> {
    let Ok(word) = cursor.string("an address or a name") else { return Ok(None) };
    let (name, length) = match word.value.split_once('/') {
        None => (word.value.clone(), None),
        Some((name, bits)) => match bits.parse() {
            Ok(bits) => (name.to_owned(), Some(bits)),
            Err(_) => {
                let found = format!("\"{}\"", word.value);
                return Err((word.place, Problem::found(found, "a prefix length behind '/'")));
            }
        },
    };
    let value = Host::Named { word: name, length };
    cursor.mark(word.place, Look::Host(value.clone()));
    Ok(Some(Spanned { value, place: word.place }))
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
    let word = Spanned { value: (), place: cursor.last_place() };
    let algorithms = algorithms(cursor)?;
    let lifetime = match cursor.eat("lifetime") {
        true => Some(cursor.time()?.value),
        false => None,
    };
    Ok(Phase { word, aggressive, algorithms, lifetime, bytes: None })
}

fn algorithms(cursor: &mut Cursor) -> Result<Algorithms, Fault> {
    let mut chosen = Algorithms::default();
    loop {
        let (word, table, slot, at) = match cursor.bare() {
            Some("auth") => ("auth", AUTH, &mut chosen.auth, 0),
            Some("enc") => ("enc", ENC, &mut chosen.enc, 1),
            Some("comp") => ("comp", COMP, &mut chosen.comp, 2),
            Some("group") => ("group", GROUP, &mut chosen.group, 3),
            _ => return Ok(chosen),
        };
        cursor.next();
        let name = cursor.string("the word of an algorithm")?;
        if slot.is_some() {
            cursor.mark(name.place, Look::Complaint(format!("{word} already set"), None));
            continue;
        }
        *slot = transform(&name.value, table);
        match *slot {
            None => cursor.mark(name.place, unknown(&name.value, table)),
            Some(_) => chosen.places[at].place = name.place,
        }
    }
}

/// ipsecctl's complaint about an unknown word, with the nearest known one.
fn unknown(word: &str, table: &'static [Transform]) -> Look {
    let near = nearest(word, table.iter().skip(1).map(|row| row.word));
    Look::Complaint(format!("{word} not a valid transform"), near)
}

/// `spi N` or `spi OUT:IN`.
fn spis(cursor: &mut Cursor) -> Result<(u32, Option<u32>), Fault> {
    if !cursor.eat("spi") {
        return cursor.fault("\"spi\"");
    }
    let place = cursor.place();
    if let TokenKind::Number(number) = *cursor.peek() {
        cursor.next();
        return Ok((in_range(number.into(), place)?, None));
    }
    let text = cursor.string("an SPI, or two with a colon")?;
    match text.value.split_once(':') {
        Some((out, back)) => {
            let back = spi(back, place)?;
            Ok((spi(out, place)?, Some(back)))
        }
        None => Ok((spi(&text.value, place)?, None)),
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
        let problem = Problem::found(format!("\"{text}\""), "an SPI");
        return Err((place, problem.but(Stop::Silent)));
    };
    in_range(number.into(), place)
}

fn in_range(number: i128, place: Place) -> Result<u32, Fault> {
    match u32::try_from(number) {
        Err(_) => Err((place, Problem::says_too(format!("{number} not a valid spi")))),
        Ok(1..=255) => {
            Err((place, Problem::says_too(format!("{number} within reserved spi range"))))
        }
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
    let keys = Keys { files, out: Secret::from(out.as_bytes()), back };
    cursor.mark(cursor.last_place(), Look::Keys(keys.clone()));
    Ok(Some(keys))
}
