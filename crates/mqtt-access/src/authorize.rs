//! [`Authorizer`]: what a client may do. Several may be asked in turn: see [`crate::Access`].

use std::{
    future::{Future, ready},
    pin::Pin,
};

use mqtt_broker::ClientInfo;

use crate::acl::{Acl, Act, Because, Subject};

/// Says whether a client may do something, or has no opinion.
pub trait Authorizer: Send + Sync + 'static {
    /// Looks at one act of a client, in the middle of the data path: it must not block. What takes time is
    /// [`Opinion::Ask`].
    fn judge(&self, client: &ClientInfo, act: Act<'_>) -> Opinion;

    /// Finds out what `judge` could not tell. Meanwhile the client waits, and nobody else.
    fn ask<'a>(&'a self, client: &'a ClientInfo, act: Act<'a>) -> AskFuture<'a> {
        Box::pin(ready(Ok(self.judge(client, act))))
    }

    /// Whether whom it lets subscribe may have every message that matches, because it cannot be asked about each. Then the
    /// others are asked for [`Act::SubscribeWhole`], and a delivery that none of them has an opinion about is allowed.
    fn vouches_for_deliveries(&self) -> bool {
        false
    }
}

/// What is being found out.
pub type AskFuture<'a> = Pin<Box<dyn Future<Output = Result<Opinion, CannotTell>> + Send + 'a>>;

/// Nobody could find out. The client is not told yes, nor is it told no: its connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CannotTell;

/// What an authorizer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Opinion {
    /// It has nothing to say: the next one is asked.
    None,
    /// The client may.
    Allow,
    /// It may not: no other is asked.
    Deny,
    /// It takes time to find out, so not in `judge`: [`Authorizer::ask`] tells. A delivery cannot wait, and does not leave.
    Ask,
}

impl Authorizer for Acl {
    /// Where no line fits, it has no opinion: the last word is a refusal anyway.
    fn judge(&self, client: &ClientInfo, act: Act<'_>) -> Opinion {
        let ruling = self.explain(subject(client), act);
        match ruling.because {
            Because::NoLine => Opinion::None,
            _ if ruling.allowed => Opinion::Allow,
            _ => Opinion::Deny,
        }
    }
}

pub(crate) fn subject(client: &ClientInfo) -> Subject<'_> {
    Subject { client_id: &client.client_id, user_name: client.user_name.as_deref() }
}
