//! The connections of the API: how many, how long, and over which transport.

mod paced;
mod shortage;
mod strangers;

use std::{
    future::pending,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, extract::Request};
use hyper::{
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use mqtt_broker::Tls;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::strangers::Guest;
use self::{paced::Paced, shortage::Shortage, strangers::Strangers};
use crate::{admin::Admin, api};

/// For the head of a request to come; an idle connection is closed after it too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// What a connection may buffer of a request's head.
const BUFFER: usize = 64 * 1024;
/// For the requests under way at a shutdown; then what is left of them is dropped, live streams too.
const FAREWELL: Duration = Duration::from_secs(2);
/// For all that is dropped to be gone.
const LEAVE: Duration = Duration::from_secs(1);

impl Admin {
    /// Serves the API over plain HTTP on a listener, until `stop` is cancelled.
    pub async fn serve(&self, listener: TcpListener, stop: CancellationToken) {
        let patience = self.patience();
        let serve =
            move |socket, router, guest, stop| serve_connection(socket, router, guest, patience, stop);
        self.accept(listener, stop, serve).await;
    }

    /// The same over TLS, with whatever certificates `tls` has at each handshake.
    pub async fn serve_tls(&self, listener: TcpListener, tls: Tls, stop: CancellationToken) {
        let patience = self.patience();
        let shake_hands = move |socket, router, guest, stop: CancellationToken| {
            let tls = tls.clone();
            async move {
                let handshake = timeout(HANDSHAKE_TIMEOUT, tls.accept_https(socket));
                match stop.run_until_cancelled(handshake).await {
                    Some(Ok(Ok(socket))) => serve_connection(socket, router, guest, patience, stop).await,
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
        serve: impl Fn(TcpStream, Router, Guest, CancellationToken) -> F,
    ) {
        let router = api::router(self);
        let places = Arc::new(Semaphore::new(self.shared().options.max_connections));
        let (strangers, mut shortage) = (Strangers::default(), Shortage::default());
        let tasks = TaskTracker::new();
        let (admin, until) = (self.clone(), stop.clone());
        tasks.spawn(async move { admin.shared().history.keep(&admin, until).await });
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                () = wait_until(shortage.may_end_at()) => {
                    tell_of_end(&mut shortage);
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, _)) => {
                    shortage.eases();
                    if places.available_permits() == 0 {
                        strangers.send_one_away();
                    }
                    let place = stop.run_until_cancelled(Arc::clone(&places).acquire_owned());
                    let Some(Ok(place)) = place.await else { break };
                    let guest = strangers.welcome();
                    let connection = serve(socket, router.clone(), guest.clone(), stop.clone());
                    tasks.spawn(async move {
                        guest.stays_for(connection).await;
                        drop(place);
                    });
                }
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => sleep(tell_of(&mut shortage, &error)).await,
            }
        }
        tasks.close();
        let _ = timeout(FAREWELL + LEAVE, tasks.wait()).await;
    }
}

/// Says how long to wait.
fn tell_of(shortage: &mut Shortage, error: &io::Error) -> Duration {
    let (pause, begins) = shortage.fails(Instant::now());
    if begins {
        tracing::warn!(%error, "the API cannot accept connections for the moment; raise the limit of open files");
    }
    pause
}

fn tell_of_end(shortage: &mut Shortage) {
    if let Some(past) = shortage.end(Instant::now()) {
        let (lasted, failures) = (past.lasted, past.failures);
        tracing::warn!(?lasted, failures, "the API accepts connections again");
    }
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => pending().await,
    }
}

/// Errors of `accept` that say that whoever came went away at once.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

async fn serve_connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    socket: S,
    router: Router,
    guest: Guest,
    patience: Duration,
    stop: CancellationToken,
) {
    let socket = TokioIo::new(Paced::new(socket, patience));
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<_>| {
        request.extensions_mut().insert(guest.clone());
        router.call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(BUFFER);
    let connection = http.serve_connection(socket, service);
    tokio::pin!(connection);
    let outcome = tokio::select! {
        outcome = &mut connection => outcome,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // A live stream never ends by itself.
            timeout(FAREWELL, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection of the API");
    }
}
