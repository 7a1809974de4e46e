//! Every number and every structure of every dialect, both ways.

use crate::util::shared;
use pfkey::Dialect;
use std::collections::BTreeMap;

/// In the headers but nothing that a key manager says or hears.
const NOT_OURS: &[&str] = &[
    "IPSECCTL_",           // sysctl(2) leaves
    "IPSEC_ADDRSTRLEN",    // the kernel's printing
    "IPSEC_LOGSASTRLEN",   // the kernel's printing
    "PFKEY_SOFT_LIFETIME", // libipsec
    "PFKEY_SPI_SIZE",      // libipsec
    "SADB_AALG_STATS",     // statistics
    "SADB_EALG_STATS",     // statistics
    "SADB_CALG_STATS",     // statistics
    "ipsecstat",           // statistics
];

fn facts(name: &str) -> String {
    match name {
        "openbsd" => include_str!("facts/openbsd.tsv"),
        "freebsd" => include_str!("facts/freebsd.tsv"),
        "netbsd" => include_str!("facts/netbsd.tsv"),
        "linux" => include_str!("facts/linux.tsv"),
        other => panic!("no facts of {other}"),
    }
    .to_owned()
}

#[derive(Default, Debug, PartialEq)]
struct Facts {
    constants: BTreeMap<String, i64>,
    structs: BTreeMap<String, (usize, Fields)>,
}

/// Name, offset and size of each field.
type Fields = Vec<(String, usize, usize)>;

fn parse(text: &str) -> Facts {
    let mut facts = Facts::default();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let f: Vec<&str> = line.split('\t').collect();
        if NOT_OURS.iter().any(|prefix| f[1].starts_with(prefix)) {
            continue;
        }
        match f[0] {
            "c" | "const" => {
                facts.constants.insert(f[1].to_owned(), f[2].parse().unwrap());
            }
            "s" | "struct" => {
                facts.structs.insert(f[1].to_owned(), (f[2].parse().unwrap(), Vec::new()));
            }
            "f" | "field" => facts.structs.get_mut(f[1]).unwrap().1.push((
                f[2].to_owned(),
                f[3].parse().unwrap(),
                f[4].parse().unwrap(),
            )),
            other => panic!("{other}"),
        }
    }
    facts
}

fn ours(dialect: &'static Dialect) -> Facts {
    let mut facts = Facts::default();
    for (name, number) in dialect.constants() {
        if NOT_OURS.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let before = facts.constants.insert(name.to_owned(), number.into());
        assert_eq!(before, None, "{}: {name} stands in two tables", dialect.name);
    }
    for layout in dialect.layouts() {
        let fields = layout.fields.iter().map(|&(n, o, s)| (n.to_owned(), o, s)).collect();
        let before = facts.structs.insert(layout.name.to_owned(), (layout.size, fields));
        assert_eq!(before, None, "{}: two layouts of {}", dialect.name, layout.name);
    }
    facts
}

#[test]
fn tables_and_layouts_are_those_of_the_headers() {
    for dialect in Dialect::all() {
        let theirs = parse(&facts(dialect.name));
        assert!(theirs.constants.len() > 100 && theirs.structs.len() > 15);
        let ours = ours(dialect);
        assert_eq!(ours.constants, theirs.constants, "{}", dialect.name);
        assert_eq!(ours.structs, theirs.structs, "{}", dialect.name);
    }
}

#[test]
fn the_compact_copy_is_the_full_one() {
    let Some(shared) = shared() else { return };
    for dialect in Dialect::all() {
        let path = shared.join(format!("pfkey-constants-{}.tsv", dialect.name));
        let full = parse(&std::fs::read_to_string(path).unwrap());
        assert_eq!(parse(&facts(dialect.name)), full, "{}", dialect.name);
    }
}
