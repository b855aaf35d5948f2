//! Fuzz target: frames of all kinds, well-formed and not, in pieces of any size.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, ReadBuf, join, sink};

use super::{ReadAhead, WebSocketBytes, config};

const LARGEST_FRAME: usize = 1_000;
const MASK: [u8; 4] = [1, 2, 3, 4];

/// What a client sends.
#[derive(Debug, bolero::TypeGenerator)]
enum Sent {
    /// A binary message, in a frame for each part, with a ping between them.
    Message(Vec<Vec<u8>>),
    /// A frame with this first byte, this payload, and a length that may be another.
    Frame {
        first: u8,
        masked: bool,
        payload: Vec<u8>,
        announced: Option<u64>,
    },
    Raw(Vec<u8>),
}

/// What comes in pieces, and then ends.
struct Pieces(VecDeque<Vec<u8>>);

/// The bytes within binary frames are read as they were sent, whatever the pieces; what is no WebSocket is an error, and
/// reading it costs no more than the largest frame.
#[test]
fn frames() {
    bolero::check!().with_type::<(Vec<Sent>, Vec<u8>)>().for_each(|(sent, lens)| {
        let bytes: Vec<u8> = sent.iter().flat_map(Sent::bytes).collect();
        let read = read_all(Pieces::of(&bytes, lens));
        assert!(read.len() <= bytes.len());
        if let Some(messages) = sent.iter().map(Sent::message).collect::<Option<Vec<_>>>() {
            assert_eq!(read, messages.concat());
        }
    });
}

/// What was read up to the end or an error.
fn read_all(sent: Pieces) -> Vec<u8> {
    let socket = join(sent, sink()); // Answers to pings and closes go nowhere.
    let mut cx = Context::from_waker(Waker::noop());
    let mut socket = WebSocketBytes::new(ReadAhead::new(socket), config(LARGEST_FRAME));
    let mut read = Vec::new();
    loop {
        let mut space = [0; 100];
        let mut buffer = ReadBuf::new(&mut space);
        match Pin::new(&mut socket).poll_read(&mut cx, &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => read.extend_from_slice(buffer.filled()),
            // A client that goes without a close frame is an error too.
            Poll::Ready(Ok(()) | Err(_)) => return read,
            Poll::Pending => panic!("what is ready is not taken"),
        }
    }
}

impl Sent {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Message(parts) => {
                let last = parts.len().saturating_sub(1);
                let fragment = |(index, part): (usize, &Vec<u8>)| {
                    let is_last = u8::from(index == last);
                    let first = (is_last << 7) | if index == 0 { 2 } else { 0 };
                    let ping = if index == last { Vec::new() } else { frame(0x89, true, b"ping", 4) };
                    [frame(first, true, part, part.len() as u64), ping].concat()
                };
                parts.iter().enumerate().flat_map(fragment).collect()
            }
            Self::Frame { first, masked, payload, announced } => {
                frame(*first, *masked, payload, announced.unwrap_or(payload.len() as u64))
            }
            Self::Raw(bytes) => bytes.clone(),
        }
    }

    /// What has to arrive, if that is known.
    fn message(&self) -> Option<Vec<u8>> {
        let Self::Message(parts) = self else { return None };
        let message = parts.concat();
        (message.len() <= LARGEST_FRAME).then_some(message)
    }
}

fn frame(first: u8, masked: bool, payload: &[u8], announced: u64) -> Vec<u8> {
    let mask = u8::from(masked) << 7;
    let mut frame = vec![first];
    match announced {
        0..126 => frame.push(mask | announced as u8),
        126..0x1_0000 => {
            frame.push(mask | 0x7e);
            frame.extend((announced as u16).to_be_bytes());
        }
        _ => {
            frame.push(mask | 0x7f);
            frame.extend(announced.to_be_bytes());
        }
    }
    if masked {
        frame.extend(MASK);
    }
    let masked_byte = |(index, byte): (usize, &u8)| if masked { byte ^ MASK[index % 4] } else { *byte };
    frame.extend(payload.iter().enumerate().map(masked_byte));
    frame
}

impl Pieces {
    /// Of these lengths, round and round.
    fn of(mut bytes: &[u8], lens: &[u8]) -> Self {
        let mut pieces = VecDeque::new();
        let mut lens = lens.iter().map(|len| usize::from(*len) + 1).cycle();
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(lens.next().unwrap_or(usize::MAX).min(bytes.len()));
            pieces.push_back(piece.to_vec());
            bytes = rest;
        }
        Self(pieces)
    }
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(mut piece) = self.0.pop_front() {
            let rest = piece.split_off(piece.len().min(buffer.remaining()));
            buffer.put_slice(&piece);
            if !rest.is_empty() {
                self.0.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}
