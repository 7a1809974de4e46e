//! The `ikev2` rule of iked.conf(5). Its clauses may come in any order, each once.

use super::{Cursor, Fault, Problem};
use crate::conf::diagnostic::{Place, distance, nearest};
use crate::conf::lex::TokenKind;
use crate::conf::syntax::{
    AuthClause, ConfigOption, FlowClause, Host, Ikev2Rule, Matching, Side, SideHost, Spanned,
    Transforms,
};
use crate::conf::{CfgOption, EapMethod, Family, Mode, SaProtocol, Signature, Start};
use crate::crypto::Secret;

/// The words that begin a clause; a rule's name that is one of them needs quotes.
const CLAUSES: &[&str] = &[
    "active",
    "passive",
    "ondemand",
    "quick",
    "skip",
    "default",
    "esp",
    "ah",
    "ipcomp",
    "tunnel",
    "transport",
    "natt",
    "nonat",
    "childless",
    "inet",
    "inet6",
    "proto",
    "rdomain",
    "from",
    "to",
    "local",
    "peer",
    "ikesa",
    "childsa",
    "srcid",
    "dstid",
    "ikelifetime",
    "lifetime",
    "psk",
    "eap",
    "rsa",
    "ecdsa256",
    "ecdsa384",
    "ecdsa521",
    "rfc7427",
    "signature",
    "config",
    "request",
    "iface",
    "tag",
    "tap",
];

fn signature(word: &str) -> Option<Signature> {
    Signature::WORDS.iter().find(|(known, _)| *known == word).map(|(_, kind)| *kind)
}

/// A whole rule, from `ikev2` to the end of the line.
pub(super) fn rule(cursor: &mut Cursor) -> Result<Ikev2Rule, Fault> {
    let start_of_rule = Spanned { value: (), place: cursor.place() };
    cursor.next();
    let mut rule = Ikev2Rule { start_of_rule, ..Ikev2Rule::default() };
    rule.name = name(cursor)?;
    while !cursor.at_end() {
        clause(cursor, &mut rule)?;
    }
    if rule.flows.is_empty() {
        return cursor.fault("\"from\" and \"to\": what traffic the rule is for");
    }
    Ok(rule)
}

/// What a rule's name without quotes seems to be a slip of: the word of a clause that is one letter
/// away. The cursor stands before `ikev2`.
pub(super) fn slip(cursor: &Cursor) -> Option<(Place, String, &'static str)> {
    let TokenKind::Word(word) = cursor.peek_at(1) else { return None };
    let known = nearest(word, CLAUSES.iter().copied())?;
    let slip = *word != known && distance(word, known) == 1;
    slip.then(|| (cursor.place_at(1), word.clone(), known))
}

/// The name: a quoted string, or a word that begins no clause.
fn name(cursor: &mut Cursor) -> Result<Option<Spanned<String>>, Fault> {
    match cursor.peek() {
        TokenKind::Quoted(_) => cursor.string("a name").map(Some),
        TokenKind::Word(word) if !CLAUSES.contains(&word.as_str()) => {
            cursor.string("a name").map(Some)
        }
        _ => Ok(None),
    }
}

fn clause(cursor: &mut Cursor, rule: &mut Ikev2Rule) -> Result<(), Fault> {
    let place = cursor.place();
    let Some(word) = cursor.bare().map(str::to_owned) else {
        return cursor.fault("a clause of the rule");
    };
    let at = |value| Spanned { value, place };
    match word.as_str() {
        "from" | "to" => return flows(cursor, rule),
        "quick" => once(cursor, &mut rule.matching, at(Matching::Quick))?,
        "skip" => once(cursor, &mut rule.matching, at(Matching::Skip))?,
        "default" => once(cursor, &mut rule.matching, at(Matching::Default))?,
        "active" => once(cursor, &mut rule.start, Spanned { value: Start::Active, place })?,
        "passive" => once(cursor, &mut rule.start, Spanned { value: Start::Passive, place })?,
        "ondemand" => once(cursor, &mut rule.start, Spanned { value: Start::OnDemand, place })?,
        "esp" => once(cursor, &mut rule.protocol, Spanned { value: SaProtocol::Esp, place })?,
        "ah" => once(cursor, &mut rule.protocol, Spanned { value: SaProtocol::Ah, place })?,
        "tunnel" => once(cursor, &mut rule.mode, Spanned { value: Mode::Tunnel, place })?,
        "transport" => once(cursor, &mut rule.mode, Spanned { value: Mode::Transport, place })?,
        "inet" => once(cursor, &mut rule.family, Spanned { value: Family::Inet, place })?,
        "inet6" => once(cursor, &mut rule.family, Spanned { value: Family::Inet6, place })?,
        "ipcomp" => once(cursor, &mut rule.ipcomp, Spanned { value: (), place })?,
        "natt" => once(cursor, &mut rule.natt, Spanned { value: (), place })?,
        "nonat" => once(cursor, &mut rule.no_nat, Spanned { value: (), place })?,
        "childless" => once(cursor, &mut rule.childless, Spanned { value: (), place })?,
        "ikesa" | "childsa" => return transforms(cursor, rule),
        "config" | "request" => {
            rule.options.push(option(cursor)?);
            return Ok(());
        }
        _ => return valued(cursor, rule, &word),
    }
    Ok(())
}

/// Takes the word here as the clause's value, if the clause did not stand before.
fn once<T>(
    cursor: &mut Cursor,
    slot: &mut Option<Spanned<T>>,
    value: Spanned<T>,
) -> Result<(), Fault> {
    if slot.is_some() {
        return cursor.fault("this clause once in a rule");
    }
    cursor.next();
    *slot = Some(value);
    Ok(())
}

/// The clauses that have a value behind their word.
fn valued(cursor: &mut Cursor, rule: &mut Ikev2Rule, word: &str) -> Result<(), Fault> {
    let taken = match word {
        "proto" => !rule.ip_protocols.is_empty(),
        "rdomain" => rule.rdomain.is_some(),
        "local" => rule.local.is_some(),
        "peer" => rule.peer.is_some(),
        "srcid" => rule.srcid.is_some(),
        "dstid" => rule.dstid.is_some(),
        "ikelifetime" => rule.ike_lifetime.is_some(),
        "lifetime" => rule.lifetime.is_some(),
        "iface" => rule.iface.is_some(),
        "tag" => rule.tag.is_some(),
        "tap" => rule.tap.is_some(),
        "psk" | "eap" => rule.auth.is_some(),
        method if signature(method).is_some() => rule.auth.is_some(),
        _ => {
            let what = "a clause of the rule";
            let problem = Problem::unknown(cursor.describe(), word, what, CLAUSES);
            return Err((cursor.place(), problem));
        }
    };
    if taken {
        return cursor.fault("this clause once in a rule");
    }
    let place = cursor.place();
    cursor.next();
    match word {
        "proto" => rule.ip_protocols = list(cursor, |c| c.word("a protocol"))?,
        "rdomain" => rule.rdomain = Some(cursor.number(0, 255, "a routing domain")?),
        "local" => rule.local = Some(cursor.any_host("an address, a name or \"any\"")?),
        "peer" => rule.peer = Some(cursor.any_host("an address, a name or \"any\"")?),
        "srcid" => rule.srcid = Some(cursor.string("an identity")?),
        "dstid" => rule.dstid = Some(cursor.string("an identity")?),
        "ikelifetime" => {
            rule.ike_lifetime = Some(cursor.time()?);
            rule.reauth = cursor.eat("reauth");
        }
        "lifetime" => {
            rule.lifetime = Some(cursor.time()?);
            if cursor.eat("bytes") {
                rule.bytes = Some(cursor.octets()?);
            }
        }
        "iface" => rule.iface = Some(cursor.string("an interface")?),
        "tag" => rule.tag = Some(cursor.string("a tag")?),
        "tap" => rule.tap = Some(cursor.string("an interface enc(4)")?),
        "psk" => rule.auth = Some(Spanned { value: psk(cursor)?, place }),
        "eap" => {
            let value = AuthClause::Eap(eap_method(cursor)?);
            rule.auth = Some(Spanned { value, place });
        }
        method => {
            let kind = signature(method);
            rule.auth = kind.map(|k| Spanned { value: AuthClause::Signature(k), place });
        }
    }
    Ok(())
}

/// `STRING`, `0xHEX` or `file PATH` behind `psk`.
fn psk(cursor: &mut Cursor) -> Result<AuthClause, Fault> {
    if cursor.eat("file") {
        return Ok(AuthClause::PskFile(cursor.string("the name of a file")?.value));
    }
    let key = cursor.string("a key in quotes, 0x and hexadecimal digits, or file")?;
    let Some(digits) = key.value.strip_prefix("0x") else {
        if key.value.is_empty() {
            return Err((key.place, Problem::found("an empty key", "a key")));
        }
        return Ok(AuthClause::Psk(Secret::new(key.value.into_bytes())));
    };
    match hexadecimal(digits) {
        Some(octets) if !octets.is_empty() => Ok(AuthClause::Psk(Secret::new(octets))),
        _ => {
            let expected = "an even number of hexadecimal digits behind 0x";
            Err((key.place, Problem::found("another key", expected)))
        }
    }
}

/// The octets of hexadecimal digits.
pub(in crate::conf) fn hexadecimal(digits: &str) -> Option<Vec<u8>> {
    if !digits.is_ascii() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let pairs = digits.as_bytes().chunks(2);
    let octet = |pair: &[u8]| {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        u8::try_from(high << 4 | low).ok()
    };
    pairs.map(octet).collect()
}

/// One value, or several in braces with or without commas.
fn list<T>(
    cursor: &mut Cursor,
    mut item: impl FnMut(&mut Cursor) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    if !cursor.eat_punct('{') {
        return Ok(vec![item(cursor)?]);
    }
    let mut items = vec![item(cursor)?];
    while !cursor.eat_punct('}') {
        cursor.eat_punct(',');
        if cursor.at_end() {
            return cursor.fault("'}' at the end of the list");
        }
        items.push(item(cursor)?);
    }
    Ok(items)
}

/// `from A [port P] to B [port P]` or the other way round, several times with or without commas.
fn flows(cursor: &mut Cursor, rule: &mut Ikev2Rule) -> Result<(), Fault> {
    loop {
        let reversed = cursor.is("to");
        cursor.next();
        let first = side(cursor)?;
        let second_word = if reversed { "from" } else { "to" };
        if !cursor.eat(second_word) {
            return cursor.fault(&format!("\"{second_word}\""));
        }
        let second = side(cursor)?;
        let (from, to) = if reversed { (second, first) } else { (first, second) };
        if let Some(nat) = to.hosts.iter().find_map(|h| h.srcnat.as_ref()) {
            let problem = Problem::says("only the source (\"from\") can be translated");
            return Err((nat.place, problem));
        }
        rule.flows.push(FlowClause { from, to });
        let comma = cursor.eat_punct(',');
        if !cursor.is("from") && !cursor.is("to") {
            return if comma { cursor.fault("\"from\" or \"to\"") } else { Ok(()) };
        }
    }
}

fn side(cursor: &mut Cursor) -> Result<Side, Fault> {
    let hosts = list(cursor, |cursor| {
        let place = cursor.place();
        if cursor.eat("dynamic") {
            let host = Spanned { value: Host::Dynamic, place };
            return Ok(SideHost { host, srcnat: None });
        }
        let host = cursor.any_host("an address, a network, a name, \"any\" or \"dynamic\"")?;
        let srcnat = match host.value != Host::Any && cursor.eat_punct('(') {
            true => {
                let nat = cursor.named_host("an address or a network")?;
                cursor.punct(')')?;
                Some(nat)
            }
            false => None,
        };
        Ok(SideHost { host, srcnat })
    })?;
    let port = match cursor.eat("port") {
        true => Some(cursor.word("a port or the name of a service")?),
        false => None,
    };
    Ok(Side { hosts, port })
}

fn transforms(cursor: &mut Cursor, rule: &mut Ikev2Rule) -> Result<(), Fault> {
    let ike = cursor.is("ikesa");
    let start = Spanned { value: (), place: cursor.place() };
    cursor.next();
    let mut clause = Transforms { start, ..Transforms::default() };
    loop {
        let place = cursor.place();
        let list = match cursor.bare() {
            Some("enc") => &mut clause.enc,
            Some("prf") => &mut clause.prf,
            Some("auth") => &mut clause.auth,
            Some("group") => &mut clause.group,
            Some(word @ ("esn" | "noesn")) => {
                clause.esn.push(Spanned { value: word == "esn", place });
                cursor.next();
                continue;
            }
            _ => break,
        };
        cursor.next();
        list.push(cursor.string("the word of an algorithm")?);
        while cursor.eat_punct(',') {
            list.push(cursor.string("the word of an algorithm")?);
        }
    }
    let into = if ike { &mut rule.ike_sas } else { &mut rule.child_sas };
    into.push(clause);
    Ok(())
}

fn eap_method(cursor: &mut Cursor) -> Result<EapMethod, Fault> {
    let word = cursor.string("an EAP method such as \"mschap-v2\"")?;
    EapMethod::from_word(&word.value).ok_or_else(|| {
        let known: Vec<&str> = EapMethod::WORDS.iter().map(|(word, _)| *word).collect();
        let found = format!("\"{}\"", word.value);
        (word.place, Problem::unknown(found, &word.value, "\"mschap-v2\" or \"radius\"", &known))
    })
}

/// `config OPTION ADDRESS` or `request OPTION ADDRESS`.
pub(in crate::conf) fn option(cursor: &mut Cursor) -> Result<Spanned<ConfigOption>, Fault> {
    let place = cursor.place();
    let request = cursor.is("request");
    cursor.next();
    let word = cursor.string("an option such as \"address\" or \"name-server\"")?;
    let Some(option) = CfgOption::from_word(&word.value) else {
        let known: Vec<&str> = CfgOption::words().collect();
        let what = format!("one of {}", known.join(", "));
        let found = format!("\"{}\"", word.value);
        return Err((word.place, Problem::unknown(found, &word.value, &what, &known)));
    };
    let value = match (option, request) {
        (CfgOption::Domain, false) => cursor.named_host("a name")?,
        (_, true) => cursor.any_host("an address or \"any\"")?,
        (_, false) => cursor.named_host("an address or a network")?,
    };
    Ok(Spanned { value: ConfigOption { request, option, value }, place })
}
