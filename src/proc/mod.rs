//! The processes: start, links, drop of privileges, restart.

pub mod imsg;
pub mod poll;
