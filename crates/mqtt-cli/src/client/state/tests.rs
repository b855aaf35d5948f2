//! A client's side of the protocol, packet by packet.

use mqtt_codec::{ConnectRefusal, PacketType, Suback, TopicName, Unsuback, Utf8Bytes};

use super::*;

/// A state and the server that it talks to: the test.
struct Talk {
    state: State,
    decoder: Decoder,
    now: Instant,
}

impl Talk {
    /// Nothing is connected.
    fn new(clean_session: bool, keep_alive_secs: u16) -> Self {
        let client_id = Utf8Bytes::try_from("me").unwrap();
        let connect = Connect { clean_session, keep_alive_secs, client_id, will: None, credentials: None };
        let now = Instant::now();
        Self {
            state: State::new(now, connect, 3, PacketId::FIRST).unwrap(),
            decoder: Decoder::new(MAX_PACKET_SIZE),
            now,
        }
    }

    /// A new connection is accepted.
    fn connected(clean_session: bool) -> Self {
        let mut talk = Self::new(clean_session, 0);
        talk.connect(false);
        talk
    }

    /// Ends the connection, if there is one, and begins another.
    fn connect(&mut self, session_present: bool) {
        self.state.handle_connection(self.now).unwrap();
        assert!(matches!(self.sent()[..], [Packet::Connect(_)]));
        let event = self.answer(&Packet::Connack(Connack::Accepted { session_present }));
        assert_eq!(event, Ok(Some(Event::Connected { session_present })));
    }

    /// What the server sends, and what comes of it.
    fn answer(&mut self, packet: &Packet) -> Result<Option<Event>, Fault> {
        packet.encode(&mut self.state.incoming).unwrap();
        self.state.poll_event()
    }

    /// What the client has sent since the last time.
    fn sent(&mut self) -> Vec<Packet> {
        let mut bytes = self.state.outgoing.split();
        self.state.handle_sent(self.now);
        std::iter::from_fn(|| self.decoder.decode(&mut bytes).unwrap()).collect()
    }

    fn publish(&mut self, payload: &'static str, qos: QoS) {
        self.state.publish(publication(payload, qos)).unwrap();
    }
}

fn publication(payload: &'static str, qos: QoS) -> Publication {
    Publication { topic: TopicName::try_from("t").unwrap(), payload: payload.into(), qos, retain: false }
}

fn message(payload: &'static str, delivery: Delivery) -> Publish {
    Publish { delivery, retain: false, topic: TopicName::try_from("t").unwrap(), payload: payload.into() }
}

fn at_least_once(id: u16, dup: bool) -> Delivery {
    Delivery::AtLeastOnce { packet_id: packet_id(id), dup }
}

fn exactly_once(id: u16, dup: bool) -> Delivery {
    Delivery::ExactlyOnce { packet_id: packet_id(id), dup }
}

fn packet_id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

fn puback(id: u16) -> Packet {
    Packet::Puback(Puback { packet_id: packet_id(id) })
}

fn pubrec(id: u16) -> Packet {
    Packet::Pubrec(Pubrec { packet_id: packet_id(id) })
}

fn pubrel(id: u16) -> Packet {
    Packet::Pubrel(Pubrel { packet_id: packet_id(id) })
}

fn pubcomp(id: u16) -> Packet {
    Packet::Pubcomp(Pubcomp { packet_id: packet_id(id) })
}

#[test]
fn a_refusal_is_told_in_its_own_words() {
    let mut talk = Talk::new(true, 0);
    talk.state.handle_connection(talk.now).unwrap();
    let refused = talk.answer(&Packet::Connack(Connack::Refused(ConnectRefusal::NotAuthorized)));
    assert_eq!(refused, Err(Fault::Refused(ConnectRefusal::NotAuthorized)));
}

#[test]
fn a_connect_that_has_no_spelling_is_refused_before_any_connection() {
    let will = mqtt_codec::Will {
        topic: TopicName::try_from("w").unwrap(),
        message: vec![0; 65_536].into(),
        qos: QoS::AtMostOnce,
        retain: false,
    };
    let connect = Connect { will: Some(will), ..Talk::new(true, 0).state.connect };
    assert!(State::new(Instant::now(), connect, 1, PacketId::FIRST).is_err());
}

/// [MQTT-4.3.1-1] [MQTT-3.3.1-2] [MQTT-2.3.1-5]
#[test]
fn qos_0_is_sent_and_forgotten() {
    let mut talk = Talk::connected(true);
    talk.publish("a", QoS::AtMostOnce);
    assert!(!talk.state.is_idle());
    assert_eq!(talk.sent(), [Packet::Publish(message("a", Delivery::AtMostOnce))]);
    assert!(talk.state.is_idle());
}

/// [MQTT-4.3.2-1] [MQTT-2.3.1-1] [MQTT-2.3.1-2] [MQTT-2.3.1-3]
#[test]
fn an_identifier_in_use_is_not_taken_again() {
    let mut talk = Talk::connected(true);
    talk.publish("a", QoS::AtLeastOnce);
    talk.publish("b", QoS::AtLeastOnce);
    assert_eq!(talk.answer(&puback(2)), Ok(None));
    talk.state.next_packet_id = packet_id(65_535);
    let filters = vec![(TopicFilter::try_from("f").unwrap(), QoS::AtMostOnce)];
    talk.state.subscribe(filters.clone()).unwrap();
    talk.publish("c", QoS::ExactlyOnce);
    let sent = talk.sent();
    let subscribe = Packet::Subscribe(Subscribe { packet_id: packet_id(65_535), filters });
    let expected = [
        Packet::Publish(message("a", at_least_once(1, false))),
        Packet::Publish(message("b", at_least_once(2, false))),
        subscribe,
        Packet::Publish(message("c", exactly_once(2, false))),
    ];
    assert_eq!(sent, expected, "1 is in use still, 2 is free again, 65,535 is followed by 1");
    talk.state.next_packet_id = packet_id(65_535);
    talk.publish("d", QoS::AtLeastOnce);
    assert_eq!(
        talk.sent(),
        [Packet::Publish(message("d", at_least_once(3, false)))],
        "SUBSCRIBE holds its own too"
    );
}

#[test]
fn the_window_is_kept() {
    let mut talk = Talk::connected(true);
    for _ in 0..3 {
        assert!(talk.state.has_room());
        talk.publish("a", QoS::AtLeastOnce);
    }
    assert!(!talk.state.has_room());
    talk.answer(&puback(1)).unwrap();
    assert!(talk.state.has_room());
    talk.publish("a", QoS::AtMostOnce);
    talk.state.outgoing.resize(MAX_OUTGOING, 0);
    assert!(!talk.state.has_room(), "so many bytes are not written yet");
}

/// [MQTT-4.3.3-1] [MQTT-2.3.1-6] [MQTT-4.6.0-4]
#[test]
fn qos_2_goes_through_its_four_packets() {
    let mut talk = Talk::connected(true);
    talk.publish("a", QoS::ExactlyOnce);
    talk.publish("b", QoS::ExactlyOnce);
    talk.sent();
    assert_eq!(talk.answer(&pubrec(1)), Ok(None));
    assert_eq!(talk.answer(&pubrec(2)), Ok(None));
    assert_eq!(talk.answer(&pubrec(1)), Ok(None), "the PUBREL may have been lost");
    assert_eq!(talk.sent(), [pubrel(1), pubrel(2), pubrel(1)]);
    assert_eq!(talk.answer(&pubcomp(1)), Ok(None));
    assert_eq!(talk.answer(&pubcomp(2)), Ok(None));
    assert!(talk.state.is_idle());
    assert_eq!(talk.state.acknowledged(), 2);
}

#[test]
fn an_acknowledgement_of_the_wrong_kind_completes_nothing() {
    let table = [
        (QoS::AtLeastOnce, pubrec(1)),
        (QoS::AtLeastOnce, pubcomp(1)),
        (QoS::ExactlyOnce, puback(1)),
        (QoS::ExactlyOnce, pubcomp(1)),
    ];
    for (qos, wrong) in table {
        let mut talk = Talk::connected(true);
        talk.publish("a", qos);
        assert_eq!(talk.answer(&wrong), Err(Fault::WrongAcknowledgement), "{qos} {wrong:?}");
        assert_eq!(talk.state.unacknowledged(), 1);
    }
}

/// [MQTT-4.3.2-2] [MQTT-4.5.0-2] [MQTT-3.3.4-1] [MQTT-2.3.1-6] [MQTT-4.6.0-2]
#[test]
fn received_messages_are_acknowledged_in_their_order_at_the_moment_they_are_handed_out() {
    let mut talk = Talk::connected(true);
    for packet in [message("a", at_least_once(7, false)), message("b", at_least_once(8, false))] {
        packet.encode(&mut talk.state.incoming).unwrap();
    }
    let first = talk.state.poll_event().unwrap();
    assert_eq!(first, Some(Event::Message(message("a", at_least_once(7, false)))));
    assert_eq!(talk.sent(), [puback(7)], "the second one is still the server's");
    talk.state.poll_event().unwrap();
    assert_eq!(talk.sent(), [puback(8)]);
    let qos_0 = message("c", Delivery::AtMostOnce);
    assert_eq!(talk.answer(&Packet::Publish(qos_0.clone())), Ok(Some(Event::Message(qos_0))));
    assert_eq!(talk.sent(), []);
}

/// [MQTT-4.3.3-2] [MQTT-4.6.0-3]
#[test]
fn a_qos_2_message_is_handed_out_once_until_it_is_released() {
    let mut talk = Talk::connected(false);
    let once = |dup| Packet::Publish(message("a", exactly_once(7, dup)));
    assert!(matches!(talk.answer(&once(false)), Ok(Some(Event::Message(_)))));
    assert_eq!(talk.answer(&once(true)), Ok(None));
    assert_eq!(talk.sent(), [pubrec(7), pubrec(7)]);
    talk.connect(true);
    assert_eq!(talk.answer(&once(true)), Ok(None), "the session goes on, and with it the identifier");
    assert_eq!(talk.answer(&pubrel(7)), Ok(None));
    assert_eq!(talk.answer(&pubrel(7)), Ok(None), "the PUBCOMP may have been lost");
    assert_eq!(talk.sent(), [pubrec(7), pubcomp(7), pubcomp(7)]);
    assert!(matches!(talk.answer(&once(false)), Ok(Some(Event::Message(_)))), "a new message");
}

#[test]
fn identifiers_of_a_session_that_the_server_has_lost_mean_new_messages() {
    let mut talk = Talk::connected(false);
    let packet = Packet::Publish(message("a", exactly_once(7, false)));
    assert!(matches!(talk.answer(&packet), Ok(Some(Event::Message(_)))));
    talk.connect(false);
    assert!(matches!(talk.answer(&packet), Ok(Some(Event::Message(_)))));
}

/// [MQTT-4.4.0-1] [MQTT-3.3.1-1] [MQTT-2.3.1-3] [MQTT-4.6.0-1] [MQTT-4.1.0-1]
#[test]
fn a_session_that_goes_on_sends_all_again_as_it_was() {
    let mut talk = Talk::connected(false);
    talk.publish("a", QoS::ExactlyOnce);
    talk.publish("b", QoS::AtLeastOnce);
    talk.publish("c", QoS::ExactlyOnce);
    talk.answer(&pubrec(1)).unwrap();
    talk.sent();
    talk.connect(true);
    let again = [
        pubrel(1),
        Packet::Publish(message("b", at_least_once(2, true))),
        Packet::Publish(message("c", exactly_once(3, true))),
    ];
    assert_eq!(talk.sent(), again);
}

#[test]
fn a_new_session_gets_as_new_what_the_server_has_not_taken_over() {
    let mut talk = Talk::connected(true);
    talk.publish("a", QoS::ExactlyOnce);
    talk.publish("b", QoS::AtLeastOnce);
    talk.answer(&pubrec(1)).unwrap();
    talk.sent();
    talk.connect(false);
    assert_eq!(talk.sent(), [Packet::Publish(message("b", at_least_once(2, false)))]);
    assert_eq!(talk.state.unacknowledged(), 1);
}

#[test]
fn requests_are_answered_once_and_only_if_they_were_made() {
    let suback = |id| {
        let return_codes = vec![SubscribeReturnCode::Granted(QoS::AtMostOnce)];
        Packet::Suback(Suback { packet_id: packet_id(id), return_codes })
    };
    let unsuback = Packet::Unsuback(Unsuback { packet_id: packet_id(2) });
    let filter = TopicFilter::try_from("f").unwrap();
    let mut talk = Talk::connected(true);
    talk.state.subscribe(vec![(filter.clone(), QoS::AtMostOnce)]).unwrap();
    talk.state.unsubscribe(vec![filter]).unwrap();
    talk.sent();
    assert!(!talk.state.is_idle());
    assert!(matches!(talk.answer(&suback(1)), Ok(Some(Event::Subscribed(_)))));
    assert_eq!(talk.answer(&unsuback), Ok(None));
    assert!(talk.state.is_idle());
    assert_eq!(talk.answer(&suback(1)), Err(Fault::NotAsked));
}

/// [MQTT-4.8.0-1]
#[test]
fn a_server_that_does_not_keep_to_its_side_is_left() {
    let mut talk = Talk::new(true, 0);
    talk.state.handle_connection(talk.now).unwrap();
    assert_eq!(
        talk.answer(&Packet::Pingresp),
        Err(Fault::Unexpected(PacketType::Pingresp)),
        "before CONNACK"
    );
    for packet in [Packet::Pingreq, Packet::Connack(Connack::Accepted { session_present: false })] {
        let mut talk = Talk::connected(true);
        assert_eq!(talk.answer(&packet), Err(Fault::Unexpected(packet.packet_type())));
    }
    let mut talk = Talk::connected(true);
    talk.state.incoming.extend_from_slice(b"\x36\0");
    assert!(matches!(talk.state.poll_event(), Err(Fault::Malformed(_))));
}

/// [MQTT-3.1.2-23]
#[test]
fn something_is_sent_within_the_keep_alive() {
    let keep_alive = Duration::from_secs(10);
    let mut talk = Talk::new(true, 10);
    talk.connect(false);
    let due = talk.state.poll_timeout().unwrap();
    assert!(due > talk.now && due < talk.now + keep_alive);
    talk.state.handle_timeout(talk.now).unwrap();
    assert_eq!(talk.sent(), [], "not yet");
    talk.now = due;
    talk.publish("a", QoS::AtMostOnce);
    talk.sent();
    let later = talk.state.poll_timeout().unwrap();
    assert!(later > due, "another packet does as well");
    talk.now = later;
    talk.state.handle_timeout(later).unwrap();
    assert_eq!(talk.sent(), [Packet::Pingreq]);
    assert_eq!(talk.answer(&Packet::Pingresp), Ok(None));
    assert!(talk.state.poll_timeout().unwrap() < later + keep_alive);
}

#[test]
fn a_server_that_has_gone_silent_is_left() {
    let mut talk = Talk::new(true, 1);
    talk.state.handle_connection(talk.now).unwrap();
    let deadline = talk.state.poll_timeout().unwrap();
    assert_eq!(talk.state.handle_timeout(deadline), Err(Fault::NoConnack));
    talk.connect(false);
    talk.state.handle_timeout(talk.state.poll_timeout().unwrap()).unwrap();
    let deadline = talk.state.poll_timeout().unwrap();
    assert_eq!(talk.state.handle_timeout(deadline), Err(Fault::NoPingresp));
    let mut never = Talk::connected(true);
    assert_eq!(never.state.poll_timeout(), None, "keep alive 0 is none");
    never.state.handle_timeout(deadline).unwrap();
    assert_eq!(never.sent(), []);
}

/// [MQTT-3.14.4-2]
#[test]
fn nothing_follows_disconnect() {
    let mut talk = Talk::connected(true);
    message("a", at_least_once(1, false)).encode(&mut talk.state.incoming).unwrap();
    talk.state.disconnect().unwrap();
    assert_eq!(talk.state.poll_event(), Ok(None), "what came is not looked at, so it is not acknowledged");
    assert!(!talk.state.has_room());
    assert_eq!(talk.state.poll_timeout(), None);
    talk.state.disconnect().unwrap();
    assert_eq!(talk.sent(), [Packet::Disconnect]);
}
