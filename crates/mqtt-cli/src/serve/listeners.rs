//! [`ListenerArguments`]: where the broker listens, and what it speaks there.

use std::path::PathBuf;

use anyhow::Context;
use mqtt_broker::{
    Broker, CertificateField, ClientCertificates, Tls, TlsOptions, Transport, WebSocketOptions,
};

use super::{address::ListenAddress, say};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Listeners")]
pub(crate) struct ListenerArguments {
    /// Listen for MQTT over TCP on this address; may be given several times, as all --listen options may
    #[arg(long, value_name = "ADDRESS", default_values_t = [ListenAddress::Localhost(1883)])]
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
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The private key for TLS (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Over TLS, serve only clients with a certificate of these authorities (PEM); its common name is their user name
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
}

impl ListenerArguments {
    /// An address that other machines reach, and where nobody is asked who he is.
    pub(crate) fn open_to_others(&self) -> Option<&ListenAddress> {
        let over_tls =
            self.listen_tls.iter().chain(&self.listen_wss).filter(|_| self.tls_client_ca.is_none());
        let mut all = self.listen.iter().chain(&self.listen_ws).chain(over_tls);
        all.find(|address| !address.is_loopback())
    }

    /// Whether clients over TLS prove by a certificate who they are.
    pub(crate) fn asks_for_certificates(&self) -> bool {
        self.tls_client_ca.is_some()
    }

    /// Starts all listeners; returns what has to be told when certificates change.
    pub(crate) async fn start(&self, broker: &Broker) -> anyhow::Result<Option<Tls>> {
        let tls = self.tls_options().map(Tls::load).transpose().context("cannot use TLS")?;
        let websocket = || Transport::tcp().websocket(WebSocketOptions::default());
        listen(broker, &self.listen, &Transport::tcp(), "tcp").await?;
        listen(broker, &self.listen_ws, &websocket(), "ws").await?;
        if let Some(tls) = &tls {
            listen(broker, &self.listen_tls, &Transport::tcp().tls(tls), "tls").await?;
            listen(broker, &self.listen_wss, &websocket().tls(tls), "wss").await?;
        }
        Ok(tls)
    }

    fn tls_options(&self) -> Option<TlsOptions> {
        let mut options = TlsOptions::new(self.tls_cert.as_ref()?, self.tls_key.as_ref()?);
        if let Some(authorities) = &self.tls_client_ca {
            options.client_certificates = ClientCertificates::Required;
            options.client_authorities.push(authorities.clone());
            options.user_name = Some(CertificateField::CommonName);
        }
        Some(options)
    }
}

async fn listen(
    broker: &Broker,
    addresses: &[ListenAddress],
    transport: &Transport,
    name: &str,
) -> anyhow::Result<()> {
    for address in addresses {
        for listener in address.bind().await? {
            let address = broker
                .serve_with(listener, transport.clone())
                .with_context(|| format!("cannot listen on {address}"))?;
            say(&format!("listening on {address} ({name})"));
        }
    }
    Ok(())
}
