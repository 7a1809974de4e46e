//! Proposals of IKEv1: transforms made from a policy's proposals, and one chosen from a peer's.
//!
//! Each transform is one whole suite. It is turned into a proposal of single transforms, as the
//! neutral [`proposal`] has them, which then chooses, or says what did not match.

use std::time::Duration;

use super::algorithms;
use super::method::Method;
use crate::conf::{Lifetime, Mode, Policy, Proposal, SaProtocol};
use crate::crypto::{ChildSuite, IkeSuite, kex};
use crate::ike::proposal::{self, Kind};
use crate::ike::report::Disagreement;
use crate::wire::attribute::Attribute;
use crate::wire::iana::v1::{
    AhTransform, AuthMethod, EncapsulationMode, EncryptionId, EspTransform, HashId, IkeAttribute,
    IntegrityId, IpsecAttribute, IsakmpTransform, LifeType, ProtocolId,
};
use crate::wire::iana::v2::{self, GroupId, TransformType};
use crate::wire::v1::{Proposal as WireProposal, Sa, Transform};
use crate::wire::v2::sa::{Proposal as Offer, Transform as Part};
use crate::wire::{EspSpi, Spi};

/// Octets in a kilobyte of a lifetime (RFC 2407 §4.5).
const KILOBYTE: u64 = 1024;

/// The most transforms of a peer that are looked at: what a transform number can count.
const MOST: usize = 255;

/// Phase 1 as it was agreed on.
#[derive(Debug, Clone)]
pub struct Phase1Choice {
    /// The algorithms; the PRF is HMAC with the hash.
    pub suite: IkeSuite,
    /// How the sides prove who they are.
    pub method: Method,
    /// The lifetime that the peer wants.
    pub lifetime: Option<Duration>,
    /// The answer: one proposal with one transform.
    pub answer: Sa,
}

/// Phase 2 as it was agreed on.
#[derive(Debug, Clone)]
pub struct Phase2Choice {
    /// The algorithms.
    pub suite: ChildSuite,
    /// The SPI of what we send.
    pub spi_out: EspSpi,
    /// The peer's lifetime; zero where it says none.
    pub lifetime: Lifetime,
    /// The answer, still without our SPI.
    pub answer: WireProposal,
}

/// How packets are encapsulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encapsulation {
    /// Tunnel or transport.
    pub mode: Mode,
    /// Within UDP, and whether by the numbers of the drafts.
    pub udp: Option<bool>,
}

impl Encapsulation {
    /// Its number.
    pub fn id(self) -> EncapsulationMode {
        match (self.mode, self.udp) {
            (Mode::Tunnel, None) => EncapsulationMode::TUNNEL,
            (Mode::Transport, None) => EncapsulationMode::TRANSPORT,
            (Mode::Tunnel, Some(false)) => EncapsulationMode::UDP_TUNNEL,
            (Mode::Transport, Some(false)) => EncapsulationMode::UDP_TRANSPORT,
            (Mode::Tunnel, Some(true)) => EncapsulationMode::UDP_TUNNEL_DRAFT,
            (Mode::Transport, Some(true)) => EncapsulationMode::UDP_TRANSPORT_DRAFT,
        }
    }
}

/// What we offer for phase 1, each transform with this way of authentication.
pub fn phase1(policy: &Policy, method: AuthMethod) -> Sa {
    let mut transforms = Vec::new();
    for suite in policy.ike_proposals.iter().flat_map(ike_suites) {
        let Some(attributes) = ike_attributes(&suite, method, policy.ike_lifetime) else {
            continue;
        };
        let Ok(number) = u8::try_from(transforms.len() + 1) else { break };
        transforms.push(Transform { number, id: IsakmpTransform::KEY_IKE.0, attributes });
    }
    let (number, protocol) = (1, ProtocolId::ISAKMP);
    Sa { proposals: vec![WireProposal { number, protocol, spi: Spi::None, transforms }] }
}

/// Chooses from what the peer offers for phase 1.
///
/// # Errors
///
/// What each side allows, and the item that did not match.
pub fn choose_phase1(
    policy: &Policy,
    methods: &[AuthMethod],
    theirs: &Sa,
) -> Result<Phase1Choice, Box<Disagreement>> {
    let isakmp = theirs.proposals.iter().filter(|it| it.protocol == ProtocolId::ISAKMP);
    let all: Vec<_> = isakmp
        .flat_map(|it| it.transforms.iter().map(move |transform| (it, transform)))
        .take(MOST)
        .collect();
    let method_of = |transform: &Transform| {
        let number = transform.ike(IkeAttribute::AUTHENTICATION_METHOD)?;
        u16::try_from(number).ok().map(AuthMethod)
    };
    let fits = |(_, transform): &&(&WireProposal, &Transform)| {
        method_of(transform).is_some_and(|method| methods.contains(&method))
    };
    let offers = |list: &[&(&WireProposal, &Transform)]| -> Vec<Offer> {
        (1u8..).zip(list).map(|(number, (_, it))| ike_offer(number, it)).collect()
    };
    let fitting: Vec<_> = all.iter().filter(fits).collect();
    let ours = single(&policy.ike_proposals);
    if fitting.is_empty() && !all.is_empty() {
        let said: Vec<_> = all.iter().filter_map(|(_, it)| method_of(it)).collect();
        return Err(other_method(policy, methods, &said, &offers(&all.iter().collect::<Vec<_>>())));
    }
    let chosen = proposal::choose_ike(&ours, &offers(&fitting), None).map_err(|mut it| {
        it.about = "the proposal of phase 1".into();
        it.advice = advice("main or aggressive");
        it
    })?;
    let at = usize::from(chosen.answer.number).saturating_sub(1);
    let found = fitting.get(at).and_then(|(proposal, transform)| {
        Some((proposal, transform, method_of(transform).and_then(Method::of)?))
    });
    let Some((proposal, transform, method)) = found else {
        return Err(other_method(policy, methods, &[], &[]));
    };
    let proposal = WireProposal { transforms: vec![(*transform).clone()], ..(*proposal).clone() };
    Ok(Phase1Choice {
        suite: chosen.suite,
        method,
        lifetime: seconds(&transform.ike_lifetimes()),
        answer: Sa { proposals: vec![proposal] },
    })
}

/// Checks what the peer chose of our offer for phase 1.
///
/// # Errors
///
/// How it breaks the protocol.
pub fn accept_phase1(offered: &Sa, answer: &Sa) -> Result<Phase1Choice, String> {
    let [proposal] = answer.proposals.as_slice() else {
        return Err(format!("{} proposals in the answer instead of one", answer.proposals.len()));
    };
    let [transform] = proposal.transforms.as_slice() else {
        let count = proposal.transforms.len();
        return Err(format!("{count} transforms in the answer instead of one"));
    };
    let suite =
        |it: &Transform| (ike_offer(0, it).transforms, it.ike(IkeAttribute::AUTHENTICATION_METHOD));
    let ours = offered.proposals.iter().flat_map(|it| &it.transforms);
    if !ours.into_iter().any(|it| suite(it) == suite(transform)) {
        let chosen = proposal::printed(&[ike_offer(0, transform)]).join("");
        return Err(format!("the peer chose {chosen}, which we did not offer"));
    }
    let mine = ike_offer(1, transform);
    let mine = std::slice::from_ref(&mine);
    let (suite, _) = proposal::accept_ike(mine, mine)?;
    let method = transform.ike(IkeAttribute::AUTHENTICATION_METHOD);
    let method = method.and_then(|it| Method::of(AuthMethod(u16::try_from(it).ok()?)));
    Ok(Phase1Choice {
        suite,
        method: method.ok_or("a method of authentication that is not spoken here")?,
        lifetime: seconds(&transform.ike_lifetimes()),
        answer: answer.clone(),
    })
}

/// What we offer for phase 2: a proposal for each of ours, in which all transforms have the same
/// group (RFC 2409 §5.5).
pub fn phase2(
    ours: &[Proposal],
    protocol: SaProtocol,
    encapsulation: Encapsulation,
    lifetime: Lifetime,
    spi: EspSpi,
) -> Sa {
    let group = pfs_group(ours);
    let proposals = (1u8..).zip(ours).map(|(number, proposal)| {
        let suites = child_suites(proposal).into_iter();
        let all = suites.filter_map(|suite| {
            let suite = ChildSuite { group, ..suite };
            child_transform(&suite, protocol, encapsulation, lifetime)
        });
        let transforms = (1u8..)
            .zip(all)
            .map(|(number, (id, attributes))| Transform { number, id, attributes })
            .collect();
        WireProposal { number, protocol: protocol_id(protocol), spi: Spi::Child(spi), transforms }
    });
    Sa { proposals: proposals.filter(|it| !it.transforms.is_empty()).collect() }
}

/// The group of the key exchange of phase 2.
pub fn pfs_group(ours: &[Proposal]) -> Option<GroupId> {
    let groups = ours.iter().flat_map(|proposal| proposal.groups.iter().copied());
    groups.into_iter().find(|group| kex::supported(*group))
}

/// Chooses from what the peer offers for phase 2; `group` is that of its public value.
///
/// # Errors
///
/// What each side allows, and the item that did not match.
pub fn choose_phase2(
    ours: &[Proposal],
    protocol: SaProtocol,
    encapsulation: Encapsulation,
    theirs: &Sa,
) -> Result<Phase2Choice, Box<Disagreement>> {
    let wanted = protocol_id(protocol);
    // Protocols under one number are wanted together.
    let alone = |it: &&WireProposal| {
        theirs.proposals.iter().filter(|other| other.number == it.number).count() == 1
    };
    let fits = |transform: &Transform| {
        let mode = transform.ipsec(IpsecAttribute::ENCAPSULATION_MODE);
        encapsulation_fits(encapsulation, mode)
    };
    let all: Vec<_> = theirs
        .proposals
        .iter()
        .filter(|it| it.protocol == wanted)
        .filter(alone)
        .flat_map(|it| it.transforms.iter().map(move |transform| (it, transform)))
        .take(MOST)
        .collect();
    let fitting: Vec<_> = all.iter().filter(|(_, transform)| fits(transform)).collect();
    let offers = |list: &[&(&WireProposal, &Transform)]| -> Vec<Offer> {
        let numbered = (1u8..).zip(list);
        numbered.map(|(number, (it, transform))| child_offer(number, it, transform)).collect()
    };
    if all.is_empty() || fitting.is_empty() {
        return Err(nothing_fits(ours, protocol, encapsulation, theirs, &all));
    }
    let kind = Kind::Child(protocol);
    let chosen = proposal::choose_child(ours, &offers(&fitting), kind, None);
    let (chosen, spi_out) = chosen.map_err(|mut it| {
        it.about = "the proposal of phase 2".into();
        it.advice = advice("quick");
        it
    })?;
    let at = usize::from(chosen.answer.number).saturating_sub(1);
    let Some((proposal, transform)) = fitting.get(at) else {
        return Err(nothing_fits(ours, protocol, encapsulation, theirs, &all));
    };
    Ok(Phase2Choice {
        suite: chosen.suite,
        spi_out,
        lifetime: lifetime(&transform.ipsec_lifetimes()),
        answer: WireProposal { transforms: vec![(*transform).clone()], ..(*proposal).clone() },
    })
}

/// Checks what the peer chose of our offer for phase 2.
///
/// # Errors
///
/// How it breaks the protocol.
pub fn accept_phase2(offered: &Sa, answer: &Sa) -> Result<Phase2Choice, String> {
    let [proposal] = answer.proposals.as_slice() else {
        return Err(format!("{} proposals in the answer instead of one", answer.proposals.len()));
    };
    let [transform] = proposal.transforms.as_slice() else {
        let count = proposal.transforms.len();
        return Err(format!("{count} transforms in the answer instead of one"));
    };
    let suite = |it: &WireProposal, transform: &Transform| {
        let mode = transform.ipsec(IpsecAttribute::ENCAPSULATION_MODE);
        (it.protocol, child_offer(0, it, transform).transforms, mode)
    };
    let mut ours = offered
        .proposals
        .iter()
        .flat_map(|it| it.transforms.iter().map(move |transform| suite(it, transform)));
    if !ours.any(|ours| ours == suite(proposal, transform)) {
        let chosen = proposal::printed(&[child_offer(0, proposal, transform)]).join("");
        return Err(format!("the peer chose {chosen}, which we did not offer"));
    }
    let mine = child_offer(1, proposal, transform);
    let mine = std::slice::from_ref(&mine);
    let (suite, spi_out) = proposal::accept_child(mine, mine)?;
    Ok(Phase2Choice {
        suite,
        spi_out,
        lifetime: lifetime(&transform.ipsec_lifetimes()),
        answer: proposal.clone(),
    })
}

/// Proposals for people, a line for each transform.
pub fn printed(sa: &Sa) -> Vec<String> {
    let lines = sa.proposals.iter().flat_map(|it| {
        it.transforms.iter().map(move |transform| match it.protocol {
            ProtocolId::ISAKMP => ike_offer(0, transform),
            _ => child_offer(0, it, transform),
        })
    });
    proposal::printed(&lines.take(MOST).collect::<Vec<_>>())
}

/// The number of a protocol.
pub fn protocol_id(protocol: SaProtocol) -> ProtocolId {
    match protocol {
        SaProtocol::Esp => ProtocolId::IPSEC_ESP,
        SaProtocol::Ah => ProtocolId::IPSEC_AH,
    }
}

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

/// The lifetimes of phase 2 that a peer names.
pub fn lifetime(said: &[(LifeType, u64)]) -> Lifetime {
    let of = |unit| said.iter().find(|(it, number)| *it == unit && *number != 0).map(|it| it.1);
    let seconds = of(LifeType::SECONDS).unwrap_or(0);
    Lifetime {
        seconds: u32::try_from(seconds).unwrap_or(u32::MAX),
        bytes: of(LifeType::KILOBYTES).unwrap_or(0).saturating_mul(KILOBYTE),
    }
}

fn seconds(said: &[(LifeType, u64)]) -> Option<Duration> {
    let found = said.iter().find(|(unit, number)| *unit == LifeType::SECONDS && *number != 0);
    found.map(|(_, number)| Duration::from_secs(*number))
}

/// The suites that a proposal of ours stands for.
fn ike_suites(proposal: &Proposal) -> Vec<IkeSuite> {
    let mut suites = Vec::new();
    for &group in proposal.groups.iter().filter(|group| kex::supported(**group)) {
        for &encryption in &proposal.encryption {
            for &prf in &proposal.prf {
                suites.push(IkeSuite { encryption, integrity: None, prf, group });
            }
        }
    }
    suites
}

fn child_suites(proposal: &Proposal) -> Vec<ChildSuite> {
    let some = |list: &[v2::IntegrityId]| match list.is_empty() {
        true => vec![None],
        false => list.iter().copied().map(Some).collect::<Vec<_>>(),
    };
    let ciphers = match proposal.encryption.is_empty() {
        true => vec![None],
        false => proposal.encryption.iter().copied().map(Some).collect::<Vec<_>>(),
    };
    let mut suites = Vec::new();
    for encryption in ciphers {
        for integrity in some(&proposal.integrity) {
            suites.push(ChildSuite { encryption, integrity, group: None, esn: false });
        }
    }
    suites
}

/// Our proposals for phase 1 as they are matched; a policy of IKEv1 names no integrity.
fn single(ours: &[Proposal]) -> Vec<Proposal> {
    ours.iter().map(|it| Proposal { integrity: Vec::new(), ..it.clone() }).collect()
}

fn ike_attributes(suite: &IkeSuite, method: AuthMethod, lifetime: u32) -> Option<Vec<Attribute>> {
    let (cipher, bits) = suite.encryption;
    let short = |class: IkeAttribute, value| Attribute::short(class.0, value);
    let cipher = algorithms::ike_cipher_id(cipher)?;
    let mut attributes = vec![short(IkeAttribute::ENCRYPTION_ALGORITHM, cipher.0)];
    attributes.extend(bits.map(|bits| short(IkeAttribute::KEY_LENGTH, bits)));
    attributes.extend([
        short(IkeAttribute::HASH_ALGORITHM, algorithms::hash_id(suite.prf)?.0),
        short(IkeAttribute::GROUP_DESCRIPTION, suite.group.0),
        short(IkeAttribute::AUTHENTICATION_METHOD, method.0),
    ]);
    if lifetime != 0 {
        attributes.push(short(IkeAttribute::LIFE_TYPE, LifeType::SECONDS.0));
        attributes.push(Attribute::number(IkeAttribute::LIFE_DURATION.0, lifetime.into()));
    }
    Some(attributes)
}

/// A number of the peer's that is no algorithm here: it is shown, and never chosen.
fn unknown(transform_type: TransformType, id: u16) -> Part {
    Part::Unknown { transform_type, id, attributes: Vec::new() }
}

fn encryption(known: Option<v2::EncryptionId>, id: u16, said: Option<u64>) -> Part {
    let said = said.and_then(|bits| u16::try_from(bits).ok());
    match known {
        Some(id) => Part::Encr { id, key_bits: algorithms::key_bits(id, said) },
        None => unknown(TransformType::ENCR, id),
    }
}

fn ike_offer(number: u8, transform: &Transform) -> Offer {
    let value = |class| transform.ike(class).and_then(|it| u16::try_from(it).ok());
    let mut parts = Vec::new();
    if let Some(id) = value(IkeAttribute::ENCRYPTION_ALGORITHM) {
        let known = algorithms::ike_cipher(EncryptionId(id));
        parts.push(encryption(known, id, transform.ike(IkeAttribute::KEY_LENGTH)));
    }
    if let Some(id) = value(IkeAttribute::HASH_ALGORITHM) {
        let known = algorithms::hash(HashId(id));
        parts.push(known.map_or(unknown(TransformType::PRF, id), Part::Prf));
    }
    // RFC 2409 §5.6: without a description the first group is meant, unless one is described.
    let described = transform.ike(IkeAttribute::GROUP_TYPE).is_some();
    let group = value(IkeAttribute::GROUP_DESCRIPTION);
    let group = group.or((!described).then_some(GroupId::MODP_768.0));
    parts.extend(group.map(|id| Part::Ke(GroupId(id))));
    Offer { number, protocol: Kind::Ike.protocol(), spi: Spi::None, transforms: parts }
}

fn child_offer(number: u8, proposal: &WireProposal, transform: &Transform) -> Offer {
    let value = |class| transform.ipsec(class).and_then(|it| u16::try_from(it).ok());
    let mut parts = Vec::new();
    let esp = proposal.protocol == ProtocolId::IPSEC_ESP;
    if esp {
        let known = algorithms::esp_cipher(EspTransform(transform.id));
        let said = transform.ipsec(IpsecAttribute::KEY_LENGTH);
        parts.push(encryption(known, transform.id.into(), said));
    }
    if let Some(id) = value(IpsecAttribute::AUTHENTICATION_ALGORITHM) {
        let known = algorithms::integrity(IntegrityId(id));
        // The transform of AH and its attribute say the same (RFC 2407 §4.4.3).
        let agrees = |it: &v2::IntegrityId| {
            let ids = algorithms::integrity_ids(*it);
            esp || ids.is_some_and(|(_, ah)| ah == AhTransform(transform.id))
        };
        let known = known.filter(agrees);
        parts.push(known.map_or(unknown(TransformType::INTEG, id), Part::Integ));
    }
    parts.extend(value(IpsecAttribute::GROUP_DESCRIPTION).map(|id| Part::Ke(GroupId(id))));
    if value(IpsecAttribute::EXTENDED_SEQUENCE_NUMBER) == Some(1) {
        parts.push(Part::Esn(v2::EsnId::ESN));
    }
    let protocol = match esp {
        true => v2::ProtocolId::ESP,
        false => v2::ProtocolId::AH,
    };
    Offer { number, protocol, spi: proposal.spi.clone(), transforms: parts }
}

fn child_transform(
    suite: &ChildSuite,
    protocol: SaProtocol,
    encapsulation: Encapsulation,
    lifetime: Lifetime,
) -> Option<(u8, Vec<Attribute>)> {
    let short = |class: IpsecAttribute, value| Attribute::short(class.0, value);
    let integrity = match suite.integrity {
        Some(id) => Some(algorithms::integrity_ids(id)?),
        None => None,
    };
    let id = match (protocol, suite.encryption) {
        (SaProtocol::Esp, Some((id, _))) => algorithms::esp_cipher_id(id)?.0,
        (SaProtocol::Ah, _) => integrity?.1.0,
        (SaProtocol::Esp, None) => return None,
    };
    let mut attributes = lifetime_attributes(lifetime);
    attributes.push(short(IpsecAttribute::ENCAPSULATION_MODE, encapsulation.id().0));
    if let Some((id, _)) = integrity {
        attributes.push(short(IpsecAttribute::AUTHENTICATION_ALGORITHM, id.0));
    }
    if let Some((_, Some(bits))) = suite.encryption.filter(|_| protocol == SaProtocol::Esp) {
        attributes.push(short(IpsecAttribute::KEY_LENGTH, bits));
    }
    if let Some(group) = suite.group {
        attributes.push(short(IpsecAttribute::GROUP_DESCRIPTION, group.0));
    }
    Some((id, attributes))
}

/// Whether the peer's mode is ours. Some say nothing where they mean a tunnel, and some leave the
/// UDP out of the number.
fn encapsulation_fits(ours: Encapsulation, theirs: Option<u64>) -> bool {
    let plain = Encapsulation { udp: None, ..ours };
    let said = theirs.map(|number| EncapsulationMode(u16::try_from(number).unwrap_or(0)));
    match said {
        None => ours.mode == Mode::Tunnel,
        Some(said) => said == ours.id() || said == plain.id(),
    }
}

fn advice(word: &str) -> String {
    format!(
        "write after `{word}` of this rule what the peer offers, or have the peer offer what we \
         allow"
    )
}

fn other_method(
    policy: &Policy,
    methods: &[AuthMethod],
    said: &[AuthMethod],
    theirs: &[Offer],
) -> Box<Disagreement> {
    let list = |methods: &[AuthMethod]| {
        let mut names: Vec<_> = methods.iter().map(ToString::to_string).collect();
        names.dedup();
        names.join("/")
    };
    let ours = proposal::offer(&policy.ike_proposals, Kind::Ike, &Spi::None);
    let lines = |offers: &[Offer], methods: &str| -> Vec<String> {
        proposal::printed(offers).into_iter().map(|line| format!("{line}, {methods}")).collect()
    };
    Box::new(Disagreement {
        about: "the proposal of phase 1".into(),
        ours: lines(&ours, &list(methods)),
        theirs: lines(theirs, &list(said)),
        mismatch: format!(
            "authentication: we allow {}, the peer offers {}",
            list(methods),
            list(said)
        ),
        advice: "have both sides authenticate in the same way".into(),
    })
}

fn nothing_fits(
    ours: &[Proposal],
    protocol: SaProtocol,
    encapsulation: Encapsulation,
    theirs: &Sa,
    all: &[(&WireProposal, &Transform)],
) -> Box<Disagreement> {
    let kind = Kind::Child(protocol);
    let offered = proposal::offer(ours, kind, &Spi::None);
    let wanted = protocol_id(protocol);
    let (mismatch, advice) = match all.first() {
        Some((_, transform)) => {
            let said = transform.ipsec(IpsecAttribute::ENCAPSULATION_MODE).unwrap_or(0);
            let said = EncapsulationMode(u16::try_from(said).unwrap_or(0));
            let mismatch = format!("mode: we want {}, the peer {said}", encapsulation.id());
            (mismatch, "write the same mode on both sides")
        }
        None => {
            let mut named: Vec<_> = theirs.proposals.iter().map(|it| it.protocol).collect();
            named.dedup();
            let named: Vec<_> = named.iter().map(ToString::to_string).collect();
            let mismatch = format!("protocol: we want {wanted}, the peer {}", named.join(" with "));
            (mismatch, "have both sides use the same protocol, and only one")
        }
    };
    Box::new(Disagreement {
        about: "the proposal of phase 2".into(),
        ours: proposal::printed(&offered),
        theirs: printed(theirs),
        mismatch,
        advice: advice.into(),
    })
}
