//! Where the facts lie, and how a transcript is read.

use pfkey::Dialect;
use std::path::PathBuf;

/// The full facts beside the repository, when they are there.
pub fn shared() -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/facts");
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("skipped: no ../shared/facts beside the repository; the compact copy is compared");
    None
}

/// One line of a compact transcript.
#[derive(Clone, Debug)]
pub struct Line {
    /// Which conversation, and which step of it.
    pub place: String,
    pub kind: Kind,
    /// The sockets that asked or heard, separated by commas.
    pub sockets: String,
    pub octets: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Written to the kernel.
    Ask,
    /// Read from the kernel.
    Hear,
    /// An entry of what sysctl(2) dumped.
    Dump,
    /// write(2) failed with the errno in the one octet.
    Errno,
}

/// The recorded conversation with this dialect's kernel.
pub fn transcript(dialect: &Dialect) -> Vec<Line> {
    let text = match dialect.name {
        "openbsd" => include_str!("transcripts/openbsd.tsv"),
        "freebsd" => include_str!("transcripts/freebsd.tsv"),
        "netbsd" => include_str!("transcripts/netbsd.tsv"),
        "linux" => "",
        other => panic!("no transcript of {other}"),
    };
    let mut file = "";
    let mut lines = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("# ") {
            file = name;
            continue;
        }
        let mut fields = line.split('\t');
        let step = fields.next().unwrap();
        let kind = match fields.next().unwrap() {
            "ask" => Kind::Ask,
            "hear" => Kind::Hear,
            "dump" => Kind::Dump,
            "errno" => Kind::Errno,
            other => panic!("{file} {step}: {other}"),
        };
        let sockets = fields.next().unwrap().to_owned();
        let data = fields.next().unwrap();
        let octets = if kind == Kind::Errno { vec![data.parse().unwrap()] } else { unhex(data) };
        lines.push(Line {
            place: format!("{} {file} {step}", dialect.name),
            kind,
            sockets,
            octets,
        });
    }
    lines
}

pub fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "{text}");
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// The dialects of which there are transcripts.
pub fn recorded() -> impl Iterator<Item = &'static Dialect> {
    Dialect::all().into_iter().filter(|d| d.name != "linux")
}
