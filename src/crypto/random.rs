//! Where random octets come from. The engine takes them only through [`Random`].

/// A source of random octets.
pub trait Random {
    /// Fills `out` wholly.
    fn fill(&mut self, out: &mut [u8]);

    /// A number below `bound` (0 if the bound is 0); the bias is below 2^-32 for small bounds.
    fn below(&mut self, bound: u64) -> u64 {
        // Nothing is drawn where there is no choice: a draw costs as much as an HMAC.
        if bound <= 1 {
            return 0;
        }
        let mut octets = [0; 8];
        self.fill(&mut octets);
        u64::from_be_bytes(octets) % bound
    }
}

/// The cryptographic library's generator, seeded by the kernel.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemRandom;

impl Random for SystemRandom {
    /// # Panics
    ///
    /// If the generator fails: going on with predictable keys would be worse than to stop.
    #[allow(clippy::panic)]
    fn fill(&mut self, out: &mut [u8]) {
        if let Err(error) = openssl::rand::rand_bytes(out) {
            panic!("the random generator failed, no keys can be made: {error}");
        }
    }
}

/// A predictable source (splitmix64) for tests, simulation and benchmarks. Never for keys in use.
#[derive(Debug, Clone)]
pub struct SeededRandom(u64);

impl SeededRandom {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Random for SeededRandom {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let octets = self.next().to_be_bytes();
            chunk.copy_from_slice(&octets[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeded_repeats_and_system_does_not() {
        let draw = |random: &mut dyn Random| {
            let mut octets = [0; 19];
            random.fill(&mut octets);
            octets
        };
        assert_eq!(draw(&mut SeededRandom::new(7)), draw(&mut SeededRandom::new(7)));
        assert_ne!(draw(&mut SeededRandom::new(7)), draw(&mut SeededRandom::new(8)));
        assert_ne!(draw(&mut SystemRandom), draw(&mut SystemRandom));
        assert!((0..100).all(|_| SystemRandom.below(3) < 3));
        assert_eq!(SystemRandom.below(0), 0);
    }
}
