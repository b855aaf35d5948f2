//! Who is let in: the limits of an address and of a user, bans, and clients that flap.

use std::{net::SocketAddr, num::NonZeroU32, time::Duration};

use mqtt_broker::{
    Ban, BanError, BanOrigin, BanTarget, Broker, ConnectDecision, Limits, Network, RefusalReason,
};
use mqtt_codec::{Connack, Connect, ConnectRefusal};
use tokio::io::AsyncWriteExt;

use crate::{
    client::{Client, connect, credentials},
    journal::{Journal, eventually},
    limits, start,
};

async fn start_with(change: impl FnOnce(&mut Limits)) -> (Broker, SocketAddr) {
    start(Broker::builder().limits(limits(change))).await
}

fn user(client_id: &str, user_name: &str) -> Connect {
    Connect { credentials: credentials(user_name, "secret"), ..connect(client_id) }
}

/// What a CONNECT is answered; the connection ends after a refusal.
async fn answer(address: SocketAddr, connect: Connect) -> Result<Client, ConnectRefusal> {
    let mut client = Client::open(address).await;
    match client.connect(connect).await {
        Connack::Accepted { .. } => Ok(client),
        Connack::Refused(refusal) => {
            client.expect_end().await;
            Err(refusal)
        }
    }
}

fn refused(broker: &Broker, reason: RefusalReason) -> u64 {
    broker.counts().refused_for(reason)
}

#[tokio::test]
async fn max_connections_per_address_refuses_one_more_and_counts_down() {
    let (broker, address) = start_with(|limits| limits.max_connections_per_address = Some(2)).await;
    let mut first = Client::connected(address, "first").await;
    let second = Client::connected(address, "second").await;
    Client::open(address).await.expect_end().await;
    assert_eq!(refused(&broker, RefusalReason::TooManyFromAddress), 1);
    assert_eq!(broker.counts().connections_refused, 1);
    first.ping().await;
    second.disconnect().await;
    eventually("a free place", || broker.snapshot().connections == 1).await;
    Client::connected(address, "third").await.ping().await;
}

/// Within the second that a bucket takes to fill there may be one or two more: hundreds there cannot be.
#[tokio::test]
async fn max_accept_rate_per_address_refuses_who_comes_too_fast() {
    let (broker, address) =
        start_with(|limits| limits.max_accept_rate_per_address = NonZeroU32::new(1)).await;
    let mut first = Client::connected(address, "first").await;
    eventually("a refusal", || {
        std::net::TcpStream::connect(address).unwrap();
        refused(&broker, RefusalReason::TooFastFromAddress) > 0
    })
    .await;
    first.ping().await;
}

#[tokio::test]
async fn max_connections_per_user_counts_users_and_not_take_overs() {
    let (broker, address) = start_with(|limits| limits.max_connections_per_user = Some(1)).await;
    let mut old = answer(address, user("a", "ann")).await.unwrap();
    assert_eq!(answer(address, user("b", "ann")).await.unwrap_err(), ConnectRefusal::ServerUnavailable);
    assert_eq!(refused(&broker, RefusalReason::TooManyOfUser), 1);
    assert_eq!(broker.counts().connects_refused, 1);
    // Others have places of their own, and who has no name needs none.
    answer(address, user("b", "bob")).await.unwrap();
    for client_id in ["c", "d"] {
        answer(address, connect(client_id)).await.unwrap();
    }
    let new = answer(address, user("a", "ann")).await.unwrap();
    old.expect_end().await;
    new.disconnect().await;
    eventually("a free place", || broker.client("a").is_none()).await;
    // The place is given back just after the session.
    let mut tries = 0;
    while answer(address, user("b", "ann")).await.is_err() {
        tries += 1;
        assert!(tries < 100);
    }
}

#[tokio::test]
async fn a_ban_of_a_network_closes_before_a_byte_is_read_and_ends_who_is_connected() {
    let journal = Journal::default();
    let noted = journal.clone();
    let builder = Broker::builder()
        .on_close(move |client, reason| noted.note(format!("{} {reason:?}", client.client_id)));
    let (broker, address) = start(builder).await;
    let mut client = Client::connected(address, "a").await;
    let target = BanTarget::Network("127.0.0.0/8".parse().unwrap());
    broker.ban(target.clone(), "floods", Some(Duration::from_mins(10))).unwrap();
    client.expect_end().await;
    journal.until(1, "a Banned").await;
    Client::open(address).await.expect_end().await;
    assert_eq!(refused(&broker, RefusalReason::Banned), 1);

    let [ban] = <[Ban; 1]>::try_from(broker.bans()).unwrap();
    assert_eq!((&ban.target, &*ban.reason, ban.origin), (&target, "floods", BanOrigin::Operator));
    assert!(ban.time_left.unwrap() <= Duration::from_mins(10));
    assert!(broker.unban(&target) && !broker.unban(&target));
    assert_eq!(broker.bans(), []);
    Client::connected(address, "a").await.ping().await;
}

/// At their limits they are taken; beyond, nothing of them is kept, and nobody decides about them.
#[tokio::test]
async fn client_identifiers_and_user_names_that_are_too_long_are_refused() {
    let (broker, address) = start_with(|_| {}).await;
    let text = |len: usize| "x".repeat(len);
    answer(address, user(&text(1_024), &text(1_024))).await.unwrap();
    let refusals = [(text(1_025), text(1)), (text(65_535), text(65_535)), (text(1), text(1_025))];
    let answers = [
        ConnectRefusal::IdentifierRejected,
        ConnectRefusal::IdentifierRejected,
        ConnectRefusal::BadUserNameOrPassword,
    ];
    for ((client_id, user_name), expected) in refusals.iter().zip(answers) {
        assert_eq!(answer(address, user(client_id, user_name)).await.unwrap_err(), expected);
    }
    assert_eq!(refused(&broker, RefusalReason::ClientIdTooLong), 2);
    assert_eq!(refused(&broker, RefusalReason::UserNameTooLong), 1);
    assert_eq!(broker.counts().connects_refused, 3);
}

/// At the limit of connections too: he has none of the few places of those who are told of it.
#[tokio::test]
async fn who_is_banned_is_told_nothing_of_the_limit() {
    let (broker, address) = start_with(|limits| limits.max_connections = 0).await;
    broker.ban(BanTarget::Network("127.0.0.0/8".parse().unwrap()), "floods", None).unwrap();
    let mut banned = Client::open(address).await;
    banned.stream.write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a").await.ok();
    banned.expect_end().await;
    assert_eq!(broker.counts().connects_refused, 0);
    assert_eq!(refused(&broker, RefusalReason::TooManyConnections), 1);
}

#[tokio::test]
async fn bans_of_a_client_identifier_and_of_a_user_refuse_the_connect() {
    let (broker, address) = start_with(|limits| limits.max_bans = 2).await;
    let mut connected = answer(address, user("a", "ann")).await.unwrap();
    let mut other = Client::connected(address, "b").await;
    broker.ban(BanTarget::ClientId("b".into()), "", None).unwrap();
    other.expect_end().await;
    broker.ban(BanTarget::User("ann".into()), "", None).unwrap();
    connected.expect_end().await;
    for request in [connect("b"), user("c", "ann")] {
        assert_eq!(answer(address, request).await.unwrap_err(), ConnectRefusal::NotAuthorized);
    }
    assert_eq!(refused(&broker, RefusalReason::Banned), 2);
    answer(address, user("c", "bob")).await.unwrap();
    let one_more = BanTarget::Network(Network::from(address.ip()));
    assert_eq!(broker.ban(one_more, "", None), Err(BanError::ListFull));
}

#[tokio::test]
async fn configured_bans_hold_for_as_long_as_they_are_named() {
    let (broker, address) = start_with(|limits| limits.max_bans = 2).await;
    let [a, b, c] = ["a", "b", "c"].map(|id| BanTarget::ClientId(id.into()));
    let mut connected = Client::connected(address, "a").await;
    broker.replace_configured_bans(std::slice::from_ref(&a)).unwrap();
    connected.expect_end().await;
    assert_eq!(answer(address, connect("a")).await.unwrap_err(), ConnectRefusal::NotAuthorized);
    broker.ban(b.clone(), "floods", None).unwrap();
    let [of_a, of_b] = <[Ban; 2]>::try_from(broker.bans()).unwrap();
    assert_eq!((of_a.origin, of_b.origin), (BanOrigin::Configuration, BanOrigin::Operator));

    assert_eq!(broker.replace_configured_bans(&[a.clone(), c.clone()]), Err(BanError::ListFull));
    assert_eq!(broker.bans(), [of_a, of_b.clone()], "all stays as it was");

    let mut connected = Client::connected(address, "c").await;
    broker.replace_configured_bans(&[c]).unwrap();
    connected.expect_end().await;
    Client::connected(address, "a").await.ping().await;
    broker.replace_configured_bans(&[]).unwrap();
    assert_eq!(broker.bans(), [of_b], "made by hand, it stays");
    Client::connected(address, "c").await.ping().await;
}

/// While the hook decided about its password, say.
#[tokio::test]
async fn a_ban_that_comes_while_a_hook_decides_holds() {
    let (asked, answered) = (Journal::default(), std::sync::Arc::new(tokio::sync::Notify::new()));
    let (noted, gate) = (asked.clone(), answered.clone());
    let builder = Broker::builder().on_connect(move |_| {
        noted.note("asked");
        let gate = gate.clone();
        async move {
            gate.notified().await;
            ConnectDecision::Accept
        }
    });
    let (broker, address) = start(builder).await;
    let client = tokio::spawn(answer(address, connect("a")));
    asked.until(1, "asked").await;
    broker.ban(BanTarget::ClientId("a".into()), "", None).unwrap();
    answered.notify_one();
    assert_eq!(client.await.unwrap().unwrap_err(), ConnectRefusal::NotAuthorized);
}

#[tokio::test]
async fn a_client_identifier_that_flaps_is_banned_for_a_while() {
    let (broker, address) = start_with(|limits| {
        limits.flapping_connects = NonZeroU32::new(3);
        limits.flapping_window = Duration::from_mins(10);
        limits.flapping_ban = Duration::from_mins(10);
    })
    .await;
    for _ in 0..3 {
        answer(address, connect("a")).await.unwrap();
        answer(address, connect("b")).await.unwrap().disconnect().await;
        broker.unban(&BanTarget::ClientId("b".into()));
    }
    assert_eq!(answer(address, connect("a")).await.unwrap_err(), ConnectRefusal::NotAuthorized);
    assert_eq!(refused(&broker, RefusalReason::Flapping), 1);
    assert_eq!(answer(address, connect("a")).await.unwrap_err(), ConnectRefusal::NotAuthorized);
    assert_eq!(refused(&broker, RefusalReason::Banned), 1);
    let [ban] = <[Ban; 1]>::try_from(broker.bans()).unwrap();
    assert_eq!((ban.target, ban.origin), (BanTarget::ClientId("a".into()), BanOrigin::Flapping));
    assert!(ban.time_left.is_some());
    answer(address, connect("c")).await.unwrap();
}

/// A ban is over by itself, without anybody looking.
#[tokio::test]
async fn a_ban_ends_after_its_time() {
    let (broker, address) = start_with(|_| {}).await;
    broker.ban(BanTarget::ClientId("a".into()), "", Some(Duration::from_millis(50))).unwrap();
    eventually("the end of the ban", || broker.bans().is_empty()).await;
    answer(address, connect("a")).await.unwrap();
}

/// A reload changed them at once, although it says that they take a restart, and by half: what was forgotten went by the old ones.
#[tokio::test]
async fn limits_of_flapping_are_those_that_the_broker_began_with() {
    let (broker, address) = start(Broker::builder()).await;
    broker.replace_limits(limits(|limits| limits.flapping_connects = NonZeroU32::new(1)));
    for _ in 0..3 {
        answer(address, connect("a")).await.unwrap();
    }
}
