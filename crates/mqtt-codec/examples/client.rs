//! A synchronous MQTT client in sixty lines over `std::net`: subscribes to a topic, publishes to it, prints what comes back.
//!
//! Start a broker, then `cargo run -p mqtt-codec --example client -- 127.0.0.1:1883`.

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::{Bytes, BytesMut};
use mqtt_codec::{
    Connack, Connect, Decoder, Delivery, Packet, PacketId, Publish, QoS, Subscribe, TopicFilter, TopicName,
};

/// No packet of a broker's to this client is larger.
const MAX_PACKET_SIZE: usize = 64 * 1024;

struct Client {
    stream: TcpStream,
    decoder: Decoder,
    buffer: BytesMut,
}

impl Client {
    fn connect(address: &str) -> Result<Self, Box<dyn Error>> {
        let (stream, decoder) = (TcpStream::connect(address)?, Decoder::new(MAX_PACKET_SIZE));
        let mut client = Self { stream, decoder, buffer: BytesMut::new() };
        let client_id = "sync-example".try_into()?;
        let connect =
            Connect { clean_session: true, keep_alive_secs: 0, client_id, will: None, credentials: None };
        client.send(&Packet::Connect(Box::new(connect)))?;
        match client.receive()? {
            Packet::Connack(Connack::Accepted { .. }) => Ok(client),
            other => Err(format!("expected CONNACK with return code 0, got {other:?}").into()),
        }
    }

    fn send(&mut self, packet: &Packet) -> Result<(), Box<dyn Error>> {
        let mut bytes = Vec::with_capacity(packet.encoded_len());
        packet.encode(&mut bytes)?;
        Ok(self.stream.write_all(&bytes)?)
    }

    fn receive(&mut self) -> Result<Packet, Box<dyn Error>> {
        let mut chunk = [0; 4096];
        loop {
            if let Some(packet) = self.decoder.decode(&mut self.buffer)? {
                return Ok(packet);
            }
            match self.stream.read(&mut chunk)? {
                0 => return Err("the broker closed the connection".into()),
                len => self.buffer.extend_from_slice(chunk.get(..len).unwrap_or_default()),
            }
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:1883".to_owned());
    let mut client = Client::connect(&address)?;

    let filters = vec![(TopicFilter::try_from("greetings/#")?, QoS::AtMostOnce)];
    client.send(&Packet::Subscribe(Subscribe { packet_id: PacketId::FIRST, filters }))?;
    println!("{:?}", client.receive()?);

    let (topic, payload) = (TopicName::try_from("greetings/world")?, Bytes::from_static(b"hello"));
    let publish = Publish { delivery: Delivery::AtMostOnce, retain: false, topic, payload };
    client.send(&Packet::Publish(publish))?;
    if let Packet::Publish(publish) = client.receive()? {
        println!("{}: {}", publish.topic, String::from_utf8_lossy(&publish.payload));
    }
    client.send(&Packet::Disconnect)
}
