//! `set`, `user` and `radius` lines.

use super::{Cursor, Fault, Problem};
use crate::conf::CfgOption;
use crate::conf::lex::TokenKind;
use crate::conf::syntax::{Radius, Set, Spanned, User};
use crate::conf::{Family, MOST_WORKERS};
use crate::crypto::Secret;

/// The words after `set` that stand alone.
const SET_FLAGS: &[&str] = &[
    "active",
    "passive",
    "couple",
    "decouple",
    "fragmentation",
    "nofragmentation",
    "mobike",
    "nomobike",
    "vendorid",
    "novendorid",
    "enforcesingleikesa",
    "noenforcesingleikesa",
    "stickyaddress",
    "nostickyaddress",
    "cert_partial_chain",
    "rsa_pss",
    "norsa_pss",
];

/// The words after `set` with a number: of what, and its bounds.
const SET_NUMBERS: &[(&str, &str, i64, i64)] = &[
    ("ca_workers", "processes", 1, MOST_WORKERS as i64),
    ("cert_expiry_warning", "days", 0, 36_500),
    ("dpd_check_interval", "seconds", 0, u32::MAX as i64),
];

/// `set …`, from behind the word on.
pub(super) fn set(cursor: &mut Cursor) -> Result<Set, Fault> {
    let place = cursor.place();
    let word = cursor.bare().unwrap_or_default().to_owned();
    if SET_FLAGS.contains(&word.as_str()) {
        cursor.next();
        return Ok(Set::Flag(word));
    }
    if let Some((word, of, low, high)) = SET_NUMBERS.iter().find(|(known, ..)| *known == word) {
        cursor.next();
        return Ok(Set::Number(word, cursor.number(*low, *high, of)?.value));
    }
    match word.as_str() {
        "ocsp" => {
            cursor.next();
            let url = cursor.string("a URL in quotes")?.value;
            let tolerate = match cursor.eat("tolerate") {
                true => Some(cursor.time()?.value),
                false => None,
            };
            let maxage = match tolerate.is_some() && cursor.eat("maxage") {
                true => Some(cursor.time()?.value),
                false => None,
            };
            Ok(Set::Ocsp { url, tolerate, maxage })
        }
        _ => {
            let numbers = SET_NUMBERS.iter().map(|(word, ..)| *word);
            let known: Vec<&str> =
                SET_FLAGS.iter().copied().chain(numbers).chain(["ocsp"]).collect();
            let found = cursor.describe();
            Err((place, Problem::unknown(found, &word, "an option to set", &known)))
        }
    }
}

/// `user NAME PASSWORD`.
pub(super) fn user(cursor: &mut Cursor) -> Result<User, Fault> {
    cursor.next();
    let name = cursor.string("a user name")?;
    let password = cursor.string("a password in quotes")?;
    Ok(User { name, password: Secret::new(password.value.into_bytes()) })
}

/// `radius …`, from behind the word on.
pub(super) fn radius(cursor: &mut Cursor) -> Result<Radius, Fault> {
    if cursor.eat("config") {
        return radius_config(cursor);
    }
    if cursor.eat("dae") {
        return radius_dae(cursor);
    }
    let accounting = cursor.eat("accounting");
    if cursor.eat("max-tries") {
        let number = cursor.number(1, 255, "tries")?.value;
        return Ok(Radius::MaxTries { accounting, number });
    }
    if cursor.eat("max-failovers") {
        let number = cursor.number(0, 255, "failovers")?.value;
        return Ok(Radius::MaxFailovers { accounting, number });
    }
    if !cursor.eat("server") {
        let word = cursor.bare().unwrap_or_default().to_owned();
        let known = ["server", "accounting", "max-tries", "max-failovers", "config", "dae"];
        let what = "server, accounting, max-tries, max-failovers, config or dae";
        return Err((cursor.place(), Problem::unknown(cursor.describe(), &word, what, &known)));
    }
    let address = cursor.string("the address of a server")?;
    let port = port(cursor)?;
    let secret = secret(cursor)?;
    Ok(Radius::Server { accounting, address, port, secret })
}

/// `config [inet|inet6] OPTION [VENDOR] ATTRIBUTE`.
fn radius_config(cursor: &mut Cursor) -> Result<Radius, Fault> {
    let family = match (cursor.eat("inet"), cursor.eat("inet6")) {
        (true, _) => Some(Family::Inet),
        (_, true) => Some(Family::Inet6),
        _ => None,
    };
    let word = cursor.string("an option such as \"address\", or \"none\"")?;
    let option = CfgOption::from_word(&word.value);
    if option.is_none() && word.value != "none" {
        let known: Vec<&str> = CfgOption::words().chain(["none"]).collect();
        let found = format!("\"{}\"", word.value);
        let what = format!("one of {}", known.join(", "));
        return Err((word.place, Problem::unknown(found, &word.value, &what, &known)));
    }
    let first = attribute(cursor, 0xff_ffff, "an attribute, or a vendor and an attribute")?;
    let (vendor, attribute) = match cursor.at_end() {
        false => (first.value, attribute(cursor, 255, "an attribute from 0 to 255")?),
        true => (0, first),
    };
    let place = attribute.place;
    let Ok(attribute) = u8::try_from(attribute.value) else {
        let found = format!("\"{}\"", attribute.value);
        return Err((place, Problem::found(found, "an attribute from 0 to 255")));
    };
    Ok(Radius::Config { family, option, vendor, attribute })
}

fn attribute(cursor: &mut Cursor, most: u32, expected: &str) -> Result<Spanned<u32>, Fault> {
    let place = cursor.place();
    let value = match cursor.peek() {
        TokenKind::Number(number) => u32::try_from(*number).ok(),
        TokenKind::Word(word) | TokenKind::Quoted(word) => {
            word.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok())
        }
        _ => None,
    };
    let Some(value) = value.filter(|value| *value <= most) else { return cursor.fault(expected) };
    cursor.next();
    Ok(Spanned { value, place })
}

/// `dae listen on ADDRESS [port PORT]` or `dae client ADDRESS secret SECRET`.
fn radius_dae(cursor: &mut Cursor) -> Result<Radius, Fault> {
    if cursor.eat("client") {
        let address = cursor.string("the address of a client")?;
        return Ok(Radius::DaeClient { address, secret: secret(cursor)? });
    }
    if !cursor.eat("listen") || !cursor.eat("on") {
        return cursor.fault("\"listen on\" or \"client\"");
    }
    let address = cursor.string("an address to listen on")?;
    Ok(Radius::DaeListen { address, port: port(cursor)? })
}

fn port(cursor: &mut Cursor) -> Result<Option<Spanned<crate::conf::syntax::Word>>, Fault> {
    match cursor.eat("port") {
        true => cursor.word("a port or the name of a service").map(Some),
        false => Ok(None),
    }
}

fn secret(cursor: &mut Cursor) -> Result<Secret, Fault> {
    if !cursor.eat("secret") {
        return cursor.fault("\"secret\"");
    }
    Ok(Secret::new(cursor.string("a secret in quotes")?.value.into_bytes()))
}
