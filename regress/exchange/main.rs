//! Two engines on a pretend network with a pretend clock.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod addresses;
mod agreements;
#[path = "../util/certs.rs"]
mod certs;
mod children;
mod clauses;
mod crowd;
mod explained;
mod flood;
mod forgotten;
mod fragments;
mod further;
mod handshake;
mod hostile;
#[path = "../util/insider.rs"]
mod insider;
mod insiders;
mod moves;
mod odd_requests;
mod orders;
#[path = "../util/pair.rs"]
mod pair;
mod paths;
mod peers;
mod reload;
mod signatures;
mod v1_addresses;
mod v1_bundles;
mod v1_encryption;
mod v1_fragments;
mod v1_further;
mod v1_hostile;
#[path = "../util/v1_insider.rs"]
mod v1_insider;
mod v1_insiders;
mod v1_login;
mod v1_login_insiders;
mod v1_losses;
mod v1_odd_peers;
mod v1_orders;
mod v1_paths;
mod v1_phases;
mod v1_signatures;
