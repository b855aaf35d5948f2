//! The API over real sockets, in front of a real broker.
#![allow(dead_code, reason = "the clients for HTTP and MQTT are whole")]

mod access;
mod audit;
mod crowd;
mod dashboard;
mod documents;
mod figures;
mod http;
mod lists;
mod messages;
mod mqtt;
mod openmetrics;
mod operators;

use std::net::SocketAddr;

use mqtt_admin::{Admin, AdminOptions, Operations, Role, Token, Tokens};
use mqtt_broker::{Broker, Builder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::http::Http;

/// A broker with its API, and a token for each role.
struct World {
    broker: Broker,
    mqtt: SocketAddr,
    admin: Admin,
    address: SocketAddr,
    read: Token,
    write: Token,
    stop: CancellationToken,
}

impl World {
    async fn start() -> Self {
        Self::with(Broker::builder(), (), AdminOptions::default()).await
    }

    async fn with(builder: Builder, operations: impl Operations, options: AdminOptions) -> Self {
        Self::before(builder.build(), operations, options).await
    }

    async fn before(broker: Broker, operations: impl Operations, options: AdminOptions) -> Self {
        let mqtt = broker.listen("127.0.0.1:0").await.unwrap();
        let (read, write) = (Token::generate().unwrap(), Token::generate().unwrap());
        let lines = [read.line("reader", Role::Read), write.line("writer", Role::Write)].join("\n");
        let admin = Admin::new(broker.clone(), Tokens::parse(&lines).unwrap(), operations, options);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let (serving, until) = (admin.clone(), stop.clone());
        tokio::spawn(async move { serving.serve(listener, until).await });
        Self { broker, mqtt, admin, address, read, write, stop }
    }

    /// As the bearer of the token for everything.
    fn http(&self) -> Http<'_> {
        Http::new(self.address).token(self.write.secret())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
