//! Octets that must not be seen: keys, shared secrets, pre-shared keys.

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// Secret octets: wiped when dropped, compared in constant time, never printed.
///
/// It can be serialised, since secrets cross the links between processes; nothing else may.
#[derive(Clone, Serialize, Deserialize)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Takes octets over; the vector's own storage is wiped if it has to be moved.
    pub fn new(mut octets: Vec<u8>) -> Self {
        if octets.len() == octets.capacity() {
            return Self(octets.into_boxed_slice());
        }
        let kept = octets.as_slice().into();
        octets.zeroize();
        Self(kept)
    }

    /// The octets, to compute with.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// How many octets.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&[u8]> for Secret {
    fn from(octets: &[u8]) -> Self {
        Self(octets.into())
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && openssl::memcmp::eq(&self.0, &other.0)
    }
}

impl Eq for Secret {}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret({} octets)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_length_only() {
        assert_eq!(format!("{:?}", Secret::from(&b"very secret"[..])), "Secret(11 octets)");
    }

    #[test]
    fn comparison_sees_length_and_content() {
        let a = Secret::from(&b"abc"[..]);
        assert_eq!(a, Secret::new(b"abc".to_vec()));
        assert_ne!(a, Secret::from(&b"abd"[..]));
        assert_ne!(a, Secret::from(&b"ab"[..]));
    }
}
