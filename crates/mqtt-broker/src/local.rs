//! [`LocalSubscriber`]: a subscriber inside the process. To the router it is a session like any other.

use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use mqtt_codec::{QoS, TopicFilter};

use crate::{
    broker::Broker,
    client::{ClientInfo, Peer},
    close_reason::CloseReason,
    connection::deliver_retained,
    core::{Core, SubscribeRefusal},
    event::{Event, SessionEnd},
    message::Message,
    net,
    session::Attachment,
};

/// Receives what is published to its filters, until it is dropped.
///
/// Bounded like every client: if it falls behind, [`crate::Limits::max_queued_messages`] and
/// [`crate::Limits::max_queued_bytes`] say what is dropped; retained messages fill at most half of each, or are one alone.
pub struct LocalSubscriber {
    core: Arc<Core>,
    attachment: Attachment,
}

/// A message, and whether it was retained before the subscription was made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LocalMessage {
    /// The message.
    pub message: Message,
    /// RETAIN as a client would see it.
    pub retain: bool,
}

impl LocalSubscriber {
    pub(crate) fn new(broker: &Broker, now: Instant) -> Result<Self, SubscribeRefusal> {
        let core = Arc::clone(broker.core());
        let info = Arc::new(ClientInfo {
            client_id: ClientInfo::assigned_id(),
            user_name: None,
            peer: Peer::InProcess,
            listener: None,
            clean_session: true,
            keep_alive_secs: 0,
            connected_at: now,
            attached: crate::client::Attached::default(),
        });
        let Core { limits, hooks, durability, .. } = &*core;
        let attachment =
            core.sessions.attach(&info, None, limits, hooks, durability, |attached| attached.attachment)?;
        core.counters.sessions_created.one();
        core.observe(&Event::SessionCreated { client_id: &info.client_id });
        Ok(Self { core, attachment })
    }

    /// Its client identifier in lists of sessions.
    pub fn client_id(&self) -> &str {
        &self.attachment.info.client_id
    }

    /// Adds a filter. Its retained messages come before what is published from then on; of very many the first, as far as there is
    /// room for them, and the others among it.
    pub fn subscribe(&self, filter: &TopicFilter) -> Result<(), SubscribeRefusal> {
        let (core, attachment, now) = (&self.core, &self.attachment, net::now());
        attachment.check().map_err(refusal)?;
        core.subscribe(&attachment.session, filter, QoS::ExactlyOnce, Some(now))?;
        deliver_retained(core, attachment, now, Waker::noop(), &mut core.burst()).map_err(refusal)?;
        attachment.session.wake(); // Whoever waits in another task goes on with what is due still.
        Ok(())
    }

    /// Removes a filter; `false` if there was none.
    pub fn unsubscribe(&self, filter: &TopicFilter) -> bool {
        self.core.unsubscribe(&self.attachment.session, filter).is_some()
    }

    /// The next message, as soon as there is one; `None` once the broker has shut down or ended this session.
    pub async fn recv(&mut self) -> Option<LocalMessage> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The same for those who poll.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<LocalMessage>> {
        let mut burst = self.core.burst();
        let (core, now) = (&self.core, net::now());
        if deliver_retained(core, &self.attachment, now, cx.waker(), &mut burst).is_err() {
            return Poll::Ready(None);
        }
        let Ok(mut state) = self.attachment.lock() else { return Poll::Ready(None) };
        match state.outbox.take_message(cx.waker()) {
            Some((message, retain)) => Poll::Ready(Some(LocalMessage { message, retain })),
            None => Poll::Pending,
        }
    }
}

/// The same for whoever subscribes as for whoever would like to.
fn refusal(ended: CloseReason) -> SubscribeRefusal {
    match ended {
        CloseReason::Shutdown => SubscribeRefusal::ShutDown,
        _ => SubscribeRefusal::NoSession,
    }
}

impl fmt::Debug for LocalSubscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSubscriber").field("client_id", &self.client_id()).finish_non_exhaustive()
    }
}

impl Drop for LocalSubscriber {
    fn drop(&mut self) {
        let (core, session) = (&self.core, &self.attachment.session);
        core.end_session(session, SessionEnd::Clean, net::now(), &mut core.burst());
    }
}
