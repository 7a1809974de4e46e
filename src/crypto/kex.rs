//! Key exchange: MODP (RFC 2409, RFC 3526), ECP (RFC 5903), Curve25519 and Curve448 (RFC 8031).
//!
//! Private values are made of the octets handed in, public values of the peer are checked as RFC 6989
//! asks. Public values have the exact length of the wire.
//!
//! Only calls that OpenSSL and LibreSSL both have stand here. What a library was built without (Curve448,
//! Brainpool) is found out by asking it, once, and refused by name.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::OnceLock;

use openssl::bn::{BigNum, BigNumContext, BigNumRef};
use openssl::derive::Deriver;
use openssl::dh::Dh;
use openssl::ec::{EcGroup, EcPoint, PointConversionForm};
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use zeroize::Zeroizing;

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

/// The table of groups; groups 22 to 25 are left out on purpose (RFC 8247 §2.4).
fn kind(group: GroupId) -> Result<Kind, Error> {
    let modp = |bits, exponent| Kind::Modp { bits, exponent };
    let ecp = |nid, coordinate| Kind::Ecp { nid, coordinate };
    let montgomery = |id, len| Kind::Montgomery { id, len };
    Ok(match group {
        GroupId::MODP_768 => modp(768, 160),
        GroupId::MODP_1024 => modp(1024, 160),
        GroupId::MODP_1536 => modp(1536, 200),
        GroupId::MODP_2048 => modp(2048, 256),
        GroupId::MODP_3072 => modp(3072, 288),
        GroupId::MODP_4096 => modp(4096, 352),
        GroupId::MODP_6144 => modp(6144, 384),
        GroupId::MODP_8192 => modp(8192, 416),
        GroupId::ECP_256 => ecp(Nid::X9_62_PRIME256V1, 32),
        GroupId::ECP_384 => ecp(Nid::SECP384R1, 48),
        GroupId::ECP_521 => ecp(Nid::SECP521R1, 66),
        GroupId::ECP_224 => ecp(Nid::SECP224R1, 28),
        GroupId::BRAINPOOL_P224R1 => ecp(Nid::BRAINPOOL_P224R1, 28),
        GroupId::BRAINPOOL_P256R1 => ecp(Nid::BRAINPOOL_P256R1, 32),
        GroupId::BRAINPOOL_P384R1 => ecp(Nid::BRAINPOOL_P384R1, 48),
        GroupId::BRAINPOOL_P512R1 => ecp(Nid::BRAINPOOL_P512R1, 64),
        GroupId::CURVE25519 => montgomery(Id::X25519.as_raw(), 32),
        GroupId::CURVE448 => montgomery(NID_X448, 56),
        _ => return Err(Error::Unsupported(group.to_string())),
    })
}

/// Whether the group is computed here, and by the library at hand.
pub fn supported(group: GroupId) -> bool {
    static X448: OnceLock<bool> = OnceLock::new();
    match kind(group) {
        Err(_) => false,
        Ok(Kind::Modp { .. }) => true,
        Ok(Kind::Ecp { nid, .. }) => with_curve(nid, |_, _| Ok(())).is_ok(),
        Ok(Kind::Montgomery { id: NID_X448, len }) => *X448.get_or_init(|| {
            PKey::private_key_from_raw_bytes(&vec![1; len], Id::from_raw(NID_X448)).is_ok()
        }),
        Ok(Kind::Montgomery { .. }) => true,
    }
}

/// Octets of a public value of this group on the wire (RFC 7296 §3.4, RFC 5903 §7, RFC 8031 §2); `None`
/// if it is not computed here.
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
    Modp { exponent: Secret, bits: u16 },
    Ecp { scalar: Secret, nid: Nid, coordinate: usize },
    Montgomery { key: PKey<Private>, id: i32, len: usize },
}

impl KeyExchange {
    /// A fresh private value and its public value.
    ///
    /// # Errors
    ///
    /// A group that is not computed here (by its name), or the library failing.
    pub fn generate(group: GroupId, random: &mut dyn Random) -> Result<Self, Error> {
        let kind = kind(group)?;
        let len = match kind {
            Kind::Modp { exponent, .. } => usize::from(exponent) / 8,
            // 64 bits more than the order make the reduction's bias vanish (FIPS 186-5 A.2.1).
            Kind::Ecp { coordinate, .. } => coordinate + 8,
            Kind::Montgomery { len, .. } => len,
        };
        let mut octets = Zeroizing::new(vec![0; len]);
        random.fill(&mut octets);
        if let Kind::Modp { .. } = kind {
            // Never zero or one, and always of full length.
            octets[0] |= 0x80;
        }
        if let Kind::Ecp { nid, .. } = kind {
            octets = with_curve(nid, |curve, ctx| reduce(&octets, curve, ctx))
                .map_err(|_| Error::Unsupported(group.to_string()))?;
        }
        Self::from_private(group, &octets)
    }

    /// From the octets of a private value: a MODP exponent, a scalar below the curve's order, or the
    /// raw private key of a Montgomery curve.
    ///
    /// # Errors
    ///
    /// As [`KeyExchange::generate`]; a private value that is zero or out of range.
    pub fn from_private(group: GroupId, private: &[u8]) -> Result<Self, Error> {
        let (private, public) = match kind(group)? {
            Kind::Modp { bits, .. } => {
                let public = power(&BigNum::from_u32(2)?, private, bits)?;
                (PrivateValue::Modp { exponent: private.into(), bits }, public.octets().into())
            }
            Kind::Ecp { nid, coordinate } => {
                let public = with_curve(nid, |curve, ctx| {
                    let scalar = Scalar::new(private)?;
                    let mut point = EcPoint::new(curve)?;
                    point.mul_generator2(curve, &scalar.0, ctx)?;
                    point_octets(&point, curve, ctx)
                })
                .map_err(|error| match error {
                    Error::Library(_) => Error::Unsupported(group.to_string()),
                    error => error,
                })?;
                let scalar = private.into();
                (PrivateValue::Ecp { scalar, nid, coordinate }, public[1..].into())
            }
            Kind::Montgomery { id, len } => {
                let key = PKey::private_key_from_raw_bytes(private, Id::from_raw(id))
                    .map_err(|_| Error::Unsupported(group.to_string()))?;
                let public = key.raw_public_key()?.into();
                (PrivateValue::Montgomery { key, id, len }, public)
            }
        };
        Ok(Self { group, private, public })
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
        let shared = if Some(peer.len()) == public_len(self.group) {
            match &self.private {
                PrivateValue::Modp { exponent, bits } => modp(exponent, *bits, peer)?,
                PrivateValue::Ecp { scalar, nid, coordinate } => {
                    ecp(scalar, *nid, *coordinate, peer)?
                }
                PrivateValue::Montgomery { key, id, len } => montgomery(key, *id, *len, peer)?,
            }
        } else {
            Err("it has the wrong length")
        };
        shared.map_err(|reason| Error::BadPublicValue { group: self.group.to_string(), reason })
    }
}

/// A shared secret, or what is wrong with the peer's public value.
type Shared = Result<Secret, &'static str>;

/// `g^ir`, padded to the prime (RFC 7296 §2.14).
fn modp(exponent: &Secret, bits: u16, peer: &[u8]) -> Result<Shared, Error> {
    let value = BigNum::from_slice(peer)?;
    let mut top = prime(bits)?;
    top.sub_word(1)?;
    if value.num_bits() < 2 || value >= top {
        return Ok(Err("it is not between 1 and the prime less one"));
    }
    Ok(Ok(power(&value, exponent.octets(), bits)?))
}

/// The x coordinate of the shared point (RFC 5903 §9).
fn ecp(scalar: &Secret, nid: Nid, coordinate: usize, peer: &[u8]) -> Result<Shared, Error> {
    with_curve(nid, |curve, ctx| {
        let mut encoded = Vec::with_capacity(1 + peer.len());
        encoded.push(UNCOMPRESSED);
        encoded.extend(peer);
        // The library refuses coordinates beyond the field and a point that is not on the curve.
        let Ok(point) = EcPoint::from_bytes(curve, &encoded, ctx) else {
            return Ok(Err("the point is not on the curve"));
        };
        let scalar = Scalar::new(scalar.octets())?;
        let mut shared = EcPoint::new(curve)?;
        shared.mul2(curve, &point, &scalar.0, ctx)?;
        if shared.is_infinity(curve) {
            return Ok(Err("the shared point is at infinity"));
        }
        let octets = point_octets(&shared, curve, ctx)?;
        Ok(Ok(Secret::from(&octets[1..=coordinate])))
    })
}

fn montgomery(key: &PKey<Private>, id: i32, len: usize, peer: &[u8]) -> Result<Shared, Error> {
    let peer = PKey::public_key_from_raw_bytes(peer, Id::from_raw(id))?;
    let mut deriver = Deriver::new(key)?;
    deriver.set_peer(&peer)?;
    let mut shared = Zeroizing::new(vec![0; len]);
    // An all-zero result is refused by the library and, should one not, here (RFC 8031 §2).
    let derived = deriver.derive(&mut shared).is_ok();
    if !derived || openssl::memcmp::eq(&shared, &vec![0; len]) {
        return Ok(Err("it is a point of small order"));
    }
    Ok(Ok(Secret::from(&shared[..])))
}

/// `base ^ exponent`, padded to the length of the prime.
///
/// The library is asked for a public value with `base` as the generator: of its calls for powers this is
/// the one that runs in constant time and pads nothing in OpenSSL and LibreSSL alike.
fn power(base: &BigNum, exponent: &[u8], bits: u16) -> Result<Secret, Error> {
    let params = Dh::from_pqg(prime(bits)?, None, BigNumRef::to_owned(base)?)?;
    let key = params.set_private_key(BigNum::from_slice(exponent)?)?;
    Ok(Secret::new(key.public_key().to_vec_padded(i32::from(bits / 8))?))
}

/// The primes of RFC 2409 §6 and RFC 3526, by their length.
fn prime(bits: u16) -> Result<BigNum, Error> {
    Ok(match bits {
        768 => BigNum::get_rfc2409_prime_768()?,
        1024 => BigNum::get_rfc2409_prime_1024()?,
        1536 => BigNum::get_rfc3526_prime_1536()?,
        2048 => BigNum::get_rfc3526_prime_2048()?,
        3072 => BigNum::get_rfc3526_prime_3072()?,
        4096 => BigNum::get_rfc3526_prime_4096()?,
        6144 => BigNum::get_rfc3526_prime_6144()?,
        _ => BigNum::get_rfc3526_prime_8192()?,
    })
}

/// A secret number, wiped when dropped.
struct Scalar(BigNum);

impl Scalar {
    fn new(octets: &[u8]) -> Result<Self, Error> {
        Ok(Self(BigNum::from_slice(octets)?))
    }
}

impl Drop for Scalar {
    fn drop(&mut self) {
        self.0.clear();
    }
}

/// `octets mod (order - 1) + 1`: a scalar from 1 to order less one.
fn reduce(
    octets: &[u8],
    curve: &EcGroup,
    ctx: &mut BigNumContext,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut order = BigNum::new()?;
    curve.order(&mut order, ctx)?;
    order.sub_word(1)?;
    let (seed, mut scalar) = (Scalar::new(octets)?, Scalar(BigNum::new()?));
    scalar.0.nnmod(&seed.0, &order, ctx)?;
    scalar.0.add_word(1)?;
    Ok(Zeroizing::new(scalar.0.to_vec_padded(order.num_bytes())?))
}

/// Runs a computation on a curve. Curves are kept: to set one up costs as much as to use it.
fn with_curve<T>(
    nid: Nid,
    run: impl FnOnce(&EcGroup, &mut BigNumContext) -> Result<T, Error>,
) -> Result<T, Error> {
    thread_local! {
        static CURVES: RefCell<Vec<(Nid, Rc<EcGroup>)>> = const { RefCell::new(Vec::new()) };
    }
    let known = CURVES.with_borrow(|curves| {
        curves.iter().find(|(known, _)| *known == nid).map(|(_, curve)| curve.clone())
    });
    let curve = match known {
        Some(curve) => curve,
        None => {
            let curve = Rc::new(EcGroup::from_curve_name(nid)?);
            CURVES.with_borrow_mut(|curves| curves.push((nid, curve.clone())));
            curve
        }
    };
    run(&curve, &mut BigNumContext::new()?)
}

/// First octet of an encoded point with both coordinates (SEC 1 §2.3.3); not on the wire of IKE.
const UNCOMPRESSED: u8 = 4;

/// The point as [`UNCOMPRESSED`] and its two coordinates.
fn point_octets(
    point: &EcPoint,
    curve: &EcGroup,
    ctx: &mut BigNumContext,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    if point.is_infinity(curve) {
        return Err(Error::BadLength);
    }
    Ok(Zeroizing::new(point.to_bytes(curve, PointConversionForm::UNCOMPRESSED, ctx)?))
}
