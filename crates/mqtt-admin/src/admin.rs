//! [`Admin`]: the API of one broker, and what all its requests share.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mqtt_broker::{Broker, SessionTotals};
use parking_lot::{Mutex, RwLock};
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::{
    auth::{Bearer, Tokens},
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
    /// Connections at a time; further ones wait.
    pub max_connections: usize,
    /// The body of a request, in bytes.
    pub max_body_size: usize,
    /// How long a request may take, the reading of its body included; live traces are not bound by it.
    pub request_timeout: Duration,
    /// Requests at a time that read long lists or act on many; further ones wait.
    pub max_heavy_requests: usize,
    /// How old the totals over all sessions may be that a request is told.
    pub totals_age: Duration,
    /// Live traces at a time; a further one is refused.
    pub max_traces: usize,
    /// What is known of clients' past, if the broker was built with this observer.
    pub events: Option<ClientEvents>,
}

impl Default for AdminOptions {
    fn default() -> Self {
        Self {
            max_connections: 256,
            max_body_size: 4 * 1024 * 1024,
            request_timeout: Duration::from_secs(30),
            max_heavy_requests: 2,
            totals_age: Duration::from_millis(500),
            max_traces: 16,
            events: None,
        }
    }
}

pub(crate) struct Shared {
    pub(crate) broker: Broker,
    pub(crate) operations: Arc<dyn Operations>,
    pub(crate) options: AdminOptions,
    pub(crate) clock: Clock,
    pub(crate) history: History,
    tokens: RwLock<Tokens>,
    heavy: Semaphore,
    /// The last that were made. Scrapers and dashboards all want them, and each time costs a look at every session.
    totals: Mutex<Option<(Instant, SessionTotals)>>,
    pub(crate) traces: Arc<Semaphore>,
}

impl Admin {
    /// The API of this broker, for the bearers of these tokens.
    pub fn new(broker: Broker, tokens: Tokens, operations: impl Operations, options: AdminOptions) -> Self {
        Self(Arc::new(Shared {
            broker,
            operations: Arc::new(operations),
            clock: Clock::new(),
            history: History::default(),
            tokens: RwLock::new(tokens),
            heavy: Semaphore::new(options.max_heavy_requests),
            totals: Mutex::new(None),
            traces: Arc::new(Semaphore::new(options.max_traces)),
            options,
        }))
    }

    /// Accepts these tokens from here on, and no others.
    pub fn set_tokens(&self, tokens: Tokens) {
        *self.0.tokens.write() = tokens;
    }

    pub(crate) fn bearer_of(&self, secret: &str) -> Option<Bearer> {
        self.0.tokens.read().bearer_of(secret)
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

    /// Does what may take long beside the broker's own threads, a few requests at a time.
    pub(crate) async fn heavy<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T> {
        let internal =
            || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the request failed; the log says why");
        let _turn = self.0.heavy.acquire().await.map_err(|_| internal())?;
        let admin = self.clone();
        spawn_blocking(move || work(&admin)).await.map_err(|_| internal())
    }
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}
