//! Two engines on a pretend network with a pretend clock.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod children;
mod fragments;
mod further;
mod handshake;
mod orders;
#[path = "../util/pair.rs"]
mod pair;
