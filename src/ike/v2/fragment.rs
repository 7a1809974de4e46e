//! Fragmentation (RFC 7383): messages too large for the path go in several datagrams, each protected by
//! itself, and what comes so is put together within bounds.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::keys::Protection;
use super::seal::{self, Fault, Piece};
use crate::ike::core::Core;
use crate::ike::event::Time;
use crate::ike::frame::Frame;
use crate::ike::reassembly::{OVERHEAD, Room};
use crate::ike::report::Event;
use crate::wire::iana::v2::{ExchangeType, NotifyType, PayloadType};
use crate::wire::v2::sk::Fragment;
use crate::wire::v2::{Notify, Payload, parse_payloads};
use crate::wire::{Header, MessageId};

/// The most fragments that a message may have here: 255 of the smallest size hold 120 KB.
pub const MOST: u16 = 255;

/// How long the first fragment waits for the last.
const PATIENCE: Duration = Duration::from_secs(30);

/// The most octets of one message, without padding and with what keeping it costs.
const MOST_OCTETS: usize = 64 * 1024;

/// How many messages of one IKE SA may be incomplete at a time: one each way, and the window's next.
const MOST_SETS: usize = 4;

/// After so many repetitions of one message it is tried in smaller fragments.
const IN_VAIN: u8 = 2;

/// The largest IP datagram, headers and all, that a message may become (RFC 7383 §2.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// 1280 octets: what every IPv6 path takes and every IPv4 path in practice.
    Usual,
    /// 576 octets in IPv4, when larger ones do not get through.
    Small,
}

impl Size {
    /// The same in octets.
    pub fn octets(self, is_ipv4: bool) -> u16 {
        match (self, is_ipv4) {
            (Size::Small, true) => 576,
            _ => 1280,
        }
    }

    /// What is left for the IKE message: without the headers of IP and UDP and the non-ESP marker.
    fn room(self, is_ipv4: bool) -> usize {
        let headers = if is_ipv4 { 20 } else { 40 } + 8 + 4;
        usize::from(self.octets(is_ipv4)) - headers
    }
}

/// What an IKE SA does about fragments.
#[derive(Debug, Default)]
pub struct Fragments {
    /// How large a datagram may be; `None` as long as both sides have not said that they can.
    pub size: Option<Size>,
    /// Whether a message was sent, and one received, in fragments.
    pub used: (bool, bool),
    repeated: (u8, u8),
    sets: Vec<Set>,
}

/// A message that is not whole yet.
#[derive(Debug)]
struct Set {
    response: bool,
    id: MessageId,
    exchange: ExchangeType,
    first: PayloadType,
    total: u16,
    parts: BTreeMap<u16, Vec<u8>>,
    room: Room,
    until: Time,
}

/// The notification that says we can, where it is configured.
pub fn notification(core: &Core) -> Option<Payload> {
    let able = core.globals.fragmentation;
    able.then(|| Payload::Notify(Notify::new(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED)))
}

impl Fragments {
    /// Both sides can, if the peer says so and we are to.
    pub fn negotiated(&mut self, core: &Core, notifies: &[Notify]) {
        let supported = NotifyType::IKEV2_FRAGMENTATION_SUPPORTED;
        let peer_can = notifies.iter().any(|notify| notify.notify_type == supported);
        self.able(core, peer_can);
    }

    /// Both sides can, if the peer can and we are to; in IKEv1 its vendor ID says so.
    pub fn able(&mut self, core: &Core, peer_can: bool) {
        self.size = (peer_can && core.globals.fragmentation).then_some(Size::Usual);
    }

    /// For an IKE SA that takes another's place.
    pub fn successor(&self) -> Self {
        Self { size: self.size, used: self.used, ..Self::default() }
    }

    /// How long a message from this address of ours may be before it is cut.
    pub fn room(&self, local: SocketAddr) -> Option<usize> {
        self.size.map(|size| size.room(local.is_ipv4()))
    }

    /// A new request of ours goes out.
    pub fn asked(&mut self) {
        self.repeated.0 = 0;
    }

    /// A new answer of ours goes out.
    pub fn answered(&mut self) {
        self.repeated.1 = 0;
    }

    /// A request (or else an answer) goes out again: whether smaller pieces should be tried.
    pub fn repeats_in_vain(&mut self, request: bool) -> bool {
        let count = if request { &mut self.repeated.0 } else { &mut self.repeated.1 };
        *count = count.saturating_add(1);
        self.size == Some(Size::Usual) && *count >= IN_VAIN
    }

    /// When [`Fragments::expire`] has something to do.
    pub fn deadline(&self) -> Option<Time> {
        self.sets.iter().map(|set| set.until).min()
    }

    /// Forgets what did not become whole in time.
    pub fn expire(&mut self, now: Time) {
        self.sets.retain(|set| set.until > now);
        if self.sets.is_empty() {
            self.sets.shrink_to_fit();
        }
    }

    /// Keeps a fragment; the whole message when it was the last one missing.
    fn keep(
        &mut self,
        core: &Core,
        header: &Header,
        piece: Piece,
        fragment: Fragment,
        (remote, proved): (IpAddr, bool),
    ) -> Result<Option<(PayloadType, Vec<u8>)>, String> {
        let Fragment { number, total } = fragment;
        if total > MOST {
            return Err(format!("a message in {total} fragments, {MOST} are allowed"));
        }
        let (response, id, exchange) = (header.is_response(), header.message_id, header.exchange);
        let known = self.sets.iter().position(|set| (set.response, set.id) == (response, id));
        let known = match known {
            Some(at) if self.sets[at].total < total => {
                // The peer cut the message anew, smaller (RFC 7383 §2.6).
                self.sets.remove(at);
                None
            }
            other => other,
        };
        let at = match known {
            Some(at) => at,
            None => {
                if self.sets.len() >= MOST_SETS {
                    self.sets.remove(0);
                }
                let room = core.fragments.room(remote, proved);
                let until = core.now.after(PATIENCE);
                self.sets.push(Set {
                    response,
                    id,
                    exchange,
                    first: PayloadType::NONE,
                    total,
                    parts: BTreeMap::new(),
                    room,
                    until,
                });
                self.sets.len() - 1
            }
        };
        let set = &mut self.sets[at];
        if set.total > total {
            return Err("a fragment of an older set, larger pieces".into());
        }
        if set.exchange != exchange {
            return Err(format!("a fragment of {exchange} among those of {}", set.exchange));
        }
        set.put(number, piece)?;
        let is_whole = set.parts.len() == usize::from(set.total);
        Ok(is_whole.then(|| {
            let set = self.sets.remove(at);
            self.sets.shrink_to_fit();
            (set.first, set.parts.values().flatten().copied().collect())
        }))
    }
}

impl Set {
    fn put(&mut self, number: u16, piece: Piece) -> Result<(), String> {
        if self.parts.contains_key(&number) {
            return Ok(());
        }
        if piece.inner.is_empty() {
            return Err("a fragment of nothing".into());
        }
        let octets = self.room.octets() + piece.inner.len() + OVERHEAD;
        if octets > MOST_OCTETS {
            return Err(format!("a message of more than {MOST_OCTETS} octets"));
        }
        self.room.resize(octets)?;
        if number == 1 {
            self.first = piece.first;
        }
        self.parts.insert(number, piece.inner);
        Ok(())
    }
}

/// Verifies and opens a message, in one datagram or in the last missing of several, and reads its
/// payloads. Only the peer's own fragments are kept, and only of messages that the window expects.
///
/// # Errors
///
/// See [`Fault`].
pub fn open(
    frame: &mut Frame,
    core: &mut Core,
    protection: &Protection,
    header: &Header,
    datagram: &[u8],
) -> Result<Vec<Payload>, Fault> {
    let piece = seal::unseal(protection, header, datagram)?;
    let fragment = piece.fragment;
    let (first, inner) = match fragment {
        None => (piece.first, piece.inner),
        Some(_) if frame.fragments.size.is_none() => {
            return Err(Fault::Forged("a fragment, which was not negotiated".into()));
        }
        Some(fragment) => {
            core.stats.fragments_in += 1;
            let whose = (frame.remote.ip(), frame.is_authenticated);
            match frame.fragments.keep(core, header, piece, fragment, whose) {
                Ok(Some(whole)) => whole,
                Ok(None) => return Err(Fault::Incomplete),
                Err(why) => {
                    frame.report(core, Event::Dropped { why });
                    return Err(Fault::Incomplete);
                }
            }
        }
    };
    if fragment.is_some() && !std::mem::replace(&mut frame.fragments.used.1, true) {
        frame.report(core, Event::Fragmented { way: crate::ike::report::Way::In });
    }
    parse_payloads(first, &inner).map_err(Fault::Malformed)
}

/// The same message of ours in smaller pieces, if some of what went out is larger than those; from now
/// on everything is sent so.
pub fn smaller(
    frame: &mut Frame,
    core: &mut Core,
    protection: &mut Protection,
    octets: &[u8],
) -> Option<Vec<u8>> {
    let is_ipv4 = frame.local.is_ipv4();
    let room = Size::Small.room(is_ipv4);
    if Header::messages(octets).all(|message| message.len() <= room) {
        return None;
    }
    let header = Header::parse(octets).ok()?;
    let (mut first, mut inner) = (PayloadType::NONE, Vec::new());
    for message in Header::messages(octets) {
        let header = Header::parse(message).ok()?;
        let piece = seal::unseal_own(protection, &header, message).ok()?;
        if piece.fragment.is_none_or(|fragment| fragment.number == 1) {
            first = piece.first;
        }
        inner.extend(piece.inner);
    }
    let random = &mut *core.random;
    let sealed = seal::seal_inner(protection, &header, (first, &inner), Some(room), random).ok()?;
    frame.fragments.size = Some(Size::Small);
    frame.report(core, Event::FragmentsShrink { octets: Size::Small.octets(is_ipv4) });
    sent(frame, core, &sealed);
    Some(sealed)
}

/// A message of ours goes out: whether it is in fragments is noted.
pub fn sent(frame: &mut Frame, core: &mut Core, octets: &[u8]) {
    let count = Header::messages(octets).count();
    if count < 2 {
        return;
    }
    core.stats.fragments_out += u64::try_from(count).unwrap_or(0);
    if !std::mem::replace(&mut frame.fragments.used.0, true) {
        frame.report(core, Event::Fragmented { way: crate::ike::report::Way::Out });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::crypto::SeededRandom;
    use crate::ike::Settings;
    use crate::wire::{Flags, IkeSpi};

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn core() -> Core {
        Core::new(Box::new(SeededRandom::new(1)), Settings::default())
    }

    fn header(id: u32) -> Header {
        let exchange = ExchangeType::IKE_AUTH;
        let spi = IkeSpi([1; 8]);
        Header::v2(spi, spi, exchange, Flags::v2(true, false), MessageId(id))
    }

    fn piece(text: &[u8]) -> Piece {
        Piece { first: PayloadType::IDI, fragment: None, inner: text.to_vec() }
    }

    fn keep(
        fragments: &mut Fragments,
        core: &Core,
        text: &[u8],
        (number, total): (u16, u16),
    ) -> Result<Option<Vec<u8>>, String> {
        let fragment = Fragment { number, total };
        let kept = fragments.keep(core, &header(1), piece(text), fragment, (PEER, true));
        kept.map(|whole| whole.map(|(_, octets)| octets))
    }

    #[test]
    fn fragments_come_in_any_order_and_twice() {
        let (core, mut it) = (core(), Fragments::default());
        assert_eq!(keep(&mut it, &core, b"c", (3, 3)), Ok(None));
        assert_eq!(keep(&mut it, &core, b"x", (3, 3)), Ok(None));
        assert_eq!(keep(&mut it, &core, b"a", (1, 3)), Ok(None));
        assert_eq!(core.fragments.octets(), 2 * (1 + OVERHEAD));
        assert_eq!(keep(&mut it, &core, b"b", (2, 3)), Ok(Some(b"abc".to_vec())));
        assert_eq!(core.fragments.octets(), 0);
    }

    #[test]
    fn a_set_of_smaller_pieces_takes_the_place_of_the_old() {
        let (core, mut it) = (core(), Fragments::default());
        assert_eq!(keep(&mut it, &core, b"ab", (1, 2)), Ok(None));
        assert_eq!(keep(&mut it, &core, b"a", (1, 3)), Ok(None));
        assert!(keep(&mut it, &core, b"cd", (2, 2)).is_err());
        assert_eq!(keep(&mut it, &core, b"b", (2, 3)), Ok(None));
        assert_eq!(keep(&mut it, &core, b"c", (3, 3)), Ok(Some(b"abc".to_vec())));
    }

    #[test]
    fn memory_is_bounded_per_message_per_sa_and_in_all() {
        let (mut core, mut it) = (core(), Fragments::default());
        assert!(keep(&mut it, &core, b"a", (1, MOST + 1)).is_err());
        let large = vec![0; MOST_OCTETS / 2 - OVERHEAD];
        assert_eq!(keep(&mut it, &core, &large, (1, 3)), Ok(None));
        assert_eq!(keep(&mut it, &core, &large, (2, 3)), Ok(None));
        assert!(keep(&mut it, &core, b"1", (3, 3)).is_err());
        for id in 10..100 {
            let fragment = Fragment { number: 1, total: 2 };
            it.keep(&core, &header(id), piece(b"a"), fragment, (PEER, true)).unwrap();
        }
        let least = MOST_SETS * (1 + OVERHEAD);
        assert_eq!((it.sets.len(), core.fragments.octets()), (MOST_SETS, least));
        core.now = core.now.after(PATIENCE);
        it.expire(core.now);
        assert_eq!((it.sets.len(), core.fragments.octets()), (0, 0));
        let mut many: Vec<Fragments> = Vec::new();
        let full = loop {
            let mut it = Fragments::default();
            let fragment = Fragment { number: 1, total: 2 };
            let kept = it.keep(&core, &header(1), piece(&large), fragment, (PEER, false));
            many.push(it);
            if let Err(why) = kept {
                break why;
            }
        };
        assert!(full.contains("too many"), "{full}");
        // Who has proved to be the peer still finds room.
        assert_eq!(keep(&mut it, &core, &large, (1, 2)), Ok(None));
        drop(many);
        assert_eq!(core.fragments.octets(), MOST_OCTETS / 2);
    }
}
