//! The protocol engine, sans-IO: values in, values out.
//!
//! [`event`] says which. No descriptor, no clock, no environment, no kernel dialect is known here:
//! the same engine runs in the daemon, in the two-engine tests, under the fuzzer and in the
//! benchmarks.

pub mod auth;
pub mod bundle;
pub mod child;
pub mod core;
mod engine;
pub mod event;
pub mod flow;
pub mod frame;
pub mod guesses;
pub mod id;
pub mod inner;
pub mod natt;
pub mod outstanding;
pub mod path;
pub mod policy;
pub mod pool;
pub mod proposal;
pub mod provide;
mod quota;
pub mod reassembly;
pub mod report;
pub mod sa;
pub mod selector;
pub mod table;
pub mod timer;
pub mod v1;
pub mod v2;
pub mod view;
pub mod window;

pub use engine::Engine;

use std::time::Duration;

use outstanding::Backoff;

/// What may be tuned without being configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The UDP ports: without and with UDP encapsulation.
    pub ports: (u16, u16),
    /// How requests are sent again.
    pub backoff: Backoff,
    /// How many peers are called at a time; further active policies wait for their turn.
    pub calls: usize,
    /// How many requests of a peer we take at a time once an IKE SA stands (RFC 7296 §2.3).
    pub window: u8,
    /// How long a peer may take from IKE_SA_INIT to the end of IKE_AUTH.
    pub half_open: Duration,
    /// From how many half-open IKE SAs on a COOKIE is demanded (RFC 7296 §2.6).
    pub cookies_from: usize,
    /// The same for one network (IPv4 /24, IPv6 /48).
    pub cookies_from_one: usize,
    /// How many half-open IKE SAs may run out within a minute before a COOKIE is always demanded.
    pub wary_from: u32,
    /// The most half-open IKE SAs; what exceeds them is dropped.
    pub half_open_most: usize,
    /// The most of one network.
    pub half_open_one: usize,
    /// The most half-open IKE SAs before an opening that costs a key exchange at once is dropped
    /// (Aggressive Mode of IKEv1).
    pub half_open_costly: usize,
    /// The most IKE SAs of one peer at one address; with one more the oldest goes.
    pub of_one_peer: usize,
    /// How long a shutdown waits for acknowledgements.
    pub farewell: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ports: (500, 4500),
            backoff: Backoff::default(),
            calls: 128,
            window: 4,
            half_open: Duration::from_secs(30),
            cookies_from: 32,
            cookies_from_one: 8,
            wary_from: 16,
            half_open_most: 4096,
            half_open_one: 256,
            half_open_costly: 64,
            of_one_peer: 1024,
            farewell: Duration::from_secs(2),
        }
    }
}
