#![no_main]
//! Datagrams of either version: what parses is emitted as octets that parse to the same.

use oakd::wire::{dump, v1, v2};

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let mut octets = octets.to_vec();
    // Most get past the header so.
    let length = octets.len() as u32;
    if let Some(field) = octets.get_mut(24..28) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    if let Ok((header, payloads)) = v2::parse_message(&octets) {
        let again = v2::emit_message(&header, &payloads);
        assert_eq!(v2::parse_message(&again).map(|(_, same)| same), Ok(payloads.clone()));
        drop(dump::dump(&header, &payloads));
    }
    let _ = v1::parse_message(&octets);
});
