//! Proposals of phase 2.

use super::bundle::{Chosen, Encapsulation, Offered, Spis, Wanted, by_number, mode_of};
use super::{
    MOST, advice, algorithms, encryption, lifetime, lifetime_attributes, printed, shorter, unknown,
};
use crate::conf::{Lifetime, Proposal, SaProtocol};
use crate::crypto::{ChildSuite, kex};
use crate::ike::proposal::{self, Kind};
use crate::ike::report::Disagreement;
use crate::wire::attribute::Attribute;
use crate::wire::iana::v1::{
    AhTransform, EncapsulationMode, EspTransform, IntegrityId, IpcompTransform, IpsecAttribute,
    ProtocolId,
};
use crate::wire::iana::v2::{self, GroupId, TransformType};
use crate::wire::v1::{Proposal as WireProposal, Sa, Transform};
use crate::wire::v2::sa::{Proposal as Offer, Transform as Part};
use crate::wire::{EspSpi, Spi};

/// What is negotiated, in words.
const ABOUT: &str = "the proposal of phase 2";

/// Phase 2 as it was agreed on.
#[derive(Debug, Clone)]
pub struct Phase2Choice {
    /// The SAs.
    pub sas: Chosen,
    /// The peer's lifetime, of a bundle the shortest; zero where it says none.
    pub lifetime: Lifetime,
    /// The answer, still with the peer's SPIs.
    pub answer: Vec<WireProposal>,
}

/// What we offer for phase 2: a proposal for each of ours, or a bundle, in which all transforms have
/// the same group (RFC 2409 §5.5).
pub fn phase2(wanted: &Wanted<'_>, lifetime: Lifetime, spis: &Spis) -> Sa {
    let group = pfs_group(wanted.proposals);
    let protocol = protocol_id(wanted.protocol);
    let mut proposals = Vec::new();
    for (number, proposal) in (1..=u8::MAX).zip(wanted.proposals) {
        let suites = child_suites(proposal).into_iter();
        let all = suites.filter_map(|suite| {
            let suite = ChildSuite { group, ..suite };
            child_transform(&suite, wanted.protocol, wanted.encapsulation, lifetime)
        });
        let transforms: Vec<_> = (1..=u8::MAX)
            .zip(all)
            .map(|(number, (id, attributes))| Transform { number, id, attributes })
            .collect();
        if transforms.is_empty() {
            continue;
        }
        let (around, ipcomp) = wanted.beside(number, group, lifetime, spis);
        let main = WireProposal { number, protocol, spi: Spi::Child(spis.main), transforms };
        proposals.extend(around.into_iter().chain([main]).chain(ipcomp));
    }
    Sa { proposals }
}

/// The group of the key exchange of phase 2.
pub fn pfs_group(ours: &[Proposal]) -> Option<GroupId> {
    let groups = ours.iter().flat_map(|proposal| proposal.groups.iter().copied());
    groups.into_iter().find(|group| kex::supported(*group))
}

/// Chooses from what the peer offers for phase 2: of its proposals or bundles the first that is ours
/// in the order of ours.
///
/// # Errors
///
/// What each side allows, and the item that did not match.
pub fn choose_phase2(wanted: &Wanted<'_>, theirs: &Sa) -> Result<Phase2Choice, Box<Disagreement>> {
    let numbers = by_number(theirs);
    let mut bundles: Vec<_> =
        numbers.iter().filter_map(|proposals| Offered::of(wanted, proposals)).collect();
    if bundles.is_empty() {
        return Err(other_protocols(wanted, theirs));
    }
    let mut refusal = None;
    loop {
        let (bundle, choice) = match choose_main(wanted, theirs, &bundles) {
            Ok(chosen) => chosen,
            Err(disagreement) => return Err(refusal.unwrap_or(disagreement)),
        };
        let Offered { main, .. } = bundle;
        let (suite, spi, transform) = choice;
        match bundle.beside(wanted, suite.group) {
            Ok(beside) => {
                let mut chosen = beside.chosen;
                chosen.push((main, transform));
                let place =
                    |of: &WireProposal| theirs.proposals.iter().position(|it| std::ptr::eq(it, of));
                chosen.sort_by_key(|(proposal, _)| place(proposal));
                let sas = Chosen { suite, spi, around: beside.around, cpi: beside.cpi };
                return Ok(agreed(sas, &chosen));
            }
            Err(mismatch) => {
                refusal = refusal.or(Some(disagree(wanted, theirs, mismatch)));
                bundles.retain(|it| !std::ptr::eq(it.main, main));
            }
        }
    }
}

type Main<'a> = (ChildSuite, EspSpi, &'a Transform);

/// Chooses the protocol in the middle, and with it the bundle.
fn choose_main<'a>(
    wanted: &Wanted<'_>,
    theirs: &Sa,
    bundles: &[Offered<'a>],
) -> Result<(Offered<'a>, Main<'a>), Box<Disagreement>> {
    let protocol = protocol_id(wanted.protocol);
    let all: Vec<_> = bundles
        .iter()
        .flat_map(|it| it.main.transforms.iter().map(move |transform| (it, transform)))
        .take(MOST)
        .collect();
    let fits = |(_, transform): &&(_, &Transform)| wanted.mode_fits(protocol, transform);
    let fitting: Vec<_> = all.iter().filter(fits).collect();
    if fitting.is_empty() {
        return Err(other_mode(wanted, theirs, all.first().map(|(_, transform)| *transform)));
    }
    let offers: Vec<_> = (1..=u8::MAX)
        .zip(&fitting)
        .map(|(number, (it, transform))| child_offer(number, it.main, transform))
        .collect();
    let kind = Kind::Child(wanted.protocol);
    let chosen = proposal::choose_child(wanted.proposals, &offers, kind, None);
    let (chosen, spi) = chosen.map_err(|mut it| {
        it.about = ABOUT.into();
        it.advice = advice("quick");
        if wanted.protocols().len() > 1 {
            it.mismatch = format!("{protocol}: {}", it.mismatch);
        }
        it
    })?;
    let at = usize::from(chosen.answer.number).saturating_sub(1);
    match fitting.get(at) {
        Some((bundle, transform)) => Ok((**bundle, (chosen.suite, spi, transform))),
        None => Err(other_mode(wanted, theirs, None)),
    }
}

fn agreed(sas: Chosen, chosen: &[(&WireProposal, &Transform)]) -> Phase2Choice {
    let lifetimes = chosen.iter().map(|(_, transform)| lifetime(&transform.ipsec_lifetimes()));
    let answer = chosen.iter().map(|(proposal, transform)| {
        let transforms = vec![(*transform).clone()];
        let WireProposal { number, protocol, ref spi, .. } = **proposal;
        WireProposal { number, protocol, spi: spi.clone(), transforms }
    });
    Phase2Choice {
        sas,
        lifetime: lifetimes.fold(Lifetime { seconds: 0, bytes: 0 }, shorter),
        answer: answer.collect(),
    }
}

/// Checks what the peer chose of our offer for phase 2. Beside a bundle strongSwan names what protects
/// it once more, alone and under the next number: the first number counts.
///
/// # Errors
///
/// How it breaks the protocol.
pub fn accept_phase2(
    wanted: &Wanted<'_>,
    offered: &Sa,
    answer: &Sa,
) -> Result<Phase2Choice, String> {
    let numbers = by_number(answer);
    let protocols = wanted.protocols();
    let count = answer.proposals.len();
    let (Some(proposals), true) = (numbers.first(), protocols.len() > 1 || count == 1) else {
        return Err(format!("{count} proposals in the answer instead of one"));
    };
    let Some(bundle) = Offered::of(wanted, proposals) else {
        let chosen = proposals.iter().map(|it| it.protocol);
        let (chosen, ours) = (named(chosen), named(protocols));
        return Err(format!("the peer chose {chosen} where we offered {ours}"));
    };
    for proposal in proposals {
        let [transform] = proposal.transforms.as_slice() else {
            let count = proposal.transforms.len();
            return Err(format!("{count} transforms in the answer instead of one"));
        };
        let same = |ours: &WireProposal| {
            let mut all = ours.transforms.iter();
            all.any(|it| is_choice(proposal.protocol, it, transform))
        };
        let mut ours = offered.proposals.iter().filter(|it| it.protocol == proposal.protocol);
        if !ours.any(same) {
            let chosen = line(proposal, transform);
            return Err(format!("the peer chose {chosen}, which we did not offer"));
        }
    }
    let transform = &bundle.main.transforms[0];
    let mine = child_offer(1, bundle.main, transform);
    let mine = std::slice::from_ref(&mine);
    let (suite, spi) = proposal::accept_child(mine, mine)?;
    let beside = bundle.beside(wanted, suite.group)?;
    let chosen: Vec<_> = [(bundle.main, transform)].into_iter().chain(beside.chosen).collect();
    let sas = Chosen { suite, spi, around: beside.around, cpi: beside.cpi };
    Ok(agreed(sas, &chosen))
}

/// Whether the peer's transform is one of ours. IPComp has the mode of what protects it.
fn is_choice(protocol: ProtocolId, ours: &Transform, theirs: &Transform) -> bool {
    if protocol == ProtocolId::IPCOMP {
        return ours.id == theirs.id;
    }
    let suite = |it: &Transform| (parts(protocol, it), mode_of(it));
    suite(ours) == suite(theirs)
}

/// The number of a protocol.
pub fn protocol_id(protocol: SaProtocol) -> ProtocolId {
    match protocol {
        SaProtocol::Esp => ProtocolId::IPSEC_ESP,
        SaProtocol::Ah => ProtocolId::IPSEC_AH,
    }
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

/// A transform for people, with its protocol.
pub(super) fn line(proposal: &WireProposal, transform: &Transform) -> String {
    match proposal.protocol {
        ProtocolId::IPCOMP => format!("IPCOMP {}", IpcompTransform(transform.id)),
        _ => proposal::printed(&[child_offer(0, proposal, transform)]).join(""),
    }
}

pub(super) fn child_offer(number: u8, proposal: &WireProposal, transform: &Transform) -> Offer {
    let protocol = match proposal.protocol {
        ProtocolId::IPSEC_ESP => v2::ProtocolId::ESP,
        _ => v2::ProtocolId::AH,
    };
    let transforms = parts(proposal.protocol, transform);
    Offer { number, protocol, spi: proposal.spi.clone(), transforms }
}

/// The algorithms that a transform of ESP or AH names.
fn parts(protocol: ProtocolId, transform: &Transform) -> Vec<Part> {
    let value = |class| transform.ipsec(class).and_then(|it| u16::try_from(it).ok());
    let mut parts = Vec::new();
    let esp = protocol == ProtocolId::IPSEC_ESP;
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
    parts
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

/// The protocols of a bundle in words.
fn named(protocols: impl IntoIterator<Item = ProtocolId>) -> String {
    let names: Vec<_> = protocols.into_iter().map(|it| it.to_string()).collect();
    names.join(" with ")
}

fn other_protocols(wanted: &Wanted<'_>, theirs: &Sa) -> Box<Disagreement> {
    let numbers = by_number(theirs);
    let mut offers: Vec<_> =
        numbers.iter().map(|bundle| named(bundle.iter().map(|it| it.protocol))).collect();
    offers.dedup();
    let (ours, theirs_named) = (named(wanted.protocols()), offers.join(", or "));
    let mismatch = format!("protocol: we want {ours}, the peer {theirs_named}");
    Box::new(Disagreement {
        advice: "write the same protocols on both sides, all of a bundle".into(),
        ..*disagree(wanted, theirs, mismatch)
    })
}

fn other_mode(wanted: &Wanted<'_>, theirs: &Sa, said: Option<&Transform>) -> Box<Disagreement> {
    let said = said.and_then(mode_of).unwrap_or(EncapsulationMode(0));
    let mismatch = format!("mode: we want {}, the peer {said}", wanted.encapsulation.id());
    Box::new(Disagreement {
        advice: "write the same mode on both sides".into(),
        ..*disagree(wanted, theirs, mismatch)
    })
}

/// Whether packets can pass a NAT: AH covers the addresses that it changes.
///
/// # Errors
///
/// That they cannot, beside what the peer offers.
pub fn passes_nat(wanted: &Wanted<'_>, theirs: &Sa) -> Result<(), Box<Disagreement>> {
    if !wanted.protocols().contains(&ProtocolId::IPSEC_AH) {
        return Ok(());
    }
    let mismatch = "AH passes no NAT, and there is one on the way".into();
    let advice = "write esp without ah on both sides".into();
    Err(Box::new(Disagreement { advice, ..*disagree(wanted, theirs, mismatch) }))
}

fn disagree(wanted: &Wanted<'_>, theirs: &Sa, mismatch: String) -> Box<Disagreement> {
    let kind = Kind::Child(wanted.protocol);
    let mut ours = proposal::printed(&proposal::offer(wanted.proposals, kind, &Spi::None));
    let around = wanted.around.map(|integrity| format!("AH {integrity}"));
    let deflate = IpcompTransform::IPCOMP_DEFLATE;
    let ipcomp = wanted.ipcomp.then(|| format!("IPCOMP {deflate}"));
    ours.extend(around.into_iter().chain(ipcomp));
    let advice = advice("quick");
    Box::new(Disagreement { about: ABOUT.into(), ours, theirs: printed(theirs), mismatch, advice })
}
