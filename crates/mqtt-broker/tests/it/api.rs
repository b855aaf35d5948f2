//! What an embedder does from inside, and what it sees: lists, pages, numbers.

use mqtt_broker::{Broker, CloseReason, Page, Peer, SubscribeError, SubscribeRefusal};
use mqtt_codec::{Connect, Packet};

use crate::{
    Q0, Q1, Q2,
    client::{Client, connect, credentials, id, persistent, publish},
    filter,
    journal::{Journal, eventually},
    local_message, message, start,
};

#[tokio::test]
async fn publish_reaches_matching_subscriptions_and_is_retained_if_it_says_so() {
    let (broker, address) = start(Broker::builder()).await;
    let mut client = Client::connected(address, "a").await;
    client.subscribe_all(&[("a/+", Q1), ("b", Q0)]).await;
    broker.publish(&message("elsewhere", "x", Q2));
    broker.publish(&message("a/1", "x", Q2).retained());
    let received = client.recv_publish().await;
    assert_eq!((received.topic.as_str(), received.delivery.qos(), received.retain), ("a/1", Q1, false));
    broker.publish(&message("b", "x", Q2));
    assert_eq!(client.recv_publish().await.delivery.qos(), Q0);
    let mut late = Client::connected(address, "late").await;
    late.subscribe("#", Q2).await;
    let retained = late.recv_publish().await;
    assert_eq!((retained.topic.as_str(), retained.delivery.qos(), retained.retain), ("a/1", Q2, true));
    broker.publish(&message("a/1", "", Q0).retained());
    assert_eq!(broker.snapshot().retained_messages, 0);
}

#[tokio::test]
async fn publish_to_reaches_those_named_who_subscribe() {
    let (broker, address) = start(Broker::builder()).await;
    let mut named = Client::connected(address, "named").await;
    let mut other = Client::connected(address, "other").await;
    let mut elsewhere = Client::connected(address, "elsewhere").await;
    named.subscribe("t", Q1).await;
    other.subscribe("t", Q1).await;
    elsewhere.subscribe("marker", Q1).await;
    broker.publish_to(&message("t", "x", Q2).retained(), &["named", "elsewhere", "unknown"]);
    broker.publish_to(&message("t", "marker", Q0), &["other"]);
    broker.publish(&message("marker", "", Q0));
    assert_eq!(named.message().await, "t x");
    assert_eq!(other.message().await, "t marker");
    assert_eq!(elsewhere.message().await, "marker ");
    assert_eq!(broker.snapshot().retained_messages, 0);
}

/// Each mention of it was a message.
#[test]
fn broadcast_gives_a_message_once_to_who_is_named_twice() {
    let broker = Broker::builder().build();
    let local = broker.subscriber(&[]).unwrap();
    broker.broadcast(&message("t", "x", Q1), Some(&[local.client_id(), local.client_id()]));
    assert_eq!(broker.session(local.client_id()).unwrap().queued_messages, 1);
}

/// Its turn in a group fell on somebody who was not named, and nobody had the message.
#[tokio::test]
async fn publish_to_reaches_those_named_who_share_with_others() {
    let (broker, address) = start(Broker::builder()).await;
    let mut named = Client::connected(address, "named").await;
    let mut other = Client::connected(address, "other").await;
    let (mut absent, _) = Client::accepted(address, persistent("absent")).await;
    for member in [&mut named, &mut other, &mut absent] {
        member.subscribe("$share/g/t", Q1).await;
    }
    absent.disconnect().await;
    eventually("its absence", || broker.client("absent").is_none()).await;
    for n in 0..4 {
        broker.publish_to(&message("t", &n.to_string(), Q1), &["named"]);
        broker.publish_to(&message("t", &n.to_string(), Q1), &["absent"]);
        assert_eq!(named.message().await, format!("t {n}"));
    }
    broker.publish_to(&message("t", "its own", Q1), &["other"]);
    assert_eq!(other.message().await, "t its own");
    assert_eq!(broker.session("absent").unwrap().queued_messages, 4);
}

#[tokio::test]
async fn broadcast_reaches_all_or_those_named_whatever_they_subscribe_to() {
    let (broker, address) = start(Broker::builder()).await;
    let mut named = Client::connected(address, "named").await;
    let mut other = Client::connected(address, "other").await;
    let (absent, _) = Client::accepted(address, persistent("absent")).await;
    absent.disconnect().await;
    broker.broadcast(&message("news", "some", Q2), Some(&["named", "absent", "unknown"]));
    broker.broadcast(&message("news", "all", Q1), None);
    let received = named.recv_publish().await;
    assert_eq!((received.delivery.qos(), received.retain, &received.payload[..]), (Q2, false, &b"some"[..]));
    named.acknowledge(&received).await;
    assert_eq!(named.message().await, "news all");
    assert_eq!(other.message().await, "news all");
    assert_eq!(broker.session("absent").unwrap().queued_messages, 0, "only the connected ones");
}

#[tokio::test]
async fn subscribe_is_as_if_the_client_had_asked() {
    let (broker, address) = start(Broker::builder()).await;
    broker.publish(&message("t", "retained", Q1).retained());
    let mut client = Client::connected(address, "a").await;
    assert_eq!(broker.subscribe("a", &filter("t"), Q1), Ok(()));
    let retained = client.recv_publish().await;
    assert_eq!((retained.retain, retained.delivery.qos()), (true, Q1));
    client.acknowledge(&retained).await;
    broker.publish(&message("t", "x", Q2));
    assert_eq!(client.recv_publish().await.delivery.qos(), Q1);

    assert_eq!(broker.subscribe("unknown", &filter("t"), Q1), Err(SubscribeRefusal::NoSession));
    let malformed = SubscribeRefusal::Filter(SubscribeError::BadSharedFilter);
    assert_eq!(broker.subscribe("a", &filter("$share/t"), Q1), Err(malformed));

    assert!(broker.unsubscribe("a", &filter("t")));
    assert!(!broker.unsubscribe("a", &filter("t")));
    assert!(!broker.unsubscribe("unknown", &filter("t")));
    broker.publish(&message("t", "nobody hears", Q0));
    broker.broadcast(&message("marker", "", Q0), None);
    assert_eq!(client.message().await, "marker ");
}

/// A stored session may be subscribed while its client is absent: it finds the messages when it comes back.
#[tokio::test]
async fn subscribe_for_an_absent_client() {
    let (broker, address) = start(Broker::builder()).await;
    let (client, _) = Client::accepted(address, persistent("a")).await;
    client.disconnect().await;
    broker.publish(&message("old", "retained", Q1).retained());
    broker.subscribe("a", &filter("#"), Q1).unwrap();
    broker.publish(&message("new", "x", Q1));
    let (mut client, session_present) = Client::accepted(address, persistent("a")).await;
    assert!(session_present);
    let mut received = [client.message().await, client.message().await];
    received.sort();
    assert_eq!(received, ["new x", "old retained"]);
}

#[tokio::test]
async fn a_client_is_a_handle_to_one_connection() {
    let journal = Journal::default();
    let noted = journal.clone();
    let builder = Broker::builder().on_close(move |client, reason| {
        noted.note(format!("{} {reason:?}", client.client_id));
    });
    let (broker, address) = start(builder).await;
    assert!(broker.client("a").is_none());
    let request =
        Connect { keep_alive_secs: 9, credentials: credentials("user", "secret"), ..persistent("a") };
    let (mut first, _) = Client::accepted(address, request).await;
    let handle = broker.client("a").expect("connected");
    let info = handle.info();
    assert_eq!((&*info.client_id, info.user_name.as_deref()), ("a", Some("user")));
    assert_eq!((info.clean_session, info.keep_alive_secs), (false, 9));
    assert_eq!(info.peer, Peer::Inet(first.stream.local_addr().unwrap()));
    assert!(!format!("{handle:?}").contains("secret"));

    let (mut second, _) = Client::accepted(address, persistent("a")).await;
    first.expect_end().await;
    assert!(!handle.disconnect(), "that connection is over");
    second.ping().await;
    let handle = broker.client("a").expect("connected");
    assert!(handle.disconnect());
    second.expect_end().await;
    eventually("the end of it", || broker.client("a").is_none()).await;
    assert!(!handle.disconnect());
    assert_eq!(journal.lines(), [CloseReason::TakenOver, CloseReason::Kicked].map(|it| format!("a {it:?}")));
    assert!(broker.session("a").is_some(), "the session stays");
}

#[tokio::test]
async fn end_session_ends_the_connection_too() {
    let (broker, address) = start(Broker::builder()).await;
    let mut watcher = broker.subscriber(&[filter("will")]).unwrap();
    let request = Connect { will: crate::client::will("will", b"w", Q1, false), ..persistent("a") };
    let (mut client, _) = Client::accepted(address, request).await;
    client.subscribe("t", Q1).await;
    assert!(broker.end_session("a"));
    client.expect_end().await;
    assert_eq!(local_message(&mut watcher).await.message.payload(), b"w");
    assert!(broker.session("a").is_none());
    assert!(!broker.end_session("a"));
    assert!(broker.subscriptions_of("a").is_empty());
    let (client, session_present) = Client::accepted(address, persistent("a")).await;
    assert!(!session_present);
    client.disconnect().await;
    eventually("its absence", || broker.client("a").is_none()).await;
    assert!(broker.end_session("a"), "an absent one too");
}

#[tokio::test]
async fn lists_are_paged_in_the_order_of_client_identifiers() {
    let (broker, address) = start(Broker::builder()).await;
    let mut clients = Vec::new();
    for n in [3, 1, 4, 0, 2] {
        let (mut client, _) = Client::accepted(address, persistent(&format!("c{n}"))).await;
        client.subscribe_all(&[("z", Q1), ("a", Q0)]).await;
        if n == 2 {
            client.disconnect().await;
        } else {
            clients.push(client);
        }
    }
    eventually("one to be absent", || broker.client("c2").is_none()).await;
    let page = |after, limit| Page { after, limit };
    let clients_of = |page| -> Vec<String> {
        broker.clients(page).iter().map(|client| client.client_id.to_string()).collect()
    };
    assert_eq!(clients_of(Page::default()), ["c0", "c1", "c3", "c4"]);
    assert_eq!(clients_of(page(None, 2)), ["c0", "c1"]);
    assert_eq!(clients_of(page(Some("c1"), 2)), ["c3", "c4"]);
    assert_eq!(clients_of(page(Some("c4"), 2)), [""; 0]);
    assert_eq!(clients_of(page(None, 0)), [""; 0]);
    assert_eq!(clients_of(page(Some("c"), 1)), ["c0"], "the identifier need not be there");

    let sessions = broker.sessions(page(Some("c0"), 2));
    let seen: Vec<_> =
        sessions.iter().map(|it| (&*it.client_id, it.client.is_some(), it.subscriptions)).collect();
    assert_eq!(seen, [("c1", true, 2), ("c2", false, 2)]);

    let subscriptions: Vec<String> = broker
        .subscriptions(page(Some("c1"), 2))
        .iter()
        .map(|it| format!("{} {} {:?}", it.client_id, it.filter, it.qos))
        .collect();
    assert_eq!(subscriptions, ["c2 a AtMostOnce", "c2 z AtLeastOnce", "c3 a AtMostOnce", "c3 z AtLeastOnce"]);
}

#[tokio::test]
async fn a_session_shows_what_it_holds() {
    let (broker, address) =
        start(Broker::builder().limits(crate::limits(|limits| limits.max_inflight = 1))).await;
    assert!(broker.session("a").is_none());
    let (mut client, _) = Client::accepted(address, persistent("a")).await;
    client.subscribe("t", Q1).await;
    client.send(Packet::Publish(publish("x", "", Q2, id(1)))).await;
    client.recv().await;
    broker.publish(&message("t", "12", Q1));
    broker.publish(&message("t", "3456", Q1));
    let session = broker.session("a").unwrap();
    assert_eq!((session.clean_session, session.subscriptions), (false, 1));
    assert_eq!(session.client.unwrap().client_id, session.client_id);
    assert_eq!((session.inflight_messages, session.queued_messages, session.queued_bytes), (1, 1, 5));
    assert_eq!(session.unreleased_messages, 1);
    drop(client);
    eventually("its absence", || broker.session("a").unwrap().client.is_none()).await;
    let session = broker.session("a").unwrap();
    assert_eq!((session.inflight_messages, session.queued_messages, session.unreleased_messages), (1, 1, 1));
}

/// A day in the life of a broker, and what it has counted in the evening.
#[tokio::test]
async fn counts_are_right_at_rest() {
    let (broker, address) = start(Broker::builder()).await;
    let mut receiver = Client::connected(address, "receiver").await;
    receiver.subscribe("#", Q2).await;
    let (mut publisher, _) = Client::accepted(address, persistent("publisher")).await;
    for qos in [Q0, Q1, Q2] {
        publisher.publish("t", "x", qos).await; // A PINGREQ with QoS 0.
        receiver.message().await;
    }
    drop(publisher);
    eventually("the publisher's absence", || broker.client("publisher").is_none()).await;
    let (publisher, _) = Client::accepted(address, persistent("publisher")).await;
    let (mut thief, _) = Client::accepted(address, persistent("publisher")).await;
    let mut refused = Client::open(address).await;
    refused.connect(persistent("")).await;
    refused.expect_end().await;
    thief.retain("kept", "12345", Q0).await;
    assert_eq!(receiver.message().await, "kept 12345");
    drop(publisher);
    eventually("rest", || broker.snapshot().connections == 2).await;

    let now = broker.snapshot();
    assert_eq!((now.sessions, now.subscriptions), (2, 1));
    assert_eq!((now.retained_messages, now.retained_bytes), (1, "kept12345".len()));
    let counts = now.counts;
    assert_eq!((counts.connections_accepted, counts.connections_refused), (5, 0));
    assert_eq!((counts.connects_accepted, counts.connects_refused), (4, 1));
    assert_eq!((counts.sessions_created, counts.sessions_resumed, counts.sessions_taken_over), (2, 2, 1));
    assert_eq!((counts.publishes_received, counts.publishes_sent), ([2, 1, 1], [2, 1, 1]));
    assert_eq!(counts.messages_acknowledged, 2);
    assert_eq!(counts.dropped.iter().sum::<u64>(), 0);
    // By packet type: CONNECT is 1, DISCONNECT 14.
    assert_eq!(counts.packets_received, [0, 5, 0, 4, 1, 1, 1, 1, 1, 0, 0, 0, 2, 0, 0, 0]);
    assert_eq!(counts.packets_sent, [0, 0, 5, 4, 1, 1, 1, 1, 0, 1, 0, 0, 0, 2, 0, 0]);
    assert_eq!(counts, broker.counts());
}

/// Bytes, to the last one.
#[tokio::test]
async fn bytes_are_counted() {
    let (broker, address) = start(Broker::builder()).await;
    let request = Packet::Connect(Box::new(connect("a")));
    let mut client = Client::open(address).await;
    client.send(request.clone()).await;
    client.recv().await;
    client.ping().await;
    let counts = broker.counts();
    assert_eq!((counts.bytes_received, counts.bytes_sent), (request.encoded_len() as u64 + 2, 4 + 2));
}
