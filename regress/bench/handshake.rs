//! The cost of one handshake: raw cryptography, and the whole exchange against it.
//!
//! `cargo bench --bench handshake` prints tables in microseconds on one core. "Raw" is what the two roles
//! of IKE_SA_INIT and IKE_AUTH with a pre-shared key must compute, and nothing else: no message is
//! parsed, no state kept.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod raw;
mod time;

fn main() {
    raw::primitives();
    raw::handshakes();
}
