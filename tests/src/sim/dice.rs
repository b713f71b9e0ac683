//! Draws. Whatever differs between two histories comes out of here, and so out of the seed.

/// A generator of numbers: SplitMix64.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The same seed gives the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ 0x9E37_79B9_7F4A_7C15)
    }

    /// Uniform over all values.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 up to `end`, which is not drawn.
    pub fn below(&mut self, end: u32) -> u32 {
        (self.draw() % u64::from(end.max(1))) as u32
    }

    /// Small numbers often, large ones now and then, up to `end`.
    pub fn small(&mut self, end: u32) -> u32 {
        let scale = self.below(32 - end.max(1).leading_zeros()) + 1;
        self.below(1 << scale).min(end.saturating_sub(1))
    }

    /// True in so many of a hundred draws.
    pub fn percent(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u32) as usize]
    }
}
