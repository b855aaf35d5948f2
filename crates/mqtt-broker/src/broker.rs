//! [`Broker`]: the handle by which an embedder runs a broker, and acts from inside; [`Builder`] makes it.

use std::{
    collections::HashSet,
    future::{Future, poll_fn},
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use mqtt_codec::{QoS, TopicFilter};

use crate::{
    client::ClientInfo,
    close_reason::CloseReason,
    core::{Core, SubscribeRefusal},
    counters::Counts,
    durability::Durability,
    event::{Observer, SessionEnd},
    hooks::{
        AcceptRequest, ConnectDecision, ConnectRequest, DeliverRequest, HookSet, Hooks, PublishDecision,
        PublishRequest, SubscribeDecision, SubscribeRequest, WillDecision,
    },
    limits::Limits,
    local::LocalSubscriber,
    message::{Message, Outgoing},
    net,
    recovery::Recovery,
    session::SessionRef,
    store::{BatchCounts, Store, StoreError},
};

/// A running broker. Cheap to clone: all clones are the same broker.
#[derive(Clone)]
pub struct Broker {
    core: Arc<Core>,
    tasks: net::Tasks,
}

/// One connection of one client, as long as it lasts.
pub struct Client {
    session: SessionRef,
    info: Arc<ClientInfo>,
}

/// Connections were still open when the time for a shutdown had run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutdownTimeout {
    /// How many.
    pub connections: usize,
}

/// Makes a [`Broker`].
#[derive(Default)]
#[must_use]
pub struct Builder {
    limits: Limits,
    hooks: HookSet,
    observers: Vec<Box<dyn Observer>>,
    pub(crate) workers: net::Workers,
}

impl Broker {
    /// A builder with default limits, and no hook.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Publishes a message to everybody with a matching subscription; retains it if it says so. Asks no hook but
    /// [`Hooks::on_deliver`], about each client that gets it. Does not wait for the store: who publishes much asks
    /// [`Broker::store_keeps_up`] in between, for what waits to be written is in memory.
    pub fn publish(&self, message: &Message) {
        self.core.publish_message(net::now(), message, Vec::new(), &mut self.core.burst());
    }

    /// Publishes a message to those of these clients that have a matching subscription. Nothing is retained. Asks the same hook, as
    /// does [`Broker::broadcast`].
    pub fn publish_to(&self, message: &Message, client_ids: &[&str]) {
        let client_ids: HashSet<&str> = client_ids.iter().copied().collect();
        let wanted = |receiver: &SessionRef| client_ids.contains(&*receiver.client_id);
        let mut burst = self.core.burst();
        if !self.core.drops_too_long(message, &mut burst) {
            self.core.publish_to(&Outgoing::of(message), Vec::new(), &mut burst, wanted);
        }
    }

    /// Gives a message to these clients, or to all that are connected, whatever they subscribe to: once to each.
    pub fn broadcast(&self, message: &Message, client_ids: Option<&[&str]>) {
        let mut burst = self.core.burst();
        if self.core.drops_too_long(message, &mut burst) {
            return;
        }
        let receivers = match client_ids {
            Some(ids) => {
                let ids: HashSet<&str> = ids.iter().copied().collect();
                ids.iter().filter_map(|id| self.core.sessions.get(id)).collect()
            }
            None => self.core.sessions.all(),
        };
        let outgoing = Outgoing::of(message);
        for receiver in receivers.iter().filter(|receiver| receiver.lock().is_connected()) {
            self.core.hand_over_alone(receiver, &outgoing, message.qos(), &mut burst);
        }
    }

    /// Subscribes a client, connected or with a stored session, as if it had sent SUBSCRIBE. Asks no hook.
    pub fn subscribe(&self, client_id: &str, filter: &TopicFilter, qos: QoS) -> Result<(), SubscribeRefusal> {
        let session = self.core.sessions.get(client_id).ok_or(SubscribeRefusal::NoSession)?;
        self.core.subscribe(&session, filter, qos, Some(net::now()))?;
        session.wake(); // For the retained messages that are due now.
        Ok(())
    }

    /// A subscriber inside this process, with these filters.
    ///
    /// ```
    /// use mqtt_broker::{Broker, Message, QoS, TopicFilter, TopicName};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let broker = Broker::builder().build();
    /// let mut subscriber = broker.subscriber(&[TopicFilter::try_from("room/+")?])?;
    /// broker.publish(&Message::new(&TopicName::try_from("room/12")?, b"22.5", QoS::AtMostOnce));
    ///
    /// let received = subscriber.recv().await.expect("the broker runs");
    /// assert_eq!((received.message.topic(), received.message.payload()), ("room/12", &b"22.5"[..]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn subscriber(&self, filters: &[TopicFilter]) -> Result<LocalSubscriber, SubscribeRefusal> {
        let subscriber = LocalSubscriber::new(self, net::now())?;
        filters.iter().try_for_each(|filter| subscriber.subscribe(filter))?;
        Ok(subscriber)
    }

    /// Removes a subscription of a client; `false` if there was none.
    pub fn unsubscribe(&self, client_id: &str, filter: &TopicFilter) -> bool {
        self.core
            .sessions
            .get(client_id)
            .is_some_and(|session| self.core.unsubscribe(&session, filter).is_some())
    }

    /// A connected client; `None` if it is not connected.
    pub fn client(&self, client_id: &str) -> Option<Client> {
        let session = self.core.sessions.get(client_id)?;
        session.client().map(|info| Client { session, info })
    }

    /// Ends a client's session, and its connection if it is connected. `false` if there is no such session.
    ///
    /// Blocks its thread until the packets are handled that the connection is at, hooks included: from an async task with hooks that take long,
    /// call it where blocking is allowed.
    pub fn end_session(&self, client_id: &str) -> bool {
        let Some(session) = self.core.sessions.get(client_id) else { return false };
        self.core.end_session(&session, SessionEnd::Removed, net::now(), &mut self.core.burst())
    }

    /// Does what is due by the clock and belongs to no connection: sessions, retained messages and bans expire, what is known of
    /// addresses and client identifiers is forgotten, refusals are told in the log.
    ///
    /// A broker that [listens](Broker::listen) does so by itself. One that does not, but has [`crate::SansIoConnection`]s or
    /// [`LocalSubscriber`]s alone, keeps all of that until this is called: once a second is often enough. `true` says that there
    /// was much of it and there may be more: call it again when others have had their turn. `$SYS` topics are no part of it.
    ///
    /// ```
    /// use std::time::Instant;
    ///
    /// let broker = mqtt_broker::Broker::builder().build();
    /// while broker.tick(Instant::now()) {}
    /// ```
    pub fn tick(&self, now: Instant) -> bool {
        self.core.note_clocks(net::both_clocks());
        self.core.tick(now)
    }

    /// Why the store keeps nothing any more, if so. Nothing that needs it is acknowledged from then on.
    pub fn store_failure(&self) -> Option<StoreError> {
        self.core.durability.failure()
    }

    /// How the store writes, in numbers; `None` without a store, or with one that does not count.
    pub fn store_batches(&self) -> Option<BatchCounts> {
        self.core.durability.batches()
    }

    /// Waits until the store fails. Without a store it waits for ever.
    pub async fn store_failed(&self) -> StoreError {
        poll_fn(|cx| self.core.durability.poll_failure(cx.waker())).await
    }

    /// Waits until the store keeps up with what it has to write. Clients are held back by themselves; who publishes from inside, much and
    /// without a pause, waits here. Returns at once without a store, and for one that has failed.
    pub async fn store_keeps_up(&self) {
        let durability = &self.core.durability;
        let is_free =
            |cx: &mut Context<'_>| durability.keeps_up(cx.waker()) || durability.failure().is_some();
        poll_fn(|cx| if is_free(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// What the broker has done so far, in numbers.
    pub fn counts(&self) -> Counts {
        self.core.counters.snapshot()
    }

    /// The limits that it began with; [`Broker::replace_limits`] is about what may change.
    pub fn limits(&self) -> &Limits {
        &self.core.limits
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    pub(crate) fn tasks(&self) -> &net::Tasks {
        &self.tasks
    }
}

impl Client {
    /// Who it is.
    pub fn info(&self) -> &Arc<ClientInfo> {
        &self.info
    }

    /// Closes its connection; its Will is published. `false` if the connection is over already: a later one with the same
    /// client identifier is left alone.
    pub fn disconnect(&self) -> bool {
        self.session.close_connection_of(&self.info, CloseReason::Kicked)
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("sessions", &self.core.sessions.len()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("info", &self.info).finish_non_exhaustive()
    }
}

impl std::fmt::Display for ShutdownTimeout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} connections were still open when the time for the shutdown had run out",
            self.connections
        )
    }
}

impl std::error::Error for ShutdownTimeout {}

impl Builder {
    /// Replaces the limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Installs all hooks of one implementation, in place of those set so far; those that it leaves at their defaults too. One that is
    /// set by itself afterwards takes the place of that one.
    pub fn hooks(mut self, hooks: impl Hooks) -> Self {
        self.hooks.install(Arc::new(hooks));
        self
    }

    /// Adds an observer.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// See [`Hooks::on_accept`].
    pub fn on_accept(mut self, hook: impl Fn(AcceptRequest<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.hooks.on_accept = Some(Box::new(hook));
        self
    }

    /// See [`Hooks::on_connect`].
    pub fn on_connect<F>(mut self, hook: impl Fn(ConnectRequest) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ConnectDecision> + Send + 'static,
    {
        self.hooks.on_connect = Some(Box::new(move |request| Box::pin(hook(request))));
        self
    }

    /// See [`Hooks::on_subscribe`].
    pub fn on_subscribe<F>(mut self, hook: impl Fn(SubscribeRequest) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = SubscribeDecision> + Send + 'static,
    {
        self.hooks.on_subscribe = Some(Box::new(move |request| Box::pin(hook(request))));
        self
    }

    /// See [`Hooks::on_unsubscribe`].
    pub fn on_unsubscribe(
        mut self,
        hook: impl Fn(&ClientInfo, &TopicFilter) + Send + Sync + 'static,
    ) -> Self {
        self.hooks.on_unsubscribe = Some(Box::new(hook));
        self
    }

    /// See [`Hooks::on_publish`].
    pub fn on_publish(
        mut self,
        hook: impl Fn(PublishRequest<'_>) -> PublishDecision + Send + Sync + 'static,
    ) -> Self {
        self.hooks.on_publish = Some(Box::new(hook));
        self
    }

    /// See [`Hooks::on_deliver`].
    pub fn on_deliver(mut self, hook: impl Fn(DeliverRequest<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.hooks.on_deliver = Some(Box::new(hook));
        self
    }

    /// See [`Hooks::on_will`].
    pub fn on_will(
        mut self,
        hook: impl Fn(&ClientInfo, &Message) -> WillDecision + Send + Sync + 'static,
    ) -> Self {
        self.hooks.on_will = Some(Box::new(hook));
        self
    }

    /// See [`Hooks::on_close`].
    pub fn on_close(mut self, hook: impl Fn(&ClientInfo, &CloseReason) + Send + Sync + 'static) -> Self {
        self.hooks.on_close = Some(Box::new(hook));
        self
    }

    /// See [`Hooks::on_stop`].
    pub fn on_stop(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.hooks.on_stop = Some(Box::new(hook));
        self
    }

    /// The broker. It serves nobody until [`Broker::listen`].
    pub fn build(self) -> Broker {
        self.build_with(Durability::default())
    }

    /// The same, with what `store` has kept of an earlier process, and kept in it from here on: persistent sessions,
    /// retained messages, and the Wills of who was connected when that process ended, which are published now.
    ///
    /// It returns when all of the store has been read, and blocks the thread until then: with a million messages for a second or more.
    pub fn build_on(self, store: impl Store) -> Result<Broker, StoreError> {
        let store: Arc<dyn Store> = Arc::new(store);
        let broker = self.build_with(Durability::on(Arc::clone(&store), net::both_clocks()));
        let mut recovery = Recovery::new(&broker.core, net::now(), store.expected());
        store.recover(&mut |record| recovery.visit(record))?;
        recovery.finish();
        Ok(broker)
    }

    fn build_with(self, durability: Durability) -> Broker {
        let core = Core::new(self.limits, self.hooks, self.observers, durability, net::now());
        Broker { core, tasks: net::Tasks::on(self.workers) }
    }
}
