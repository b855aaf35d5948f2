//! MQTT over Unix sockets.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::PathBuf,
    time::Duration,
};

use mqtt_broker::{Broker, Peer};
use mqtt_codec::Connack;
use tokio::{io::AsyncReadExt, net::UnixStream};

use crate::{
    Q1,
    client::{Client, connect},
    journal::{eventually, soon},
    message,
};

/// A path that is this test's own.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("gmqtt-{name}-{}.sock", std::process::id())))
    }

    async fn client(&self, client_id: &str) -> Client<UnixStream> {
        let mut client = Client::over(UnixStream::connect(&self.0).await.expect("the broker listens"));
        assert_eq!(client.connect(connect(client_id)).await, Connack::Accepted { session_present: false });
        client
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn clients_are_served_and_known_by_their_user() {
    let (broker, place) = (Broker::builder().build(), Place::new("served"));
    broker.listen_unix(&place.0, 0o600).unwrap();
    let mut client = place.client("a").await;
    client.subscribe("t", Q1).await;
    broker.publish(&message("t", "x", Q1));
    assert_eq!(client.message().await, "t x");
    let user_id = fs::metadata(&place.0).unwrap().uid();
    assert_eq!(broker.client("a").unwrap().info().peer, Peer::Unix { user_id });
    client.disconnect().await;
}

#[tokio::test]
async fn the_mode_is_as_asked_and_the_file_goes_with_the_broker() {
    let (broker, place) = (Broker::builder().build(), Place::new("mode"));
    broker.listen_unix(&place.0, 0o620).unwrap();
    assert_eq!(fs::metadata(&place.0).unwrap().permissions().mode() & 0o777, 0o620);
    let mut client = place.client("a").await;
    broker.shutdown(Duration::from_secs(5)).await.expect("nobody is left");
    client.expect_end().await;
    assert!(!place.0.exists());
}

#[tokio::test]
async fn a_socket_left_behind_is_replaced_and_nothing_else() {
    let (broker, place) = (Broker::builder().build(), Place::new("stale"));
    drop(std::os::unix::net::UnixListener::bind(&place.0).unwrap());
    broker.listen_unix(&place.0, 0o600).unwrap();
    place.client("a").await;
    let error = Broker::builder().build().listen_unix(&place.0, 0o600).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    place.client("b").await.ping().await;

    let file = Place::new("file");
    fs::write(&file.0, "precious").unwrap();
    broker.listen_unix(&file.0, 0o600).unwrap_err();
    assert_eq!(fs::read_to_string(&file.0).unwrap(), "precious");
}

#[tokio::test]
async fn the_hook_and_the_limit_act_here_too() {
    let place = Place::new("hook");
    let builder = Broker::builder().on_accept(|request| !matches!(request.peer, Peer::Unix { .. }));
    let broker = builder.build();
    broker.listen_unix(&place.0, 0o600).unwrap();
    let mut refused = UnixStream::connect(&place.0).await.unwrap();
    assert!(matches!(soon("the end", refused.read(&mut [0])).await, Ok(0) | Err(_)));
    eventually("it to be counted", || broker.counts().connections_refused == 1).await;
}
