//! Configuration files: cases as files, and text that no person would write.
//!
//! `cases/NAME.in` is a configuration. If it is good, `NAME.ok` holds its normal form, what of
//! the settings and policies is not as usual (JSON), and the warnings; if not, `NAME.err` holds what is said about it. Files that cases include
//! lie beside them. `REGRESS_UPDATE=1 cargo test --test config` writes the expectations anew.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use oakd::conf::{self, Auth, FileText, Files, Globals, MemoryFiles, NumericNames, Policy, Start};
use oakd::wire::iana::v2::IdType;
use serde::Serialize;
use serde_json::Value;

mod fuzz;
mod generated;
mod ipsecctl;
mod manual;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("regress/config/cases")
}

/// The cases' folder as a file system. A name with `open` in it is readable by others.
struct Cases;

impl Files for Cases {
    fn read(&self, path: &str) -> Result<FileText, String> {
        let octets = fs::read(folder().join(path)).map_err(|_| "no such file".to_owned())?;
        let mode = if path.contains("open") { 0o644 } else { 0o600 };
        Ok(FileText { octets, mode, uid: 0 })
    }

    fn may_own_secrets(&self, uid: u32) -> bool {
        uid == 0
    }
}

fn json(value: impl Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

/// What every clause of a rule is when it is not written.
fn plain() -> Policy {
    let files = MemoryFiles::default().with("c", "ikev2 plain from any to any psk x");
    conf::load("c", &[], &files, &NumericNames).unwrap().config.policies.remove(0)
}

/// The members of an object that are not the usual ones; so that cases need not tell everything.
fn difference(usual: &Value, value: &Value) -> Value {
    let members = value.as_object().unwrap().iter();
    let unusual = members.filter(|(name, member)| usual.get(name) != Some(member));
    unusual.map(|(name, member)| (name.clone(), member.clone())).collect()
}

/// What the case comes to: whether it is good, and the text to compare.
fn outcome(path: &str) -> (bool, String) {
    let mut text = String::new();
    match conf::load(path, &[], &Cases, &NumericNames) {
        Ok(checked) => {
            let parsed = conf::parse(path, &[], &Cases);
            text.push_str(&conf::print(&parsed.statements, true));
            let usual = json(Globals::default());
            writeln!(text, "set {}", difference(&usual, &json(&checked.config.globals))).unwrap();
            let usual = json(plain());
            for policy in &checked.config.policies {
                writeln!(text, "policy {}", difference(&usual, &json(policy))).unwrap();
            }
            for name in &checked.unresolved {
                writeln!(text, "waits: {}", name.0).unwrap();
            }
            for diagnostic in &checked.diagnostics {
                writeln!(text, "{diagnostic}").unwrap();
            }
            (true, text)
        }
        Err(diagnostics) => {
            for diagnostic in diagnostics {
                writeln!(text, "{diagnostic}").unwrap();
            }
            (false, text)
        }
    }
}

fn case_names() -> Vec<String> {
    let entries = fs::read_dir(folder()).unwrap().map(|e| e.unwrap().file_name());
    let names = entries.map(|name| name.into_string().unwrap());
    let mut names: Vec<String> = names.filter(|n| n.ends_with(".in")).collect();
    names.sort();
    names
}

#[test]
fn cases_come_to_what_is_written() {
    let update = std::env::var_os("REGRESS_UPDATE").is_some();
    let mut wrong = Vec::new();
    for name in case_names() {
        let (good, text) = outcome(&name);
        let stem = name.trim_end_matches(".in");
        let (expected, other) = if good { ("ok", "err") } else { ("err", "ok") };
        let path = folder().join(format!("{stem}.{expected}"));
        if update {
            let _ = fs::remove_file(folder().join(format!("{stem}.{other}")));
            fs::write(&path, &text).unwrap();
        } else if fs::read_to_string(&path).unwrap_or_default() != text {
            wrong.push(format!("{name}: not as in {stem}.{expected}:\n{text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_printed_parses_to_the_same() {
    for name in case_names() {
        let first = conf::parse(&name, &[], &Cases);
        let text = conf::print(&first.statements, true);
        let files = MemoryFiles::default().with("again", text.as_str());
        let second = conf::parse("again", &[], &files);
        assert!(second.diagnostics.is_empty(), "{name}: {:?}\n{text}", second.diagnostics);
        assert_eq!(first.statements, second.statements, "{name}");
        assert_eq!(text, conf::print(&second.statements, true), "{name}");
    }
}

#[test]
fn a_plain_rule_becomes_a_policy() {
    let text = "ikev2 \"t\" active esp from 10.10.1.1/32 to 10.10.2.1/32 local 10.9.0.1 \
                peer 10.9.0.2 srcid 10.9.0.1 dstid 10.9.0.2 psk \"interop-secret\"\n";
    let files = MemoryFiles::default().with("oakd.conf", text);
    let checked = conf::load("oakd.conf", &[], &files, &NumericNames).unwrap();
    let policy = &checked.config.policies[0];
    assert_eq!(policy.name.0, "t");
    assert_eq!(policy.start, Start::Active);
    assert_eq!(policy.auth, Auth::PSK);
    assert_eq!(policy.peer.unwrap().as_host(), Some("10.9.0.2".parse().unwrap()));
    let id = policy.local_id.as_ref().unwrap();
    assert_eq!((id.id_type, id.data.as_slice()), (IdType::ID_IPV4_ADDR, &[10, 9, 0, 1][..]));
    assert_eq!(policy.flows.len(), 1);
    assert_eq!(checked.secrets.len(), 1);
    assert_eq!(checked.secrets[0].policy, policy.name);
    assert_eq!(checked.secrets[0].psk.octets(), b"interop-secret");
}

#[test]
fn a_macro_of_the_command_line_wins() {
    let text = "gw = \"10.0.0.1\"\nikev2 from any to any peer $gw psk \"x\"\n";
    let files = MemoryFiles::default().with("c", text);
    let fixed = [("gw".to_owned(), "10.0.0.2".to_owned())];
    let checked = conf::load("c", &fixed, &files, &NumericNames).unwrap();
    let peer = checked.config.policies[0].peer.unwrap();
    assert_eq!(peer.to_string(), "10.0.0.2");
}

/// What is said of a file.
fn said(path: &str, files: &dyn Files) -> Vec<String> {
    let diagnostics = match conf::load(path, &[], files, &NumericNames) {
        Ok(checked) => checked.diagnostics,
        Err(diagnostics) => diagnostics,
    };
    diagnostics.into_iter().map(|it| it.message).collect()
}

#[test]
fn files_include_each_other_so_deep_and_not_deeper() {
    let chain = |depth: usize| {
        let mut files = MemoryFiles::default().with(&format!("f{depth}"), "set nomobike\n");
        for number in 0..depth {
            let next = number + 1;
            files = files.with(&format!("f{number}"), format!("include \"f{next}\"\n"));
        }
        files
    };
    assert_eq!(said("f0", &chain(15)), [""; 0]);
    assert_eq!(said("f0", &chain(16)), ["files include each other more than 16 deep"]);
}

#[test]
fn a_macro_that_names_itself_is_no_loop() {
    let text = "a = \"$b\"\nb = \"$a\"\nikev2 from any to any peer $a psk x\n";
    let files = MemoryFiles::default().with("c", text);
    let messages = said("c", &files);
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].starts_with("found '$'"), "{messages:?}");
}

#[test]
fn secrets_in_a_file_of_somebody_else_are_refused() {
    let file = |text: &str, mode, uid| {
        MemoryFiles(vec![("c".into(), FileText { octets: text.into(), mode, uid })])
    };
    let secret = "ikev2 from any to any psk x\n";
    let open = "ikev2 from any to any\n";
    let refused =
        |files: &MemoryFiles| said("c", files).iter().any(|it| it.starts_with("this file holds"));
    for mode in [0o604, 0o602, 0o620, 0o610, 0o601, 0o666] {
        assert!(refused(&file(secret, mode, 0)), "{mode:o}");
        assert!(!refused(&file(open, mode, 0)), "{mode:o}");
    }
    assert!(refused(&file(secret, 0o600, 1000)));
    assert!(!refused(&file(open, 0o600, 1000)));
    assert!(!refused(&file(secret, 0o640, 0)));
}

#[test]
fn diagnostics_are_data_too() {
    let files = MemoryFiles::default().with("c", "ikev2 pasive from any to any\nsett passive\n");
    let diagnostics = conf::load("c", &[], &files, &NumericNames).unwrap_err();
    let json = serde_json::to_value(&diagnostics).unwrap();
    let last = json.as_array().unwrap().iter().find(|d| d["line"] == 2).unwrap();
    assert_eq!(last["severity"], "error");
    assert_eq!((last["column"].as_u64(), last["found"].as_str()), (Some(1), Some("\"sett\"")));
    assert!(last["expected"].as_str().unwrap().contains("did you mean \"set\"?"));
}
