//! The decisions that an embedder may take. Watching is for [`crate::event`].
//!
//! Set closures on [`crate::Builder`], or implement [`Hooks`] and install it whole. A closure that is not set costs one branch; of a
//! whole implementation each hook is called, those at their defaults too.

use std::{
    any::Any,
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use mqtt_codec::{ConnectRefusal, QoS, TopicFilter};

use crate::{
    client::{Attached, ClientInfo, Peer},
    close_reason::CloseReason,
    message::Message,
};

/// What an asynchronous hook returns: see [`crate::Limits::hook_timeout`] for how long it may take.
pub type HookFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A new connection to decide about, before anything of its MQTT is read.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AcceptRequest<'a> {
    /// Where it comes from.
    pub peer: Peer,
    /// The name of the [`Listener`](crate::Listener) that it came by.
    pub listener: &'a str,
}

/// A CONNECT to decide about.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectRequest {
    /// Who asks.
    pub client: Arc<ClientInfo>,
    /// With which password.
    pub password: Option<Bytes>,
    /// With which Will.
    pub will: Option<Message>,
    /// The user name that a client certificate proves, where the listener takes it from there. The client has shown that
    /// it owns the certificate, and `client.user_name` is this one, whatever the CONNECT says.
    pub certificate_user_name: Option<Arc<str>>,
}

/// The answer to a CONNECT.
#[derive(Clone, Debug)]
pub enum ConnectDecision {
    /// CONNACK 0.
    Accept,
    /// The same, with what the hook has found out about the client.
    AcceptAs(Admission),
    /// CONNACK with this code, then the connection is closed.
    Refuse(ConnectRefusal),
}

/// What is known of a client that is let in.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Admission {
    /// Its user name from here on, in place of that of its CONNECT.
    pub user_name: Option<Arc<str>>,
    /// When its connection is closed, with [`CloseReason::AdmissionEnded`], unless it has ended before.
    pub ends_at: Option<Instant>,
    attached: Attached,
}

impl Admission {
    /// Attaches something to the client, for other hooks: [`ClientInfo::attached`] gives it back.
    pub fn attach(&mut self, something: Arc<dyn Any + Send + Sync>) {
        self.attached = Attached(Some(Box::new(something)));
    }

    /// The client as it is known from here on, and until when it may stay.
    pub(crate) fn admit(self, client: &ClientInfo) -> (ClientInfo, Option<Instant>) {
        let Self { user_name, ends_at, attached } = self;
        let mut client = client.clone();
        client.user_name = user_name.or(client.user_name);
        client.attached = attached;
        (client, ends_at)
    }
}

/// A SUBSCRIBE to decide about, a filter at a time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SubscribeRequest {
    /// Who asks.
    pub client: Arc<ClientInfo>,
    /// For which filter, `$share/group/` included.
    pub filter: TopicFilter,
    /// With which QoS.
    pub qos: QoS,
    /// Whether it has the subscription already, and the question is whether it keeps it: see
    /// [`crate::Broker::recheck_subscriptions`].
    pub is_recheck: bool,
}

/// The answer to one filter of a SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscribeDecision {
    /// Granted with this QoS; never more than was asked for. At a recheck the subscription stays as it is.
    Grant(QoS),
    /// Return code 0x80. A subscription that is there already is removed, whether the client asks for it again or it is rechecked.
    Refuse,
    /// Close the client's connection; its subscriptions stay as they are.
    Disconnect,
}

/// A PUBLISH to decide about, before anything is retained or acknowledged.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PublishRequest<'a> {
    /// Who publishes.
    pub client: &'a ClientInfo,
    /// Where.
    pub topic: &'a str,
    /// What.
    pub payload: &'a [u8],
    /// With which QoS.
    pub qos: QoS,
    /// Whether it is to be retained.
    pub retain: bool,
}

/// The answer to a PUBLISH.
pub enum PublishDecision {
    /// Deliver it as it is.
    Pass,
    /// Deliver, and retain if the message says so, this one instead. The client is acknowledged as for its own.
    Change(Message),
    /// Acknowledge it, and deliver nothing.
    Drop,
    /// Close the client's connection.
    Disconnect,
    /// Somebody else has to be asked first: this is going to be the decision. Meanwhile the packets behind wait, and nothing
    /// more is read from this client; see [`crate::Limits::hook_timeout`] for how long it may take.
    Later(HookFuture<Self>),
}

impl fmt::Debug for PublishDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("Pass"),
            Self::Change(message) => f.debug_tuple("Change").field(message).finish(),
            Self::Drop => f.write_str("Drop"),
            Self::Disconnect => f.write_str("Disconnect"),
            Self::Later(_) => f.write_str("Later(..)"),
        }
    }
}

/// A message to decide about that is about to leave for a client.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct DeliverRequest<'a> {
    /// For whom.
    pub client: &'a ClientInfo,
    /// The topic that it was published to.
    pub topic: &'a str,
    /// What.
    pub payload: &'a [u8],
    /// The QoS of the delivery.
    pub qos: QoS,
    /// RETAIN as the client will see it.
    pub retain: bool,
}

/// The answer to a Will that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WillDecision {
    /// Publish it as it is.
    Pass,
    /// Publish this one instead.
    Change(Message),
    /// Publish nothing.
    Drop,
}

/// All hooks as one trait, each with a default that lets everything pass.
///
/// Installed, all of them count as set: a default is called like any other, `on_deliver` for every message that leaves. Who wants one
/// or two, and minds what that costs, sets closures on [`crate::Builder`].
///
/// `on_connect` and `on_subscribe` may await, and `on_publish` may answer [`PublishDecision::Later`]. All others are called
/// in the middle of the data path and must not block: a hook that does stalls its worker thread. A hook that panics ends its
/// own connection ([`CloseReason::HookFailed`]), and no other.
///
/// ```
/// use mqtt_broker::{
///     Broker, ConnectDecision, ConnectRefusal, ConnectRequest, HookFuture, Hooks, PublishDecision, PublishRequest,
/// };
///
/// /// Users write below a topic of their own.
/// struct OwnTopics;
///
/// impl Hooks for OwnTopics {
///     fn on_connect(&self, request: ConnectRequest) -> HookFuture<ConnectDecision> {
///         Box::pin(async move {
///             match request.client.user_name {
///                 Some(_) => ConnectDecision::Accept,
///                 None => ConnectDecision::Refuse(ConnectRefusal::NotAuthorized),
///             }
///         })
///     }
///
///     fn on_publish(&self, request: PublishRequest<'_>) -> PublishDecision {
///         let user = request.client.user_name.as_deref().unwrap_or_default();
///         let is_own = request.topic.strip_prefix(user).is_some_and(|rest| rest.starts_with('/'));
///         if is_own { PublishDecision::Pass } else { PublishDecision::Drop }
///     }
/// }
///
/// let broker = Broker::builder().hooks(OwnTopics).build();
/// ```
pub trait Hooks: Send + Sync + 'static {
    /// A connection was accepted by a listener; `false` closes it at once. Of up to 16 for which there is no place, too, that are to be
    /// told so.
    fn on_accept(&self, request: AcceptRequest<'_>) -> bool {
        let _ = request;
        true
    }

    /// A well-formed CONNECT came.
    fn on_connect(&self, request: ConnectRequest) -> HookFuture<ConnectDecision> {
        let _ = request;
        Box::pin(std::future::ready(ConnectDecision::Accept))
    }

    /// One filter of a SUBSCRIBE came.
    fn on_subscribe(&self, request: SubscribeRequest) -> HookFuture<SubscribeDecision> {
        Box::pin(std::future::ready(SubscribeDecision::Grant(request.qos)))
    }

    /// One filter of an UNSUBSCRIBE came. The standard has no way to refuse it.
    fn on_unsubscribe(&self, client: &ClientInfo, filter: &TopicFilter) {
        let _ = (client, filter);
    }

    /// A PUBLISH came.
    fn on_publish(&self, request: PublishRequest<'_>) -> PublishDecision {
        let _ = request;
        PublishDecision::Pass
    }

    /// A message is about to leave for a connected client, having waited or not; `false` drops it
    /// ([`crate::DropReason::Withheld`]).
    ///
    /// Asked while the client's outbox is locked: it must not call the broker. If it panics, the message is dropped.
    ///
    /// More than once about one message it may be asked: of the members of a shared subscription, and not under that lock, to find one that may
    /// have it; and of a retained message that then finds no room. A member that may not have it drops nothing: it is another's turn. So it is
    /// no place to count. Subscribers in this process are never asked about.
    fn on_deliver(&self, request: DeliverRequest<'_>) -> bool {
        let _ = request;
        true
    }

    /// A connection ended without DISCONNECT, and its Will is about to be published. If this panics, it is not.
    fn on_will(&self, client: &ClientInfo, will: &Message) -> WillDecision {
        let _ = (client, will);
        WillDecision::Pass
    }

    /// A client's connection has ended.
    fn on_close(&self, client: &ClientInfo, reason: &CloseReason) {
        let _ = (client, reason);
    }

    /// The broker has shut down: no connection is left.
    fn on_stop(&self) {}
}

/// Calls the embedder's code, and survives its panic: `None` then.
///
/// Nothing of the broker's is half done when it is called, so what it borrows is whole whatever happens.
pub(crate) fn survive<T>(what: &'static str, call: impl FnOnce() -> T) -> Option<T> {
    let outcome = catch_unwind(AssertUnwindSafe(call));
    if outcome.is_err() {
        tracing::error!(what, "panicked");
    }
    outcome.ok()
}

pub(crate) type AcceptHook = Box<dyn Fn(AcceptRequest<'_>) -> bool + Send + Sync>;
pub(crate) type ConnectHook = Box<dyn Fn(ConnectRequest) -> HookFuture<ConnectDecision> + Send + Sync>;
pub(crate) type SubscribeHook = Box<dyn Fn(SubscribeRequest) -> HookFuture<SubscribeDecision> + Send + Sync>;
pub(crate) type UnsubscribeHook = Box<dyn Fn(&ClientInfo, &TopicFilter) + Send + Sync>;
pub(crate) type PublishHook = Box<dyn Fn(PublishRequest<'_>) -> PublishDecision + Send + Sync>;
pub(crate) type DeliverHook = Box<dyn Fn(DeliverRequest<'_>) -> bool + Send + Sync>;
pub(crate) type WillHook = Box<dyn Fn(&ClientInfo, &Message) -> WillDecision + Send + Sync>;
pub(crate) type CloseHook = Box<dyn Fn(&ClientInfo, &CloseReason) + Send + Sync>;
pub(crate) type StopHook = Box<dyn Fn() + Send + Sync>;

/// The hooks that are set.
#[allow(clippy::struct_field_names, reason = "they are the names of the hooks")]
#[derive(Default)]
pub(crate) struct HookSet {
    pub(crate) on_accept: Option<AcceptHook>,
    pub(crate) on_connect: Option<ConnectHook>,
    pub(crate) on_subscribe: Option<SubscribeHook>,
    pub(crate) on_unsubscribe: Option<UnsubscribeHook>,
    pub(crate) on_publish: Option<PublishHook>,
    pub(crate) on_deliver: Option<DeliverHook>,
    pub(crate) on_will: Option<WillHook>,
    pub(crate) on_close: Option<CloseHook>,
    pub(crate) on_stop: Option<StopHook>,
}

impl HookSet {
    pub(crate) fn install(&mut self, hooks: Arc<dyn Hooks>) {
        let on = || Arc::clone(&hooks);
        let h = on();
        self.on_accept = Some(Box::new(move |request| h.on_accept(request)));
        let h = on();
        self.on_connect = Some(Box::new(move |request| h.on_connect(request)));
        let h = on();
        self.on_subscribe = Some(Box::new(move |request| h.on_subscribe(request)));
        let h = on();
        self.on_unsubscribe = Some(Box::new(move |client, filter| h.on_unsubscribe(client, filter)));
        let h = on();
        self.on_publish = Some(Box::new(move |request| h.on_publish(request)));
        let h = on();
        self.on_deliver = Some(Box::new(move |request| h.on_deliver(request)));
        let h = on();
        self.on_will = Some(Box::new(move |client, will| h.on_will(client, will)));
        let h = on();
        self.on_close = Some(Box::new(move |client, reason| h.on_close(client, reason)));
        self.on_stop = Some(Box::new(move || hooks.on_stop()));
    }
}
