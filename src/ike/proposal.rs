//! Proposals: what we offer, how one is chosen, and what to say when none can be.
//!
//! The responder's order decides: for each of our proposals in the order of the policy, the first of
//! the peer's that has something in common with it in every transform type; within a type our
//! first. Only among groups the one for which the peer already sent a public value comes first,
//! which saves a round trip.

use super::event::Capabilities;
use super::report::Disagreement;
use crate::conf::{EsnChoice, Proposal, SaProtocol};
use crate::crypto::{ChildSuite, IkeSuite};
use crate::wire::iana::v2::{EsnId, GroupId, IntegrityId, ProtocolId, TransformType};
use crate::wire::v2::sa::{Proposal as Offer, Transform};
use crate::wire::{EspSpi, Spi};

/// What is negotiated: it says which transform types there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An IKE SA.
    Ike,
    /// The child SA of IKE_AUTH: no key exchange of its own.
    FirstChild(SaProtocol),
    /// A child SA of CREATE_CHILD_SA.
    Child(SaProtocol),
}

/// What was chosen from an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen<S> {
    /// The algorithms.
    pub suite: S,
    /// The SPI that the peer gave.
    pub spi: Spi,
    /// The answer: one proposal with one transform of each type; its SPI is to be set.
    pub answer: Offer,
}

impl Kind {
    /// The protocol's number.
    pub fn protocol(self) -> ProtocolId {
        match self {
            Kind::Ike => ProtocolId::IKE,
            Kind::FirstChild(protocol) | Kind::Child(protocol) => protocol_id(protocol),
        }
    }

    fn about(self) -> &'static str {
        match self {
            Kind::Ike => "the IKE proposal",
            Kind::FirstChild(_) | Kind::Child(_) => "the child SA proposal",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Kind::Ike => "ikesa",
            Kind::FirstChild(_) | Kind::Child(_) => "childsa",
        }
    }
}

/// The number of a protocol.
pub fn protocol_id(protocol: SaProtocol) -> ProtocolId {
    match protocol {
        SaProtocol::Esp => ProtocolId::ESP,
        SaProtocol::Ah => ProtocolId::AH,
    }
}

/// What we offer.
pub fn offer(ours: &[Proposal], kind: Kind, spi: &Spi) -> Vec<Offer> {
    let offers = ours.iter().zip(1..=u8::MAX).map(|(proposal, number)| Offer {
        number,
        protocol: kind.protocol(),
        spi: spi.clone(),
        transforms: transforms(proposal, kind),
    });
    offers.collect()
}

/// Chooses an IKE suite from what the peer offers.
///
/// # Errors
///
/// What is common to none of the pairs, told for the nearest one.
pub fn choose_ike(
    ours: &[Proposal],
    theirs: &[Offer],
    ke: Option<GroupId>,
) -> Result<Chosen<IkeSuite>, Box<Disagreement>> {
    let ours = offer(ours, Kind::Ike, &Spi::None);
    let (answer, spi) = choose(&ours, theirs, Kind::Ike, ke)?;
    match ike_suite(&answer) {
        Some(suite) => Ok(Chosen { suite, spi, answer }),
        None => Err(disagree(&ours, theirs, Kind::Ike, "an incomplete proposal".into())),
    }
}

/// Chooses a child suite from what the peer offers.
///
/// # Errors
///
/// As [`choose_ike`].
pub fn choose_child(
    ours: &[Proposal],
    theirs: &[Offer],
    kind: Kind,
    ke: Option<GroupId>,
) -> Result<(Chosen<ChildSuite>, EspSpi), Box<Disagreement>> {
    let ours = offer(ours, kind, &Spi::None);
    let (answer, spi) = choose(&ours, theirs, kind, ke)?;
    match spi.child() {
        // 0 to 255 are reserved (RFC 4303 §2.1).
        Some(child) if child.0 > 255 => {
            Ok((Chosen { suite: child_suite(&answer), spi, answer }, child))
        }
        _ => Err(disagree(&ours, theirs, kind, format!("the SPI {spi} is not allowed"))),
    }
}

/// What both sides allow cannot be computed here.
pub fn incomputable(
    ours: &[Proposal],
    theirs: &[Offer],
    why: &crate::crypto::Error,
) -> Box<Disagreement> {
    let ours = offer(ours, Kind::Ike, &Spi::None);
    disagree(&ours, theirs, Kind::Ike, format!("what both allow cannot be used here: {why}"))
}

/// Checks the responder's choice against our offer.
///
/// # Errors
///
/// How it breaks the protocol.
pub fn accept_ike(offered: &[Offer], answer: &[Offer]) -> Result<(IkeSuite, Spi), String> {
    let answer = accept(offered, answer)?;
    let suite = ike_suite(answer).ok_or("the chosen IKE proposal is incomplete")?;
    Ok((suite, answer.spi.clone()))
}

/// Checks the responder's choice against our offer.
///
/// # Errors
///
/// How it breaks the protocol.
pub fn accept_child(offered: &[Offer], answer: &[Offer]) -> Result<(ChildSuite, EspSpi), String> {
    let answer = accept(offered, answer)?;
    match answer.spi.child() {
        Some(spi) if spi.0 > 255 => Ok((child_suite(answer), spi)),
        _ => Err(format!("the SPI {} is not allowed", answer.spi)),
    }
}

/// The child proposals of a policy without what the kernel cannot do.
pub fn feasible(ours: &[Proposal], able: Option<&Capabilities>) -> Vec<Proposal> {
    let Some(able) = able else { return ours.to_vec() };
    ours.iter().filter_map(|proposal| feasible_one(proposal, able)).collect()
}

/// What the kernel can do, for people.
pub fn printed_capabilities(able: &Capabilities) -> String {
    let ciphers = able.encryption.iter().map(|(id, bits)| {
        let bits: Vec<_> = bits.iter().map(ToString::to_string).collect();
        format!("{id}-{}", bits.join("/"))
    });
    let integrity = able.integrity.iter().map(ToString::to_string);
    ciphers.chain(integrity).collect::<Vec<_>>().join(" ")
}

/// Proposals for people, a line each.
pub fn printed(offers: &[Offer]) -> Vec<String> {
    let line = |offer: &Offer| {
        let transforms: Vec<_> = offer.transforms.iter().map(printed_transform).collect();
        format!("{} {}", offer.protocol, transforms.join(" "))
    };
    offers.iter().map(line).collect()
}

fn printed_transform(transform: &Transform) -> String {
    match transform {
        Transform::Encr { id, key_bits: Some(bits) } => format!("{id}-{bits}"),
        Transform::Encr { id, key_bits: None } => id.to_string(),
        Transform::Prf(id) => id.to_string(),
        Transform::Integ(id) => id.to_string(),
        Transform::Ke(id) => id.to_string(),
        Transform::Esn(EsnId::NO_ESN) => "noesn".into(),
        Transform::Esn(EsnId::ESN) => "esn".into(),
        Transform::Esn(id) => id.to_string(),
        Transform::AddKe { round, id } => format!("ADDKE{round}={id}"),
        Transform::Unknown { transform_type, id, .. } => format!("{transform_type}={id}"),
    }
}

fn transforms(proposal: &Proposal, kind: Kind) -> Vec<Transform> {
    let encryption = proposal.encryption.iter();
    let mut all: Vec<_> =
        encryption.map(|&(id, key_bits)| Transform::Encr { id, key_bits }).collect();
    all.extend(proposal.prf.iter().map(|&id| Transform::Prf(id)));
    all.extend(proposal.integrity.iter().map(|&id| Transform::Integ(id)));
    if !matches!(kind, Kind::FirstChild(_)) {
        all.extend(proposal.groups.iter().map(|&id| Transform::Ke(id)));
    }
    if kind != Kind::Ike {
        let esn: &[EsnId] = match proposal.esn {
            EsnChoice::No => &[EsnId::NO_ESN],
            EsnChoice::Yes => &[EsnId::ESN],
            EsnChoice::Either => &[EsnId::ESN, EsnId::NO_ESN],
        };
        all.extend(esn.iter().map(|&id| Transform::Esn(id)));
    }
    all
}

fn feasible_one(proposal: &Proposal, able: &Capabilities) -> Option<Proposal> {
    let mut kept = proposal.clone();
    kept.encryption.retain(|(id, wanted)| {
        able.encryption
            .iter()
            .any(|(known, bits)| known == id && wanted.is_none_or(|wanted| bits.contains(&wanted)))
    });
    kept.integrity.retain(|id| able.integrity.contains(id));
    kept.esn = match (proposal.esn, able.esn) {
        (EsnChoice::Yes, false) => return None,
        (EsnChoice::Either, false) => EsnChoice::No,
        (choice, _) => choice,
    };
    let lost = |before: usize, after: usize| before > 0 && after == 0;
    let useless = lost(proposal.encryption.len(), kept.encryption.len())
        || lost(proposal.integrity.len(), kept.integrity.len());
    (!useless).then_some(kept)
}

/// A transform that says "nothing of this type".
fn is_none(transform: &Transform) -> bool {
    match transform {
        Transform::Integ(id) => *id == IntegrityId::NONE,
        Transform::Ke(id) | Transform::AddKe { id, .. } => *id == GroupId::NONE,
        _ => false,
    }
}

fn of_type(offer: &Offer, wanted: TransformType) -> Vec<Transform> {
    let all = offer.transforms.iter();
    let mut found: Vec<_> = all.filter(|t| t.transform_type() == wanted).cloned().collect();
    let is_child = offer.protocol != ProtocolId::IKE;
    if wanted == TransformType::ESN && is_child && found.is_empty() {
        found.push(Transform::Esn(EsnId::NO_ESN));
    }
    found
}

fn types(ours: &Offer, theirs: &Offer) -> Vec<TransformType> {
    let mut types: Vec<_> = ours
        .transforms
        .iter()
        .chain(&theirs.transforms)
        .collect::<Vec<_>>()
        .into_iter()
        .map(Transform::transform_type)
        .collect();
    types.sort_unstable();
    types.dedup();
    types
}

/// Matches one pair: the transforms in common, or the types without any.
fn match_pair(
    ours: &Offer,
    theirs: &Offer,
    kind: Kind,
    ke: Option<GroupId>,
) -> Result<Vec<Transform>, Vec<TransformType>> {
    let mut common = Vec::new();
    let mut missing = Vec::new();
    for wanted in types(ours, theirs) {
        // A key exchange in IKE_AUTH's child proposal means nothing (RFC 7296 §1.2).
        if wanted == TransformType::KE && matches!(kind, Kind::FirstChild(_)) {
            continue;
        }
        let (mine, yours) = (of_type(ours, wanted), of_type(theirs, wanted));
        let in_both = |t: &&Transform| yours.contains(t);
        let sent =
            ke.map(Transform::Ke).filter(|t| wanted == TransformType::KE && mine.contains(t));
        match sent.as_ref().filter(in_both).or_else(|| mine.iter().find(in_both)) {
            Some(transform) => common.push(transform.clone()),
            // To leave a type out is to offer none (RFC 7296 §3.3.3).
            None if mine.is_empty() && yours.iter().any(is_none) => (),
            None if yours.is_empty() && mine.iter().any(is_none) => (),
            None => missing.push(wanted),
        }
    }
    if missing.is_empty() { Ok(common) } else { Err(missing) }
}

fn choose(
    ours: &[Offer],
    theirs: &[Offer],
    kind: Kind,
    ke: Option<GroupId>,
) -> Result<(Offer, Spi), Box<Disagreement>> {
    let mut nearest: Option<(&Offer, &Offer, Vec<TransformType>)> = None;
    for mine in ours {
        for yours in theirs.iter().filter(|yours| yours.protocol == kind.protocol()) {
            match match_pair(mine, yours, kind, ke) {
                Ok(transforms) => {
                    let (number, protocol) = (yours.number, yours.protocol);
                    let answer = Offer { number, protocol, spi: Spi::None, transforms };
                    return Ok((answer, yours.spi.clone()));
                }
                Err(missing) => {
                    let nearer = |(_, _, least): &(_, _, Vec<_>)| missing.len() < least.len();
                    if nearest.as_ref().is_none_or(nearer) {
                        nearest = Some((mine, yours, missing));
                    }
                }
            }
        }
    }
    Err(match (nearest, ours.is_empty()) {
        (Some((mine, yours, missing)), _) => {
            disagree(ours, theirs, kind, mismatch(mine, yours, &missing))
        }
        (None, true) => disagree(ours, theirs, kind, "we have nothing to choose from".into()),
        (None, false) => {
            let mismatch = format!("the peer offers nothing for {}", kind.protocol());
            let advice = "write the same of `esp` and `ah` on both sides".into();
            Box::new(Disagreement { advice, ..*disagree(ours, theirs, kind, mismatch) })
        }
    })
}

fn mismatch(mine: &Offer, yours: &Offer, missing: &[TransformType]) -> String {
    let list = |offer: &Offer, wanted| {
        let found: Vec<_> = of_type(offer, wanted).iter().map(printed_transform).collect();
        if found.is_empty() { "none".to_string() } else { found.join("/") }
    };
    let parts = missing.iter().map(|&wanted| {
        format!(
            "{wanted}: we allow {}, the peer offers {}",
            list(mine, wanted),
            list(yours, wanted)
        )
    });
    parts.collect::<Vec<_>>().join(", and ")
}

fn disagree(ours: &[Offer], theirs: &[Offer], kind: Kind, mismatch: String) -> Box<Disagreement> {
    let advice = format!(
        "add to `{}` of this policy what the peer offers, or have the peer offer what we allow",
        kind.word()
    );
    let (ours, theirs) = (printed(ours), printed(theirs));
    Box::new(Disagreement { about: kind.about().into(), ours, theirs, mismatch, advice })
}

fn accept<'a>(offered: &[Offer], answer: &'a [Offer]) -> Result<&'a Offer, String> {
    let [answer] = answer else {
        return Err(format!("{} proposals in the answer instead of one", answer.len()));
    };
    let offer = offered
        .iter()
        .find(|offer| offer.number == answer.number && offer.protocol == answer.protocol)
        .ok_or("the peer chose a proposal that we did not offer")?;
    // To leave a type out is to offer none, and to choose it (RFC 7296 §3.3.3).
    let none_offered = |wanted| {
        let mut offered = offer.transforms.iter().filter(|t| t.transform_type() == wanted);
        let first = offered.next();
        first.is_none_or(is_none) || offered.any(is_none)
    };
    for transform in &answer.transforms {
        let left_out = is_none(transform) && none_offered(transform.transform_type());
        if !left_out && !offer.transforms.contains(transform) {
            let chosen = printed_transform(transform);
            return Err(format!("the peer chose {chosen}, which we did not offer"));
        }
    }
    for wanted in types(offer, answer) {
        let count = answer.transforms.iter().filter(|t| t.transform_type() == wanted).count();
        // A peer may leave out a sequence number transform that can only be one.
        let may_lack = wanted == TransformType::ESN || none_offered(wanted);
        if count > 1 || (count == 0 && !may_lack) {
            return Err(format!(
                "{count} transforms of type {wanted} in the answer instead of one"
            ));
        }
    }
    Ok(answer)
}

fn ike_suite(answer: &Offer) -> Option<IkeSuite> {
    let (mut encryption, mut integrity, mut prf, mut group) = (None, None, None, None);
    for transform in answer.transforms.iter().filter(|transform| !is_none(transform)) {
        match transform {
            Transform::Encr { id, key_bits } => encryption = Some((*id, *key_bits)),
            Transform::Integ(id) => integrity = Some(*id),
            Transform::Prf(id) => prf = Some(*id),
            Transform::Ke(id) => group = Some(*id),
            _ => (),
        }
    }
    Some(IkeSuite { encryption: encryption?, integrity, prf: prf?, group: group? })
}

fn child_suite(answer: &Offer) -> ChildSuite {
    let mut suite = ChildSuite { encryption: None, integrity: None, group: None, esn: false };
    for transform in answer.transforms.iter().filter(|transform| !is_none(transform)) {
        match transform {
            Transform::Encr { id, key_bits } => suite.encryption = Some((*id, *key_bits)),
            Transform::Integ(id) => suite.integrity = Some(*id),
            Transform::Ke(id) => suite.group = Some(*id),
            Transform::Esn(id) => suite.esn = *id == EsnId::ESN,
            _ => (),
        }
    }
    suite
}
