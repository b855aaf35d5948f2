//! [`History`]: the last hour in numbers, so that a page that opens now shows what was before.
//!
//! Bounded: a sample a second for five minutes, and every tenth for an hour.

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mqtt_broker::{BrokerSnapshot, Counts, DropReason, SessionTotals};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::{
    sync,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::admin::Admin;

const FINE: (usize, u64) = (300, 1);
const COARSE: (usize, u64) = (360, 10);
/// Of the samples, those with fresh totals of all sessions.
const TOTALS_EVERY: u64 = 5;
const PERIOD: Duration = Duration::from_secs(1);

/// Who samples, and what was sampled.
#[derive(Default)]
pub(crate) struct History {
    /// Whoever has it samples.
    turn: sync::Mutex<()>,
    rings: Mutex<Rings>,
}

#[derive(Default)]
struct Rings {
    fine: VecDeque<Sample>,
    coarse: VecDeque<Sample>,
}

macro_rules! samples {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// The broker at one moment.
        #[derive(Clone, Debug, Default)]
        pub(crate) struct Sample {
            at_ms: u64,
            $($name: u64,)+
            dropped: Vec<u64>,
        }

        /// Moments in time, oldest first: a column for each number, all of the same length. What is counted only grows.
        #[derive(Debug, Default, Serialize, ToSchema)]
        pub(crate) struct Columns {
            /// How far apart they are, in seconds.
            step_secs: u64,
            /// When, in milliseconds since 1970.
            at_ms: Vec<u64>,
            $($(#[doc = $doc])+ $name: Vec<u64>,)+
            /// Messages dropped so far: a row for each reason of `drop_reasons`.
            dropped: Vec<Vec<u64>>,
            /// The names of these rows.
            drop_reasons: Vec<&'static str>,
        }

        impl Columns {
            fn push(&mut self, sample: &Sample) {
                self.at_ms.push(sample.at_ms);
                $(self.$name.push(sample.$name);)+
                for (row, &count) in self.dropped.iter_mut().zip(&sample.dropped) {
                    row.push(count);
                }
            }
        }
    };
}

samples! {
    /// Messages received so far.
    messages_received,
    /// Messages sent so far.
    messages_sent,
    /// Bytes read so far.
    bytes_received,
    /// Bytes sent so far.
    bytes_sent,
    /// Open connections.
    connections,
    /// Sessions, connected or not.
    sessions,
    /// Subscriptions.
    subscriptions,
    /// Retained messages.
    retained_messages,
    /// Messages that wait, in all sessions together.
    queued_messages,
    /// Their topics and payloads, in bytes.
    queued_bytes,
    /// From the reading of a PUBLISH to the hand-over to the receiver's socket: half of the messages since the sample before
    /// took no longer than this, in microseconds; 0 if there was none.
    residence_p50_micros,
    /// 99 of 100 took no longer than this.
    residence_p99_micros,
}

impl History {
    /// Takes a sample each second until `stop`, once nobody else does so.
    pub(crate) async fn keep(&self, admin: &Admin, stop: CancellationToken) {
        let Some(_turn) = stop.run_until_cancelled(self.turn.lock()).await else { return };
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut before, mut totals) = (admin.broker().counts(), SessionTotals::default());
        let mut long_before = before.clone();
        for tick in 0_u64.. {
            if stop.run_until_cancelled(ticks.tick()).await.is_none() {
                break;
            }
            // All sessions are gone through for them: not each second, and never by way of what the API keeps of it.
            if tick.is_multiple_of(TOTALS_EVERY)
                && let Ok(fresh) = admin.heavy(|admin| admin.broker().session_totals()).await
            {
                totals = fresh;
            }
            let now = admin.broker().snapshot();
            let mut rings = self.rings.lock();
            if tick.is_multiple_of(COARSE.1) {
                push(&mut rings.coarse, COARSE.0, Sample::of(&now, &totals, &long_before));
                long_before.clone_from(&now.counts);
            }
            push(&mut rings.fine, FINE.0, Sample::of(&now, &totals, &before));
            before = now.counts;
        }
    }

    /// What was sampled after this moment: the last hour, or each second of the last minutes.
    pub(crate) fn columns(&self, fine: bool, after_ms: u64) -> Columns {
        let rings = self.rings.lock();
        let (ring, step_secs) = if fine { (&rings.fine, FINE.1) } else { (&rings.coarse, COARSE.1) };
        let mut columns = Columns {
            step_secs,
            dropped: vec![Vec::new(); DropReason::ALL.len()],
            drop_reasons: DropReason::ALL.iter().map(|reason| reason.as_str()).collect(),
            ..Columns::default()
        };
        ring.iter().filter(|sample| sample.at_ms > after_ms).for_each(|sample| columns.push(sample));
        columns
    }
}

fn push(ring: &mut VecDeque<Sample>, most: usize, sample: Sample) {
    if ring.len() >= most {
        ring.pop_front();
    }
    ring.push_back(sample);
}

impl Sample {
    fn of(all: &BrokerSnapshot, totals: &SessionTotals, before: &Counts) -> Self {
        let number = |n: usize| n as u64;
        let pairs = all.counts.residence.iter().zip(&before.residence);
        let residence: Vec<u64> = pairs.map(|(now, before)| now.saturating_sub(*before)).collect();
        Self {
            at_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
            messages_received: all.counts.publishes_received.iter().sum(),
            messages_sent: all.counts.publishes_sent.iter().sum(),
            bytes_received: all.counts.bytes_received,
            bytes_sent: all.counts.bytes_sent,
            connections: number(all.connections),
            sessions: number(all.sessions),
            subscriptions: number(all.subscriptions),
            retained_messages: number(all.retained_messages),
            queued_messages: number(totals.queued_messages),
            queued_bytes: number(totals.queued_bytes),
            residence_p50_micros: quantile_micros(&residence, 50),
            residence_p99_micros: quantile_micros(&residence, 99),
            dropped: DropReason::ALL.iter().map(|&reason| all.counts.dropped_for(reason)).collect(),
        }
    }
}

/// The upper bound of the bucket in which this percentage of the messages is reached.
fn quantile_micros(buckets: &[u64], percent: u64) -> u64 {
    let wanted = (buckets.iter().sum::<u64>() * percent).div_ceil(100);
    let (mut reached, mut last) = (0, 0);
    // What is beyond all bounds counts with the greatest.
    for (&messages, bound) in buckets.iter().zip(Counts::residence_bounds()) {
        if reached >= wanted {
            break;
        }
        (reached, last) = (reached + messages, bound.as_micros() as u64);
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_secs: u64) -> Sample {
        let dropped = vec![at_secs; DropReason::ALL.len()];
        Sample { at_ms: at_secs * 1_000, messages_received: 2 * at_secs, dropped, ..Sample::default() }
    }

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        let bounds: Vec<u64> = Counts::residence_bounds().map(|bound| bound.as_micros() as u64).collect();
        let mut buckets = vec![0; bounds.len() + 1];
        assert_eq!(quantile_micros(&buckets, 99), 0);
        (buckets[1], buckets[4]) = (98, 2);
        assert_eq!(quantile_micros(&buckets, 50), bounds[1]);
        assert_eq!(quantile_micros(&buckets, 99), bounds[4]);
        buckets[bounds.len()] = 1_000_000;
        assert_eq!(quantile_micros(&buckets, 99), bounds[bounds.len() - 1]);
    }

    #[test]
    fn an_hour_is_kept_and_no_more() {
        let history = History::default();
        for second in 0..10_000 {
            let mut rings = history.rings.lock();
            if second % COARSE.1 == 0 {
                push(&mut rings.coarse, COARSE.0, sample(second));
            }
            push(&mut rings.fine, FINE.0, sample(second));
        }
        let (hour, minutes) = (history.columns(false, 0), history.columns(true, 0));
        assert_eq!((hour.at_ms.len(), minutes.at_ms.len()), (360, 300));
        assert_eq!((hour.at_ms[0], hour.at_ms[359]), (6_400_000, 9_990_000));
        assert_eq!((minutes.at_ms[0], minutes.at_ms[299]), (9_700_000, 9_999_000));
        assert_eq!(minutes.messages_received[299], 19_998);
        assert!(minutes.dropped.iter().all(|row| row.len() == 300 && row[299] == 9_999));
        assert_eq!(history.columns(true, 9_997_000).at_ms, [9_998_000, 9_999_000]);
    }
}
