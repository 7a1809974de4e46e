#![no_main]
//! What a peer sends to prove who it is, and what stands in files: junk, and a certificate, a revocation
//! list and a signature that were right before they were changed. Nothing of it panics, and nobody is
//! believed but by what is unchanged. Pieces are cut by a kind, and a length of two octets, each.

#[path = "../../../util/certs.rs"]
mod certs;

use std::sync::LazyLock;

use certs::{DAY, Holder, file, name, now, own_files, ring};
use oakd::crypto::signature;
use oakd::ike::auth::{Cert, Proof, Verify, Wish};
use oakd::pki::authority::{self, NewKey};
use oakd::pki::files::{KeyFile, wants_passphrase};
use oakd::pki::{Keyring, Options};
use oakd::wire::iana::v2::{AuthMethod, IdType};
use oakd::wire::v2::SignatureData;

/// A ring that trusts an authority, and what a host below it sends.
struct Good {
    ring: Keyring,
    files: Vec<KeyFile>,
    cert: Vec<u8>,
    list: Vec<u8>,
    auth: Vec<u8>,
}

const HOST: &str = "gw.example";
const OCTETS: &[u8] = b"what is signed";

static GOOD: LazyLock<Good> = LazyLock::new(|| {
    let root = Holder::root("Root", NewKey::P256);
    let host = root.host(HOST, NewKey::Ed25519);
    let files = own_files(&root.host("own.example", NewKey::P256), &[&root]);
    let dates = (now() - DAY, now() + 300 * DAY);
    let list = authority::revoke(&root.cert, &root.key, &[], 1, dates).unwrap();
    let kind = signature::KeyKind::of(&host.key).unwrap();
    let scheme = signature::choose(kind, signature::HASHES).unwrap();
    let signature = signature::sign(&host.key, scheme, OCTETS).unwrap();
    Good {
        ring: ring(&files),
        files,
        cert: host.cert.to_der().unwrap(),
        list: list.to_der().unwrap(),
        auth: SignatureData { algorithm: scheme.algorithm.to_vec(), signature }.emit(),
    }
});

/// A copy with some octets replaced: the first two of the patch say where.
fn changed(good: &[u8], patch: &[u8]) -> Vec<u8> {
    let mut copy = good.to_vec();
    if let Some((place, octets)) = patch.split_first_chunk::<2>() {
        let from = usize::from(u16::from_be_bytes(*place)) % copy.len();
        let to = (from + octets.len()).min(copy.len());
        copy[from..to].copy_from_slice(&octets[..to - from]);
    }
    copy
}

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let good = &*GOOD;
    let (mut certs, mut files) = (Vec::new(), good.files.clone());
    let (mut auth, mut identity) = (good.auth.clone(), name(IdType::ID_FQDN, HOST));
    let mut left = octets;
    while let Some(([kind, high, low], rest)) = left.split_first_chunk::<3>() {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (piece, rest) = rest.split_at(len);
        left = rest;
        let octets = || piece.to_vec();
        match kind % 16 {
            0 => certs.push(Cert::X509(octets())),
            1 => certs.push(Cert::X509(changed(&good.cert, piece))),
            2 => certs.push(Cert::Crl(octets())),
            3 => certs.push(Cert::Crl(changed(&good.list, piece))),
            4 => certs.push(Cert::Ocsp(octets())),
            5 => certs.push(Cert::PublicKey(octets())),
            6 => certs.push(Cert::RsaKey(octets())),
            7 => auth = changed(&good.auth, piece),
            8 => auth = octets(),
            9 => identity.data = octets(),
            10 => (identity.id_type, identity.data) = (IdType::ID_DER_ASN1_DN, octets()),
            11 => files.push(file("certs/more.pem", piece)),
            12 => files.push(file("ca/more.crt", piece)),
            13 => files.push(file("pubkeys/fqdn/peer.example", piece)),
            14 => files.push(file("ocsp/more.der", piece)),
            _ => files.push(file("crls/more.crl", piece)),
        }
        let _ = wants_passphrase(piece);
    }
    // The first certificate is the peer's own.
    let first = certs.iter().find(|cert| matches!(cert, Cert::X509(_)));
    let unchanged = first == Some(&Cert::X509(good.cert.clone())) && auth == good.auth;
    let proof = Proof::V2 { method: AuthMethod::DIGITAL_SIGNATURE, data: auth, wish: Wish::Any };
    let asked = Verify { identity, octets: OCTETS.to_vec(), proof, certs };
    assert!(good.ring.judge(&asked).is_err() || unchanged, "believed: {asked:?}");
    if files.len() > good.files.len() {
        let ring = Keyring::load(&files, &Default::default(), Options::default()).unwrap();
        drop((ring.view(), ring.expiring(), ring.judge(&asked)));
    }
});
