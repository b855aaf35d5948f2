//! A stream, and a client of rustls's other interface, with a socket between them that gives and takes as it is told.

use std::{
    collections::VecDeque,
    io::{Read as _, Write as _},
    mem,
    task::Waker,
};

use test_certificates::{Authority, Files};
use tokio_rustls::rustls::{
    self, AlertDescription, ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion,
    Tls13CipherSuite,
    crypto::{CipherSuiteCommon, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};

use super::*;
use crate::net::tls::TlsOptions;

const BOTH: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
/// More than a record is longer than its plaintext.
const OVERHEAD: usize = 64;

#[derive(Default)]
struct Wire {
    /// Each is read by itself.
    coming: VecDeque<Vec<u8>>,
    has_ended: bool,
    reads: usize,
    sent: Vec<u8>,
    /// How much more it takes.
    room: usize,
    writes: usize,
}

impl ByteStream for Wire {}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        wanted: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(mut piece) = self.coming.pop_front() else {
            return if self.has_ended { Poll::Ready(Ok(())) } else { Poll::Pending };
        };
        let rest = piece.split_off(piece.len().min(wanted.remaining()));
        wanted.put_slice(&piece);
        if !rest.is_empty() {
            self.coming.push_front(rest);
        }
        self.reads += 1;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let taken = bytes.len().min(self.room);
        if taken == 0 {
            return Poll::Pending;
        }
        self.sent.extend_from_slice(&bytes[..taken]);
        self.room -= taken;
        self.writes += 1;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

struct Pair {
    stream: TlsStream<Wire>,
    client: ClientConnection,
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn server() -> TlsStream<Wire> {
    let authority = Authority::new("a");
    stream_of(&authority)
}

fn stream_of(authority: &Authority) -> TlsStream<Wire> {
    stream_with(config_of(authority))
}

fn config_of(authority: &Authority) -> ServerConfig {
    let Files { certificates, private_key } = authority.server("server");
    TlsOptions::new(certificates, private_key).server_config().unwrap()
}

fn stream_with(config: ServerConfig) -> TlsStream<Wire> {
    let socket = Wire { room: usize::MAX, ..Wire::default() };
    TlsStream { socket, session: Session::new(Arc::new(config)).unwrap(), error: None }
}

impl Pair {
    /// After a handshake whose bytes come in pieces of this size. What `says` is comes with the last of them.
    fn new(version: &'static SupportedProtocolVersion, piece: usize, says: &[u8]) -> Self {
        let authority = Authority::new("a");
        Self::of(&authority, stream_of(&authority), version, piece, says)
    }

    fn of(
        authority: &Authority,
        stream: TlsStream<Wire>,
        version: &'static SupportedProtocolVersion,
        piece: usize,
        says: &[u8],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority.bundle()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        client.set_buffer_limit(None);
        client.writer().write_all(says).unwrap();
        let mut pair = Self { stream, client };
        while pair.client.is_handshaking() || pair.stream.about().is_handshaking() {
            pair.bring(piece);
            if let Poll::Ready(outcome) = pair.stream.poll_handshake(&mut context()) {
                outcome.unwrap();
            }
            pair.fetch();
        }
        pair.fetch();
        pair
    }

    fn take_from_client(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// Lets the server have what the client sends, in pieces.
    fn bring(&mut self, piece: usize) {
        let bytes = self.take_from_client();
        self.stream.socket.coming.extend(bytes.chunks(piece).map(<[u8]>::to_vec));
    }

    /// What the client has understood of what the server has sent.
    fn fetch(&mut self) -> Vec<u8> {
        let (sent, mut plain) = (mem::take(&mut self.stream.socket.sent), Vec::new());
        let mut rest = &sent[..];
        while !rest.is_empty() && self.client.read_tls(&mut rest).unwrap() > 0 {
            self.client.process_new_packets().unwrap();
            let _ = self.client.reader().read_to_end(&mut plain);
        }
        plain
    }

    fn says(&mut self, plain: &[u8]) {
        self.client.writer().write_all(plain).unwrap();
    }

    /// What can be read in pieces of this size, until there is nothing or an end.
    fn read(&mut self, piece: usize) -> (Vec<u8>, Poll<io::Result<()>>) {
        let (mut all, mut space) = (Vec::new(), vec![0; piece]);
        loop {
            let mut wanted = ReadBuf::new(&mut space);
            let outcome = Pin::new(&mut self.stream).poll_read(&mut context(), &mut wanted);
            if wanted.filled().is_empty() {
                return (all, outcome);
            }
            assert!(matches!(outcome, Poll::Ready(Ok(()))));
            all.extend_from_slice(wanted.filled());
        }
    }

    fn write(&mut self, plain: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(&mut context(), plain)
    }

    fn shut_down(&mut self) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(&mut context())
    }
}

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index % 251) as u8).collect()
}

#[test]
fn handshakes_in_pieces_of_any_size_and_what_comes_with_their_last_bytes() {
    for version in BOTH {
        for piece in [1, 2, 3, 7, 100, 5000] {
            let mut pair = Pair::new(version, piece, b"");
            assert_eq!(pair.stream.session.kept(), 0);
            pair.says(b"hello");
            pair.bring(piece);
            assert_eq!(pair.read(100).0, b"hello");
        }
        let mut pair = Pair::new(version, usize::MAX, b"hello");
        pair.bring(usize::MAX);
        assert_eq!(pair.read(3).0, b"hello");
        assert_eq!(pair.stream.session.kept(), 0);
    }
}

#[test]
fn records_are_torn_at_any_byte() {
    for version in BOTH {
        let mut pair = Pair::new(version, usize::MAX, b"");
        for at in 0..500 {
            for message in [&text(100)[..], b"1", &text(300)] {
                pair.says(message);
            }
            let bytes = pair.take_from_client();
            let (first, second) = bytes.split_at(at.min(bytes.len()));
            pair.stream.socket.coming.push_back(first.to_vec());
            pair.stream.socket.coming.retain(|piece| !piece.is_empty());
            let (mut got, outcome) = pair.read(SCRATCH);
            assert!(outcome.is_pending());
            assert!(pair.stream.session.kept() <= 300 + OVERHEAD);
            pair.stream.socket.coming.push_back(second.to_vec());
            pair.stream.socket.coming.retain(|piece| !piece.is_empty());
            got.extend(pair.read(SCRATCH).0);
            assert!(got == [&text(100)[..], b"1", &text(300)].concat(), "torn at {at}");
            assert_eq!(pair.stream.session.kept(), 0);
        }
    }
}

#[test]
fn many_records_come_in_one_read_and_go_in_one_write() {
    for version in BOTH {
        let mut pair = Pair::new(version, usize::MAX, b"");
        for _ in 0..500 {
            pair.says(&text(40));
        }
        pair.bring(usize::MAX);
        pair.stream.socket.reads = 0;
        let mut space = vec![0; SCRATCH];
        let mut wanted = ReadBuf::new(&mut space);
        assert!(Pin::new(&mut pair.stream).poll_read(&mut context(), &mut wanted).is_ready());
        assert!(wanted.filled() == text(40).repeat(500));
        assert_eq!(pair.stream.socket.reads, 1);

        let (plain, before) = (text(MOST_ENCRYPTED), pair.stream.socket.writes);
        assert!(matches!(pair.write(&plain), Poll::Ready(Ok(MOST_ENCRYPTED))));
        assert_eq!(pair.stream.socket.writes, before + 1);
        assert!(pair.fetch() == plain);
        assert_eq!(pair.stream.session.kept(), 0);
    }
}

#[test]
fn large_amounts_come_in_pieces_of_any_size_for_readers_of_any_size() {
    for version in BOTH {
        let mut pair = Pair::new(version, usize::MAX, b"");
        for (piece, reader) in [(1000, SCRATCH), (usize::MAX, SCRATCH), (SCRATCH, 7), (3, 3), (70_001, 5000)]
        {
            let plain = text(200_000);
            pair.says(&plain);
            pair.bring(piece);
            let (got, outcome) = pair.read(reader);
            assert!(got == plain && outcome.is_pending(), "{piece} {reader}");
            assert_eq!(pair.stream.session.kept(), 0);
        }
    }
}

/// However little is asked for, no more is kept than one read has brought.
#[test]
fn a_reader_in_no_hurry() {
    let mut pair = Pair::new(&TLS13, usize::MAX, b"");
    let plain = text(200_000);
    pair.says(&plain);
    pair.bring(usize::MAX);
    let (mut got, mut space) = (Vec::new(), [0; 100]);
    while got.len() < plain.len() {
        let mut wanted = ReadBuf::new(&mut space);
        assert!(Pin::new(&mut pair.stream).poll_read(&mut context(), &mut wanted).is_ready());
        got.extend_from_slice(wanted.filled());
        assert!(pair.stream.session.kept() <= 3 * SCRATCH / 2, "{}", pair.stream.session.kept());
    }
    assert!(got == plain);
}

#[test]
fn a_socket_that_takes_little_is_given_no_more_and_loses_nothing() {
    for version in BOTH {
        let mut pair = Pair::new(version, usize::MAX, b"");
        let plain = text(100_000);
        let (mut written, mut got) = (0, Vec::new());
        pair.stream.socket.room = 0;
        for step in 0.. {
            match pair.write(&plain[written..]) {
                Poll::Pending => assert!(pair.stream.session.kept() > 0),
                Poll::Ready(count) => written += count.unwrap(),
            }
            assert!(pair.stream.session.kept() <= MOST_ENCRYPTED + 9 * OVERHEAD);
            pair.stream.socket.room = step % 5000;
            got.extend(pair.fetch());
            if written == plain.len() {
                break;
            }
        }
        assert!(got.len() < plain.len());
        pair.stream.socket.room = usize::MAX;
        assert!(Pin::new(&mut pair.stream).poll_flush(&mut context()).is_ready());
        got.extend(pair.fetch());
        assert!(got == plain);
        assert_eq!(pair.stream.session.kept(), 0);
    }
}

#[test]
fn keys_are_exchanged_on_the_way() {
    let mut pair = Pair::new(&TLS13, usize::MAX, b"");
    for piece in [usize::MAX, 1, 2, 10] {
        pair.says(b"before");
        pair.client.refresh_traffic_keys().unwrap();
        pair.says(b" and after");
        pair.bring(piece);
        assert_eq!(pair.read(100).0, b"before and after");
        // The answer goes ahead of what is written next.
        assert!(pair.write(b"heard").is_ready());
        assert_eq!(pair.fetch(), b"heard");
        assert_eq!(pair.stream.session.kept(), 0);
    }
}

/// A key is for so many records, and then the server takes another, of which it tells with the one before: also when it has made
/// two records for one write.
#[test]
fn keys_that_are_used_up_are_exchanged_between_two_records() {
    let rustls::SupportedCipherSuite::Tls13(suite) = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256 else {
        unreachable!()
    };
    let common = CipherSuiteCommon {
        confidentiality_limit: 3,
        suite: suite.common.suite,
        hash_provider: suite.common.hash_provider,
    };
    let few: &Tls13CipherSuite = Box::leak(Box::new(Tls13CipherSuite {
        common,
        hkdf_provider: suite.hkdf_provider,
        aead_alg: suite.aead_alg,
        quic: suite.quic,
    }));
    let authority = Authority::new("a");
    let usual = config_of(&authority);
    let mut provider = (**usual.crypto_provider()).clone();
    provider.cipher_suites = vec![rustls::SupportedCipherSuite::Tls13(few)];
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(usual.cert_resolver.clone());
    let mut pair = Pair::of(&authority, stream_with(config), &TLS13, usize::MAX, b"");
    let bytes = text(4 * PAGE);
    let page = bytes.as_ptr().align_offset(PAGE);
    for len in (1..100).map(|n| n * 100) {
        let plain = &bytes[page..][..len];
        assert!(pair.write(plain).is_ready());
        assert!(pair.stream.poll_send(&mut context()).is_ready());
        assert_eq!(pair.fetch(), plain);
    }
}

/// As many as anybody likes, and never an answer taken: the next one waits for the one before.
#[test]
fn answers_to_key_updates_do_not_pile_up() {
    let mut pair = Pair::new(&TLS13, usize::MAX, b"");
    pair.stream.socket.room = 0;
    for _ in 0..1000 {
        pair.client.refresh_traffic_keys().unwrap();
        pair.says(b"1");
    }
    pair.bring(usize::MAX);
    assert_eq!(pair.read(100).0.len(), 1000);
    assert_eq!(pair.stream.session.kept(), 0);
    for _ in 0..100 {
        pair.client.refresh_traffic_keys().unwrap();
    }
    pair.bring(usize::MAX);
    let (got, outcome) = pair.read(100);
    assert!(got.is_empty() && matches!(outcome, Poll::Ready(Err(_))), "they say nothing else");
}

#[test]
fn the_other_end_says_that_it_is_done_and_listens_on() {
    for version in BOTH {
        let mut pair = Pair::new(version, usize::MAX, b"");
        pair.says(b"the last");
        pair.client.send_close_notify();
        pair.bring(usize::MAX);
        pair.stream.socket.coming[0].extend(b"to be ignored");
        let (got, outcome) = pair.read(100);
        assert_eq!(got, b"the last");
        assert!(matches!(outcome, Poll::Ready(Ok(()))), "{outcome:?}");
        assert_eq!(pair.stream.session.kept(), 0);
        assert!(matches!(pair.write(b"an answer"), Poll::Ready(Ok(9))));
        assert!(matches!(pair.shut_down(), Poll::Ready(Ok(()))));
        assert_eq!(pair.fetch(), b"an answer");
        assert!(pair.client.process_new_packets().unwrap().peer_has_closed());
    }
}

#[test]
fn the_farewell_waits_for_the_socket_and_nothing_follows_it() {
    let mut pair = Pair::new(&TLS13, usize::MAX, b"");
    pair.stream.socket.room = 30;
    assert!(pair.write(b"a message of some length").is_ready());
    assert!(pair.shut_down().is_pending());
    pair.stream.socket.room = usize::MAX;
    assert!(matches!(pair.shut_down(), Poll::Ready(Ok(()))));
    assert_eq!(pair.fetch(), b"a message of some length");
    assert!(pair.client.process_new_packets().unwrap().peer_has_closed());
    assert!(
        matches!(pair.write(b"more"), Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe)
    );
    assert!(matches!(pair.shut_down(), Poll::Ready(Ok(()))));
    assert!(pair.fetch().is_empty());
}

#[test]
fn an_end_without_a_word_is_an_error_behind_what_came() {
    let mut pair = Pair::new(&TLS13, usize::MAX, b"");
    pair.says(b"whole");
    pair.bring(usize::MAX);
    pair.says(b"cut off");
    let mut torn = pair.take_from_client();
    torn.pop();
    pair.stream.socket.coming.push_back(torn);
    pair.stream.socket.has_ended = true;
    let (got, outcome) = pair.read(100);
    assert_eq!(got, b"whole");
    assert!(
        matches!(&outcome, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof),
        "{outcome:?}"
    );
}

#[test]
fn what_came_before_a_bad_record_counts_and_the_other_end_is_told_of_it() {
    for version in BOTH {
        let bad: [&[u8]; 4] = [
            &[0x17, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20], // no such key
            &[0x17, 3, 3, 0x48, 1], // longer than any
            b"GET / HTTP/1.1",      // none
            &[0x15, 3, 3, 0, 0],    // empty
        ];
        for record in bad {
            let mut pair = Pair::new(version, usize::MAX, b"");
            pair.says(b"good");
            pair.bring(usize::MAX);
            pair.stream.socket.coming[0].extend(record);
            let (got, outcome) = pair.read(100);
            assert_eq!(got, b"good");
            assert!(
                matches!(&outcome, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::InvalidData),
                "{outcome:?}"
            );
            let sent = mem::take(&mut pair.stream.socket.sent);
            pair.client.read_tls(&mut &sent[..]).unwrap();
            let told = pair.client.process_new_packets();
            assert!(matches!(told, Err(rustls::Error::AlertReceived(_))), "{told:?}");
            // That was all.
            pair.stream.socket.coming.push_back(vec![0; 100]);
            assert!(matches!(pair.read(100).1, Poll::Ready(Ok(()))));
            assert!(matches!(pair.write(b"more"), Poll::Ready(Err(_))));
            assert!(matches!(pair.shut_down(), Poll::Ready(Ok(()))));
            assert!(pair.stream.socket.sent.is_empty());
            assert_eq!(pair.stream.session.kept(), 0);
        }
    }
}

#[test]
fn a_handshake_that_fails_is_told_why() {
    let mut stream = server();
    stream.socket.coming.push_back(b"\x16\x03\x01\0\x05\x01\0\0\x01\0".to_vec());
    let outcome = stream.poll_handshake(&mut context());
    assert!(matches!(&outcome, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::InvalidData));
    assert_eq!(stream.socket.sent, [0x15, 3, 3, 0, 2, 2, u8::from(AlertDescription::DecodeError)]);
}

/// Each fragment says little, and the message never ends.
#[test]
fn a_handshake_message_without_end_is_bounded() {
    for fragment in [1, 1000, 16_384] {
        let mut stream = server();
        let record =
            |payload: &[u8]| [&[0x16, 3, 1], &(payload.len() as u16).to_be_bytes()[..], payload].concat();
        let mut beginning = vec![1, 0, 0xff, 0xff]; // a ClientHello of 65,535 bytes
        beginning.resize(fragment.max(4), 0);
        stream.socket.coming.push_back(record(&beginning));
        let mut brought = 0;
        let outcome = loop {
            match stream.poll_handshake(&mut context()) {
                Poll::Ready(outcome) => break outcome,
                Poll::Pending => {}
            }
            assert!(stream.session.kept() <= 3 * SCRATCH, "{}", stream.session.kept());
            let more = record(&vec![0; fragment]);
            brought += more.len();
            assert!(brought < 2 * SCRATCH, "it goes on for ever");
            stream.socket.coming.push_back(more);
        };
        outcome.unwrap_err();
    }
}

#[test]
fn a_handshake_may_end_at_any_byte() {
    for at in 0..6 {
        let mut stream = server();
        stream.socket.coming.extend(b"\x16\x03\x01\0\x05\x01"[..at].chunks(1).map(<[u8]>::to_vec));
        stream.socket.has_ended = true;
        let outcome = stream.poll_handshake(&mut context());
        assert!(
            matches!(&outcome, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof),
            "{outcome:?}"
        );
    }
}

/// Where rustls' copy would begin just behind the original, modulo a page, the first record is short.
#[test]
fn no_copy_is_too_near() {
    let bytes = vec![0; 4 * PAGE];
    let page = bytes.as_ptr().align_offset(PAGE);
    let first = |at: usize, len: usize| first_record(&bytes[page + at..][..len]);
    let long = PAGE + 100;
    for near in [0, 4, PAGE - 1, PAGE - 58] {
        assert_eq!(first(near, long), SHORT_COPY, "{near}");
        assert_eq!(first(near, SHORT_COPY - 1), SHORT_COPY - 1, "{near}");
    }
    for far in [RECORD_HEADER, 100, SHORT_COPY, PAGE - 59] {
        assert_eq!(first(far, long), long, "{far}");
    }
}
