//! Rules of both kinds at random: what is printed of them parses to the same, and prints the same.

use oakd::conf::{self, MemoryFiles};
use oakd::crypto::{Random, SeededRandom};

struct Writer {
    random: SeededRandom,
    text: String,
}

const HOSTS: &[&str] = &[
    "10.0.0.1",
    "10.0.0.0/8",
    "10.1/16",
    "10.0.0.1/32",
    "2001:db8::1",
    "2001:db8::/32",
    "any",
    "gw.example.org",
    "em0",
    "\"10.2.0.0/16\"",
    "{ 10.3.0.0/16, 10.4.0.1 }",
    "{ 10.3.0.0/16 2001:db8:1::/48 }",
    "10.10.10.1 (192.168.1.0/24)",
];

const STRINGS: &[&str] = &[
    "plain",
    "\"two words\"",
    "'single \"quotes\"'",
    "\"a\\\"b\"",
    "user@example.org",
    "\"/C=DE/CN=gw\"",
    "\"$id-$domain\"",
    "192.0.2.1",
    "\"local\"",
    "\"0x\"",
    "2001:db8::9",
    "x.y.z",
];

const TIMES: &[&str] = &["0", "3600", "30m", "4h", "2d", "90s"];

impl Writer {
    fn chance(&mut self, of: u64) -> bool {
        self.random.below(of) == 0
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[usize::try_from(self.random.below(list.len() as u64)).unwrap()]
    }

    fn put(&mut self, word: &str) {
        self.text.push_str(word);
        self.text.push(' ');
        if self.chance(12) {
            self.text.push_str("\\\n\t");
        }
    }

    fn maybe(&mut self, list: &[&str]) {
        if self.chance(2) {
            let word = self.pick(list);
            self.put(word);
        }
    }

    fn valued(&mut self, word: &str, list: &[&str]) {
        if self.chance(3) {
            self.put(word);
            let value = self.pick(list);
            self.put(value);
        }
    }

    fn ends(&mut self, dynamic: bool) {
        let hosts = &HOSTS[..HOSTS.len() - 1];
        self.put("from");
        let from = if dynamic && self.chance(8) { "dynamic" } else { self.pick(HOSTS) };
        self.put(from);
        self.valued("port", &["22", "http", "0"]);
        self.put("to");
        let to = self.pick(hosts);
        self.put(to);
        self.valued("port", &["65535", "ssh"]);
    }

    fn ikev2(&mut self) {
        self.put("ikev2");
        let named = self.chance(2);
        if named {
            let number = self.random.below(1_000_000);
            self.put(&format!("\"rule {number}\""));
        }
        self.maybe(&["quick", "skip", "default"]);
        self.maybe(&["active", "passive", "ondemand"]);
        self.maybe(&["ipcomp"]);
        self.maybe(&["tunnel", "transport"]);
        self.maybe(&["natt"]);
        self.maybe(&["esp", "ah"]);
        self.maybe(&["inet", "inet6"]);
        self.valued("proto", &["tcp", "17", "{ tcp, udp, 47 }"]);
        self.valued("rdomain", &["0", "255"]);
        self.ends(true);
        while self.chance(3) {
            self.ends(true);
        }
        self.valued("local", &["192.0.2.1", "any", "2001:db8::1", "gw.example.org"]);
        self.valued("peer", &["192.0.2.2", "any", "192.0.2.0/24", "peer.example.org"]);
        while self.chance(3) {
            self.put("ikesa");
            self.valued("enc", &["aes-256", "aes-128-gcm", "3des"]);
            self.valued("prf", &["hmac-sha2-256"]);
            self.valued("auth", &["hmac-sha2-256"]);
            self.valued("group", &["ecp256", "curve25519", "grp14"]);
        }
        while self.chance(3) {
            self.put("childsa");
            self.valued("enc", &["aes-256", "chacha20-poly1305"]);
            self.valued("auth", &["hmac-sha2-512"]);
            self.maybe(&["esn", "noesn"]);
            self.valued("group", &["none", "modp3072"]);
        }
        self.valued("srcid", STRINGS);
        self.valued("dstid", STRINGS);
        if self.chance(3) {
            self.put("ikelifetime");
            let time = self.pick(TIMES);
            self.put(time);
            self.maybe(&["reauth"]);
        }
        if self.chance(3) {
            self.put("lifetime");
            let time = self.pick(TIMES);
            self.put(time);
            self.valued("bytes", &["0", "512M", "4g", "1000"]);
        }
        match self.random.below(4) {
            0 => {
                self.put("psk");
                let key = self.pick(&["secret", "\"a b\"", "0x00ff", "file \"key\"", "'it\"s'"]);
                self.put(key);
            }
            1 => {
                let word = self.pick(&["rsa", "ecdsa384", "rfc7427", "signature"]);
                self.put(word);
            }
            2 => {
                let method = self.pick(&["eap \"mschap-v2\"", "eap radius"]);
                self.put(method);
            }
            _ => (),
        }
        self.options();
        self.valued("iface", &["sec0", "lo1"]);
        self.valued("tag", STRINGS);
        self.valued("tap", &["enc0", "enc7"]);
    }

    fn options(&mut self) {
        while self.chance(3) {
            let option = self.pick(&[
                "config address 10.9.0.0/24",
                "config name-server 10.9.0.1",
                "config netmask 255.255.255.0",
                "config protected-subnet 2001:db8::/32",
                "config domain corp.example",
                "request address any",
                "request name-server ::",
            ]);
            self.put(option);
        }
    }

    fn peers(&mut self) {
        self.valued("local", &["192.0.2.1", "gw.example.org"]);
        self.valued("peer", &["192.0.2.2", "any", "2001:db8::2", "\"192.0.2.0/24\""]);
    }

    fn ids(&mut self) {
        self.valued("srcid", STRINGS);
        self.valued("dstid", STRINGS);
    }

    fn phase(&mut self, word: &str) {
        self.put(word);
        self.valued("auth", &["hmac-sha1", "hmac-sha2-512"]);
        self.valued("enc", &["aes", "3des", "aes-256", "blowfish"]);
        self.valued("group", &["modp3072", "grp2", "ecp384"]);
        self.valued("lifetime", TIMES);
    }

    fn ike(&mut self) {
        self.put("ike");
        self.maybe(&["active", "passive", "dynamic"]);
        let interface = self.chance(6);
        if interface {
            self.put("interface sec3");
        } else {
            let bundles =
                ["ah esp", "esp ah", "ipcomp esp", "ah ipcomp", "ipcomp ah esp", "esp ah ipcomp"];
            let kinds = [&["esp", "ah"][..], &bundles].concat();
            self.maybe(&kinds);
            self.maybe(&["tunnel", "transport"]);
            self.valued("proto", &["tcp", "47", "esp"]);
            self.ends(true);
        }
        self.peers();
        if self.chance(2) {
            let word = self.pick(&["main", "aggressive"]);
            self.phase(word);
        }
        if self.chance(2) {
            self.phase("quick");
        }
        self.ids();
        match self.random.below(3) {
            0 => self.put("psk \"a b\""),
            1 => {
                let word = self.pick(&["rsa", "ecdsa256", "ecdsa384", "ecdsa521"]);
                self.put(word);
            }
            _ => (),
        }
        self.maybe(&["hybrid", "rsa-encryption", "rsa-revised-encryption"]);
        self.maybe(&["xauth", "xauth \"alice\""]);
        self.options();
        if !interface {
            self.valued("iface", &["lo1"]);
            self.valued("tag", STRINGS);
        }
    }

    fn flow(&mut self) {
        self.put("flow");
        self.maybe(&["esp", "ah", "ipcomp", "ipip"]);
        self.maybe(&["in", "out"]);
        self.valued("proto", &["udp", "4"]);
        self.ends(false);
        self.peers();
        self.ids();
        self.valued("type", &["use", "acquire", "require", "deny", "bypass", "dontacq"]);
    }

    fn sa(&mut self) {
        let kind = self.pick(&["esp", "ah", "ipcomp", "ipip", "tcpmd5"]);
        self.put(kind);
        if kind != "tcpmd5" {
            self.maybe(&["tunnel", "transport"]);
        }
        self.put("from 192.0.2.1 to 192.0.2.2");
        self.put("spi");
        let spi = self.pick(&["0x1000", "4096:0x2000", "0x100:0xffffffff"]);
        self.put(spi);
        if kind != "tcpmd5" {
            self.maybe(&["udpencap", "udpencap port 4500"]);
            self.valued("auth", &["hmac-md5", "hmac-sha2-256"]);
            self.valued("enc", &["aes", "null"]);
            self.valued("comp", &["deflate", "unknown"]);
        }
        self.valued("authkey", &["0x00112233:0x44556677", "0x00", "file \"a:b\""]);
        if kind != "tcpmd5" {
            self.valued("enckey", &["0x00112233", "file \"key\""]);
            self.valued("bundle", &["one", "\"two words\""]);
        }
    }

    fn line(&mut self) {
        match self.random.below(12) {
            0..4 => self.ikev2(),
            4..6 => self.ike(),
            6..8 => self.flow(),
            8..10 => self.sa(),
            10 => {
                let line = self.pick(&[
                    "set active",
                    "set passive",
                    "set couple",
                    "set decouple",
                    "set fragmentation",
                    "set nofragmentation",
                    "set mobike",
                    "set nomobike",
                    "set vendorid",
                    "set novendorid",
                    "set enforcesingleikesa",
                    "set noenforcesingleikesa",
                    "set stickyaddress",
                    "set nostickyaddress",
                    "set cert_partial_chain",
                    "set dpd_check_interval 30",
                    "set norsa_pss",
                    "set ca_workers 3",
                    "set cert_expiry_warning 30",
                    "set ocsp \"http://o.example\" tolerate 5m maxage 1h",
                    "user \"alice\" \"a secret\"",
                ]);
                self.put(line);
            }
            _ => {
                let line = self.pick(&[
                    "radius server 192.0.2.3 port radius secret \"x\"",
                    "radius accounting server 2001:db8::3 secret \"x\"",
                    "radius accounting max-tries 3",
                    "radius max-failovers 0",
                    "radius config address 8",
                    "radius config inet6 name-server 0x137 2",
                    "radius config none 25",
                    "radius dae listen on 192.0.2.1 port 3799",
                    "radius dae client 192.0.2.9 secret \"y\"",
                ]);
                self.put(line);
            }
        }
        self.text.push('\n');
    }
}

#[test]
fn printing_and_parsing_are_inverse() {
    for seed in 0..2000 {
        let mut writer = Writer { random: SeededRandom::new(seed), text: String::new() };
        for _ in 0..6 {
            writer.line();
        }
        let text = writer.text;
        let files = MemoryFiles::default().with("g", text.as_str());
        let first = conf::parse("g", &[], &files);
        assert!(!first.has_errors(), "{:#?}\n{text}", first.diagnostics);
        assert_eq!(first.statements.len(), 6, "{text}");
        let printed = conf::print(&first.statements, true);
        let again = MemoryFiles::default().with("g", printed.as_str());
        let second = conf::parse("g", &[], &again);
        assert!(!second.has_errors(), "{:#?}\n{text}\n{printed}", second.diagnostics);
        assert_eq!(first.statements, second.statements, "{text}\n{printed}");
        assert_eq!(printed, conf::print(&second.statements, true), "{text}");
    }
}
