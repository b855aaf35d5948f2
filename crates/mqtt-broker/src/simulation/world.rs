//! [`World`]: some clients, their links, the broker's end of each, one `Core`, and a clock that the seed drives.

use std::{
    future::ready,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use mqtt_codec::QoS;
use parking_lot::Mutex;

use super::{
    client::{Client, Phase, Surroundings},
    link::Link,
    oracle::{Oracle, payload},
    plan::Plan,
    rng::Rng,
    script::{self, Act, Role},
    stats::Stats,
    store::SlowStore,
    task::{Task, Turn},
};
use crate::{
    client::Peer,
    close_reason::CloseReason,
    connection::Connection,
    core::Core,
    durability::Durability,
    entrance::Entrance,
    event::Event,
    hooks::{ConnectDecision, HookSet, PublishDecision, PublishRequest, SubscribeDecision, WillDecision},
    message::Message,
    place::Place,
};

pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) rng: Rng,
    pub(super) start: Instant,
    pub(super) now: u64,
    pub(super) core: Arc<Core>,
    pub(super) store: Option<SlowStore>,
    pub(super) oracle: Arc<Mutex<Oracle>>,
    pub(super) clients: Vec<(Client, Role)>,
    /// By the number of the network connection; the broker's end is gone when it has ended.
    pub(super) links: Vec<Link>,
    pub(super) tasks: Vec<Option<Task>>,
    pub(super) records: Vec<Record>,
    pub(super) next_mark: u64,
    pub(super) is_calm: bool,
}

/// What is known of a network connection for good.
pub(super) struct Record {
    pub(super) client: usize,
    pub(super) will: Option<u64>,
    pub(super) has_sent_disconnect: bool,
    pub(super) is_kicked: bool,
    pub(super) ended: Option<CloseReason>,
}

/// A world in which nothing moves any more after so many runs of tasks at one moment is not one of ours.
const MOST_RUNS_A_STEP: usize = 10_000;
const MOST_CALM_STEPS: usize = 5_000;

impl World {
    /// Runs the world of this seed to its end, and says what went wrong, if something did.
    pub(super) fn run(seed: u64, start: Instant) -> Result<Stats, String> {
        let mut world = Self::new(seed, start);
        world.live_through().map_err(|why| format!("after {} ms of {:#?}:\n{why}", world.now, world.plan))?;
        let stats = std::mem::take(&mut world.oracle.lock().stats);
        Ok(stats)
    }

    fn new(seed: u64, start: Instant) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::draw(&mut rng);
        let oracle = Arc::new(Mutex::new(Oracle::new(rng.next(), &plan)));
        let witness = Arc::clone(&oracle);
        let observer = move |event: &Event<'_>| witness.lock().event(event);
        let hooks = hooks(&oracle, plan.asks_hooks);
        let store = plan.store_delay.map(|_| SlowStore::new(rng.next()));
        let durability = store.clone().map_or_else(Durability::default, |store| {
            Durability::on(Arc::new(store), (start, SystemTime::UNIX_EPOCH))
        });
        let core = Core::new(plan.limits.clone(), hooks, vec![Box::new(observer)], durability, start);
        let clients = (0..plan.clients).map(|number| {
            let mut client = Client::new(format!("client-{number}"));
            client.clean = rng.chance(300);
            (client, Role::draw(number, &plan, &mut rng))
        });
        Self {
            clients: clients.collect(),
            plan,
            rng,
            start,
            now: 0,
            core,
            store,
            oracle,
            links: Vec::new(),
            tasks: Vec::new(),
            records: Vec::new(),
            next_mark: 0,
            is_calm: false,
        }
    }

    fn live_through(&mut self) -> Result<(), String> {
        for _ in 0..self.plan.rounds {
            self.storm()?;
            self.calm_down()?;
        }
        self.shut_down()
    }

    fn storm(&mut self) -> Result<(), String> {
        self.set_calm(false);
        for _ in 0..self.plan.steps_a_round {
            let pause = if self.rng.chance(10) { self.rng.between(500, 20_000) } else { 20 };
            let pause = self.rng.between(0, pause);
            self.step(pause)?;
        }
        Ok(())
    }

    /// The weather clears, everybody comes back and catches up: then nothing may be owed.
    fn calm_down(&mut self) -> Result<(), String> {
        self.set_calm(true);
        for (client, _) in &mut self.clients {
            (client.pace, client.hesitation, client.is_silent) = (usize::MAX, 0, false);
        }
        self.links.iter_mut().for_each(|link| link.to_client.widen());
        let mut quiet_steps = 0;
        for _ in 0..MOST_CALM_STEPS {
            self.step(5)?;
            quiet_steps = if self.unrest().is_empty() { quiet_steps + 1 } else { 0 };
            if quiet_steps > 2 {
                self.oracle.lock().settle();
                return self.check_rest();
            }
        }
        let ends: Vec<_> =
            self.records.iter().rev().take(5).map(|record| (record.client, &record.ended)).collect();
        Err(format!("the world does not come to rest: {:?}, the last connections: {ends:?}", self.unrest()))
    }

    fn set_calm(&mut self, is_calm: bool) {
        self.is_calm = is_calm;
        self.oracle.lock().calm = is_calm;
        if let (Some(store), Some(delay)) = (&self.store, self.plan.store_delay) {
            store.set_delay(if is_calm { 0 } else { delay });
        }
    }

    fn step(&mut self, pause: u64) -> Result<(), String> {
        let second = self.now / 1000;
        self.now += pause;
        self.oracle.lock().now = self.now;
        if let Some(store) = &self.store {
            store.pass(self.now);
        }
        if self.now / 1000 > second {
            while self.core.tick(self.instant()) {}
            self.oracle.lock().ticked(self.now);
        }
        for link in &mut self.links {
            link.to_broker.arrive(self.now);
            link.to_client.arrive(self.now);
        }
        for client in self.shuffled(self.clients.len()) {
            self.let_live(client);
        }
        if !self.is_calm && self.rng.chance(20) {
            self.publish_from_inside();
        }
        self.run_tasks()?;
        self.check()
    }

    fn let_live(&mut self, number: usize) {
        self.with_client(number, Client::live);
        let (client, role) = &mut self.clients[number];
        if client.link.is_some_and(|link| self.links[link].to_client.is_at_end()) {
            let away = if self.is_calm { 0 } else { self.rng.between(0, 200) };
            client.leave(self.now + away);
        }
        let act = match client.phase {
            Phase::Away { until } if self.is_calm || self.now >= until => Act::Connect,
            _ if self.is_calm => Act::Nothing,
            _ => script::draw_act(client, *role, self.plan.cuts, &mut self.rng),
        };
        if let Act::Talk = act {
            let (role, longest) = (*role, self.plan.longest_payload);
            let mut next_mark = self.next_mark;
            self.with_client(number, |client, around| {
                script::talk(client, role, &mut next_mark, longest, around);
            });
            self.next_mark = next_mark;
        }
        self.do_for(number, act);
    }

    fn do_for(&mut self, number: usize, act: Act) {
        let away = self.rng.pick(&[0, 100, 3000, 30_000]);
        let until = self.now + self.rng.between(0, away);
        let link = self.clients[number].0.link;
        match (act, link) {
            (Act::Connect, _) => self.connect(number),
            (Act::Cut, Some(link)) => {
                self.oracle.lock().stats.cuts += 1;
                self.links[link].cut(&mut self.rng);
            }
            (Act::Vanish, Some(_)) => self.clients[number].0.leave(until),
            (Act::Disconnect, Some(link)) => {
                self.with_client(number, Client::disconnect);
                self.links[link].to_broker.close();
                self.records[link].has_sent_disconnect = true;
                self.clients[number].0.leave(until);
            }
            (Act::Kick, Some(_)) => {
                let name = &self.clients[number].0.name;
                if let Some(session) = self.core.sessions.get(name)
                    && session.close(CloseReason::Kicked)
                {
                    let open = |task: &Option<Task>| task.as_ref().is_some_and(Task::is_open);
                    for (record, task) in self.records.iter_mut().zip(&self.tasks) {
                        record.is_kicked |= record.client == number && open(task);
                    }
                }
            }
            _ => {}
        }
    }

    fn connect(&mut self, number: usize) {
        let role = self.clients[number].1;
        if !self.is_calm {
            script::dispose(&mut self.clients[number].0, role, &mut self.rng);
        }
        let link = self.links.len();
        self.links.push(Link::new(if self.is_calm { usize::MAX } else { self.plan.link_capacity }));
        let entrance = Arc::new(Entrance::without_listener(self.core.limits.clone()));
        let connection =
            Connection::new(Place::uncounted(Arc::clone(&self.core), entrance), peer(link), self.instant());
        self.tasks.push(Some(Task::new(connection)));
        let will = (role.is_unsteady && self.rng.chance(400)).then(|| {
            self.next_mark += 1;
            script::draw_will(self.next_mark, &mut self.rng)
        });
        let mark = will.as_ref().map(|_| self.next_mark);
        self.records.push(Record {
            client: number,
            will: mark,
            has_sent_disconnect: false,
            is_kicked: false,
            ended: None,
        });
        self.clients[number].0.link = Some(link);
        self.with_client(number, |client, around| client.connect(link, will, around));
    }

    fn with_client(&mut self, number: usize, act: impl FnOnce(&mut Client, &mut Surroundings<'_>)) {
        let client = &mut self.clients[number].0;
        let Some(link) = client.link else { return };
        let mut around = Surroundings {
            now: self.now,
            link: &mut self.links[link],
            oracle: &mut self.oracle.lock(),
            rng: &mut self.rng,
            longest_delay: if self.is_calm { 0 } else { self.plan.longest_delay },
            // A repeated message may be acknowledged twice: the broker counts it once, and its client cannot.
            most_open: if self.plan.limits.retry_interval.is_some() {
                usize::MAX
            } else {
                self.plan.limits.max_inflight.into()
            },
        };
        act(client, &mut around);
    }

    /// The embedder publishes too.
    fn publish_from_inside(&mut self) {
        self.next_mark += 1;
        let (topic, qos) = (script::draw_topic(&mut self.rng), script::draw_qos(&mut self.rng));
        let payload = payload(self.next_mark, self.rng.size(8, self.plan.longest_payload));
        self.oracle.lock().take(self.next_mark, topic.as_str(), payload.len(), qos, false);
        let message = Message::new(&topic, &payload, qos);
        self.core.publish_message(self.instant(), &message, Vec::new(), &mut self.core.burst());
    }

    /// Lets the tasks that are due run, in any order, until none is due any more.
    pub(super) fn run_tasks(&mut self) -> Result<(), String> {
        for (task, link) in self.tasks.iter_mut().zip(&self.links) {
            if let Some(task) = task {
                task.notice(link);
            }
        }
        for _ in 0..MOST_RUNS_A_STEP {
            let is_due = |task: &Option<Task>| task.as_ref().is_some_and(|task| task.is_due(self.now));
            let due: Vec<usize> = (0..self.tasks.len()).filter(|&at| is_due(&self.tasks[at])).collect();
            if due.is_empty() {
                return Ok(());
            }
            let number = self.rng.pick(&due);
            self.run_task(number);
        }
        Err(format!("tasks never come to rest at {} ms", self.now))
    }

    fn run_task(&mut self, number: usize) {
        self.oracle.lock().running = number;
        let Some(task) = &mut self.tasks[number] else { return };
        let mut turn = Turn {
            start: self.start,
            now: self.now,
            core: &self.core,
            link: &mut self.links[number],
            rng: &mut self.rng,
            longest_delay: if self.is_calm { 0 } else { self.plan.longest_delay },
            hooks_fail: self.plan.marks && !self.is_calm,
        };
        if let Some(reason) = task.run(&mut turn) {
            let stats = &mut self.oracle.lock().stats;
            stats.kept_alive_out += u64::from(reason == CloseReason::KeepAliveTimeout);
            stats.kicked += u64::from(reason == CloseReason::Kicked);
            self.records[number].ended = Some(reason);
            self.tasks[number] = None;
        }
    }

    pub(super) fn instant(&self) -> Instant {
        self.start + Duration::from_millis(self.now)
    }

    fn shuffled(&mut self, len: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..len).collect();
        for last in (1..len).rev() {
            order.swap(last, self.rng.size(0, last));
        }
        order
    }
}

fn peer(link: usize) -> Peer {
    Peer::Inet(([127, 0, 0, 1], link as u16).into())
}

fn hooks(oracle: &Arc<Mutex<Oracle>>, asks: bool) -> HookSet {
    let (publish, will) = (Arc::clone(oracle), Arc::clone(oracle));
    let mut hooks = HookSet {
        on_publish: Some(Box::new(move |request| {
            // Not of QoS 2: the oracle counts it as taken before the connection finds out that it has lost its session.
            let is_put_off =
                asks && request.qos != QoS::ExactlyOnce && request.payload.len().is_multiple_of(3);
            if is_put_off { put_off(&publish, request) } else { publish.lock().publish(&request) }
        })),
        on_will: Some(Box::new(move |_, message| {
            will.lock().will(message);
            WillDecision::Pass
        })),
        ..HookSet::default()
    };
    if asks {
        hooks.on_connect = Some(Box::new(|_| Box::pin(ready(ConnectDecision::Accept))));
        hooks.on_subscribe = Some(Box::new(|request| {
            // Some filters are granted with less than was asked for.
            let most = if request.filter.has_wildcard() { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
            Box::pin(ready(SubscribeDecision::Grant(request.qos.min(most))))
        }));
    }
    hooks
}

/// The oracle is asked when its turn comes.
fn put_off(oracle: &Arc<Mutex<Oracle>>, request: PublishRequest<'_>) -> PublishDecision {
    let PublishRequest { client, topic, payload, qos, retain } = request;
    let (client, topic, payload) = (client.clone(), topic.to_owned(), payload.to_vec());
    let oracle = Arc::clone(oracle);
    PublishDecision::Later(Box::pin(async move {
        let request = PublishRequest { client: &client, topic: &topic, payload: &payload, qos, retain };
        oracle.lock().publish(&request)
    }))
}
