//! Authentication with public key encryption, plain and revised (RFC 2409 §5.2, §5.3): how the second pair of
//! messages of Main Mode, and the first of Aggressive Mode, are made and read.
//!
//! ```text
//! plain     KE  [HASH(1)]  <IDii_b>PubKey_r  <Ni_b>PubKey_r
//! revised       [HASH(1)]  <Ni_b>PubKey_r  <KE_b>Ke_i  <IDii_b>Ke_i  [<Cert-I_b>Ke_i]
//! ```
//!
//! Whoever can decrypt the nonce is who it says it is; HASH_I and HASH_R show it. What does not decrypt comes
//! from the holder of the key as octets that nobody can foretell, and is used like any other: no
//! answer, notification or report tells the sender which of its ciphertexts were well formed
//! (Bleichenbacher 1998; Felsch and others 2018 against IKEv1).

use super::keys::stretch;
use super::rules::{Bag, Method};
use crate::crypto::{Block, Error, Prf, Secret};
use crate::ike::auth::Open;
use crate::wire::IkeSpi;
use crate::wire::iana::v1::PayloadType;
use crate::wire::v1::{Cert, Id, Payload};

/// What the revised method encrypts with keys made of the nonce, in this order.
const CLOSED: [PayloadType; 3] = [PayloadType::KE, PayloadType::ID, PayloadType::CERT];

/// What one side says under encryption.
#[derive(Debug, Clone)]
pub struct Inside {
    /// Its public value.
    pub ke: Vec<u8>,
    /// Its identity's body.
    pub id: Vec<u8>,
    /// Its nonce.
    pub nonce: Secret,
    /// The body of its certificate, which only the revised method has a place for.
    pub cert: Option<Vec<u8>>,
}

/// What the cipher of the revised method is made of: negotiated, and the sender's cookie.
#[derive(Debug, Clone, Copy)]
pub struct Ephemeral {
    /// The PRF.
    pub prf: Prf,
    /// The cipher.
    pub block: Block,
    /// The cookie of the side that sends.
    pub cookie: IkeSpi,
}

/// What is to be encrypted with the public key of the peer, in the order in which [`assemble`] takes it
/// back.
pub fn plain(method: Method, ours: &Inside) -> Vec<Secret> {
    let id = Secret::from(ours.id.as_slice());
    match method {
        Method::Revised => vec![ours.nonce.clone()],
        _ => vec![id, ours.nonce.clone()],
    }
}

/// The payloads of a message: `sealed` is what [`plain`] was encrypted to, `key_hash` the hash of the
/// certificate whose key it was.
///
/// # Errors
///
/// The library failing.
pub fn assemble(
    method: Method,
    with: Ephemeral,
    ours: &Inside,
    sealed: Vec<Vec<u8>>,
    key_hash: Option<Vec<u8>>,
) -> Result<Vec<Payload>, Error> {
    let closed = |payload_type, body| Payload::Opaque { payload_type, body };
    let key_hash = key_hash.map(Payload::Hash);
    let mut sealed = sealed.into_iter();
    let mut next = || sealed.next().ok_or(Error::BadLength);
    if method == Method::Revised {
        let nonce = closed(PayloadType::NONCE, next()?);
        let bodies = [Some(&ours.ke), Some(&ours.id), ours.cert.as_ref()].into_iter().flatten();
        let rest = CLOSED.into_iter().zip(with.seal(&ours.nonce, bodies)?);
        let rest = rest.map(|(payload_type, body)| closed(payload_type, body));
        return Ok(key_hash.into_iter().chain([nonce]).chain(rest).collect());
    }
    let (id, nonce) = (closed(PayloadType::ID, next()?), closed(PayloadType::NONCE, next()?));
    let ke = Payload::Ke(ours.ke.clone());
    Ok([Some(ke), key_hash, Some(id), Some(nonce)].into_iter().flatten().collect())
}

/// The question for what is to be decrypted of a message, in the order in which [`read`] takes it.
///
/// # Errors
///
/// Which payload is missing.
pub fn sealed(method: Method, bag: &Bag) -> Result<Open, String> {
    let closed = |wanted| {
        let body = bag.closed(wanted).map(<[u8]>::to_vec);
        body.ok_or_else(|| format!("no encrypted {wanted} payload"))
    };
    let nonce = closed(PayloadType::NONCE)?;
    let sealed = match method {
        Method::Revised => vec![nonce],
        _ => vec![closed(PayloadType::ID)?, nonce],
    };
    Ok(Open { key_hash: bag.hash.clone(), sealed })
}

/// What the peer said, from what was decrypted of [`sealed`]. It may all be noise: nothing of it is judged
/// here, and an identity that is none comes back as octets.
///
/// # Errors
///
/// The library failing; never for what the peer sent.
pub fn read(
    method: Method,
    with: Ephemeral,
    bag: &Bag,
    opened: Vec<Secret>,
) -> Result<Inside, Error> {
    let mut opened = opened.into_iter();
    let mut next = || opened.next().ok_or(Error::BadLength);
    if method == Method::Revised {
        let nonce = next()?;
        let closed = |wanted| bag.closed(wanted).unwrap_or_default();
        let mut opened = with.open(&nonce, CLOSED.map(closed))?.into_iter();
        let mut next = || opened.next().unwrap_or_default();
        let (ke, id, cert) = (next(), next(), Some(next()));
        return Ok(Inside { ke, id, nonce, cert: cert.filter(|cert| !cert.is_empty()) });
    }
    let (id, nonce) = (next()?.octets().to_vec(), next()?);
    Ok(Inside { ke: bag.ke.clone().unwrap_or_default(), id, nonce, cert: None })
}

impl Inside {
    /// The identity, if the octets are one.
    pub fn identity(&self) -> Option<Id> {
        Id::parse(&self.id).ok()
    }

    /// The certificate, if the octets are one.
    pub fn certificate(&self) -> Option<Cert> {
        Cert::parse(self.cert.as_deref()?).ok()
    }
}

impl Ephemeral {
    /// Ke: `prf(nonce, cookie)`, stretched where the cipher takes more (§5.3).
    fn key(self, nonce: &Secret) -> Secret {
        let seed = self.prf.prf(nonce.octets(), &[&self.cookie.0]);
        stretch(self.prf, &seed, self.block.key_len())
    }

    /// Encrypts bodies one after the other: the IV is zero, then the last block of the one before; always
    /// padded, with a count of the other octets of padding in the last one.
    fn seal<'a>(
        self,
        nonce: &Secret,
        bodies: impl Iterator<Item = &'a Vec<u8>>,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let (key, block) = (self.key(nonce), self.block.block_len());
        let mut iv = vec![0; block];
        let mut sealed = Vec::new();
        for body in bodies {
            let mut octets = body.clone();
            let padded = (octets.len() + 1).next_multiple_of(block);
            let count = u8::try_from(padded - octets.len() - 1).unwrap_or(0);
            octets.resize(padded - 1, 0);
            octets.push(count);
            self.block.encrypt(&key, &iv, &mut octets)?;
            iv = octets.split_at(padded - block).1.to_vec();
            sealed.push(octets);
        }
        Ok(sealed)
    }

    /// Decrypts bodies. What is no whole number of blocks, or is padded in an impossible way, comes back as it
    /// is: noise among noise.
    fn open<const N: usize>(
        self,
        nonce: &Secret,
        bodies: [&[u8]; N],
    ) -> Result<[Vec<u8>; N], Error> {
        let (key, block) = (self.key(nonce), self.block.block_len());
        let mut iv = vec![0; block];
        let mut opened = [const { Vec::new() }; N];
        for (out, body) in opened.iter_mut().zip(bodies) {
            let mut octets = body.to_vec();
            if octets.len().is_multiple_of(block) && !octets.is_empty() {
                self.block.decrypt(&key, &iv, &mut octets)?;
                iv = body.split_at(body.len() - block).1.to_vec();
            }
            let count = octets.last().map_or(0, |count| usize::from(*count) + 1);
            octets.truncate(octets.len().checked_sub(count).unwrap_or(octets.len()));
            *out = octets;
        }
        Ok(opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ike::v1::rules::{Message, sort};
    use crate::wire::iana::v2::{EncryptionId, PrfId};
    use crate::wire::v1::{emit_payloads, parse_opaque};

    fn with(encryption: (EncryptionId, Option<u16>), prf: PrfId) -> Ephemeral {
        let block = Block::new(encryption.0, encryption.1).unwrap();
        Ephemeral { prf: Prf::new(prf).unwrap(), block, cookie: IkeSpi([7; 8]) }
    }

    fn inside() -> Inside {
        let id = Id::of_address([192, 0, 2, 1].into()).body();
        let ke = (0..=255).cycle().take(384).collect();
        Inside { ke, id, nonce: Secret::from(&[9; 20][..]), cert: None }
    }

    /// A cipher by public key that everybody can read.
    fn pretend(plain: &Secret) -> Vec<u8> {
        plain.octets().iter().map(|octet| !octet).collect()
    }

    fn through(method: Method, with: Ephemeral) -> Inside {
        let ours = inside();
        let sealed_ones = plain(method, &ours).iter().map(pretend).collect();
        let payloads = assemble(method, with, &ours, sealed_ones, Some(vec![5; 20])).unwrap();
        let (first, octets) = emit_payloads(&payloads);
        let message = Message::MainKe(method);
        let bag = sort(message, parse_opaque(first, &octets, message.opaque()).unwrap()).unwrap();
        let question = sealed(method, &bag).unwrap();
        assert_eq!(question.key_hash, Some(vec![5; 20]));
        let opened = question.sealed.iter().map(|it| Secret::new(pretend(&Secret::from(&it[..]))));
        read(method, with, &bag, opened.collect()).unwrap()
    }

    #[test]
    fn both_methods_carry_the_same() {
        let aes = (EncryptionId::ENCR_AES_CBC, Some(256));
        for (cipher, prf) in [
            (aes, PrfId::PRF_HMAC_SHA2_256),
            (aes, PrfId::PRF_HMAC_SHA1),
            ((EncryptionId::ENCR_3DES, None), PrfId::PRF_HMAC_MD5),
        ] {
            for method in [Method::Encryption, Method::Revised] {
                let theirs = through(method, with(cipher, prf));
                let ours = inside();
                assert_eq!(
                    (theirs.ke, &theirs.id, &theirs.nonce),
                    (ours.ke, &ours.id, &ours.nonce)
                );
            }
        }
        let theirs = through(Method::Revised, with(aes, PrfId::PRF_HMAC_SHA1));
        assert_eq!(theirs.identity(), Some(Id::of_address([192, 0, 2, 1].into())));
    }

    #[test]
    fn the_revised_message_may_have_a_certificate() {
        let with = with((EncryptionId::ENCR_AES_CBC, Some(128)), PrfId::PRF_HMAC_SHA1);
        let ours = Inside { cert: Some(vec![5; 700]), ..inside() };
        let method = Method::Revised;
        let payloads = assemble(method, with, &ours, vec![vec![1; 256]], None).unwrap();
        let (first, octets) = emit_payloads(&payloads);
        let message = Message::MainKe(method);
        let bag = sort(message, parse_opaque(first, &octets, message.opaque()).unwrap()).unwrap();
        let theirs = read(method, with, &bag, vec![ours.nonce.clone()]).unwrap();
        assert_eq!((&theirs.cert, &theirs.id), (&ours.cert, &ours.id));
        assert_eq!(theirs.certificate().unwrap().data, [5; 699]);
    }

    #[test]
    fn the_revised_message_hides_the_public_value_and_says_the_nonce_first() {
        let with = with((EncryptionId::ENCR_AES_CBC, Some(128)), PrfId::PRF_HMAC_SHA1);
        let ours = inside();
        let payloads = assemble(Method::Revised, with, &ours, vec![vec![1; 256]], None).unwrap();
        let types: Vec<_> = payloads.iter().map(Payload::payload_type).collect();
        assert_eq!(types, [PayloadType::NONCE, PayloadType::KE, PayloadType::ID]);
        assert_eq!(payloads[1].body().len(), 400, "padding is always there");
        assert!(!payloads[1].body().windows(8).any(|part| ours.ke.starts_with(part)));
        // One chain: the second IV is the end of the first body.
        let (key, mut id) = (with.key(&ours.nonce), payloads[2].body());
        let iv = payloads[1].body().split_off(384);
        with.block.decrypt(&key, &iv, &mut id).unwrap();
        assert_eq!(id, [&ours.id[..], &[0, 0, 0, 0, 0, 0, 0, 7]].concat());
    }

    #[test]
    fn noise_is_read_like_anything_else() {
        let with = with((EncryptionId::ENCR_AES_CBC, Some(128)), PrfId::PRF_HMAC_SHA1);
        for (ke, id) in [(0, 0), (1, 15), (16, 17), (32, 32), (400, 16)] {
            let closed = vec![
                (PayloadType::NONCE, vec![1; 256]),
                (PayloadType::KE, vec![0xaa; ke]),
                (PayloadType::ID, vec![0xbb; id]),
            ];
            let bag = Bag { closed, ..Bag::default() };
            let noise = vec![Secret::from(&[3; 32][..])];
            let theirs = read(Method::Revised, with, &bag, noise).unwrap();
            assert_eq!(theirs.nonce.octets(), [3; 32]);
        }
        let bag = Bag { closed: vec![(PayloadType::NONCE, vec![1])], ..Bag::default() };
        let words = sealed(Method::Encryption, &bag).unwrap_err();
        assert_eq!(words, "no encrypted ID payload");
    }
}
