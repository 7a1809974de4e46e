//! Each example of oakd.conf(5) is a configuration that loads.

use std::fs;
use std::path::Path;

use oakd::conf::{self, MemoryFiles, NumericNames};

/// The examples of the manual: what stands between `.Bd -literal -offset indent` and `.Ed`.
fn examples() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/oakd.conf.5");
    let page = fs::read_to_string(path).unwrap();
    let parts = page.split(".Bd -literal -offset indent\n").skip(1);
    parts.map(|part| part.split(".Ed\n").next().unwrap().replace("\\e", "\\")).collect()
}

#[test]
fn examples_of_the_manual_load() {
    let examples = examples();
    assert!(examples.len() >= 4, "the manual has lost its examples");
    for example in examples {
        let files = MemoryFiles::default()
            .with("example", example.as_str())
            .with("/etc/oakd.d/branches.conf", "set nomobike\n")
            .with("/etc/oakd.d/branch.key", "000102030405060708090a0b0c0d0e0f\n");
        let parsed = conf::parse("example", &[], &files);
        let printed = conf::print(&parsed.statements, true);
        let again = conf::parse("again", &[], &MemoryFiles::default().with("again", printed));
        assert_eq!(parsed.statements, again.statements, "{example}");
        if let Err(diagnostics) = conf::load("example", &[], &files, &NumericNames) {
            let said: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
            panic!("{example}\n{}", said.join("\n"));
        }
    }
}
