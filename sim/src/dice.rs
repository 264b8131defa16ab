//! Numbers that look random and are not: the same seed gives the same numbers, on every machine, for ever.

use std::ops::RangeInclusive;
use std::time::Duration;

/// splitmix64. Small, and good enough to draw faults with.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(seed)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Dice for one purpose: what is drawn from them does not change what is drawn for others.
    pub fn split(&mut self) -> Dice {
        Dice(self.draw())
    }

    pub fn between(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = range.into_inner();
        low + self.draw() % (high - low + 1)
    }

    pub fn ms(&mut self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.between(range))
    }

    /// Somewhere from zero to this, to the microsecond.
    pub fn up_to(&mut self, most: Duration) -> Duration {
        Duration::from_micros(self.between(0..=u64::try_from(most.as_micros()).unwrap_or(u64::MAX - 1)))
    }

    pub fn percent(&mut self, chance: u64) -> bool {
        self.between(0..=99) < chance
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.between(0..=from.len() as u64 - 1) as usize].clone()
    }

    /// One of the values, each as likely as its weight says.
    pub fn weighted<T: Clone>(&mut self, from: &[(u64, T)]) -> T {
        let mut left = self.between(0..=from.iter().map(|(weight, _)| weight).sum::<u64>() - 1);
        for (weight, value) in from {
            if left < *weight {
                return value.clone();
            }
            left -= weight;
        }
        unreachable!("what is left is below the sum of the weights")
    }

    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for index in (1..values.len()).rev() {
            values.swap(index, self.between(0..=index as u64) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Dice;

    /// A seed found years ago must still be the same call.
    #[test]
    fn the_numbers_of_a_seed_never_change() {
        let mut dice = Dice::new(0);
        assert_eq!(dice.draw(), 0xE220_A839_7B1D_CDAF);
        assert_eq!(dice.draw(), 0x6E78_9E6A_A1B9_65F4);
        let mut dice = Dice::new(7);
        let mut values: Vec<u64> = (0..100).map(|_| dice.weighted(&[(1, 0), (3, 1)])).collect();
        assert!((60..90).contains(&values.iter().sum::<u64>()));
        dice.shuffle(&mut values);
        assert!((0..1_000).all(|_| (3..=5).contains(&dice.between(3..=5))));
    }
}
