//! MQTT within TLS 1.2 and 1.3: [`Tls`] holds what a listener's handshakes use, and exchanges it while they go on.

mod certificate;
mod options;
mod session;
mod stream;

use std::{io, sync::Arc};

use arc_swap::ArcSwap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{InvalidMessage, ServerConfig},
};

use self::stream::TlsStream;
pub use self::{
    certificate::CertificateField,
    options::{ClientCertificates, TlsError, TlsOptions},
};
use super::{handshake::Failure, transport::ByteStream};

/// Certificates and keys as they are in force. All clones are the same: hand one to each listener that is to use it, and
/// keep one for [`Tls::reload`].
///
/// ```no_run
/// use mqtt_broker::{Broker, CertificateField, ClientCertificates, Tls, TlsOptions, Transport};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut options = TlsOptions::new("server.pem", "server.key");
/// options.client_certificates = ClientCertificates::Required;
/// options.client_authorities = vec!["authority.pem".into()];
/// options.user_name = Some(CertificateField::CommonName);
/// let tls = Tls::load(options)?;
///
/// let broker = Broker::builder().build();
/// broker.listen_with("0.0.0.0:8883", Transport::tcp().tls(&tls)).await?;
/// // Later, once the files are other ones:
/// tls.reload()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Tls {
    in_force: Arc<ArcSwap<Configs>>,
}

/// What was read, and from where. Two configs, the same but for the protocol that is agreed on: a browser offers `http/1.1`,
/// and must not be refused for it.
#[derive(Debug)]
struct Configs {
    options: TlsOptions,
    mqtt: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
}

impl Tls {
    /// Reads all files of `options`. It blocks for as long.
    pub fn load(options: TlsOptions) -> Result<Self, TlsError> {
        Ok(Self { in_force: Arc::new(ArcSwap::from_pointee(Configs::load(options)?)) })
    }

    /// Reads the files again; handshakes from now on use what they hold. Connections that are there already are left alone.
    /// When anything is wrong with the files, all stays as it was. It blocks for as long as reading takes.
    pub fn reload(&self) -> Result<(), TlsError> {
        let options = self.in_force.load().options.clone();
        self.in_force.store(Arc::new(Configs::load(options)?));
        Ok(())
    }

    /// Handshakes from now on use what `other` was loaded with, other files and another policy perhaps. Connections that are
    /// there already are left alone.
    pub fn replace(&self, other: &Self) {
        self.in_force.store(other.in_force.load_full());
    }

    /// Shakes hands with a client of HTTP: for a server beside the broker that has the same certificates. The caller bounds
    /// the time.
    pub async fn accept_https<S>(
        &self,
        socket: S,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<S>>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let config = Arc::clone(&self.in_force.load().http);
        TlsAcceptor::from(config).accept(socket).await
    }

    /// Shakes hands, and says which user name the client has proved to be its own.
    pub(super) async fn accept<S: ByteStream>(
        &self,
        socket: S,
        is_websocket: bool,
    ) -> Result<(TlsStream<S>, Option<Arc<str>>), Failure> {
        let configs = self.in_force.load_full();
        let config = if is_websocket { &configs.http } else { &configs.mqtt };
        let stream = TlsStream::accept(socket, Arc::clone(config)).await.map_err(explain)?;
        let certificate = stream.about().peer_certificates().and_then(<[_]>::first);
        let user_name = match (configs.options.user_name, certificate) {
            (Some(field), Some(certificate)) => Some(certificate::user_name(certificate, field)?),
            _ => None,
        };
        Ok((stream, user_name))
    }
}

impl Configs {
    fn load(options: TlsOptions) -> Result<Self, TlsError> {
        let config = options.server_config()?;
        let with_alpn = |name: &[u8]| {
            let mut config = config.clone();
            config.alpn_protocols = vec![name.to_vec()];
            Arc::new(config)
        };
        Ok(Self { mqtt: with_alpn(b"mqtt"), http: with_alpn(b"http/1.1"), options })
    }
}

/// A port that was mistaken for another is the commonest reason: it is said in so many words.
fn explain(error: io::Error) -> Failure {
    use tokio_rustls::rustls::Error::InvalidMessage as Invalid;
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    match cause {
        Some(Invalid(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion)) => {
            Failure::MistakenPort(
                "plain MQTT or HTTP on a TLS listener: let the client use TLS (mqtts, wss), or a listener without",
            )
        }
        _ => error.into(),
    }
}
