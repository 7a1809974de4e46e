#![no_main]
//! Datagrams from anywhere to an engine that waits for its peer: never a panic, and what it holds for
//! them is gone when their time is over. Pieces are cut by a length of two octets each.

#[path = "../../../util/pair.rs"]
mod pair;

use oakd::ike::Settings;
use oakd::ike::event::Input;
use pair::{B, Pair, policy};

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let mut pair = Pair::with(Settings::default(), 1);
    pair.configure(B, vec![policy(B)]);
    let (local, remote) = ("192.0.2.2:500".parse().unwrap(), "192.0.2.1:500".parse().unwrap());
    let mut left = octets;
    for _ in 0..8 {
        let Some((head, rest)) = left.split_first_chunk::<2>() else { break };
        let len = usize::from(u16::from_be_bytes(*head)).min(rest.len());
        let (piece, rest) = rest.split_at(len);
        left = rest;
        let mut octets = piece.to_vec();
        if let Some(field) = octets.get_mut(24..28) {
            field.copy_from_slice(&(len as u32).to_be_bytes());
        }
        pair.input(B, Input::Datagram { local, remote, octets: &octets });
    }
    pair.pass(60);
    assert_eq!(pair.sides[B].kernel.sas.len(), 0);
});
