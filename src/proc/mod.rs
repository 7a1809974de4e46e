//! The processes and their links.
