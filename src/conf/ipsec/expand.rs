//! Rules to entries: lists multiplied out, defaults filled in, and the checks that ipsecctl makes,
//! with its sentences. Names become addresses in `expand/hosts.rs`, manual SAs are made and checked in
//! `expand/sa.rs`, their keys read in `expand/keys.rs`; `expand/look.rs` is what ipsecctl looks at while
//! it reads.

mod hosts;
mod keys;
mod look;
mod sa;

pub(in crate::conf) use look::{Seen, look};
pub use sa::Bundles;

use super::{
    Address, Ends, Entry, FlowEntry, FlowRule, FlowType, IkeEntry, IkeRule, Kind, Rule, Way,
};
use crate::conf::source::{Files, Names};
use crate::conf::syntax::Word;
use hosts::any;

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

struct Context<'a> {
    names: &'a dyn Names,
    files: &'a dyn Files,
    lenient: bool,
}

impl Context<'_> {
    fn ike(&self, rule: &IkeRule, entries: &mut Vec<Entry>) -> Result<(), Failure> {
        let (protocol, src_port, dst_port) = self.traffic(&rule.ends)?;
        let quick = rule.phase2.as_ref().map(|p| &p.algorithms);
        // In a bundle it is AH's.
        let around = rule.has_beside(Kind::Ah);
        let both = quick.and_then(|a| a.enc.filter(|e| e.aead).zip(a.auth));
        if let Some((enc, _)) = both.filter(|_| !around) {
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
}

/// The system's reason without its number.
pub(in crate::conf) fn reason(error: &str) -> &str {
    error.split(" (os error").next().unwrap_or(error)
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
