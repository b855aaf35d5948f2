//! What hostile clients and a busy machine must not do to the others.

use std::{thread, time::Duration};

use mqtt_broker::Broker;
use mqtt_codec::{Connect, Packet};

use crate::{
    client::{Client, connect},
    start,
};

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
