//! Mutations of the cases: whatever the text, an answer comes, bounded, and what is printed of the
//! good part parses to the same again.

use std::fs;
use std::time::{Duration, Instant};

use oakd::conf::{self, MemoryFiles, NumericNames};

use super::{case_names, folder};

/// A small generator (xorshift64*), so that a failure can be repeated by its seed.
struct Generator(u64);

impl Generator {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }
}

const SPLICES: &[&str] = &[
    "ikev2",
    "from",
    "to",
    "any",
    "{",
    "}",
    "(",
    ")",
    ",",
    "/",
    "=",
    "$",
    "$x",
    "\"",
    "'",
    "\\",
    "\\\n",
    "\n",
    "#",
    "-1",
    "99999999999999999999",
    "0x",
    "psk",
    "childsa",
    "ikesa",
    "enc",
    "esn",
    "include",
    "set",
    "é",
    "\0",
    "\t",
    " ",
    "port",
    "proto",
    "lifetime",
    "5m",
    "bytes",
    "9G",
    "x",
    "10.0.0.1",
    "::/0",
    "dynamic",
    "file",
    "user",
    "config",
    "request",
    "tap",
    "enc0",
    "flow",
];

fn mutate(text: &mut Vec<u8>, other: &[u8], random: &mut Generator) {
    let at = random.below(text.len());
    match random.below(5) {
        0 => {
            text.drain(at..(at + random.below(12)).min(text.len()));
        }
        1 => {
            let splice = SPLICES[random.below(SPLICES.len())];
            text.splice(at..at, splice.bytes());
        }
        2 => {
            let from = random.below(other.len());
            let to = (from + random.below(60)).min(other.len());
            text.splice(at..at, other[from..to].iter().copied());
        }
        3 if at < text.len() => text[at] = random.below(256) as u8,
        _ => text.truncate(at.max(8).min(text.len())),
    }
}

#[test]
fn any_text_gets_an_answer() {
    let seed = std::env::var("FUZZ_SEED").ok().and_then(|s| s.parse().ok());
    let mut random = Generator(seed.unwrap_or(0x6f61_6b64));
    let corpus: Vec<Vec<u8>> =
        case_names().iter().map(|name| fs::read(folder().join(name)).unwrap()).collect();
    for _ in 0..6000 {
        let mut text = corpus[random.below(corpus.len())].clone();
        let other = &corpus[random.below(corpus.len())];
        for _ in 0..=random.below(6) {
            mutate(&mut text, other, &mut random);
        }
        let files = MemoryFiles::default().with("fuzz", text.clone());
        let outcome = conf::load("fuzz", &[], &files, &NumericNames);
        if let Err(diagnostics) = outcome {
            assert!(!diagnostics.is_empty());
            assert!(diagnostics.iter().map(|d| d.to_string().len()).sum::<usize>() < 1 << 20);
        }
        let style = conf::ipsecctl::Style::default();
        let listing = conf::ipsecctl::list("fuzz", &[], &files, &NumericNames, style);
        assert!(!listing.failed || !listing.errors.is_empty());
        let first = conf::parse("fuzz", &[], &files);
        let printed = conf::print(&first.statements, true);
        let again = MemoryFiles::default().with("fuzz", printed.as_str());
        let second = conf::parse("fuzz", &[], &again);
        let text = String::from_utf8_lossy(&text);
        assert_eq!(first.statements, second.statements, "of:\n{text}\nprinted:\n{printed}");
    }
}

#[test]
fn vast_text_is_read_in_time() {
    let started = Instant::now();
    let mut long = b"ikev2 \"".to_vec();
    long.resize(4 << 20, b'a');
    let mut nested = b"ikev2 from ".to_vec();
    nested.resize(1 << 20, b'{');
    let texts = [
        long,
        nested,
        vec![b'\n'; 4 << 20],
        vec![b'\\'; 1 << 20],
        b"a = \"b\" ".repeat(100_000),
        b"x y\n".repeat(200_000),
        b"ikev2 from { 1.1.1.1 } to 2.2.2.2 peer 3.3.3.3 psk x\n".repeat(3000),
    ];
    for text in texts {
        let files = MemoryFiles::default().with("vast", text);
        let diagnostics = match conf::load("vast", &[], &files, &NumericNames) {
            Ok(checked) => checked.diagnostics,
            Err(diagnostics) => diagnostics,
        };
        assert!(diagnostics.iter().all(|d| d.to_string().len() < 20_000));
    }
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn rules_that_all_overlap_are_compared_in_time() {
    let started = Instant::now();
    let rules = |rule: &dyn Fn(u16) -> String| (0..2000).map(rule).collect::<String>();
    let [same, wide, narrow] = [
        rules(&|n| format!("ikev2 from any to any peer 192.0.{}.{} psk x\n", n >> 8, n & 255)),
        rules(&|n| {
            let (high, low) = (n >> 8, n & 255);
            format!("ikev2 quick from 10.0.0.0/8 to any peer 198.51.{high}.{low} psk x\n")
        }),
        rules(&|n| {
            let (high, low) = (n >> 8, n & 255);
            format!("ikev2 from 10.{high}.{low}.0/24 to any peer 203.0.{high}.{low} psk x\n")
        }),
    ];
    let files = MemoryFiles::default().with("many", same + &wide + &narrow);
    let checked = conf::load("many", &[], &files, &NumericNames).unwrap();
    let told = checked.diagnostics.iter().filter(|d| d.message.contains("another peer")).count();
    assert!(told >= 2 * 1999, "{told}");
    assert!(started.elapsed() < Duration::from_secs(60));
}
