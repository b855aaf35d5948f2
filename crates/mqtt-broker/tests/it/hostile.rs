//! What hostile clients, unlucky moments and a busy machine must not do to the broker.

use std::{
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use mqtt_broker::{Broker, Event};
use mqtt_codec::{Connect, Packet};

use crate::{
    client::{Client, connect, persistent},
    journal::eventually,
    start,
};

/// The moment was between the session's start and the connection's: the session stayed connected to nobody for ever, and
/// its Will was never published.
#[tokio::test]
async fn a_client_that_is_told_to_go_while_it_connects_leaves_no_session_behind() {
    let handle = Arc::new(OnceLock::<Broker>::new());
    let kicking = Arc::clone(&handle);
    let builder = Broker::builder().observer(move |event: &Event<'_>| {
        if let (Event::SessionTakenOver { client_id }, Some(broker)) = (event, kicking.get()) {
            assert!(broker.client(client_id).is_some_and(|newcomer| newcomer.disconnect()));
        }
    });
    let (broker, address) = start(builder).await;
    assert!(handle.set(broker.clone()).is_ok());
    for kind in [connect, persistent] {
        let (mut first, _) = Client::accepted(address, kind("a")).await;
        let mut second = Client::open(address).await;
        second.send(Packet::Connect(Box::new(kind("a")))).await;
        first.expect_end().await;
        while second.next().await.is_some() {}
        eventually("nobody to be connected", || broker.client("a").is_none()).await;
    }
}

/// The process stood still for a while (an overload, a suspended machine): what clients sent in time lay in the sockets.
#[tokio::test]
async fn a_packet_that_came_in_time_counts_even_if_it_is_read_late() {
    let (_broker, address) = start(Broker::builder()).await;
    let (mut client, _) = Client::accepted(address, Connect { keep_alive_secs: 1, ..connect("a") }).await;
    client.ping().await;
    let mut pingreq = Vec::new();
    Packet::Pingreq.encode(&mut pingreq).unwrap();
    assert_eq!(client.stream.try_write(&pingreq).unwrap(), pingreq.len());
    thread::sleep(Duration::from_millis(1_600));
    assert_eq!(client.recv().await, Packet::Pingresp);
}
