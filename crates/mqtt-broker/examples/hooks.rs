//! Who may connect, subscribe and publish: five users, each with rights of its own, as one implementation of [`Hooks`].
//!
//! | user            | may                                          |
//! |-----------------|----------------------------------------------|
//! | `root`          | everything                                   |
//! | `qos0`, `qos1`  | subscribe, with this QoS at most             |
//! | `publishonly`   | publish                                      |
//! | `subscribeonly` | subscribe; what it publishes is dropped      |
//!
//! What is published below `loud/` is delivered in capital letters, to show a rewrite. Every user's password is its name. Try `cargo run -p mqtt-broker --example hooks`, and in another terminal
//! `mosquitto_sub -u qos1 -P qos1 -t news -q 2 -d`: the broker grants QoS 1.

use std::{error::Error, future::ready, time::Duration};

use mqtt_broker::{
    Broker, ClientInfo, CloseReason, ConnectDecision, ConnectRefusal, ConnectRequest, HookFuture, Hooks,
    Message, PublishDecision, PublishRequest, QoS, SubscribeDecision, SubscribeRequest, TopicName,
};

struct Users;

impl Hooks for Users {
    fn on_connect(&self, request: ConnectRequest) -> HookFuture<ConnectDecision> {
        let user = request.client.user_name.as_deref().unwrap_or_default();
        let is_known = ["root", "qos0", "qos1", "publishonly", "subscribeonly"].contains(&user);
        let decision = if is_known && request.password.as_deref() == Some(user.as_bytes()) {
            ConnectDecision::Accept
        } else {
            ConnectDecision::Refuse(ConnectRefusal::BadUserNameOrPassword)
        };
        Box::pin(ready(decision))
    }

    fn on_subscribe(&self, request: SubscribeRequest) -> HookFuture<SubscribeDecision> {
        let decision = match request.client.user_name.as_deref() {
            Some("qos0") => SubscribeDecision::Grant(QoS::AtMostOnce),
            Some("qos1") => SubscribeDecision::Grant(request.qos.min(QoS::AtLeastOnce)),
            Some("publishonly") => SubscribeDecision::Refuse,
            _ => SubscribeDecision::Grant(request.qos),
        };
        Box::pin(ready(decision))
    }

    fn on_publish(&self, request: PublishRequest<'_>) -> PublishDecision {
        match request.client.user_name.as_deref() {
            Some("subscribeonly" | "qos0" | "qos1") => PublishDecision::Drop,
            _ if request.topic.starts_with("loud/") => in_capitals(&request),
            _ => PublishDecision::Pass,
        }
    }

    fn on_close(&self, client: &ClientInfo, reason: &CloseReason) {
        println!("{} left: {reason}", client.client_id);
    }

    fn on_stop(&self) {
        println!("stopped");
    }
}

/// The same message with another payload. A rewrite may change all of it: topic, QoS and RETAIN too.
fn in_capitals(request: &PublishRequest<'_>) -> PublishDecision {
    let Ok(topic) = TopicName::try_from(request.topic) else { return PublishDecision::Pass };
    let message = Message::new(&topic, &request.payload.to_ascii_uppercase(), request.qos);
    PublishDecision::Change(if request.retain { message.retained() } else { message })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:1883".to_owned());
    let broker = Broker::builder().hooks(Users).build();
    println!("listening on {}", broker.listen(&address).await?);
    tokio::signal::ctrl_c().await?;
    broker.shutdown(Duration::from_secs(5)).await?;
    Ok(())
}
