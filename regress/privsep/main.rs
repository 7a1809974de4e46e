//! The processes of a running daemon: who they are, what they hold, and what they survive.
//!
//! The daemon runs decoupled from the kernel's SADB, so no PF_KEY is needed; but it must be started by
//! root, on Linux (the cases look into /proc). Elsewhere they are skipped with a message.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod daemon;
mod hostile;
mod kernels;
mod life;
#[allow(dead_code)]
#[path = "../util/pfkey-relay.rs"]
mod relay;
mod secrets;
