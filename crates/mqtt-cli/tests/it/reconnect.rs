//! What the clients do when the broker refuses them, goes away, or misbehaves.

use mqtt_codec::{
    Connack, ConnectRefusal, Delivery, Packet, Puback, Publish, Suback, Subscribe, SubscribeReturnCode,
    TopicName,
};

use super::{
    fake_broker::{Connection, FakeBroker},
    harness::start_client,
};

fn published(connection: &mut Connection) -> Publish {
    match connection.next() {
        Some(Packet::Publish(publish)) => publish,
        other => panic!("{other:?} instead of PUBLISH"),
    }
}

fn puback(publish: &Publish) -> Packet {
    Packet::Puback(Puback { packet_id: publish.delivery.packet_id().unwrap() })
}

fn subscribed(connection: &mut Connection) -> Subscribe {
    let subscribe = match connection.next() {
        Some(Packet::Subscribe(subscribe)) => subscribe,
        other => panic!("{other:?} instead of SUBSCRIBE"),
    };
    let return_codes = subscribe.filters.iter().map(|(_, qos)| SubscribeReturnCode::Granted(*qos)).collect();
    connection.send(&Packet::Suback(Suback { packet_id: subscribe.packet_id, return_codes }));
    subscribe
}

fn message(payload: &'static str) -> Packet {
    let topic = TopicName::try_from("t").unwrap();
    Packet::Publish(Publish { delivery: Delivery::AtMostOnce, retain: false, topic, payload: payload.into() })
}

#[test]
fn nobody_there_is_one_clear_line() {
    let address = FakeBroker::new().address(); // And it is gone again.
    for arguments in [&["pub", "-t", "t", "-m", "x", "-q", "1"][..], &["sub", "-t", "t"]] {
        let line = start_client(address, arguments, b"").ended().complaint(1);
        assert!(
            line.starts_with(&format!("gmqtt: cannot connect to {address} (is a broker running there?)")),
            "{line}"
        );
    }
}

#[test]
fn a_host_that_is_not_found_is_one_clear_line() {
    let line =
        super::harness::Gmqtt::start(&["sub", "-h", "no-such-host.invalid", "-t", "t"]).ended().complaint(1);
    assert!(line.starts_with("gmqtt: cannot find the address of the host no-such-host.invalid: "), "{line}");
}

#[test]
fn a_refusal_is_told_in_words() {
    let table = [
        (ConnectRefusal::UnacceptableProtocolVersion, "it does not speak MQTT 3.1.1 (return code 1)"),
        (ConnectRefusal::IdentifierRejected, "it does not take this client identifier (return code 2)"),
        (ConnectRefusal::ServerUnavailable, "it is not available (return code 3)"),
        (ConnectRefusal::BadUserNameOrPassword, "wrong user name or password (return code 4)"),
        (ConnectRefusal::NotAuthorized, "not authorized (return code 5)"),
    ];
    let broker = FakeBroker::new();
    for (refusal, words) in table {
        let client = broker.client(&["sub", "-t", "t"], b"");
        broker.accept().0.send(&Packet::Connack(Connack::Refused(refusal)));
        assert_eq!(client.ended().complaint(1), format!("gmqtt: the broker refused the connection: {words}"));
    }
}

/// [MQTT-3.14.4-1] [MQTT-3.14.4-2]
#[test]
fn disconnect_is_the_last_that_is_heard_of_a_client() {
    let broker = FakeBroker::new();
    let client = broker.client(&["pub", "-t", "t", "-m", "x"], b"");
    let mut connection = broker.connected(false);
    assert_eq!(published(&mut connection).payload, "x");
    assert_eq!(connection.next(), Some(Packet::Disconnect));
    assert_eq!(connection.next(), None, "the client closes first");
    drop(connection);
    assert_eq!(client.ended().output(), [""; 0]);
}

#[test]
fn a_message_that_the_broker_did_not_read_does_not_count_as_sent() {
    let broker = FakeBroker::new();
    let client = broker.client(&["pub", "-t", "t", "-m", "x"], b"");
    let connection = broker.connected(false);
    connection.await_unread(b"\xe0\0");
    drop(connection);
    let line = client.ended().complaint(1);
    assert!(
        line.starts_with("gmqtt: the broker broke the connection off: the last messages may be lost"),
        "{line}"
    );
}

/// [MQTT-3.1.2-23]
#[test]
fn a_silent_client_pings() {
    let broker = FakeBroker::new();
    let _client = broker.client(&["sub", "-t", "t", "-k", "1"], b"");
    let mut connection = broker.connected(false);
    subscribed(&mut connection);
    for _ in 0..2 {
        assert_eq!(connection.next(), Some(Packet::Pingreq));
        connection.send(&Packet::Pingresp);
    }
}

#[test]
fn unacknowledged_lines_are_sent_again_as_new_in_a_new_session() {
    let broker = FakeBroker::new();
    let client = broker.client(&["pub", "-t", "t", "-l", "-q", "1"], b"one\ntwo\nthree\n");
    let mut connection = broker.connected(false);
    let first = published(&mut connection);
    connection.send(&puback(&first));
    assert_eq!([published(&mut connection).payload, published(&mut connection).payload], ["two", "three"]);
    drop(connection);
    let mut connection = broker.connected(false);
    for payload in ["two", "three"] {
        let again = published(&mut connection);
        assert_eq!((&again.payload[..], again.delivery.dup()), (payload.as_bytes(), false));
        connection.send(&puback(&again));
    }
    assert_eq!(connection.next(), Some(Packet::Disconnect));
    drop(connection);
    let ended = client.ended();
    assert!(ended.status.success());
    assert!(
        ended.stderr[0].contains("the broker closed the connection; connecting again in 250ms"),
        "{ended:?}"
    );
}

/// [MQTT-4.4.0-1] [MQTT-3.3.1-1] [MQTT-2.3.1-3]
#[test]
fn unacknowledged_lines_are_sent_again_as_they_were_in_a_session_that_goes_on() {
    let broker = FakeBroker::new();
    let client = broker.client(&["pub", "-t", "t", "-l", "-q", "1", "-c", "-i", "me", "--quiet"], b"one\n");
    let mut connection = broker.connected(false);
    let first = published(&mut connection);
    drop(connection);
    let mut connection = broker.connected(true);
    let again = published(&mut connection);
    assert_eq!(again.delivery.packet_id(), first.delivery.packet_id());
    assert!(again.delivery.dup());
    connection.send(&puback(&again));
    assert_eq!(connection.next(), Some(Packet::Disconnect));
    drop(connection);
    assert_eq!(client.ended().output(), [""; 0]);
}

#[test]
fn a_message_that_the_broker_never_takes_is_given_up() {
    let broker = FakeBroker::new();
    let client = broker.client(&["pub", "-t", "t", "-m", "x", "-q", "1", "--quiet"], b"");
    for _ in 0..5 {
        published(&mut broker.connected(false));
    }
    let line = client.ended().complaint(1);
    assert!(line.contains("5 times in a row") && line.contains("is the message too large?"), "{line}");
}

#[test]
fn subscriptions_are_made_again_unless_the_session_has_them() {
    let broker = FakeBroker::new();
    let client = broker.client(&["sub", "-t", "t", "-c", "-i", "me"], b"");
    subscribed(&mut broker.connected(true));
    subscribed(&mut broker.connected(false));
    let mut connection = broker.connected(true);
    connection.send(&message("still there"));
    assert_eq!(client.line(), "still there");
}

#[test]
fn a_broker_that_is_not_available_for_a_moment_is_waited_for() {
    let broker = FakeBroker::new();
    let client = broker.client(&["sub", "-t", "t", "-C", "1"], b"");
    subscribed(&mut broker.connected(false));
    broker.accept().0.send(&Packet::Connack(Connack::Refused(ConnectRefusal::ServerUnavailable)));
    let mut connection = broker.connected(false);
    subscribed(&mut connection);
    connection.send(&message("back again"));
    assert_eq!(client.line(), "back again");
}

#[test]
fn refused_subscriptions_are_told() {
    let answer = |connection: &mut Connection, return_codes: &[SubscribeReturnCode]| match connection.next() {
        Some(Packet::Subscribe(Subscribe { packet_id, .. })) => {
            connection.send(&Packet::Suback(Suback { packet_id, return_codes: return_codes.to_vec() }));
        }
        other => panic!("{other:?} instead of SUBSCRIBE"),
    };
    let (granted, refused) =
        (SubscribeReturnCode::Granted(mqtt_codec::QoS::AtMostOnce), SubscribeReturnCode::Failure);
    let broker = FakeBroker::new();
    let all = broker.client(&["sub", "-t", "a", "-t", "b"], b"");
    let mut connection = broker.connected(false);
    answer(&mut connection, &[refused; 2]);
    assert_eq!(connection.next(), Some(Packet::Disconnect));
    drop(connection);
    assert_eq!(all.ended().complaint(1), "gmqtt: the broker refused every subscription");
    let some = broker.client(&["sub", "-t", "a", "-t", "b"], b"");
    answer(&mut broker.connected(false), &[granted, refused]);
    some.await_stderr("the broker refused the subscription to b");
}

/// [MQTT-4.8.0-1]
#[test]
fn a_broker_that_does_not_speak_mqtt_is_left() {
    let broker = FakeBroker::new();
    let client = broker.client(&["sub", "-t", "t"], b"");
    let (mut connection, _) = broker.accept();
    connection.send_bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let line = client.ended().complaint(1);
    assert!(line.starts_with("gmqtt: the broker sent "), "{line}");
}
