//! Proof of the `pfkey` crate: tables and layouts against what compilers said of each system's
//! headers, and messages against recorded conversations with real kernels.
//!
//! `facts/` and `transcripts/` are compact copies; with the full ones beside the repository
//! (`../shared/facts`) those are compared too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod behaviour;
mod facts;
mod linux;
mod mutations;
mod scripted;
mod transcripts;
mod util;
