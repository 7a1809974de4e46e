//! What vendor IDs promise. Their names and octets are in [`crate::wire::iana::vendor`].

use crate::wire::iana::vendor::{
    DPD, FRAGMENTATION, NAT_T, NAT_T_02, NAT_T_02N, NAT_T_03, UNITY, XAUTH,
};

/// What a vendor ID promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    /// NAT traversal.
    NatT(NatT),
    /// Dead peer detection (RFC 3706).
    Dpd,
    /// Extended authentication.
    Xauth,
    /// Cisco's Unity attributes.
    Unity,
    /// Fragmentation.
    Fragmentation,
}

/// How each begins, and what it means. Others only tell whose product the peer is.
static TABLE: &[(&[u8], Means)] = &[
    (NAT_T, Means::NatT(NatT::Rfc)),
    (NAT_T_03, Means::NatT(NatT::Draft)),
    (NAT_T_02N, Means::NatT(NatT::Draft)),
    (NAT_T_02, Means::NatT(NatT::Draft)),
    // The minor version differs; the head does not.
    (DPD.split_at(14).0, Means::Dpd),
    (XAUTH, Means::Xauth),
    (UNITY.split_at(14).0, Means::Unity),
    (FRAGMENTATION, Means::Fragmentation),
];

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
    /// draft-ietf-ipsec-nat-t-ike-02 and -03: payload numbers of their own.
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
        let row = TABLE.iter().find(|(head, _)| octets.starts_with(head));
        match row.map(|(_, means)| means) {
            Some(Means::NatT(spoken)) => self.nat_t = self.nat_t.max(Some(*spoken)),
            Some(Means::Dpd) => self.dpd = true,
            Some(Means::Xauth) => self.xauth = true,
            Some(Means::Unity) => self.unity = true,
            // Cisco says in four octets of flags whether main mode (bit 31) and aggressive mode (bit 30) may
            // be fragmented; others send none, or zero with both meant.
            Some(Means::Fragmentation) => self.fragmentation = true,
            None => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::prf::Hash;
    use crate::wire::iana::vendor::name;

    #[test]
    fn the_octets_are_hashes_of_their_texts() {
        let md5 = |text: &str| Hash::Md5.digest(&[text.as_bytes()]).0[..16].to_vec();
        assert_eq!(NAT_T, md5("RFC 3947"));
        assert_eq!(NAT_T_03, md5("draft-ietf-ipsec-nat-t-ike-03"));
        assert_eq!(NAT_T_02, md5("draft-ietf-ipsec-nat-t-ike-02"));
        assert_eq!(NAT_T_02N, md5("draft-ietf-ipsec-nat-t-ike-02\n"));
        assert_eq!(XAUTH, &md5("draft-ietf-ipsra-isakmp-xauth-06.txt")[..8]);
        assert_eq!(FRAGMENTATION, md5("FRAGMENTATION"));
        for (text, wanted) in [
            ("draft-ietf-ipsec-nat-t-ike-00", "NAT-T (draft 00)"),
            ("strongSwan", "strongSwan"),
            ("KAME/racoon", "KAME/racoon"),
            ("GSSAPI", "GSSAPI"),
        ] {
            assert_eq!(name(&md5(text)).as_deref(), Some(wanted));
        }
    }

    #[test]
    fn abilities_add_up() {
        let mut abilities = Abilities::of([NAT_T_03, DPD, XAUTH, UNITY, FRAGMENTATION]);
        let wanted = Abilities {
            nat_t: Some(NatT::Draft),
            dpd: true,
            xauth: true,
            unity: true,
            fragmentation: true,
        };
        assert_eq!(abilities, wanted);
        abilities.add(NAT_T);
        assert_eq!(abilities.nat_t, Some(NatT::Rfc));
        abilities.add(NAT_T_02N);
        assert_eq!(abilities.nat_t, Some(NatT::Rfc));
        assert_eq!(Abilities::of([&[1][..]]), Abilities::default());
    }
}
