//! [`Access`]: who may connect to a listener, and what he may do there.

use std::sync::Arc;

use mqtt_broker::{ClientInfo, ConnectRefusal, ConnectRequest};

use crate::{
    acl::Act,
    authorize::{Authorizer, CannotTell, Opinion, subject},
    identity::{Admitted, Identity, IdentityProvider, Verdict},
    throttle::{Throttle, ThrottleLimits},
};

/// The rules of one listener, or of several. They never change: a reload makes new ones.
///
/// Of those that are asked who a client is, the first one with an opinion decides; so does the first one that is asked
/// what it may do. When none has an opinion, the answer is no. But where nobody at all is asked what a client may do,
/// whoever is let in may do everything.
#[derive(Clone, Default)]
#[must_use]
pub struct Access {
    anonymous: bool,
    providers: Vec<Arc<dyn IdentityProvider>>,
    authorizers: Vec<Arc<dyn Authorizer>>,
    /// One of them lets a client have every message that matches its subscriptions.
    vouched: bool,
    failures: Failures,
    witness: Option<Arc<Witness>>,
}

/// Is told about whom was decided, and what and why, in words.
type Witness = dyn Fn(&ClientInfo, &str) + Send + Sync;

/// The count of failed attempts. All clones are the same: let it outlive a reload.
#[derive(Clone)]
pub struct Failures(Arc<Throttle>);

impl Failures {
    /// Bears so many.
    pub fn new(limits: ThrottleLimits) -> Self {
        Self(Arc::new(Throttle::new(limits)))
    }
}

impl Default for Failures {
    fn default() -> Self {
        Self::new(ThrottleLimits::default())
    }
}

impl Access {
    /// Rules by which nobody is let in.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets in whoever gives neither a user name nor a password. Who gives one has to prove it all the same.
    pub fn allow_anonymous(mut self, allowed: bool) -> Self {
        self.anonymous = allowed;
        self
    }

    /// Asks this one too who a client is, after those before.
    pub fn identify(mut self, provider: impl IdentityProvider) -> Self {
        self.providers.push(Arc::new(provider));
        self
    }

    /// Asks this one too what a client may do, after those before.
    pub fn authorize(mut self, authorizer: impl Authorizer) -> Self {
        self.vouched |= authorizer.vouches_for_deliveries();
        self.authorizers.push(Arc::new(authorizer));
        self
    }

    /// Tells who was let in by what, and who was refused by what: a line for an operator, without a secret in it.
    pub fn tell(mut self, witness: impl Fn(&ClientInfo, &str) + Send + Sync + 'static) -> Self {
        self.witness = Some(Arc::new(witness));
        self
    }

    /// Counts failed attempts here.
    pub fn failures(mut self, failures: &Failures) -> Self {
        self.failures = failures.clone();
        self
    }

    /// Whether a client may do something: [`Opinion::Allow`], [`Opinion::Deny`], or [`Opinion::Ask`] if that has to be found
    /// out by [`Access::ask`].
    pub fn judge(&self, client: &ClientInfo, act: Act<'_>) -> Opinion {
        if let Some(allowed) = by_own_rights(client, act) {
            return allowed;
        }
        let act = self.as_asked(act);
        let opinions = self.authorizers.iter().map(|authorizer| authorizer.judge(client, act));
        let first = { opinions }.find(|opinion| *opinion != Opinion::None);
        first.unwrap_or_else(|| self.last_word(act))
    }

    /// The same, with all the time that it takes. An error if somebody who has to be asked cannot tell.
    pub async fn ask(&self, client: &ClientInfo, act: Act<'_>) -> Result<bool, CannotTell> {
        if let Some(allowed) = by_own_rights(client, act) {
            return Ok(allowed == Opinion::Allow);
        }
        let act = self.as_asked(act);
        for authorizer in &self.authorizers {
            let opinion = match authorizer.judge(client, act) {
                Opinion::Ask => authorizer.ask(client, act).await?,
                opinion => opinion,
            };
            match opinion {
                Opinion::None => {}
                Opinion::Ask => return Err(CannotTell),
                opinion => return Ok(opinion == Opinion::Allow),
            }
        }
        Ok(self.last_word(act) == Opinion::Allow)
    }

    /// Who asks to connect, if he may.
    pub async fn admit(&self, request: &ConnectRequest) -> Result<Identity, ConnectRefusal> {
        let (client, failures) = (&request.client, &self.failures.0);
        let (now, user_name) = (client.connected_at, client.user_name.as_deref());
        let gives_something = user_name.is_some() || request.password.is_some();
        let attempt =
            if gives_something { failures.attempt(now, client.peer, user_name).await } else { None };
        if gives_something && attempt.is_none() {
            tracing::warn!(peer = %client.peer, user_name, "refused: too many failed attempts");
            self.testify(client, || "refused: too many failed attempts of its address or user".to_owned());
            return Err(ConnectRefusal::ServerUnavailable);
        }
        let admitted = self.ask_providers(request).await;
        match (&admitted, user_name) {
            (Ok(_), Some(user_name)) => failures.succeeded(client.peer, user_name),
            (Ok(_), None) | (Err(ConnectRefusal::ServerUnavailable), _) => {}
            (Err(_), _) if gives_something => failures.failed(now, client.peer, user_name),
            (Err(_), _) => {}
        }
        drop(attempt); // What became of it is known.
        let identity = admitted?;
        self.refuse_foreign_will(request, &identity).await?;
        Ok(identity)
    }

    /// Whether a client that is connected would be let in again, as far as that can be told.
    pub(crate) fn still_admits(&self, client: &ClientInfo) -> bool {
        let Some(admitted) = client.attached::<Admitted>() else { return true };
        match (&client.user_name, admitted.proof.as_deref()) {
            (Some(user_name), Some(proof)) => {
                self.providers.iter().any(|provider| provider.still_holds(user_name, proof))
            }
            _ => self.anonymous || !admitted.is_anonymous,
        }
    }

    async fn ask_providers(&self, request: &ConnectRequest) -> Result<Identity, ConnectRefusal> {
        for provider in &self.providers {
            match provider.identify(request).await {
                Verdict::NoOpinion => {}
                Verdict::Allow(identity) => {
                    self.testify(&request.client, || format!("let in by {}", provider.name()));
                    return Ok(identity);
                }
                Verdict::Deny(refusal) => {
                    self.testify(&request.client, || format!("refused by {}: {refusal}", provider.name()));
                    return Err(refusal);
                }
            }
        }
        let is_let_in = self.anonymous && request.client.user_name.is_none() && request.password.is_none();
        self.testify(&request.client, || {
            let said = if is_let_in { "let in without a name" } else { "refused: no rule lets it in" };
            said.to_owned()
        });
        match (&request.client.user_name, &request.password) {
            (None, None) if self.anonymous => Ok(Identity { is_anonymous: true, ..Identity::default() }),
            (None, None) => Err(ConnectRefusal::NotAuthorized),
            _ => Err(ConnectRefusal::BadUserNameOrPassword),
        }
    }

    fn testify(&self, client: &ClientInfo, decision: impl FnOnce() -> String) {
        if let Some(witness) = &self.witness {
            witness(client, &decision());
        }
    }

    /// Where a message is not judged when it leaves, a subscription is not granted for what is.
    fn as_asked<'a>(&self, act: Act<'a>) -> Act<'a> {
        match act {
            Act::Subscribe { filter } if self.vouched => Act::SubscribeWhole { filter },
            act => act,
        }
    }

    /// When nobody has an opinion.
    fn last_word(&self, act: Act<'_>) -> Opinion {
        let is_vouched_for = self.vouched && matches!(act, Act::Receive { .. });
        if self.authorizers.is_empty() || is_vouched_for { Opinion::Allow } else { Opinion::Deny }
    }

    /// A Will that may not be published is refused while there is somebody to tell.
    async fn refuse_foreign_will(
        &self,
        request: &ConnectRequest,
        identity: &Identity,
    ) -> Result<(), ConnectRefusal> {
        let Some(will) = &request.will else { return Ok(()) };
        let act = Act::Publish { topic: will.topic(), retain: will.retain() };
        let mut client = ClientInfo::clone(&request.client);
        client.user_name = identity.user_name.clone().or(client.user_name);
        let allowed = match &identity.acl {
            Some(acl) => Ok(acl.allows(subject(&client), act)),
            None => self.ask(&client, act).await,
        };
        match allowed {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(CannotTell) => return Err(ConnectRefusal::ServerUnavailable),
        }
        tracing::info!(
            client_id = &*request.client.client_id,
            topic = will.topic(),
            "refused: it may not publish its Will"
        );
        self.testify(&request.client, || format!("refused: it may not publish its Will to {}", will.topic()));
        Err(ConnectRefusal::NotAuthorized)
    }
}

/// What a client may do that brought its rights along: nobody else is asked about it.
fn by_own_rights(client: &ClientInfo, act: Act<'_>) -> Option<Opinion> {
    let acl = client.attached::<Admitted>()?.acl.as_deref()?;
    Some(if acl.allows(subject(client), act) { Opinion::Allow } else { Opinion::Deny })
}
