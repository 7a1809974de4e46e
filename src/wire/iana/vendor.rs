//! Vendor IDs of IKEv2 by name. No registry has them: most are the MD5 of a text, others a text.

use std::borrow::Cow;

/// How each begins, and whose or what it is.
const NAMES: &[(&[u8], &str)] = &[
    (OAKD, "oakd"),
    (b"OpenIKED-", "OpenIKED"),
    (b"OE-Libreswan-", "Libreswan"),
    (b"\x88\x2f\xe5\x6d\x6f\xd2\x0d\xbc\x22\x51\x61\x3b\x2e\xbe\x5b\xeb", "strongSwan"),
    (b"CISCO(COPYRIGHT)", "Cisco"),
    (b"CISCO-DELETE-REASON", "Cisco delete reason"),
    (b"CISCO-DYNAMIC-ROUTE", "Cisco dynamic route"),
    (b"FLEXVPN-SUPPORTED", "Cisco FlexVPN"),
    (b"\x43\x49\x53\x43\x4f\x56\x50\x4e\x2d\x52\x45\x56\x2d\x30\x32", "Cisco VPN"),
    (b"\x1e\x2b\x51\x69\x05\x99\x1c\x7d\x7c\x96\xfc\xbf\xb5\x87\xe4\x61", "Windows"),
    (
        b"\xfb\x1d\xe3\xcd\xf3\x41\xb7\xea\x16\xb7\xe5\xbe\x08\x55\xf1\x20",
        "Windows negotiation discovery",
    ),
    (
        b"\x26\x24\x4d\x38\xed\xdb\x61\xb3\x17\x2a\x36\xe3\xd0\xcf\xb8\x19",
        "Windows initial contact",
    ),
    (
        b"\x01\x52\x8b\xbb\xc0\x06\x96\x12\x18\x49\xab\x9a\x1c\x5b\x2a\x51\x00\x00\x00\x01",
        "Windows security realm",
    ),
    (b"\x40\x48\xb7\xd5\x6e\xbc\xe8\x85\x25\xe7\xde\x7f\x00\xd6\xc2\xd3", "fragmentation of IKEv1"),
    (b"\xaf\xca\xd7\x13\x68\xa1\xf1\xc9\x6b\x86\x96\xfc\x77\x57", "dead peer detection of IKEv1"),
    (
        b"\xf4\xed\x19\xe0\xc1\x14\xeb\x51\x6f\xaa\xac\x0e\xe3\x7d\xaf\x28\x07\xb4\x38\x1f",
        "Check Point",
    ),
    (b"\x82\x99\x03\x17\x57\xa3\x60\x82\xc6\xa6\x21\xde", "Fortinet"),
];

/// What ours begins with; the version is behind.
pub const OAKD: &[u8] = b"oakd-";

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
        assert_eq!(name(b"OpenIKED-\x1b[2J").as_deref(), Some("OpenIKED"));
        assert_eq!(
            name(b"\x88\x2f\xe5\x6d\x6f\xd2\x0d\xbc\x22\x51\x61\x3b\x2e\xbe\x5b\xeb").as_deref(),
            Some("strongSwan")
        );
        assert_eq!(name(b"somebody"), None);
    }
}
