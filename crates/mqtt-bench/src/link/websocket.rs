//! [`WebSocket`]: MQTT within WebSocket (RFC 6455), a client's side, as cheap as a load generator needs it.
//!
//! Frames are masked, as a client's must be, with a mask of zero: that changes no byte, and so costs none. What a library
//! checks of its peer is not checked here: the broker is measured, and a broken one shows as broken packets.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
};

/// Any sixteen bytes in base 64 will do: nothing between us and the server keeps answers.
const KEY: &str = "Z21xdHQtYmVuY2gta2V5IQ==";
const MOST_HEADER_BYTES: usize = 16 * 1024;
const BINARY: u8 = 0x2;
const CONTINUATION: u8 = 0x0;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;

pub(super) struct WebSocket {
    /// The request, then frames, that the stream has not taken.
    unwritten: Vec<u8>,
    is_upgraded: bool,
    /// Read and not yet understood: the answer's headers, or a frame's head.
    unparsed: Vec<u8>,
    /// Bytes of the current frame's payload still to come, and whether they are the server's data.
    payload_left: u64,
    is_data: bool,
}

impl WebSocket {
    pub(super) fn new(path: &str, server: SocketAddr) -> Self {
        // [MQTT-6.0.0-3] for the sub-protocol.
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
        );
        Self {
            unwritten: request.into_bytes(),
            is_upgraded: false,
            unparsed: Vec::new(),
            payload_left: 0,
            is_data: false,
        }
    }

    pub(super) fn holds_bytes(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// All of `bytes` as one frame, or nothing while the stream has not taken the frame before.
    pub(super) fn write(&mut self, stream: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
        self.drain(stream)?;
        if !self.is_upgraded {
            return Err(ErrorKind::WouldBlock.into());
        }
        put_head(&mut self.unwritten, bytes.len());
        self.unwritten.extend_from_slice(bytes);
        match self.drain(stream) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(bytes.len()),
        }
    }

    pub(super) fn flush(&mut self, stream: &mut impl Write) -> io::Result<()> {
        self.drain(stream)
    }

    /// The next bytes of the server's data.
    pub(super) fn read(&mut self, stream: &mut (impl Read + Write), buffer: &mut [u8]) -> io::Result<usize> {
        self.drain(stream).or_else(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::NotConnected => Ok(()),
            _ => Err(error),
        })?;
        loop {
            let count = self.take_payload(stream, buffer)?;
            if count > 0 {
                return Ok(count);
            }
            if !self.parse()? {
                self.fill(stream)?;
            }
        }
    }

    /// What is left of a frame's payload: first what was read with its head, then from the stream straight.
    fn take_payload(&mut self, stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
        if self.payload_left == 0 {
            return Ok(0);
        }
        let most = usize::try_from(self.payload_left).unwrap_or(usize::MAX).min(buffer.len());
        let count = if self.unparsed.is_empty() {
            match stream.read(&mut buffer[..most])? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => count,
            }
        } else {
            let count = most.min(self.unparsed.len());
            buffer[..count].copy_from_slice(&self.unparsed[..count]);
            self.unparsed.drain(..count);
            count
        };
        self.payload_left -= count as u64;
        if self.is_data { Ok(count) } else { Ok(0) }
    }

    /// Takes the head of what has been read, if it is whole.
    fn parse(&mut self) -> io::Result<bool> {
        if self.payload_left > 0 {
            return Ok(true);
        }
        if !self.is_upgraded {
            return self.parse_answer();
        }
        let Some((opcode, head, payload)) = frame_head(&self.unparsed) else { return Ok(false) };
        self.unparsed.drain(..head);
        self.payload_left = payload;
        self.is_data = matches!(opcode, BINARY | CONTINUATION);
        match opcode {
            CLOSE => Err(ErrorKind::UnexpectedEof.into()),
            PING => Err(io::Error::other(
                "the server sent a WebSocket ping, which this generator does not answer",
            )),
            _ => Ok(true),
        }
    }

    fn parse_answer(&mut self) -> io::Result<bool> {
        let Some(end) = self.unparsed.windows(4).position(|four| four == b"\r\n\r\n") else {
            if self.unparsed.len() > MOST_HEADER_BYTES {
                return Err(io::Error::other("the server's answer to the upgrade has no end"));
            }
            return Ok(false);
        };
        if !self.unparsed.starts_with(b"HTTP/1.1 101") {
            let line = self.unparsed.split(|&byte| byte == b'\r').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            return Err(io::Error::other(format!("the server did not upgrade to WebSocket: {line}")));
        }
        self.unparsed.drain(..end + 4);
        self.is_upgraded = true;
        Ok(true)
    }

    fn fill(&mut self, stream: &mut impl Read) -> io::Result<()> {
        let mut some = [0; 4096];
        match stream.read(&mut some)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            count => {
                self.unparsed.extend_from_slice(&some[..count]);
                Ok(())
            }
        }
    }

    fn drain(&mut self, stream: &mut impl Write) -> io::Result<()> {
        while !self.unwritten.is_empty() {
            match stream.write(&self.unwritten)? {
                0 => return Err(ErrorKind::WriteZero.into()),
                count => drop(self.unwritten.drain(..count)),
            }
        }
        Ok(())
    }
}

/// A whole binary frame of so many bytes, masked with zero.
fn put_head(out: &mut Vec<u8>, len: usize) {
    const MASKED: u8 = 0x80;
    out.push(0x80 | BINARY);
    match len {
        0..126 => out.push(MASKED + len as u8),
        126..65_536 => {
            out.push(MASKED + 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(MASKED + 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
}

/// Opcode, bytes of the head, bytes of the payload. A server does not mask.
fn frame_head(bytes: &[u8]) -> Option<(u8, usize, u64)> {
    let [first, second, rest @ ..] = bytes else { return None };
    let opcode = first & 0x0f;
    match second & 0x7f {
        126 => Some((opcode, 4, u64::from(u16::from_be_bytes(*rest.first_chunk()?)))),
        127 => Some((opcode, 10, u64::from_be_bytes(*rest.first_chunk()?))),
        len => Some((opcode, 2, u64::from(len))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives what a server sends, in pieces of a byte, and keeps what it is sent.
    struct Peer {
        sends: Vec<u8>,
        got: Vec<u8>,
    }

    impl Read for Peer {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.sends.is_empty() {
                return Err(ErrorKind::WouldBlock.into());
            }
            buffer[0] = self.sends.remove(0);
            Ok(1)
        }
    }

    impl Write for Peer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.got.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn read_all(websocket: &mut WebSocket, peer: &mut Peer) -> Vec<u8> {
        let (mut all, mut buffer) = (Vec::new(), [0; 16]);
        while let Ok(count) = websocket.read(peer, &mut buffer) {
            all.extend_from_slice(&buffer[..count]);
        }
        all
    }

    /// [MQTT-6.0.0-3]
    #[test]
    fn nothing_is_written_before_the_upgrade_and_frames_after_it() {
        let mut websocket = WebSocket::new("/mqtt", ([127, 0, 0, 1], 80).into());
        let mut peer = Peer { sends: Vec::new(), got: Vec::new() };
        assert_eq!(websocket.write(&mut peer, b"hi").unwrap_err().kind(), ErrorKind::WouldBlock);
        let request = String::from_utf8_lossy(&peer.got);
        assert!(request.starts_with("GET /mqtt HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("\r\nSec-WebSocket-Protocol: mqtt\r\n"), "{request}");
        peer.got.clear();
        peer.sends =
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x82\x03abc\x02\x01d\x80\x7e\x00\x02ef".to_vec();
        assert_eq!(read_all(&mut websocket, &mut peer), b"abcdef");
        assert_eq!(websocket.write(&mut peer, b"hi").unwrap(), 2);
        assert_eq!(peer.got, b"\x82\x82\0\0\0\0hi");
        websocket.write(&mut peer, &[7; 300]).unwrap();
        assert_eq!(frame_head(&peer.got[8..]), Some((BINARY, 4, 300)));
    }

    #[test]
    fn another_answer_is_an_error_that_names_it() {
        let mut websocket = WebSocket::new("/", ([127, 0, 0, 1], 80).into());
        let mut peer = Peer { sends: b"HTTP/1.1 404 Not Found\r\n\r\n".to_vec(), got: Vec::new() };
        let error = websocket.read(&mut peer, &mut [0; 16]).unwrap_err();
        assert!(error.to_string().ends_with("HTTP/1.1 404 Not Found"), "{error}");
    }
}
