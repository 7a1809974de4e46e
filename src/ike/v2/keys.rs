//! Key derivation of IKEv2 (RFC 7296 §2.14, §2.15, §2.17, §2.18).

use crate::crypto::cipher::{Cipher, Keys};
use crate::crypto::{ChildSuite, Error, IkeSuite, Prf, Secret};
use crate::wire::IkeSpi;

/// The keys of an IKE SA, and how they are used.
pub struct IkeKeys {
    /// The suite they are for.
    pub suite: IkeSuite,
    /// The PRF of the suite.
    pub prf: Prf,
    /// The protection of the suite.
    pub cipher: Cipher,
    /// What child keys and the next IKE SA are derived from.
    pub sk_d: Secret,
    /// SK_ei and SK_ai: what the initiator sends.
    pub initiator: Keys,
    /// SK_er and SK_ar: what the responder sends.
    pub responder: Keys,
}

/// SK_pi and SK_pr: needed until both sides are authenticated.
pub struct AuthKeys {
    /// SK_pi.
    pub initiator: Secret,
    /// SK_pr.
    pub responder: Secret,
}

/// SKEYSEED of a first exchange: `prf(Ni | Nr, g^ir)`.
pub fn skeyseed(prf: Prf, ni: &[u8], nr: &[u8], shared: &Secret) -> Secret {
    prf.prf(&[ni, nr].concat(), &[shared.octets()])
}

/// SKEYSEED of a rekeyed IKE SA: `prf(SK_d (old), g^ir (new) | Ni | Nr)`, with the old SA's PRF.
pub fn skeyseed_rekey(
    old: Prf,
    sk_d: &Secret,
    shared: &Secret,
    ni: &[u8],
    nr: &[u8],
) -> Secret {
    old.prf(sk_d.octets(), &[shared.octets(), ni, nr])
}

impl IkeKeys {
    /// `{SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+(SKEYSEED, Ni | Nr | SPIi | SPIr)`.
    ///
    /// # Errors
    ///
    /// A suite that is not computed here.
    pub fn derive(
        suite: IkeSuite,
        skeyseed: &Secret,
        ni: &[u8],
        nr: &[u8],
        spi_i: IkeSpi,
        spi_r: IkeSpi,
    ) -> Result<(Self, AuthKeys), Error> {
        let (prf, cipher) = (suite.prf()?, suite.cipher()?);
        let (integ, encr, own) = (cipher.integrity_key_len(), cipher.key_len(), prf.len());
        let total = 3 * own + 2 * integ + 2 * encr;
        let stream = prf.plus(skeyseed.octets(), &[ni, nr, &spi_i.0, &spi_r.0], total);
        let mut rest = stream.octets();
        let mut take = |len: usize| {
            let (head, tail) = rest.split_at(len.min(rest.len()));
            rest = tail;
            Secret::from(head)
        };
        let sk_d = take(own);
        let (ai, ar) = (take(integ), take(integ));
        let (ei, er) = (take(encr), take(encr));
        let auth = AuthKeys { initiator: take(own), responder: take(own) };
        let initiator = Keys { encryption: ei, integrity: ai };
        let responder = Keys { encryption: er, integrity: ar };
        Ok((Self { suite, prf, cipher, sk_d, initiator, responder }, auth))
    }

    /// The keys of what one side sends.
    pub fn sender(&self, initiator: bool) -> &Keys {
        if initiator { &self.initiator } else { &self.responder }
    }
}

/// The octets that AUTH is computed over: the sender's first message, the other's nonce, and
/// `prf(SK_p, ID payload without its generic header)`.
pub fn signed_octets(prf: Prf, message: &[u8], nonce: &[u8], sk_p: &Secret, id: &[u8]) -> Vec<u8> {
    [message, nonce, prf.prf(sk_p.octets(), &[id]).octets()].concat()
}

/// The keys of one direction of a child SA.
pub struct ChildKeys {
    /// The cipher's key with its salt; empty for AH.
    pub encryption: Secret,
    /// The integrity key; empty with AEAD.
    pub integrity: Secret,
}

/// `KEYMAT = prf+(SK_d, [g^ir |] Ni | Nr)`: the keys of what the exchange's initiator sends, then of
/// what its responder sends.
pub fn child(
    prf: Prf,
    sk_d: &Secret,
    suite: &ChildSuite,
    shared: Option<&Secret>,
    ni: &[u8],
    nr: &[u8],
) -> (ChildKeys, ChildKeys) {
    let (encr, integ) = (suite.encryption_len(), suite.integrity_len());
    let fresh = shared.map_or(&[][..], Secret::octets);
    let keymat = prf.plus(sk_d.octets(), &[fresh, ni, nr], 2 * (encr + integ));
    let mut rest = keymat.octets();
    let mut take = |len: usize| {
        let (head, tail) = rest.split_at(len.min(rest.len()));
        rest = tail;
        Secret::from(head)
    };
    let initiator = ChildKeys { encryption: take(encr), integrity: take(integ) };
    let responder = ChildKeys { encryption: take(encr), integrity: take(integ) };
    (initiator, responder)
}
