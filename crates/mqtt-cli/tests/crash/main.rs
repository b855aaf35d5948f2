//! The crash test: the real binary, killed again and again, never loses what it has acknowledged.
//!
//! Clients with records of their own publish, subscribe, come and go; the broker is killed (SIGKILL) at a random moment,
//! also while it starts, and, in each run, while its store merges files and while it reads what was left; then everything that
//! was promised is looked up. `docs/durability.md` says what that is.
//!
//! `cargo xtask crash [--rounds N] [--seed S]` runs it for as long as you like. What a seed repeats is what the clients
//! and the killer do; the machine's timing differs from run to run.

mod broker;
mod churner;
mod flipper;
mod link;
mod mortal;
mod observer;
mod phase;
mod publisher;
mod rng;
mod subscriber;
mod watch;
mod world;

use std::{
    env, fs,
    hash::{BuildHasher, RandomState},
    time::Instant,
};

use self::world::World;

/// Where nobody asks for more: enough to see that it works.
const FEW_ROUNDS: u64 = 2;
/// So many more are made at most until a kill has come in a compaction and in a recovery.
const MORE_ROUNDS: u64 = 30;
/// A line about the rounds so far each time.
const ROUNDS_A_LINE: u64 = 10;

#[test]
fn nothing_acknowledged_is_lost() {
    let rounds = from_environment("GMQTT_CRASH_ROUNDS").unwrap_or(FEW_ROUNDS);
    let seed = from_environment("GMQTT_CRASH_SEED").unwrap_or_else(|| RandomState::new().hash_one(0) >> 32);
    let directory = env::temp_dir().join(format!("gmqtt-crash-{seed}-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    println!("crash: {rounds} rounds, seed {seed}, in {}", directory.display());
    let mut world = World::new(&directory, seed);
    let begun = Instant::now();
    let mut done = 0;
    let outcome = world.set_up().and_then(|mut address| {
        while done < rounds || !world.tally.is_thorough() {
            if done >= rounds + MORE_ROUNDS {
                return Err(format!("no kill came where one has to: {:?}", world.tally));
            }
            address = world.round(address)?;
            done += 1;
            if done % ROUNDS_A_LINE == 0 || done >= rounds {
                let [messages, subscriptions, deliveries, repetitions] = world.counts();
                println!(
                    "crash: {done} rounds in {:.0} s: {messages} messages and {subscriptions} subscriptions \
                     acknowledged, {deliveries} deliveries ({repetitions} repeated at QoS 1); {:?}",
                    begun.elapsed().as_secs_f64(),
                    world.tally
                );
            }
        }
        Ok(())
    });
    if let Err(why) = outcome {
        panic!(
            "after {done} rounds: {why}\nkept: {}\nonce more: cargo xtask crash --rounds {rounds} --seed {seed}",
            directory.display()
        );
    }
    drop(world);
    fs::remove_dir_all(&directory).unwrap();
}

fn from_environment(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}
