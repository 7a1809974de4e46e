//! Wire formats: octets to values and back.
