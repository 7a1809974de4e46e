//! Rules to entries: names to addresses, lists multiplied out, defaults filled in, and the checks
//! that ipsecctl makes, with its sentences.

use super::{
    AUTH, Address, COMP, DYNAMIC, ENC, Ends, Entry, FlowEntry, FlowRule, FlowType, IkeEntry,
    IkeRule, Keys, Kind, Look, Rule, SaEntry, SaRule, Transform, Way, transform,
};
use std::net::IpAddr;

use crate::conf::Mode;
use crate::conf::parse::hexadecimal;
use crate::conf::source::{Files, Names, is_link_local, literal};
use crate::conf::syntax::{Host, Side, Spanned, Word};
use crate::crypto::Secret;

/// The largest file with a key, in octets.
const KEY_FILE_LIMIT: usize = 1024;

/// The most entries one rule may become.
const ENTRY_LIMIT: usize = 1 << 20;

/// The SAs of bundles so far: each with its source, name and members.
#[derive(Debug, Default)]
pub struct Bundles(Vec<(String, Address, Vec<SaEntry>)>);

impl Bundles {
    /// Adds an SA to a bundle; the entry that ties it to the one before it, if there is one.
    fn add(&mut self, name: &str, sa: &SaEntry) -> Option<Entry> {
        let same = |(bundle, src, members): &&mut (String, Address, Vec<SaEntry>)| {
            let dst = members.first().map(|m| &m.dst.name);
            bundle == name && src.name == sa.src.name && dst == Some(&sa.dst.name)
        };
        let Some((_, _, members)) = self.0.iter_mut().find(same) else {
            self.0.push((name.to_owned(), sa.src.clone(), vec![sa.clone()]));
            return None;
        };
        let last = members.last().cloned();
        members.push(sa.clone());
        let part = |sa: &SaEntry| (sa.dst.clone(), sa.kind, sa.spi);
        Some(Entry::Bundle { first: part(&last?), second: part(sa) })
    }
}

/// What a rule comes to: its entries up to a fault, and the fault.
pub type Expansion = (Vec<Entry>, Option<Failure>);

/// Why a rule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// For this reason, in ipsecctl's words.
    Says(String),
    /// For this reason, which shows only when its lists are multiplied out.
    Expands(String),
    /// For this reason, at which ipsecctl ends at once; it may have said why before.
    Ends(Option<String>, String),
}

impl Failure {
    /// The reason.
    pub fn sentence(&self) -> &str {
        match self {
            Self::Says(sentence)
            | Self::Expands(sentence)
            | Self::Ends(Some(sentence), _)
            | Self::Ends(None, sentence) => sentence,
        }
    }
}

impl From<String> for Failure {
    fn from(sentence: String) -> Self {
        Self::Says(sentence)
    }
}

/// What comes of looking at a part of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::conf) enum Seen {
    /// Each of these is told, and the reading goes on.
    Notes(Vec<String>),
    /// First the words before the name of the file, if any; then this, and the reading stops.
    Stop(Option<String>, String),
    /// Everything ends.
    Ends(String),
}

/// Looks at a part of a rule as ipsecctl does while it reads it.
pub(in crate::conf) fn look(look: &Look, names: &dyn Names, files: &dyn Files) -> Seen {
    let context = Context { names, files, lenient: false };
    let stop = |outcome: Result<(), String>| match outcome {
        Ok(()) => Seen::Notes(Vec::new()),
        Err(sentence) => Seen::Stop(None, sentence),
    };
    match look {
        Look::Complaint(sentence, _) => Seen::Notes(vec![sentence.clone()]),
        Look::Protocol(word) => stop(context.protocol(Some(word)).map(|_| ())),
        Look::Port(word) => stop(context.port(Some(word)).map(|_| ())),
        Look::Nat(host, nat) => stop(context.side_host(host, Some(nat)).map(|_| ())),
        Look::Host(host) => match (host, context.addresses(host)) {
            (Host::Named { length: Some(length), .. }, _) if *length > 128 => {
                Seen::Ends(format!("host: invalid netmask '/{length}'"))
            }
            (_, Ok(_)) => Seen::Notes(Vec::new()),
            (Host::Named { word, length }, Err(sentence)) => {
                let length = length.map_or(String::new(), |length| format!("/{length}"));
                Seen::Stop(Some(format!("no IP address found for {word}{length}")), sentence)
            }
            (_, Err(sentence)) => Seen::Stop(None, sentence),
        },
        Look::Keys(keys) => {
            let mut notes = Vec::new();
            for text in keys.back.iter().chain([&keys.out]) {
                match context.digits(text, keys.files) {
                    Ok(digits) => {
                        let bad = pairs(&digits).filter(|pair| octet(pair).is_none());
                        notes.extend(bad.map(|_| NO_DIGITS.to_owned()));
                    }
                    Err(sentence) => return Seen::Ends(sentence),
                }
            }
            Seen::Notes(notes)
        }
    }
}

/// The entries of a rule. `lenient` takes keys that are not digits, as ipsecctl does when it has
/// told of them.
pub fn expand(
    rule: &Rule,
    bundles: &mut Bundles,
    names: &dyn Names,
    files: &dyn Files,
    lenient: bool,
) -> Expansion {
    let mut entries = Vec::new();
    let context = Context { names, files, lenient };
    let outcome = match rule {
        Rule::Ike(rule) => context.ike(rule, &mut entries),
        Rule::Flow(rule) => context.flow(rule, &mut entries),
        Rule::Sa(rule) => context.sa(rule, bundles, &mut entries),
    };
    (entries, outcome.err())
}

type Pair = (Address, Address);

const NO_DIGITS: &str = "keys need to be specified in hex digits";

struct Context<'a> {
    names: &'a dyn Names,
    files: &'a dyn Files,
    lenient: bool,
}

impl Context<'_> {
    fn ike(&self, rule: &IkeRule, entries: &mut Vec<Entry>) -> Result<(), Failure> {
        let (protocol, src_port, dst_port) = self.traffic(&rule.ends)?;
        let quick = rule.phase2.as_ref().map(|p| &p.algorithms);
        if let Some((enc, _)) = quick.and_then(|a| a.enc.filter(|e| e.aead).zip(a.auth)) {
            return Err(format!("authentication is implicit for {}", enc.word).into());
        }
        let pairs = match rule.interface {
            Some(_) => vec![(any(true), any(true))],
            None => self.pairs(&rule.ends.from, &rule.ends.to)?,
        };
        let (local, peer) = self.tunnel(&rule.ends)?;
        for (src, dst) in pairs {
            let peer = match &peer {
                Some(peer) => peer.clone(),
                None if dst.network => None,
                None => Some(Address { srcnat: None, ..dst.clone() }),
            };
            entries.push(Entry::Ike(Box::new(IkeEntry {
                rule: rule.clone(),
                src,
                dst,
                protocol,
                src_port,
                dst_port,
                local: local.clone(),
                peer,
            })));
        }
        Ok(())
    }

    fn flow(&self, rule: &FlowRule, entries: &mut Vec<Entry>) -> Result<(), Failure> {
        let (protocol, src_port, dst_port) = self.traffic(&rule.ends)?;
        let kind = rule.kind.unwrap_or_default();
        let usual = match kind {
            Kind::Ipcomp | Kind::Ipip => FlowType::Use,
            _ => FlowType::Require,
        };
        let flow_type = rule.flow_type.unwrap_or(usual);
        let plain = matches!(flow_type, FlowType::Deny | FlowType::Bypass);
        let pairs = self.pairs(&rule.ends.from, &rule.ends.to)?;
        let (local, peer) = if plain { (None, Some(None)) } else { self.tunnel(&rule.ends)? };
        let way = rule.way.unwrap_or(Way::Out);
        for (src, dst) in pairs {
            let other = if way == Way::In { &src } else { &dst };
            let peer = match &peer {
                Some(peer) => peer.clone(),
                None if other.network => {
                    let sentence = format!("no peer specified for destination {}", dst.name);
                    return Err(Failure::Expands(sentence));
                }
                None => Some(other.clone()),
            };
            let identity = |id: &Option<String>| id.clone().filter(|_| !plain);
            let entry = FlowEntry {
                kind,
                way,
                protocol,
                src,
                src_port,
                dst,
                dst_port,
                local: local.clone(),
                peer,
                srcid: identity(&rule.ends.srcid),
                dstid: identity(&rule.ends.dstid),
                flow_type,
            };
            let back = rule.way.is_none().then(|| reversed(&entry));
            entries.push(Entry::Flow(Box::new(entry)));
            entries.extend(back.map(|back| Entry::Flow(Box::new(back))));
        }
        Ok(())
    }

    fn sa(
        &self,
        rule: &SaRule,
        bundles: &mut Bundles,
        entries: &mut Vec<Entry>,
    ) -> Result<(), Failure> {
        let (authkey, authkey_back) = self.keys(rule.authkey.as_ref())?;
        let (enckey, enckey_back) = self.keys(rule.enckey.as_ref())?;
        let kind = rule.kind;
        let usual = if kind == Kind::TcpMd5 { Mode::Transport } else { Mode::Tunnel };
        let both = rule.spi_back.is_some() || authkey_back.is_some() || enckey_back.is_some();
        let blank = any(true);
        let mut sa = SaEntry {
            kind,
            mode: rule.encapsulation.unwrap_or(usual),
            src: blank.clone(),
            dst: blank,
            spi: rule.spi,
            udpencap: rule.udpencap,
            algorithms: rule.algorithms.clone(),
            authkey,
            enckey,
        };
        complete(&mut sa)?;
        for (src, dst) in self.pairs(&rule.from, &rule.to)? {
            let out = SaEntry { src: src.clone(), dst: dst.clone(), ..sa.clone() };
            push(out, rule, bundles, entries);
            if !both {
                continue;
            }
            let mut back = SaEntry {
                src: dst,
                dst: src,
                spi: rule.spi_back.unwrap_or(0),
                authkey: authkey_back.clone(),
                enckey: enckey_back.clone(),
                ..sa.clone()
            };
            complete(&mut back).map_err(|sentence| {
                let rule = if kind == Kind::TcpMd5 { "tcpmd5rule" } else { "sarule" };
                Failure::Ends(Some(sentence), format!("{rule}: expand_rule"))
            })?;
            push(back, rule, bundles, entries);
        }
        Ok(())
    }

    /// Protocol and ports; ports need a protocol that has them.
    fn traffic(&self, ends: &Ends) -> Result<(u8, u16, u16), String> {
        let protocol = self.protocol(ends.protocol.as_ref().map(|word| &word.value))?;
        let src_port = self.port(ends.from.port.as_ref().map(|word| &word.value))?;
        let dst_port = self.port(ends.to.port.as_ref().map(|word| &word.value))?;
        if (src_port != 0 || dst_port != 0) && !matches!(protocol, 6 | 17) {
            return Err("no protocol supplied with source/destination ports".to_owned());
        }
        Ok((protocol, src_port, dst_port))
    }

    fn protocol(&self, word: Option<&Word>) -> Result<u8, String> {
        match word {
            None => Ok(0),
            Some(Word::Number(number)) => {
                u8::try_from(*number).map_err(|_| "protocol outside range".to_owned())
            }
            Some(Word::Name(name)) => {
                self.names.protocol(name).ok_or_else(|| format!("unknown protocol: {name}"))
            }
        }
    }

    fn port(&self, port: Option<&Word>) -> Result<u16, String> {
        match port {
            None => Ok(0),
            Some(Word::Number(number)) => {
                u16::try_from(*number).map_err(|_| "port outside range".to_owned())
            }
            Some(Word::Name(name)) => {
                self.names.service(name).ok_or_else(|| format!("unknown port: {name}"))
            }
        }
    }

    /// `local`, and `peer`: nothing if none is written, `Some(None)` for `any`.
    #[allow(clippy::type_complexity)]
    fn tunnel(&self, ends: &Ends) -> Result<(Option<Address>, Option<Option<Address>>), String> {
        let first = |host: &Spanned<Host>| -> Result<Option<Address>, String> {
            match &host.value {
                Host::Named { .. } => Ok(self.addresses(&host.value)?.into_iter().next()),
                Host::Any | Host::Dynamic => Ok(None),
            }
        };
        let local = ends.local.as_ref().map(first).transpose()?.flatten();
        Ok((local, ends.peer.as_ref().map(first).transpose()?))
    }

    /// Every source with every destination of its family.
    fn pairs(&self, from: &Side, to: &Side) -> Result<Vec<Pair>, Failure> {
        let (sources, targets) = (self.side(from)?, self.side(to)?);
        let open = |side: &Side| side.hosts.iter().any(|h| h.host.value == Host::Any);
        let has = |list: &[Address], v4: bool| list.iter().any(|a| a.ip.is_ipv4() == v4);
        let differ = |v4| has(&sources, v4) != has(&targets, v4);
        if !open(from) && !open(to) && differ(true) && differ(false) {
            return Err(Failure::Expands(
                "source/destination address families do not match".to_owned(),
            ));
        }
        let mut pairs = Vec::new();
        for src in &sources {
            for dst in targets.iter().filter(|dst| dst.ip.is_ipv4() == src.ip.is_ipv4()) {
                if pairs.len() >= ENTRY_LIMIT {
                    let sentence = format!("rule expands to more than {ENTRY_LIMIT} combinations");
                    return Err(Failure::Says(sentence));
                }
                pairs.push((src.clone(), dst.clone()));
            }
        }
        if pairs.is_empty() {
            return Err(Failure::Expands("rule expands to no valid combination".to_owned()));
        }
        Ok(pairs)
    }

    fn side(&self, side: &Side) -> Result<Vec<Address>, String> {
        let mut found = Vec::new();
        for item in &side.hosts {
            let nat = item.srcnat.as_ref().map(|nat| &nat.value);
            found.extend(self.side_host(&item.host.value, nat)?);
        }
        Ok(found)
    }

    /// The addresses of a host. Only the first of several is translated.
    fn side_host(&self, host: &Host, nat: Option<&Host>) -> Result<Vec<Address>, String> {
        match host {
            Host::Any => return Ok(vec![any(true), any(false)]),
            // An address that Mode Config assigns is of IPv4.
            Host::Dynamic => {
                return Ok(vec![Address {
                    length: 32,
                    name: DYNAMIC.to_owned(),
                    network: false,
                    ..any(true)
                }]);
            }
            Host::Named { .. } => {}
        }
        let nat = match nat {
            Some(nat) => self.addresses(nat)?.into_iter().next(),
            None => None,
        };
        let mut found = self.addresses(host)?;
        if let (Some(first), Some(nat)) = (found.first_mut(), nat) {
            if nat.ip.is_ipv4() != first.ip.is_ipv4() {
                return Err("Flow NAT address family mismatch".to_owned());
            }
            first.srcnat = Some(Box::new(nat));
        }
        Ok(found)
    }

    /// The addresses of a host word. An IPv4 address is called as it is written, an interface by
    /// its name, others in their usual form.
    fn addresses(&self, host: &Host) -> Result<Vec<Address>, String> {
        let Host::Named { word, length } = host else { return Ok(Vec::new()) };
        let full = |ip: &IpAddr| if ip.is_ipv4() { 32 } else { 128 };
        let plain = |ip: IpAddr, name: String| {
            let length = full(&ip);
            Address { ip, length, name, network: false, srcnat: None }
        };
        let found: Vec<Address> = match self.names.interface(word) {
            Some(found) => {
                let found = found.into_iter().filter(|it| !is_link_local(it.address));
                found.map(|it| plain(it.address, it.interface)).collect()
            }
            None => match length.map(u8::try_from).transpose() {
                Err(_) => Vec::new(),
                Ok(length) => match written(word, length) {
                    Some(address) => vec![address],
                    None if length.is_some() => Vec::new(),
                    None => {
                        let found = self.names.host(word).into_iter();
                        found.map(|ip| plain(ip, ip.to_string())).collect()
                    }
                },
            },
        };
        match found.is_empty() {
            true => Err("could not parse host specification".to_owned()),
            false => Ok(found),
        }
    }

    fn keys(&self, keys: Option<&Keys>) -> Result<(Option<Secret>, Option<Secret>), Failure> {
        let Some(keys) = keys else { return Ok((None, None)) };
        let one = |text: &Secret| self.key(text, keys.files);
        Ok((Some(one(&keys.out)?), keys.back.as_ref().map(one).transpose()?))
    }

    /// Hexadecimal digits, written or in a file, to octets.
    fn key(&self, text: &Secret, file: bool) -> Result<Secret, Failure> {
        let digits = self.digits(text, file).map_err(|sentence| Failure::Ends(None, sentence))?;
        let octets = pairs(&digits).map(|pair| octet(pair).or(self.lenient.then_some(0xff)));
        let octets: Option<Vec<u8>> = octets.collect();
        octets.map(Secret::new).ok_or(Failure::Says(NO_DIGITS.to_owned()))
    }

    /// The digits of a key; the error is one at which ipsecctl ends.
    fn digits(&self, text: &Secret, file: bool) -> Result<Secret, String> {
        if !file {
            let octets = text.octets();
            return Ok(Secret::from(octets.strip_prefix(b"0x").unwrap_or(octets)));
        }
        let path = String::from_utf8_lossy(text.octets());
        let read = self.files.read(&path).map_err(|e| format!("open {path}: {}", reason(&e)))?;
        match read.octets.len() {
            0 => Err(format!("{path}: key too small")),
            length if length > KEY_FILE_LIMIT => Err(format!("{path}: key too large")),
            _ => Ok(Secret::from(read.octets.trim_ascii_end())),
        }
    }
}

/// The system's reason without its number.
pub(in crate::conf) fn reason(error: &str) -> &str {
    error.split(" (os error").next().unwrap_or(error)
}

fn pairs(digits: &Secret) -> impl Iterator<Item = &[u8]> {
    digits.octets().chunks_exact(2)
}

fn octet(pair: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(pair).ok()?;
    hexadecimal(text)?.first().copied()
}

/// An address in digits, with the length of its network perhaps. Only an IPv4 network may leave
/// out octets.
fn written(word: &str, length: Option<u8>) -> Option<Address> {
    let (ip, bits) = literal(word)?;
    if bits.is_some() && length.is_none() {
        return None;
    }
    let full = if ip.is_ipv4() { 32 } else { 128 };
    let bits = length.or(bits).unwrap_or(full);
    let network = if ip.is_ipv4() { length.is_some() } else { bits != full };
    let called = if ip.is_ipv4() { word.to_owned() } else { ip.to_string() };
    let name = if network { format!("{called}/{bits}") } else { called };
    (bits <= full).then_some(Address { ip, length: bits, name, network, srcnat: None })
}

fn any(v4: bool) -> Address {
    let (ip, name) = match v4 {
        true => (std::net::Ipv4Addr::UNSPECIFIED.into(), "0.0.0.0/0"),
        false => (std::net::Ipv6Addr::UNSPECIFIED.into(), "::/0"),
    };
    Address { ip, length: 0, name: name.to_owned(), network: true, srcnat: None }
}

fn reversed(flow: &FlowEntry) -> FlowEntry {
    FlowEntry {
        way: if flow.way == Way::Out { Way::In } else { Way::Out },
        src: flow.dst.clone(),
        src_port: flow.dst_port,
        dst: flow.src.clone(),
        dst_port: flow.src_port,
        ..flow.clone()
    }
}

fn push(sa: SaEntry, rule: &SaRule, bundles: &mut Bundles, entries: &mut Vec<Entry>) {
    let tie = rule.bundle.as_ref().and_then(|name| bundles.add(name, &sa));
    entries.push(Entry::Sa(Box::new(sa)));
    entries.extend(tie);
}

/// Fills in default algorithms and checks that they fit the protocol and the keys.
fn complete(sa: &mut SaEntry) -> Result<(), String> {
    let fail = |sentence: &str| Err(sentence.to_owned());
    if sa.spi == 0 {
        return fail("no SPI specified");
    }
    let chosen = &mut sa.algorithms;
    match sa.kind {
        Kind::Ah if chosen.enc.is_some() => return fail("ah does not provide encryption"),
        Kind::Ah if chosen.comp.is_some() => return fail("ah does not provide compression"),
        Kind::Ah => chosen.auth = chosen.auth.or(transform("hmac-sha2-256", AUTH)),
        Kind::Esp if chosen.comp.is_some() => return fail("esp does not provide compression"),
        Kind::Esp => {
            chosen.enc = chosen.enc.or(transform("aes", ENC));
            let enc: Option<&Transform> = chosen.enc;
            if let Some(enc) = enc.filter(|e| e.no_static) {
                return Err(format!("{} is disallowed with static keys", enc.word));
            }
            chosen.auth = chosen.auth.or(transform("hmac-sha2-256", AUTH));
        }
        Kind::Ipcomp if chosen.auth.is_some() || chosen.enc.is_some() => {
            return fail("no encryption or authentication with ipcomp");
        }
        Kind::Ipcomp => chosen.comp = chosen.comp.or(transform("deflate", COMP)),
        Kind::Ipip if chosen.auth.is_some() || chosen.enc.is_some() || chosen.comp.is_some() => {
            return fail("no encryption, authentication or compression with ipip");
        }
        Kind::Ipip | Kind::TcpMd5 => {}
    }
    if let Some(auth) = chosen.auth {
        let bits = auth.key.0 * 8;
        match &sa.authkey {
            None if auth.word != "none" => return fail("no authentication key specified"),
            Some(key) if key.len() != auth.key.0 => {
                return Err(format!("wrong authentication key length, needs to be {bits} bits"));
            }
            _ => {}
        }
    }
    let Some(enc) = chosen.enc else { return Ok(()) };
    let (low, high) = enc.key;
    match &sa.enckey {
        None if enc.word != "null" => fail("no encryption key specified"),
        Some(key) if key.len() < low => Err(format!(
            "encryption key too short ({} bits), minimum {} bits",
            key.len() * 8,
            low * 8
        )),
        Some(key) if key.len() > high => Err(format!(
            "encryption key too long ({} bits), maximum {} bits",
            key.len() * 8,
            high * 8
        )),
        _ => Ok(()),
    }
}
