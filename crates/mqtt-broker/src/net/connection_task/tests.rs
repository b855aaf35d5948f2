//! The task of a connection alone, on a stream that no socket is like.

use std::net::{Ipv4Addr, SocketAddr};

use mqtt_codec::{Connect, Packet, Pingreq, Utf8Bytes};
use tokio::io::{AsyncRead, join, sink};

use super::*;
use crate::{
    broker::Broker,
    client::Peer,
    entrance::Entrance,
    hooks::{Admission, ConnectDecision},
    limits::Limits,
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

/// Its task is never idle, which is when timers used to be set.
#[tokio::test]
async fn a_client_that_is_never_silent_leaves_when_its_admission_ends() {
    let builder = Broker::builder().on_connect(|request| async move {
        let mut admission = Admission::default();
        admission.ends_at = request.client.connected_at.checked_add(Duration::from_millis(50));
        ConnectDecision::AcceptAs(admission)
    });
    let broker = builder.build();
    let entrance = Arc::new(Entrance::without_listener(Limits::default()));
    let newcomer = Newcomer {
        peer: Peer::Inet(SocketAddr::from((Ipv4Addr::LOCALHOST, 1))),
        accepted_at: now(),
        certificate_user_name: None,
        place: Place::take(broker.core(), &entrance).unwrap(),
        berth: Crew::default().new_berth(),
    };
    let mut beginning = Vec::new();
    let connect = Connect {
        clean_session: true,
        keep_alive_secs: 0,
        client_id: Utf8Bytes::try_from("talker").unwrap(),
        will: None,
        credentials: None,
    };
    Packet::Connect(Box::new(connect)).encode(&mut beginning).unwrap();
    let stream = join(Endless { beginning }, sink());
    let task = ConnectionTask::new(stream, newcomer, CancellationToken::new());
    timeout(Duration::from_mins(1), task).await.unwrap();
}

/// With the 112 bytes that tokio adds, a cell of 384 bytes has room for 272; a larger one takes 512.
#[test]
fn the_task_of_an_idle_connection_is_small() {
    let size = size_of::<ConnectionTask<tokio::net::TcpStream>>();
    assert!(size <= 272, "{size} bytes");
}
