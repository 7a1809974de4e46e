//! Wire formats proven on captured octets.
