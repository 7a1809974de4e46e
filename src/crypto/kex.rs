//! Key exchange: MODP (RFC 2409, RFC 3526), ECP (RFC 5903), Curve25519 and Curve448 (RFC 8031).
//!
//! Private values are made of the octets handed in, public values of the peer are checked as RFC 6989
//! asks. Public values have the exact length of the wire.

use openssl::bn::{BigNum, BigNumContext};
use openssl::derive::Deriver;
use openssl::ec::{EcGroup, EcPoint};
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};

use super::{Error, Random, Secret};
use crate::wire::iana::v2::GroupId;

/// X448's number in the library; named here because not every library version has the constant.
const NID_X448: i32 = 1035;

/// How a group computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A MODP group: the prime's length in bits, the private exponent's (RFC 3526 §8).
    Modp { bits: u16, exponent: u16 },
    /// A curve: octets of a coordinate.
    Ecp { nid: Nid, coordinate: usize },
    /// A Montgomery curve: octets of a value.
    Montgomery { id: i32, len: usize },
}

fn kind(group: GroupId) -> Result<Kind, Error> {
    let modp = |bits, exponent| Ok(Kind::Modp { bits, exponent });
    match group {
        GroupId::MODP_1024 => modp(1024, 160),
        GroupId::MODP_1536 => modp(1536, 200),
        GroupId::MODP_2048 => modp(2048, 256),
        GroupId::MODP_3072 => modp(3072, 288),
        GroupId::MODP_4096 => modp(4096, 352),
        GroupId::MODP_6144 => modp(6144, 384),
        GroupId::MODP_8192 => modp(8192, 416),
        GroupId::ECP_256 => Ok(Kind::Ecp { nid: Nid::X9_62_PRIME256V1, coordinate: 32 }),
        GroupId::ECP_384 => Ok(Kind::Ecp { nid: Nid::SECP384R1, coordinate: 48 }),
        GroupId::ECP_521 => Ok(Kind::Ecp { nid: Nid::SECP521R1, coordinate: 66 }),
        GroupId::CURVE25519 => Ok(Kind::Montgomery { id: Id::X25519.as_raw(), len: 32 }),
        GroupId::CURVE448 => Ok(Kind::Montgomery { id: NID_X448, len: 56 }),
        _ => Err(Error::Unsupported(group.to_string())),
    }
}

/// Whether the group is computed here.
pub fn supported(group: GroupId) -> bool {
    kind(group).is_ok()
}

/// Octets of a public value of this group on the wire; `None` if it is not computed here.
pub fn public_len(group: GroupId) -> Option<usize> {
    Some(match kind(group).ok()? {
        Kind::Modp { bits, .. } => usize::from(bits) / 8,
        Kind::Ecp { coordinate, .. } => 2 * coordinate,
        Kind::Montgomery { len, .. } => len,
    })
}

/// Our half of a key exchange: the private value, until the peer's public value comes.
pub struct KeyExchange {
    group: GroupId,
    private: PrivateValue,
    public: Box<[u8]>,
}

enum PrivateValue {
    Modp { exponent: BigNum, bits: u16 },
    Ecp { scalar: BigNum, nid: Nid, coordinate: usize },
    Montgomery { key: PKey<Private>, id: i32, len: usize },
}

impl KeyExchange {
    /// A fresh private value and its public value.
    ///
    /// # Errors
    ///
    /// A group that is not computed here (by its name), or the library failing.
    pub fn generate(group: GroupId, random: &mut dyn Random) -> Result<Self, Error> {
        let octets = match kind(group)? {
            Kind::Modp { exponent, .. } => usize::from(exponent) / 8,
            // 64 bits more than the order make the reduction's bias vanish (FIPS 186-5 A.2.1).
            Kind::Ecp { coordinate, .. } => coordinate + 8,
            Kind::Montgomery { len, .. } => len,
        };
        let mut seed = zeroize::Zeroizing::new(vec![0; octets]);
        random.fill(&mut seed);
        Self::from_private(group, &seed)
    }

    /// From the octets of a private value (reduced into the group's range).
    ///
    /// # Errors
    ///
    /// As [`KeyExchange::generate`].
    pub fn from_private(group: GroupId, private: &[u8]) -> Result<Self, Error> {
        match kind(group)? {
            Kind::Modp { bits, .. } => {
                let mut exponent = BigNum::new_secure()?;
                exponent.copy_from_slice(private)?;
                exponent.set_const_time();
                if exponent.num_bits() < 2 {
                    exponent.add_word(2)?;
                }
                let (prime, two) = (prime(bits)?, BigNum::from_u32(2)?);
                let public = mod_exp(&two, &exponent, &prime)?;
                let public = public.to_vec_padded(i32::from(bits / 8))?;
                Ok(Self {
                    group,
                    private: PrivateValue::Modp { exponent, bits },
                    public: public.into(),
                })
            }
            Kind::Ecp { nid, coordinate } => Self::ecp(group, nid, coordinate, private),
            Kind::Montgomery { id, len } => {
                let key = PKey::private_key_from_raw_bytes(private, Id::from_raw(id))
                    .map_err(|_| Error::Unsupported(group.to_string()))?;
                let public = key.raw_public_key()?.into();
                Ok(Self { group, private: PrivateValue::Montgomery { key, id, len }, public })
            }
        }
    }

    fn ecp(group: GroupId, nid: Nid, coordinate: usize, private: &[u8]) -> Result<Self, Error> {
        with_curve(nid, |curve, ctx| {
            let (mut order, mut seed) = (BigNum::new()?, BigNum::new_secure()?);
            curve.order(&mut order, ctx)?;
            order.sub_word(1)?;
            seed.copy_from_slice(private)?;
            seed.set_const_time();
            let mut scalar = BigNum::new_secure()?;
            if private.len() > coordinate {
                scalar.nnmod(&seed, &order, ctx)?;
                scalar.add_word(1)?;
            } else {
                scalar = seed;
            }
            scalar.set_const_time();
            let mut point = EcPoint::new(curve)?;
            point.mul_generator2(curve, &scalar, ctx)?;
            let (x, y) = coordinates(&point, curve, ctx)?;
            let len = i32::try_from(coordinate).unwrap_or(i32::MAX);
            let mut public = x.to_vec_padded(len)?;
            public.extend(y.to_vec_padded(len)?);
            let private = PrivateValue::Ecp { scalar, nid, coordinate };
            Ok(Self { group, private, public: public.into() })
        })
    }

    /// The group.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// Our public value as it goes on the wire.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// The shared secret with the peer's public value; the private value is gone then.
    ///
    /// # Errors
    ///
    /// [`Error::BadPublicValue`] with what RFC 6989 or RFC 8031 refuses; the library failing.
    pub fn shared(self, peer: &[u8]) -> Result<Secret, Error> {
        let bad = |reason| Error::BadPublicValue { group: self.group.to_string(), reason };
        if Some(peer.len()) != public_len(self.group) {
            return Err(bad("it has the wrong length"));
        }
        match &self.private {
            PrivateValue::Modp { exponent, bits } => {
                let prime = prime(*bits)?;
                let value = BigNum::from_slice(peer)?;
                let mut top = BigNum::new()?;
                top.checked_sub(&prime, &*BigNum::from_u32(1)?)?;
                if value.num_bits() < 2 || value >= top {
                    return Err(bad("it is not between 1 and the prime less one"));
                }
                let shared = mod_exp(&value, exponent, &prime)?;
                Ok(Secret::new(shared.to_vec_padded(i32::from(bits / 8))?))
            }
            PrivateValue::Ecp { scalar, nid, coordinate } => with_curve(*nid, |curve, ctx| {
                let (x, y) = peer.split_at(*coordinate);
                let (x, y) = (BigNum::from_slice(x)?, BigNum::from_slice(y)?);
                let mut point = EcPoint::new(curve)?;
                // The library refuses a point that is not on the curve.
                if point.set_affine_coordinates_gfp(curve, &x, &y, ctx).is_err()
                    || !point.is_on_curve(curve, ctx)?
                {
                    return Err(bad("the point is not on the curve"));
                }
                let mut shared = EcPoint::new(curve)?;
                shared.mul2(curve, &point, scalar, ctx)?;
                if shared.is_infinity(curve) {
                    return Err(bad("the shared point is at infinity"));
                }
                let (x, _) = coordinates(&shared, curve, ctx)?;
                Ok(Secret::new(x.to_vec_padded(i32::try_from(*coordinate).unwrap_or(i32::MAX))?))
            }),
            PrivateValue::Montgomery { key, id, len } => {
                let peer = PKey::public_key_from_raw_bytes(peer, Id::from_raw(*id))?;
                let mut deriver = Deriver::new(key)?;
                deriver.set_peer(&peer)?;
                let mut shared = vec![0; *len];
                // An all-zero result is refused by the library and, should one not, here.
                let done = deriver.derive(&mut shared);
                if done.is_err() || openssl::memcmp::eq(&shared, &vec![0; *len]) {
                    return Err(bad("it is a point of small order"));
                }
                Ok(Secret::new(shared))
            }
        }
    }
}

fn mod_exp(base: &BigNum, exponent: &BigNum, prime: &BigNum) -> Result<BigNum, Error> {
    let mut result = BigNum::new_secure()?;
    let mut ctx = BigNumContext::new_secure()?;
    result.mod_exp(base, exponent, prime, &mut ctx)?;
    Ok(result)
}

fn prime(bits: u16) -> Result<BigNum, Error> {
    Ok(match bits {
        1024 => BigNum::get_rfc2409_prime_1024()?,
        1536 => BigNum::get_rfc3526_prime_1536()?,
        2048 => BigNum::get_rfc3526_prime_2048()?,
        3072 => BigNum::get_rfc3526_prime_3072()?,
        4096 => BigNum::get_rfc3526_prime_4096()?,
        6144 => BigNum::get_rfc3526_prime_6144()?,
        _ => BigNum::get_rfc3526_prime_8192()?,
    })
}

/// Runs a computation on a curve. Curves are kept: to set one up costs as much as to use it.
fn with_curve<T>(
    nid: Nid,
    run: impl FnOnce(&EcGroup, &mut BigNumContext) -> Result<T, Error>,
) -> Result<T, Error> {
    use std::cell::RefCell;
    thread_local! {
        static CURVES: RefCell<Vec<(Nid, std::rc::Rc<EcGroup>)>> = const { RefCell::new(Vec::new()) };
    }
    let known = CURVES.with_borrow(|curves| {
        curves.iter().find(|(known, _)| *known == nid).map(|(_, curve)| curve.clone())
    });
    let curve = match known {
        Some(curve) => curve,
        None => {
            let curve = std::rc::Rc::new(EcGroup::from_curve_name(nid)?);
            CURVES.with_borrow_mut(|curves| curves.push((nid, curve.clone())));
            curve
        }
    };
    run(&curve, &mut BigNumContext::new()?)
}

fn coordinates(
    point: &EcPoint,
    curve: &EcGroup,
    ctx: &mut BigNumContext,
) -> Result<(BigNum, BigNum), Error> {
    let (mut x, mut y) = (BigNum::new()?, BigNum::new()?);
    point.affine_coordinates_gfp(curve, &mut x, &mut y, ctx)?;
    Ok((x, y))
}
