//! The protocol engine, sans-IO: values in, values out.
//!
//! [`event`] says which. No descriptor, no clock, no environment, no kernel dialect is known here:
//! the same engine runs in the daemon, in the two-engine tests, under the fuzzer and in the
//! benchmarks.

pub mod auth;
pub mod event;
pub mod flow;
pub mod id;
pub mod natt;
pub mod proposal;
pub mod report;
pub mod selector;
pub mod timer;
pub mod view;
pub mod window;

use std::collections::VecDeque;
use std::time::Duration;

use crate::crypto::Random;
use event::{Input, KernelFlow, Output, Time};
use view::{SaView, Stats};
use window::Backoff;

/// What may be tuned without being configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The UDP ports: without and with UDP encapsulation.
    pub ports: (u16, u16),
    /// How requests are sent again.
    pub backoff: Backoff,
    /// How long a peer may take from IKE_SA_INIT to the end of IKE_AUTH.
    pub half_open: Duration,
    /// From how many half-open IKE SAs on a COOKIE is demanded (RFC 7296 §2.6).
    pub cookies_from: usize,
    /// The most half-open IKE SAs; what exceeds them is dropped.
    pub half_open_most: usize,
    /// How long a shutdown waits for acknowledgements.
    pub farewell: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ports: (500, 4500),
            backoff: Backoff::default(),
            half_open: Duration::from_secs(30),
            cookies_from: 32,
            half_open_most: 4096,
            farewell: Duration::from_secs(2),
        }
    }
}

/// The protocol engine.
///
/// Tell it with [`Engine::handle`], then do what [`Engine::poll`] says until it says no more, then
/// sleep until [`Engine::next_timeout`] or the next input.
pub struct Engine {
    outputs: VecDeque<Output>,
}

impl Engine {
    /// An engine without configuration.
    pub fn new(random: Box<dyn Random>, settings: Settings) -> Self {
        let _ = (random, settings);
        Self { outputs: VecDeque::new() }
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Time, input: Input<'_>) {
        let _ = (now, input);
    }

    /// What to do next.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to hand in [`Input::Timeout`].
    pub fn next_timeout(&self) -> Option<Time> {
        None
    }

    /// All IKE SAs with their children.
    pub fn sas(&self, now: Time) -> Vec<SaView> {
        let _ = now;
        Vec::new()
    }

    /// The flows that are in the kernel.
    pub fn flows(&self) -> Vec<KernelFlow> {
        Vec::new()
    }

    /// Counters since the start.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }
}
