#![no_main]
//! Configuration text of either grammar: errors or values, and what is printed means the same.

use oakd::conf::ipsecctl::{self, Style};
use oakd::conf::{self, MemoryFiles, NumericNames};

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let files = MemoryFiles::default().with("-", octets.to_vec());
    if let Err(diagnostics) = conf::load("-", &[], &files, &NumericNames) {
        diagnostics.iter().for_each(|diagnostic| drop(diagnostic.to_string()));
    }
    let listing = ipsecctl::list("-", &[], &files, &NumericNames, Style::default());
    for entry in &listing.entries {
        for groups in [false, true] {
            let action = oakd::ipsecctl::load::Action::Add;
            let _ = oakd::ipsecctl::load::request(entry, &listing.entries, action, groups);
        }
    }
});
