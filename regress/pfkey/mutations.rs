//! Recorded messages, broken in every way that chance finds: reading gives a value or an error,
//! never a panic, and what is read can be written and read again.

use crate::util::{Kind, recorded, transcript};
use pfkey::{Dialect, Message, Packet};

/// A small generator, so that a failure can be had again (xorshift, Marsaglia 2003).
struct Chance(u64);

impl Chance {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }

    fn mutate(&mut self, octets: &mut Vec<u8>) {
        for _ in 0..=self.next(4) {
            let at = self.next(octets.len());
            match self.next(6) {
                0 => octets[at] = self.next(256) as u8,
                1 => octets[at] ^= 1 << self.next(8),
                2 => octets.truncate(at),
                3 => octets.extend_from_slice(&[0; 8]),
                // A length word of an extension, which is where readers trip.
                4 if octets.len() > 20 => octets[at & !7] = self.next(8) as u8,
                _ => octets[at] = [0, 1, 2, 16, 28, 0x7f, 0xff][self.next(7)],
            }
            if octets.is_empty() {
                return;
            }
        }
        // Most get past the header's own check.
        if self.next(4) > 0 && octets.len() >= 16 {
            let words = (octets.len() / 8) as u16;
            octets.truncate(usize::from(words) * 8);
            octets[4..6].copy_from_slice(&words.to_ne_bytes());
        }
    }
}

#[test]
fn broken_messages_are_values_or_errors() {
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let (mut good, mut bad) = (0, 0);
    for from in recorded() {
        for line in transcript(from).iter().filter(|l| l.kind != Kind::Errno) {
            for _ in 0..40 {
                let mut octets = line.octets.clone();
                chance.mutate(&mut octets);
                for dialect in Dialect::all() {
                    match Message::parse(dialect, &octets) {
                        Err(e) => {
                            assert!(!e.to_string().is_empty());
                            bad += 1;
                        }
                        Ok(m) => {
                            let _ = (format!("{m:?}"), pfkey::print::message(&m));
                            let _ = dialect.interpret(&octets);
                            let again: Packet = m.emit();
                            let reread = Message::parse(dialect, &again);
                            assert!(reread.is_ok(), "{}: {:?} {m:?}", line.place, reread.err());
                            good += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(good > 10_000 && bad > 10_000, "{good} read, {bad} refused: not much of a test");
}

#[test]
fn every_length_of_every_message() {
    for from in recorded() {
        for line in transcript(from).iter().filter(|l| l.kind != Kind::Errno).step_by(7) {
            for len in 0..line.octets.len() {
                let cut = &line.octets[..len];
                assert!(Message::parse(from, cut).is_err(), "{} cut to {len}", line.place);
            }
        }
    }
}
