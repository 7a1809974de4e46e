//! Wire formats proven on captured octets, on the pictures of the RFCs, and on octets that are wrong.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod captures;
mod corpus;
mod malformed;
mod pictures;
mod sealed;
mod v1;
mod v1_malformed;
