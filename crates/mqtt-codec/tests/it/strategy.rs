//! Arbitrary packets, valid by construction, with lengths and bytes drawn towards the edges of the format.

use bytes::Bytes;
use mqtt_codec::{
    Connack, Connect, ConnectRefusal, Credentials, Delivery, Packet, PacketId, Puback, Pubcomp, Publish,
    Pubrec, Pubrel, QoS, Suback, Subscribe, SubscribeReturnCode, TopicFilter, TopicName, Unsuback,
    Unsubscribe, Utf8Bytes, Will,
};
use proptest::{collection::vec, option, prelude::*};

pub(crate) fn packet() -> impl Strategy<Value = Packet> {
    prop_oneof![
        connect().prop_map(|packet| Packet::Connect(Box::new(packet))),
        connack().prop_map(Packet::Connack),
        publish().prop_map(Packet::Publish),
        packet_id().prop_map(|packet_id| Packet::Puback(Puback { packet_id })),
        packet_id().prop_map(|packet_id| Packet::Pubrec(Pubrec { packet_id })),
        packet_id().prop_map(|packet_id| Packet::Pubrel(Pubrel { packet_id })),
        packet_id().prop_map(|packet_id| Packet::Pubcomp(Pubcomp { packet_id })),
        (packet_id(), vec((topic_filter(), qos()), 1..8))
            .prop_map(|(packet_id, filters)| Packet::Subscribe(Subscribe { packet_id, filters })),
        (packet_id(), vec(return_code(), 1..8))
            .prop_map(|(packet_id, return_codes)| Packet::Suback(Suback { packet_id, return_codes })),
        (packet_id(), vec(topic_filter(), 1..8))
            .prop_map(|(packet_id, filters)| Packet::Unsubscribe(Unsubscribe { packet_id, filters })),
        packet_id().prop_map(|packet_id| Packet::Unsuback(Unsuback { packet_id })),
        Just(Packet::Pingreq),
        Just(Packet::Pingresp),
        Just(Packet::Disconnect),
    ]
}

fn connect() -> impl Strategy<Value = Connect> {
    let will = (topic_name(), binary(), qos(), any::<bool>())
        .prop_map(|(topic, message, qos, retain)| Will { topic, message, qos, retain });
    let credentials = (string(), option::of(binary()))
        .prop_map(|(user_name, password)| Credentials { user_name, password });
    (any::<bool>(), any::<u16>(), string(), option::of(will), option::of(credentials)).prop_map(
        |(clean_session, keep_alive_secs, client_id, will, credentials)| Connect {
            clean_session,
            keep_alive_secs,
            client_id,
            will,
            credentials,
        },
    )
}

fn connack() -> impl Strategy<Value = Connack> {
    prop_oneof![
        any::<bool>().prop_map(|session_present| Connack::Accepted { session_present }),
        (1..=5_u8).prop_map(|code| Connack::Refused(ConnectRefusal::from_u8(code).unwrap())),
    ]
}

fn publish() -> impl Strategy<Value = Publish> {
    let delivery = prop_oneof![
        Just(Delivery::AtMostOnce),
        (packet_id(), any::<bool>()).prop_map(|(packet_id, dup)| Delivery::AtLeastOnce { packet_id, dup }),
        (packet_id(), any::<bool>()).prop_map(|(packet_id, dup)| Delivery::ExactlyOnce { packet_id, dup }),
    ];
    (delivery, any::<bool>(), topic_name(), binary()).prop_map(|(delivery, retain, topic, payload)| Publish {
        delivery,
        retain,
        topic,
        payload,
    })
}

fn return_code() -> impl Strategy<Value = SubscribeReturnCode> {
    prop_oneof![Just(SubscribeReturnCode::Failure), qos().prop_map(SubscribeReturnCode::Granted)]
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    prop_oneof![Just(1), Just(u16::MAX), 1..=u16::MAX].prop_map(|id| PacketId::new(id).unwrap())
}

fn qos() -> impl Strategy<Value = QoS> {
    (0..=2_u8).prop_map(|value| QoS::from_u8(value).unwrap())
}

/// Lengths around the steps of the remaining length are the ones worth trying.
fn binary() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        8 => vec(any::<u8>(), 0..140).prop_map(Bytes::from),
        1 => (16_370..16_390_usize).prop_map(|len| Bytes::from(vec![0xff; len])),
    ]
}

fn string() -> impl Strategy<Value = Utf8Bytes> {
    "[^\0]{0,24}".prop_map(|text| Utf8Bytes::new(text).unwrap())
}

pub(crate) fn topic_name() -> impl Strategy<Value = TopicName> {
    prop_oneof![
        8 => prop_oneof!["[a-z/$]{1,24}", "[^\0+#]{1,24}"],
        1 => (65_500..=65_535_usize).prop_map(|len| "t".repeat(len)),
    ]
    .prop_map(|text| TopicName::new(text).unwrap())
}

fn topic_filter() -> impl Strategy<Value = TopicFilter> {
    let level = prop_oneof!["[^\0+#/]{0,6}", Just("+".to_owned())];
    (vec(level, 1..5), any::<bool>()).prop_map(|(mut levels, ends_in_hash)| {
        if ends_in_hash || levels == [""] {
            levels.push("#".to_owned());
        }
        TopicFilter::new(levels.join("/")).unwrap()
    })
}
