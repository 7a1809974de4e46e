//! Random mutations of real messages.
