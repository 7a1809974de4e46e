//! The syntax tree as text again, one rule a line: macros expanded, includes in place, clauses in
//! the order of iked.conf(5). Parsing what is printed gives the same tree.

use std::fmt::{self, Write};

use super::syntax::{
    AuthClause, ConfigOption, FlowClause, Host, Ikev2Rule, Matching, Radius, Set, Side, Spanned,
    Statement, Transforms, Word,
};
use super::{Family, Mode, SaProtocol, Start};
use crate::crypto::Secret;

/// The text of statements. It holds the secrets of the rules when `secrets` is set, and
/// `"********"` in their place otherwise.
pub fn print(statements: &[Statement], secrets: bool) -> String {
    let mut text = String::new();
    for statement in statements {
        // Writing to a String does not fail.
        let _ = write_statement(&mut text, statement, secrets);
        text.push('\n');
    }
    text
}

fn write_statement(out: &mut String, statement: &Statement, secrets: bool) -> fmt::Result {
    match statement {
        Statement::Set(set) => write_set(out, &set.value),
        Statement::User(user) => {
            write!(out, "user {} ", Quoted(&user.name.value))?;
            write_secret(out, &user.password, secrets)
        }
        Statement::Radius(line) => write_radius(out, &line.value, secrets),
        Statement::Ikev2(rule) => write_rule(out, rule, secrets),
        Statement::Ipsec(rule) => super::ipsec::write_rule(out, rule, secrets),
    }
}

fn write_set(out: &mut String, set: &Set) -> fmt::Result {
    match set {
        Set::Flag(word) => write!(out, "set {word}"),
        Set::Number(word, number) => write!(out, "set {word} {number}"),
        Set::Ocsp { url, tolerate, maxage } => {
            write!(out, "set ocsp {}", Quoted(url))?;
            if let Some(tolerate) = tolerate {
                write!(out, " tolerate {tolerate}")?;
            }
            if let Some(maxage) = maxage {
                write!(out, " maxage {maxage}")?;
            }
            Ok(())
        }
    }
}

fn write_radius(out: &mut String, line: &Radius, secrets: bool) -> fmt::Result {
    let kind = |accounting: bool| if accounting { "radius accounting" } else { "radius" };
    let write_port = |out: &mut String, port: Option<&Spanned<Word>>| match port {
        Some(port) => {
            out.push_str(" port ");
            write_word(out, &port.value)
        }
        None => Ok(()),
    };
    match line {
        Radius::Server { accounting, address, port, secret } => {
            write!(out, "{} server {}", kind(*accounting), Quoted(&address.value))?;
            write_port(out, port.as_ref())?;
            out.push_str(" secret ");
            write_secret(out, secret, secrets)
        }
        Radius::MaxTries { accounting, number } => {
            write!(out, "{} max-tries {number}", kind(*accounting))
        }
        Radius::MaxFailovers { accounting, number } => {
            write!(out, "{} max-failovers {number}", kind(*accounting))
        }
        Radius::Config { family, option, vendor, attribute } => {
            out.push_str("radius config");
            let family = family.map(|f| if f == Family::Inet { " inet" } else { " inet6" });
            out.push_str(family.unwrap_or(""));
            let option = option.map_or("none", |option| option.word());
            match vendor {
                0 => write!(out, " {option} {attribute}"),
                vendor => write!(out, " {option} {vendor} {attribute}"),
            }
        }
        Radius::DaeListen { address, port } => {
            write!(out, "radius dae listen on {}", Quoted(&address.value))?;
            write_port(out, port.as_ref())
        }
        Radius::DaeClient { address, secret } => {
            write!(out, "radius dae client {} secret ", Quoted(&address.value))?;
            write_secret(out, secret, secrets)
        }
    }
}

fn write_rule(out: &mut String, rule: &Ikev2Rule, secrets: bool) -> fmt::Result {
    out.push_str("ikev2");
    if let Some(name) = &rule.name {
        write!(out, " {}", Quoted(&name.value))?;
    }
    let flag = |out: &mut String, word: Option<&str>| {
        word.into_iter().for_each(|word| {
            out.push(' ');
            out.push_str(word);
        });
    };
    flag(out, rule.matching.as_ref().map(|m| matching(m.value)));
    flag(out, rule.start.as_ref().map(|s| start(s.value)));
    flag(out, rule.ipcomp.as_ref().map(|_| "ipcomp"));
    flag(
        out,
        rule.mode.as_ref().map(|m| if m.value == Mode::Tunnel { "tunnel" } else { "transport" }),
    );
    flag(out, rule.natt.as_ref().map(|_| "natt"));
    flag(out, rule.no_nat.as_ref().map(|_| "nonat"));
    flag(out, rule.childless.as_ref().map(|_| "childless"));
    flag(
        out,
        rule.protocol.as_ref().map(|p| if p.value == SaProtocol::Esp { "esp" } else { "ah" }),
    );
    flag(out, rule.family.as_ref().map(|f| if f.value == Family::Inet { "inet" } else { "inet6" }));
    if !rule.ip_protocols.is_empty() {
        out.push_str(" proto ");
        write_list(out, &rule.ip_protocols, |out, word| write_word(out, &word.value))?;
    }
    write_valued(out, "rdomain", rule.rdomain.as_ref().map(|r| r.value))?;
    rule.flows.iter().try_for_each(|flow| write_flow(out, flow))?;
    for (word, host) in [("local", &rule.local), ("peer", &rule.peer)] {
        if let Some(host) = host {
            write!(out, " {word} ")?;
            write_host(out, &host.value)?;
        }
    }
    rule.ike_sas.iter().try_for_each(|clause| write_transforms(out, "ikesa", clause))?;
    rule.child_sas.iter().try_for_each(|clause| write_transforms(out, "childsa", clause))?;
    write_string(out, "srcid", rule.srcid.as_ref())?;
    write_string(out, "dstid", rule.dstid.as_ref())?;
    write_valued(out, "ikelifetime", rule.ike_lifetime.as_ref().map(|t| t.value))?;
    flag(out, rule.reauth.then_some("reauth"));
    write_valued(out, "lifetime", rule.lifetime.as_ref().map(|t| t.value))?;
    write_valued(out, "bytes", rule.bytes.as_ref().map(|b| b.value))?;
    if let Some(auth) = &rule.auth {
        write_auth(out, &auth.value, secrets)?;
    }
    write_options(out, &rule.options)?;
    write_string(out, "iface", rule.iface.as_ref())?;
    write_string(out, "tag", rule.tag.as_ref())?;
    write_string(out, "tap", rule.tap.as_ref())
}

/// `config` and `request` options.
pub(super) fn write_options(out: &mut String, options: &[Spanned<ConfigOption>]) -> fmt::Result {
    for option in options {
        let word = if option.value.request { "request" } else { "config" };
        write!(out, " {word} {} ", option.value.option.word())?;
        write_host(out, &option.value.value.value)?;
    }
    Ok(())
}

fn matching(matching: Matching) -> &'static str {
    match matching {
        Matching::Quick => "quick",
        Matching::Skip => "skip",
        Matching::Default => "default",
    }
}

fn start(start: Start) -> &'static str {
    match start {
        Start::Active => "active",
        Start::Passive => "passive",
        Start::OnDemand => "ondemand",
    }
}

pub(super) fn write_valued(
    out: &mut String,
    word: &str,
    value: Option<impl fmt::Display>,
) -> fmt::Result {
    match value {
        Some(value) => write!(out, " {word} {value}"),
        None => Ok(()),
    }
}

fn write_string(out: &mut String, word: &str, value: Option<&Spanned<String>>) -> fmt::Result {
    write_valued(out, word, value.map(|v| Quoted(&v.value)))
}

/// One item as it is, several in braces.
fn write_list<T>(
    out: &mut String,
    items: &[T],
    mut item: impl FnMut(&mut String, &T) -> fmt::Result,
) -> fmt::Result {
    if let [only] = items {
        return item(out, only);
    }
    let mut separator = "{ ";
    for one in items {
        out.push_str(separator);
        item(out, one)?;
        separator = ", ";
    }
    out.push_str(" }");
    Ok(())
}

fn write_flow(out: &mut String, flow: &FlowClause) -> fmt::Result {
    write_side(out, "from", &flow.from)?;
    write_side(out, "to", &flow.to)
}

pub(super) fn write_side(out: &mut String, word: &str, side: &Side) -> fmt::Result {
    write!(out, " {word} ")?;
    write_list(out, &side.hosts, |out, item| {
        write_host(out, &item.host.value)?;
        let Some(nat) = &item.srcnat else { return Ok(()) };
        out.push_str(" (");
        write_host(out, &nat.value)?;
        out.push(')');
        Ok(())
    })?;
    let Some(port) = &side.port else { return Ok(()) };
    out.push_str(" port ");
    write_word(out, &port.value)
}

pub(super) fn write_host(out: &mut String, host: &Host) -> fmt::Result {
    match host {
        Host::Any => out.write_str("any"),
        Host::Dynamic => out.write_str("dynamic"),
        Host::Named { word, length: None } => write!(out, "{}", Quoted(word)),
        Host::Named { word, length: Some(length) } => write!(out, "{}/{length}", Quoted(word)),
    }
}

pub(super) fn write_word(out: &mut String, word: &Word) -> fmt::Result {
    match word {
        Word::Name(name) => write!(out, "{}", Quoted(name)),
        Word::Number(number) => write!(out, "{number}"),
    }
}

fn write_transforms(out: &mut String, word: &str, clause: &Transforms) -> fmt::Result {
    write!(out, " {word}")?;
    let lists = [
        ("enc", &clause.enc),
        ("prf", &clause.prf),
        ("auth", &clause.auth),
        ("group", &clause.group),
    ];
    for (word, list) in lists {
        list.iter().try_for_each(|item| write!(out, " {word} {}", Quoted(&item.value)))?;
    }
    for esn in &clause.esn {
        out.push_str(if esn.value { " esn" } else { " noesn" });
    }
    Ok(())
}

fn write_auth(out: &mut String, auth: &AuthClause, secrets: bool) -> fmt::Result {
    match auth {
        AuthClause::Psk(psk) => {
            out.push_str(" psk ");
            write_psk(out, psk, secrets)
        }
        AuthClause::PskFile(path) => write!(out, " psk file {}", Quoted(path)),
        AuthClause::Eap(method) => write!(out, " eap \"{}\"", method.word()),
        AuthClause::Signature(kind) => write!(out, " {}", kind.word()),
    }
}

/// The psk of an `ikev2` rule as text, or in hexadecimal digits where text would not read back as
/// the same.
fn write_psk(out: &mut String, psk: &Secret, shown: bool) -> fmt::Result {
    let text = std::str::from_utf8(psk.octets()).ok();
    let odd = |text: &&str| text.contains(|c: char| c.is_control() || c == '\\');
    if !shown || text.is_some_and(|text| !text.starts_with("0x") && !odd(&text)) {
        return write_secret(out, psk, shown);
    }
    out.push_str("0x");
    psk.octets().iter().try_for_each(|octet| write!(out, "{octet:02x}"))
}

/// A secret that is text.
pub(super) fn write_secret(out: &mut String, secret: &Secret, shown: bool) -> fmt::Result {
    match shown {
        true => out.write_str(&Quoted(&String::from_utf8_lossy(secret.octets())).always()),
        false => out.write_str("\"********\""),
    }
}

/// A string in quotes, unless it is plainly an address or a number that needs none.
pub(super) struct Quoted<'a>(pub &'a str);

impl Quoted<'_> {
    pub(super) fn always(&self) -> String {
        if self.0.ends_with('\\') {
            // Quotes cannot end with a backslash; only a bare word can have brought it.
            return self.0.replace('\\', "\\\\");
        }
        format!("\"{}\"", self.0.replace('"', "\\\"").replace("\\ ", "\\\\ "))
    }
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':');
        let marked = self.0.contains(['.', ':']);
        if marked && self.0.chars().all(plain) && !self.0.starts_with('.') {
            return f.write_str(self.0);
        }
        f.write_str(&self.always())
    }
}
