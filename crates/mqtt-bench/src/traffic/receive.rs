//! What every receiver does with a frame: acknowledge it and read the stamp.

use crate::{
    BenchError,
    frames::{self, Publish, packet_type},
    net::{ConnId, Net},
    stream::Stamp,
};

/// A message that came.
pub(crate) struct Delivery<'a> {
    pub(crate) stamp: Stamp,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) topic: &'a [u8],
    pub(crate) payload: &'a [u8],
}

/// Answers the frame as its QoS demands; gives the message if it was a PUBLISH.
pub(crate) fn receive<'a>(
    net: &mut Net,
    conn: ConnId,
    head: u8,
    body: &'a [u8],
) -> Result<Option<Delivery<'a>>, BenchError> {
    let Some(Publish { qos, retain, topic, payload, .. }) = acknowledge(net, conn, head, body)? else {
        return Ok(None);
    };
    // An error is not made before it is one: that cost a sixth of what a message does.
    let Some(stamp) = Stamp::read(payload) else { return Err(BenchError::Malformed("payload")) };
    Ok(Some(Delivery { stamp, qos, retain, topic, payload }))
}

/// The same for whatever message it is.
pub(crate) fn acknowledge<'a>(
    net: &mut Net,
    conn: ConnId,
    head: u8,
    body: &'a [u8],
) -> Result<Option<Publish<'a>>, BenchError> {
    match head >> 4 {
        packet_type::PUBLISH => {
            let Some(publish) = Publish::read(head, body) else {
                return Err(BenchError::Malformed("PUBLISH"));
            };
            match publish.qos {
                1 => frames::acknowledge(net.out(conn), packet_type::PUBACK, publish.packet_id),
                2 => frames::acknowledge(net.out(conn), packet_type::PUBREC, publish.packet_id),
                _ => {}
            }
            Ok(Some(publish))
        }
        packet_type::PUBREL => {
            let id = frames::leading_packet_id(body).ok_or(BenchError::Malformed("PUBREL"))?;
            frames::acknowledge(net.out(conn), packet_type::PUBCOMP, id);
            Ok(None)
        }
        _ => Ok(None),
    }
}
