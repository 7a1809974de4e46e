//! Key derivation, ciphers and key exchange proven on published vectors.
