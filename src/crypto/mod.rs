//! Keys and algorithms: secrets, PRFs, ciphers, key exchange.

pub mod secret;

pub use secret::Secret;
