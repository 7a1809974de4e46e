//! Bundles (RFC 2408 §4.2): proposals with one number are wanted together.
//!
//! From the inside out a bundle is IPComp, ESP, AH (RFC 2401 §4.3). The protocol that a rule is about,
//! ESP or AH alone, is the one in the middle; IPComp within and AH around it stand beside. All bear
//! the same mode in what we offer, as most daemons have it: a tunnel is one, made by the innermost.
//! From a peer the innermost must bear it, or IPComp none; what is further out may also say transport.

use super::phase2::{child_offer, protocol_id};
use super::{MOST, algorithms, lifetime_attributes};
use crate::conf::{EsnChoice, Lifetime, Mode, Proposal, SaProtocol};
use crate::crypto::ChildSuite;
use crate::ike::event::Cpi;
use crate::ike::proposal::{self, Kind};
use crate::wire::attribute::Attribute;
use crate::wire::iana::v1::{EncapsulationMode, IpcompTransform, IpsecAttribute, ProtocolId};
use crate::wire::iana::v2::{GroupId, IntegrityId, TransformType};
use crate::wire::v1::{Proposal as WireProposal, Sa, Transform};
use crate::wire::{EspSpi, Spi};

/// How packets are encapsulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encapsulation {
    /// Tunnel or transport.
    pub mode: Mode,
    /// Within UDP, and whether by the numbers of the drafts.
    pub udp: Option<bool>,
}

/// What a rule wants of phase 2.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// ESP, or AH without it.
    pub protocol: SaProtocol,
    /// The proposals for that.
    pub proposals: &'a [Proposal],
    /// AH around ESP, with this.
    pub around: Option<IntegrityId>,
    /// IPComp within it.
    pub ipcomp: bool,
    /// How packets are encapsulated.
    pub encapsulation: Encapsulation,
}

/// Our SPIs, for what we receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spis {
    /// That of ESP, or of AH without it.
    pub main: EspSpi,
    /// That of AH around ESP.
    pub around: Option<EspSpi>,
    /// That of IPComp.
    pub cpi: Option<Cpi>,
}

/// The SAs that were agreed on, with the peer's SPIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chosen {
    /// The algorithms of ESP, or of AH without it.
    pub suite: ChildSuite,
    /// Its SPI.
    pub spi: EspSpi,
    /// AH around ESP.
    pub around: Option<(IntegrityId, EspSpi)>,
    /// IPComp within it.
    pub cpi: Option<Cpi>,
}

/// The proposals of one number, if their protocols are those that are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offered<'a> {
    /// ESP, or AH without it.
    pub main: &'a WireProposal,
    around: Option<&'a WireProposal>,
    ipcomp: Option<&'a WireProposal>,
}

/// What was chosen beside the protocol in the middle.
pub(super) struct Beside<'a> {
    pub around: Option<(IntegrityId, EspSpi)>,
    pub cpi: Option<Cpi>,
    /// The proposals, each with the transform that was chosen.
    pub chosen: Vec<(&'a WireProposal, &'a Transform)>,
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

    /// Whether the peer's mode is ours. Some say nothing where they mean a tunnel, and some leave the
    /// UDP out of the number.
    fn fits(self, theirs: Option<EncapsulationMode>) -> bool {
        let plain = Self { udp: None, ..self };
        match theirs {
            None => self.mode == Mode::Tunnel,
            Some(said) => said == self.id() || said == plain.id(),
        }
    }
}

impl Spis {
    /// That of a protocol, as it travels; `main` is the one in the middle.
    pub fn of(&self, main: SaProtocol, protocol: ProtocolId) -> Option<Spi> {
        match protocol {
            ProtocolId::IPCOMP => self.cpi.map(|cpi| Spi::Other(cpi.0.to_be_bytes().to_vec())),
            _ if protocol == protocol_id(main) => Some(Spi::Child(self.main)),
            ProtocolId::IPSEC_AH => self.around.map(Spi::Child),
            _ => None,
        }
    }
}

impl Wanted<'_> {
    /// The protocols, the outermost first.
    pub fn protocols(&self) -> Vec<ProtocolId> {
        let around = self.around.map(|_| ProtocolId::IPSEC_AH);
        let ipcomp = self.ipcomp.then_some(ProtocolId::IPCOMP);
        around.into_iter().chain([protocol_id(self.protocol)]).chain(ipcomp).collect()
    }

    /// Whether this is the peer's mode for one of the protocols.
    pub(super) fn mode_fits(&self, protocol: ProtocolId, transform: &Transform) -> bool {
        let said = mode_of(transform);
        let innermost = match self.ipcomp {
            true => ProtocolId::IPCOMP,
            false => protocol_id(self.protocol),
        };
        let any = said.is_none() && protocol == ProtocolId::IPCOMP;
        let transport = Encapsulation { mode: Mode::Transport, ..self.encapsulation };
        let outer = protocol != innermost && (said.is_none() || transport.fits(said));
        any || outer || self.encapsulation.fits(said)
    }

    /// What is offered beside a proposal of this number.
    pub(super) fn beside(
        &self,
        number: u8,
        group: Option<GroupId>,
        lifetime: Lifetime,
        spis: &Spis,
    ) -> (Option<WireProposal>, Option<WireProposal>) {
        let mode =
            Attribute::short(IpsecAttribute::ENCAPSULATION_MODE.0, self.encapsulation.id().0);
        let one = |protocol: ProtocolId, id: u8, further: Vec<Attribute>| {
            let mut attributes = lifetime_attributes(lifetime);
            attributes.push(mode.clone());
            attributes.extend(further);
            let transforms = vec![Transform { number: 1, id, attributes }];
            WireProposal {
                number,
                protocol,
                spi: spis.of(self.protocol, protocol).unwrap_or_default(),
                transforms,
            }
        };
        let around = self.around.and_then(algorithms::integrity_ids).map(|(integrity, ah)| {
            let class = IpsecAttribute::AUTHENTICATION_ALGORITHM;
            let mut further = vec![Attribute::short(class.0, integrity.0)];
            let class = IpsecAttribute::GROUP_DESCRIPTION;
            further.extend(group.map(|group| Attribute::short(class.0, group.0)));
            one(ProtocolId::IPSEC_AH, ah.0, further)
        });
        let deflate = IpcompTransform::IPCOMP_DEFLATE.0;
        let ipcomp = self.ipcomp.then(|| one(ProtocolId::IPCOMP, deflate, Vec::new()));
        (around, ipcomp)
    }
}

impl<'a> Offered<'a> {
    /// These proposals of one number, if each protocol that is wanted is there once, and no other.
    pub fn of(wanted: &Wanted<'_>, proposals: &[&'a WireProposal]) -> Option<Self> {
        let mut said: Vec<_> = proposals.iter().map(|it| it.protocol.0).collect();
        let mut protocols: Vec<_> = wanted.protocols().iter().map(|it| it.0).collect();
        said.sort_unstable();
        protocols.sort_unstable();
        if said != protocols {
            return None;
        }
        let of = |protocol| proposals.iter().copied().find(|it| it.protocol == protocol);
        Some(Self {
            main: of(protocol_id(wanted.protocol))?,
            around: of(ProtocolId::IPSEC_AH).filter(|_| wanted.around.is_some()),
            ipcomp: of(ProtocolId::IPCOMP),
        })
    }

    /// Chooses what stands beside; the group is that of the protocol in the middle.
    ///
    /// # Errors
    ///
    /// Which protocol does not match, and in what.
    pub fn beside(
        &self,
        wanted: &Wanted<'_>,
        group: Option<GroupId>,
    ) -> Result<Beside<'a>, String> {
        let mut beside = Beside { around: None, cpi: None, chosen: Vec::new() };
        if let Some((proposal, integrity)) = self.around.zip(wanted.around) {
            let (transform, spi) = around(wanted, proposal, integrity, group)?;
            beside.around = Some((integrity, spi));
            beside.chosen.push((proposal, transform));
        }
        if let Some(proposal) = self.ipcomp {
            let transform = ipcomp(wanted, proposal)?;
            let not_allowed =
                || format!("{}: the CPI {} is not allowed", proposal.protocol, proposal.spi);
            beside.cpi = Some(cpi(&proposal.spi).ok_or_else(not_allowed)?);
            beside.chosen.push((proposal, transform));
        }
        Ok(beside)
    }
}

/// The proposals of each number, in the order in which the numbers come.
pub(super) fn by_number(sa: &Sa) -> Vec<Vec<&WireProposal>> {
    let mut all: Vec<Vec<&WireProposal>> = Vec::new();
    for proposal in &sa.proposals {
        let same = |it: &&mut Vec<&WireProposal>| it[0].number == proposal.number;
        match all.iter_mut().find(same) {
            Some(bundle) => bundle.push(proposal),
            None => all.push(vec![proposal]),
        }
    }
    all
}

/// The peer's word for the mode.
pub(super) fn mode_of(transform: &Transform) -> Option<EncapsulationMode> {
    let said = transform.ipsec(IpsecAttribute::ENCAPSULATION_MODE);
    said.map(|number| EncapsulationMode(u16::try_from(number).unwrap_or(0)))
}

/// The CPI in two octets, or in the lower two of four (RFC 3173 §4.1).
pub fn cpi(spi: &Spi) -> Option<Cpi> {
    match spi.octets()[..] {
        [high, low] | [0, 0, high, low] => Cpi::negotiated([high, low]),
        _ => None,
    }
}

fn around<'a>(
    wanted: &Wanted<'_>,
    proposal: &'a WireProposal,
    integrity: IntegrityId,
    group: Option<GroupId>,
) -> Result<(&'a Transform, EspSpi), String> {
    let ours = Proposal {
        encryption: Vec::new(),
        prf: Vec::new(),
        integrity: vec![integrity],
        groups: group.into_iter().collect(),
        esn: EsnChoice::No,
    };
    let fitting = fitting(wanted, proposal)?;
    let offers = (1..=u8::MAX).zip(&fitting).map(|(number, transform)| {
        let mut offer = child_offer(number, proposal, transform);
        let says = offer.transforms.iter().any(|it| it.transform_type() == TransformType::KE);
        // Some say the group once in a bundle.
        if let Some(group) = group.filter(|_| !says) {
            offer.transforms.push(crate::wire::v2::sa::Transform::Ke(group));
        }
        offer
    });
    let offers: Vec<_> = offers.collect();
    let kind = Kind::Child(SaProtocol::Ah);
    let chosen = proposal::choose_child(std::slice::from_ref(&ours), &offers, kind, None);
    let (chosen, spi) = chosen.map_err(|it| format!("{}: {}", proposal.protocol, it.mismatch))?;
    let at = usize::from(chosen.answer.number).saturating_sub(1);
    let transform = fitting.get(at).copied();
    Ok((transform.ok_or_else(|| format!("{}: none chosen", proposal.protocol))?, spi))
}

fn ipcomp<'a>(wanted: &Wanted<'_>, proposal: &'a WireProposal) -> Result<&'a Transform, String> {
    let deflate = IpcompTransform::IPCOMP_DEFLATE;
    let fitting = fitting(wanted, proposal)?;
    fitting.iter().copied().find(|it| it.id == deflate.0).ok_or_else(|| {
        let said: Vec<_> = fitting.iter().map(|it| IpcompTransform(it.id).to_string()).collect();
        let (protocol, said) = (proposal.protocol, said.join("/"));
        format!("{protocol}: we allow {deflate}, the peer offers {said}")
    })
}

/// The transforms with our mode.
fn fitting<'a>(
    wanted: &Wanted<'_>,
    proposal: &'a WireProposal,
) -> Result<Vec<&'a Transform>, String> {
    let fits = |it: &&Transform| wanted.mode_fits(proposal.protocol, it);
    let fitting: Vec<_> = proposal.transforms.iter().filter(fits).take(MOST).collect();
    if fitting.is_empty() {
        let said = proposal.transforms.first().and_then(mode_of);
        let said = said.map_or("none".into(), |said| said.to_string());
        let (protocol, ours) = (proposal.protocol, wanted.encapsulation.id());
        return Err(format!("{protocol}: mode: we want {ours}, the peer {said}"));
    }
    Ok(fitting)
}
