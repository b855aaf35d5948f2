//! [`IdentityProvider`]: who a client is. Several may be asked in turn: see [`crate::Access`].

use std::future::ready;

use mqtt_broker::{ConnectRefusal, ConnectRequest, HookFuture};

/// Says who a client is, or has no opinion.
pub trait IdentityProvider: Send + Sync + 'static {
    /// Looks at a CONNECT. It may await, but see [`mqtt_broker::Limits::hook_timeout`]; what blocks goes to a thread of
    /// its own.
    fn identify(&self, request: &ConnectRequest) -> HookFuture<Verdict>;
}

/// What a provider says about a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// It does not know this client: the next one is asked.
    NoOpinion,
    /// The client is who it says.
    Allow(Identity),
    /// It is not: no other is asked.
    Deny(ConnectRefusal),
}

/// What is known of a client that is let in.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Identity {}

/// Whoever has proved by a certificate who he is needs no password. Only on listeners that take user names from
/// certificates: elsewhere it has no opinion.
#[derive(Clone, Copy, Debug, Default)]
pub struct Certificates;

impl IdentityProvider for Certificates {
    fn identify(&self, request: &ConnectRequest) -> HookFuture<Verdict> {
        let is_proved = request.certificate_user_name.is_some();
        Box::pin(ready(if is_proved { Verdict::Allow(Identity::default()) } else { Verdict::NoOpinion }))
    }
}
