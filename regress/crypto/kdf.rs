//! NIST's vectors for the key derivation of IKEv2 (RFC 7296 §2.14, §2.17, §2.18), in `ikev2.rsp`.

use std::collections::HashMap;

use crate::hex;
use oakd::crypto::Prf;
use oakd::wire::iana::v2::PrfId;

fn check(prf: Prf, case: &HashMap<&str, Vec<u8>>) {
    let of = |name: &str| case[name].as_slice();
    let (ni, nr) = (of("Ni"), of("Nr"));
    let skeyseed = prf.prf(&[ni, nr].concat(), &[of("g^ir")]);
    assert_eq!(skeyseed.octets(), of("SKEYSEED"));

    let wanted = of("DKM");
    let dkm = prf.plus(skeyseed.octets(), &[ni, nr, of("SPIi"), of("SPIr")], wanted.len());
    assert_eq!(dkm.octets(), wanted);

    let sk_d = &dkm.octets()[..prf.len()];
    let wanted = of("DKM(Child SA)");
    assert_eq!(prf.plus(sk_d, &[ni, nr], wanted.len()).octets(), wanted);
    let (fresh, wanted) = (of("g^ir (new)"), of("DKM(Child SA D-H)"));
    assert_eq!(prf.plus(sk_d, &[fresh, ni, nr], wanted.len()).octets(), wanted);
    assert_eq!(prf.prf(sk_d, &[fresh, ni, nr]).octets(), of("SKEYSEED(Rekey)"));
}

#[test]
fn nist_key_derivation() {
    let mut prf = None;
    let mut case = HashMap::new();
    let mut checked = 0;
    for line in include_str!("ikev2.rsp").lines() {
        prf = match line {
            "[SHA-1]" => Some(PrfId::PRF_HMAC_SHA1),
            "[SHA-256]" => Some(PrfId::PRF_HMAC_SHA2_256),
            "[SHA-384]" => Some(PrfId::PRF_HMAC_SHA2_384),
            "[SHA-512]" => Some(PrfId::PRF_HMAC_SHA2_512),
            _ => prf,
        };
        let Some((name, value)) = line.split_once(" = ") else { continue };
        case.insert(name, if name == "COUNT" { Vec::new() } else { hex(value) });
        if name == "SKEYSEED(Rekey)" {
            check(Prf::new(prf.unwrap()).unwrap(), &case);
            case.clear();
            checked += 1;
        }
    }
    assert!(checked > 0);
}
