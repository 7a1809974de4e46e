//! Captured messages, mutated by a seeded generator: parsing never panics, and whatever parses is
//! emitted as octets that parse to the same.

use oakd::wire::dump;
use oakd::wire::v2::{self, sk};
use oakd::wire::{Header, iana::v2::PayloadType};

use crate::corpus::{Case, Kind, cases};

/// Mutations of each captured message. `OAKD_FUZZ_ROUNDS` sets another number.
const ROUNDS: u32 = 2000;

/// A 64-bit xorshift generator (Marsaglia, 2003).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 16).unwrap() % limit.max(1)
    }

    pub fn octet(&mut self) -> u8 {
        let edges = [0, 1, 2, 3, 4, 7, 8, 0x7f, 0x80, 0xff];
        match self.below(3) {
            0 => edges[self.below(edges.len())],
            _ => self.next().to_le_bytes()[3],
        }
    }
}

/// Changes some octets, cuts some out, doubles some or swaps in those of another message.
pub fn mutate(random: &mut Random, octets: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=random.below(4) {
        let at = random.below(octets.len());
        let span = random.below(24).min(octets.len() - at);
        match random.below(8) {
            0 => octets.truncate(at),
            1 => drop(octets.drain(at..at + span)),
            2 => {
                let piece = octets[at..at + span].to_vec();
                octets.splice(at..at, piece);
            }
            3 => {
                let from = random.below(other.len());
                let piece = other[from..].iter().take(span).copied();
                octets.splice(at..at + span, piece.collect::<Vec<_>>());
            }
            4 => {
                let Some(octet) = octets.get_mut(at) else { continue };
                *octet ^= 1 << random.below(8);
            }
            _ => {
                let value = random.octet();
                let Some(octet) = octets.get_mut(at) else { continue };
                *octet = value;
            }
        }
    }
}

/// Sets the length of a mutated datagram right, so that most of them get past the header.
pub fn set_length(octets: &mut [u8]) {
    let length = u32::try_from(octets.len()).unwrap();
    if let Some(field) = octets.get_mut(24..28) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

/// Whether the octets parse. Panics if what parses does not come back the same.
fn try_inside(first: PayloadType, octets: &[u8]) -> bool {
    let Ok(payloads) = v2::parse_payloads(first, octets) else { return false };
    let (first, emitted) = v2::emit_payloads(&payloads);
    assert_eq!(v2::parse_payloads(first, &emitted), Ok(payloads.clone()));
    payloads.iter().for_each(|payload| drop(dump::line(payload)));
    true
}

fn try_datagram(octets: &[u8]) -> bool {
    if let Ok(header) = Header::parse(octets) {
        for (iv_len, icv_len) in [(8, 16), (16, 12), (0, 0)] {
            let Ok(sealed) = sk::split(octets, &header, iv_len, icv_len) else { continue };
            let layout = sealed.layout;
            assert_eq!(layout.aad, 0..layout.iv.start);
            assert_eq!(layout.iv, layout.aad.end..layout.cipher.start);
            assert_eq!(layout.cipher.end, layout.icv.start);
            assert_eq!(layout.icv.end, header.message(octets).len());
            let _ = sk::strip_padding(&octets[layout.cipher]);
        }
    }
    let Ok((header, payloads)) = v2::parse_message(octets) else { return false };
    let emitted = v2::emit_message(&header, &payloads);
    let (again, same) = v2::parse_message(&emitted).unwrap();
    assert_eq!(same, payloads);
    // Reserved bits make no difference to lengths, so the header comes back as it was.
    assert_eq!(again, header);
    drop(dump::dump(&header, &payloads) + &dump::summary(&header, &payloads));
    true
}

fn attempt(case: &Case, octets: &mut [u8]) -> bool {
    match case.kind {
        Kind::Datagram => {
            set_length(octets);
            try_datagram(octets)
        }
        Kind::Inside(first) => try_inside(first, octets),
    }
}

/// How often each captured message is mutated.
pub fn rounds() -> u32 {
    let rounds = std::env::var("OAKD_FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok());
    rounds.unwrap_or(ROUNDS)
}

/// Mutates all cases by a generator with this seed; `attempt` says whether the octets parse.
pub fn mutations(cases: &[Case], seed: u64, attempt: impl Fn(&Case, &mut [u8]) -> bool) {
    let rounds = rounds();
    let mut random = Random(seed);
    let (mut parsed, mut refused) = (0u64, 0u64);
    for case in cases {
        for _ in 0..rounds {
            let other = &cases[random.below(cases.len())].octets;
            let mut octets = case.octets.clone();
            mutate(&mut random, &mut octets, other);
            match attempt(case, &mut octets) {
                true => parsed += 1,
                false => refused += 1,
            }
        }
    }
    assert!(parsed > refused / 50, "{parsed} parsed, {refused} refused: mutations are too wild");
    assert!(refused > parsed / 50, "{parsed} parsed, {refused} refused: mutations are too tame");
}

#[test]
fn mutated_messages_never_panic_and_come_back_the_same() {
    mutations(&cases(), 0x9e37_79b9_7f4a_7c15, attempt);
}

#[test]
fn noise_never_panics() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for round in 0..20_000 {
        let length = random.below(200);
        let mut octets: Vec<u8> = (0..length).map(|_| random.octet()).collect();
        try_inside(PayloadType(33 + u8::try_from(round % 22).unwrap()), &octets);
        set_length(&mut octets);
        try_datagram(&octets);
    }
}
