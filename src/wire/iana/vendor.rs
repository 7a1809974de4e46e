//! Vendor IDs by name. No registry has them: most are the MD5 of a text, some with a version behind, others a
//! text.

use std::borrow::Cow;

/// Octets from hexadecimal, while compiling.
macro_rules! hex {
    ($text:literal) => {{
        const OCTETS: [u8; $text.len() / 2] = octets($text);
        &OCTETS
    }};
}

const fn octets<const N: usize>(text: &str) -> [u8; N] {
    const fn digit(octet: u8) -> u8 {
        match octet {
            b'0'..=b'9' => octet - b'0',
            _ => octet - b'a' + 10,
        }
    }
    let text = text.as_bytes();
    let mut octets = [0; N];
    let mut at = 0;
    while at < N {
        octets[at] = digit(text[2 * at]) << 4 | digit(text[2 * at + 1]);
        at += 1;
    }
    octets
}

/// What ours begins with; the version is behind.
pub const OAKD: &[u8] = b"oakd-";

/// "RFC 3947".
pub const NAT_T: &[u8] = hex!("4a131c81070358455c5728f20e95452f");

/// "draft-ietf-ipsec-nat-t-ike-03".
pub const NAT_T_03: &[u8] = hex!("7d9419a65310ca6f2c179d9215529d56");

/// "draft-ietf-ipsec-nat-t-ike-02\n": with a line feed, as the field has it.
pub const NAT_T_02N: &[u8] = hex!("90cb80913ebb696e086381b5ec427b1f");

/// "draft-ietf-ipsec-nat-t-ike-02".
pub const NAT_T_02: &[u8] = hex!("cd60464335df21f87cfdb2fc68b6a448");

/// Dead peer detection (RFC 3706); the last two octets are its version, 1.0.
pub const DPD: &[u8] = hex!("afcad71368a1f1c96b8696fc77570100");

/// draft-beaulieu-ike-xauth.
pub const XAUTH: &[u8] = hex!("09002689dfd6b712");

/// Cisco Unity; the last two octets are its version, 1.0.
pub const UNITY: &[u8] = hex!("12f5f28c457168a9702d9fe274cc0100");

/// "FRAGMENTATION", of IKEv1; four octets of flags may follow.
pub const FRAGMENTATION: &[u8] = hex!("4048b7d56ebce88525e7de7f00d6c2d3");

/// How each begins, and whose or what it is.
const NAMES: &[(&[u8], &str)] = &[
    (OAKD, "oakd"),
    (NAT_T, "NAT-T (RFC 3947)"),
    (NAT_T_03, "NAT-T (draft 03)"),
    (NAT_T_02N, "NAT-T (draft 02, with line feed)"),
    (NAT_T_02, "NAT-T (draft 02)"),
    (hex!("4485152d18b6bbcd0be8a8469579ddcc"), "NAT-T (draft 00)"),
    // The minor version differs; the head does not.
    (DPD.split_at(14).0, "dead peer detection"),
    (XAUTH, "XAUTH"),
    (UNITY.split_at(14).0, "Cisco Unity"),
    (FRAGMENTATION, "fragmentation of IKEv1"),
    (b"OpenIKED-", "OpenIKED"),
    (b"OE-Libreswan-", "Libreswan"),
    (b"OE", "Openswan"),
    (hex!("882fe56d6fd20dbc2251613b2ebe5beb"), "strongSwan"),
    (hex!("7003cbc1097dbe9c2600ba6983bc8b35"), "KAME/racoon"),
    (hex!("621b04bb09882ac1e15935fefa24aeee"), "GSSAPI"),
    (b"CISCO(COPYRIGHT)", "Cisco"),
    (b"CISCO-DELETE-REASON", "Cisco delete reason"),
    (b"CISCO-DYNAMIC-ROUTE", "Cisco dynamic route"),
    (b"FLEXVPN-SUPPORTED", "Cisco FlexVPN"),
    (b"CISCOVPN-REV-02", "Cisco VPN"),
    (hex!("1f07f70eaa6514d3b0fa96542a50"), "Cisco VPN 3000"),
    (hex!("1e2b516905991c7d7c96fcbfb587e461"), "Windows"),
    (hex!("fb1de3cdf341b7ea16b7e5be0855f120"), "Windows negotiation discovery"),
    (hex!("26244d38eddb61b3172a36e3d0cfb819"), "Windows initial contact"),
    (hex!("01528bbbc00696121849ab9a1c5b2a5100000001"), "Windows security realm"),
    (hex!("299ee8289f40a8973bc78687e2e7226b532c3b76"), "NetScreen"),
    (hex!("f4ed19e0c114eb516faaac0ee37daf2807b4381f"), "Check Point"),
    (hex!("8299031757a36082c6a621de"), "Fortinet"),
];

/// The name of a vendor ID, with what stands behind if that is text.
pub fn name(octets: &[u8]) -> Option<Cow<'static, str>> {
    let fits = NAMES.iter().filter(|(head, _)| octets.starts_with(head));
    let (head, name) = fits.max_by_key(|(head, _)| head.len())?;
    let rest =
        octets.get(head.len()..).filter(|rest| head.last() == Some(&b'-') && rest.len() < 40);
    let version = rest.and_then(|rest| std::str::from_utf8(rest).ok());
    match version.filter(|it| it.chars().all(|c| c.is_ascii_graphic())) {
        Some(version) if !version.is_empty() => Some(format!("{name} {version}").into()),
        _ => Some((*name).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_with_versions_and_strangers_without() {
        assert_eq!(name(b"OpenIKED-7.4").as_deref(), Some("OpenIKED 7.4"));
        assert_eq!(name(b"OE-Libreswan-4.10").as_deref(), Some("Libreswan 4.10"));
        assert_eq!(name(b"OpenIKED-\x1b[2J").as_deref(), Some("OpenIKED"));
        let strongswan = hex!("882fe56d6fd20dbc2251613b2ebe5beb");
        assert_eq!(name(strongswan).as_deref(), Some("strongSwan"));
        assert_eq!(name(b"somebody"), None);
        assert_eq!(name(&[]), None);
    }

    #[test]
    fn versions_behind_do_not_hide_the_name() {
        assert_eq!(name(DPD).as_deref(), Some("dead peer detection"));
        let mut later = DPD.to_vec();
        later[15] = 9;
        assert_eq!(name(&later).as_deref(), Some("dead peer detection"));
        let flags = [FRAGMENTATION, &[0x80, 0, 0, 0]].concat();
        assert_eq!(name(&flags).as_deref(), Some("fragmentation of IKEv1"));
    }
}
