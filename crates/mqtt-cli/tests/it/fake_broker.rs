//! A broker that the test plays itself, packet by packet.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
};

use bytes::BytesMut;
use mqtt_codec::{Connack, Connect, Decoder, Packet};

use super::harness::{Gmqtt, STUCK, start_client};

pub(crate) struct FakeBroker(TcpListener);

/// One client's connection.
pub(crate) struct Connection {
    socket: TcpStream,
    decoder: Decoder,
    buffer: BytesMut,
}

impl FakeBroker {
    pub(crate) fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    pub(crate) fn client(&self, arguments: &[&str], input: &[u8]) -> Gmqtt {
        start_client(self.address(), arguments, input)
    }

    /// The next connection, whose CONNECT is not answered yet.
    pub(crate) fn accept(&self) -> (Connection, Connect) {
        let (socket, _) = self.0.accept().unwrap();
        socket.set_read_timeout(Some(STUCK)).unwrap();
        let mut connection = Connection { socket, decoder: Decoder::new(1 << 20), buffer: BytesMut::new() };
        match connection.next() {
            Some(Packet::Connect(connect)) => (connection, *connect),
            other => panic!("{other:?} instead of CONNECT"),
        }
    }

    /// The next connection, accepted.
    pub(crate) fn connected(&self, session_present: bool) -> Connection {
        let (mut connection, _) = self.accept();
        connection.send(&Packet::Connack(Connack::Accepted { session_present }));
        connection
    }
}

impl Connection {
    pub(crate) fn send(&mut self, packet: &Packet) {
        let mut bytes = BytesMut::new();
        packet.encode(&mut bytes).unwrap();
        self.send_bytes(&bytes);
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Waits for bytes that end like this, and leaves them unread.
    pub(crate) fn await_unread(&self, end: &[u8]) {
        let mut bytes = [0; 1024];
        loop {
            match self.socket.peek(&mut bytes).unwrap() {
                0 => panic!("the client has closed"),
                len if bytes[..len].ends_with(end) => return,
                _ => std::thread::yield_now(),
            }
        }
    }

    /// The client's next packet; `None` at the end of the connection.
    pub(crate) fn next(&mut self) -> Option<Packet> {
        let mut chunk = [0; 1024];
        loop {
            if let Some(packet) = self.decoder.decode(&mut self.buffer).unwrap() {
                return Some(packet);
            }
            match self.socket.read(&mut chunk).unwrap() {
                0 => return None,
                len => self.buffer.extend_from_slice(&chunk[..len]),
            }
        }
    }
}
