//! [`Scene::pace`]: so many acts a second, until the attack is over.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::Scene;

/// No sleep is longer: whoever stops the attack does not wait.
const LONGEST_SLEEP: Duration = Duration::from_millis(20);

impl Scene<'_> {
    /// The numbers of the acts, each when it is due; what could not be done in time is done as soon as it can, not skipped.
    ///
    /// Nothing is counted here: what the broker did not take was not done.
    pub(crate) fn pace(&self, per_second: u32) -> impl Iterator<Item = usize> + '_ {
        let between = Duration::from_secs(1) / per_second;
        (0u32..).map_while(move |number| {
            let due = self.begin + between * number;
            loop {
                if self.is_over() {
                    return None;
                }
                let wait = due.saturating_duration_since(Instant::now());
                if wait.is_zero() {
                    return Some(number as usize);
                }
                thread::sleep(wait.min(LONGEST_SLEEP));
            }
        })
    }
}
