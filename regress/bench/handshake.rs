//! The cost of one handshake: raw cryptography against the whole exchange.

fn main() {}
