//! [`AccessControl`]: the rules in force, as hooks of a broker. A reload exchanges them while the broker runs.

use std::sync::Arc;

use arc_swap::ArcSwap;
use mqtt_broker::{
    Builder, ClientInfo, ConnectDecision, ConnectRequest, Message, Peer, PublishDecision, PublishRequest,
    SubscribeDecision, SubscribeRequest, WillDecision,
};

use crate::{access::Access, acl::Act};

/// The rules in force. All clones are the same: one is in the broker, another is kept for [`AccessControl::replace`].
#[derive(Clone)]
pub struct AccessControl {
    in_force: Arc<ArcSwap<Access>>,
}

impl AccessControl {
    /// Starts with these rules.
    pub fn new(access: Access) -> Self {
        Self { in_force: Arc::new(ArcSwap::from_pointee(access)) }
    }

    /// Has the broker ask these rules: sets `on_connect`, `on_subscribe`, `on_publish` and `on_will`.
    pub fn install(&self, builder: Builder) -> Builder {
        let at_connect = self.clone();
        let at_subscribe = self.clone();
        let at_publish = self.clone();
        let at_will = self.clone();
        builder
            .on_connect(move |request| at_connect.rules(&request.client).connect(request))
            .on_subscribe(move |request| std::future::ready(at_subscribe.subscribe(&request)))
            .on_publish(move |request| at_publish.publish(request))
            .on_will(move |client, will| at_will.will(client, will))
    }

    /// Exchanges the rules, for whatever is decided from now on.
    pub fn replace(&self, access: Access) {
        self.in_force.store(Arc::new(access));
    }

    fn rules(&self, _client: &ClientInfo) -> Rules {
        Rules(self.in_force.load_full())
    }

    fn allows(&self, client: &ClientInfo, act: Act<'_>) -> bool {
        self.in_force.load().allows(client, act)
    }

    fn subscribe(&self, request: &SubscribeRequest) -> SubscribeDecision {
        let act = Act::Subscribe { filter: request.filter.as_str() };
        if self.allows(&request.client, act) {
            SubscribeDecision::Grant(request.qos)
        } else {
            SubscribeDecision::Refuse
        }
    }

    fn publish(&self, request: PublishRequest<'_>) -> PublishDecision {
        let act = Act::Publish { topic: request.topic, retain: request.retain };
        if self.allows(request.client, act) { PublishDecision::Pass } else { PublishDecision::Drop }
    }

    /// The Will of an earlier process was judged at its CONNECT; whose it was nobody knows any more.
    fn will(&self, client: &ClientInfo, will: &Message) -> WillDecision {
        let act = Act::Publish { topic: will.topic(), retain: will.retain() };
        let passes = client.peer == Peer::Unknown || self.allows(client, act);
        if passes { WillDecision::Pass } else { WillDecision::Drop }
    }
}

/// The rules that a CONNECT is judged by, whatever a reload does meanwhile.
struct Rules(Arc<Access>);

impl Rules {
    async fn connect(self, request: ConnectRequest) -> ConnectDecision {
        match self.0.admit(&request).await {
            Ok(_) => ConnectDecision::Accept,
            Err(refusal) => ConnectDecision::Refuse(refusal),
        }
    }
}
