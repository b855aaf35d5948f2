//! What a CONNECT does to the registry: it goes on with a session or begins one, and takes it over from whoever has it.

use std::sync::{Arc, atomic::Ordering};

use super::{ByClientId, Registry, Shard};
use crate::{
    client::ClientInfo,
    close_reason::CloseReason,
    durability::Durability,
    hooks::HookSet,
    limits::Limits,
    message::Message,
    session::{Attachment, Detached, NewAttachment, Session, SessionRef, Will},
    store::{Mark, Record},
};

/// The outcome of a CONNECT.
pub(crate) struct Attached {
    pub(crate) attachment: Attachment,
    /// An earlier session goes on [MQTT-3.2.2-2] [MQTT-3.2.2-3].
    pub(crate) session_present: bool,
    /// A live connection that lost its session to this one.
    pub(crate) taken_over: Option<Detached>,
    /// An earlier session that CleanSession ended; the router still has to forget it.
    pub(crate) discarded: Option<SessionRef>,
    /// Messages that waited in an earlier session, and that this client may not have.
    pub(crate) withheld: Vec<Message>,
    /// When all of that survives.
    pub(crate) mark: Mark,
}

/// Why nobody gets a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttachRefusal {
    /// A new one would be one too many.
    TooManySessions,
    /// See [`Registry::close`].
    ShutDown,
}

impl Registry {
    /// Finds or makes the session for this CONNECT, and gives it to the new connection. Who comes for it next waits until what `settle`
    /// does about it is done.
    pub(crate) fn attach<T>(
        &self,
        info: &Arc<ClientInfo>,
        will: Option<Message>,
        limits: &Limits,
        hooks: &HookSet,
        durability: &Durability,
        settle: impl FnOnce(Attached) -> T,
    ) -> Result<T, AttachRefusal> {
        let will = will.map(|message| Will { key: self.next_serial(), message });
        let attach = |shard: &mut Shard, found: Option<SessionRef>| -> Result<Attached, AttachRefusal> {
            // The shard is locked: who closes the registry, and looks at the shard afterwards, either finds this session or is seen here.
            if self.is_closed.load(Ordering::Relaxed) {
                return Err(AttachRefusal::ShutDown);
            }
            let is_one_more = found.is_none();
            // One that is over has its place until its Will is published. Only a hook that is asked about that meets it.
            let earlier = found.filter(|found| !found.lock().has_ended());
            // [MQTT-3.1.2-4] [MQTT-3.1.2-6] [MQTT-3.1.4-3]
            if let Some(session) = earlier.as_ref().filter(|session| !info.clean_session && !session.clean) {
                self.unschedule(session);
                let attached = Record::SessionAttached { session: session.serial };
                let group = group(durability, [attached], info, will.as_ref());
                let write = || durability.append(group);
                let attached = session.attach(Arc::clone(info), will, limits, hooks, write);
                let NewAttachment { attachment, taken_over, withheld, mark } = attached;
                let session_present = true;
                return Ok(Attached {
                    attachment,
                    session_present,
                    taken_over,
                    discarded: None,
                    withheld,
                    mark,
                });
            }
            if is_one_more {
                self.reserve(limits.max_sessions)?;
            }
            let serial = self.next_serial();
            let session =
                SessionRef::new(Session::new(serial, Arc::clone(&info.client_id), info.clean_session));
            session.lock().outbox.set_journal(durability.journal(serial, info.clean_session));
            let started = Record::SessionStarted { session: serial, client_id: Arc::clone(&info.client_id) };
            // A clean session writes nothing, unless it has a Will.
            let started = Some(started).filter(|_| !info.clean_session);
            // Nobody is told of the new one before the end of the old one is kept, too.
            let ended = earlier.as_ref().filter(|earlier| !earlier.clean);
            let ended = ended.map(|earlier| Record::SessionEnded { session: earlier.serial });
            let sessions = ended.into_iter().chain(started);
            let group = group(durability, sessions, info, will.as_ref());
            let write = || durability.append(group);
            let attached = session.attach(Arc::clone(info), will, limits, hooks, write);
            let NewAttachment { attachment, withheld, mark, .. } = attached;
            shard.replace(ByClientId(session));
            let taken_over = earlier.as_ref().and_then(|earlier| earlier.end(CloseReason::TakenOver, limits));
            if let Some(earlier) = &earlier {
                self.unschedule(earlier);
            }
            let session_present = false;
            Ok(Attached { attachment, session_present, taken_over, discarded: earlier, withheld, mark })
        };
        self.in_turn(&info.client_id, attach, settle)
    }

    /// Acts on the session of a client identifier, and on its shard, when nobody else is at the packets of that client. Nor is anybody
    /// before what it leads to is settled.
    fn in_turn<T>(
        &self,
        client_id: &str,
        attach: impl FnOnce(&mut Shard, Option<SessionRef>) -> Result<Attached, AttachRefusal>,
        settle: impl FnOnce(Attached) -> T,
    ) -> Result<T, AttachRefusal> {
        loop {
            let awaited = self.get(client_id);
            // Before the shard is locked: who has a turn may lock that.
            let _turn = awaited.as_ref().map(|session| session.turn());
            let mut shard = self.shard(client_id).lock();
            let found = shard.get(client_id).map(|found| found.0.clone());
            if found.as_ref().map(|session| session.serial) == awaited.as_ref().map(|session| session.serial)
            {
                let attached = attach(&mut shard, found)?;
                let session = attached.attachment.session.clone();
                // It may be a new one, with turns of its own.
                let _turn = session.begin_turn();
                drop(shard);
                return Ok(settle(attached));
            }
        }
    }

    fn reserve(&self, max_sessions: usize) -> Result<(), AttachRefusal> {
        let grown = |sessions| (sessions < max_sessions).then_some(sessions + 1);
        match self.sessions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown) {
            Ok(_) => Ok(()),
            Err(_) => Err(AttachRefusal::TooManySessions),
        }
    }
}

/// What the store has to know of a CONNECT.
fn group(
    durability: &Durability,
    sessions: impl IntoIterator<Item = Record>,
    info: &ClientInfo,
    will: Option<&Will>,
) -> Vec<Record> {
    if !durability.is_on() {
        return Vec::new();
    }
    let will = will.map(|Will { key, message }| Record::WillSet {
        key: *key,
        client_id: Arc::clone(&info.client_id),
        will: message.clone(),
    });
    sessions.into_iter().chain(will).collect()
}
