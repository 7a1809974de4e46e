//! Rules of ipsec.conf(5) and what ipsecctl(8) prints for them: the outside suite where it is at
//! hand, and cases of our own.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use oakd::conf::ipsecctl::{Style, list};
use oakd::conf::{
    FileText, Files, Flow, FlowAddresses, InterfaceAddress, MemoryFiles, Names, NumericNames, load,
};

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
    let delete = name.starts_with("ikedel");
    (Style { delete, keys: keys && !fails, numbers: false }, fails)
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
        "ike from 10.0.0.1 to 10.0.0.2 quick lifetime 20m bytes 64M psk x",
        &[
            "C set [phase2-transform-from-10.0.0.1-to-10.0.0.2-AES128-SHA2_256-MODP_3072-TUNNEL]:\
             Life=phase2-transform-from-10.0.0.1-to-10.0.0.2-AES128-SHA2_256-MODP_3072-TUNNEL-life,\
             phase2-transform-from-10.0.0.1-to-10.0.0.2-AES128-SHA2_256-MODP_3072-TUNNEL-life-\
             kilobytes force",
            "C set [phase2-transform-from-10.0.0.1-to-10.0.0.2-AES128-SHA2_256-MODP_3072-TUNNEL-\
             life-kilobytes]:LIFE_DURATION=65536 force",
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
        &["esp transport from 10.0.0.1 to 10.0.0.2 spi 0x00001000 auth hmac-md5 enc null"],
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

/// What a text comes to: the standard error, the standard output.
fn told(text: &str, style: Style) -> (String, String) {
    let files = MemoryFiles::default().with("-", text).with("key", "00ff\n");
    let listing = list("-", &[], &files, &NumericNames, style);
    (listing.errors, listing.output)
}

const LAST: &str = "ipsecctl: Syntax error in config file: ipsec rules not loaded\n";

/// Texts with faults, and what is told of them before the last line.
const FAULTS: &[(&str, &str)] = &[
    ("esp from 1.1.1.1 to 2.2.2.2 spi 10\n", "stdin: 1: 10 within reserved spi range\n"),
    ("esp from 1.1.1.1 to 2.2.2.2 spi 0x100000000\n", "stdin: 1: 4294967296 not a valid spi\n"),
    ("esp from 1.1.1.1 to 2.2.2.2 spi -1\n", "stdin: 1: -1 not a valid spi\n"),
    ("esp from 1.1.1.1 to 2.2.2.2 spi nonsense\n", ""),
    (
        "esp from 1.1.1.1 to 2.2.2.2 spi 0x1000 enc aes\n",
        "stdin: 1: no authentication key specified\n",
    ),
    (
        "ah from 1.1.1.1 to 2.2.2.2 spi 0x1000 enc aes\n",
        "stdin: 1: ah does not provide encryption\n",
    ),
    (
        "flow from 1.1.1.1 to { 10.0.0.0/8 }\n",
        "stdin: 1: no peer specified for destination 10.0.0.0/8\n",
    ),
    (
        "flow in from 1.1.1.0/24 to 2.2.2.2\n",
        "stdin: 1: no peer specified for destination 2.2.2.2\n",
    ),
    (
        "flow from 1.1.1.1 to 2.2.2.2/32\n",
        "stdin: 1: no peer specified for destination 2.2.2.2/32\n",
    ),
    (
        "ike from 1.1.1.1 to 2.2.2.2 quick enc nonsense\n",
        "stdin: 1: nonsense not a valid transform\n",
    ),
    (
        "ike from 1.1.1.1 to 2.2.2.2 \\\n quick enc nonsense auth hmac-sha1 auth none \\\n psk x\n",
        "stdin: 2: nonsense not a valid transform\nstdin: 2: auth already set\n",
    ),
    ("ike from 1.1.1.1 to\n", "stdin: 1: syntax error\n"),
    ("ike from 1.1.1.1 to 2.2.2.2 peer 10.0.0.0/8\n", "stdin: 1: syntax error\n"),
    ("ike interface sec0 peer 2.2.2.2 tag x\n", "stdin: 1: syntax error\n"),
    ("ike interface em0 peer 2.2.2.2\n", "stdin: 1: invalid sec interface name\n"),
    ("ike interface secx peer 2.2.2.2\n", "stdin: 1: invalid sec interface unit: invalid\n"),
    ("ike proto ipcomp from 1.1.1.1 to 2.2.2.2\n", "stdin: 1: syntax error\n"),
    ("ike proto 256 from 1.1.1.1 to 2.2.2.2\n", "stdin: 1: protocol outside range\n"),
    ("ike proto nothing from 1.1.1.1 to 2.2.2.2\n", "stdin: 1: unknown protocol: nothing\n"),
    ("flow proto tcp from 1.1.1.1 port 65536 to 2.2.2.2\n", "stdin: 1: port outside range\n"),
    ("flow proto tcp from 1.1.1.1 port no to 2.2.2.2\n", "stdin: 1: unknown port: no\n"),
    (
        "flow from 1.1.1.1 to 10.0.0.0/33\nflow from 1.1.1.1 to 2.2.2.2\n",
        "no IP address found for 10.0.0.0/33\nstdin: 1: could not parse host specification\n",
    ),
    // What is wrong first is told, not what makes no sense behind it; on the line of the word
    // behind the host, which may go on with a length.
    (
        "flow from nowhere.example.org \\\n to 2.2.2.2 nonsense\n",
        "no IP address found for nowhere.example.org\n\
         stdin: 2: could not parse host specification\n",
    ),
    (
        "ike from 10.0.0.0/8 to 10.1.0.0/16 (10.2.0.0/16) peer 2.2.2.2\n",
        "stdin: 1: no flow NAT support for destination network: 10.1.0.0/16\n",
    ),
    (
        "esp from 1.1.1.1 to 2.2.2.2 spi 0x1000 authkey 0x0g0h:0x00zz enc null auth hmac-md5\n",
        "stdin: 1: keys need to be specified in hex digits\n\
         stdin: 1: keys need to be specified in hex digits\n\
         stdin: 1: keys need to be specified in hex digits\n\
         stdin: 1: syntax error\n",
    ),
    ("x = 5\n", "stdin: 1: syntax error\n"),
    ("flow = \"x\"\n", "stdin: 1: syntax error\n"),
    ("\"a b\" = \"x\"\n", "stdin: 1: macro name cannot contain whitespace\n"),
    (
        "include \"gone\"\n",
        "ipsecctl: pushfile: gone: no such file\n\
      stdin: 1: failed to include file gone\n",
    ),
    // After a fault the parser is quiet until it has taken three tokens.
    ("foo bar\nbaz qux\n", "stdin: 1: syntax error\n"),
    ("foo bar\n\n\nbaz qux\n", "stdin: 1: syntax error\nstdin: 4: syntax error\n"),
    ("foo bar\nike from 1.1.1.1 to to\n", "stdin: 1: syntax error\nstdin: 2: syntax error\n"),
    // The end of a line goes with a token that is none: the next line is lost.
    (
        "flow from $a to 2.2.2.2\nflow from 1.1.1.1 to\nflow from 1.1.1.1 to 2.2.2.2 to\n",
        "stdin: 1: macro 'a' not defined\nstdin: 1: syntax error\nstdin: 3: syntax error\n",
    ),
    (
        "flow from 1.1.1.1 from $a to 2.2.2.2\nflow from 1.1.1.1 to\n",
        "stdin: 1: syntax error\nstdin: 1: macro 'a' not defined\n",
    ),
    (
        "flow from 99999999999999999999 to 2.2.2.2\n",
        "stdin: 1: \"99999999999999999999\" invalid number: too large\nstdin: 1: syntax error\n",
    ),
    (
        "flow from \"1.1.1.1 to 2.2.2.2\n",
        "stdin: 1: reached end of file while parsing quoted string\nstdin: 1: syntax error\n",
    ),
];

#[test]
fn faults_are_told_as_ipsecctl_does() {
    for (text, expected) in FAULTS {
        let (errors, _) = told(text, Style::default());
        assert_eq!(errors, format!("{expected}{LAST}"), "{text}");
    }
}

/// Texts at which ipsecctl ends at once, what it says, and what it has printed by then.
const ENDS: &[(&str, &str, &str)] = &[
    ("flow from 1.1.1.1 to 2.2.2.2/129\n", "ipsecctl: host: invalid netmask '/129'\n", ""),
    (
        "x = \"y\"\nesp from 1.1.1.1 to 2.2.2.2 spi 0x1000 authkey file \"gone\"\nx = \"z\"\n",
        "ipsecctl: open gone: no such file\n",
        "x = \"y\"\n",
    ),
    (
        "ah from 1.1.1.1 to 2.2.2.2 spi 0x1000 auth none authkey \"\":\"\"\n",
        "stdin: 1: syntax error\n",
        "",
    ),
    (
        "esp from 1.1.1.1 to 2.2.2.2 spi 0x1000 auth hmac-md5 enc null \
         authkey 0x00000000000000000000000000000000:0x00000000000000000000000000000000\n\
         flow from 1.1.1.1 to 2.2.2.2\n",
        "stdin: 1: no SPI specified\nipsecctl: sarule: expand_rule\n",
        "esp tunnel from 1.1.1.1 to 2.2.2.2 spi 0x00001000 auth hmac-md5 enc null\n",
    ),
];

#[test]
fn some_faults_end_everything() {
    for (text, errors, output) in ENDS {
        let last = if errors.ends_with("syntax error\n") { LAST } else { "" };
        let expected = (format!("{errors}{last}"), (*output).to_owned());
        assert_eq!(told(text, Style::default()), expected, "{text}");
    }
}

#[test]
fn what_isakmpd_cannot_do_is_no_fault_of_the_file() {
    let (errors, output) = told("ike ipcomp from 1.1.1.1 to 2.2.2.2\n", Style::default());
    assert_eq!(errors, "ipsecctl: illegal satype 3\n");
    assert!(output.ends_with("[phase2-protocol-from-1.1.1.1-to-2.2.2.2]:PROTOCOL_ID="));
    let (errors, _) = told("ike from 1.1.1.1 to 2.2.2.2 main enc null\n", Style::default());
    assert_eq!(errors, "ipsecctl: illegal transform null\n");
}

#[test]
fn rules_that_name_an_unknown_transform_are_shown_with_the_usual_one() {
    let (_, usual) = told("ike from 1.1.1.1 to 2.2.2.2\n", Style::default());
    let (_, shown) = told("ike from 1.1.1.1 to 2.2.2.2 quick enc nonsense\n", Style::default());
    assert_eq!(usual, shown);
    let (_, prefix) = told("ike from 1.1.1.1 to 2.2.2.2 quick enc 3\n", Style::default());
    assert_eq!(prefix, "");
    let (_, prefix) = told("ike from 1.1.1.1 to 2.2.2.2 quick enc 3des\n", Style::default());
    assert!(prefix.contains("TRANSFORM_ID=3DES"));
}

#[test]
fn unknown_is_a_word_that_nothing_can_be_done_with() {
    for word in ["unknown", "u", "\"\""] {
        let rule = |clause: &str| format!("ike from 1.1.1.1 to 2.2.2.2 {clause} {word}\n");
        for clause in ["main enc", "main auth", "quick enc", "quick auth"] {
            let (errors, _) = told(&rule(clause), Style::default());
            assert_eq!(errors, "ipsecctl: illegal transform unknown\n", "{clause} {word}");
        }
        for clause in ["main group", "quick group"] {
            let (errors, _) = told(&rule(clause), Style::default());
            assert_eq!(errors, "ipsecctl: illegal group unknown\n", "{clause} {word}");
        }
    }
    let sa = "ipcomp from 1.1.1.1 to 2.2.2.2 spi 0x1000 comp unknown\n";
    let (errors, output) = told(sa, Style::default());
    let shown = "ipcomp tunnel from 1.1.1.1 to 2.2.2.2 spi 0x00001000 comp unknown\n";
    assert_eq!((errors.as_str(), output.as_str()), ("", shown));
}

/// A host with a group of two interfaces.
struct Grouped;

impl Names for Grouped {
    fn interface(&self, name: &str) -> Option<Vec<InterfaceAddress>> {
        let has = |interface: &str, address: &str, length| InterfaceAddress {
            interface: interface.to_owned(),
            address: address.parse().unwrap(),
            length,
        };
        let all =
            [has("em0", "192.0.2.1", 24), has("em1", "fe80::1", 64), has("em1", "10.1.0.1", 16)];
        match name {
            "egress" => Some(all.to_vec()),
            _ => None,
        }
    }

    fn host(&self, _: &str) -> Vec<IpAddr> {
        Vec::new()
    }

    fn service(&self, name: &str) -> Option<u16> {
        NumericNames.service(name)
    }

    fn protocol(&self, name: &str) -> Option<u8> {
        NumericNames.protocol(name)
    }

    fn service_name(&self, port: u16, protocol: u8) -> Option<String> {
        NumericNames.service_name(port, protocol)
    }

    fn protocol_name(&self, number: u8) -> Option<String> {
        NumericNames.protocol_name(number)
    }

    fn hostname(&self) -> Option<String> {
        None
    }
}

#[test]
fn a_group_stands_for_its_interfaces_which_are_called_by_their_own_names() {
    let files = MemoryFiles::default()
        .with("-", "ike from egress to 10.9.0.0/16 peer 2.2.2.2\n")
        .with("both", "ikev2 from egress to 10.9.0.0/16 peer 2.2.2.2 psk x\n")
        .with("nets", "ikev2 from egress:network to 10.9.0.0/16 peer 2.2.2.2 psk x\n");
    let listing = list("-", &[], &files, &Grouped, Style::default());
    assert_eq!(listing.errors, "");
    let connections = listing.output.lines().filter(|line| line.starts_with("C add [Phase 2]"));
    assert_eq!(
        connections.collect::<Vec<_>>(),
        [
            "C add [Phase 2]:Connections=from-em0-to-10.9.0.0/16",
            "C add [Phase 2]:Connections=from-em1-to-10.9.0.0/16",
        ]
    );
    let sources = |path: &str| {
        let policy = load(path, &[], &files, &Grouped).unwrap().config.policies.remove(0);
        let source = |flow: &Flow| match flow.local.addresses {
            FlowAddresses::Prefix(prefix) => prefix.to_string(),
            FlowAddresses::Dynamic => String::new(),
        };
        policy.flows.iter().map(source).collect::<Vec<_>>()
    };
    assert_eq!(sources("both"), ["192.0.2.1", "10.1.0.1"]);
    assert_eq!(sources("nets"), ["192.0.2.0/24", "10.1.0.0/16"]);
}

#[test]
fn an_address_with_a_length_is_a_network() {
    let (_, output) = told("ike from 10.0.0.1/32 to 2001:db8::1\n", Style::default());
    assert_eq!(output, "");
    let (_, output) = told("ike from 10.0.0.1/32 to 10.0.0.2/32\n", Style::default());
    for line in [
        "C set [Phase 1]:Default=peer-default force",
        "C set [from-10.0.0.1/32]:ID-type=IPV4_ADDR_SUBNET force",
        "C set [from-10.0.0.1/32]:Network=10.0.0.1 force",
        "C set [from-10.0.0.1/32]:Netmask=255.255.255.255 force",
    ] {
        assert!(output.lines().any(|l| l == line), "{output}");
    }
    let (_, output) = told("ike from 2001:db8::1/128 to 2001:db8::2/128\n", Style::default());
    for line in [
        "C set [Phase 1]:2001:db8::2=peer-2001:db8::2 force",
        "C set [to-2001:db8::2]:ID-type=IPV6_ADDR force",
    ] {
        assert!(output.lines().any(|l| l == line), "{output}");
    }
}

#[test]
fn entries_are_numbered_and_idle_macros_told() {
    let style = Style { numbers: true, ..Style::default() };
    let text = "b = \"1\"\na = \"1.1.1.1\"\nc = \"1\"\nflow from $a to 2.2.2.2\n\
                flow out from 3.3.3.3 to 4.4.4.4\n";
    let (errors, output) = told(text, style);
    assert_eq!(errors, "warning: macro 'b' not used\nwarning: macro 'c' not used\n");
    let lines: Vec<&str> = output.lines().skip(3).collect();
    assert_eq!(
        lines,
        [
            "@0 flow esp out from 1.1.1.1 to 2.2.2.2 peer 2.2.2.2 type require",
            "@1 flow esp in from 2.2.2.2 to 1.1.1.1 peer 2.2.2.2 type require",
            "@2 flow esp out from 3.3.3.3 to 4.4.4.4 peer 4.4.4.4 type require",
        ]
    );
}

#[test]
fn there_is_one_default_peer() {
    let text = "ike passive from any to any psk a\n\
                ike passive from 10.0.0.0/8 to 10.1.0.0/16 local 1.1.1.1 aggressive srcid x\n\
                ike passive from 10.0.0.0/8 to any psk b dstid y\n\
                ike passive from 10.0.0.0/8 to 10.1.0.0/16 peer 2.2.2.2 psk c\n";
    let (errors, _) = told(text, Style::default());
    // "psk" comes behind the identities: the third rule makes no sense.
    let expected = "stdin: 2: default peer local mismatch\n\
                    stdin: 2: default peer phase 1 auth mismatch\n\
                    stdin: 2: default peer phase 1 mode mismatch\n\
                    stdin: 2: default peer srcid mismatch\n\
                    stdin: 3: syntax error\n";
    assert_eq!(errors, format!("{expected}{LAST}"));
    let text = "ike from any to any psk a\nike from 10.0.0.0/8 to any dstid y psk b\n";
    let (errors, _) = told(text, Style::default());
    let expected = "stdin: 2: default peer psk mismatch\nstdin: 2: default peer dstid mismatch\n";
    assert_eq!(errors, expected);
}
