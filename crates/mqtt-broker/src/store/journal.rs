//! [`Journal`]: how one session's changes reach the store, if there is one and the session is persistent.

use std::sync::Arc;

use mqtt_codec::PacketId;

use super::{Mark, MessageKey, Record, SessionKey, Store};

/// Writes for one session; the journal of a session that is not durable writes nothing.
///
/// Every write is made under the lock of the session's state, so that the store sees a session's changes in their order.
#[derive(Clone, Default)]
pub(crate) struct Journal(Option<Box<Durable>>);

#[derive(Clone)]
struct Durable {
    store: Arc<dyn Store>,
    session: SessionKey,
}

impl Journal {
    pub(crate) fn new(store: Arc<dyn Store>, session: SessionKey) -> Self {
        Self(Some(Box::new(Durable { store, session })))
    }

    /// Whose changes it writes; `None` if it writes nothing.
    pub(crate) fn session(&self) -> Option<SessionKey> {
        self.0.as_deref().map(|durable| durable.session)
    }

    /// A message is sent under this identifier. Key 0 stands for a message that is not in the store.
    pub(crate) fn sent(&self, key: MessageKey, packet_id: PacketId) -> Mark {
        self.write_about(key, |session| Record::Sent { session, key, packet_id })
    }

    pub(crate) fn released(&self, key: MessageKey) -> Mark {
        self.write_about(key, |session| Record::Released { session, key })
    }

    pub(crate) fn done(&self, key: MessageKey) -> Mark {
        self.write_about(key, |session| Record::Done { session, key })
    }

    pub(crate) fn forgotten(&self, packet_id: PacketId) -> Mark {
        self.write(|session| Record::Forgotten { session, packet_id })
    }

    fn write_about(&self, key: MessageKey, record: impl FnOnce(SessionKey) -> Record) -> Mark {
        if key == 0 { Mark::NOTHING } else { self.write(record) }
    }

    fn write(&self, record: impl FnOnce(SessionKey) -> Record) -> Mark {
        match self.0.as_deref() {
            Some(Durable { store, session }) => store.append(vec![record(*session)]),
            None => Mark::NOTHING,
        }
    }
}
