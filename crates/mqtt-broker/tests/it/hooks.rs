//! Every decision that an embedder may take, and that it is taken in time: before the broker has done anything.
//! What is decided about messages is in `publish_hooks.rs`.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mqtt_broker::{
    Broker, ConnectDecision, ConnectRefusal, PublishDecision, SubscribeDecision, WillDecision,
};
use mqtt_codec::{Connack, Delivery, Packet, Puback, Suback, SubscribeReturnCode};
use tokio::sync::Semaphore;

use crate::{
    Q0, Q1, Q2,
    client::{Client, connect, credentials, id, persistent, publish, subscribe, will},
    journal::{Journal, eventually},
    limits, local_message, message, start,
};

#[tokio::test]
async fn on_accept_closes_who_is_not_wanted_before_a_byte_is_read() {
    let (journal, open) = (Journal::default(), Arc::new(AtomicBool::new(false)));
    let (noted, is_open) = (journal.clone(), Arc::clone(&open));
    let (broker, address) = start(Broker::builder().on_accept(move |request| {
        noted.note(request.peer.to_string());
        is_open.load(Ordering::Relaxed)
    }))
    .await;

    let mut refused = Client::open(address).await;
    let peer = refused.stream.local_addr().unwrap().to_string();
    refused.expect_end().await;
    open.store(true, Ordering::Relaxed);
    Client::connected(address, "a").await.ping().await;
    assert_eq!(journal.lines()[0], peer);
    let counts = broker.counts();
    assert_eq!((counts.connections_accepted, counts.connections_refused), (2, 1));
}

#[tokio::test]
async fn on_connect_refuses_with_each_code() {
    let refusals = [
        ConnectRefusal::UnacceptableProtocolVersion,
        ConnectRefusal::IdentifierRejected,
        ConnectRefusal::ServerUnavailable,
        ConnectRefusal::BadUserNameOrPassword,
        ConnectRefusal::NotAuthorized,
    ];
    let (broker, address) = start(Broker::builder().on_connect(move |request| async move {
        let code: usize = request.client.user_name.as_deref().unwrap().parse().unwrap();
        code.checked_sub(1).map_or(ConnectDecision::Accept, |index| ConnectDecision::Refuse(refusals[index]))
    }))
    .await;

    for (code, refusal) in (1..).zip(refusals) {
        let mut client = Client::open(address).await;
        let request =
            mqtt_codec::Connect { credentials: credentials(&code.to_string(), ""), ..persistent("a") };
        assert_eq!(client.connect(request).await, Connack::Refused(refusal));
        client.expect_end().await;
    }
    let counts = broker.counts();
    assert_eq!((counts.connects_refused, counts.connects_accepted, counts.sessions_created), (5, 0, 0));
    let request = mqtt_codec::Connect { credentials: credentials("0", ""), ..persistent("a") };
    let (_client, session_present) = Client::accepted(address, request).await;
    assert!(!session_present, "a refused CONNECT leaves no session behind");
}

#[tokio::test]
async fn on_connect_sees_the_whole_connect() {
    let journal = Journal::default();
    let noted = journal.clone();
    let (_broker, address) = start(Broker::builder().on_connect(move |request| {
        let client = &request.client;
        let will = request.will.as_ref().unwrap();
        noted.note(format!(
            "{} {:?} {:?} clean={} keep_alive={} will={} {:?} {:?} {}",
            client.client_id,
            client.user_name.as_deref().unwrap(),
            request.password.as_deref().unwrap(),
            client.clean_session,
            client.keep_alive_secs,
            will.topic(),
            will.payload(),
            will.qos(),
            will.retain(),
        ));
        async { ConnectDecision::Accept }
    }))
    .await;
    let request = mqtt_codec::Connect {
        keep_alive_secs: 7,
        will: will("w", b"\0\xff", Q2, true),
        credentials: credentials("user", "secret"),
        ..persistent("a")
    };
    Client::accepted(address, request).await;
    let password = b"secret";
    assert_eq!(
        journal.lines(),
        [format!("a \"user\" {password:?} clean=false keep_alive=7 will=w [0, 255] ExactlyOnce true")]
    );
}

/// While `on_connect` decides, what the client sends behind its CONNECT waits, and others are served.
#[tokio::test]
async fn on_connect_may_take_its_time() {
    let gate = Arc::new(Semaphore::new(0));
    let hook_gate = Arc::clone(&gate);
    let (broker, address) = start(Broker::builder().on_connect(move |request| {
        let gate = Arc::clone(&hook_gate);
        async move {
            if &*request.client.client_id == "slow" {
                gate.acquire().await.unwrap().forget();
            }
            ConnectDecision::Accept
        }
    }))
    .await;

    let mut slow = Client::open(address).await;
    slow.send_all(&[
        Packet::Connect(Box::new(connect("slow"))),
        subscribe(id(9), &[("t", Q1)]),
        Packet::Publish(publish("t", "own", Q1, id(1))),
    ])
    .await;
    let mut other = Client::connected(address, "other").await;
    other.publish("t", "too early", Q1).await;
    assert!(broker.session("slow").is_none());

    gate.add_permits(1);
    assert_eq!(slow.recv().await, Packet::Connack(Connack::Accepted { session_present: false }));
    let granted = vec![SubscribeReturnCode::Granted(Q1)];
    assert_eq!(slow.recv().await, Packet::Suback(Suback { packet_id: id(9), return_codes: granted }));
    assert_eq!(slow.recv().await, Packet::Puback(Puback { packet_id: id(1) }));
    assert_eq!(slow.message().await, "t own");
}

#[tokio::test]
async fn a_hook_that_hangs_costs_its_own_connection_after_the_time_limit() {
    let journal = Journal::default();
    let noted = journal.clone();
    let (broker, address) = start(
        Broker::builder()
            .limits(limits(|limits| limits.hook_timeout = Duration::from_millis(50)))
            .on_connect(|request| async move {
                if &*request.client.client_id == "hangs" {
                    std::future::pending::<()>().await;
                }
                ConnectDecision::Accept
            })
            .on_subscribe(|request| async move {
                if request.filter.as_str() == "hangs" {
                    std::future::pending::<()>().await;
                }
                SubscribeDecision::Grant(request.qos)
            })
            .on_close(move |client, reason| noted.note(format!("{} {reason:?}", client.client_id))),
    )
    .await;

    let mut other = Client::connected(address, "other").await;
    let mut hangs = Client::open(address).await;
    hangs.send(Packet::Connect(Box::new(connect("hangs")))).await;
    other.publish("t", "x", Q1).await;
    hangs.expect_end().await;

    let mut subscriber = Client::connected(address, "subscriber").await;
    subscriber.send(subscribe(id(1), &[("fine", Q0), ("hangs", Q0)])).await;
    other.publish("t", "x", Q1).await;
    subscriber.expect_end().await;
    assert_eq!(journal.lines(), ["subscriber HookFailed"]);
    other.ping().await;
    assert_eq!(broker.snapshot().sessions, 1);
}

/// A client that a hook keeps waiting is not to blame for its silence, and has its whole time again afterwards.
#[tokio::test]
async fn a_client_on_hold_does_not_run_out_of_keep_alive() {
    let longer_than_allowed = || tokio::time::sleep(Duration::from_millis(1_800));
    let builder = Broker::builder()
        .on_connect(move |_| async move {
            longer_than_allowed().await;
            ConnectDecision::Accept
        })
        .on_subscribe(move |request| async move {
            longer_than_allowed().await;
            SubscribeDecision::Grant(request.qos)
        });
    let (_broker, address) = start(builder).await;
    let request = mqtt_codec::Connect { keep_alive_secs: 1, ..connect("a") };
    let (mut client, _) = Client::accepted(address, request).await;
    client.ping().await;
    assert_eq!(client.subscribe("t", Q1).await, SubscribeReturnCode::Granted(Q1));
    client.ping().await;
}

#[tokio::test]
async fn on_subscribe_decides_filter_by_filter() {
    let journal = Journal::default();
    let noted = journal.clone();
    let (broker, address) = start(Broker::builder().on_subscribe(move |request| {
        noted.note(format!("{} {} {:?}", request.client.client_id, request.filter, request.qos));
        async move {
            match request.filter.as_str() {
                "no" => SubscribeDecision::Refuse,
                "less" => SubscribeDecision::Grant(Q0),
                _ => SubscribeDecision::Grant(Q2),
            }
        }
    }))
    .await;
    let mut client = Client::connected(address, "a").await;
    let codes = client
        .subscribe_all(&[("same", Q2), ("no", Q2), ("less", Q2), ("more", Q1), ("$share/g/no", Q1)])
        .await;
    let granted = SubscribeReturnCode::Granted;
    assert_eq!(codes, [granted(Q2), SubscribeReturnCode::Failure, granted(Q0), granted(Q1), granted(Q1)]);
    assert_eq!(
        journal.lines(),
        [
            "a same ExactlyOnce",
            "a no ExactlyOnce",
            "a less ExactlyOnce",
            "a more AtLeastOnce",
            "a $share/g/no AtLeastOnce"
        ]
    );
    broker.publish(&message("no", "by the share alone", Q2));
    broker.publish(&message("less", "x", Q2));
    assert_eq!(client.message().await, "no by the share alone");
    assert_eq!(client.recv_publish().await.delivery, Delivery::AtMostOnce);
    let subscribed: Vec<String> =
        broker.subscriptions_of("a").iter().map(|subscription| subscription.filter.to_string()).collect();
    assert_eq!(subscribed, ["$share/g/no", "less", "more", "same"]);
}

/// The packets behind a SUBSCRIBE wait for its hook, in their order; nobody else waits.
#[tokio::test]
async fn on_subscribe_may_take_its_time() {
    let gate = Arc::new(Semaphore::new(0));
    let hook_gate = Arc::clone(&gate);
    let (broker, address) = start(Broker::builder().on_subscribe(move |request| {
        let gate = Arc::clone(&hook_gate);
        async move {
            gate.acquire().await.unwrap().forget();
            SubscribeDecision::Grant(request.qos)
        }
    }))
    .await;
    let mut watcher = broker.subscriber(&[crate::filter("#")]).unwrap();
    let mut slow = Client::connected(address, "slow").await;
    slow.send_all(&[
        subscribe(id(1), &[("a", Q0), ("b", Q0)]),
        Packet::Publish(publish("a", "behind", Q1, id(2))),
        Packet::Pingreq,
    ])
    .await;
    let mut other = Client::connected(address, "other").await;
    other.publish("c", "meanwhile", Q1).await;
    assert_eq!(local_message(&mut watcher).await.message.payload(), b"meanwhile");

    gate.add_permits(1);
    eventually("the first filter", || broker.subscriptions_of("slow").len() == 1).await;
    other.ping().await;
    gate.add_permits(1);
    let granted = vec![SubscribeReturnCode::Granted(Q0); 2];
    assert_eq!(slow.recv().await, Packet::Suback(Suback { packet_id: id(1), return_codes: granted }));
    assert_eq!(slow.recv().await, Packet::Puback(Puback { packet_id: id(2) }));
    assert_eq!(slow.recv().await, Packet::Pingresp);
    assert_eq!(slow.message().await, "a behind");
    assert_eq!(local_message(&mut watcher).await.message.payload(), b"behind");
}

#[tokio::test]
async fn on_unsubscribe_sees_each_filter_while_it_still_stands() {
    let (journal, itself) = (Journal::default(), Arc::new(OnceLock::<Broker>::new()));
    let (noted, hook_broker) = (journal.clone(), Arc::clone(&itself));
    let (broker, address) = start(Broker::builder().on_unsubscribe(move |client, filter| {
        let left = hook_broker.get().unwrap().subscriptions_of(&client.client_id).len();
        noted.note(format!("{} {filter}: {left}", client.client_id));
    }))
    .await;
    assert!(itself.set(broker.clone()).is_ok());
    let mut client = Client::connected(address, "a").await;
    client.subscribe_all(&[("x", Q0), ("y", Q0)]).await;
    client.unsubscribe(&["x", "never", "y"]).await;
    assert_eq!(journal.lines(), ["a x: 2", "a never: 1", "a y: 1"]);
    assert_eq!(broker.snapshot().subscriptions, 0);
}

/// What an embedder asks for itself it is not asked about.
#[tokio::test]
async fn the_brokers_own_api_asks_no_hook() {
    let journal = Journal::default();
    let (on_publish, on_subscribe, on_unsubscribe) = (journal.clone(), journal.clone(), journal.clone());
    let (broker, address) = start(
        Broker::builder()
            .on_publish(move |_| {
                on_publish.note("publish");
                PublishDecision::Drop
            })
            .on_subscribe(move |_| {
                on_subscribe.note("subscribe");
                async { SubscribeDecision::Refuse }
            })
            .on_unsubscribe(move |_, _| on_unsubscribe.note("unsubscribe")),
    )
    .await;
    let mut client = Client::connected(address, "a").await;
    broker.subscribe("a", &crate::filter("t"), Q1).unwrap();
    broker.publish(&message("t", "1", Q1));
    broker.publish_to(&message("t", "2", Q1), &["a"]);
    broker.broadcast(&message("u", "3", Q1), None);
    for expected in ["t 1", "t 2", "u 3"] {
        assert_eq!(client.message().await, expected);
    }
    assert!(broker.unsubscribe("a", &crate::filter("t")));
    assert_eq!(journal.lines(), [""; 0]);
}

mod as_a_trait {
    //! The same hooks, as one implementation of the trait.

    use mqtt_broker::{
        AcceptRequest, ClientInfo, CloseReason, ConnectRequest, HookFuture, Hooks, Message, PublishRequest,
        SubscribeRequest, TopicFilter,
    };

    use super::*;

    struct Everything(Journal);

    impl Hooks for Everything {
        fn on_accept(&self, _: AcceptRequest<'_>) -> bool {
            self.0.note("accept");
            true
        }

        fn on_connect(&self, request: ConnectRequest) -> HookFuture<ConnectDecision> {
            self.0.note(format!("connect {}", request.client.client_id));
            Box::pin(async { ConnectDecision::Accept })
        }

        fn on_subscribe(&self, request: SubscribeRequest) -> HookFuture<SubscribeDecision> {
            self.0.note(format!("subscribe {}", request.filter));
            Box::pin(async { SubscribeDecision::Grant(Q0) })
        }

        fn on_unsubscribe(&self, _: &ClientInfo, filter: &TopicFilter) {
            self.0.note(format!("unsubscribe {filter}"));
        }

        fn on_publish(&self, request: PublishRequest<'_>) -> PublishDecision {
            self.0.note(format!("publish {}", request.topic));
            PublishDecision::Change(message("t", "changed", Q0))
        }

        fn on_will(&self, _: &ClientInfo, will: &Message) -> WillDecision {
            self.0.note(format!("will {}", will.topic()));
            WillDecision::Pass
        }

        fn on_close(&self, client: &ClientInfo, reason: &CloseReason) {
            self.0.note(format!("close {} {reason:?}", client.client_id));
        }

        fn on_stop(&self) {
            self.0.note("stop");
        }
    }

    #[tokio::test]
    async fn all_hooks_are_asked_in_the_order_of_a_clients_life() {
        let journal = Journal::default();
        let (broker, address) = start(Broker::builder().hooks(Everything(journal.clone()))).await;
        let request = mqtt_codec::Connect { will: will("w", b"", Q0, false), ..connect("a") };
        let (mut client, _) = Client::accepted(address, request).await;
        assert_eq!(client.subscribe("t", Q2).await, SubscribeReturnCode::Granted(Q0));
        client.send(Packet::Publish(publish("x", "own", Q0, id(1)))).await;
        assert_eq!(client.message().await, "t changed");
        client.unsubscribe(&["t"]).await;
        drop(client);
        journal.until(1, "close").await;
        broker.shutdown(Duration::from_secs(10)).await.unwrap();
        assert_eq!(
            journal.lines(),
            [
                "accept",
                "connect a",
                "subscribe t",
                "publish x",
                "unsubscribe t",
                "will w",
                "close a ConnectionLost",
                "stop"
            ]
        );
    }

    /// A hook that is not implemented lets everything pass.
    #[tokio::test]
    async fn the_defaults_let_everything_pass() {
        struct Nothing;
        impl Hooks for Nothing {}
        let (broker, address) = start(Broker::builder().hooks(Nothing)).await;
        let request = mqtt_codec::Connect { will: will("w", b"last", Q2, false), ..connect("a") };
        let (mut client, _) = Client::accepted(address, request).await;
        let mut receiver = Client::connected(address, "receiver").await;
        assert_eq!(receiver.subscribe("#", Q2).await, SubscribeReturnCode::Granted(Q2));
        client.publish("t", "x", Q2).await;
        assert_eq!(receiver.message().await, "t x");
        drop(client);
        assert_eq!(receiver.message().await, "w last");
        receiver.unsubscribe(&["#"]).await;
        broker.shutdown(Duration::from_secs(10)).await.unwrap();
    }
}
