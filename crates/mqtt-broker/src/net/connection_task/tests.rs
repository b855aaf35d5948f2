//! The task of a connection alone, on a stream that no socket is like.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    task::Wake,
};

use mqtt_codec::{
    Connect, Delivery, Packet, PacketId, Pingreq, Publish, QoS, Subscribe, TopicFilter, TopicName, Utf8Bytes,
};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, duplex, join, sink},
    task::yield_now,
};

use super::*;
use crate::{
    broker::Broker,
    client::Peer,
    entrance::Entrance,
    hooks::{Admission, ConnectDecision},
    limits::Limits,
    message::Message,
    net::workers::Crew,
    place::Place,
};

/// Has always something to read.
struct Endless {
    /// Read first, and then PINGREQ for ever.
    beginning: Vec<u8>,
}

impl AsyncRead for Endless {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = mem::take(&mut self.beginning);
        if bytes.is_empty() {
            Pingreq.encode(&mut bytes).unwrap();
        }
        buffer.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

/// What the system says of a connection whose other end has not answered it.
struct Gone {
    beginning: Vec<u8>,
}

impl AsyncRead for Gone {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let bytes = mem::take(&mut self.beginning);
        if bytes.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        buffer.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

/// Takes all that is written, and notes whose it was.
struct Noted {
    whose: &'static str,
    log: Arc<Mutex<Vec<&'static str>>>,
}

impl AsyncWrite for Noted {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.log.lock().push(self.whose);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn task<S: ByteStream>(broker: &Broker, stream: S) -> ConnectionTask<S> {
    let entrance = Arc::new(Entrance::without_listener(Limits::default()));
    let newcomer = Newcomer {
        peer: Peer::Inet(SocketAddr::from((Ipv4Addr::LOCALHOST, 1))),
        accepted_at: now(),
        certificate_user_name: None,
        place: Place::take(broker.core(), &entrance).unwrap(),
        berth: Crew::default().new_berth(),
    };
    ConnectionTask::new(stream, newcomer, CancellationToken::new())
}

fn encoded(packet: &Packet) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(&mut bytes).unwrap();
    bytes
}

fn connect(client_id: &str) -> Vec<u8> {
    encoded(&Packet::Connect(Box::new(Connect {
        clean_session: true,
        keep_alive_secs: 0,
        client_id: Utf8Bytes::try_from(client_id).unwrap(),
        will: None,
        credentials: None,
    })))
}

/// Its task is never idle, which is when timers used to be set.
#[tokio::test]
async fn a_client_that_is_never_silent_leaves_when_its_admission_ends() {
    let builder = Broker::builder().on_connect(|request| async move {
        let mut admission = Admission::default();
        admission.ends_at = request.client.connected_at.checked_add(Duration::from_millis(50));
        ConnectDecision::AcceptAs(admission)
    });
    let broker = builder.build();
    let stream = join(Endless { beginning: connect("talker") }, sink());
    timeout(Duration::from_mins(1), task(&broker, stream)).await.unwrap();
}

#[tokio::test]
async fn a_half_open_connection_is_counted_under_a_name_of_its_own() {
    let broker = Broker::builder().build();
    let stream = join(Gone { beginning: connect("gone") }, sink());
    timeout(Duration::from_mins(1), task(&broker, stream)).await.unwrap();
    let closed = CloseReason::NAMES.iter().zip(broker.counts().closed).filter(|(_, count)| *count > 0);
    assert_eq!(closed.collect::<Vec<_>>(), [(&"half_open", 1)]);
}

/// A write takes longer than all the rest: the receiver does not wait for the sender's.
#[tokio::test]
async fn a_message_leaves_before_its_sender_is_answered() {
    let broker = Broker::builder().build();
    let log = Arc::new(Mutex::new(Vec::new()));
    let start = |whose| -> DuplexStream {
        let (ours, theirs) = duplex(1024);
        tokio::spawn(task(&broker, join(theirs, Noted { whose, log: Arc::clone(&log) })));
        ours
    };
    let until_written = async |times| {
        let written = async {
            while log.lock().len() < times {
                yield_now().await;
            }
        };
        timeout(Duration::from_mins(1), written).await.unwrap();
        mem::take(&mut *log.lock())
    };

    let mut subscriber = start("subscriber");
    let filters = vec![(TopicFilter::try_from("a").unwrap(), QoS::AtMostOnce)];
    let subscribe = encoded(&Packet::Subscribe(Subscribe { packet_id: PacketId::FIRST, filters }));
    subscriber.write_all(&[connect("subscriber"), subscribe].concat()).await.unwrap();
    assert_eq!(until_written(1).await, ["subscriber"], "CONNACK and SUBACK");

    let mut publisher = start("publisher");
    let publish = encoded(&Packet::Publish(Publish {
        delivery: Delivery::AtLeastOnce { packet_id: PacketId::FIRST, dup: false },
        retain: false,
        topic: TopicName::try_from("a").unwrap(),
        payload: "x".into(),
    }));
    publisher.write_all(&[connect("publisher"), publish].concat()).await.unwrap();
    assert_eq!(until_written(2).await, ["subscriber", "publisher"]);
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// After a move to another worker, whoever told it to end woke the task that it had been.
#[tokio::test]
async fn a_connection_that_cannot_write_is_told_of_its_end_where_it_is() {
    let broker = Broker::builder().build();
    let (mut client, stream) = duplex(256);
    let filters = vec![(TopicFilter::try_from("a").unwrap(), QoS::AtMostOnce)];
    let subscribe = encoded(&Packet::Subscribe(Subscribe { packet_id: PacketId::FIRST, filters }));
    client.write_all(&[connect("deaf"), subscribe].concat()).await.unwrap();
    let mut task = task(&broker, stream);
    let [before, after] = [(); 2].map(|()| Arc::new(Flag(AtomicBool::new(false))));
    let mut poll = |flag: &Arc<Flag>| {
        let waker = Waker::from(Arc::clone(flag));
        assert!(Pin::new(&mut task).poll(&mut Context::from_waker(&waker)).is_pending());
    };
    poll(&before);
    let topic = TopicName::try_from("a").unwrap();
    broker.publish(&Message::new(&topic, &[0; 1000], QoS::AtMostOnce));
    poll(&before);
    poll(&after);
    after.0.store(false, Ordering::SeqCst);
    assert!(broker.client("deaf").unwrap().disconnect());
    assert!(after.0.load(Ordering::SeqCst));
}

/// What it has for a while goes with that while.
#[tokio::test]
async fn a_connection_at_rest_has_nothing_transient() {
    let broker = Broker::builder().build();
    let (mut client, stream) = duplex(1024);
    client.write_all(&connect("idle")).await.unwrap();
    let mut task = task(&broker, stream);
    assert!(task.0.as_ref().unwrap().transient.is_some(), "it watches for the end of the broker");
    assert!(Pin::new(&mut task).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let service = task.0.as_ref().unwrap();
    assert!(service.connection.is_open() && service.transient.is_none());
}

/// With the 112 bytes that tokio adds, a cell of 256 bytes has room for 144, the 24 of a socket on a runtime of one thread
/// among them.
#[test]
fn the_task_of_an_idle_connection_is_small() {
    type Socket = tokio::net::TcpStream;
    let size = size_of::<ConnectionTask<Socket>>() - size_of::<Socket>();
    assert!(size <= 144 - 24, "{size} bytes");
}
