//! [`Peer`]: a connection that says what it likes, and never waits for long.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use bytes::Bytes;
use mqtt_codec::{
    Connect, Delivery, EncodeError, Packet, PacketId, Publish, QoS, Subscribe, TopicFilter, TopicName,
    Utf8Bytes,
};
use socket2::{Domain, Socket, Type};

/// How long a write or a read may take: a broker that does not read holds nobody back here.
const PATIENCE: Duration = Duration::from_millis(50);

/// One connection to the broker.
pub(crate) struct Peer(TcpStream);

impl Peer {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(address)?)
    }

    /// With so small a buffer to read into that the broker soon finds it full.
    pub(crate) fn open_narrow(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_recv_buffer_size(4096)?;
        socket.connect(&address.into())?;
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }

    /// Connected as this client; the answer is read, whatever it is.
    pub(crate) fn connected(address: SocketAddr, client_id: &str) -> io::Result<Self> {
        Self::open(address)?.introduced(client_id)
    }

    pub(crate) fn introduced(mut self, client_id: &str) -> io::Result<Self> {
        self.send(&connect(client_id))?;
        self.read();
        Ok(self)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Reads what there is, for so long as a read may take.
    pub(crate) fn read(&mut self) {
        let _ = self.0.read(&mut [0; 4096]);
    }

    /// Reads what has come, and does not wait.
    pub(crate) fn drain(&mut self) {
        if self.0.set_nonblocking(true).is_ok() {
            let mut bytes = [0; 16 * 1024];
            while matches!(self.0.read(&mut bytes), Ok(1..)) {}
            let _ = self.0.set_nonblocking(false);
        }
    }
}

/// A CONNECT with CleanSession 1 and no keep alive.
pub(crate) fn connect(client_id: &str) -> Vec<u8> {
    let client_id = Utf8Bytes::try_from(client_id).unwrap_or_default();
    encoded(&Packet::Connect(Box::new(Connect {
        clean_session: true,
        keep_alive_secs: 0,
        client_id,
        will: None,
        credentials: None,
    })))
}

pub(crate) fn publish(topic: &str, payload: &Bytes, delivery: Delivery, retain: bool) -> Vec<u8> {
    let Ok(topic) = TopicName::try_from(topic) else { return Vec::new() };
    encoded(&Packet::Publish(Publish { delivery, retain, topic, payload: payload.clone() }))
}

/// One SUBSCRIBE with all these filters.
pub(crate) fn subscribe(filters: &[String], qos: QoS) -> Vec<u8> {
    let filters = filters.iter().filter_map(|filter| TopicFilter::try_from(filter.as_str()).ok());
    let filters = filters.map(|filter| (filter, qos)).collect();
    encoded(&Packet::Subscribe(Subscribe { packet_id: PacketId::FIRST, filters }))
}

/// What cannot be spelled is not sent.
fn encoded(packet: &Packet) -> Vec<u8> {
    let mut bytes = Vec::new();
    let spelled: Result<(), EncodeError> = packet.encode(&mut bytes);
    if spelled.is_err() {
        bytes.clear();
    }
    bytes
}
