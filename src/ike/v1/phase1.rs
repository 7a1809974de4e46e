//! What Main Mode and Aggressive Mode share before there are keys: what is agreed on, what is told, the end.
//! Then [`proof`](super::proof) goes on.

use std::net::SocketAddr;

use super::hash;
use super::keys::Cookies;
use super::method::Method;
use super::offer::{self, Phase1Choice};
use super::rules::{Bag, Proof};
use super::vendor::{Abilities, NatT};
use super::{Came, Next, Stage};
use crate::conf::{self, Policy};
use crate::crypto::{KeyExchange, Secret};
use crate::ike::core::Core;
use crate::ike::frame::Frame;
use crate::ike::id;
use crate::ike::natt::Nat;
use crate::ike::report::{Event, Gone};
use crate::wire::iana::v1::{CertEncoding, ExchangeType, IdType};
use crate::wire::iana::{v2, vendor};
use crate::wire::v1::{CertReq, Id, Payload, Sa};
use crate::wire::v2::Id as Neutral;

/// Octets of our nonces.
pub const NONCE_LEN: usize = 32;

/// What is agreed on before there are keys.
#[derive(Debug)]
pub struct Opening {
    /// Main or Aggressive.
    pub mode: conf::Phase1,
    /// Algorithms and manner of proof.
    pub choice: Phase1Choice,
    /// The body of the initiator's SA payload as it travelled.
    pub sa: Vec<u8>,
    /// What the peer can do.
    pub abilities: Abilities,
}

/// What the key exchange gave.
#[derive(Debug)]
pub struct Exchanged {
    /// Both public values, the initiator's first.
    pub publics: (Vec<u8>, Vec<u8>),
    /// Both nonces, likewise: with public key encryption nobody else knows them.
    pub nonces: (Secret, Secret),
    /// The shared secret.
    pub shared: Secret,
}

/// The responder's first message chooses from what was offered, and says its cookie.
///
/// # Errors
///
/// What is wrong with the choice, in words.
pub fn chosen(
    frame: &mut Frame,
    came: &Came<'_>,
    bag: &Bag,
    offered: &Sa,
) -> Result<Phase1Choice, String> {
    let chosen = bag.sa.as_ref().ok_or("no SA")?;
    let choice = offer::accept_phase1(offered, chosen)?;
    if came.header.responder.is_zero() {
        return Err("an answer without a cookie of its own".into());
    }
    frame.peer_spi = came.header.responder;
    frame.local.set_ip(came.local.ip());
    Ok(choice)
}

/// The vendor IDs that we send.
pub fn vendors(core: &Core, policy: &Policy) -> impl Iterator<Item = Payload> + use<> {
    let all = [vendor::NAT_T, vendor::NAT_T_03, vendor::NAT_T_02N, vendor::NAT_T_02, vendor::DPD];
    let fragmentation = core.globals.fragmentation.then_some(vendor::FRAGMENTATION);
    let xauth = policy.ike1.xauth.is_some().then_some(vendor::XAUTH);
    let configured = !policy.provision.is_empty() || !policy.wanted.is_empty();
    let unity = configured.then_some(vendor::UNITY);
    let all = all.into_iter().chain(fragmentation).chain(xauth).chain(unity);
    all.map(|octets| Payload::Vendor(octets.to_vec()))
}

/// The most authorities that are named to a peer.
const MOST_AUTHORITIES: usize = 8;

/// The wish for the peer's certificate where the peer signs, as some send theirs only when asked: by each
/// authority that we trust (RFC 2408 §3.10), or by whomever where they are many or none.
pub fn certificate_requests(frame: &Frame, core: &Core, method: &Method) -> Vec<Payload> {
    if method.proof(!frame.initiator) != Proof::Signature {
        return Vec::new();
    }
    let known = core.trust.authorities.iter().map(|(_, name)| name.clone());
    let mut names: Vec<Vec<u8>> = known.collect();
    names.dedup();
    if names.is_empty() || names.len() > MOST_AUTHORITIES {
        names = vec![Vec::new()];
    }
    let encoding = CertEncoding::X509_SIGNATURE;
    let request = |authority| Payload::CertReq(CertReq { encoding, authority });
    names.into_iter().map(request).collect()
}

/// What the peer's vendor IDs promise. From then on messages may be cut.
pub fn abilities(frame: &mut Frame, core: &Core, bag: &Bag) -> Abilities {
    let abilities = Abilities::of(bag.vendors.iter().map(Vec::as_slice));
    frame.fragments.able(core, abilities.fragmentation);
    abilities
}

/// The exchange of a mode.
pub fn exchange(mode: conf::Phase1) -> ExchangeType {
    match mode {
        conf::Phase1::Main => ExchangeType::IDENTITY_PROTECTION,
        conf::Phase1::Aggressive => ExchangeType::AGGRESSIVE,
    }
}

/// The cookies of an SA.
pub fn cookies(frame: &Frame) -> Cookies {
    let (initiator, responder) = frame.spis();
    Cookies(initiator, responder)
}

/// Our identity as it travels.
pub fn own_id(frame: &Frame) -> Id {
    let own = id::ours(&frame.policy, frame.local.ip());
    Id { id_type: IdType(own.id_type.0), protocol: 0, port: 0, data: own.data }
}

/// An identity without what only IKEv1 has in it; the numbers of the types are the same.
pub fn neutral(id: &Id) -> Neutral {
    Neutral { id_type: v2::IdType(id.id_type.0), data: id.data.clone() }
}

/// The NAT-D payloads of a message of ours: the peer's address, then our own (RFC 3947 §3.2).
pub fn nat_d(frame: &Frame, opening: &Opening) -> Vec<Payload> {
    let (Some(spoken), Ok(prf)) = (opening.abilities.nat_t, opening.choice.suite.prf()) else {
        return Vec::new();
    };
    let mut source = frame.local;
    // Where encapsulation is forced, a false source makes the peer see a NAT.
    if frame.policy.force_natt {
        source.set_port(0);
    }
    let payload = |address: SocketAddr| Payload::NatD {
        draft: spoken == NatT::Draft,
        hash: hash::nat_d(prf.hash(), cookies(frame), address),
    };
    vec![payload(frame.remote), payload(source)]
}

/// What the peer's NAT-D payloads tell of NATs on the way.
pub fn detect(frame: &mut Frame, core: &mut Core, opening: &Opening, bag: &Bag) {
    let (Some(_), Ok(prf)) = (opening.abilities.nat_t, opening.choice.suite.prf()) else { return };
    let Some((ours, peers)) = bag.nat_d.split_first() else { return };
    let hashed = |address| hash::nat_d(prf.hash(), cookies(frame), address);
    let nat =
        Nat { local: *ours != hashed(frame.local), remote: !peers.contains(&hashed(frame.remote)) };
    frame.nat = nat;
    if nat.found() {
        frame.report(core, Event::NatFound { local: nat.local, remote: nat.remote });
    }
}

/// The initiator goes on over the other port when there is a NAT (RFC 3947 §4).
pub fn float(frame: &mut Frame, core: &Core, opening: &Opening) {
    let (plain, encapsulated) = core.settings.ports;
    let wanted = frame.nat.found() || frame.policy.force_natt;
    if opening.abilities.nat_t.is_some() && wanted && frame.remote.port() == plain {
        frame.local.set_port(encapsulated);
        frame.remote.set_port(encapsulated);
    }
}

impl Exchanged {
    /// Computes the shared secret of our half and the peer's.
    ///
    /// # Errors
    ///
    /// A public value that is none of the group's.
    pub fn new(
        initiator: bool,
        kex: KeyExchange,
        own_nonce: Secret,
        (ke, nonce): (Vec<u8>, Secret),
    ) -> Result<Self, String> {
        let own = kex.public().to_vec();
        let shared = kex.shared(&ke).map_err(|error| error.to_string())?;
        let (publics, nonces) = match initiator {
            true => ((own, ke), (own_nonce, nonce)),
            false => ((ke, own), (nonce, own_nonce)),
        };
        Ok(Self { publics, nonces, shared })
    }
}

/// The negotiation failed.
pub fn fail(frame: &mut Frame, core: &mut Core, event: Event) -> Next {
    frame.report(core, event);
    frame.close(core, Gone::Failed);
    Stage::Gone.into()
}
