//! Time from sending to receiving, as a histogram.
//!
//! Under open loop the time of sending is the intended one, so a stall of the server counts for every message that
//! should have been sent meanwhile: coordinated omission cannot hide it.

use std::time::Duration;

use hdrhistogram::Histogram;

const HIGHEST_NS: u64 = 3_600_000_000_000;

/// Nanoseconds, to three significant digits.
#[derive(Clone, Debug)]
pub(crate) struct Latency {
    histogram: Histogram<u64>,
    /// A run of equal values not yet recorded: messages of one batch share both their times.
    pending: (u64, u64),
}

impl Latency {
    pub(crate) fn new() -> Self {
        // The only errors are about bounds, and these are constants.
        let histogram = Histogram::new_with_bounds(1, HIGHEST_NS, 3)
            .unwrap_or_else(|_| unreachable!("constant bounds are legal"));
        Self { histogram, pending: (0, 0) }
    }

    pub(crate) fn record(&mut self, nanoseconds: u64) {
        if nanoseconds == self.pending.0 {
            self.pending.1 += 1;
        } else {
            self.settle();
            self.pending = (nanoseconds, 1);
        }
    }

    /// Records the pending run.
    pub(crate) fn settle(&mut self) {
        let (value, count) = std::mem::take(&mut self.pending);
        if count > 0 {
            self.histogram.saturating_record_n(value.max(1), count);
        }
    }

    /// Adds what another has recorded.
    pub(crate) fn merge(&mut self, mut other: Self) {
        other.settle();
        // The only error is about bounds, and all have the same.
        let _ = self.histogram.add(&other.histogram);
    }

    pub(crate) fn count(&self) -> u64 {
        self.histogram.len() + self.pending.1
    }

    /// The value that `percent` of all do not exceed.
    pub(crate) fn percentile(&self, percent: f64) -> Duration {
        Duration::from_nanos(self.histogram.value_at_percentile(percent))
    }

    pub(crate) fn max(&self) -> Duration {
        Duration::from_nanos(self.histogram.max())
    }

    /// (microseconds, share of all at most that), for a curve.
    pub(crate) fn curve(&self) -> Vec<(f64, f64)> {
        self.histogram
            .iter_quantiles(4)
            .map(|point| (point.value_iterated_to() as f64 / 1e3, point.quantile()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_equal_values_count_each() {
        let mut latency = Latency::new();
        for value in [5, 5, 5, 1000, 5] {
            latency.record(value);
        }
        latency.settle();
        assert_eq!(latency.count(), 5);
        assert_eq!(latency.percentile(50.0), Duration::from_nanos(5));
        assert_eq!(latency.max(), Duration::from_micros(1));
    }

    #[test]
    fn what_another_recorded_is_added() {
        let (mut latency, mut other) = (Latency::new(), Latency::new());
        latency.record(5);
        latency.settle();
        other.record(1000);
        latency.merge(other);
        assert_eq!((latency.count(), latency.max()), (2, Duration::from_micros(1)));
    }
}
