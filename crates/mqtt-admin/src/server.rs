//! The connections of the API: how many, how long, and over which transport.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use mqtt_broker::Tls;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{admin::Admin, api};

/// For the head of a request to come; an idle connection is closed after it too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// What a connection may buffer of a request's head.
const BUFFER: usize = 64 * 1024;
const OUT_OF_RESOURCES: Duration = Duration::from_millis(100);
/// For the requests under way at a shutdown.
const FAREWELL: Duration = Duration::from_secs(2);

impl Admin {
    /// Serves the API over plain HTTP on a listener, until `stop` is cancelled.
    pub async fn serve(&self, listener: TcpListener, stop: CancellationToken) {
        let patience = self.patience();
        let serve = move |socket, router, stop| serve_connection(socket, router, patience, stop);
        self.accept(listener, stop, serve).await;
    }

    /// The same over TLS, with whatever certificates `tls` has at each handshake.
    pub async fn serve_tls(&self, listener: TcpListener, tls: Tls, stop: CancellationToken) {
        let patience = self.patience();
        let shake_hands = move |socket, router, stop: CancellationToken| {
            let tls = tls.clone();
            async move {
                let handshake = timeout(HANDSHAKE_TIMEOUT, tls.accept_https(socket));
                match stop.run_until_cancelled(handshake).await {
                    Some(Ok(Ok(socket))) => serve_connection(socket, router, patience, stop).await,
                    Some(Ok(Err(error))) => tracing::debug!(%error, "a TLS handshake of the API"),
                    Some(Err(_)) | None => {}
                }
            }
        };
        self.accept(listener, stop, shake_hands).await;
    }

    fn patience(&self) -> Duration {
        self.shared().options.request_timeout
    }

    async fn accept<F: Future<Output = ()> + Send + 'static>(
        &self,
        listener: TcpListener,
        stop: CancellationToken,
        serve: impl Fn(TcpStream, Router, CancellationToken) -> F,
    ) {
        let router = api::router(self);
        let places = Arc::new(Semaphore::new(self.shared().options.max_connections));
        let tasks = TaskTracker::new();
        let (admin, until) = (self.clone(), stop.clone());
        tasks.spawn(async move { admin.shared().history.keep(&admin, until).await });
        while let Some(Ok(place)) = stop.run_until_cancelled(Arc::clone(&places).acquire_owned()).await {
            let Some(accepted) = stop.run_until_cancelled(listener.accept()).await else { break };
            match accepted {
                Ok((socket, _)) => {
                    let connection = serve(socket, router.clone(), stop.clone());
                    tasks.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the API cannot accept connections for the moment");
                    sleep(OUT_OF_RESOURCES).await;
                }
            }
        }
        tasks.close();
        let _ = timeout(FAREWELL, tasks.wait()).await;
    }
}

async fn serve_connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    socket: S,
    router: Router,
    patience: Duration,
    stop: CancellationToken,
) {
    // Whoever does not read would have a connection for as long as he likes, without a token.
    let mut socket = TimeoutStream::new(socket);
    socket.set_write_timeout(Some(patience));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(BUFFER);
    let connection = http.serve_connection(TokioIo::new(Box::pin(socket)), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let outcome = tokio::select! {
        outcome = &mut connection => outcome,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection of the API");
    }
}
