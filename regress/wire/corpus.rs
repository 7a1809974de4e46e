//! The captured messages in `captures/`: two strongSwan daemons in one conversation, from the refused
//! first IKE_SA_INIT to the rekeyed IKE SA; and those in `captures-v1/`: Main Mode and Aggressive Mode of
//! such two, each with Quick Mode and dead peer detection behind it.
//!
//! A case is a text file: comments (`#`), a line that says what the octets are (`datagram`, or `inside N`
//! for the opened content of an encrypted payload whose first payload has type N), hexadecimal octets
//! to the first empty line, and after it what `wire::dump` prints for them.

use std::fs;
use std::path::PathBuf;

use oakd::wire::iana::v2::PayloadType;

/// What the octets of a case are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A datagram without non-ESP marker.
    Datagram,
    /// The content of an encrypted payload, with the type of its first payload.
    Inside(PayloadType),
}

/// A captured message.
#[derive(Debug, Clone)]
pub struct Case {
    pub path: PathBuf,
    pub name: String,
    pub kind: Kind,
    pub octets: Vec<u8>,
    /// Everything up to the expectation, as the file has it.
    pub head: String,
    pub expected: String,
}

/// All cases of IKEv2 in the order of their names.
pub fn cases() -> Vec<Case> {
    cases_in("captures")
}

/// All cases of IKEv1. The type of a first payload is a number of that version's registry, and what is
/// opened has its padding still.
pub fn cases_v1() -> Vec<Case> {
    cases_in("captures-v1")
}

fn cases_in(folder: &str) -> Vec<Case> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("regress/wire").join(folder);
    let entries = fs::read_dir(&folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let cases: Vec<_> = paths.into_iter().map(read).collect();
    assert!(!cases.is_empty(), "no captures in {}", folder.display());
    cases
}

/// The octets of one case.
pub fn octets(name: &str) -> Vec<u8> {
    cases().into_iter().find(|case| case.name == name).unwrap().octets
}

/// Octets from hexadecimal with spaces and line ends.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter(|c| !c.is_whitespace()).collect();
    assert!(digits.len().is_multiple_of(2), "odd number of digits");
    let octet = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(octet).collect()
}

fn read(path: PathBuf) -> Case {
    let text = fs::read_to_string(&path).unwrap();
    let (head, expected) = text.split_once("\n\n").unwrap();
    let mut lines = head.lines().filter(|line| !line.starts_with('#'));
    let kind = match lines.next().unwrap().split_once(' ') {
        None => Kind::Datagram,
        Some((_, first)) => Kind::Inside(PayloadType(first.parse().unwrap())),
    };
    let octets = hex(&lines.collect::<String>());
    let name = path.file_stem().unwrap().to_str().unwrap().to_string();
    Case { name, kind, octets, head: head.to_string(), expected: expected.to_string(), path }
}
