//! Numbers of `docs/limits.md` on connections and what they send: nothing happens below one, and at it what is written there.
//! Those on what is kept and delivered are in `session_limits.rs`.

use std::{fs, time::Duration};

use mqtt_broker::{Broker, DropReason, Limits, RefusalReason, SubscribeError, SubscribeRefusal};
use mqtt_codec::{Connack, Connect, ConnectRefusal, Packet, SubscribeReturnCode, Unsubscribe};
use tokio::io::AsyncWriteExt;

use crate::{
    Q0, Q1, Q2,
    client::{Client, connect, id, publish, subscribe, will},
    filter,
    journal::{eventually, soon},
    limits, local_message, message, start,
};

const FAILURE: SubscribeReturnCode = SubscribeReturnCode::Failure;

pub(crate) async fn start_with(change: impl FnOnce(&mut Limits)) -> (Broker, std::net::SocketAddr) {
    start(Broker::builder().limits(limits(change))).await
}

#[tokio::test]
async fn max_connections_refuses_one_more_and_serves_on() {
    let (broker, address) = start_with(|limits| limits.max_connections = 2).await;
    let mut first = Client::connected(address, "first").await;
    let mut silent = Client::open(address).await;
    eventually("both", || broker.snapshot().connections == 2).await;
    for _ in 0..3 {
        let mut refused = Client::open(address).await;
        let answer = refused.connect(connect("refused")).await;
        assert_eq!(answer, Connack::Refused(ConnectRefusal::ServerUnavailable));
        refused.expect_end().await;
    }
    first.ping().await;
    let counts = broker.counts();
    assert_eq!((counts.connections_refused, counts.connects_refused), (3, 3));
    assert_eq!(counts.refused_for(RefusalReason::TooManyConnections), 3);
    silent.send(Packet::Pingreq).await;
    silent.expect_end().await;
    eventually("a free place", || broker.snapshot().connections == 1).await;
    Client::connected(address, "next").await.ping().await;
}

/// Who is beyond the limit waits for nothing but a CONNECT, not for long, and with few others.
#[tokio::test]
async fn what_is_spent_on_those_beyond_max_connections_is_little() {
    let (broker, address) = start_with(|limits| limits.max_connections = 0).await;
    let mut silent = Vec::new();
    for _ in 0..16 {
        silent.push(Client::open(address).await);
    }
    eventually("all of them", || broker.counts().connections_refused == 16).await;
    // Closed at once: its CONNECT gets no answer.
    let mut one_more = Client::open(address).await;
    one_more.stream.write_all(&[0x10]).await.ok();
    one_more.expect_end().await;
    for mut client in silent {
        client.expect_end().await;
    }
    let mut impatient = Client::open(address).await;
    impatient.send(Packet::Pingreq).await;
    impatient.expect_end().await;
    assert_eq!(broker.counts().connects_refused, 0);
    let mut polite = Client::open(address).await;
    let answer = polite.connect(connect("polite")).await;
    assert_eq!(answer, Connack::Refused(ConnectRefusal::ServerUnavailable));
}

#[tokio::test]
async fn connect_timeout_ends_who_sends_no_whole_connect() {
    let (broker, address) = start_with(|limits| limits.connect_timeout = Duration::from_millis(100)).await;
    let mut patient = Client::connected(address, "patient").await;
    let mut silent = Client::open(address).await;
    let mut dribbling = Client::open(address).await;
    let dribble = async {
        let mut bytes = vec![0x10, 200, 1];
        bytes.resize(1_000, b'x');
        for byte in bytes {
            if dribbling.stream.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon("the end of who dribbles", dribble).await;
    silent.expect_end().await;
    patient.ping().await;
    assert_eq!(broker.snapshot().connections, 1);
}

/// "Never" is written as the longest time there is.
#[tokio::test]
async fn connect_timeout_may_be_endless() {
    let (_broker, address) = start_with(|limits| limits.connect_timeout = Duration::MAX).await;
    Client::connected(address, "a").await.ping().await;
}

/// The whole length of a CONNECT with this client identifier.
fn connect_len(client_id: &str) -> usize {
    Packet::Connect(Box::new(connect(client_id))).encoded_len()
}

#[tokio::test]
async fn max_connect_packet_size_counts_before_connect_and_max_packet_size_after() {
    let (client_id, longer) = ("x".repeat(50), "x".repeat(51));
    let publish_of = |payload_len: usize| Packet::Publish(publish("t", &"x".repeat(payload_len), Q0, id(1)));
    let (broker, address) = start_with(|limits| {
        limits.max_connect_packet_size = connect_len(&client_id);
        limits.max_packet_size = publish_of(5_000).encoded_len();
    })
    .await;
    let mut too_long = Client::open(address).await;
    too_long.send(Packet::Connect(Box::new(connect(&longer)))).await;
    too_long.expect_end().await;

    let mut watcher = broker.subscriber(&[filter("t")]).unwrap();
    let mut client = Client::connected(address, &client_id).await;
    client.send(publish_of(5_000)).await;
    assert_eq!(local_message(&mut watcher).await.message.payload().len(), 5_000);
    // The fixed header alone is enough.
    client.send_bytes(&[0x30, 0xff, 0xff, 0x7f]).await;
    client.expect_end().await;
    eventually("the end of both", || broker.snapshot().connections == 0).await;
}

/// Memory is spent on bytes that have come, not on bytes that are announced.
#[tokio::test]
async fn an_announced_length_costs_nothing() {
    const HUGE: usize = 200 * 1024 * 1024;
    let data_kib = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmData:")).unwrap().to_owned();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap()
    };
    let (broker, address) = start_with(|limits| {
        limits.max_packet_size = HUGE;
        limits.max_connect_packet_size = HUGE;
    })
    .await;
    let before = data_kib();
    let mut clients = Vec::new();
    for n in 0..20 {
        let mut unknown = Client::open(address).await;
        unknown.send_bytes(&[0x10, 0x80, 0x80, 0x80, 0x32, 0, 4]).await;
        let mut known = Client::connected(address, &n.to_string()).await;
        known.send_bytes(&[0x30, 0x80, 0x80, 0x80, 0x32, 0, 1]).await;
        clients.extend([unknown, known]);
    }
    let announced_kib = clients.len() * 100 * 1024;
    eventually("all headers", || broker.counts().bytes_received >= 40 * 7).await;
    let grown = data_kib().saturating_sub(before);
    assert!(grown < announced_kib / 4, "{grown} KiB more for {announced_kib} KiB announced");
}

#[tokio::test]
async fn max_keep_alive_cuts_what_is_longer_or_endless() {
    let (broker, address) = start_with(|limits| limits.max_keep_alive_secs = Some(1)).await;
    let with = |client_id, keep_alive_secs| Connect { keep_alive_secs, ..connect(client_id) };
    let (mut long, _) = Client::accepted(address, with("long", 600)).await;
    let (mut endless, _) = Client::accepted(address, with("endless", 0)).await;
    for client_id in ["long", "endless"] {
        assert_eq!(broker.client(client_id).unwrap().info().keep_alive_secs, 1);
    }
    long.expect_end().await;
    endless.expect_end().await;
}

#[tokio::test]
async fn max_topic_levels_refuses_the_filter_and_ends_the_publisher() {
    let (broker, address) = start_with(|limits| limits.max_topic_levels = 3).await;
    let mut client = Client::connected(address, "a").await;
    let granted = SubscribeReturnCode::Granted(Q1);
    let filters = ["a/b/c", "a/b/c/d", "+/+/#", "+/+/+/#"].map(|filter| (filter, Q1));
    assert_eq!(client.subscribe_all(&filters).await, [granted, FAILURE, granted, FAILURE]);
    let refusal = SubscribeRefusal::Filter(SubscribeError::TooManyLevels);
    assert_eq!(broker.subscribe("a", &filter("a/b/c/d"), Q0), Err(refusal));

    let mut publisher = Client::connected(address, "publisher").await;
    publisher.publish("a/b/c", "x", Q1).await;
    assert_eq!(client.message().await, "a/b/c x");
    publisher.send(Packet::Publish(publish("a/b/c/d", "x", Q1, id(9)))).await;
    publisher.expect_end().await;
}

#[tokio::test]
async fn max_subscriptions_per_client_refuses_one_more_filter() {
    let (broker, address) = start_with(|limits| limits.max_subscriptions_per_client = 2).await;
    let mut client = Client::connected(address, "a").await;
    let granted = SubscribeReturnCode::Granted;
    let codes = client.subscribe_all(&[("a", Q0), ("b", Q0), ("c", Q0), ("a", Q2)]).await;
    assert_eq!(codes, [granted(Q0), granted(Q0), FAILURE, granted(Q2)], "one that is there may be replaced");
    assert_eq!(broker.subscribe("a", &filter("c"), Q0), Err(SubscribeRefusal::TooManySubscriptions));
    client.unsubscribe(&["b"]).await;
    assert_eq!(client.subscribe("c", Q1).await, granted(Q1));
    let mut other = Client::connected(address, "other").await;
    assert_eq!(other.subscribe("c", Q1).await, granted(Q1));
}

#[tokio::test]
async fn max_subscriptions_counts_those_of_all() {
    let (broker, address) = start_with(|limits| limits.max_subscriptions = 3).await;
    let mut client = Client::connected(address, "a").await;
    let mut other = Client::connected(address, "b").await;
    let granted = SubscribeReturnCode::Granted(Q0);
    assert_eq!(client.subscribe_all(&[("a", Q0), ("b", Q0)]).await, [granted, granted]);
    assert_eq!(other.subscribe_all(&[("a", Q0), ("b", Q0), ("a", Q0)]).await, [granted, FAILURE, granted]);
    assert_eq!(broker.counts().filters_refused, 1);
    let refusal = SubscribeRefusal::TooManySubscriptionsInAll;
    assert_eq!(broker.subscribe("b", &filter("c"), Q0), Err(refusal));
    client.disconnect().await;
    eventually("room", || broker.snapshot().subscriptions == 1).await;
    assert_eq!(other.subscribe("b", Q0).await, granted);
}

#[tokio::test]
async fn max_wildcard_subscriptions_per_client_refuses_one_more() {
    let (broker, address) = start_with(|limits| limits.max_wildcard_subscriptions_per_client = 2).await;
    let mut client = Client::connected(address, "a").await;
    let granted = SubscribeReturnCode::Granted(Q0);
    let filters = [("a/+", Q0), ("b/#", Q0), ("$share/g/+", Q0), ("a/+", Q0), ("a", Q0)];
    assert_eq!(client.subscribe_all(&filters).await, [granted, granted, FAILURE, granted, granted]);
    assert_eq!(broker.subscribe("a", &filter("#"), Q0), Err(SubscribeRefusal::TooManyWildcards));
    assert_eq!(broker.counts().filters_refused, 1);
    client.unsubscribe(&["a/+"]).await;
    assert_eq!(client.subscribe("+", Q0).await, granted);
}

/// Each group of one client is handed a copy of a message.
#[tokio::test]
async fn max_shared_subscriptions_per_client_refuses_one_more() {
    let (broker, address) = start_with(|limits| limits.max_shared_subscriptions_per_client = 2).await;
    let mut client = Client::connected(address, "a").await;
    let granted = SubscribeReturnCode::Granted(Q0);
    let filters = [("$share/1/t", Q0), ("$share/2/#", Q0), ("$share/3/t", Q0), ("$share/1/t", Q0), ("t", Q0)];
    assert_eq!(client.subscribe_all(&filters).await, [granted, granted, FAILURE, granted, granted]);
    assert_eq!(broker.subscribe("a", &filter("$share/3/#"), Q0), Err(SubscribeRefusal::TooManyShared));
    assert_eq!(broker.counts().filters_refused, 1);
    client.unsubscribe(&["$share/1/t"]).await;
    assert_eq!(client.subscribe("$share/3/t", Q0).await, granted);
}

/// A hundred thousand usual filters fit; as many of the longest would be gigabytes.
#[tokio::test]
async fn max_subscription_bytes_per_client_refuses_one_more_filter() {
    let (broker, address) =
        start_with(|limits| limits.max_subscription_bytes_per_client = 7 + 5 + 7 + 4).await;
    let mut client = Client::connected(address, "a").await;
    let granted = SubscribeReturnCode::Granted(Q0);
    let filters = [("abcde", Q0), ("abcd", Q0), ("abcde", Q0), ("efgh", Q0), ("abcd", Q0), ("i", Q0)];
    let codes = client.subscribe_all(&filters).await;
    assert_eq!(codes, [granted, granted, granted, FAILURE, granted, FAILURE]);
    let refusal = SubscribeRefusal::TooManySubscriptionBytes;
    assert_eq!(broker.subscribe("a", &filter("i"), Q0), Err(refusal));
    assert_eq!(broker.counts().filters_refused, 2);
    client.unsubscribe(&["abcde"]).await;
    assert_eq!(client.subscribe("efgh", Q0).await, granted);
    let limits = Limits::default();
    assert!(limits.max_subscription_bytes_per_client > limits.max_subscriptions_per_client * (60 + 7));
}

/// Ten thousand filters of 128 levels were 2.6 MB of text, and took 82 MB where messages are matched.
#[tokio::test]
async fn the_levels_of_filters_with_a_wildcard_count_in_max_subscription_bytes_per_client() {
    let (broker, address) =
        start_with(|limits| limits.max_subscription_bytes_per_client = 2 * (7 + 5 + 3 * 64)).await;
    let mut client = Client::connected(address, "a").await;
    let granted = SubscribeReturnCode::Granted(Q0);
    let filters = [("a/b/+", Q0), ("b/c/#", Q0), ("+", Q0), ("c", Q0), ("a/b/+", Q0)];
    let codes = client.subscribe_all(&filters).await;
    assert_eq!(codes, [granted, granted, FAILURE, FAILURE, granted]);
    client.unsubscribe(&["a/b/+"]).await;
    let deep = "+/".repeat(127) + "#";
    assert_eq!(client.subscribe_all(&[(&deep, Q0), ("+", Q0), ("c", Q0)]).await, [FAILURE, granted, granted]);
    assert_eq!(broker.counts().filters_refused, 3);
}

/// Nothing was ever sent.
#[tokio::test]
async fn a_window_of_nothing_counts_as_one_message() {
    let nothing = |limits: &mut Limits| (limits.max_inflight, limits.max_inflight_bytes) = (0, 0);
    let (broker, address) = start_with(nothing).await;
    let mut client = Client::connected(address, "a").await;
    client.subscribe("t", Q1).await;
    broker.publish(&message("t", "1", Q1));
    broker.publish(&message("t", "2", Q1));
    assert_eq!((client.message().await, client.message().await), ("t 1".into(), "t 2".into()));
    assert_eq!(format!("{broker:?}"), "Broker { sessions: 1, .. }");
}

#[tokio::test]
async fn max_filters_per_packet_ends_who_sends_more() {
    let (broker, address) = start_with(|limits| limits.max_filters_per_packet = 2).await;
    let mut client = Client::connected(address, "a").await;
    client.subscribe_all(&[("a", Q0), ("b", Q0)]).await;
    client.unsubscribe(&["a", "b"]).await;
    let three = ["a", "b", "c"];
    client.send(subscribe(id(9), &three.map(|text| (text, Q0)))).await;
    client.expect_end().await;
    let mut client = Client::connected(address, "a").await;
    let filters = three.map(filter).to_vec();
    client.send(Packet::Unsubscribe(Unsubscribe { packet_id: id(9), filters })).await;
    client.expect_end().await;
    eventually("the end of both", || broker.snapshot().connections == 0).await;
    assert_eq!(broker.snapshot().subscriptions, 0);
}

#[tokio::test]
async fn max_topic_len_refuses_the_filter_and_ends_the_publisher() {
    let (broker, address) = start_with(|limits| limits.max_topic_len = 4).await;
    let mut client = Client::connected(address, "a").await;
    let granted = SubscribeReturnCode::Granted(Q0);
    assert_eq!(client.subscribe_all(&[("abcd", Q0), ("abcde", Q0)]).await, [granted, FAILURE]);
    assert_eq!(broker.subscribe("a", &filter("abcd/"), Q0), Err(SubscribeRefusal::TooLong));
    assert_eq!(broker.counts().filters_refused, 1);
    let mut publisher = Client::connected(address, "publisher").await;
    publisher.publish("abcd", "x", Q1).await;
    assert_eq!(client.message().await, "abcd x");
    publisher.send(Packet::Publish(publish("abcde", "x", Q0, id(9)))).await;
    publisher.expect_end().await;
    // A Will is a PUBLISH that comes later.
    let mut willing = Client::open(address).await;
    willing
        .send(Packet::Connect(Box::new(Connect { will: will("abcde", b"", Q0, false), ..connect("w") })))
        .await;
    willing.expect_end().await;
}

/// Acknowledged, delivered to nobody and not retained; a Will neither.
#[tokio::test]
async fn clients_do_not_publish_to_dollar_topics_unless_they_may() {
    for (allowed, delivered, dropped) in
        [(false, vec!["end x"], 4), (true, vec!["$open/a x", "$open/w will", "end x"], 2)]
    {
        let (broker, address) = start_with(|limits| limits.allow_dollar_topics = allowed).await;
        let mut watcher = Client::connected(address, "watcher").await;
        watcher.subscribe_all(&["$open/#", "$SYS/#", "end"].map(|filter| (filter, Q0))).await;
        let mut client = Client::connected(address, "a").await;
        client.retain("$open/a", "x", Q1).await;
        client.retain("$SYS/a", "x", Q2).await;
        for (client_id, topic) in [("will", "$open/w"), ("sys will", "$SYS/w")] {
            let request = Connect { will: will(topic, b"will", Q1, true), ..connect(client_id) };
            drop(Client::accepted(address, request).await);
            eventually("its end", || broker.client(client_id).is_none()).await;
        }
        client.publish("end", "x", Q0).await;
        for expected in &delivered {
            assert_eq!(watcher.message().await, *expected);
        }
        assert_eq!(broker.counts().dropped_for(DropReason::ReservedTopic), dropped);
        assert_eq!(broker.snapshot().retained_messages, delivered.len() - 1);
        // The embedder may.
        broker.publish(&message("$SYS/a", "mine", Q0));
        assert_eq!(watcher.message().await, "$SYS/a mine");
    }
}

/// The system watches connections that say nothing: its timer for that runs on the broker's end of the socket.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn tcp_keep_alive_watches_silent_connections() {
    const KEEP_ALIVE_TIMER: &str = "02:";
    for tcp_keep_alive in [Some(Duration::from_secs(100)), None] {
        let (_broker, address) = start_with(|limits| limits.tcp_keep_alive = tcp_keep_alive).await;
        let mut client = Client::connected(address, "a").await;
        client.ping().await;
        let ports = [address, client.stream.local_addr().unwrap()].map(|end| format!(":{:04X}", end.port()));
        let is_watched = || {
            let table = fs::read_to_string("/proc/net/tcp").unwrap();
            let fields = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            let mut sockets = table
                .lines()
                .map(fields)
                .filter(|fields| fields[1].ends_with(&ports[0]) && fields[2].ends_with(&ports[1]));
            sockets.next().is_some_and(|fields| fields[5].starts_with(KEEP_ALIVE_TIMER))
        };
        match tcp_keep_alive {
            Some(_) => eventually("the timer", is_watched).await,
            None => assert!(!is_watched()),
        }
    }
}
