#![no_main]
mod reader;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| reader::read("netbsd", octets));
