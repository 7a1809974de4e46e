//! Random mutations of real messages.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code)]
#[path = "../wire/corpus.rs"]
mod corpus;
mod engine;
#[path = "../util/insider.rs"]
mod insider;
#[path = "../util/pair.rs"]
mod pair;
mod wire;
mod wire_v1;
