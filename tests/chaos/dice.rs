//! Chance that can be had again: all that is random here comes from one seed, so that a run can be repeated as nearly as
//! processes and networks allow.

use std::time::Duration;

/// `SplitMix64`: the same numbers for the same seed.
pub struct Dice(u64);

impl Dice {
    /// Everybody has his own: who throws when is for the scheduler to say.
    pub fn new(seed: u64, whose: u64) -> Self {
        let mut dice = Self(seed ^ whose.wrapping_mul(0xd6e8_feb8_6659_fd93));
        dice.below(2);
        dice
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }

    pub fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    pub fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below(most - least + 1))
    }

    /// All of them, in some order.
    pub fn shuffled<T: Clone>(&mut self, all: &[T]) -> Vec<T> {
        let mut all = all.to_vec();
        for last in (1..all.len()).rev() {
            all.swap(last, self.index(last + 1));
        }
        all
    }
}

#[test]
fn the_same_seed_throws_the_same() {
    let throws = |seed, whose| {
        let mut dice = Dice::new(seed, whose);
        (dice.below(1000), dice.millis(5, 7), dice.shuffled(&[1, 2, 3, 4, 5, 6, 7, 8]))
    };
    assert_eq!(throws(1, 2), throws(1, 2));
    assert_ne!(throws(1, 2), throws(2, 2));
    assert_ne!(throws(1, 2), throws(1, 3));
    let (_, between, mut all) = throws(9, 9);
    all.sort_unstable();
    assert!((5..=7).contains(&between.as_millis()));
    assert_eq!(all, [1, 2, 3, 4, 5, 6, 7, 8]);
}
