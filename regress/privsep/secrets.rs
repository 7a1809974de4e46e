//! Where the pre-shared keys are, by looking into the memory of the processes.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};

use super::daemon::{Daemon, PSK, eventually};

/// How often a text stands in the writable memory of a process.
fn found(pid: u32, text: &str) -> usize {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut count = 0;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (Some(range), Some(rights)) = (words.next(), words.next()) else { continue };
        if !rights.starts_with("rw") {
            continue;
        }
        let Some((from, to)) = range.split_once('-') else { continue };
        let from = u64::from_str_radix(from, 16).unwrap();
        let to = u64::from_str_radix(to, 16).unwrap();
        let mut octets = vec![0; (to - from) as usize];
        if memory.seek(SeekFrom::Start(from)).is_ok() && memory.read_exact(&mut octets).is_ok() {
            count += octets.windows(text.len()).filter(|w| *w == text.as_bytes()).count();
        }
    }
    count
}

#[test]
fn only_ca_holds_the_pre_shared_key() {
    let Some(daemon) = Daemon::start(&["-R"]) else { return };
    let held = eventually(|| (found(daemon.child("ca"), PSK) > 0).then_some(()));
    assert!(held.is_some(), "ca does not hold it: {}", daemon.log());
    for role in ["ike", "control", "relay"] {
        assert_eq!(found(daemon.child(role), PSK), 0, "{role} holds it");
    }
    assert!(!daemon.log().contains(PSK));
}

#[test]
fn a_key_that_is_no_longer_configured_is_forgotten() {
    let Some(daemon) = Daemon::start(&[]) else { return };
    let ca = daemon.child("ca");
    assert!(eventually(|| (found(ca, PSK) > 0).then_some(())).is_some());
    let other = super::daemon::good().replace(PSK, "another key");
    daemon.configure(&other);
    assert!(daemon.oakctl(&["reload"]).status.success());
    let forgotten = eventually(|| (found(ca, PSK) == 0).then_some(()));
    assert!(forgotten.is_some(), "{} copies are left", found(ca, PSK));
}
