//! NAT traversal: detection (RFC 7296 §2.23), the move to port 4500, keepalives (RFC 3948 §4).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::crypto::sha1;
use crate::wire::IkeSpi;
use crate::wire::iana::v2::NotifyType;
use crate::wire::v2::{Notify, Payload};

/// How long a path behind a NAT may be silent (RFC 3948 §4).
pub const KEEPALIVE: Duration = Duration::from_secs(20);

/// What was found out about NATs on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Nat {
    /// Something translates our address.
    pub local: bool,
    /// Something translates the peer's.
    pub remote: bool,
}

impl Nat {
    /// Whether there is any.
    pub fn found(self) -> bool {
        self.local || self.remote
    }
}

/// Where messages go: from an address of ours to one of the peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// Our address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
}

/// The hash that stands for an address and port: `SHA1(SPIi | SPIr | address | port)`.
pub fn hash(initiator: IkeSpi, responder: IkeSpi, address: SocketAddr) -> [u8; 20] {
    let mut octets = Vec::with_capacity(34);
    octets.extend(initiator.0);
    octets.extend(responder.0);
    match address.ip() {
        IpAddr::V4(v4) => octets.extend(v4.octets()),
        IpAddr::V6(v6) => octets.extend(v6.octets()),
    }
    octets.extend(address.port().to_be_bytes());
    sha1(&[&octets])
}

/// The two notifications of a message that goes from `local` to `remote`. A source that we do not
/// know yet is announced as what it is not, which the peer takes for a NAT: that is harmless.
pub fn notifications(
    initiator: IkeSpi,
    responder: IkeSpi,
    local: SocketAddr,
    remote: SocketAddr,
) -> [Payload; 2] {
    let notify = |notify_type, address| {
        let data = hash(initiator, responder, address).to_vec();
        Payload::Notify(Notify::with_data(notify_type, data))
    };
    [
        notify(NotifyType::NAT_DETECTION_SOURCE_IP, local),
        notify(NotifyType::NAT_DETECTION_DESTINATION_IP, remote),
    ]
}

/// Compares what the peer announced with what we see; `None` if it announced nothing (then it
/// does no NAT traversal).
pub fn detect(
    notifies: &[Notify],
    initiator: IkeSpi,
    responder: IkeSpi,
    local: SocketAddr,
    remote: SocketAddr,
) -> Option<Nat> {
    let of = |wanted| notifies.iter().filter(move |notify| notify.notify_type == wanted);
    let mut sources = of(NotifyType::NAT_DETECTION_SOURCE_IP).peekable();
    let mut destinations = of(NotifyType::NAT_DETECTION_DESTINATION_IP).peekable();
    sources.peek()?;
    destinations.peek()?;
    let source = hash(initiator, responder, remote);
    let destination = hash(initiator, responder, local);
    Some(Nat {
        remote: !sources.any(|notify| notify.data == source),
        local: !destinations.any(|notify| notify.data == destination),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_translated_source_is_seen_and_nothing_else() {
        let (i, r) = (IkeSpi([1; 8]), IkeSpi::ZERO);
        let at = |last, port| SocketAddr::from((Ipv4Addr::new(192, 0, 2, last), port));
        let notifies: Vec<_> = notifications(i, r, at(1, 500), at(2, 500))
            .into_iter()
            .filter_map(|payload| match payload {
                Payload::Notify(notify) => Some(notify),
                _ => None,
            })
            .collect();
        let seen = |remote| detect(&notifies, i, r, at(2, 500), remote);
        assert_eq!(seen(at(1, 500)), Some(Nat { local: false, remote: false }));
        assert_eq!(seen(at(9, 500)), Some(Nat { local: false, remote: true }));
        assert_eq!(seen(at(1, 1024)), Some(Nat { local: false, remote: true }));
        assert_eq!(detect(&[], i, r, at(2, 500), at(1, 500)), None);
    }
}
