//! [`Admin`]: the API of one broker, and what all its requests share.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mqtt_broker::{Broker, SessionTotals};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::spawn_blocking,
};
use utoipa::ToSchema;

use crate::{
    auth::{Bearer, Role, Tokens},
    clock::Clock,
    events::ClientEvents,
    history::History,
    operations::Operations,
    problem::{Problem, Result},
};
use axum::http::StatusCode;

/// The API of one broker. Cheap to clone: all clones are the same.
#[derive(Clone)]
pub struct Admin(Arc<Shared>);

/// What bounds the API.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AdminOptions {
    /// Connections at a time. Beyond them whoever comes takes the place of the oldest one that has shown no token, and waits if
    /// there is none.
    pub max_connections: usize,
    /// The body of a request, in bytes.
    pub max_body_size: usize,
    /// How long a request may take, the reading of its body included; live traces are not bound by it. And how long whoever
    /// asked may be waited for while an answer is sent, beyond a second for each 16 KiB that he reads: then the connection is
    /// closed, traces too.
    pub request_timeout: Duration,
    /// The same for a backup, one of which is made at a time.
    pub backup_timeout: Duration,
    /// Requests at a time that read long lists or act on many; further ones wait.
    pub max_heavy_requests: usize,
    /// How old the totals over all sessions may be that a request is told.
    pub totals_age: Duration,
    /// Live streams at a time, traces and watched messages; a further one is refused.
    pub max_streams: usize,
    /// What is known of clients' past, if the broker was built with this observer.
    pub events: Option<ClientEvents>,
    /// The broker's listeners that the dashboard's console may connect to.
    pub websockets: Vec<WebSocketPlace>,
}

/// A WebSocket listener of the broker, on the host that the API is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct WebSocketPlace {
    /// Its port.
    pub port: u16,
    /// Whether it speaks TLS.
    pub secure: bool,
    /// A path that it serves: `/mqtt`.
    pub path: String,
}

impl Default for AdminOptions {
    fn default() -> Self {
        Self {
            max_connections: 256,
            max_body_size: 4 * 1024 * 1024,
            request_timeout: Duration::from_secs(30),
            backup_timeout: Duration::from_hours(1),
            max_heavy_requests: 2,
            totals_age: Duration::from_millis(500),
            max_streams: 16,
            events: None,
            websockets: Vec::new(),
        }
    }
}

pub(crate) struct Shared {
    pub(crate) broker: Broker,
    pub(crate) operations: Arc<dyn Operations>,
    pub(crate) options: AdminOptions,
    pub(crate) clock: Clock,
    pub(crate) history: History,
    /// Watched by every live answer, so that it ends when its token does.
    tokens: watch::Sender<Tokens>,
    heavy: Arc<Semaphore>,
    backup: Arc<Semaphore>,
    /// The last that were made. Scrapers and dashboards all want them, and each time costs a look at every session.
    totals: Mutex<Option<(Instant, SessionTotals)>>,
    streams: Arc<Semaphore>,
}

impl Admin {
    /// The API of this broker, for the bearers of these tokens.
    pub fn new(broker: Broker, tokens: Tokens, operations: impl Operations, options: AdminOptions) -> Self {
        Self(Arc::new(Shared {
            broker,
            operations: Arc::new(operations),
            clock: Clock::new(),
            history: History::default(),
            tokens: watch::Sender::new(tokens),
            heavy: Arc::new(Semaphore::new(options.max_heavy_requests)),
            backup: Arc::new(Semaphore::new(1)),
            totals: Mutex::new(None),
            streams: Arc::new(Semaphore::new(options.max_streams)),
            options,
        }))
    }

    /// Accepts these tokens from here on, and no others. Live streams whose token is not among them, or no longer allows them,
    /// end.
    pub fn set_tokens(&self, tokens: Tokens) {
        self.0.tokens.send_replace(tokens);
    }

    pub(crate) fn bearer_of(&self, secret: &str) -> Option<Bearer> {
        self.0.tokens.borrow().bearer_of(secret)
    }

    /// Waits until this token does not, or no longer, allow what takes this role.
    pub(crate) fn revoked(&self, secret: String, role: Role) -> impl Future<Output = ()> + Send + use<> {
        let mut tokens = self.0.tokens.subscribe();
        async move {
            let is_revoked =
                |tokens: &Tokens| tokens.bearer_of(&secret).is_none_or(|bearer| bearer.role < role);
            drop(tokens.wait_for(is_revoked).await); // An error: there is no API any more, so no token either.
        }
    }

    pub(crate) fn broker(&self) -> &Broker {
        &self.0.broker
    }

    /// What waits in all sessions together, as of this moment or shortly before. May take long: for [`Admin::heavy`].
    pub(crate) fn session_totals(&self) -> SessionTotals {
        let mut kept = self.0.totals.lock();
        match *kept {
            Some((at, totals)) if at.elapsed() < self.0.options.totals_age => totals,
            _ => {
                let totals = self.0.broker.session_totals();
                *kept = Some((Instant::now(), totals));
                totals
            }
        }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0
    }

    /// A place among the live streams, for as long as it is held.
    pub(crate) fn stream(&self) -> Result<OwnedSemaphorePermit> {
        Arc::clone(&self.0.streams).try_acquire_owned().map_err(|_| {
            let detail = "there are as many live streams as there may be; close one";
            Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
        })
    }

    /// Does what may take long beside the broker's own threads, a few requests at a time.
    pub(crate) async fn heavy<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T> {
        let turn = Arc::clone(&self.0.heavy).acquire_owned().await.map_err(|_| internal())?;
        self.aside(turn, work).await
    }

    /// Does what may take very long, if nobody does so already.
    pub(crate) async fn backup<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T> {
        let turn = Arc::clone(&self.0.backup).try_acquire_owned();
        let turn =
            turn.map_err(|_| Problem::new(StatusCode::CONFLICT, "a backup is being made; wait for its end"))?;
        self.aside(turn, work).await
    }

    /// The turn ends with the work, also when whoever asked for it has gone.
    async fn aside<T: Send + 'static>(
        &self,
        turn: OwnedSemaphorePermit,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T> {
        let admin = self.clone();
        let done = spawn_blocking(move || {
            let _turn = turn;
            work(&admin)
        });
        done.await.map_err(|_| internal())
    }
}

fn internal() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the request failed; the log says why")
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}
