//! The codec inside another asynchronous runtime than tokio, here smol: connects, pings, and leaves.
//!
//! Nothing in the codec knows of a runtime; all that is here is two awaits around it. Start a broker, then
//! `cargo run -p mqtt-codec --example async_client -- 127.0.0.1:1883`.

use std::error::Error;

use bytes::BytesMut;
use mqtt_codec::{Connect, Decoder, Packet};
use smol::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// No packet of a broker's to this client is larger.
const MAX_PACKET_SIZE: usize = 64 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:1883".to_owned());
    smol::block_on(async {
        let mut stream = TcpStream::connect(address).await?;
        let (mut decoder, mut buffer) = (Decoder::new(MAX_PACKET_SIZE), BytesMut::new());
        let client_id = "smol-example".try_into()?;
        let connect =
            Connect { clean_session: true, keep_alive_secs: 0, client_id, will: None, credentials: None };
        for packet in [Packet::Connect(Box::new(connect)), Packet::Pingreq] {
            send(&mut stream, &packet).await?;
            println!("{:?}", receive(&mut stream, &mut decoder, &mut buffer).await?);
        }
        send(&mut stream, &Packet::Disconnect).await
    })
}

async fn send(stream: &mut TcpStream, packet: &Packet) -> Result<(), Box<dyn Error>> {
    let mut bytes = Vec::with_capacity(packet.encoded_len());
    packet.encode(&mut bytes)?;
    Ok(stream.write_all(&bytes).await?)
}

async fn receive(
    stream: &mut TcpStream,
    decoder: &mut Decoder,
    buffer: &mut BytesMut,
) -> Result<Packet, Box<dyn Error>> {
    let mut chunk = [0; 4096];
    loop {
        if let Some(packet) = decoder.decode(buffer)? {
            return Ok(packet);
        }
        match stream.read(&mut chunk).await? {
            0 => return Err("the broker closed the connection".into()),
            len => buffer.extend_from_slice(chunk.get(..len).unwrap_or_default()),
        }
    }
}
