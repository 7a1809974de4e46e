//! Key material: wiped when dropped, never printed.

use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Octets that are wiped on drop and that `Debug` does not show.
///
/// ```
/// let key = pfkey::Secret::new(vec![1, 2, 3]);
/// assert_eq!(format!("{key:?}"), "Secret(3 octets)");
/// assert_eq!(key.expose(), [1, 2, 3]);
/// ```
#[derive(Clone, Default, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the octets over; no copy stays behind.
    pub fn new(octets: Vec<u8>) -> Secret {
        Secret(octets)
    }

    /// The octets themselves.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Number of octets.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<u8>> for Secret {
    fn from(octets: Vec<u8>) -> Secret {
        Secret(octets)
    }
}

impl From<&[u8]> for Secret {
    fn from(octets: &[u8]) -> Secret {
        Secret(octets.to_vec())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} octets)", self.0.len())
    }
}
