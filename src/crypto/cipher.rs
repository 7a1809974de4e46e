//! Protection of an Encrypted payload: a combined-mode cipher, or a cipher and an HMAC.
//!
//! 3DES-CBC (RFC 2451), AES-CBC (RFC 3602), AES-CTR (RFC 5930), AES-GCM (RFC 5282), ChaCha20-Poly1305 (RFC 7634), and
//! HMAC-SHA1 / HMAC-SHA2 (RFC 2404, RFC 4868) applied to the ciphertext.

use openssl::cipher::{Cipher as Raw, CipherRef};
use openssl::cipher_ctx::CipherCtx;

use super::prf::{Hash, Hmac, integrity};
use super::{Error, Secret};
use crate::wire::iana::v2::{EncryptionId, IntegrityId};

/// Octets of the salt (or nonce) that stands behind the key in the key material of GCM, CTR and
/// ChaCha20-Poly1305.
const SALT_LEN: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Cbc,
    TripleDes,
    Ctr,
    Gcm { icv: u8 },
    ChaCha,
}

/// A negotiated protection: algorithms without keys. Each IKE SA has one: its lengths take an octet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cipher {
    kind: Kind,
    /// Octets of the cipher's key, without salt.
    key: u8,
    integrity: Option<(Hash, u8)>,
}

/// The keys of one direction: SK_e (with the salt behind it) and SK_a (empty with AEAD).
#[derive(Clone, Debug)]
pub struct Keys {
    /// SK_ei or SK_er.
    pub encryption: Secret,
    /// SK_ai or SK_ar.
    pub integrity: Secret,
}

/// The parts of a message in the datagram that holds it.
#[derive(Debug)]
pub struct Parts<'a> {
    /// Everything before the IV.
    pub aad: &'a [u8],
    /// The IV.
    pub iv: &'a [u8],
    /// What is (or is to be) encrypted, in place.
    pub text: &'a mut [u8],
}

impl Cipher {
    /// The protection by these algorithms.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] with the name of what is not computed here, or of a combination that
    /// makes no sense (a cipher without integrity, AEAD with it).
    pub fn new(
        encryption: EncryptionId,
        key_bits: Option<u16>,
        mac: Option<IntegrityId>,
    ) -> Result<Self, Error> {
        let named = || match key_bits {
            Some(bits) => format!("{encryption}-{bits}"),
            None => encryption.to_string(),
        };
        let kind = match encryption {
            EncryptionId::ENCR_3DES => Kind::TripleDes,
            EncryptionId::ENCR_AES_CBC => Kind::Cbc,
            EncryptionId::ENCR_AES_CTR => Kind::Ctr,
            EncryptionId::ENCR_AES_GCM_8 => Kind::Gcm { icv: 8 },
            EncryptionId::ENCR_AES_GCM_12 => Kind::Gcm { icv: 12 },
            EncryptionId::ENCR_AES_GCM_16 => Kind::Gcm { icv: 16 },
            EncryptionId::ENCR_CHACHA20_POLY1305 => Kind::ChaCha,
            _ => return Err(Error::Unsupported(named())),
        };
        let key = match (kind, key_bits) {
            (Kind::TripleDes, None) => 24,
            (Kind::ChaCha, None | Some(256)) => 32,
            (Kind::Cbc | Kind::Ctr | Kind::Gcm { .. }, Some(128)) => 16,
            (Kind::Cbc | Kind::Ctr | Kind::Gcm { .. }, Some(192)) => 24,
            (Kind::Cbc | Kind::Ctr | Kind::Gcm { .. }, Some(256)) => 32,
            _ => return Err(Error::Unsupported(named())),
        };
        let mac = mac.filter(|id| *id != IntegrityId::NONE);
        let aead = matches!(kind, Kind::Gcm { .. } | Kind::ChaCha);
        let integrity = match mac {
            None if aead => None,
            None => return Err(Error::Unsupported(format!("{} without integrity", named()))),
            Some(id) if aead => {
                return Err(Error::Unsupported(format!("{} with {id}", named())));
            }
            Some(id) => Some(integrity(id).ok_or_else(|| Error::Unsupported(id.to_string()))?),
        };
        Ok(Self { kind, key, integrity })
    }

    /// Octets of SK_e: the key and, for GCM, CTR and ChaCha20-Poly1305, the salt.
    pub fn key_len(&self) -> usize {
        usize::from(self.key) + if self.chains() { 0 } else { SALT_LEN }
    }

    /// Octets of SK_a; 0 with AEAD.
    pub fn integrity_key_len(&self) -> usize {
        self.integrity.map_or(0, |(hash, _)| hash.size())
    }

    /// Octets of the IV.
    pub fn iv_len(&self) -> usize {
        if self.kind == Kind::Cbc { 16 } else { 8 }
    }

    /// Octets of the checksum or tag.
    pub fn icv_len(&self) -> usize {
        usize::from(match (self.kind, self.integrity) {
            (Kind::Gcm { icv }, _) => icv,
            (_, Some((_, icv))) => icv,
            (_, None) => 16,
        })
    }

    /// The block that payloads are padded to; 1 where none is needed.
    pub fn block_len(&self) -> usize {
        match self.kind {
            Kind::Cbc => 16,
            Kind::TripleDes => 8,
            Kind::Ctr | Kind::Gcm { .. } | Kind::ChaCha => 1,
        }
    }

    /// Whether the IV must be unpredictable (CBC) rather than only never repeated.
    pub fn wants_random_iv(&self) -> bool {
        self.chains()
    }

    /// Whether it is a block cipher in CBC mode.
    fn chains(&self) -> bool {
        matches!(self.kind, Kind::Cbc | Kind::TripleDes)
    }

    /// Encrypts `parts.text` in place and writes the checksum, `icv_len` octets.
    ///
    /// # Errors
    ///
    /// Keys or parts of the wrong length, or the library failing.
    pub fn seal(&self, keys: &Keys, parts: &mut Parts<'_>, icv: &mut [u8]) -> Result<(), Error> {
        self.check(keys, parts, icv.len())?;
        let nonce = self.nonce(keys, parts.iv);
        let mut ctx = CipherCtx::new()?;
        ctx.encrypt_init(
            Some(self.raw()),
            Some(self.key_of(keys)),
            Some(&nonce[..self.nonce_len()]),
        )?;
        ctx.set_padding(false);
        if self.integrity.is_none() {
            ctx.cipher_update(parts.aad, None)?;
        }
        update(&mut ctx, parts.text, self.block_len())?;
        match self.integrity {
            None => {
                ctx.cipher_final(&mut [0; 16])?;
                ctx.tag(icv)?;
            }
            Some((hash, kept)) => {
                let hmac = Hmac::new(hash, keys.integrity.octets());
                let (mac, _) = hmac.compute(&[parts.aad, parts.iv, parts.text]);
                icv.copy_from_slice(&mac[..kept.into()]);
            }
        }
        Ok(())
    }

    /// Verifies the checksum, then decrypts `parts.text` in place. On an error the text is worthless.
    ///
    /// # Errors
    ///
    /// [`Error::NotAuthentic`]; parts of the wrong length; the library failing.
    pub fn open(&self, keys: &Keys, parts: &mut Parts<'_>, icv: &[u8]) -> Result<(), Error> {
        self.check(keys, parts, icv.len())?;
        if let Some((hash, kept)) = self.integrity {
            let hmac = Hmac::new(hash, keys.integrity.octets());
            let (mac, _) = hmac.compute(&[parts.aad, parts.iv, parts.text]);
            if !openssl::memcmp::eq(&mac[..kept.into()], icv) {
                return Err(Error::NotAuthentic);
            }
        }
        let nonce = self.nonce(keys, parts.iv);
        let mut ctx = CipherCtx::new()?;
        ctx.decrypt_init(
            Some(self.raw()),
            Some(self.key_of(keys)),
            Some(&nonce[..self.nonce_len()]),
        )?;
        ctx.set_padding(false);
        if self.integrity.is_none() {
            ctx.set_tag(icv)?;
            ctx.cipher_update(parts.aad, None)?;
        }
        update(&mut ctx, parts.text, self.block_len())?;
        if self.integrity.is_none() && ctx.cipher_final(&mut [0; 16]).is_err() {
            return Err(Error::NotAuthentic);
        }
        Ok(())
    }

    fn check(&self, keys: &Keys, parts: &Parts<'_>, icv: usize) -> Result<(), Error> {
        let lengths = [
            ("the encryption key", self.key_len(), keys.encryption.len()),
            ("the integrity key", self.integrity_key_len(), keys.integrity.len()),
            ("the IV", self.iv_len(), parts.iv.len()),
            ("the checksum", self.icv_len(), icv),
        ];
        for (what, wanted, found) in lengths {
            if wanted != found {
                return Err(Error::Length { what, wanted, found });
            }
        }
        if !parts.text.len().is_multiple_of(self.block_len()) || parts.text.is_empty() {
            return Err(Error::BadLength);
        }
        Ok(())
    }

    fn key_of<'k>(&self, keys: &'k Keys) -> &'k [u8] {
        &keys.encryption.octets()[..self.key.into()]
    }

    /// Octets of the library's IV: the CBC IV; salt, IV and counter; or salt and IV.
    fn nonce_len(&self) -> usize {
        match self.kind {
            Kind::Cbc | Kind::Ctr => 16,
            Kind::Gcm { .. } | Kind::ChaCha => 12,
            Kind::TripleDes => 8,
        }
    }

    fn nonce(&self, keys: &Keys, iv: &[u8]) -> [u8; 16] {
        let mut nonce = [0; 16];
        if self.chains() {
            nonce[..iv.len()].copy_from_slice(iv);
            return nonce;
        }
        nonce[..SALT_LEN].copy_from_slice(&keys.encryption.octets()[self.key.into()..]);
        nonce[SALT_LEN..12].copy_from_slice(iv);
        if self.kind == Kind::Ctr {
            // The block counter starts at one (RFC 3686 section 4).
            nonce[15] = 1;
        }
        nonce
    }

    fn raw(&self) -> &'static CipherRef {
        match (self.kind, self.key) {
            (Kind::TripleDes, _) => Raw::des_ede3_cbc(),
            (Kind::Cbc, 16) => Raw::aes_128_cbc(),
            (Kind::Cbc, 24) => Raw::aes_192_cbc(),
            (Kind::Cbc, _) => Raw::aes_256_cbc(),
            (Kind::Ctr, 16) => Raw::aes_128_ctr(),
            (Kind::Ctr, 24) => Raw::aes_192_ctr(),
            (Kind::Ctr, _) => Raw::aes_256_ctr(),
            (Kind::Gcm { .. }, 16) => Raw::aes_128_gcm(),
            (Kind::Gcm { .. }, 24) => Raw::aes_192_gcm(),
            (Kind::Gcm { .. }, _) => Raw::aes_256_gcm(),
            (Kind::ChaCha, _) => Raw::chacha20_poly1305(),
        }
    }
}

/// Runs the cipher over `text` in place. For block ciphers the library's interface wants room for one
/// more block behind what it works on, so these go through a piece of the stack.
fn update(ctx: &mut CipherCtx, text: &mut [u8], block: usize) -> Result<(), Error> {
    const PIECE: usize = 512;
    if block == 1 {
        let len = text.len();
        ctx.cipher_update_inplace(text, len)?;
        return Ok(());
    }
    let mut room = zeroize::Zeroizing::new([0; PIECE + 16]);
    for piece in text.chunks_mut(PIECE) {
        room[..piece.len()].copy_from_slice(piece);
        ctx.cipher_update_inplace(&mut room[..], piece.len())?;
        piece.copy_from_slice(&room[..piece.len()]);
    }
    Ok(())
}
