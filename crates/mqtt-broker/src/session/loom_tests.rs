//! Publishers, an operator and a later connection against the task of a session's owner, in every order that loom finds.
//!
//! The owner sleeps as a task does: on its waker alone. If it were asleep with something to do, nobody would wake it, and
//! loom would report a deadlock.

use std::{future::poll_fn, task::Poll};

use loom::{future::block_on, model::Builder, thread};
use mqtt_codec::{PacketId, QoS, TopicName};

use super::*;
use crate::{message::Outgoing, net, store::Mark};

/// More switches between threads than this, at moments that do not ask for one, are not tried: there would be too many.
const MOST_PREEMPTIONS: usize = 2;

fn check(test: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(MOST_PREEMPTIONS);
    builder.check(test);
}

fn session() -> SessionRef {
    SessionRef::new(Session::new(1, "client".into(), false))
}

/// A window of one, so that a second message has to wait for it.
fn limits() -> Limits {
    Limits { max_inflight: 1, ..Limits::default() }
}

fn connect(session: &SessionRef) -> (Attachment, Option<Detached>) {
    let info = ClientInfo {
        client_id: "client".into(),
        user_name: None,
        peer: Peer::Inet(([127, 0, 0, 1], 1883).into()),
        listener: None,
        attached: crate::client::Attached::default(),
        clean_session: false,
        keep_alive_secs: 0,
        connected_at: net::now(),
    };
    let attached = session.attach(Arc::new(info), None, &limits(), &HookSet::default(), || Mark::NOTHING);
    (attached.attachment, attached.taken_over)
}

/// What a publisher's task does to one receiver.
fn publish(session: &SessionRef, qos: QoS) {
    let message = Message::new(&TopicName::try_from("t").unwrap(), b"", qos);
    let pushed = session.lock().outbox.push(&Outgoing::of(&message), qos, false, None, &limits(), Gate::OPEN);
    assert!(pushed.dropped.is_empty());
    if let Some(waker) = pushed.waker {
        waker.wake();
    }
}

fn join_all(threads: [thread::JoinHandle<()>; 2]) {
    for thread in threads {
        thread.join().unwrap();
    }
}

/// A connection's task, as far as its session is concerned.
struct Owner<'a> {
    attachment: &'a Attachment,
    messages: u32,
    /// The identifier that the client acknowledges next: after it has got the message, when its owner may sleep already.
    unacknowledged: u16,
}

impl<'a> Owner<'a> {
    fn new(attachment: &'a Attachment) -> Self {
        Self { attachment, messages: 0, unacknowledged: 1 }
    }

    /// Takes messages until there are so many; or says why the connection has to end before.
    fn run(&mut self, enough: u32) -> Result<(), CloseReason> {
        block_on(poll_fn(|cx| {
            loop {
                let mut state = match self.attachment.lock() {
                    Ok(state) => state,
                    Err(reason) => return Poll::Ready(Err(reason)),
                };
                state.outbox.refill(&limits(), Gate::OPEN);
                if let Some(Sent { publishes, .. }) = state.outbox.take_pending(cx.waker(), &mut Vec::new()) {
                    self.messages += publishes.iter().sum::<u32>();
                    continue;
                }
                drop(state);
                if self.messages >= enough {
                    return Poll::Ready(Ok(()));
                }
                if !self.acknowledge() {
                    return Poll::Pending;
                }
            }
        }))
    }

    /// PUBACK comes, if a message was sent that asks for one.
    fn acknowledge(&mut self) -> bool {
        let Ok(mut state) = self.attachment.lock() else { return true };
        if state.outbox.inflight_messages() == 0 {
            return false;
        }
        let (acknowledged, _) = state.outbox.puback(PacketId::new(self.unacknowledged).unwrap());
        assert_eq!(acknowledged, Acknowledged::Complete);
        self.unacknowledged += 1;
        true
    }
}

#[test]
fn loom_no_owner_sleeps_with_a_message_to_send() {
    for levels in [[QoS::AtLeastOnce, QoS::AtLeastOnce], [QoS::AtMostOnce, QoS::AtLeastOnce]] {
        check(move || {
            let session = session();
            let (attachment, _) = connect(&session);
            let publishers = levels.map(|qos| {
                let session = session.clone();
                thread::spawn(move || publish(&session, qos))
            });
            assert_eq!(Owner::new(&attachment).run(2), Ok(()));
            join_all(publishers);
        });
    }
}

#[test]
fn loom_no_owner_sleeps_through_its_close() {
    check(|| {
        let session = session();
        let (attachment, _) = connect(&session);
        let publishers = [QoS::AtMostOnce, QoS::AtLeastOnce].map(|qos| {
            let session = session.clone();
            thread::spawn(move || publish(&session, qos))
        });
        let closed = session.clone();
        let operator = thread::spawn(move || assert!(closed.close(CloseReason::Kicked)));
        assert_eq!(Owner::new(&attachment).run(u32::MAX), Err(CloseReason::Kicked));
        join_all(publishers);
        operator.join().unwrap();
    });
}

/// The message is the later connection's, whether the earlier one had it already or not.
#[test]
fn loom_no_owner_sleeps_through_a_take_over_and_no_message_is_lost_by_it() {
    check(|| {
        let session = session();
        let (earlier, _) = connect(&session);
        let publisher = thread::spawn({
            let session = session.clone();
            move || publish(&session, QoS::AtLeastOnce)
        });
        let later = thread::spawn({
            let session = session.clone();
            move || {
                let (later, detached) = connect(&session);
                if let Some(waker) = detached.and_then(|detached| detached.waker) {
                    waker.wake();
                }
                later
            }
        });
        let mut owner = Owner::new(&earlier);
        assert_eq!(owner.run(u32::MAX), Err(CloseReason::TakenOver));
        let later = later.join().unwrap();
        publisher.join().unwrap();
        let is_acknowledged = owner.unacknowledged > 1;
        assert_eq!(Owner::new(&later).run(u32::from(!is_acknowledged)), Ok(()));
    });
}
