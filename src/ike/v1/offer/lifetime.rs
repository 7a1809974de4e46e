//! Lifetimes, in seconds and kilobytes: of phase 2 (RFC 2407 §4.5), and of phase 1 (RFC 2409, appendix A).

use crate::conf::Lifetime;
use crate::wire::attribute::Attribute;
use crate::wire::iana::v1::{IpsecAttribute, LifeType};

/// Octets in a kilobyte of a lifetime (RFC 2407 §4.5).
const KILOBYTE: u64 = 1024;

/// The smaller of two lifetimes; zero is no limit.
pub fn shorter(one: Lifetime, other: Lifetime) -> Lifetime {
    let least = |one: u64, other: u64| match (one, other) {
        (0, other) => other,
        (one, 0) => one,
        (one, other) => one.min(other),
    };
    let seconds = least(one.seconds.into(), other.seconds.into());
    Lifetime {
        seconds: u32::try_from(seconds).unwrap_or(u32::MAX),
        bytes: least(one.bytes, other.bytes),
    }
}

/// A lifetime as RESPONDER-LIFETIME carries it.
pub fn lifetime_attributes(lifetime: Lifetime) -> Vec<Attribute> {
    let mut attributes = Vec::new();
    let mut add = |unit: LifeType, number: u64| {
        attributes.push(Attribute::short(IpsecAttribute::SA_LIFE_TYPE.0, unit.0));
        attributes.push(Attribute::number(IpsecAttribute::SA_LIFE_DURATION.0, number));
    };
    if lifetime.seconds != 0 {
        add(LifeType::SECONDS, lifetime.seconds.into());
    }
    if lifetime.bytes != 0 {
        add(LifeType::KILOBYTES, (lifetime.bytes / KILOBYTE).max(1));
    }
    attributes
}

/// The lifetimes that a peer names.
pub fn lifetime(said: &[(LifeType, u64)]) -> Lifetime {
    let of = |unit| said.iter().find(|(it, number)| *it == unit && *number != 0).map(|it| it.1);
    let seconds = of(LifeType::SECONDS).unwrap_or(0);
    Lifetime {
        seconds: u32::try_from(seconds).unwrap_or(u32::MAX),
        bytes: of(LifeType::KILOBYTES).unwrap_or(0).saturating_mul(KILOBYTE),
    }
}
