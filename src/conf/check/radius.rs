//! `radius` lines. They have no effect; what they name is looked at all the same, so that a line
//! carried over is known to be sound.

use super::{Checker, Problem};
use crate::conf::source::{Addresses, addresses};
use crate::conf::syntax::{Radius, Spanned, Word};

impl Checker<'_> {
    pub(super) fn radius(&mut self, line: &Spanned<Radius>) {
        let (address, port, has_secret) = match &line.value {
            Radius::Server { address, port, .. } => (Some(address), port.as_ref(), true),
            Radius::DaeListen { address, port } => (Some(address), port.as_ref(), false),
            Radius::DaeClient { address, .. } => (Some(address), None, true),
            Radius::MaxTries { .. } | Radius::MaxFailovers { .. } | Radius::Config { .. } => {
                (None, None, false)
            }
        };
        if has_secret {
            self.exposed(line.place, "a secret");
        }
        if let Some(address) = address {
            self.radius_address(address);
        }
        if let Some(port) = port {
            self.radius_port(port);
        }
        self.warn(line.place, "RADIUS is not available: this line has no effect");
    }

    fn radius_address(&mut self, word: &Spanned<String>) {
        match addresses(&word.value, None, self.names) {
            Addresses::Prefixes(_) => {}
            Addresses::Unresolved => {
                self.warn(word.place, format!("\"{}\" has no address now", word.value));
            }
            Addresses::Bad(expected) => {
                let found = format!("\"{}\"", word.value);
                self.error(word.place, Problem::found(found, expected));
            }
        }
    }

    fn radius_port(&mut self, port: &Spanned<Word>) {
        let (known, found) = match &port.value {
            Word::Number(number) => ((1..=65535).contains(number), number.to_string()),
            Word::Name(name) => (self.names.service(name).is_some(), name.clone()),
        };
        if !known {
            let expected = "a port from 1 to 65535 or the name of a service";
            self.error(port.place, Problem::found(format!("\"{found}\""), expected));
        }
    }
}
