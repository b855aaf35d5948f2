//! Rights that change while clients are connected, absent, or somebody else: what leaves, what stays, and who has to go.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use mqtt_broker::{
    Admission, Broker, Builder, ClientInfo, CloseReason, ConnectDecision, DropReason, Event,
    SubscribeDecision,
    store::{MemoryStore, Record, Store},
};
use mqtt_codec::{Connect, Packet, SubscribeReturnCode};

use crate::{
    Q0, Q1, Q2,
    client::{Client, connect, credentials, persistent},
    journal::{Journal, eventually},
    message, start,
};

/// What is closed to everybody, or to one user: `topic` or `user topic`.
#[derive(Clone, Default)]
struct Closed(Arc<Mutex<Vec<String>>>);

impl Closed {
    fn close(&self, what: &str) {
        self.0.lock().unwrap().push(what.to_owned());
    }

    fn has(&self, client: &ClientInfo, topic: &str) -> bool {
        let user_name = client.user_name.as_deref().unwrap_or_default();
        let of_user = format!("{user_name} {topic}");
        self.0.lock().unwrap().iter().any(|closed| *closed == topic || *closed == of_user)
    }

    fn guard(&self, builder: Builder) -> Builder {
        let (at_deliver, at_subscribe) = (self.clone(), self.clone());
        builder.on_deliver(move |request| !at_deliver.has(request.client, request.topic)).on_subscribe(
            move |request| {
                let closed = at_subscribe.has(&request.client, request.filter.as_str());
                let decision =
                    if closed { SubscribeDecision::Refuse } else { SubscribeDecision::Grant(request.qos) };
                std::future::ready(decision)
            },
        )
    }
}

fn as_user(user_name: &str, connect: Connect) -> Connect {
    Connect { credentials: credentials(user_name, ""), ..connect }
}

fn withheld(broker: &Broker) -> u64 {
    broker.counts().dropped_for(DropReason::Withheld)
}

#[tokio::test]
async fn on_deliver_is_asked_when_a_message_leaves_whatever_its_qos() {
    let (closed, journal) = (Closed::default(), Journal::default());
    let noted = journal.clone();
    let builder = closed.guard(Broker::builder()).observer(move |event: &Event<'_>| {
        if let Event::Dropped { client_id, message, reason } = event {
            noted.note(format!("{client_id} {} {reason}", message.topic()));
        }
    });
    let (_broker, address) = start(builder).await;
    let mut subscriber = Client::connected(address, "s").await;
    subscriber.subscribe("#", Q2).await;
    closed.close("secret");
    let mut publisher = Client::connected(address, "p").await;
    for qos in [Q0, Q1, Q2] {
        publisher.publish("secret", "x", qos).await;
        publisher.publish("open", "y", qos).await;
        assert_eq!(subscriber.message().await, "open y");
    }
    subscriber.ping().await;
    assert_eq!(journal.lines(), ["s secret withheld"; 3]);
}

/// Who may not have what its group shares took its share of it all the same, and nobody had that.
#[tokio::test]
async fn a_share_of_one_who_may_not_have_it_goes_to_another() {
    let closed = Closed::default();
    closed.close("b secret");
    let (broker, address) = start(closed.guard(Broker::builder())).await;
    let mut members = Vec::new();
    for (n, user_name) in ["b", "a", "b"].into_iter().enumerate() {
        let connect = as_user(user_name, connect(&format!("member {n}")));
        let (mut member, _) = Client::accepted(address, connect).await;
        member.subscribe("$share/g/#", Q1).await;
        members.push(member);
    }
    let mut publisher = Client::connected(address, "publisher").await;
    for n in 0..10 {
        publisher.publish("secret", &n.to_string(), if n % 2 == 0 { Q0 } else { Q1 }).await;
    }
    for n in 0..10 {
        assert_eq!(members[1].message().await, format!("secret {n}"));
    }
    assert_eq!(withheld(&broker), 0);
}

/// It was asked about the QoS with which the message was published, and the share went to nobody who might have it as it was granted.
#[tokio::test]
async fn a_share_is_judged_by_the_qos_with_which_it_would_be_delivered() {
    let builder = Broker::builder().on_deliver(|request| request.qos == Q0);
    let (broker, address) = start(builder).await;
    let (mut refused, mut may) =
        (Client::connected(address, "refused").await, Client::connected(address, "may").await);
    refused.subscribe("$share/g/t", Q1).await;
    may.subscribe("$share/g/t", Q0).await;
    for n in 0..4 {
        broker.publish(&message("t", &n.to_string(), Q1));
        assert_eq!(may.message().await, format!("t {n}"));
    }
    assert_eq!(withheld(&broker), 0);
}

#[tokio::test]
async fn what_waited_for_an_absent_client_is_judged_when_it_leaves_and_does_not_hold_up_the_rest() {
    let (closed, store) = (Closed::default(), MemoryStore::default());
    let broker = closed.guard(Broker::builder()).build_on(store.clone()).unwrap();
    let address = broker.listen("127.0.0.1:0").await.unwrap();
    let mut subscriber = Client::accepted(address, persistent("s")).await.0;
    subscriber.subscribe_all(&[("secret", Q2), ("open", Q1)]).await;
    subscriber.disconnect().await;
    let mut publisher = Client::connected(address, "p").await;
    for _ in 0..200 {
        publisher.publish("secret", "x", Q1).await;
    }
    publisher.publish("open", "y", Q1).await;
    closed.close("secret");
    let (mut subscriber, session_present) = Client::accepted(address, persistent("s")).await;
    assert!(session_present);
    assert_eq!(subscriber.message().await, "open y");
    subscriber.ping().await;
    assert_eq!(withheld(&broker), 200);
    // Nothing of them is left in the store either, nor the subscription.
    drop(subscriber);
    broker.shutdown(Duration::from_secs(30)).await.unwrap();
    let mut left = Vec::new();
    store
        .recover(&mut |record| match record {
            Record::Queued { message, .. } => left.push(message.topic().to_owned()),
            Record::Subscribed { filter, .. } => left.push(filter.as_str().to_owned()),
            _ => {}
        })
        .unwrap();
    assert_eq!(left, ["open"]);
}

/// The one before had been sent the message and had not acknowledged it; it would have been sent again, to this one.
#[tokio::test]
async fn another_user_does_not_inherit_what_a_session_was_sent_nor_its_subscriptions() {
    let closed = Closed::default();
    closed.close("berta secret");
    let (broker, address) = start(closed.guard(Broker::builder())).await;
    let mut anna = Client::accepted(address, as_user("anna", persistent("s"))).await.0;
    anna.subscribe_all(&[("secret", Q2), ("open", Q2)]).await;
    let mut publisher = Client::connected(address, "p").await;
    for qos in [Q1, Q2] {
        publisher.publish("secret", "x", qos).await;
        publisher.publish("open", "y", qos).await;
    }
    for _ in 0..4 {
        anna.recv_publish().await; // Not acknowledged.
    }
    drop(anna);
    let (mut berta, session_present) = Client::accepted(address, as_user("berta", persistent("s"))).await;
    assert!(session_present);
    assert_eq!([berta.message().await, berta.message().await], ["open y", "open y"]);
    berta.ping().await;
    assert_eq!((withheld(&broker), broker.snapshot().subscriptions), (2, 1));
    publisher.publish("open", "z", Q1).await;
    assert_eq!(berta.message().await, "open z");
}

#[tokio::test]
async fn retained_messages_are_judged_too() {
    let closed = Closed::default();
    closed.close("r/3");
    let (broker, address) = start(closed.guard(Broker::builder())).await;
    let mut publisher = Client::connected(address, "p").await;
    for n in 0..40 {
        publisher.retain(&format!("r/{n}"), "x", Q1).await;
    }
    let mut subscriber = Client::connected(address, "s").await;
    subscriber.subscribe("r/+", Q1).await;
    for _ in 0..39 {
        assert_ne!(subscriber.message().await, "r/3 x");
    }
    subscriber.ping().await;
    assert_eq!(withheld(&broker), 1);
    let lost = broker.session("s").unwrap();
    assert_eq!(lost.dropped[DropReason::Withheld as usize], 1, "its session has lost it, too");
    assert!(matches!(lost.last_drop, Some((DropReason::Withheld, Some(_)))));
}

#[tokio::test]
async fn a_recheck_removes_what_is_no_longer_allowed_and_leaves_the_rest_alone() {
    let closed = Closed::default();
    let (broker, address) = start(closed.guard(Broker::builder())).await;
    let mut idle = Client::accepted(address, persistent("idle")).await.0;
    idle.subscribe_all(&[("a", Q1), ("b", Q1), ("c", Q1)]).await;
    let mut other = Client::connected(address, "other").await;
    other.subscribe("d", Q0).await;
    closed.close("b");
    broker.recheck_subscriptions().await;
    eventually("the subscription is gone", || broker.snapshot().subscriptions == 3).await;
    for topic in ["a", "b", "c"] {
        other.publish(topic, "x", Q1).await;
    }
    assert_eq!([idle.message().await, idle.message().await], ["a x", "c x"]);
    assert_eq!(idle.subscribe("b", Q0).await, SubscribeReturnCode::Failure);
}

/// The client was told 0x80, and got the messages all the same.
#[tokio::test]
async fn who_asks_again_for_what_it_may_not_have_any_more_loses_it() {
    let closed = Closed::default();
    let guarded = closed.clone();
    let builder = Broker::builder().on_subscribe(move |request| {
        let closed = guarded.has(&request.client, request.filter.as_str());
        std::future::ready(if closed {
            SubscribeDecision::Refuse
        } else {
            SubscribeDecision::Grant(request.qos)
        })
    });
    let (broker, address) = start(builder).await;
    let (mut client, _) = Client::accepted(address, persistent("s")).await;
    let granted = SubscribeReturnCode::Granted(Q1);
    assert_eq!(client.subscribe_all(&[("secret", Q1), ("open", Q1)]).await, [granted, granted]);
    closed.close("secret");
    let codes = client.subscribe_all(&[("secret", Q1), ("open", Q1)]).await;
    assert_eq!(codes, [SubscribeReturnCode::Failure, granted]);
    assert_eq!(broker.subscriptions_of("s").len(), 1);
    broker.publish(&message("secret", "x", Q1));
    broker.publish(&message("open", "y", Q1));
    assert_eq!(client.message().await, "open y");
}

#[tokio::test]
async fn a_recheck_that_cannot_be_made_ends_the_connection_and_keeps_the_subscription() {
    let builder = Broker::builder().on_subscribe(|request| async move {
        match (request.is_recheck, request.filter.as_str()) {
            (false, _) => SubscribeDecision::Grant(request.qos),
            (true, "panic") => panic!("it does"),
            (true, _) => SubscribeDecision::Disconnect,
        }
    });
    let (noted, journal) = {
        let journal = Journal::default();
        (journal.clone(), journal)
    };
    let builder = builder.on_close(move |_, reason| noted.note(reason.to_string()));
    let (broker, address) = start(builder).await;
    for filter in ["a", "panic"] {
        let mut client = Client::accepted(address, persistent(filter)).await.0;
        client.subscribe(filter, Q1).await;
        broker.recheck_subscriptions().await;
        client.expect_end().await;
    }
    eventually("both are gone", || journal.lines().len() == 2).await;
    assert_eq!(journal.lines(), [CloseReason::Hook.to_string(), CloseReason::HookFailed.to_string()]);
    assert_eq!(broker.snapshot().subscriptions, 2);
}

#[tokio::test]
async fn an_admission_names_the_user_attaches_something_and_ends() {
    let (noted, journal) = {
        let journal = Journal::default();
        (journal.clone(), journal)
    };
    let builder = Broker::builder()
        .on_connect(|request| async move {
            let mut admission = Admission::default();
            admission.user_name = Some("real".into());
            let life =
                Duration::from_millis(if &*request.client.client_id == "short" { 50 } else { 3_600_000 });
            admission.ends_at = request.client.connected_at.checked_add(life);
            admission.attach(Arc::new(7_u32));
            ConnectDecision::AcceptAs(admission)
        })
        .on_deliver(|request| request.client.attached::<u32>() == Some(&7))
        .on_close(move |client, reason| {
            noted.note(format!("{} {:?} {reason:?}", client.client_id, client.user_name));
        });
    let (_broker, address) = start(builder).await;
    let mut long = Client::accepted(address, as_user("claimed", connect("long"))).await.0;
    let mut short = Client::accepted(address, connect("short")).await.0;
    short.expect_end().await;
    eventually("it is noted", || !journal.lines().is_empty()).await;
    assert_eq!(journal.lines(), [r#"short Some("real") AdmissionEnded"#]);
    long.subscribe("t", Q0).await;
    let mut publisher = Client::accepted(address, connect("p")).await.0;
    publisher.publish("t", "x", Q0).await;
    assert_eq!(long.message().await, "t x");
    long.send(Packet::Disconnect).await;
    long.expect_end().await;
}
