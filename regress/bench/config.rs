//! How long a configuration takes to be read, to be taken by the engine, to be taken again with one
//! policy changed, and a peer's policy to be found, at 10, 1,000 and 10,000 policies.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write;
use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oakd::conf::{self, Config, Index, MemoryFiles, NumericNames};
use oakd::crypto::SeededRandom;
use oakd::ike::event::{Input, Time};
use oakd::ike::{Engine, Settings};

fn main() {
    println!(
        "{:>9} {:>11} {:>11} {:>16} {:>11} {:>12} {:>11}",
        "policies",
        "parse (ms)",
        "check (ms)",
        "per policy (us)",
        "take (ms)",
        "reload (ms)",
        "match (ns)"
    );
    for count in [10u32, 1_000, 10_000] {
        let mut text = String::new();
        for number in 0..count {
            let peer = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
            let net = IpAddr::from((0xac10_0000 + (number << 4)).to_be_bytes());
            // Every fourth is a rule of ipsec.conf(5).
            match number % 4 {
                0 => writeln!(text, "ike passive from 10.0.0.0/8 to {net}/28 peer {peer} psk s"),
                _ => writeln!(
                    text,
                    "ikev2 \"p{number}\" from any to {net}/28 peer {peer} psk \"secret\""
                ),
            }
            .unwrap();
        }
        let files = MemoryFiles::default().with("bench", text);
        let started = Instant::now();
        black_box(conf::parse("bench", &[], &files).statements.len());
        let parse = started.elapsed();
        let started = Instant::now();
        let checked = conf::load("bench", &[], &files, &NumericNames).unwrap();
        let read = started.elapsed();
        let (take, reload) = engine(&checked.config);
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
            "{count:>9} {:>11.2} {:>11.2} {:>16.2} {:>11.2} {:>12.2} {:>11}",
            parse.as_secs_f64() * 1e3,
            read.saturating_sub(parse).as_secs_f64() * 1e3,
            read.as_secs_f64() * 1e6 / f64::from(count),
            take.as_secs_f64() * 1e3,
            reload.as_secs_f64() * 1e3,
            matched.as_nanos()
        );
    }
}

/// How long an engine takes for a configuration, and for the same with one policy changed.
fn engine(config: &Config) -> (Duration, Duration) {
    let mut engine = Engine::new(Box::new(SeededRandom::new(1)), Settings::default());
    let mut changed = config.clone();
    changed.policies[config.policies.len() / 2].tag = Some("t".into());
    let [take, reload] = [config.clone(), changed].map(|config| {
        let config = Arc::new(config);
        let started = Instant::now();
        engine.handle(Time::at(Duration::from_secs(1)), Input::Configure(config));
        while engine.poll().is_some() {}
        started.elapsed()
    });
    (take, reload)
}
