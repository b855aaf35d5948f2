//! Prints the MQTT packets in a stream of bytes, one a line, with the offset at which each begins.
//!
//! `cargo run -p mqtt-codec --example dump < capture.bin`. The payload of a packet is counted, never printed.

use std::{
    error::Error,
    io::{self, Read, Write},
};

use mqtt_codec::{Frame, MAX_REMAINING_LEN, PacketType, PublishRef};

/// The largest packet that the standard can spell: a dumper refuses none.
const MAX_PACKET_SIZE: usize = MAX_REMAINING_LEN + 5;

fn main() -> Result<(), Box<dyn Error>> {
    let (mut bytes, mut output) = (Vec::new(), io::stdout().lock());
    io::stdin().lock().read_to_end(&mut bytes)?;
    let mut rest = &bytes[..];
    let offset = |rest: &[u8]| bytes.len() - rest.len();
    while !rest.is_empty() {
        match Frame::split(rest, MAX_PACKET_SIZE) {
            Ok(Some(frame)) => {
                writeln!(output, "{:>8}  {}", offset(rest), describe(&frame))?;
                rest = rest.get(frame.len..).unwrap_or_default();
            }
            Ok(None) => return Err(format!("{:>8}  a packet that is cut off", offset(rest)).into()),
            Err(error) => return Err(format!("{:>8}  {error}", offset(rest)).into()),
        }
    }
    Ok(())
}

fn describe(frame: &Frame<'_>) -> String {
    if frame.packet_type != PacketType::Publish {
        return format!("{} ({} bytes)", frame.packet_type, frame.len);
    }
    match PublishRef::decode(frame) {
        Ok(PublishRef { delivery, retain, topic, payload }) => format!(
            "PUBLISH ({} bytes) topic {topic:?}, QoS {}, retain {retain}, payload of {} bytes",
            frame.len,
            delivery.qos().as_u8(),
            payload.len()
        ),
        Err(error) => format!("PUBLISH ({} bytes) that is malformed: {error}", frame.len),
    }
}
