//! 3.2: the answer to CONNECT, above all what session present says.

use crate::names::{SessionId, unique};
use crate::packets::{Connect, DISCONNECT, Publish, connack, field, raw_connect};
use crate::wire::Wire;

/// [MQTT-3.2.0-1] [MQTT-3.1.4-4] The first packet from the broker is CONNACK, also when messages wait for the client.
#[test]
fn connack_comes_before_the_stored_messages() {
    let (id, topic) = (SessionId::new(), unique());
    let mut away = Wire::connect(&Connect::persistent(&id));
    away.subscribe(&topic, 1);
    away.send(DISCONNECT);
    away.wait_for_end();
    let mut publisher = Wire::client();
    for number in 0..10 {
        publisher.publish(&Publish::new(&topic, number.to_string()).qos(1, 1));
    }
    let mut back = Wire::open();
    back.send(Connect::persistent(&id).bytes());
    back.expect(connack(true, 0));
    for number in 0..10 {
        assert_eq!(back.receive().text(), number.to_string());
    }
}

/// [MQTT-3.2.2-1] [MQTT-3.2.2-2] [MQTT-3.2.2-3] [MQTT-3.1.2-4] [MQTT-3.1.2-6] [MQTT-3.1.4-3] Session present is 1 when a
/// session is resumed, and never otherwise.
#[test]
fn session_present_tells_of_a_stored_session() {
    let id = SessionId::new();
    let steps = [
        (false, false, "no session yet"),
        (false, true, "a session is stored"),
        (false, true, "and still is"),
        (true, false, "a clean session, although one is stored"),
        (true, false, "a clean session"),
        (false, false, "the clean session before has left nothing"),
        (false, true, "a session is stored again"),
    ];
    for (clean, present, why) in steps {
        let connect = if clean { Connect::new(&id) } else { Connect::persistent(&id) };
        let mut wire = Wire::connect(&connect);
        assert_eq!(wire.session_present, present, "{why}");
        wire.send(DISCONNECT);
        wire.wait_for_end();
    }
}

/// [MQTT-3.2.2-1] [MQTT-3.2.2-2] [MQTT-3.2.2-3] [MQTT-3.1.2-6] The same at a take-over, where the earlier connection is
/// still there when CONNECT comes.
#[test]
fn session_present_at_a_take_over() {
    let id = SessionId::new();
    let steps = [(true, false), (false, false), (false, true), (true, false), (true, false), (false, false)];
    let mut earlier = Vec::new();
    for (step, (clean, present)) in steps.into_iter().enumerate() {
        let connect = if clean { Connect::new(&id) } else { Connect::persistent(&id) };
        let wire = Wire::connect(&connect);
        assert_eq!(wire.session_present, present, "step {step}");
        earlier.push(wire);
    }
}

/// [MQTT-3.2.2-4] [MQTT-3.2.2-5] A refusal says session present 0 although the client has a session, and closes.
#[test]
fn a_refusal_has_no_session_present() {
    let id = SessionId::new();
    Wire::connect(&Connect::persistent(&id)).send(DISCONNECT);
    let mut wire = Wire::open();
    wire.send(raw_connect("MQTT", 6, 0x00, 0, &field(&id)));
    wire.expect(connack(false, 1));
    wire.expect_close();
}
