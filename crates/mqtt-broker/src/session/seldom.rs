//! [`Seldom`]: the parts of a session's state of which most sessions have none.

use std::time::Instant;

use super::{Losses, Received, RetainedDue, Will};
use crate::close_reason::CloseReason;

/// Behind one pointer for all of them, and owns memory only while there is one.
#[derive(Default)]
pub(crate) struct Seldom(Option<Box<Parts>>);

#[derive(Default)]
pub(crate) struct Parts {
    /// The session is over: nothing may be put into its outbox any more. Why its last connection, if it has one, must end.
    pub(super) ended: Option<Box<CloseReason>>,
    /// Set by others: the connection is to end for this reason.
    pub(super) closing: Option<Box<CloseReason>>,
    /// Published when the connection ends without DISCONNECT [MQTT-3.1.2-8].
    pub(super) will: Option<Will>,
    /// `None` while its client is connected.
    pub(super) absence: Option<Absence>,
    pub(crate) losses: Losses,
    pub(crate) received: Received,
    pub(crate) retained_due: RetainedDue,
}

/// A client that is not connected.
pub(super) struct Absence {
    /// When the last connection ended; `None` before this process knew of any moment.
    pub(super) since: Option<Instant>,
    /// When it has been absent for too long; `None` is never.
    pub(super) expires_at: Option<Instant>,
}

impl Seldom {
    pub(crate) fn get(&self) -> Option<&Parts> {
        self.0.as_deref()
    }

    /// Changes one of them, which is made if it is not there.
    pub(crate) fn change<T>(&mut self, change: impl FnOnce(&mut Parts) -> T) -> T {
        let outcome = change(self.0.get_or_insert_default());
        self.give_back();
        outcome
    }

    /// Changes one of them, unless there is none.
    pub(crate) fn change_if_any<T: Default>(&mut self, change: impl FnOnce(&mut Parts) -> T) -> T {
        let Some(parts) = &mut self.0 else { return T::default() };
        let outcome = change(parts);
        self.give_back();
        outcome
    }

    fn give_back(&mut self) {
        if self.0.as_ref().is_some_and(|parts| parts.is_empty()) {
            self.0 = None;
        }
    }
}

impl Parts {
    fn is_empty(&self) -> bool {
        let Self { ended, closing, will, absence, losses, received, retained_due } = self;
        let connections = ended.is_none() && closing.is_none() && will.is_none() && absence.is_none();
        connections && losses.is_empty() && received.is_empty() && retained_due.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use mqtt_codec::{QoS, TopicFilter};

    use super::*;

    #[test]
    fn nothing_is_left_of_what_is_over() {
        let (mut seldom, filter) = (Seldom::default(), TopicFilter::try_from("a").unwrap());
        assert!(seldom.change_if_any(|parts| parts.retained_due.take()).is_none() && seldom.get().is_none());
        seldom.change(|parts| parts.retained_due.add(&filter, QoS::AtMostOnce));
        seldom.change(|parts| parts.absence = Some(Absence { since: None, expires_at: None }));
        assert!(seldom.change_if_any(|parts| parts.retained_due.take()).is_some());
        assert!(seldom.get().is_some_and(|parts| parts.absence.is_some()));
        seldom.change(|parts| parts.absence = None);
        assert!(seldom.get().is_none());
    }
}
