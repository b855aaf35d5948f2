//! [`Http`]: asks a server of the operator's, by HTTP, who a client is and what it may do.
//!
//! What cannot be found out is refused: a server that is away, slow or wrong lets nobody in. What the questions and answers
//! look like is in `docs/access.md`.

mod memory;
mod question;
mod server;

use std::{
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

use mqtt_broker::{ClientInfo, ConnectRefusal, ConnectRequest, HookFuture};

use self::{
    memory::Memory,
    question::{Allowed, Answer},
    server::Server,
};
use crate::{
    acl::Act,
    authorize::{AskFuture, Authorizer, CannotTell, Opinion},
    identity::{Identity, IdentityProvider, Verdict},
};

/// How a server is asked.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpOptions {
    /// How long an answer may take, the wait for a turn included. Keep it below [`mqtt_broker::Limits::hook_timeout`].
    /// Default 2 s.
    pub timeout: Duration,
    /// Questions at a time; 64 may wait for each of them, and further ones are not asked. Default 32.
    pub max_concurrent: NonZeroUsize,
    /// How long an answer is remembered; zero is not at all. Default 1 minute.
    pub cache_ttl: Duration,
    /// Answers that are remembered; those longest not asked for are forgotten. Default 10,000.
    pub cache_entries: NonZeroUsize,
    /// Sent along as `Authorization: Bearer …`, so that the server knows who asks. Default none.
    pub bearer_token: Option<String>,
    /// The authorities that sign the server's certificate, as PEM. Default those of the system.
    pub authorities: Option<Vec<u8>>,
}

/// A server that says who clients are, as an [`IdentityProvider`], or what they may do, as an [`Authorizer`]. All clones are
/// the same: they remember the same answers and have the same turns.
///
/// It is not asked about deliveries: whom it lets subscribe, it lets have what matches.
#[derive(Clone)]
pub struct Http(Arc<Inner>);

struct Inner {
    server: Server,
    options: HttpOptions,
    /// What was asked is remembered by two hashes that nobody else can compute.
    keys: [RandomState; 2],
    /// No refusals: with those, strangers could drive out everybody else.
    admitted: Memory<Identity>,
    rights: Memory<Opinion>,
}

/// Why a server cannot be asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HttpError {
    /// Its address is none of a web server, or holds a password.
    Url(String),
    /// The bearer token has a character in it that cannot be sent.
    BearerToken,
    /// The authorities are no certificates, or there are none on this machine.
    Tls(String),
}

impl Http {
    /// Whether there can be such a server.
    pub fn check_url(url: &str) -> Result<(), HttpError> {
        server::check_url(url).map(drop)
    }

    /// Whether both ask the same server in the same way: then there is no need to forget what one of them knows.
    pub fn asks_like(&self, other: &Self) -> bool {
        self.0.server.url() == other.0.server.url() && self.0.options == other.0.options
    }

    /// Asks the server at this address, `http://…` or `https://…`; not before there is something to ask.
    pub fn new(url: &str, options: &HttpOptions) -> Result<Self, HttpError> {
        Ok(Self(Arc::new(Inner {
            server: Server::new(url, options)?,
            options: options.clone(),
            keys: [RandomState::new(), RandomState::new()],
            admitted: Memory::new(options.cache_entries, options.cache_ttl),
            rights: Memory::new(options.cache_entries, options.cache_ttl),
        })))
    }
}

impl IdentityProvider for Http {
    fn name(&self) -> &'static str {
        "the web server"
    }

    fn identify(&self, request: &ConnectRequest) -> HookFuture<Verdict> {
        let (inner, request) = (Arc::clone(&self.0), request.clone());
        Box::pin(async move { inner.identify(&request).await })
    }
}

impl Authorizer for Http {
    fn judge(&self, client: &ClientInfo, act: Act<'_>) -> Opinion {
        match act {
            Act::Receive { .. } => Opinion::None,
            _ => self.0.rights.get(self.0.key_of_act(client, act), Instant::now()).unwrap_or(Opinion::Ask),
        }
    }

    fn ask<'a>(&'a self, client: &'a ClientInfo, act: Act<'a>) -> AskFuture<'a> {
        Box::pin(self.0.ask(client, act))
    }

    fn vouches_for_deliveries(&self) -> bool {
        true
    }
}

impl Inner {
    async fn identify(&self, request: &ConnectRequest) -> Verdict {
        let (key, now) = (self.key_of_connect(request), Instant::now());
        let known = self.admitted.get(key, now);
        if let Some(identity) = known.filter(|known| known.ends_at.is_none_or(|end| now < end)) {
            return Verdict::Allow(identity);
        }
        let Some(question) = question::connect(request) else {
            return Verdict::Deny(ConnectRefusal::BadUserNameOrPassword);
        };
        match self.server.ask(question).await {
            Ok(Answer::Allow(Allowed { user_name, acl, expires_in })) => {
                let ends_at = expires_in.and_then(|time| now.checked_add(time));
                let (user_name, acl) = (user_name.map(Into::into), acl.map(Arc::new));
                let identity = Identity { user_name, acl, ends_at, ..Identity::default() };
                self.admitted.put(key, identity.clone(), now);
                Verdict::Allow(identity)
            }
            Ok(Answer::Deny) if request.client.user_name.is_none() && request.password.is_none() => {
                Verdict::Deny(ConnectRefusal::NotAuthorized)
            }
            Ok(Answer::Deny) => Verdict::Deny(ConnectRefusal::BadUserNameOrPassword),
            Ok(Answer::Ignore) => Verdict::NoOpinion,
            Err(CannotTell) => Verdict::Deny(ConnectRefusal::ServerUnavailable),
        }
    }

    async fn ask(&self, client: &ClientInfo, act: Act<'_>) -> Result<Opinion, CannotTell> {
        let now = Instant::now();
        let opinion = match self.server.ask(question::act(client, act)).await? {
            Answer::Allow(_) => Opinion::Allow,
            Answer::Deny => Opinion::Deny,
            Answer::Ignore => Opinion::None,
        };
        self.rights.put(self.key_of_act(client, act), opinion, now);
        Ok(opinion)
    }

    fn key_of_connect(&self, request: &ConnectRequest) -> u128 {
        let ConnectRequest { password, certificate_user_name, .. } = request;
        self.key((who(&request.client), password, certificate_user_name))
    }

    fn key_of_act(&self, client: &ClientInfo, act: Act<'_>) -> u128 {
        let (topic, right) = match act {
            Act::Publish { topic, retain } => (topic, u8::from(retain)),
            Act::Subscribe { filter } | Act::SubscribeWhole { filter } => (filter, 2),
            Act::Receive { topic } => (topic, 3),
        };
        self.key((who(client), topic, right))
    }

    fn key(&self, question: impl Hash) -> u128 {
        let [high, low] = self.keys.each_ref().map(|key| u128::from(key.hash_one(&question)));
        high << 64 | low
    }
}

/// What a question tells of a client.
fn who(client: &ClientInfo) -> impl Hash + '_ {
    let address = match client.peer {
        mqtt_broker::Peer::Inet(address) => Some(address.ip()),
        _ => None,
    };
    (&client.client_id, &client.user_name, &client.listener, address)
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(2),
            max_concurrent: NonZeroUsize::new(32).unwrap_or(NonZeroUsize::MIN),
            cache_ttl: Duration::from_mins(1),
            cache_entries: NonZeroUsize::new(10_000).unwrap_or(NonZeroUsize::MIN),
            bearer_token: None,
            authorities: None,
        }
    }
}

impl fmt::Debug for HttpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { timeout, max_concurrent, cache_ttl, cache_entries, bearer_token, .. } = self;
        f.debug_struct("HttpOptions")
            .field("timeout", timeout)
            .field("max_concurrent", max_concurrent)
            .field("cache_ttl", cache_ttl)
            .field("cache_entries", cache_entries)
            .field("has_bearer_token", &bearer_token.is_some())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(what) => write!(f, "no address of a web server: {what}"),
            Self::BearerToken => {
                f.write_str("the bearer token cannot be sent: it has to be one line of ASCII")
            }
            Self::Tls(what) => write!(f, "cannot speak TLS: {what}"),
        }
    }
}

impl std::error::Error for HttpError {}
