//! The HTTP request that becomes a WebSocket connection: which path, from which page, for which sub-protocol.

use std::io;

use async_tungstenite::{
    tokio::accept_hdr_async_with_config,
    tungstenite::{
        Error,
        error::ProtocolError,
        handshake::server::{ErrorResponse, Request, Response},
        http::{
            StatusCode,
            header::{CONNECTION, CONTENT_LENGTH, HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL},
        },
        protocol::WebSocketConfig,
    },
};

use super::super::{handshake::Failure, newcomer::Newcomer, transport::ByteStream, trusted::TrustedSources};
use super::{forwarded, read_ahead::ReadAhead};
use crate::client::Peer;

/// Whom each proxy had a request from.
const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// The sub-protocols that are MQTT: today's name, and that of MQTT 3.1.
const SUB_PROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

/// Which upgrades to WebSocket a listener grants.
///
/// A client has to offer the sub-protocol `mqtt` or `mqttv3.1`: one that offers another, or none, is refused with 400.
#[derive(Clone, Debug)]
#[must_use]
pub struct WebSocketOptions {
    paths: Vec<String>,
    origins: Option<Vec<String>>,
    proxies: TrustedSources,
}

impl Default for WebSocketOptions {
    fn default() -> Self {
        Self {
            paths: vec!["/mqtt".to_owned(), "/".to_owned()],
            origins: None,
            proxies: TrustedSources::default(),
        }
    }
}

impl WebSocketOptions {
    /// The paths that are served, without query; another one is answered with 404. Default: `/mqtt`, which most clients
    /// and brokers take, and `/`.
    pub fn paths<P: Into<String>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.paths = paths.into_iter().map(Into::into).collect();
        self
    }

    /// The web pages that may connect, as browsers spell them: `https://example.org`; others are answered with 403. Clients
    /// that are no browsers name no origin, and are let in. Default: all.
    pub fn origins<O: Into<String>>(mut self, origins: impl IntoIterator<Item = O>) -> Self {
        self.origins = Some(origins.into_iter().map(Into::into).collect());
        self
    }

    /// Takes the client's address from `X-Forwarded-For`, where one of these proxies sends the request: the last one in it
    /// that is not a proxy's, as a client can write there what it likes before that. Where it names none, the client is
    /// taken to be the proxy. The port is 0 unless the proxy writes one. Default: the field means nothing.
    pub fn forwarded_for(mut self, proxies: TrustedSources) -> Self {
        self.proxies = proxies;
        self
    }

    /// Whether this peer may say for whom it speaks.
    pub(in crate::net) fn trust(&self, peer: Peer) -> bool {
        self.proxies.trust(peer)
    }

    /// Asks about who sends a request by a proxy. Others were asked about when they were accepted.
    fn is_welcome(&self, request: &Request, newcomer: &mut Newcomer) -> bool {
        if !self.trust(newcomer.peer) {
            return true;
        }
        let fields = request.headers().get_all(X_FORWARDED_FOR);
        let fields: Vec<&str> = fields.iter().map(|field| field.to_str().unwrap_or_default()).collect();
        if let Some(client) = forwarded::client(&fields, &self.proxies) {
            newcomer.peer = Peer::Inet(client);
        }
        newcomer.is_welcome()
    }

    fn judge(&self, request: &Request) -> Result<HeaderValue, (StatusCode, &'static str)> {
        if !self.paths.iter().any(|path| path == request.uri().path()) {
            return Err((StatusCode::NOT_FOUND, "no MQTT at this path\n"));
        }
        if let (Some(allowed), Some(origin)) = (&self.origins, request.headers().get(ORIGIN))
            && !allowed.iter().any(|allowed| allowed.as_bytes().eq_ignore_ascii_case(origin.as_bytes()))
        {
            return Err((StatusCode::FORBIDDEN, "not from this origin\n"));
        }
        // [MQTT-6.0.0-4]
        let offers = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
        let offered =
            offers.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        let chosen =
            offered.map(str::trim).find_map(|name| SUB_PROTOCOLS.into_iter().find(|ours| *ours == name));
        chosen
            .map(HeaderValue::from_static)
            .ok_or((StatusCode::BAD_REQUEST, "offer the sub-protocol \"mqtt\" or \"mqttv3.1\"\n"))
    }
}

/// Reads the request, answers it, and judges it in between. Gives the socket back: the first frame is read next.
pub(super) async fn upgrade<S: ByteStream>(
    socket: S,
    options: &WebSocketOptions,
    config: WebSocketConfig,
    newcomer: &mut Newcomer,
) -> Result<ReadAhead<S>, Failure> {
    let mut refusal = None;
    #[expect(clippy::result_large_err, reason = "the signature is the library's")]
    let answer = |request: &Request, mut response: Response| {
        if !options.is_welcome(request, newcomer) {
            refusal = Some(Failure::Unwelcome);
            return Err(refuse(StatusCode::FORBIDDEN, "not from this address\n"));
        }
        match options.judge(request) {
            Ok(sub_protocol) => {
                response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, sub_protocol);
                Ok(response)
            }
            Err((status, why)) => {
                let error = format!("upgrade refused: {}", why.trim_end());
                refusal = Some(io::Error::new(io::ErrorKind::InvalidInput, error).into());
                Err(refuse(status, why))
            }
        }
    };
    let outcome = accept_hdr_async_with_config(ReadAhead::new(socket), answer, Some(config)).await;
    // The library has read nothing beyond the request: it refuses one with more behind it.
    let socket = outcome.map(|upgraded| upgraded.into_inner().into_inner());
    socket.map_err(|error| refusal.unwrap_or_else(|| explain(error)))
}

fn explain(error: Error) -> Failure {
    match error {
        Error::Io(error) => error.into(),
        Error::Protocol(ProtocolError::HttparseError(_)) => Failure::MistakenPort(
            "no HTTP on a WebSocket listener, but plain MQTT or TLS: let the client use ws, or another listener",
        ),
        error => io::Error::new(io::ErrorKind::InvalidData, error).into(),
    }
}

fn refuse(status: StatusCode, why: &str) -> ErrorResponse {
    let mut response = ErrorResponse::new(Some(why.to_owned()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(why.len()));
    response
}
