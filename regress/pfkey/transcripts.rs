//! Every recorded message is read, and written back octet for octet.

use crate::util::{Kind, recorded, shared, transcript, unhex};
use pfkey::{Dialect, Message};
use std::collections::BTreeSet;

/// Messages that were made wrong on purpose, to see what the kernel says (and its echo of them):
/// place, and the reason that reading them must give.
const MALFORMED: &[(&str, &str)] = &[
    ("openbsd 02-flows-acquire-expire 119", "PF_KEY version 1, expected 2"),
    ("openbsd 02-flows-acquire-expire 122", "header says 24 octets, there are 16"),
    ("openbsd 02-flows-acquire-expire 126", "4 octets are no PF_KEY header"),
    ("openbsd 02-flows-acquire-expire 127", "Sa at offset 32: comes a second time"),
    (
        "openbsd 02-flows-acquire-expire 131",
        "LocalCredentials at offset 56: length 0, 8 octets are left",
    ),
    ("openbsd 02-flows-acquire-expire 132", "Unknown(0) at offset 16: length 0, 8 octets are left"),
    ("freebsd 01-sa 84", "PF_KEY version 1, expected 2"),
    ("freebsd 01-sa 87", "header says 24 octets, there are 16"),
    ("freebsd 01-sa 92", "Sa at offset 32: comes a second time"),
    // The number 29 was free in 12.1 and given away since.
    ("freebsd 01-sa 93", "LifetimeSwOffload at offset 80: length does not fit its type"),
    ("freebsd 01-sa 96", "4 octets are no PF_KEY header"),
    ("netbsd 06-malformed-promisc-flood 1.1", "2 octets are no PF_KEY header"),
    ("netbsd 06-malformed-promisc-flood 1.2", "PF_KEY version 1, expected 2"),
    ("netbsd 06-malformed-promisc-flood 1.3", "header says 40 octets, there are 16"),
    ("netbsd 06-malformed-promisc-flood 1.4", "header says 16 octets, there are 24"),
    ("netbsd 06-malformed-promisc-flood 1.9", "Sa at offset 224: comes a second time"),
    (
        "netbsd 06-malformed-promisc-flood 1.12",
        "KeyAuth at offset 224: length 0, 8 octets are left",
    ),
    (
        "netbsd 06-malformed-promisc-flood 1.17",
        "AddressSrc at offset 48: room left behind the socket address",
    ),
];

/// Messages whose octets cannot be had back from their values, and why.
const FAULTS: &[(&str, &str)] = &[
    ("freebsd 01-sa 1", "REGISTER: reserved fields are uninitialised memory"),
    ("freebsd 01-sa 3", "REGISTER: reserved fields are uninitialised memory"),
    ("freebsd 01-sa 4", "REGISTER: reserved fields are uninitialised memory"),
    ("freebsd 01-sa 5", "REGISTER: reserved fields are uninitialised memory"),
    ("freebsd 01-sa 6", "REGISTER: reserved fields are uninitialised memory"),
    ("freebsd 02-policy-acquire-expire 1", "REGISTER: reserved fields are uninitialised memory"),
    ("netbsd 03-acquire 5.1", "REGISTER: reserved fields are uninitialised memory"),
    ("netbsd 08-natt 6r", "REGISTER: reserved fields are uninitialised memory"),
    ("netbsd 06-malformed-promisc-flood 1.18", "octets put into sin_zero on purpose"),
    ("netbsd 06-malformed-promisc-flood 1.19", "octets put into padding on purpose"),
    ("netbsd 06-malformed-promisc-flood 2.1", "PROMISC: the length is 16 too large"),
    ("netbsd 06-malformed-promisc-flood 2.2", "PROMISC: the length is 16 too large"),
    ("netbsd 06-malformed-promisc-flood 2.3", "PROMISC: the length is 16 too large"),
    ("netbsd 06-malformed-promisc-flood 2.4", "PROMISC: the length is 16 too large"),
    ("netbsd 06-malformed-promisc-flood 2.5", "PROMISC: the length is 16 too large"),
];

#[test]
fn every_message_is_read_and_written_back() {
    let mut read = 0;
    let mut met = BTreeSet::new();
    for dialect in recorded() {
        for line in transcript(dialect).iter().filter(|l| l.kind != Kind::Errno) {
            let place = line.place.as_str();
            match Message::parse(dialect, &line.octets) {
                Err(e) => {
                    assert!(
                        MALFORMED.contains(&(place, e.to_string().as_str())),
                        "{place} is not read: {e}"
                    );
                    met.insert(place.to_owned());
                }
                Ok(m) if m.emit()[..] != line.octets[..] => {
                    assert!(FAULTS.iter().any(|(p, _)| *p == place), "{place}: other octets");
                    assert_eq!(m.emit().len(), line.octets.len(), "{place}");
                    met.insert(place.to_owned());
                }
                Ok(m) => {
                    read += 1;
                    // What was read understands itself: no message of a kernel is an error.
                    if line.kind != Kind::Ask {
                        let told = dialect.interpret(&line.octets);
                        assert!(told.is_ok(), "{place}: {:?} {m:?}", told.err());
                    }
                }
            }
        }
    }
    assert!(read > 1500, "only {read} messages");
    for (place, why) in MALFORMED.iter().chain(FAULTS) {
        assert!(met.contains(*place), "{place} is an exception no more: {why}");
    }
}

/// The compact transcripts have every message of the full ones.
#[test]
fn nothing_was_left_out() {
    let Some(shared) = shared() else { return };
    for dialect in recorded() {
        let ours: BTreeSet<Vec<u8>> =
            transcript(dialect).into_iter().map(|line| line.octets).collect();
        for entry in std::fs::read_dir(shared.join(dialect.name)).unwrap() {
            let path = entry.unwrap().path();
            for line in std::fs::read_to_string(&path).unwrap().lines() {
                let f: Vec<&str> = line.split('\t').collect();
                let act = f.get(1).copied().unwrap_or("").split(':').next().unwrap();
                if ["req", "rep", "send", "recv", "sysctl-ent"].contains(&act) && !f[2].is_empty() {
                    assert!(ours.contains(&unhex(f[2])), "{}: {line}", path.display());
                }
            }
        }
    }
}

/// No message of another kernel makes a reader panic, whatever it makes of it.
#[test]
fn in_the_wrong_dialect() {
    for from in recorded() {
        for line in transcript(from).iter().filter(|l| l.kind != Kind::Errno) {
            for dialect in Dialect::all() {
                if let Ok(m) = Message::parse(dialect, &line.octets) {
                    let _ = (m.emit(), dialect.interpret(&line.octets));
                }
            }
        }
    }
}
