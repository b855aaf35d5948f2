//! [`ListenerArguments`]: listeners from the command line, for a broker without a file. And how listeners are opened.

use std::path::PathBuf;

use anyhow::Context;
use mqtt_admin::WebSocketPlace;
use mqtt_broker::{Broker, Tls};

use super::{address::ListenAddress, say};
use crate::config::{Listener, Origin, Protocol, RawListener, Setting, TlsKeys};

#[derive(Clone, Debug, clap::Args)]
#[command(
    next_help_heading = "Listeners",
    group = clap::ArgGroup::new("over_tls").args(["listen_tls", "listen_wss"]).multiple(true)
)]
pub(crate) struct ListenerArguments {
    /// Listen for MQTT over TCP on this address, or on unix:PATH [default: localhost:1883]
    ///
    /// All --listen options may be given several times. With any of them, the listeners of the file are not used.
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<ListenAddress>,

    /// Listen for MQTT over WebSocket, at the paths /mqtt and /
    #[arg(long, value_name = "ADDRESS")]
    listen_ws: Vec<ListenAddress>,

    /// Listen for MQTT over TLS
    #[arg(long, value_name = "ADDRESS", requires = "tls_cert")]
    listen_tls: Vec<ListenAddress>,

    /// Listen for MQTT over secure WebSocket
    #[arg(long, value_name = "ADDRESS", requires = "tls_cert")]
    listen_wss: Vec<ListenAddress>,

    /// The certificate for TLS, and those between it and its authority's (PEM); read again on SIGHUP, as all of these
    #[arg(long, value_name = "FILE", requires = "tls_key", requires = "over_tls")]
    tls_cert: Option<PathBuf>,

    /// The private key for TLS (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Over TLS, serve only clients with a certificate of these authorities (PEM); its common name is their user name
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
}

impl ListenerArguments {
    /// As if they had stood in the file.
    pub(crate) fn listeners(&self) -> Vec<RawListener> {
        let kinds = [
            (&self.listen, Protocol::Tcp, "--listen"),
            (&self.listen_ws, Protocol::Ws, "--listen-ws"),
            (&self.listen_tls, Protocol::Tls, "--listen-tls"),
            (&self.listen_wss, Protocol::Wss, "--listen-wss"),
        ];
        let all = kinds.into_iter().flat_map(|(addresses, protocol, argument)| {
            addresses.iter().map(move |address| self.listener(address, protocol, argument))
        });
        all.collect()
    }

    fn listener(&self, address: &ListenAddress, protocol: Protocol, argument: &str) -> RawListener {
        let origin = Origin::Argument(argument.to_owned());
        let mut listener = RawListener { origin: origin.clone(), ..RawListener::default() };
        listener.keys.address = Setting { value: Some(address.clone()), origin: origin.clone() };
        listener.keys.protocol = Setting { value: protocol, origin };
        listener.tls = protocol.is_tls().then(|| self.tls());
        listener
    }

    fn tls(&self) -> TlsKeys {
        let mut keys = TlsKeys::default();
        keys.certificate.value.clone_from(&self.tls_cert);
        keys.private_key.value.clone_from(&self.tls_key);
        keys.client_authorities.value = self.tls_client_ca.iter().cloned().collect();
        keys
    }
}

/// Opens a listener on all its addresses. Says where a browser can connect to it.
pub(super) async fn open(
    broker: &Broker,
    listener: &Listener,
    tls: Option<&Tls>,
) -> anyhow::Result<Option<WebSocketPlace>> {
    let opened = listener.opened_with(tls);
    let protocol = listener.protocol;
    let called =
        if listener.has_name { format!("{protocol}, {}", listener.name) } else { protocol.to_string() };
    #[cfg(unix)]
    if let ListenAddress::Unix(path) = &listener.address {
        broker
            .listen_unix_with(path, listener.unix_mode, opened)
            .with_context(|| format!("cannot listen on {}", listener.address))?;
        say(&format!("listening on {} ({called})", listener.address));
        return Ok(None);
    }
    let mut place = None;
    for socket in listener.address.bind().await? {
        let address = broker
            .serve_with(socket, opened.clone())
            .with_context(|| format!("cannot listen on {}", listener.address))?;
        say(&format!("listening on {address} ({called})"));
        place = listener.websocket_path.as_ref().map(|path| WebSocketPlace {
            port: address.port(),
            secure: tls.is_some(),
            path: path.clone(),
        });
    }
    Ok(place)
}
