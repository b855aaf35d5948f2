//! [`Peer`]: a connection that says what it likes, and never waits for long.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use mqtt_codec::{
    Connack, Connect, Decoder, Delivery, EncodeError, Packet, PacketId, Publish, QoS, Subscribe,
    SubscribeReturnCode, TopicFilter, TopicName, Utf8Bytes,
};
use socket2::{Domain, Socket, Type};

/// How long a write or a read may take: a broker that does not read holds nobody back here.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long an answer may take that an attack has to have before it can go on.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// The longest of those, a SUBACK, is far shorter.
const LONGEST_ANSWER: usize = 64 * 1024;

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

    /// Connected as this client, and let in.
    pub(crate) fn connected(address: SocketAddr, client_id: &str) -> io::Result<Self> {
        Self::open(address)?.introduced(client_id)
    }

    pub(crate) fn introduced(mut self, client_id: &str) -> io::Result<Self> {
        self.send(&connect(client_id))?;
        match self.answer()? {
            Packet::Connack(Connack::Accepted { .. }) => Ok(self),
            other => Err(io::Error::other(format!("a client was not let in: {other:?}"))),
        }
    }

    /// Subscribed to these filters, or to some of them.
    pub(crate) fn subscribed(mut self, filters: &[String], qos: QoS) -> io::Result<Self> {
        self.send(&subscribe(filters, qos))?;
        match self.answer()? {
            Packet::Suback(suback)
                if suback.return_codes.iter().any(|code| *code != SubscribeReturnCode::Failure) =>
            {
                Ok(self)
            }
            other => Err(io::Error::other(format!("a client has no subscription: {other:?}"))),
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Reads what has come, and does not wait.
    pub(crate) fn drain(&mut self) {
        if self.0.set_nonblocking(true).is_ok() {
            let mut bytes = [0; 16 * 1024];
            while matches!(self.0.read(&mut bytes), Ok(1..)) {}
            let _ = self.0.set_nonblocking(false);
        }
    }

    /// Whether its CONNACK has come by now, and lets it in.
    pub(crate) fn is_let_in(&self) -> bool {
        matches!(self.ahead(), Ok(answer) if matches!(*answer, [0x20, 2, _, 0]))
    }

    /// Whether it has got any answer by now.
    pub(crate) fn is_answered(&self) -> bool {
        self.ahead().is_ok_and(|answer| !answer.is_empty())
    }

    /// Whether it has got any answer by now, or may still get one: the broker has not closed it.
    pub(crate) fn is_kept(&self) -> bool {
        self.ahead()
            .map_or_else(|error| error.kind() == io::ErrorKind::WouldBlock, |answer| !answer.is_empty())
    }

    /// The first bytes that have come and were not read, without waiting for them. None at all say that nothing more will come.
    fn ahead(&self) -> io::Result<Vec<u8>> {
        let mut answer = vec![0; 4];
        self.0.set_nonblocking(true)?;
        let len = self.0.peek(&mut answer);
        self.0.set_nonblocking(false)?;
        answer.truncate(len?);
        Ok(answer)
    }

    /// The next packet. What comes with it is lost.
    fn answer(&mut self) -> io::Result<Packet> {
        let (begin, mut decoder, mut bytes) = (Instant::now(), Decoder::new(LONGEST_ANSWER), BytesMut::new());
        loop {
            if let Some(packet) = decoder.decode(&mut bytes).map_err(io::Error::other)? {
                return Ok(packet);
            }
            let mut some = [0; 4096];
            match self.0.read(&mut some) {
                Ok(0) => return Err(io::Error::other("the broker closed a connection and said nothing")),
                Ok(len) => bytes.extend_from_slice(some.get(..len).unwrap_or_default()),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(_) if begin.elapsed() > ANSWER_LIMIT => {
                    return Err(io::Error::other("the broker does not answer"));
                }
                Err(_) => {}
            }
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
fn subscribe(filters: &[String], qos: QoS) -> Vec<u8> {
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
