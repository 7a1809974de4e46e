//! What the kernel reserves for a child SA before it is agreed on: its SPI, and a CPI for IPComp.

use crate::conf::SaProtocol;
use crate::ike::core::{Core, Negotiation, Owner};
use crate::ike::event::{Cpi, KernelAnswer, KernelRequest, SaKey};
use crate::ike::frame::Frame;
use crate::ike::selector::Hosts;
use crate::ike::v2::rules::Bag;
use crate::wire::EspSpi;
use crate::wire::iana::v2::{IpcompId, NotifyType};
use crate::wire::v2::{Notify, Payload};

/// Asks the kernel for a CPI if packets are to be compressed, then for an SPI.
pub(super) fn reserve_both(
    frame: &Frame,
    core: &mut Core,
    protocol: SaProtocol,
    peers: bool,
    cpi: bool,
) {
    if !cpi {
        return reserve(frame, core, protocol, peers);
    }
    let Hosts { local, remote, .. } = frame.hosts();
    let negotiation = if peers { Negotiation::Peers } else { Negotiation::Own };
    let owner = Owner::Cpi { sa: frame.id, negotiation, protocol, path: (remote, local) };
    core.kernel(owner, KernelRequest::GetCpi { src: remote, dst: local });
}

/// The kernel reserved a CPI, or has no IPComp: now for the SPI. Gives back a CPI that is in the way.
pub fn compresses(
    frame: &mut Frame,
    core: &mut Core,
    protocol: SaProtocol,
    peers: bool,
    answer: KernelAnswer,
) -> Option<Cpi> {
    let cpi = match answer {
        KernelAnswer::Cpi(cpi) => Some(cpi),
        _ => None,
    };
    let before = std::mem::replace(&mut frame.cpis[usize::from(peers)], cpi);
    reserve(frame, core, protocol, peers);
    before
}

/// The CPI that the peer gave, for DEFLATE (RFC 7296 §3.10.1).
pub(super) fn offered_cpi(bag: &Bag) -> Option<Cpi> {
    let mut offered =
        bag.notifies.iter().filter(|it| it.notify_type == NotifyType::IPCOMP_SUPPORTED);
    offered.find_map(|notify| match notify.data[..] {
        [high, low, transform, ..] if IpcompId(transform) == IpcompId::IPCOMP_DEFLATE => {
            Cpi::negotiated([high, low])
        }
        _ => None,
    })
}

pub(super) fn ipcomp_supported(cpi: Cpi) -> Payload {
    let [high, low] = cpi.0.to_be_bytes();
    let data = vec![high, low, IpcompId::IPCOMP_DEFLATE.0];
    Payload::Notify(Notify::with_data(NotifyType::IPCOMP_SUPPORTED, data))
}

/// Asks the kernel for an SPI.
fn reserve(frame: &Frame, core: &mut Core, protocol: SaProtocol, peers: bool) {
    let Hosts { local, remote, .. } = frame.hosts();
    let negotiation = if peers { Negotiation::Peers } else { Negotiation::Own };
    let owner = Owner::Spi { sa: frame.id, negotiation, protocol, path: (remote, local) };
    core.kernel(owner, KernelRequest::GetSpi { protocol, src: remote, dst: local });
}

/// Gives a reserved SPI back.
pub fn unreserve(core: &mut Core, protocol: SaProtocol, hosts: Hosts, spi: EspSpi) {
    core.delete_sa(SaKey { protocol, spi, src: hosts.remote, dst: hosts.local });
}
