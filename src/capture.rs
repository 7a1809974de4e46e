//! Datagrams as a file that Wireshark opens, and keys in the form of its decryption tables.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::crypto::Secret;
use crate::ike::report::Way;
use crate::ike::view::IkeKeys;
use crate::proc::message::Packet;
use crate::wire::iana::v2::{EncryptionId, IntegrityId};

/// The head of a pcap file: its magic number, version 2.4, no more than so many octets of a packet, and
/// that packets begin with their IP header (LINKTYPE_RAW).
pub fn head() -> Vec<u8> {
    let mut out = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
    out.extend(2u16.to_le_bytes());
    out.extend(4u16.to_le_bytes());
    out.extend([0; 8]);
    out.extend(0x0004_0000_u32.to_le_bytes());
    out.extend(101u32.to_le_bytes());
    out
}

/// One packet of a pcap file. Its IP and UDP headers are made up from what is known of the datagram.
pub fn packet(packet: &Packet) -> Vec<u8> {
    let (from, to) = match packet.way {
        Way::In => (packet.whose.remote, packet.local),
        Way::Out => (packet.local, packet.whose.remote),
    };
    let marker: &[u8] = if packet.encap { &[0; 4] } else { &[] };
    let ip = ip(from, to, &udp(from, to, &[marker, &packet.octets].concat()));
    let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
    let len = number(ip.len() as u64);
    let mut out = number(packet.at.as_secs()).to_vec();
    out.extend(packet.at.subsec_micros().to_le_bytes());
    out.extend([len, len].concat());
    out.extend(ip);
    out
}

/// A UDP datagram (RFC 768) with its checksum.
fn udp(from: SocketAddr, to: SocketAddr, octets: &[u8]) -> Vec<u8> {
    let len = 8 + octets.len();
    let mut out = from.port().to_be_bytes().to_vec();
    out.extend(to.port().to_be_bytes());
    out.extend(low16(len).to_be_bytes());
    out.extend([0, 0]);
    out.extend(octets);
    let mut pseudo = address(from.ip());
    pseudo.extend(address(to.ip()));
    pseudo.extend((len as u64).to_be_bytes());
    pseudo.extend([0, 17]);
    // Zero would say that there is none.
    let sum = match checksum(&[pseudo, out.clone()].concat()) {
        0 => u16::MAX,
        sum => sum,
    };
    out[6..8].copy_from_slice(&sum.to_be_bytes());
    out
}

/// An IPv4 or IPv6 packet that carries UDP.
fn ip(from: SocketAddr, to: SocketAddr, udp: &[u8]) -> Vec<u8> {
    let mut out = match (from.ip(), to.ip()) {
        (IpAddr::V4(_), IpAddr::V4(_)) => {
            let mut head = vec![0x45, 0];
            head.extend(low16(20 + udp.len()).to_be_bytes());
            head.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
            head.extend(address(from.ip()));
            head.extend(address(to.ip()));
            let sum = checksum(&head).to_be_bytes();
            head[10..12].copy_from_slice(&sum);
            head
        }
        _ => {
            let mut head = vec![0x60, 0, 0, 0];
            head.extend(low16(udp.len()).to_be_bytes());
            head.extend([17, 64]);
            head.extend(mapped(from.ip()));
            head.extend(mapped(to.ip()));
            head
        }
    };
    out.extend(udp);
    out
}

fn address(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv6Addr::UNSPECIFIED.octets(),
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn low16(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}

/// RFC 1071.
fn checksum(octets: &[u8]) -> u16 {
    let words = octets.chunks(2).map(|pair| {
        u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or_default()]))
    });
    let mut sum: u64 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// A line of Wireshark's `ikev2_decryption_table` or `ikev1_decryption_table`; an error for what
/// Wireshark cannot open.
///
/// # Errors
///
/// The algorithm, in words.
pub fn table_line(keys: &IkeKeys) -> Result<String, String> {
    match keys {
        IkeKeys::V1 { cookie, key } => Ok(format!("{cookie},{}", hex(key))),
        IkeKeys::V2 { spis, suite, from_initiator, from_responder } => {
            let cipher = cipher(suite.encryption);
            let cipher = cipher.ok_or_else(|| format!("{suite}: Wireshark does not decrypt it"))?;
            let integrity = integrity(suite.integrity);
            Ok(format!(
                "{},{},{},{},\"{cipher}\",{},{},\"{integrity}\"",
                spis.0,
                spis.1,
                hex(&from_initiator.0),
                hex(&from_responder.0),
                hex(&from_initiator.1),
                hex(&from_responder.1),
            ))
        }
    }
}

/// Wireshark's names of ciphers.
fn cipher((id, bits): (EncryptionId, Option<u16>)) -> Option<String> {
    let bits = bits.unwrap_or(0);
    let counted =
        |mode: &str, icv: u8| Some(format!("AES-{mode}-{bits} with {icv} octet ICV [RFC5282]"));
    match id {
        EncryptionId::ENCR_3DES => Some("3DES [RFC2451]".into()),
        EncryptionId::ENCR_AES_CBC => Some(format!("AES-CBC-{bits} [RFC3602]")),
        EncryptionId::ENCR_AES_CTR => Some(format!("AES-CTR-{bits} [RFC5930]")),
        EncryptionId::ENCR_AES_CCM_8 => counted("CCM", 8),
        EncryptionId::ENCR_AES_CCM_12 => counted("CCM", 12),
        EncryptionId::ENCR_AES_CCM_16 => counted("CCM", 16),
        EncryptionId::ENCR_AES_GCM_8 => counted("GCM", 8),
        EncryptionId::ENCR_AES_GCM_12 => counted("GCM", 12),
        EncryptionId::ENCR_AES_GCM_16 => counted("GCM", 16),
        _ => None,
    }
}

/// Wireshark's names of integrity algorithms; of one that it does not compute, its length.
fn integrity(id: Option<IntegrityId>) -> &'static str {
    match id {
        None => "NONE [RFC4306]",
        Some(IntegrityId::AUTH_HMAC_MD5_96) => "HMAC_MD5_96 [RFC2403]",
        Some(IntegrityId::AUTH_HMAC_SHA1_96) => "HMAC_SHA1_96 [RFC2404]",
        Some(IntegrityId::AUTH_HMAC_SHA2_256_128) => "HMAC_SHA2_256_128 [RFC4868]",
        Some(IntegrityId::AUTH_HMAC_SHA2_384_192) => "HMAC_SHA2_384_192 [RFC4868]",
        Some(IntegrityId::AUTH_HMAC_SHA2_512_256) => "HMAC_SHA2_512_256 [RFC4868]",
        Some(_) => "ANY 96-bits of Authentication [No Checking]",
    }
}

fn hex(secret: &Secret) -> String {
    secret.octets().iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;
    use crate::crypto::IkeSuite;
    use crate::proc::message::Whose;
    use crate::wire::iana::v2::{GroupId, PrfId};

    fn captured(local: &str, remote: &str, encap: bool) -> Vec<u8> {
        let whose = Whose { remote: remote.parse().unwrap(), policy: None, identity: None };
        let at = Duration::from_millis(1500);
        let local = local.parse().unwrap();
        let octets = b"an odd message".to_vec();
        packet(&Packet { at, way: Way::Out, local, encap, whose, octets })
    }

    #[test]
    fn headers_add_up() {
        for encap in [false, true] {
            let v4 = captured("192.0.2.1:500", "192.0.2.2:4500", encap);
            let ip = &v4[16..];
            assert_eq!(v4[..8], [1, 0, 0, 0, 0x20, 0xa1, 7, 0]);
            assert_eq!(usize::from(u16::from_be_bytes([ip[2], ip[3]])), ip.len());
            // What carries its own checksum sums up to nothing.
            assert_eq!(checksum(&ip[..20]), 0);
            let len = (ip.len() - 20) as u64;
            let pseudo = [&ip[12..20], &len.to_be_bytes(), &[0, 17]].concat();
            assert_eq!(checksum(&[&pseudo[..], &ip[20..]].concat()), 0);
            assert_eq!(ip[28..].starts_with(&[0; 4]), encap);
        }
        let v6 = captured("[2001:db8::1]:500", "[2001:db8::2]:500", false);
        let ip = &v6[16..];
        let pseudo = [&ip[8..40], &((ip.len() - 40) as u64).to_be_bytes(), &[0, 17]].concat();
        assert_eq!(checksum(&[&pseudo[..], &ip[40..]].concat()), 0);
    }

    #[test]
    fn keys_make_a_line_of_the_table() {
        let secret = |octet: u8, len| Secret::new(vec![octet; len]);
        let keys = |encryption, integrity| IkeKeys::V2 {
            spis: ("0011223344556677".into(), "8899aabbccddeeff".into()),
            suite: IkeSuite {
                encryption,
                integrity,
                prf: PrfId::PRF_HMAC_SHA2_256,
                group: GroupId::CURVE25519,
            },
            from_initiator: (secret(1, 3), secret(2, 2)),
            from_responder: (secret(3, 3), secret(4, 2)),
        };
        let cbc = (EncryptionId::ENCR_AES_CBC, Some(128));
        let line = table_line(&keys(cbc, Some(IntegrityId::AUTH_HMAC_SHA1_96))).unwrap();
        let wanted = "0011223344556677,8899aabbccddeeff,010101,030303,\"AES-CBC-128 [RFC3602]\",\
                      0202,0404,\"HMAC_SHA1_96 [RFC2404]\"";
        assert_eq!(line, wanted);
        let chacha = (EncryptionId::ENCR_CHACHA20_POLY1305, None);
        assert!(table_line(&keys(chacha, None)).is_err());
        let v1 = IkeKeys::V1 { cookie: "0011223344556677".into(), key: secret(9, 2) };
        assert_eq!(table_line(&v1).unwrap(), "0011223344556677,0909");
    }
}
