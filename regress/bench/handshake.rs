//! The cost of one handshake: raw cryptography, and the whole exchange against it.
//!
//! `cargo bench --bench handshake` prints tables in microseconds on one core. "Raw" is what the two roles
//! of IKE_SA_INIT and IKE_AUTH with a pre-shared key must compute, and nothing else: no message is
//! parsed, no state kept. "Whole" is two engines in this process that start with a configuration and end
//! with their child SAs handed to the kernel (which is played here, as is the holder of the key).

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod heap;
mod raw;
mod time;
mod whole;

#[global_allocator]
static COUNTING: heap::Counting = heap::Counting;

fn main() {
    raw::primitives();
    raw::handshakes();
    whole::handshakes();
    whole::memory();
}
