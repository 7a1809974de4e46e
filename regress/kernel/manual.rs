//! Manual rules of ipsec.conf(5) loaded into scripted kernels, shown and deleted.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use oakd::conf::ipsec::Entry;
use oakd::conf::ipsecctl::{Style, list};
use oakd::conf::{MemoryFiles, NumericNames};
use oakd::ipsecctl::load::{Action, request};
use oakd::ipsecctl::{Admin, Road, show};
use pfkey::scripted::{Kernel, SocketId};
use pfkey::socket::Dump;
use pfkey::{Dialect, Packet, Request};
use zeroize::Zeroizing;

const US: u32 = 4711;

struct Way(Rc<RefCell<Kernel>>, SocketId);

impl Road for Way {
    fn send(&mut self, packet: &Packet) -> io::Result<()> {
        let written = self.0.borrow_mut().write(self.1, packet);
        written.map_err(|errno| io::Error::from_raw_os_error(errno.into()))
    }

    fn recv(&mut self, _most: Duration) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        let packet = self.0.borrow_mut().read(self.1);
        Ok(packet.map(|packet| Zeroizing::new(packet.to_vec())))
    }
}

struct Scene {
    kernel: Rc<RefCell<Kernel>>,
    admin: Admin<Way>,
    dialect: &'static Dialect,
}

impl Scene {
    fn new(dialect: &'static Dialect) -> Self {
        let mut kernel = Kernel::new(dialect);
        kernel.enable_ipcomp();
        let socket = kernel.open(US);
        let kernel = Rc::new(RefCell::new(kernel));
        let admin = Admin::new(Way(kernel.clone(), socket), dialect, US);
        Self { kernel, admin, dialect }
    }

    fn change(&mut self, entries: &[Entry], action: Action) -> Vec<String> {
        let groups = self.dialect.behaviour.groups;
        let mut failed = Vec::new();
        for entry in entries {
            let done = request(entry, entries, action, groups).and_then(|request| match request {
                Some(request) => self.admin.ask(&request),
                None => Ok(()),
            });
            failed.extend(done.err());
        }
        failed
    }

    fn counts(&self) -> (usize, usize) {
        let kernel = self.kernel.borrow();
        (kernel.sa_count(), kernel.flow_count())
    }

    fn sas(&mut self, keys: bool) -> String {
        let dump = self.admin.dump(Dump::Sas).unwrap();
        show::sas(self.dialect, &dump, show::Style { keys, ..show::Style::default() })
    }

    /// OpenBSD tells its flows by sysctl(2) only.
    fn flows(&mut self, collapse: bool) -> String {
        let style = show::Style { collapse, ..show::Style::default() };
        if self.dialect.name == "openbsd" {
            let octets = self.kernel.borrow().flow_dump();
            let dump: Vec<&[u8]> = pfkey::message::split(&octets).collect();
            return show::flows(self.dialect, &dump, style);
        }
        let dump = self.admin.dump(Dump::Flows).unwrap();
        show::flows(self.dialect, &dump, style)
    }
}

fn entries(text: &str) -> Vec<Entry> {
    let files = MemoryFiles::default().with("-", text.to_owned());
    let listing = list("-", &[], &files, &NumericNames, Style::default());
    assert!(!listing.failed, "{}", listing.errors);
    listing.entries
}

const KEYED: &str = "\
esp from 192.0.2.1 to 198.51.100.1 spi 0x1001:0x1002 auth hmac-sha2-512 enc aes-256 \\
    authkey 0x0102030405060708090a0b0c0d0e0f100102030405060708090a0b0c0d0e0f10\
0102030405060708090a0b0c0d0e0f100102030405060708090a0b0c0d0e0f10:\
1102030405060708090a0b0c0d0e0f100102030405060708090a0b0c0d0e0f10\
0102030405060708090a0b0c0d0e0f100102030405060708090a0b0c0d0e0f10 \\
    enckey 0x2102030405060708090a0b0c0d0e0f100102030405060708090a0b0c0d0e0f10:\
3102030405060708090a0b0c0d0e0f100102030405060708090a0b0c0d0e0f10
flow esp from 10.1.0.0/16 to 10.2.0.0/16 local 192.0.2.1 peer 198.51.100.1 type require
";

#[test]
fn manual_rules_are_loaded_shown_and_deleted_on_every_kernel() {
    for dialect in Dialect::all() {
        let mut scene = Scene::new(dialect);
        let name = dialect.name;
        let entries = entries(KEYED);
        assert_eq!(scene.change(&entries, Action::Add), [] as [String; 0], "{name}");
        let flows = if name == "linux" { 3 } else { 2 }; // forwarded packets have one more
        assert_eq!(scene.counts(), (2, flows), "{name}");
        let shown = scene.sas(false);
        assert_eq!(
            shown,
            "esp tunnel from 192.0.2.1 to 198.51.100.1 spi 0x00001001 auth hmac-sha2-512 enc aes-256\n\
             esp tunnel from 198.51.100.1 to 192.0.2.1 spi 0x00001002 auth hmac-sha2-512 enc aes-256\n",
            "{name}"
        );
        let with_keys = scene.sas(true);
        assert!(with_keys.contains("enckey 0x3102030405060708"), "{name}: {with_keys}");
        assert!(with_keys.contains(" \\\n\tauthkey 0x1102030405060708"), "{name}: {with_keys}");
        let shown = scene.flows(false);
        for line in [
            "flow esp in from 10.2.0.0/16 to 10.1.0.0/16 local 192.0.2.1 peer 198.51.100.1 type require",
            "flow esp out from 10.1.0.0/16 to 10.2.0.0/16 local 192.0.2.1 peer 198.51.100.1 type require",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{name}:\n{shown}lacks {line}");
        }
        let again = scene.change(&entries, Action::Add);
        assert_eq!(again.len(), 2, "{name}: the SAs are there already: {again:?}");
        assert_eq!(scene.change(&entries, Action::Delete), [] as [String; 0], "{name}");
        assert_eq!(scene.counts(), (0, 0), "{name}");
        assert_eq!(scene.sas(false), "", "{name}: a dump of nothing ends");
        assert!(!scene.change(&entries, Action::Delete).is_empty(), "{name}: nothing is there");
    }
}

#[test]
fn bundles_are_groups_on_openbsd_and_templates_elsewhere() {
    let text = "\
        ipcomp from 192.0.2.1 to 198.51.100.1 spi 0x1001:0x1002 comp deflate bundle \"a\"\n\
        esp transport from 192.0.2.1 to 198.51.100.1 spi 0x1003:0x1004 \
            auth hmac-sha1 enc null \
            authkey 0x0102030405060708090a0b0c0d0e0f1011121314:\
0x0102030405060708090a0b0c0d0e0f1011121314 bundle \"a\"\n\
        flow ipcomp from 10.1.0.0/16 to 10.2.0.0/16 local 192.0.2.1 peer 198.51.100.1\n";
    let text = text.replace(":0x0102", ":0102");
    for dialect in Dialect::all() {
        let mut scene = Scene::new(dialect);
        let name = dialect.name;
        let entries = entries(&text);
        let groups = dialect.behaviour.groups;
        assert_eq!(scene.change(&entries, Action::Add), [] as [String; 0], "{name}");
        assert_eq!(scene.counts().0, 4, "{name}");
        let requests: Vec<Request> = entries
            .iter()
            .flat_map(|e| request(e, &entries, Action::Add, groups).unwrap())
            .collect();
        let grouped = requests.iter().filter(|r| matches!(r, Request::Group { .. })).count();
        assert_eq!(grouped, if groups { 2 } else { 0 }, "{name}");
        let templates = requests.iter().find_map(|r| match r {
            Request::AddFlow(flow) => Some(flow.transforms.len()),
            _ => None,
        });
        assert_eq!(templates, Some(if groups { 1 } else { 2 }), "{name}");
        assert_eq!(scene.change(&entries, Action::Delete), [] as [String; 0], "{name}");
        assert_eq!(scene.counts(), (0, 0), "{name}");
    }
}

#[test]
fn flows_of_every_type_are_taken_or_refused_in_words() {
    let text = "\
        flow from 10.1.0.1 to 10.2.0.1 type bypass\n\
        flow from 10.1.0.2 to 10.2.0.1 type deny\n\
        flow from 10.1.0.3 to 10.2.0.1 type use\n\
        flow from 10.1.0.4 to 10.2.0.1 type acquire\n\
        flow proto tcp from 10.1.0.5 port 80 to 10.2.0.1 type require\n";
    for dialect in Dialect::all() {
        let mut scene = Scene::new(dialect);
        let entries = entries(text);
        assert_eq!(scene.change(&entries, Action::Add), [] as [String; 0], "{}", dialect.name);
        let shown = scene.flows(false);
        let name = dialect.name;
        assert!(shown.contains("from 10.1.0.5 port 80 to"), "{name}:\n{shown}");
    }
    let mut scene = Scene::new(Dialect::by_name("linux").unwrap());
    let failed =
        scene.change(&entries("flow from 10.1.0.1 to 10.2.0.1 type dontacq\n"), Action::Add);
    assert!(failed.iter().all(|why| why.contains("cannot")), "{failed:?}");
}

#[test]
fn flows_are_collapsed_as_ipsecctl_does() {
    let mut scene = Scene::new(Dialect::by_name("linux").unwrap());
    let text = "flow out from 10.1.0.0/16 to { 10.2.0.0/16, 10.3.0.0/16 } \
                local 192.0.2.1 peer 198.51.100.1\n";
    assert_eq!(scene.change(&entries(text), Action::Add), [] as [String; 0]);
    let shown = scene.flows(true);
    let found = ["{ 10.2.0.0/16, 10.3.0.0/16 }", "{ 10.3.0.0/16, 10.2.0.0/16 }"]
        .iter()
        .any(|both| shown.contains(&format!("out from {{ 10.1.0.0/16 }} to {both} local")));
    assert!(found, "{shown}");
}

#[test]
fn tcp_signatures_are_the_bsds() {
    let text =
        "tcpmd5 from 192.0.2.1 to 198.51.100.1 spi 0x1000:0x1001 authkey 0x00112233:0x00112233\n";
    let text = text.replace(":0x0011", ":0011");
    for dialect in Dialect::all() {
        let failed = Scene::new(dialect).change(&entries(&text), Action::Add);
        match dialect.name {
            "linux" => {
                assert!(failed.iter().all(|why| why.contains("no SAs of tcpmd5")), "{failed:?}")
            }
            name => assert_eq!(failed, [] as [String; 0], "{name}"),
        }
    }
}
