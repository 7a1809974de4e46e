//! The protocol engine, sans-IO.
