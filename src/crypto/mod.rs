//! Keys and algorithms: secrets, PRFs, ciphers, key exchange.
