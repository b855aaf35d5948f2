//! Packets in words: the VALUE of `corpus/packets.txt`. It knows nothing of bytes, so that it can judge the decoder.

use std::fmt::Write;

use mqtt_codec::{Connack, Connect, Packet, Publish, QoS, SubscribeReturnCode, TopicFilter};

const LONGEST_SHOWN: usize = 64;

pub(crate) fn describe(packet: &Packet) -> String {
    match packet {
        Packet::Connect(packet) => connect(packet),
        Packet::Connack(Connack::Accepted { session_present: false }) => "CONNACK accepted".to_owned(),
        Packet::Connack(Connack::Accepted { session_present: true }) => {
            "CONNACK accepted session_present".to_owned()
        }
        Packet::Connack(Connack::Refused(refusal)) => format!("CONNACK refused {refusal:?}"),
        Packet::Publish(packet) => publish(packet),
        Packet::Puback(packet) => format!("PUBACK id={}", packet.packet_id),
        Packet::Pubrec(packet) => format!("PUBREC id={}", packet.packet_id),
        Packet::Pubrel(packet) => format!("PUBREL id={}", packet.packet_id),
        Packet::Pubcomp(packet) => format!("PUBCOMP id={}", packet.packet_id),
        Packet::Subscribe(packet) => {
            let request = |(filter, qos): &(TopicFilter, QoS)| format!(" ({} {qos})", text(filter.as_str()));
            format!(
                "SUBSCRIBE id={}{}",
                packet.packet_id,
                packet.filters.iter().map(request).collect::<String>()
            )
        }
        Packet::Suback(packet) => {
            let code = |code: &SubscribeReturnCode| match code {
                SubscribeReturnCode::Granted(qos) => format!(" {qos}"),
                SubscribeReturnCode::Failure => " failure".to_owned(),
            };
            format!(
                "SUBACK id={}{}",
                packet.packet_id,
                packet.return_codes.iter().map(code).collect::<String>()
            )
        }
        Packet::Unsubscribe(packet) => {
            let filter = |filter: &TopicFilter| format!(" ({})", text(filter.as_str()));
            format!(
                "UNSUBSCRIBE id={}{}",
                packet.packet_id,
                packet.filters.iter().map(filter).collect::<String>()
            )
        }
        Packet::Unsuback(packet) => format!("UNSUBACK id={}", packet.packet_id),
        Packet::Pingreq => "PINGREQ".to_owned(),
        Packet::Pingresp => "PINGRESP".to_owned(),
        Packet::Disconnect => "DISCONNECT".to_owned(),
    }
}

fn connect(packet: &Connect) -> String {
    let mut words = vec!["CONNECT".to_owned()];
    if packet.clean_session {
        words.push("clean".to_owned());
    }
    if packet.keep_alive_secs != 0 {
        words.push(format!("keep_alive={}", packet.keep_alive_secs));
    }
    words.push(format!("client_id={}", text(packet.client_id.as_str())));
    if let Some(will) = &packet.will {
        let flags = flags(will.qos, false, will.retain);
        words.push(format!(
            "will=({flags}topic={} message={})",
            text(will.topic.as_str()),
            hex(&will.message)
        ));
    }
    if let Some(credentials) = &packet.credentials {
        words.push(format!("user_name={}", text(credentials.user_name.as_str())));
        if let Some(password) = &credentials.password {
            words.push(format!("password={}", hex(password)));
        }
    }
    words.join(" ")
}

fn publish(packet: &Publish) -> String {
    let flags = flags(packet.delivery.qos(), packet.delivery.dup(), packet.retain);
    let id = packet.delivery.packet_id().map(|id| format!("id={id} ")).unwrap_or_default();
    format!("PUBLISH {flags}{id}topic={} payload={}", text(packet.topic.as_str()), hex(&packet.payload))
}

fn flags(qos: QoS, dup: bool, retain: bool) -> String {
    let qos = if qos == QoS::AtMostOnce { String::new() } else { format!("qos={qos} ") };
    qos + if dup { "dup " } else { "" } + if retain { "retain " } else { "" }
}

fn text(text: &str) -> String {
    if text.len() > LONGEST_SHOWN { format!("{} bytes", text.len()) } else { format!("{text:?}") }
}

fn hex(bytes: &[u8]) -> String {
    if bytes.len() > LONGEST_SHOWN {
        return format!("{} bytes", bytes.len());
    }
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}
