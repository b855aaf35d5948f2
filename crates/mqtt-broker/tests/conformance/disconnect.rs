//! 3.14: DISCONNECT.

use crate::broker::is_ours;
use crate::names::{SessionId, unique};
use crate::packets::{Connect, DISCONNECT, Publish};
use crate::wire::Wire;

/// 3.14.4: the broker closes after DISCONNECT if the client does not, and sends nothing more.
#[test]
fn the_broker_closes_after_disconnect() {
    let mut wire = Wire::client();
    wire.send(DISCONNECT);
    wire.expect_close();
}

/// [MQTT-4.1.0-1] DISCONNECT ends the connection, not the session.
#[test]
fn a_session_survives_disconnect() {
    let (id, topic) = (SessionId::new(), unique());
    let mut wire = Wire::connect(&Connect::persistent(&id));
    wire.subscribe(&topic, 1);
    wire.send(DISCONNECT);
    wire.expect_close();
    let mut back = Wire::connect(&Connect::persistent(&id));
    assert!(back.session_present);
    back.publish(&Publish::new(&topic, "still subscribed").qos(1, 1));
    assert_eq!(back.receive().text(), "still subscribed");
}

/// A client sends nothing after DISCONNECT (3.14.4-2); our broker does not even look at what it sends against that.
#[test]
fn nothing_behind_disconnect_is_processed() {
    let topic = unique();
    let mut subscriber = Wire::subscriber(&topic, 0);
    let mut wire = Wire::client();
    wire.send([DISCONNECT.to_vec(), Publish::new(&topic, "too late").bytes()].concat());
    wire.expect_close();
    subscriber.publish(&Publish::new(&topic, "marker"));
    let came = subscriber.receive_until("marker");
    assert!(came.is_empty() || !is_ours(), "{came:?}");
}

/// What was sent right before DISCONNECT is processed, though the connection is already closing.
#[test]
fn packets_right_before_disconnect_count() {
    let topic = unique();
    let mut subscriber = Wire::subscriber(&topic, 1);
    let mut wire = Wire::client();
    let messages = (0..50).flat_map(|number: u32| Publish::new(&topic, number.to_string()).bytes());
    wire.send(messages.chain(DISCONNECT.iter().copied()).collect::<Vec<u8>>());
    drop(wire);
    for number in 0..50 {
        assert_eq!(subscriber.next_publish().text(), number.to_string());
    }
}
