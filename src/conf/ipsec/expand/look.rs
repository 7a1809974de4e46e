//! What ipsecctl looks at while it reads a rule, before it knows the whole.

use super::super::Look;
use super::Context;
use super::keys::{NO_DIGITS, octet, pairs};
use crate::conf::source::{Files, Names};
use crate::conf::syntax::Host;

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
