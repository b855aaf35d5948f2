//! [`Journal`]: how one session's changes reach the store, if there is one and the session is persistent.

use std::sync::Arc;

use mqtt_codec::PacketId;

use super::{Mark, MessageKey, Record, SessionKey, Store};

/// Writes for one session; the journal of a session that is not durable writes nothing.
///
/// Every write is made under the lock of the session's state, so that the store sees a session's changes in their order.
#[derive(Default)]
pub(crate) struct Journal(Option<Box<Inner>>);

/// Behind a pointer, because without a store there is nothing to write, and nothing to wait for.
#[derive(Default)]
struct Inner {
    durable: Option<Durable>,
    hold: Mark,
}

struct Durable {
    store: Arc<dyn Store>,
    session: SessionKey,
}

impl Journal {
    pub(crate) fn new(store: Arc<dyn Store>, session: SessionKey) -> Self {
        Self(Some(Box::new(Inner { durable: Some(Durable { store, session }), hold: Mark::NOTHING })))
    }

    /// Whose changes it writes; `None` if it writes nothing.
    pub(crate) fn session(&self) -> Option<SessionKey> {
        self.durable().map(|durable| durable.session)
    }

    /// What the session's messages have to wait for.
    pub(crate) fn hold(&self) -> Mark {
        self.0.as_ref().map_or(Mark::NOTHING, |inner| inner.hold)
    }

    /// They wait for this one too. A session that is not durable may have to: for its Will.
    pub(crate) fn hold_until(&mut self, mark: Mark) {
        if mark > self.hold() {
            self.0.get_or_insert_default().hold = mark;
        }
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
        match self.durable() {
            Some(Durable { store, session }) => store.append_one(record(*session)),
            None => Mark::NOTHING,
        }
    }

    fn durable(&self) -> Option<&Durable> {
        self.0.as_ref()?.durable.as_ref()
    }
}
