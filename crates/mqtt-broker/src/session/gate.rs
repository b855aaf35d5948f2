//! [`Gate`]: whether a client may have a message, asked at the moment at which the message leaves for it.

use mqtt_codec::QoS;

use crate::{
    client::{ClientInfo, Peer},
    hooks::{DeliverHook, DeliverRequest, HookSet, survive},
    message::{Message, Outgoing},
};

/// The hook and the client that it is asked about; open if there is no hook. A subscriber in this process is asked
/// nothing: it is the embedder's own.
#[derive(Clone, Copy)]
pub(crate) struct Gate<'a>(Option<(&'a DeliverHook, &'a ClientInfo)>);

impl<'a> Gate<'a> {
    pub(crate) const OPEN: Self = Self(None);

    pub(crate) fn new(hooks: &'a HookSet, client: Option<&'a ClientInfo>) -> Self {
        let Some(hook) = &hooks.on_deliver else { return Self(None) };
        Self(client.filter(|client| client.peer != Peer::InProcess).map(|client| (hook, client)))
    }

    pub(crate) fn is_open(self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn lets_pass(self, message: &Message, qos: QoS, retain: bool) -> bool {
        self.0.is_none() || self.ask(message.topic(), message.payload(), qos, retain)
    }

    pub(crate) fn lets_outgoing_pass(self, outgoing: &Outgoing<'_>, qos: QoS, retain: bool) -> bool {
        let topic = || std::str::from_utf8(outgoing.topic).unwrap_or_default();
        self.0.is_none() || self.ask(topic(), outgoing.payload, qos, retain)
    }

    /// A hook that panics has not said yes.
    fn ask(self, topic: &str, payload: &[u8], qos: QoS, retain: bool) -> bool {
        let Some((hook, client)) = self.0 else { return true };
        survive("on_deliver", || hook(DeliverRequest { client, topic, payload, qos, retain }))
            .unwrap_or(false)
    }
}
