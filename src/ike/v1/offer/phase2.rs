//! Proposals of phase 2.

use super::{
    MOST, advice, algorithms, encryption, lifetime, lifetime_attributes, printed, unknown,
};
use crate::conf::{Lifetime, Mode, Proposal, SaProtocol};
use crate::crypto::{ChildSuite, kex};
use crate::ike::proposal::{self, Kind};
use crate::ike::report::Disagreement;
use crate::wire::attribute::Attribute;
use crate::wire::iana::v1::{
    AhTransform, EncapsulationMode, EspTransform, IntegrityId, IpsecAttribute, ProtocolId,
};
use crate::wire::iana::v2::{self, GroupId, TransformType};
use crate::wire::v1::{Proposal as WireProposal, Sa, Transform};
use crate::wire::v2::sa::{Proposal as Offer, Transform as Part};
use crate::wire::{EspSpi, Spi};

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

pub(super) fn child_offer(number: u8, proposal: &WireProposal, transform: &Transform) -> Offer {
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
