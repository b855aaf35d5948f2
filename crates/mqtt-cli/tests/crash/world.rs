//! [`World`]: the broker, its clients, and what happens to them round after round.

use std::{net::SocketAddr, path::Path, thread, time::Duration};

use crate::{
    broker::Broker,
    churner::Churner,
    flipper::Flipper,
    link::Stop,
    mortal::Mortal,
    observer,
    phase::{Client, Goal, Phase},
    publisher::{Publisher, Topic},
    rng::Rng,
    subscriber::{Habit, Subscriber},
};

pub(crate) struct World {
    rng: Rng,
    broker: Broker,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    churner: Churner,
    flipper: Flipper,
    mortals: Vec<Mortal>,
    /// How long the latest start took.
    start: Duration,
    probes: u64,
    pub(crate) tally: Tally,
}

/// What was done so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) kills_under_load: u64,
    pub(crate) kills_during_start: u64,
    pub(crate) kills_while_settling: u64,
    /// Of those under load: the store was merging sorted files.
    pub(crate) kills_in_compaction: u64,
    /// Of those during a start: it had begun to read what was left, and had not come to its end.
    pub(crate) kills_in_recovery: u64,
    pub(crate) orderly_stops: u64,
    pub(crate) longest_start: Duration,
    /// The greatest number of a sorted file: flushes and compactions were going on while it was killed.
    pub(crate) sorted_files: u64,
}

impl Tally {
    /// Whether it was killed in all the places where a kill needs some luck.
    pub(crate) fn is_thorough(&self) -> bool {
        self.kills_in_compaction > 0 && self.kills_in_recovery > 0
    }
}

impl World {
    pub(crate) fn new(directory: &Path, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let publishers = publishers(&mut rng);
        let subscriber = |(name, filter, granted, habit), rng: &mut Rng| {
            Subscriber::new(name, filter, granted, habit, rng.fork())
        };
        let subscribers = SUBSCRIBERS.map(|description| subscriber(description, &mut rng)).into();
        Self {
            publishers,
            subscribers,
            churner: Churner::new(rng.fork()),
            flipper: Flipper::new(rng.fork()),
            mortals: [("mortal", false), ("mortal-clean", true)]
                .map(|(name, clean)| Mortal::new(name, clean, rng.fork()))
                .into(),
            broker: Broker::new(directory, rng.fork()),
            start: Duration::from_millis(100),
            probes: 0,
            tally: Tally::default(),
            rng,
        }
    }

    /// Starts the broker for the first time, and makes the subscriptions that all rounds need.
    pub(crate) fn set_up(&mut self) -> Result<SocketAddr, String> {
        let address = self.start()?;
        let phase = Phase::load(address);
        self.subscribers.iter_mut().try_for_each(|subscriber| subscriber.set_up(&phase)).map_err(told)?;
        Churner::set_up(&phase).map_err(told)?;
        observer::set_up(&phase).map_err(told)?;
        Ok(address)
    }

    /// Load, a kill in the middle of it, and everything that was promised looked up afterwards.
    pub(crate) fn round(&mut self, address: SocketAddr) -> Result<SocketAddr, String> {
        let phase = Phase::load(address);
        let time = Duration::from_millis(self.rng.within(20..400));
        // A merge is over in a moment, and so the kill may come too late: until one has not, each round tries.
        let hunts = self.tally.kills_in_compaction == 0 || self.rng.percent(30);
        self.run_until_killed(&phase, time, hunts)?;
        self.tally.kills_under_load += 1;
        let mut address = self.restart()?;
        while self.rng.percent(25) {
            let phase = Phase::settle(address, self.goal(), self.publishers.len());
            let time = Duration::from_millis(self.rng.within(0..150));
            self.run_until_killed(&phase, time, false)?;
            self.tally.kills_while_settling += 1;
            address = self.restart()?;
        }
        self.settle(address)?;
        self.tally.sorted_files = self.tally.sorted_files.max(self.broker.sorted_files());
        if self.rng.percent(10) {
            self.broker.stop()?;
            self.tally.orderly_stops += 1;
            address = self.start()?;
        }
        Ok(address)
    }

    /// Messages acknowledged, subscriptions acknowledged, deliveries, and how many of these were repetitions at QoS 1.
    pub(crate) fn counts(&self) -> [u64; 4] {
        let acknowledged = self.publishers.iter().map(|publisher| publisher.acknowledged).sum();
        let deliveries = self.subscribers.iter().map(|subscriber| subscriber.deliveries).sum();
        let repetitions = self.subscribers.iter().map(|subscriber| subscriber.repetitions).sum();
        [acknowledged, self.churner.acknowledged, deliveries, repetitions]
    }

    /// Kills after so long; in the next compaction after that, if that is what it hunts.
    fn run_until_killed(&mut self, phase: &Phase, time: Duration, hunts: bool) -> Result<(), String> {
        let Self { broker, publishers, subscribers, churner, flipper, mortals, tally, .. } = self;
        let clients = all(publishers, subscribers, churner, flipper, mortals);
        phase.run(clients, || {
            thread::sleep(time);
            let killed = if hunts { broker.kill_in_compaction(HUNT) } else { broker.kill().map(|()| false) };
            phase.end();
            tally.kills_in_compaction += u64::from(killed?);
            Ok(())
        })
    }

    /// After a kill, and perhaps a few more while it starts. Then the state is looked up before anybody changes it.
    fn restart(&mut self) -> Result<SocketAddr, String> {
        while self.rng.percent(35) {
            let most = self.start.as_micros() as u64 * 3 / 2;
            self.broker.start_and_kill(Duration::from_micros(self.rng.within(0..most)))?;
            self.tally.kills_during_start += 1;
        }
        if self.tally.kills_in_recovery == 0 || self.rng.percent(25) {
            self.kill_in_recovery()?;
        }
        let address = self.start()?;
        let phase = Phase::load(address);
        observer::check_retained(&phase, &self.publishers).map_err(told)?;
        self.probes += 1;
        let probe = format!("probe {}", self.probes);
        observer::probe(&phase, &probe).map_err(told)?;
        self.churner.verify(&phase, &probe).map_err(|why| format!("churner: {}", told(why)))?;
        Ok(address)
    }

    /// Again and again, until it was not too late: by then there is less to read.
    fn kill_in_recovery(&mut self) -> Result<(), String> {
        let mut most = self.start.as_micros() as u64;
        loop {
            self.tally.kills_during_start += 1;
            if self.broker.start_and_kill_in_recovery(Duration::from_micros(self.rng.within(0..most)))? {
                self.tally.kills_in_recovery += 1;
                return Ok(());
            }
            most = most / 2 + 1;
        }
    }

    fn start(&mut self) -> Result<SocketAddr, String> {
        let (address, time) = self.broker.start()?;
        self.start = time;
        self.tally.longest_start = self.tally.longest_start.max(time);
        Ok(address)
    }

    /// Whatever was begun is brought to its end, and must be complete then.
    fn settle(&mut self, address: SocketAddr) -> Result<(), String> {
        let phase = Phase::settle(address, self.goal(), self.publishers.len());
        let Self { publishers, subscribers, churner, flipper, mortals, .. } = self;
        phase.run(all(publishers, subscribers, churner, flipper, mortals), || Ok(()))?;
        observer::check_retained(&phase, &self.publishers).map_err(told)
    }

    fn goal(&self) -> Goal {
        let mut goal = Goal::default();
        self.publishers.iter().for_each(|publisher| publisher.add_last_numbers(&mut goal.last));
        for mortal in &self.mortals {
            goal.wills.extend(mortal.due.iter().cloned());
            goal.void_wills.extend(mortal.void.iter().cloned());
        }
        goal
    }
}

/// How long a kill waits for a compaction.
const HUNT: Duration = Duration::from_secs(5);

const SUBSCRIBERS: [(&str, &str, mqtt_codec::QoS, Habit); 5] = {
    use mqtt_codec::QoS::{AtLeastOnce, ExactlyOnce};
    [
        ("stays", "t/#", ExactlyOnce, Habit::Stays),
        ("comes-and-goes", "t/#", ExactlyOnce, Habit::ComesAndGoes),
        ("comes-and-goes-1", "t/+/2", AtLeastOnce, Habit::ComesAndGoes),
        ("absent", "t/#", ExactlyOnce, Habit::Absent),
        ("watcher", "w/#", ExactlyOnce, Habit::ComesAndGoes),
    ]
};

fn publishers(rng: &mut Rng) -> Vec<Publisher> {
    let mut publisher = |name: &str, clean: bool, window, topics: &[Topic]| {
        Publisher::new(name, clean, window, rng.fork(), topics.to_vec())
    };
    let noise = || Topic::retained("z/noise/0", 0);
    vec![
        publisher("mixed", false, 20, &[Topic::new("t/mixed/1"), Topic::new("t/mixed/2"), noise()]),
        publisher("wide", false, 100, &[Topic::new("t/wide/2"), Topic::new("c/3/1")]),
        publisher("clean", true, 40, &[Topic::new("t/clean/1"), Topic::new("c/5/1")]),
        publisher(
            "retains",
            false,
            10,
            &[
                Topic::retained("t/retains/1", 0),
                Topic::retained("r/a/1", 5),
                Topic::retained("r/b/2", 4),
                noise(),
            ],
        ),
    ]
}

fn all<'a>(
    publishers: &'a mut [Publisher],
    subscribers: &'a mut [Subscriber],
    churner: &'a mut Churner,
    flipper: &'a mut Flipper,
    mortals: &'a mut [Mortal],
) -> Vec<&'a mut dyn Client> {
    let publishers = publishers.iter_mut().map(|client| client as &mut dyn Client);
    let subscribers = subscribers.iter_mut().map(|client| client as &mut dyn Client);
    let mortals = mortals.iter_mut().map(|client| client as &mut dyn Client);
    publishers.chain(subscribers).chain(mortals).chain([churner as _, flipper as _]).collect()
}

fn told(stop: Stop) -> String {
    match stop {
        Stop::Lost => "the broker closed a connection".into(),
        Stop::Fault(why) => why,
    }
}
