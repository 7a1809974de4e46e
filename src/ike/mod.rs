//! The protocol engine, sans-IO: values in, values out.
//!
//! [`event`] says which. No descriptor, no clock, no environment, no kernel dialect is known here:
//! the same engine runs in the daemon, in the two-engine tests, under the fuzzer and in the
//! benchmarks.

pub mod auth;
pub mod event;
pub mod report;
pub mod view;
