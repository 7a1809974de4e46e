//! How long a configuration takes to be read, and a peer's policy to be found, at 10, 1,000 and
//! 10,000 policies.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write;
use std::hint::black_box;
use std::net::IpAddr;
use std::time::Instant;

use oakd::conf::{self, Index, MemoryFiles, NumericNames};

fn main() {
    println!(
        "{:>9} {:>14} {:>16} {:>14}",
        "policies", "read (ms)", "per policy (us)", "match (ns)"
    );
    for count in [10u32, 1_000, 10_000] {
        let mut text = String::new();
        for number in 0..count {
            let peer = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
            let net = IpAddr::from((0xac10_0000 + (number << 4)).to_be_bytes());
            writeln!(text, "ikev2 \"p{number}\" from any to {net}/28 peer {peer} psk \"secret\"")
                .unwrap();
        }
        let files = MemoryFiles::default().with("bench", text);
        let started = Instant::now();
        let checked = conf::load("bench", &[], &files, &NumericNames).unwrap();
        let read = started.elapsed();
        let policies = &checked.config.policies;
        let index = Index::new(policies);
        let local = IpAddr::from([192, 0, 2, 1]);
        let rounds = 100_000u32;
        let started = Instant::now();
        for round in 0..rounds {
            let remote = IpAddr::from((0x0a00_0000 + round % count).to_be_bytes());
            let found = index.select(|at| policies.get(at), local, remote, |_| true);
            assert!(black_box(found).is_some());
        }
        let matched = started.elapsed() / rounds;
        println!(
            "{count:>9} {:>14.2} {:>16.2} {:>14}",
            read.as_secs_f64() * 1e3,
            read.as_secs_f64() * 1e6 / f64::from(count),
            matched.as_nanos()
        );
    }
}
