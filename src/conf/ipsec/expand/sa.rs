//! Manual SAs: both directions of a rule, what ties them to bundles, and whether algorithms and keys
//! fit.

use super::super::{AUTH, Address, COMP, ENC, Entry, Kind, SaEntry, SaRule, Transform, transform};
use super::hosts::any;
use super::{Context, Failure};
use crate::conf::Mode;

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

impl Context<'_> {
    pub(super) fn sa(
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
