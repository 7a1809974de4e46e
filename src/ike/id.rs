//! Identities: what we say we are, what the peer must say (RFC 7296 §3.5).

use std::borrow::Cow;
use std::net::IpAddr;

use crate::conf::{Identity, Policy};
use crate::wire::dn;
use crate::wire::iana::v2::IdType;
use crate::wire::v2::Id;

/// The identity that is an address.
pub fn of_address(address: IpAddr) -> Id {
    match address {
        IpAddr::V4(v4) => Id { id_type: IdType::ID_IPV4_ADDR, data: v4.octets().to_vec() },
        IpAddr::V6(v6) => Id { id_type: IdType::ID_IPV6_ADDR, data: v6.octets().to_vec() },
    }
}

/// A configured identity as it goes on the wire.
pub fn of_identity(identity: &Identity) -> Id {
    Id { id_type: identity.id_type, data: identity.data.clone() }
}

/// An identity from the wire as the configuration writes it.
pub fn to_identity(id: &Id) -> Identity {
    Identity { id_type: id.id_type, data: id.data.clone() }
}

/// What we call ourselves under a policy: its `srcid`, else our address.
pub fn ours(policy: &Policy, local: IpAddr) -> Id {
    policy.local_id.as_ref().map_or_else(|| of_address(local), of_identity)
}

/// What the peer must call itself: the policy's `dstid`, else its configured address; anything
/// when the policy is for any peer.
pub fn expected(policy: &Policy) -> Option<Id> {
    match (&policy.remote_id, policy.peer.and_then(|peer| peer.as_host())) {
        (Some(identity), _) => Some(of_identity(identity)),
        (None, Some(host)) => Some(of_address(host)),
        (None, None) => None,
    }
}

/// Whether the peer may call itself so. Names are compared without regard to case, as DNS does, and distinguished
/// names as RFC 5280 §7.1 has it.
pub fn accepts(policy: &Policy, said: &Id) -> bool {
    expected(policy).is_none_or(|wanted| same(&wanted, said))
}

/// Whether two identities are the same.
pub fn same(one: &Id, other: &Id) -> bool {
    one.id_type == other.id_type && (one.data == other.data || folded(one) == folded(other))
}

/// The octets of an identity, alike for all that are the same.
pub fn folded(id: &Id) -> Cow<'_, [u8]> {
    let other = match id.id_type {
        IdType::ID_FQDN | IdType::ID_RFC822_ADDR => Some(id.data.to_ascii_lowercase()),
        IdType::ID_DER_ASN1_DN => dn::folded(&id.data),
        _ => None,
    };
    other.map_or(Cow::Borrowed(&id.data), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fold_case_and_keys_do_not() {
        let id = |id_type, text: &str| Id { id_type, data: text.as_bytes().to_vec() };
        assert!(same(&id(IdType::ID_FQDN, "a.EXAMPLE"), &id(IdType::ID_FQDN, "A.example")));
        assert!(!same(&id(IdType::ID_KEY_ID, "a"), &id(IdType::ID_KEY_ID, "A")));
        assert!(!same(&id(IdType::ID_FQDN, "a"), &id(IdType::ID_KEY_ID, "a")));
    }
}
