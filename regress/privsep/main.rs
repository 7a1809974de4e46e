//! The processes: start, links, drop of privileges, restart.
