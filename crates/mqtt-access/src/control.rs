//! [`AccessControl`]: the rules in force, as hooks of a broker. A reload exchanges them while the broker runs.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use mqtt_broker::{
    Broker, Builder, ClientInfo, ConnectDecision, ConnectRequest, DeliverRequest, Message, Page, Peer,
    PublishDecision, PublishRequest, SubscribeDecision, SubscribeRequest, WillDecision,
};

use crate::{
    access::Access,
    acl::Act,
    authorize::{CannotTell, Opinion},
};

/// How many clients are looked at before others have their turn.
const CLIENTS_AT_A_TIME: usize = 1024;

/// The rules of all listeners. They never change: a reload makes new ones.
#[derive(Clone, Default)]
#[must_use]
pub struct AccessRules {
    elsewhere: Access,
    listeners: HashMap<Box<str>, Access>,
}

/// The rules in force. All clones are the same: one is in the broker, another is kept for [`AccessControl::replace`].
#[derive(Clone)]
pub struct AccessControl {
    in_force: Arc<ArcSwap<AccessRules>>,
}

impl AccessRules {
    /// The listener of this name has rules of its own.
    pub fn listener(mut self, name: &str, access: Access) -> Self {
        self.listeners.insert(name.into(), access);
        self
    }

    fn of(&self, client: &ClientInfo) -> &Access {
        let by_name = client.listener.as_ref().filter(|_| !self.listeners.is_empty());
        by_name.and_then(|name| self.listeners.get(&**name)).unwrap_or(&self.elsewhere)
    }
}

impl From<Access> for AccessRules {
    /// The same rules for every listener that gets none of its own.
    fn from(access: Access) -> Self {
        Self { elsewhere: access, listeners: HashMap::new() }
    }
}

impl AccessControl {
    /// Starts with these rules: one [`Access`] for all, or [`AccessRules`].
    pub fn new(rules: impl Into<AccessRules>) -> Self {
        Self { in_force: Arc::new(ArcSwap::from_pointee(rules.into())) }
    }

    /// Has the broker ask these rules: sets `on_connect`, `on_subscribe`, `on_publish`, `on_deliver` and `on_will`.
    pub fn install(&self, builder: Builder) -> Builder {
        let [at_connect, at_subscribe, at_publish, at_deliver, at_will] = [(); 5].map(|()| self.clone());
        builder
            .on_connect(move |request| at_connect.clone().connect(request))
            .on_subscribe(move |request| at_subscribe.clone().subscribe(request))
            .on_publish(move |request| at_publish.publish(request))
            .on_deliver(move |request| at_deliver.deliver(request))
            .on_will(move |client, will| at_will.will(client, will))
    }

    /// Exchanges the rules, for whatever is decided from now on: CONNECT, PUBLISH, SUBSCRIBE, and each message that
    /// leaves, also one that has waited or was retained. Follow it with [`AccessControl::recheck`].
    pub fn replace(&self, rules: impl Into<AccessRules>) {
        self.in_force.store(Arc::new(rules.into()));
    }

    /// Holds those who are connected against the rules in force: disconnects whose user is gone or has another password
    /// now, and who has no name if nobody is let in without one, and has the broker ask about every subscription again. Whose rights are unchanged notices nothing.
    pub async fn recheck(&self, broker: &Broker) {
        let mut after: Option<Arc<str>> = None;
        loop {
            let page = Page { after: after.as_deref(), limit: CLIENTS_AT_A_TIME };
            let clients = broker.clients(page);
            for client in &clients {
                if !self.in_force.load().of(client).still_admits(client) {
                    disconnect(broker, client);
                }
            }
            let Some(last) = clients.last() else { break };
            after = Some(Arc::clone(&last.client_id));
            tokio::task::yield_now().await;
        }
        broker.recheck_subscriptions().await;
    }

    /// By the rules of the moment at which it came, whatever a reload does meanwhile.
    async fn connect(self, request: ConnectRequest) -> ConnectDecision {
        let rules = self.in_force.load_full();
        match rules.of(&request.client).admit(&request).await {
            Ok(identity) => ConnectDecision::AcceptAs(identity.into_admission()),
            Err(refusal) => ConnectDecision::Refuse(refusal),
        }
    }

    fn judge(&self, client: &ClientInfo, act: Act<'_>) -> Opinion {
        self.in_force.load().of(client).judge(client, act)
    }

    /// The rules of the moment, for as long as they take to decide.
    fn rules_of(&self, client: &ClientInfo) -> Access {
        self.in_force.load().of(client).clone()
    }

    async fn subscribe(self, request: SubscribeRequest) -> SubscribeDecision {
        let SubscribeRequest { client, filter, qos, .. } = request;
        let act = Act::Subscribe { filter: filter.as_str() };
        let allowed = match self.judge(&client, act) {
            Opinion::Ask => self.rules_of(&client).ask(&client, act).await,
            opinion => Ok(opinion == Opinion::Allow),
        };
        match allowed {
            Ok(true) => SubscribeDecision::Grant(qos),
            Ok(false) => SubscribeDecision::Refuse,
            Err(CannotTell) => SubscribeDecision::Disconnect,
        }
    }

    fn publish(&self, request: PublishRequest<'_>) -> PublishDecision {
        let PublishRequest { client, topic, retain, .. } = request;
        match self.judge(client, Act::Publish { topic, retain }) {
            Opinion::Allow => PublishDecision::Pass,
            Opinion::Ask => {
                let (rules, client, topic) = (self.rules_of(client), client.clone(), topic.to_owned());
                PublishDecision::Later(Box::pin(async move {
                    match rules.ask(&client, Act::Publish { topic: &topic, retain }).await {
                        Ok(true) => PublishDecision::Pass,
                        Ok(false) => PublishDecision::Drop,
                        Err(CannotTell) => PublishDecision::Disconnect,
                    }
                }))
            }
            _ => PublishDecision::Drop,
        }
    }

    fn deliver(&self, request: DeliverRequest<'_>) -> bool {
        self.judge(request.client, Act::Receive { topic: request.topic }) == Opinion::Allow
    }

    /// A Will was judged at its CONNECT. That is the last word where whoever has it takes time to answer; and of a Will of
    /// an earlier process nobody knows whose it was.
    fn will(&self, client: &ClientInfo, will: &Message) -> WillDecision {
        let act = Act::Publish { topic: will.topic(), retain: will.retain() };
        let passes = client.peer == Peer::Unknown || self.judge(client, act) != Opinion::Deny;
        if passes { WillDecision::Pass } else { WillDecision::Drop }
    }
}

fn disconnect(broker: &Broker, client: &Arc<ClientInfo>) {
    let current = broker.client(&client.client_id).filter(|current| Arc::ptr_eq(current.info(), client));
    if current.is_some_and(|current| current.disconnect()) {
        let user_name = client.user_name.as_deref();
        tracing::info!(
            client_id = &*client.client_id,
            user_name,
            "disconnected: by the rules in force now it would not be let in"
        );
    }
}
