//! Fragments of messages, as Cisco, Windows, strongSwan and libreswan have them (MS-IKEE §3.1.5): each is a
//! datagram with a header and one Fragment payload, in clear, whatever the message is.
//!
//! Both ends must have said so by a vendor ID. Nothing vouches for a fragment; what comes out of them
//! is believed no more than any datagram. So one message at a time is put together, of bounded size, and
//! only for an SA that is there.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ike::event::Time;
use crate::ike::reassembly::{OVERHEAD as KEEPING, Room};
use crate::wire::iana::v1::{ExchangeType, PayloadType};
use crate::wire::payload::PAYLOAD_HEADER_LEN;
use crate::wire::v1::fragment::FRAGMENT_HEADER_LEN;
use crate::wire::v1::{Fragment, Payload, emit_message};
use crate::wire::{Flags, Header, IkeSpi, MessageId};

/// Octets of a fragment's datagram besides its data.
const OVERHEAD: usize = 28 + PAYLOAD_HEADER_LEN + FRAGMENT_HEADER_LEN;

/// The least data of a fragment of ours.
const LEAST: usize = 64;

/// The longest message that is put together, in octets.
pub const LONGEST: usize = 32 * 1024;

/// How long the fragments of a message may take.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Cuts a message into datagrams of at most `most` octets; the message itself where it fits, or where
/// it would take more fragments than can be counted.
pub fn cut(message: Vec<u8>, most: usize, id: u16) -> Vec<Vec<u8>> {
    let room = most.saturating_sub(OVERHEAD).max(LEAST);
    let count = message.len().div_ceil(room);
    let Ok(header) = Header::parse(&message) else { return vec![message] };
    if message.len() <= most || count > usize::from(u8::MAX) {
        return vec![message];
    }
    // Others put the exchange that opened the SA and message ID 0 here, whatever the message is, and take
    // anything; Aggressive Mode stays what it is.
    let exchange = match header.exchange_v1() {
        ExchangeType::AGGRESSIVE => ExchangeType::AGGRESSIVE,
        _ => ExchangeType::IDENTITY_PROTECTION,
    };
    let header =
        Header::v1(header.initiator, header.responder, exchange, Flags::default(), MessageId(0));
    let pieces = (1..=u8::MAX).zip(message.chunks(room));
    let datagrams = pieces.map(|(number, data)| {
        let last = usize::from(number) == count;
        let fragment = Fragment { id, number, last, data: data.to_vec() };
        emit_message(&header, &[Payload::Fragment(fragment)])
    });
    datagrams.collect()
}

/// Whether a datagram is a fragment.
pub fn is_fragment(header: &Header) -> bool {
    header.next_payload_v1() == PayloadType::FRAGMENT && !header.flags.contains(Flags::ENCRYPTION)
}

/// The fragments of one message that are here, and the room that they take.
#[derive(Debug)]
pub struct Pieces {
    here: Reassembly,
    room: Room,
}

impl Pieces {
    /// None yet.
    pub fn new(room: Room) -> Self {
        Self { here: Reassembly::default(), room }
    }

    /// As [`Reassembly::add`], if there is room.
    ///
    /// # Errors
    ///
    /// Likewise.
    pub fn add(
        &mut self,
        now: Time,
        fragment: Fragment,
        cookies: (IkeSpi, IkeSpi),
    ) -> Result<Option<Vec<u8>>, String> {
        let added = self.here.add(now, fragment, cookies);
        let kept = self.room.resize(self.here.octets() + self.here.pieces.len() * KEEPING);
        if kept.is_err() {
            self.here = Reassembly::default();
            let _ = self.room.resize(0);
        }
        kept.and(added)
    }

    /// When they are of no use any more.
    pub fn deadline(&self) -> Time {
        self.here.since.after(PATIENCE)
    }
}

/// The fragments of one message that are here.
#[derive(Debug, Default)]
pub struct Reassembly {
    id: u16,
    since: Time,
    pieces: BTreeMap<u8, Vec<u8>>,
    /// The number of the last one, once it is here.
    last: Option<u8>,
    octets: usize,
}

impl Reassembly {
    /// Takes a fragment of the SA with these cookies: the whole message when it was the one that was
    /// missing. One of another message, or after too long a time, begins anew; a second one of the same
    /// number is left out.
    ///
    /// # Errors
    ///
    /// Why fragment and all that was here is dropped, in words.
    pub fn add(
        &mut self,
        now: Time,
        fragment: Fragment,
        (initiator, responder): (IkeSpi, IkeSpi),
    ) -> Result<Option<Vec<u8>>, String> {
        if self.id != fragment.id || now.since(self.since) > PATIENCE || self.pieces.is_empty() {
            *self = Self { id: fragment.id, since: now, ..Self::default() };
        }
        let Fragment { number, last, data, .. } = fragment;
        if self.pieces.contains_key(&number) {
            return Ok(None);
        }
        let beyond = self.last.is_some_and(|last| number > last);
        let before = last && self.pieces.keys().next_back().is_some_and(|most| *most > number);
        if beyond || before || (last && self.last.is_some()) {
            *self = Self::default();
            return Err(format!("fragment {number} does not fit to its last one"));
        }
        if data.is_empty() || self.octets + data.len() > LONGEST {
            *self = Self::default();
            return Err(format!("fragments of no octets, or of more than {LONGEST}"));
        }
        self.last = self.last.or(last.then_some(number));
        self.octets += data.len();
        self.pieces.insert(number, data);
        if self.last.map(usize::from) != Some(self.pieces.len()) {
            return Ok(None);
        }
        let message = std::mem::take(self).pieces.into_values().collect::<Vec<_>>().concat();
        let header = Header::parse(&message).map_err(|error| error.to_string())?;
        if is_fragment(&header) {
            return Err("fragments of a fragment".into());
        }
        // An SA of which the responder's cookie is not known yet has 0 there.
        if header.initiator != initiator
            || (header.responder != responder && !responder.is_zero())
            || header.version.major() != 1
        {
            return Err("fragments of a message for another SA".into());
        }
        Ok(Some(message))
    }

    /// Octets that are kept.
    pub fn octets(&self) -> usize {
        self.octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::v1::{Content, emit_content, parse_message};

    const COOKIES: (IkeSpi, IkeSpi) = (IkeSpi([1; 8]), IkeSpi([2; 8]));

    fn message(len: usize) -> Vec<u8> {
        let exchange = ExchangeType::QUICK_MODE;
        let header = Header::v1(COOKIES.0, COOKIES.1, exchange, Flags::ENCRYPTION, MessageId(9));
        let content: Vec<u8> = (0..=250).cycle().take(len - 28).collect();
        emit_content(&header, PayloadType::HASH, &content)
    }

    fn fragment(datagram: &[u8]) -> Fragment {
        let (header, content) = parse_message(datagram).unwrap();
        assert!(is_fragment(&header));
        assert_eq!((header.message_id, header.flags), (MessageId(0), Flags::default()));
        let Content::Clear(mut payloads) = content else { panic!("encrypted") };
        match (payloads.pop(), payloads.len()) {
            (Some(Payload::Fragment(fragment)), 0) => fragment,
            other => panic!("{other:?}"),
        }
    }

    fn piece(number: u8, last: bool, data: &[u8]) -> Fragment {
        Fragment { id: 1, number, last, data: data.to_vec() }
    }

    #[test]
    fn what_is_cut_comes_together_in_any_order() {
        let whole = message(3000);
        let datagrams = cut(whole.clone(), 576, 7);
        assert_eq!(datagrams.len(), 6);
        assert!(datagrams.iter().all(|datagram| datagram.len() <= 576));
        let mut here = Reassembly::default();
        for at in [5, 0, 3, 3, 1, 4] {
            assert_eq!(here.add(Time::default(), fragment(&datagrams[at]), COOKIES), Ok(None));
        }
        let done = here.add(Time::default(), fragment(&datagrams[2]), COOKIES);
        assert_eq!(done, Ok(Some(whole)));
        assert_eq!(here.octets(), 0, "nothing is kept");
    }

    #[test]
    fn what_fits_is_not_cut() {
        let whole = message(500);
        assert_eq!(cut(whole.clone(), 576, 1), [whole]);
        let huge = message(60_000);
        assert_eq!(cut(huge.clone(), 200, 1), [huge], "no 255 fragments hold it");
        assert_eq!(cut(vec![1, 2, 3], 2, 1), [[1, 2, 3]], "no message at all");
    }

    #[test]
    fn another_message_or_a_long_wait_begins_anew() {
        let datagrams = cut(message(1500), 576, 1);
        let mut here = Reassembly::default();
        here.add(Time::default(), fragment(&datagrams[0]), COOKIES).unwrap();
        here.add(Time::default(), Fragment { id: 2, ..piece(2, false, &[0; 9]) }, COOKIES).unwrap();
        assert_eq!(here.octets(), 9);
        let later = Time::default().after(PATIENCE + Duration::from_secs(1));
        here.add(later, Fragment { id: 2, ..piece(1, false, &[0; 4]) }, COOKIES).unwrap();
        assert_eq!(here.octets(), 4);
    }

    #[test]
    fn lies_are_dropped_with_all_that_was_here() {
        let refused = |pieces: &[Fragment]| {
            let mut here = Reassembly::default();
            let mut last = Ok(None);
            for piece in pieces {
                last = here.add(Time::default(), piece.clone(), COOKIES);
            }
            assert_eq!(here.octets(), 0);
            last.unwrap_err()
        };
        let words = refused(&[piece(2, true, &[1]), piece(3, false, &[1])]);
        assert!(words.contains("does not fit"), "{words}");
        let words = refused(&[piece(3, false, &[1]), piece(2, true, &[1])]);
        assert!(words.contains("does not fit"), "{words}");
        let words = refused(&[piece(2, true, &[1]), piece(1, true, &[1])]);
        assert!(words.contains("does not fit"), "{words}");
        let words = refused(&[piece(1, false, &[])]);
        assert!(words.contains("no octets"), "{words}");
        let words = refused(&[piece(1, false, &[0; LONGEST]), piece(2, false, &[0])]);
        assert!(words.contains("more than"), "{words}");
        let words = refused(&[piece(1, true, &[0; 40])]);
        assert!(words.contains("message length"), "{words}");
        let inner = cut(message(1000), 576, 3).remove(0);
        let words = refused(&[piece(1, true, &inner)]);
        assert_eq!(words, "fragments of a fragment");
        let mut other = message(100);
        other[0] = 9;
        let words = refused(&[piece(1, true, &other)]);
        assert_eq!(words, "fragments of a message for another SA");
    }
}
