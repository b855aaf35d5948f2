//! [`BatchCounter`]: how a store writes, in numbers: how many records a batch has, and how long one takes.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Times that are told apart: up to 16 µs, 32 µs and so on up to 67 s, and beyond.
const TIMES: usize = 24;
const FIRST_TIME: u32 = 4;
/// Sizes that are told apart: up to 1 record, 2, 4 and so on up to 16,384, and beyond.
const SIZES: usize = 16;

/// What a store has written since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchCounts {
    /// Batches by how long they took to be durable, the sync included, in the buckets of [`BatchCounts::time_bounds`] and
    /// one more for what is beyond.
    pub times: [u64; TIMES],
    /// All times added up, in microseconds.
    pub micros: u64,
    /// Batches by how many records they had, in the buckets of [`BatchCounts::size_bounds`] and one more.
    pub sizes: [u64; SIZES],
    /// All records.
    pub records: u64,
}

/// Counts batches as they are written.
#[derive(Debug, Default)]
pub struct BatchCounter {
    times: [AtomicU64; TIMES],
    micros: AtomicU64,
    sizes: [AtomicU64; SIZES],
    records: AtomicU64,
}

impl BatchCounts {
    /// The upper bounds of all buckets of `times` but the last, which has none.
    pub fn time_bounds() -> impl Iterator<Item = Duration> {
        (0..TIMES as u32 - 1).map(|bucket| Duration::from_micros(1 << (FIRST_TIME + bucket)))
    }

    /// The upper bounds of all buckets of `sizes` but the last, which has none.
    pub fn size_bounds() -> impl Iterator<Item = u64> {
        (0..SIZES as u32 - 1).map(|bucket| 1 << bucket)
    }
}

impl BatchCounter {
    /// A batch of so many records is durable, after so long.
    pub fn add(&self, records: usize, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let time = (bits(micros).saturating_sub(FIRST_TIME) as usize).min(TIMES - 1);
        let size = (bits(records as u64) as usize).min(SIZES - 1);
        for (counter, more) in [
            (self.times.get(time), 1),
            (self.sizes.get(size), 1),
            (Some(&self.micros), micros),
            (Some(&self.records), records as u64),
        ] {
            if let Some(counter) = counter {
                counter.fetch_add(more, Relaxed);
            }
        }
    }

    /// What was counted.
    pub fn counts(&self) -> BatchCounts {
        BatchCounts {
            times: std::array::from_fn(|bucket| self.times[bucket].load(Relaxed)),
            micros: self.micros.load(Relaxed),
            sizes: std::array::from_fn(|bucket| self.sizes[bucket].load(Relaxed)),
            records: self.records.load(Relaxed),
        }
    }
}

/// The power of 2 that is not less.
fn bits(number: u64) -> u32 {
    u64::BITS - number.saturating_sub(1).leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_in_the_first_buckets_that_hold_it() {
        let times: Vec<Duration> = BatchCounts::time_bounds().collect();
        let sizes: Vec<u64> = BatchCounts::size_bounds().collect();
        assert_eq!((times.len(), sizes.len()), (TIMES - 1, SIZES - 1));
        for (records, micros) in
            [(0, 0), (1, 16), (2, 17), (3, 1_000), (16_384, 1 << 26), (1 << 40, u64::MAX)]
        {
            let counter = BatchCounter::default();
            counter.add(records, Duration::from_micros(micros));
            let counts = counter.counts();
            let time = times.iter().position(|bound| Duration::from_micros(micros) <= *bound);
            let size = sizes.iter().position(|bound| records as u64 <= *bound);
            assert_eq!(counts.times[time.unwrap_or(TIMES - 1)], 1, "{micros}");
            assert_eq!(counts.sizes[size.unwrap_or(SIZES - 1)], 1, "{records}");
            assert_eq!((counts.records, counts.micros), (records as u64, micros));
        }
    }
}
