//! [`Session`]: a TLS connection without its socket. Bytes of the socket go in and plaintext comes out, and the other way round.
//!
//! It uses the interface of rustls that owns no buffers. rustls's usual one reads into 4,096 bytes that it never gives back,
//! which was two fifths of what an idle connection took; this one decrypts where the bytes are.
//!
//! What is kept is what cannot be avoided, and nothing when all is quiet: the beginning of a record, plaintext that the reader
//! had no room for, and records that the socket did not take.

use std::{mem, sync::Arc};

use bytes::{Buf, BytesMut};
use tokio::io::ReadBuf;
use tokio_rustls::rustls::{
    CommonState, Error, InvalidMessage, ServerConfig,
    server::{ServerConnectionData, UnbufferedServerConnection},
    unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic},
};

use crate::net::transport::give;

/// The most that waits for the rest of it to come: a handshake message may be as long. A record has 18 KiB at most.
const MOST_RECEIVED: usize = 64 * 1024;
/// More than two records without content take: the answer to a key update, and that nothing more will come.
const MOST_FAREWELL: usize = 256;
/// What comes ahead of each record: its type, its version and its length.
const HEADER: usize = 5;

pub(super) struct Session {
    connection: UnbufferedServerConnection,
    /// Begins where rustls will go on. It has seen all of it, and waits for more.
    received: BytesMut,
    /// Decrypted.
    unread: BytesMut,
    /// Encrypted.
    unsent: BytesMut,
    /// Nothing more will be read: the other end has said so, or cannot be understood.
    is_read_to_end: bool,
    /// Nothing more will be written: that has been said, or there is no use in it.
    is_closed: bool,
}

impl Session {
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, Error> {
        Ok(Self {
            connection: UnbufferedServerConnection::new(config)?,
            received: BytesMut::new(),
            unread: BytesMut::new(),
            unsent: BytesMut::new(),
            is_read_to_end: false,
            is_closed: false,
        })
    }

    /// What the handshake has brought, or will bring.
    pub(super) fn about(&self) -> &CommonState {
        &self.connection
    }

    pub(super) fn is_read_to_end(&self) -> bool {
        self.is_read_to_end
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// How much has come of what cannot be decrypted yet.
    pub(super) fn received(&self) -> usize {
        self.received.len()
    }

    /// What the socket is to be given next.
    pub(super) fn unsent(&self) -> &[u8] {
        &self.unsent
    }

    /// The socket has taken so much of it.
    pub(super) fn sent(&mut self, count: usize) {
        self.unsent.advance(count);
        free_if_empty(&mut self.unsent);
    }

    /// Behind all else that is to be sent.
    pub(super) fn send_later(&mut self, records: &[u8]) {
        self.unsent.extend_from_slice(records);
    }

    /// Gives plaintext that there was no room for before.
    pub(super) fn give_unread(&mut self, wanted: &mut ReadBuf<'_>) {
        if self.unread.is_empty() {
            return;
        }
        let given = give(&self.unread, wanted);
        self.unread.advance(given);
        free_if_empty(&mut self.unread);
    }

    /// Decrypts what has come from the socket, in place. After an error there may be an alert to send.
    pub(super) fn receive(&mut self, bytes: &mut [u8], wanted: &mut ReadBuf<'_>) -> Result<(), Error> {
        let outcome = self.decrypt_all(bytes, wanted);
        if outcome.is_err() {
            self.give_up();
        }
        if self.is_read_to_end {
            self.received = BytesMut::new();
        }
        outcome
    }

    fn decrypt_all(&mut self, mut bytes: &mut [u8], wanted: &mut ReadBuf<'_>) -> Result<(), Error> {
        while !self.received.is_empty() && !bytes.is_empty() {
            // No more than completes the record, so that those behind it need not be copied.
            let (head, rest) = bytes.split_at_mut(missing(&self.received).min(bytes.len()));
            self.received.extend_from_slice(head);
            bytes = rest;
            let mut received = mem::take(&mut self.received);
            let taken = self.decrypt(&mut received, wanted)?;
            received.advance(taken);
            if !received.is_empty() {
                self.received = received;
            }
        }
        if !bytes.is_empty() {
            let taken = self.decrypt(bytes, wanted)?;
            self.received.extend_from_slice(bytes.get(taken..).unwrap_or_default());
        }
        if self.received.len() > MOST_RECEIVED && !self.is_read_to_end {
            return Err(InvalidMessage::HandshakePayloadTooLarge.into());
        }
        Ok(())
    }

    /// Lets rustls go on with `bytes` until it needs more of them, and says how many it is done with. The rest it wants to see
    /// again, as it left them.
    fn decrypt(&mut self, bytes: &mut [u8], wanted: &mut ReadBuf<'_>) -> Result<usize, Error> {
        let mut taken = 0;
        loop {
            let rest = bytes.get_mut(taken..).unwrap_or_default();
            let UnbufferedStatus { discard, state } = self.connection.process_tls_records(rest);
            taken += discard;
            match state? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        taken += record.discard;
                        let given = give(record.payload, wanted);
                        self.unread.extend_from_slice(record.payload.get(given..).unwrap_or_default());
                    }
                }
                ConnectionState::EncodeTlsData(data) => encode(data, &mut self.unsent)?,
                ConnectionState::TransmitTlsData(data) => data.done(), // It will be: see `unsent`.
                ConnectionState::PeerClosed => self.is_read_to_end = true,
                ConnectionState::BlockedHandshake
                | ConnectionState::WriteTraffic(_)
                | ConnectionState::Closed => return Ok(taken),
                // Early data is never offered.
                _ => return Err(unexpected()),
            }
        }
    }

    /// Encrypts `plaintext` into `space`, and says how much of it is used. What is to be sent ahead of that goes to `unsent`.
    pub(super) fn encrypt(&mut self, plaintext: &[u8], space: &mut [u8]) -> Result<usize, Error> {
        self.write(|traffic| traffic.encrypt(plaintext, space))
    }

    /// Says that nothing more will be written.
    pub(super) fn close(&mut self) -> Result<(), Error> {
        if mem::replace(&mut self.is_closed, true) {
            return Ok(());
        }
        let mut space = [0; MOST_FAREWELL];
        let count = self.write(|traffic| traffic.queue_close_notify(&mut space))?;
        self.unsent.extend_from_slice(space.get(..count).unwrap_or_default());
        Ok(())
    }

    fn write(
        &mut self,
        write: impl FnOnce(&mut WriteTraffic<'_, ServerConnectionData>) -> Result<usize, EncryptError>,
    ) -> Result<usize, Error> {
        loop {
            // It has seen all of it, and needs more before it goes on with it.
            match self.connection.process_tls_records(&mut self.received).state? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    return write(&mut traffic).map_err(|error| Error::General(error.to_string()));
                }
                ConnectionState::EncodeTlsData(data) => encode(data, &mut self.unsent)?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                _ => return Err(unexpected()),
            }
        }
    }

    /// After an error: lets rustls say what it has to say to the other end, and no more.
    fn give_up(&mut self) {
        (self.is_read_to_end, self.is_closed) = (true, true);
        // While it has anything to say it looks at no bytes, which must not be shown to it again.
        while self.connection.wants_write() {
            let state = self.connection.process_tls_records(&mut []).state;
            let Ok(ConnectionState::EncodeTlsData(data)) = state else { return };
            if encode(data, &mut self.unsent).is_err() {
                return;
            }
        }
    }
}

/// How many bytes the record lacks that begins here. If it is whole, it is a piece of a message: any number may follow.
fn missing(record: &[u8]) -> usize {
    let whole = match *record {
        [_, _, _, high, low, ..] => HEADER + usize::from(u16::from_be_bytes([high, low])),
        _ => HEADER,
    };
    let missing = whole.saturating_sub(record.len());
    if missing == 0 { usize::MAX } else { missing }
}

fn encode(mut data: EncodeTlsData<'_, ServerConnectionData>, unsent: &mut BytesMut) -> Result<(), Error> {
    // Given no room, it says how much it needs.
    let Err(EncodeError::InsufficientSize(needed)) = data.encode(&mut []) else { return Ok(()) };
    let start = unsent.len();
    unsent.resize(start + needed.required_size, 0);
    let space = unsent.get_mut(start..).unwrap_or_default();
    data.encode(space).map_err(|error| Error::General(error.to_string()))?;
    Ok(())
}

fn free_if_empty(bytes: &mut BytesMut) {
    if bytes.is_empty() {
        *bytes = BytesMut::new();
    }
}

/// A state that cannot be, as far as can be seen from outside of rustls.
fn unexpected() -> Error {
    Error::General("an unexpected state".into())
}

#[cfg(test)]
impl Session {
    /// How many bytes it holds on to.
    pub(super) fn kept(&self) -> usize {
        [&self.received, &self.unread, &self.unsent].map(BytesMut::capacity).iter().sum()
    }
}
