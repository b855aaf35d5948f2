//! Who is not let in by its address: the same by every transport, and before a handshake.

use std::{
    io::{ErrorKind, Read},
    net::TcpStream,
    num::NonZeroU32,
};

use mqtt_broker::{BanTarget, Broker, Builder, RefusalReason, Tls, TlsOptions, Transport, WebSocketOptions};
use test_certificates::{Authority, Files};

use crate::{journal::eventually, limits};

/// The transports that a broker may listen by, and the certificates of those over TLS.
fn transports(authority: &Authority) -> [Transport; 4] {
    let Files { certificates, private_key } = authority.server("server");
    let tls = Tls::load(TlsOptions::new(certificates, private_key)).expect("good files");
    let websocket = WebSocketOptions::default;
    [
        Transport::tcp(),
        Transport::tcp().tls(&tls),
        Transport::tcp().websocket(websocket()),
        Transport::tcp().tls(&tls).websocket(websocket()),
    ]
}

type Install = fn(Builder) -> Builder;

/// Closed before a byte is read, and before any TLS: not even an alert comes, and no HTTP.
#[tokio::test]
async fn who_is_not_wanted_costs_no_handshake_by_any_transport() {
    let authority = Authority::new("a");
    let none_of_an_address = limits(|limits| limits.max_connections_per_address = Some(0));
    let slow = limits(|limits| limits.max_accept_rate_per_address = NonZeroU32::new(1));
    let cases: [(Install, RefusalReason, _); 4] = [
        (|builder| builder.on_accept(|_| false), RefusalReason::Hook, limits(|_| {})),
        (|builder| builder, RefusalReason::Banned, limits(|_| {})),
        (|builder| builder, RefusalReason::TooManyFromAddress, none_of_an_address),
        (|builder| builder, RefusalReason::TooFastFromAddress, slow),
    ];
    for (install, reason, limits) in cases {
        for transport in transports(&authority) {
            let broker = install(Broker::builder().limits(limits.clone())).build();
            if reason == RefusalReason::Banned {
                broker.ban(BanTarget::Network("127.0.0.1".parse().unwrap()), "", None).unwrap();
            }
            let address = broker.listen_with("127.0.0.1:0", transport).await.expect("a free port");
            let mut sockets = Vec::new();
            // The first may be let in, if it is only too many in a short time that are not.
            eventually("a refusal", || {
                sockets.push(TcpStream::connect(address).unwrap());
                broker.counts().refused_for(reason) > 0
            })
            .await;
            let accepted = || broker.counts().connections_accepted as usize;
            eventually("all of them", || accepted() == sockets.len()).await;
            let refused = broker.counts().refused_for(reason) as usize;
            assert_eq!(broker.snapshot().connections + refused, sockets.len(), "{reason:?}");
            for socket in &sockets {
                socket.set_nonblocking(true).unwrap();
            }
            eventually("their ends", || {
                let is_over = |socket: &&TcpStream| match (&mut &**socket).read(&mut [0]) {
                    Ok(count) => count == 0 || panic!("{reason:?}: it was answered"),
                    Err(error) => error.kind() != ErrorKind::WouldBlock,
                };
                sockets.iter().filter(is_over).count() == refused
            })
            .await;
        }
    }
}
