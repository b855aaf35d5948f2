//! [`IdentityProvider`]: who a client is. Several may be asked in turn: see [`crate::Access`].

use std::{future::ready, sync::Arc, time::Instant};

use mqtt_broker::{Admission, ConnectRefusal, ConnectRequest, HookFuture};

use crate::acl::Acl;

/// Says who a client is, or has no opinion.
pub trait IdentityProvider: Send + Sync + 'static {
    /// Looks at a CONNECT. It may await, but see [`mqtt_broker::Limits::hook_timeout`]; what blocks goes to a thread of
    /// its own.
    fn identify(&self, request: &ConnectRequest) -> HookFuture<Verdict>;

    /// What it is, for whoever asks which rule has decided about a client; it follows "by".
    fn name(&self) -> &'static str {
        "another provider"
    }

    /// Whether a user may stay who was let in by this [`Identity::proof`], of this provider or of the one that it has
    /// replaced. Only of proofs that it gives: of others it knows nothing.
    fn still_holds(&self, user_name: &str, proof: &str) -> bool {
        let _ = (user_name, proof);
        false
    }
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
pub struct Identity {
    /// Its user name, if it is not that of its CONNECT.
    pub user_name: Option<Arc<str>>,
    /// What it may do. No authorizer is asked about a client that brings its rights along.
    pub acl: Option<Arc<Acl>>,
    /// When it is disconnected.
    pub ends_at: Option<Instant>,
    /// What its admission rests on, if a reload may take that away: see [`IdentityProvider::still_holds`].
    pub proof: Option<Arc<str>>,
    /// Nobody has vouched for it: it is let in without a name.
    pub(crate) is_anonymous: bool,
}

/// What is attached to a client that is connected.
pub(crate) struct Admitted {
    pub(crate) acl: Option<Arc<Acl>>,
    pub(crate) proof: Option<Arc<str>>,
    pub(crate) is_anonymous: bool,
}

impl Identity {
    pub(crate) fn into_admission(self) -> Admission {
        let Self { user_name, acl, ends_at, proof, is_anonymous } = self;
        let mut admission = Admission::default();
        admission.user_name = user_name;
        admission.ends_at = ends_at;
        if acl.is_some() || proof.is_some() || is_anonymous {
            admission.attach(Arc::new(Admitted { acl, proof, is_anonymous }));
        }
        admission
    }
}

/// Whoever has proved by a certificate who he is needs no password. Only on listeners that take user names from
/// certificates: elsewhere it has no opinion.
#[derive(Clone, Copy, Debug, Default)]
pub struct Certificates;

impl IdentityProvider for Certificates {
    fn name(&self) -> &'static str {
        "its certificate"
    }

    fn identify(&self, request: &ConnectRequest) -> HookFuture<Verdict> {
        let is_proved = request.certificate_user_name.is_some();
        Box::pin(ready(if is_proved { Verdict::Allow(Identity::default()) } else { Verdict::NoOpinion }))
    }
}
