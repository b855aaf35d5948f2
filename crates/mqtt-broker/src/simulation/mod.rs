//! A world in one thread: some clients, the network between them and their `Connection`s, one `Core`, and a clock that is
//! a number. All its chance comes from one seed, so what went wrong once can be looked at again.
//!
//! A failure prints its seed, and `GMQTT_SIM_SEED` repeats it; `GMQTT_SIM_FRESH=1000` runs so many worlds that nobody has
//! seen. No socket, no runtime, no thread: those have tests of their own.

mod check;
mod client;
mod debts;
mod link;
mod oracle;
mod plan;
mod rng;
mod script;
mod stats;
mod store;
mod task;
mod world;

use std::{
    env,
    hash::{BuildHasher, RandomState},
    panic::{AssertUnwindSafe, catch_unwind},
};

pub(crate) use self::store::SlowStore;
use self::{stats::Stats, world::World};
use crate::net;

const FIXED_SEEDS: u64 = 50;
const FRESH_SEEDS: u64 = 15;

/// [MQTT-4.3.2-1] [MQTT-4.3.2-2] [MQTT-4.3.3-1] [MQTT-4.3.3-2] [MQTT-4.4.0-1] [MQTT-4.6.0-1] [MQTT-4.6.0-6]
#[test]
fn simulation_keeps_every_promise() {
    if let Ok(seed) = env::var("GMQTT_SIM_SEED") {
        let seed = seed.trim_start_matches("0x");
        run(u64::from_str_radix(seed, 16).expect("GMQTT_SIM_SEED is a seed as a failure prints it"));
        return;
    }
    let total = (0..FIXED_SEEDS).map(run).fold(Stats::default(), Stats::plus);
    assert!(total.has_seen_everything(), "some things never happened in these worlds: {total:?}");
    let count = env::var("GMQTT_SIM_FRESH").map_or(FRESH_SEEDS, |count| count.parse().expect("a number"));
    let fresh = RandomState::new();
    (0..count).map(|number| fresh.hash_one(number)).map(run).for_each(drop);
}

/// Else a seed would be worth nothing. The broker draws random numbers of its own, for its hash maps.
#[test]
fn simulation_of_one_seed_is_always_the_same() {
    for seed in 0..8 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}

fn run(seed: u64) -> Stats {
    let outcome = catch_unwind(AssertUnwindSafe(|| World::run(seed, net::now())));
    let outcome = outcome.unwrap_or_else(|_| Err("it panicked, see above".into()));
    outcome.unwrap_or_else(|why| {
        panic!("{why}\nto repeat it: GMQTT_SIM_SEED={seed:x} cargo test -p mqtt-broker simulation")
    })
}
