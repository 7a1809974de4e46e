//! Where the pre-shared keys are, by looking into the memory of the processes.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};

use std::os::unix::fs::PermissionsExt;

use oakd::crypto::Secret;
use oakd::issuer::{Issuer, Use};
use oakd::pki::authority::{self, NewKey, Role, Wanted};
use openssl::pkcs12::Pkcs12;
use openssl::pkey::PKey;
use openssl::symm::Cipher;

use super::daemon::{Daemon, PSK, eventually, kill};

/// How often a text stands in the writable memory of a process.
fn found(pid: u32, text: &[u8]) -> usize {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut count = 0;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (Some(range), Some(rights)) = (words.next(), words.next()) else { continue };
        if !rights.starts_with("rw") {
            continue;
        }
        let Some((from, to)) = range.split_once('-') else { continue };
        let from = u64::from_str_radix(from, 16).unwrap();
        let to = u64::from_str_radix(to, 16).unwrap();
        let mut octets = vec![0; (to - from) as usize];
        if memory.seek(SeekFrom::Start(from)).is_ok() && memory.read_exact(&mut octets).is_ok() {
            count += octets.windows(text.len()).filter(|w| *w == text).count();
        }
    }
    count
}

/// That a secret is in every `ca`, and in none of the others.
fn only_in_ca(daemon: &Daemon, secret: &[u8]) {
    let (workers, others): (Vec<_>, Vec<_>) =
        daemon.children().into_iter().partition(|(role, _)| role.starts_with("ca"));
    assert!(!workers.is_empty(), "{}", daemon.log());
    for (role, pid) in workers {
        let held = eventually(|| (found(pid, secret) > 0).then_some(()));
        assert!(held.is_some(), "{role} does not hold it: {}", daemon.log());
    }
    for (role, pid) in others {
        assert_eq!(found(pid, secret), 0, "{role} holds it");
    }
    assert_eq!(found(daemon.pid(), secret), 0, "the parent holds it");
}

#[test]
fn only_ca_holds_the_pre_shared_key() {
    let Some(daemon) = Daemon::start(&["-R"]) else { return };
    only_in_ca(&daemon, PSK.as_bytes());
    assert!(!daemon.log().contains(PSK));
    // Nor is it elsewhere after another reload, or for another ca.
    assert!(daemon.oakctl(&["reload"]).status.success());
    only_in_ca(&daemon, PSK.as_bytes());
    kill(daemon.child("ca"), "KILL");
    daemon.says("ca process started again");
    only_in_ca(&daemon, PSK.as_bytes());
}

/// Waits until just these run.
fn runs(daemon: &Daemon, roles: &[&str]) {
    let right = eventually(|| daemon.children().keys().eq(roles).then_some(()));
    assert!(right.is_some(), "{:?}: {}", daemon.children(), daemon.log());
}

#[test]
fn several_workers_hold_the_secrets_and_their_number_can_change() {
    let several = |count: u8| format!("set ca_workers {count}\n{}", super::daemon::good());
    let Some(daemon) = Daemon::start_with(&several(2), &[]) else { return };
    runs(&daemon, &["ca", "ca2", "control", "ike"]);
    only_in_ca(&daemon, PSK.as_bytes());
    let (first, second) = (daemon.child("ca"), daemon.child("ca2"));
    kill(second, "KILL");
    daemon.says("ca2 process started again");
    only_in_ca(&daemon, PSK.as_bytes());
    assert_eq!(daemon.child("ca"), first);
    assert_ne!(daemon.child("ca2"), second);
    for (count, roles) in [
        (3, &["ca", "ca2", "ca3", "control", "ike"][..]),
        (1, &["ca", "control", "ike"][..]),
        (2, &["ca", "ca2", "control", "ike"][..]),
    ] {
        daemon.configure(&several(count));
        assert!(daemon.oakctl(&["reload"]).status.success(), "{}", daemon.log());
        runs(&daemon, roles);
        only_in_ca(&daemon, PSK.as_bytes());
    }
    // All of them take over what is new.
    daemon.configure(&several(2).replace(PSK, "Another-Key-of-some-length"));
    assert!(daemon.oakctl(&["reload"]).status.success());
    only_in_ca(&daemon, b"Another-Key-of-some-length");
    for role in ["ca", "ca2"] {
        let gone = eventually(|| (found(daemon.child(role), PSK.as_bytes()) == 0).then_some(()));
        assert!(gone.is_some(), "{role} keeps the old key");
    }
}

#[test]
fn only_ca_holds_the_private_key() {
    let key = PKey::generate_ed25519().unwrap();
    let Some(daemon) = Daemon::start(&[]) else { return };
    let file = daemon.path("keys/private/local.key");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(daemon.oakctl(&["reload"]).status.success());
    only_in_ca(&daemon, &key.raw_private_key().unwrap());
    // The file's own lines are nowhere any more.
    let pem = key.private_key_to_pem_pkcs8().unwrap();
    let line = pem.split(|octet| *octet == b'\n').nth(1).unwrap();
    let wiped = eventually(|| (found(daemon.child("ca"), line) == 0).then_some(()));
    assert!(wiped.is_some(), "ca keeps the text of the file");
    assert_eq!(found(daemon.pid(), line), 0);
}

#[test]
fn a_private_key_that_others_can_read_is_left_out() {
    let key = PKey::generate_ed25519().unwrap();
    let Some(daemon) = Daemon::start(&[]) else { return };
    let file = daemon.path("keys/private/local.key");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(daemon.oakctl(&["reload"]).status.success());
    daemon.says("others can read or own this private key (mode 644, user 0): it is left out");
    assert_eq!(found(daemon.child("ca"), &key.raw_private_key().unwrap()), 0);
}

#[test]
fn a_new_ca_gets_the_secrets_when_the_file_is_right_again() {
    let Some(daemon) = Daemon::start(&[]) else { return };
    only_in_ca(&daemon, PSK.as_bytes());
    let ike = daemon.child("ike");
    daemon.configure("ikev2 nonsense\n");
    kill(daemon.child("ca"), "KILL");
    daemon.says("the configuration is wrong: the ca process was started again and gets no secrets");
    let ca = eventually(|| daemon.children().get("ca").copied()).unwrap();
    assert_eq!(found(ca, PSK.as_bytes()), 0);
    daemon.configure(&super::daemon::good());
    only_in_ca(&daemon, PSK.as_bytes());
    assert_eq!(daemon.child("ike"), ike);
    assert!(!daemon.log().contains("it is loaded now"));
}

#[test]
fn for_a_new_ca_a_changed_file_is_loaded() {
    let Some(daemon) = Daemon::start(&[]) else { return };
    daemon.configure(&super::daemon::good().replace(PSK, "Another-Key-of-some-length"));
    kill(daemon.child("ca"), "KILL");
    daemon.says("the configuration has changed since it was loaded: it is loaded now");
    only_in_ca(&daemon, b"Another-Key-of-some-length");
    assert_eq!(found(daemon.child("ca"), PSK.as_bytes()), 0);
}

#[test]
fn a_key_that_is_no_longer_configured_is_forgotten() {
    let Some(daemon) = Daemon::start(&[]) else { return };
    let ca = daemon.child("ca");
    assert!(eventually(|| (found(ca, PSK.as_bytes()) > 0).then_some(())).is_some());
    let other = super::daemon::good().replace(PSK, "another key");
    daemon.configure(&other);
    assert!(daemon.oakctl(&["reload"]).status.success());
    let forgotten = eventually(|| (found(ca, PSK.as_bytes()) == 0).then_some(()));
    assert!(forgotten.is_some(), "{} copies are left", found(ca, PSK.as_bytes()));
}

#[test]
fn what_expires_is_logged_ahead_and_shown() {
    let text = format!("set cert_expiry_warning 400\n{}", super::daemon::good());
    let Some(daemon) = Daemon::start_with(&text, &[]) else { return };
    let issuer = Issuer::new(&daemon.path("ssl"), "vpn").unwrap();
    issuer.create(&Secret::from(&b"sesame"[..]), NewKey::P256).unwrap();
    issuer.create_certificate("gw.example", Use::Host, NewKey::P256).unwrap();
    issuer.install(&daemon.path("keys")).unwrap();
    issuer.install_host("gw.example", &daemon.path("keys"), true).unwrap();
    assert!(daemon.oakctl(&["reload"]).status.success());
    daemon.says("certs/gw.example.crt: O=oakd, CN=gw.example (own) expires on ");
    assert!(!daemon.log().contains("CN=vpn CA (authority) expires"));
    let shown = eventually(|| {
        let output = daemon.oakctl(&["show", "certs"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.contains("certs/gw.example.crt: own, ECDSA P-256: O=oakd, CN=gw.example: valid")
            .then_some(text)
    });
    let shown = shown.expect("not shown");
    assert!(shown.contains("    for      FQDN gw.example\n"), "{shown}");
    assert!(shown.contains("    below    O=oakd, CN=vpn CA\n"), "{shown}");
    let json = daemon.oakctl(&["-j", "show", "certs"]).stdout;
    let first = json.split(|octet| *octet == b'\n').next().unwrap();
    let value: serde_json::Value = serde_json::from_slice(first).unwrap();
    assert_eq!(value["part"], "Authority");
}

#[test]
fn passphrases_are_asked_for_at_the_start() {
    let (local, other) = (PKey::generate_ed25519().unwrap(), NewKey::P256.make().unwrap());
    let pkcs8 = local.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"one phrase");
    let issued = {
        let subject = authority::subject(&[("CN", "gw.example")]).unwrap();
        let (names, extensions, role) = (&[][..], Vec::new(), Role::Host);
        let valid = authority::days(1_700_000_000, 36_500);
        let wanted = Wanted { subject: &subject, names, valid, role, extensions };
        authority::certify(&other, wanted, (None, &other)).unwrap()
    };
    let pkcs12 = Pkcs12::builder().pkey(&other).cert(&issued).build2("another phrase").unwrap();
    let (pkcs8, pkcs12) = (pkcs8.unwrap(), pkcs12.to_der().unwrap());
    let files =
        [("keys/private/a.key", pkcs8.as_slice()), ("keys/private/b.p12", pkcs12.as_slice())];
    let text = format!("set ca_workers 2\n{}", super::daemon::good());
    let started = Daemon::start_on_terminal(&text, &files, &["one phrase", "another phrase"]);
    let Some((daemon, shown)) = started else { return };
    assert!(shown.contains("Passphrase for private/a.key: "), "{shown}");
    assert!(shown.contains("Passphrase for private/b.p12: "), "{shown}");
    daemon.says("ca: 1 pre-shared key in use, 2 private keys, 0 authorities, 1 other certificate,");
    daemon.says("ca2: 1 pre-shared key in use, 2 private keys");
    let key = local.raw_private_key().unwrap();
    only_in_ca(&daemon, &key);
    only_in_ca(&daemon, b"one phrase");
    // A worker that is started again learns them from the other, as nobody is asked again.
    for role in ["ca", "ca2"] {
        kill(daemon.child(role), "KILL");
        daemon.says(&format!("{role} process started again"));
        only_in_ca(&daemon, &key);
    }
    assert!(daemon.oakctl(&["reload"]).status.success());
    only_in_ca(&daemon, &key);
    assert!(!daemon.log().contains("passphrase"), "{}", daemon.log());
}

#[test]
fn a_wrong_passphrase_is_told() {
    let key = PKey::generate_ed25519().unwrap();
    let pem =
        key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"one phrase").unwrap();
    let files = [("keys/private/local.key", pem.as_slice())];
    let started = Daemon::start_on_terminal(&super::daemon::good(), &files, &["another phrase"]);
    let Some((daemon, _)) = started else { return };
    daemon.says("private/local.key: its passphrase is another one");
    assert_eq!(found(daemon.child("ca"), &key.raw_private_key().unwrap()), 0);
}
