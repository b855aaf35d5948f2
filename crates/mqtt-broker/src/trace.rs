//! Live traces: what happens to one client, topic or address, for whoever looks over the broker's shoulder.
//!
//! A trace is bounded: who reads it too slowly loses records, and is told how many. While nobody traces, each place where a
//! record could be made costs one branch. Payloads are not in it, only their length.

use std::{
    collections::VecDeque,
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Instant,
};

use mqtt_codec::{Frame, PacketType, PublishRef, QoS, TopicFilter, TopicName};
use parking_lot::{Mutex, RwLock};

use crate::{
    broker::Broker,
    client::{ClientInfo, Peer},
    close_reason::CloseReason,
    core::Core,
    event::DropReason,
    message::Outgoing,
};

/// What a trace is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceFilter {
    /// One client, by its identifier.
    Client(Arc<str>),
    /// Messages with a topic that this matches.
    Topic(TopicFilter),
    /// Clients from this address.
    Address(IpAddr),
}

/// Something that happened to what is traced.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TraceRecord {
    /// When; `None` where the broker has not looked at its clock.
    pub at: Option<Instant>,
    /// To which client.
    pub client_id: Arc<str>,
    /// Where it is connected from, if it is.
    pub peer: Option<Peer>,
    /// What.
    pub what: Traced,
    /// So many records before this one were lost, because the trace was read too slowly.
    pub lost: u64,
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Traced {
    /// Its CONNECT was accepted.
    Connected,
    /// It sent a packet other than PUBLISH.
    Packet(PacketType),
    /// It sent a PUBLISH.
    Published(TracedMessage),
    /// A message was handed to it.
    Delivered(TracedMessage),
    /// A message will not reach it.
    Dropped(TracedMessage, DropReason),
    /// Its connection has ended.
    Closed(CloseReason),
}

/// A message without its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TracedMessage {
    /// Its topic.
    pub topic: String,
    /// The length of its payload, in bytes.
    pub payload_bytes: usize,
    /// With which QoS it came, or goes.
    pub qos: QoS,
    /// RETAIN.
    pub retain: bool,
}

/// The records of a trace, until it is dropped.
pub struct Trace {
    core: Arc<Core>,
    tracer: Arc<Tracer>,
}

/// Records that wait to be read, and the bytes of their topics.
const MOST_RECORDS: usize = 1_024;
const MOST_BYTES: usize = 2 * 1024 * 1024;

/// All traces of a broker.
#[derive(Default)]
pub(crate) struct Traces {
    is_on: AtomicBool,
    all: RwLock<Vec<Arc<Tracer>>>,
}

struct Tracer {
    filter: TraceFilter,
    records: Mutex<Records>,
}

#[derive(Default)]
struct Records {
    waiting: VecDeque<TraceRecord>,
    /// Their topics.
    bytes: usize,
    lost: u64,
    waker: Option<Waker>,
}

impl Broker {
    /// Begins a trace. Whoever may have one sees who talks with whom: keep that to operators.
    pub fn trace(&self, filter: TraceFilter) -> Trace {
        let tracer = Arc::new(Tracer { filter, records: Mutex::default() });
        let shared = &self.core().traces;
        let mut all = shared.all.write();
        all.push(Arc::clone(&tracer));
        shared.is_on.store(true, Ordering::Relaxed);
        drop(all);
        Trace { core: Arc::clone(self.core()), tracer }
    }
}

impl Trace {
    /// The next record, once there is one. It never ends by itself.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<TraceRecord> {
        let mut records = self.tracer.records.lock();
        let Some(record) = records.waiting.pop_front() else {
            records.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        records.bytes -= record.what.topic_bytes();
        Poll::Ready(record)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let traces = &self.core.traces;
        let mut all = traces.all.write();
        all.retain(|tracer| !Arc::ptr_eq(tracer, &self.tracer));
        traces.is_on.store(!all.is_empty(), Ordering::Relaxed);
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("filter", &self.tracer.filter).finish_non_exhaustive()
    }
}

impl Traces {
    /// Whether anybody traces anything. The rest is for when somebody does.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// A client sent a packet.
    pub(crate) fn received(&self, now: Instant, client: &ClientInfo, frame: &Frame<'_>) {
        let publish =
            (frame.packet_type == PacketType::Publish).then(|| PublishRef::decode(frame).ok()).flatten();
        let what = match &publish {
            Some(publish) => Traced::Published(TracedMessage {
                topic: publish.topic.to_owned(),
                payload_bytes: publish.payload.len(),
                qos: publish.delivery.qos(),
                retain: publish.retain,
            }),
            None => Traced::Packet(frame.packet_type),
        };
        self.client(Some(now), client, what);
    }

    /// Something happened to a connected client.
    pub(crate) fn client(&self, now: Option<Instant>, client: &ClientInfo, what: Traced) {
        self.record(now, &client.client_id, Some(client.peer), what);
    }

    /// A message was handed to a receiver, or, for this reason, was not.
    pub(crate) fn message(
        &self,
        now: Option<Instant>,
        receiver: (&Arc<str>, Option<Peer>),
        outgoing: &Outgoing<'_>,
        (qos, retain): (QoS, bool),
        dropped: Option<DropReason>,
    ) {
        let message = TracedMessage {
            topic: String::from_utf8_lossy(outgoing.topic).into_owned(),
            payload_bytes: outgoing.payload.len(),
            qos,
            retain,
        };
        let what = match dropped {
            None => Traced::Delivered(message),
            Some(reason) => Traced::Dropped(message, reason),
        };
        self.record(now, receiver.0, receiver.1, what);
    }

    fn record(&self, at: Option<Instant>, client_id: &Arc<str>, peer: Option<Peer>, what: Traced) {
        let record = TraceRecord { at, client_id: Arc::clone(client_id), peer, what, lost: 0 };
        let all = self.all.read();
        let wanting = all.iter().filter(|tracer| tracer.filter.wants(&record));
        let wakers: Vec<Waker> = wanting.filter_map(|tracer| tracer.push(record.clone())).collect();
        drop(all); // A waker is somebody else's: it may begin a trace, or end one.
        for waker in wakers {
            waker.wake();
        }
    }
}

impl Tracer {
    /// Says whom to wake.
    fn push(&self, mut record: TraceRecord) -> Option<Waker> {
        let mut records = self.records.lock();
        let bytes = records.bytes + record.what.topic_bytes();
        if records.waiting.len() >= MOST_RECORDS || bytes > MOST_BYTES {
            records.lost += 1;
            return None;
        }
        records.bytes = bytes;
        record.lost = std::mem::take(&mut records.lost);
        records.waiting.push_back(record);
        records.waker.take()
    }
}

impl Traced {
    fn message(&self) -> Option<&TracedMessage> {
        match self {
            Self::Published(message) | Self::Delivered(message) | Self::Dropped(message, _) => Some(message),
            _ => None,
        }
    }

    fn topic_bytes(&self) -> usize {
        self.message().map_or(0, |message| message.topic.len())
    }
}

impl TraceFilter {
    fn wants(&self, record: &TraceRecord) -> bool {
        match self {
            Self::Client(client_id) => *client_id == record.client_id,
            Self::Address(address) => {
                matches!(record.peer, Some(Peer::Inet(peer)) if peer.ip().to_canonical() == address.to_canonical())
            }
            Self::Topic(filter) => record.what.message().is_some_and(|message| {
                TopicName::try_from(message.topic.as_str()).is_ok_and(|topic| filter.matches(&topic))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_too_slowly_is_told_what_he_lost() {
        let broker = Broker::builder().build();
        let mut trace = broker.trace(TraceFilter::Client("a".into()));
        let shared = &broker.core().traces;
        for _ in 0..MOST_RECORDS + 3 {
            shared.record(None, &"a".into(), None, Traced::Connected);
            shared.record(None, &"other".into(), None, Traced::Connected);
        }
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..MOST_RECORDS {
            assert!(matches!(trace.poll_next(&mut cx), Poll::Ready(record) if record.lost == 0));
        }
        assert!(trace.poll_next(&mut cx).is_pending());
        shared.record(None, &"a".into(), None, Traced::Connected);
        assert!(matches!(trace.poll_next(&mut cx), Poll::Ready(record) if record.lost == 3));
        assert!(shared.is_on());
        drop(trace);
        assert!(!shared.is_on());
    }

    #[test]
    fn long_topics_do_not_fill_the_memory() {
        let broker = Broker::builder().build();
        let mut trace = broker.trace(TraceFilter::Client("a".into()));
        let shared = &broker.core().traces;
        let message = TracedMessage {
            topic: "t".repeat(65_535),
            payload_bytes: 0,
            qos: QoS::AtMostOnce,
            retain: false,
        };
        let mut cx = Context::from_waker(Waker::noop());
        for lost in [0, 68] {
            for _ in 0..100 {
                shared.record(None, &"a".into(), None, Traced::Published(message.clone()));
            }
            assert!(matches!(trace.poll_next(&mut cx), Poll::Ready(record) if record.lost == lost));
            for _ in 1..32 {
                assert!(trace.poll_next(&mut cx).is_ready());
            }
            assert!(trace.poll_next(&mut cx).is_pending());
        }
    }
}
