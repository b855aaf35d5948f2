//! [`Authorizer`]: what a client may do. Several may be asked in turn: see [`crate::Access`].

use mqtt_broker::ClientInfo;

use crate::acl::{Acl, Act, Because, Subject};

/// Says whether a client may do something, or has no opinion. Asked in the middle of the data path: it must not block.
pub trait Authorizer: Send + Sync + 'static {
    /// Looks at one act of a client.
    fn judge(&self, client: &ClientInfo, act: Act<'_>) -> Opinion;
}

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
