//! Every captured message parses to what its case says, and is emitted again octet for octet.
//!
//! `OAKD_REGRESS_UPDATE=1` writes the expectations anew; review the difference.

use std::fs;

use oakd::wire::dump;
use oakd::wire::v2::{emit_message, emit_payloads, parse_message, parse_payloads};

use crate::corpus::{Case, Kind, cases};

fn shown(case: &Case) -> String {
    match case.kind {
        Kind::Datagram => {
            let (header, payloads) = parse_message(&case.octets).unwrap();
            let summary = dump::summary(&header, &payloads);
            format!("{summary}\n{}", dump::dump(&header, &payloads))
        }
        Kind::Inside(first) => {
            let payloads = parse_payloads(first, &case.octets).unwrap();
            payloads.iter().map(|payload| dump::line(payload) + "\n").collect()
        }
    }
}

/// Holds what is shown of each case against what it says, or writes that anew.
pub fn compare(cases: Vec<Case>, shown: impl Fn(&Case) -> String) {
    let update = std::env::var_os("OAKD_REGRESS_UPDATE").is_some();
    for case in cases {
        let shown = shown(&case);
        if update {
            fs::write(&case.path, format!("{}\n\n{shown}", case.head)).unwrap();
        } else {
            assert_eq!(shown, case.expected, "{}", case.name);
        }
    }
}

#[test]
fn captures_parse_to_what_their_cases_say() {
    compare(cases(), shown);
}

#[test]
fn captures_are_emitted_octet_for_octet() {
    for case in cases() {
        let emitted = match case.kind {
            Kind::Datagram => {
                let (header, payloads) = parse_message(&case.octets).unwrap();
                emit_message(&header, &payloads)
            }
            Kind::Inside(first) => {
                let payloads = parse_payloads(first, &case.octets).unwrap();
                let (emitted_first, octets) = emit_payloads(&payloads);
                assert_eq!(emitted_first, first, "{}", case.name);
                octets
            }
        };
        assert_eq!(emitted, case.octets, "{}", case.name);
    }
}

#[test]
fn truncated_captures_are_refused() {
    for case in cases() {
        for length in 0..case.octets.len() {
            let cut = &case.octets[..length];
            let parsed = match case.kind {
                Kind::Datagram => parse_message(cut).map(|(_, payloads)| payloads),
                Kind::Inside(first) => parse_payloads(first, cut),
            };
            assert!(parsed.is_err(), "{} cut to {length} octets", case.name);
        }
    }
}
