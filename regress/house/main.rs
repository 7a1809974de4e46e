//! The house's own rules: which floor may name which, and where unsafe and cfg(target_os) may stand.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// A room and what its code must not name. `crate::` paths, crates, and for the versions' folders
/// each other.
const ARROWS: &[(&str, &[&str])] = &[
    ("src/wire", &["crate::ike", "crate::conf", "crate::crypto", "crate::proc", "crate::net"]),
    ("src/wire", &["crate::kernel", "crate::log", "crate::sys", "pfkey::", "mio::", "nix::"]),
    ("src/crypto", &["crate::ike", "crate::conf", "crate::proc", "crate::net", "crate::kernel"]),
    ("src/crypto", &["crate::log", "crate::sys", "crate::wire::v2", "pfkey::", "mio::", "nix::"]),
    ("src/conf", &["crate::ike", "crate::proc", "crate::net", "crate::kernel", "crate::log"]),
    ("src/conf", &["pfkey::", "mio::"]),
    ("src/ike", &["crate::proc", "crate::net", "crate::kernel", "crate::log", "crate::sys"]),
    ("src/ike", &["pfkey::", "mio::", "nix::", "libc::", "syslog::", "Instant::now", "SystemTime"]),
    ("src/ike", &["std::env", "std::fs", "UdpSocket", "SystemRandom"]),
    ("src/ike/v1", &["ike::v2", "super::v2", "super::super::v2"]),
    ("src/ike/v2", &["ike::v1", "super::v1", "super::super::v1"]),
    ("src/ike", &["crate::pki"]),
    ("src/pki", &["crate::proc", "crate::net", "crate::kernel", "crate::log", "crate::sys"]),
    ("src/pki", &["pfkey::", "mio::", "nix::", "std::fs", "std::env"]),
    ("src/sys.rs", &["crate::"]),
    ("src/sys", &["crate::"]),
    ("pfkey/src", &["oakd::", "crate::ike"]),
];

/// The only files that may hold `unsafe`.
const UNSAFE: &[&str] =
    &["src/sys.rs", "src/sys/socket.rs", "pfkey/src/socket.rs", "pfkey/src/sys.rs"];

/// The only files that may look at the target system.
const TARGETS: &[&str] = &[
    "src/sys.rs",
    "src/sys/group.rs",
    "src/sys/host.rs",
    "src/sys/host/bsd.rs",
    "src/sys/socket.rs",
    "src/net.rs",
    "src/proc/sandbox.rs",
    "pfkey/src/socket.rs",
    "pfkey/src/sys.rs",
    "pfkey/src/dialect.rs",
    "pfkey/src/dialect/mod.rs",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file at or below a path, relative to the root.
fn rust_files(under: &str) -> Vec<PathBuf> {
    let path = root().join(under);
    if path.is_file() {
        return vec![under.into()];
    }
    let Ok(entries) = fs::read_dir(&path) else { return Vec::new() };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.unwrap();
        let name = Path::new(under).join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            files.extend(rust_files(name.to_str().unwrap()));
        } else if name.extension().is_some_and(|e| e == "rs") {
            files.push(name);
        }
    }
    files.sort();
    files
}

/// Lines of code with their numbers: without comments, and without what follows the tests' mark.
fn code_lines(file: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(root().join(file)).unwrap();
    text.lines()
        .enumerate()
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .map(|(index, line)| (index + 1, line.split("//").next().unwrap_or("").to_owned()))
        .collect()
}

/// Where any of the words stands in code below a path, except in the allowed files.
fn found(under: &str, words: &[&str], allowed: &[&str]) -> Vec<String> {
    let mut places = Vec::new();
    for file in rust_files(under) {
        if allowed.iter().any(|a| Path::new(a) == file) {
            continue;
        }
        for (number, line) in code_lines(&file) {
            for word in words.iter().filter(|word| line.contains(**word)) {
                places.push(format!("{}:{number}: {word}", file.display()));
            }
        }
    }
    places
}

#[test]
fn arrows_go_down_only() {
    let mut wrong = Vec::new();
    for (room, forbidden) in ARROWS {
        wrong.extend(found(room, forbidden, &[]));
    }
    assert!(wrong.is_empty(), "arrows that run up or sideways:\n{}", wrong.join("\n"));
}

#[test]
fn unsafe_stands_in_its_rooms() {
    let mut wrong = found("src", &["unsafe ", "unsafe{"], UNSAFE);
    wrong.extend(found("pfkey/src", &["unsafe ", "unsafe{"], UNSAFE));
    assert!(wrong.is_empty(), "unsafe outside its rooms:\n{}", wrong.join("\n"));
}

#[test]
fn few_places_look_at_the_target() {
    let mut wrong = found("src", &["target_os"], TARGETS);
    wrong.extend(found("pfkey/src", &["target_os"], TARGETS));
    assert!(wrong.is_empty(), "cfg(target_os) outside its places:\n{}", wrong.join("\n"));
}

#[test]
fn the_search_itself_finds() {
    assert!(rust_files("src").len() > 10);
    assert!(!found("src/wire", &["pub struct Header"], &[]).is_empty());
    assert!(found("src/wire", &["pub struct Header"], &["src/wire/header.rs"]).is_empty());
}
