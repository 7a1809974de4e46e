//! Random mutations of real messages.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[allow(dead_code)]
#[path = "../wire/corpus.rs"]
mod corpus;
mod engine;
mod engine_v1;
#[path = "../util/insider.rs"]
mod insider;
#[path = "../util/pair.rs"]
mod pair;
#[path = "../util/v1_insider.rs"]
mod v1_insider;
mod wire;
mod wire_v1;
