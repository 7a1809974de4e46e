//! Vendor IDs by name: what the peer can do, and who it is.
//!
//! Most are the MD5 of a text, some with a version behind; a table says the octets, how many of them count,
//! and the name.

/// A vendor ID that means something to us, or tells who the peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vendor {
    /// Its name.
    pub name: &'static str,
    /// Its octets; what a peer has behind them is a version or flags.
    pub octets: &'static [u8],
    /// What it promises.
    pub means: Means,
}

/// What a vendor ID promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// Nothing but whose product the peer is.
    Product,
    /// NAT traversal of RFC 3947.
    NatT,
    /// NAT traversal of draft-ietf-ipsec-nat-t-ike-02 or -03: other payload numbers.
    NatTDraft,
    /// Dead peer detection (RFC 3706).
    Dpd,
    /// Extended authentication.
    Xauth,
    /// Cisco's Unity attributes.
    Unity,
    /// Fragmentation.
    Fragmentation,
}

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

const fn row(name: &'static str, octets: &'static [u8], means: Means) -> Vendor {
    Vendor { name, octets, means }
}

/// "RFC 3947".
pub const NAT_T: Vendor =
    row("NAT-T (RFC 3947)", hex!("4a131c81070358455c5728f20e95452f"), Means::NatT);

/// "draft-ietf-ipsec-nat-t-ike-03".
pub const NAT_T_03: Vendor =
    row("NAT-T (draft 03)", hex!("7d9419a65310ca6f2c179d9215529d56"), Means::NatTDraft);

/// "draft-ietf-ipsec-nat-t-ike-02\n": with a line feed, as the field has it.
pub const NAT_T_02N: Vendor = row(
    "NAT-T (draft 02, with line feed)",
    hex!("90cb80913ebb696e086381b5ec427b1f"),
    Means::NatTDraft,
);

/// "draft-ietf-ipsec-nat-t-ike-02".
pub const NAT_T_02: Vendor =
    row("NAT-T (draft 02)", hex!("cd60464335df21f87cfdb2fc68b6a448"), Means::NatTDraft);

/// Dead peer detection; the last two octets are its version, 1.0.
pub const DPD: Vendor = row("DPD", hex!("afcad71368a1f1c96b8696fc77570100"), Means::Dpd);

/// draft-beaulieu-ike-xauth.
pub const XAUTH: Vendor = row("XAUTH", hex!("09002689dfd6b712"), Means::Xauth);

/// Cisco Unity; the last two octets are its version, 1.0.
pub const UNITY: Vendor =
    row("Cisco Unity", hex!("12f5f28c457168a9702d9fe274cc0100"), Means::Unity);

/// "FRAGMENTATION"; four octets of flags may follow.
pub const FRAGMENTATION: Vendor =
    row("fragmentation", hex!("4048b7d56ebce88525e7de7f00d6c2d3"), Means::Fragmentation);

/// All that we know.
pub static TABLE: &[Vendor] = &[
    NAT_T,
    NAT_T_03,
    NAT_T_02N,
    NAT_T_02,
    // "draft-ietf-ipsec-nat-t-ike-00", -01 and others had no payload numbers of their own: told by name only.
    row("NAT-T (draft 00)", hex!("4485152d18b6bbcd0be8a8469579ddcc"), Means::Product),
    // The minor version differs; the head does not.
    Vendor { octets: DPD.octets.split_at(14).0, ..DPD },
    XAUTH,
    Vendor { octets: UNITY.octets.split_at(14).0, ..UNITY },
    FRAGMENTATION,
    row("strongSwan", hex!("882fe56d6fd20dbc2251613b2ebe5beb"), Means::Product),
    row("Libreswan", b"OE-Libreswan-", Means::Product),
    row("Openswan", hex!("4f45"), Means::Product),
    row("Windows", hex!("1e2b516905991c7d7c96fcbfb587e461"), Means::Product),
    row("KAME/racoon", hex!("7003cbc1097dbe9c2600ba6983bc8b35"), Means::Product),
    row("NetScreen", hex!("299ee8289f40a8973bc78687e2e7226b532c3b76"), Means::Product),
    row("Fortinet", hex!("8299031757a36082c6a621de"), Means::Product),
    row("Check Point", hex!("f4ed19e0c114eb516faaac0ee37daf2807b4381f"), Means::Product),
    row("Cisco VPN 3000", hex!("1f07f70eaa6514d3b0fa96542a50"), Means::Product),
    row("GSSAPI", hex!("621b04bb09882ac1e15935fefa24aeee"), Means::Product),
];

/// The row of a vendor ID: the one with the most octets that it begins with.
pub fn known(octets: &[u8]) -> Option<&'static Vendor> {
    let fits = TABLE.iter().filter(|vendor| octets.starts_with(vendor.octets));
    fits.max_by_key(|vendor| vendor.octets.len())
}

/// A vendor ID by its name, or its octets.
pub fn name(octets: &[u8]) -> String {
    match known(octets) {
        Some(vendor) => vendor.name.into(),
        None => octets.iter().take(20).map(|octet| format!("{octet:02x}")).collect(),
    }
}

/// What the peer can do, by the vendor IDs that it sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Abilities {
    /// NAT traversal, and whether by the drafts' numbers only.
    pub nat_t: Option<NatT>,
    /// Dead peer detection.
    pub dpd: bool,
    /// Extended authentication.
    pub xauth: bool,
    /// Cisco's Unity attributes.
    pub unity: bool,
    /// Fragmentation.
    pub fragmentation: bool,
}

/// By which numbers NAT traversal is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NatT {
    /// draft-ietf-ipsec-nat-t-ike-02 and -03.
    Draft,
    /// RFC 3947.
    Rfc,
}

impl Abilities {
    /// What these vendor IDs promise together.
    pub fn of<'a>(vendors: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut abilities = Self::default();
        vendors.into_iter().for_each(|octets| abilities.add(octets));
        abilities
    }

    /// Takes in one more vendor ID.
    pub fn add(&mut self, octets: &[u8]) {
        match known(octets).map(|vendor| vendor.means) {
            Some(Means::NatT) => self.nat_t = Some(NatT::Rfc),
            Some(Means::NatTDraft) => self.nat_t = self.nat_t.max(Some(NatT::Draft)),
            Some(Means::Dpd) => self.dpd = true,
            Some(Means::Xauth) => self.xauth = true,
            Some(Means::Unity) => self.unity = true,
            // Cisco says in four octets of flags whether main mode (bit 31) and aggressive mode (bit 30) may
            // be fragmented; others send none, or zero with both meant.
            Some(Means::Fragmentation) => self.fragmentation = true,
            Some(Means::Product) | None => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::prf::Hash;

    #[test]
    fn the_octets_are_hashes_of_their_texts() {
        let md5 = |text: &str| Hash::Md5.digest(&[text.as_bytes()]).0[..16].to_vec();
        assert_eq!(NAT_T.octets, md5("RFC 3947"));
        assert_eq!(NAT_T_03.octets, md5("draft-ietf-ipsec-nat-t-ike-03"));
        assert_eq!(NAT_T_02.octets, md5("draft-ietf-ipsec-nat-t-ike-02"));
        assert_eq!(NAT_T_02N.octets, md5("draft-ietf-ipsec-nat-t-ike-02\n"));
        assert_eq!(XAUTH.octets, &md5("draft-ietf-ipsra-isakmp-xauth-06.txt")[..8]);
        assert_eq!(FRAGMENTATION.octets, md5("FRAGMENTATION"));
        for (text, wanted) in [
            ("draft-ietf-ipsec-nat-t-ike-00", "NAT-T (draft 00)"),
            ("strongSwan", "strongSwan"),
            ("KAME/racoon", "KAME/racoon"),
            ("GSSAPI", "GSSAPI"),
        ] {
            assert_eq!(name(&md5(text)), wanted);
        }
    }

    #[test]
    fn versions_behind_do_not_hide_the_name() {
        assert_eq!(name(DPD.octets), "DPD");
        let mut later = DPD.octets.to_vec();
        later[15] = 9;
        assert_eq!(name(&later), "DPD");
        assert_eq!(name(&[FRAGMENTATION.octets, &[0x80, 0, 0, 0]].concat()), "fragmentation");
        assert_eq!(name(b"OE-Libreswan-4.10"), "Libreswan");
        assert_eq!(name(&[1, 2, 3]), "010203");
        assert_eq!(known(&[]), None);
    }

    #[test]
    fn abilities_add_up() {
        let all = [NAT_T_03, DPD, XAUTH, UNITY, FRAGMENTATION];
        let mut abilities = Abilities::of(all.iter().map(|vendor| vendor.octets));
        let wanted = Abilities {
            nat_t: Some(NatT::Draft),
            dpd: true,
            xauth: true,
            unity: true,
            fragmentation: true,
        };
        assert_eq!(abilities, wanted);
        abilities.add(NAT_T.octets);
        assert_eq!(abilities.nat_t, Some(NatT::Rfc));
        abilities.add(NAT_T_02N.octets);
        assert_eq!(abilities.nat_t, Some(NatT::Rfc));
        assert_eq!(Abilities::of([&[1][..]]), Abilities::default());
    }
}
