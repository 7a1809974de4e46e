//! Random mutations of real messages.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code)]
#[path = "../wire/corpus.rs"]
mod corpus;
mod wire;
