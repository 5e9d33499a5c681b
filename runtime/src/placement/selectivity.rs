//! How many rows a filter keeps.

/// A moving average of the share of rows that a filter keeps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Selectivity {
    share: f64,
    batches: u32,
}

impl Default for Selectivity {
    /// Half of the rows, until something is known.
    fn default() -> Self {
        Selectivity {
            share: 0.5,
            batches: 0,
        }
    }
}

impl Selectivity {
    /// Weight of the newest batch, once there have been enough of them.
    const WEIGHT: f64 = 0.125;

    /// The share expected of the next batch, from 0 to 1.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// Learns from a batch: rows kept of rows seen. Empty batches say nothing.
    pub fn observe(&mut self, kept: u64, rows: u64) {
        if rows == 0 {
            return;
        }
        self.batches = self.batches.saturating_add(1);
        // The plain average of the first few, then a moving one.
        let weight = Self::WEIGHT.max(1.0 / f64::from(self.batches));
        let share = (kept as f64 / rows as f64).clamp(0.0, 1.0);
        self.share += (share - self.share) * weight;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_moves() {
        let mut selectivity = Selectivity::default();
        selectivity.observe(0, 0);
        assert_eq!(selectivity.share(), 0.5);
        selectivity.observe(10, 100);
        assert!((selectivity.share() - 0.1).abs() < 1e-9);
        for _ in 0..40 {
            selectivity.observe(90, 100);
        }
        assert!((selectivity.share() - 0.9).abs() < 0.01);
    }
}
