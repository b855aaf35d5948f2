//! [`Retained`]: the last retained message of each topic, and which of them a new subscription is told.
//!
//! The messages stand in a hash table by topic: that is all a publisher touches when it replaces one. Beside it stands
//! a tree of the topics, ordered level by level ([`key`]), so that a topic stands right before those below it. A look-up
//! by filter leaps through it from match to match ([`scan`]) and costs what it finds and what it must look at between,
//! never the whole store. Why so: `docs/adr/0002-retained-topics-in-level-order.md`.
//!
//! Not in here: what a message is, and the rule that an empty one is a removal (the caller calls [`Retained::clear`]).

mod filling;
mod key;
mod scan;

use std::{
    collections::BTreeSet,
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    mem,
    ops::Bound,
    sync::Arc,
    time::Instant,
};

use mqtt_codec::{TopicFilter, TopicName};

pub use self::filling::RetainedFilling;
use self::{
    key::{key_of, prefix_of, topic_of},
    scan::{FilterScan, Verdict},
};
use crate::sharded::ShardedTable;

/// How many messages one chunk of a look-up looks at before it stops, at least; and for each match it may find.
const LOOKS: (usize, usize) = (256, 4);
/// A look at a topic takes longer the longer that is: each time so many bytes count as one look more.
const LOOK_BYTES: usize = 512;

/// How much [`Retained`] may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetainedLimits {
    /// How many messages.
    pub max_messages: usize,
    /// How many bytes, in the sizes that the caller of [`Retained::set`] states.
    pub max_bytes: usize,
}

/// Which limit refused a message. The store is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetainedFull {
    /// [`RetainedLimits::max_messages`].
    Messages,
    /// [`RetainedLimits::max_bytes`].
    Bytes,
}

/// The retained messages: at most one a topic. `M` is cheap to clone, an `Arc` say.
///
/// **When it is full** the newcomer is refused, never an older message thrown out: nobody can push out what others
/// have retained. A message that replaces another is judged by the difference in size, so that one of the same size
/// or less always gets in. A refused replacement leaves the earlier message where it is.
///
/// ```
/// use std::time::Instant;
///
/// use mqtt_codec::{TopicFilter, TopicName};
/// use mqtt_router::{Retained, RetainedLimits};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut retained = Retained::new(RetainedLimits { max_messages: 1_000, max_bytes: 1024 * 1024 });
/// for (room, degrees) in [("12", "22.5"), ("14", "19.0")] {
///     let topic = TopicName::try_from(format!("room/{room}/temperature").as_str())?;
///     retained.set(&topic, degrees, degrees.len(), None).expect("there is room");
/// }
/// let found = retained.matching(&TopicFilter::try_from("room/+/temperature")?, None, 10, Instant::now());
/// assert_eq!(found.iter().map(|(_, degrees)| *degrees).collect::<Vec<_>>(), ["22.5", "19.0"]);
/// # Ok(())
/// # }
/// ```
pub struct Retained<M> {
    limits: RetainedLimits,
    messages: ShardedTable<Kept<M>>,
    keys: RandomState,
    /// The topics of the messages, in level order.
    order: BTreeSet<Arc<[u8]>>,
    /// When what expires: a look at the first says whether anything is due.
    due: Due,
    len: usize,
    bytes: usize,
}

type Due = BTreeSet<(Instant, Arc<[u8]>)>;

struct Kept<M> {
    key: Arc<[u8]>,
    message: M,
    size_bytes: usize,
    expires_at: Option<Instant>,
}

/// What a message has become.
enum Put<M> {
    /// The one of a topic that had none.
    First(Arc<[u8]>),
    InPlaceOf(M),
}

/// A look-up by filter on its way: where it has come to. Borrows nothing, so it may wait between chunks while the
/// store changes; what is set or cleared behind it meanwhile is not seen any more.
#[derive(Clone, Debug)]
pub struct RetainedScan {
    filter: TopicFilter,
    next: Next,
}

#[derive(Clone, Debug)]
enum Next {
    From(Vec<u8>),
    After(Vec<u8>),
    Finished,
}

impl RetainedScan {
    /// A look-up that will find every message whose topic matches `filter`.
    ///
    /// For a shared subscription hand in the inner filter, or better none: MQTT sends it no retained messages.
    pub fn new(filter: &TopicFilter) -> Self {
        Self { filter: filter.clone(), next: Next::From(FilterScan::new(filter).first()) }
    }

    /// The same, strictly after a topic; with `None`, from the beginning.
    pub fn new_after(filter: &TopicFilter, after: Option<&TopicName>) -> Self {
        let scan = Self::new(filter);
        match after {
            Some(topic) => Self { next: Next::After(key_of(topic)), ..scan },
            None => scan,
        }
    }

    /// Whether there is no more to find.
    pub fn is_finished(&self) -> bool {
        matches!(self.next, Next::Finished)
    }
}

impl<M: Clone> Retained<M> {
    /// An empty store.
    pub fn new(limits: RetainedLimits) -> Self {
        Self {
            limits,
            messages: ShardedTable::new(),
            keys: RandomState::new(),
            order: BTreeSet::new(),
            due: BTreeSet::new(),
            len: 0,
            bytes: 0,
        }
    }

    /// Keeps `message` as the retained one of `topic`, until `expires_at` if there is an end. Gives back the one it
    /// replaces.
    ///
    /// `size_bytes` is what the message counts for against the limit and in [`Retained::bytes`]. [MQTT-3.3.1-5]
    pub fn set(
        &mut self,
        topic: &TopicName,
        message: M,
        size_bytes: usize,
        expires_at: Option<Instant>,
    ) -> Result<Option<M>, RetainedFull> {
        let key = key_of(topic);
        let hash = hash(&self.keys, &key);
        match self.put(hash, key, message, size_bytes, expires_at)? {
            Put::First(key) => {
                self.order.insert(key);
                Ok(None)
            }
            Put::InPlaceOf(earlier) => Ok(Some(earlier)),
        }
    }

    /// Removes the retained message of `topic`, and gives it back. [MQTT-3.3.1-10]
    pub fn clear(&mut self, topic: &TopicName) -> Option<M> {
        let kept = self.take(&key_of(topic))?;
        reschedule(&mut self.due, &kept.key, kept.expires_at, None);
        Some(kept.message)
    }

    /// The retained message of `topic`, unless it has expired by `now`.
    pub fn get(&self, topic: &TopicName, now: Instant) -> Option<&M> {
        self.live(&key_of(topic), now)
    }

    /// The next messages of a look-up, at most `limit`, in topic order: by the bytes of the first level, then of the
    /// second, and so on, each topic before those below it. [MQTT-3.3.1-6]
    ///
    /// Bounded work, so that no filter can hold up whoever waits for the store: there may be fewer than `limit`, or
    /// none, and still more to come. [`RetainedScan::is_finished`] tells.
    pub fn next_chunk(&self, scan: &mut RetainedScan, limit: usize, now: Instant) -> Vec<(TopicName, M)> {
        let filter = FilterScan::new(&scan.filter);
        let mut found = Vec::new();
        let mut looks_left = limit.saturating_mul(LOOKS.1).max(LOOKS.0);
        while found.len() < limit && looks_left > 0 {
            let start = match &scan.next {
                Next::From(key) => Bound::Included(&**key),
                Next::After(key) => Bound::Excluded(&**key),
                Next::Finished => break,
            };
            let mut topics = self.order.range::<[u8], _>((start, Bound::Unbounded));
            // Matches that follow one another are walked; over anything else the scan leaps.
            scan.next = loop {
                let Some(key) = topics.next() else { break Next::Finished };
                looks_left = looks_left.saturating_sub(1 + key.len() / LOOK_BYTES);
                match filter.judge(key) {
                    Verdict::Match => {
                        found.extend(topic_of(key).zip(self.live(key, now).cloned()));
                        if found.len() == limit || looks_left == 0 {
                            break Next::After(key.to_vec());
                        }
                    }
                    Verdict::SeekTo(key) => break Next::From(key),
                    Verdict::NoMore => break Next::Finished,
                }
            };
        }
        found
    }

    /// The first messages that match `filter`, at most `limit`, in topic order, strictly after `after`; none if there
    /// are no more. To read on, name the last topic found.
    ///
    /// For a store that others wait for, [`Retained::next_chunk`] is the better one: this goes on until it has found
    /// something.
    pub fn matching(
        &self,
        filter: &TopicFilter,
        after: Option<&TopicName>,
        limit: usize,
        now: Instant,
    ) -> Vec<(TopicName, M)> {
        let mut scan = RetainedScan::new(filter);
        if let Some(topic) = after {
            scan.next = Next::After(key_of(topic));
        }
        let mut found = Vec::new();
        while found.len() < limit && !scan.is_finished() {
            found.append(&mut self.next_chunk(&mut scan, limit - found.len(), now));
        }
        found
    }

    /// Removes messages that have expired by `now`, at most `limit`, and gives them back. Costs what it removes.
    ///
    /// If they are `limit` there may be more: let others have the store in between.
    pub fn expire(&mut self, now: Instant, limit: usize) -> Vec<M> {
        let mut removed = Vec::new();
        while removed.len() < limit
            && self.due.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, key)) = self.due.pop_first()
        {
            removed.extend(self.take(&key).map(|kept| kept.message));
        }
        removed
    }

    /// When the next message expires, if any ever does.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Whether a look-up by this filter may find anything: `false` is certain, `true` is not. One step in the tree.
    ///
    /// For whoever would have to keep a look-up until its turn comes, for each of very many filters.
    pub fn may_match(&self, filter: &TopicFilter) -> bool {
        let any_from = |key: &[u8]| {
            let mut topics = self.order.range::<[u8], _>((Bound::Included(key), Bound::Unbounded));
            topics.next()
        };
        let before_wildcard = filter.as_bytes().split(|&byte| byte == b'+' || byte == b'#').next();
        let literal = before_wildcard.unwrap_or_default();
        // `a/#` matches `a` too.
        let literal = literal.strip_suffix(b"/").filter(|_| filter.has_wildcard()).unwrap_or(literal);
        if literal.is_empty() {
            // Everything but what begins with `$` [MQTT-4.7.2-1], for the first level is a wildcard, or is empty.
            let first_is_other = self.order.first().is_some_and(|first| !first.starts_with(b"$"));
            return first_is_other || any_from(b"%").is_some();
        }
        let start = prefix_of(literal);
        any_from(&start).is_some_and(|topic| topic.starts_with(&start))
    }

    /// How many messages are held; expired ones count until [`Retained::expire`] removes them.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no message is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The sum of the sizes that were stated for the messages held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn live(&self, key: &[u8], now: Instant) -> Option<&M> {
        let kept = self.messages.find(hash(&self.keys, key), |kept| *kept.key == *key)?;
        kept.expires_at.is_none_or(|at| at > now).then_some(&kept.message)
    }

    /// Keeps a message, everywhere but in `order`.
    fn put(
        &mut self,
        hash: u64,
        key: impl AsRef<[u8]> + Into<Arc<[u8]>>,
        message: M,
        size_bytes: usize,
        expires_at: Option<Instant>,
    ) -> Result<Put<M>, RetainedFull> {
        let earlier = self.messages.shard_mut(hash).find_mut(hash, |kept| *kept.key == *key.as_ref());
        if earlier.is_none() && self.len >= self.limits.max_messages {
            return Err(RetainedFull::Messages);
        }
        let held_bytes = earlier.as_ref().map_or(0, |kept| kept.size_bytes);
        let bytes = (self.bytes - held_bytes).saturating_add(size_bytes);
        if bytes > self.limits.max_bytes {
            return Err(RetainedFull::Bytes);
        }
        self.bytes = bytes;
        if let Some(kept) = earlier {
            reschedule(&mut self.due, &kept.key, kept.expires_at, expires_at);
            kept.size_bytes = size_bytes;
            kept.expires_at = expires_at;
            return Ok(Put::InPlaceOf(mem::replace(&mut kept.message, message)));
        }
        let key = key.into();
        reschedule(&mut self.due, &key, None, expires_at);
        let keys = &self.keys;
        let kept = Kept { key: key.clone(), message, size_bytes, expires_at };
        self.messages.shard_mut(hash).insert_unique(hash, kept, |kept| self::hash(keys, &kept.key));
        self.len += 1;
        Ok(Put::First(key))
    }

    /// Takes a message out, from everywhere but `due`.
    fn take(&mut self, key: &[u8]) -> Option<Kept<M>> {
        let keys = &self.keys;
        let hash_of = |kept: &Kept<M>| hash(keys, &kept.key);
        let kept = self.messages.remove(hash(keys, key), |kept| *kept.key == *key, hash_of)?;
        self.order.remove(key);
        self.len -= 1;
        self.bytes -= kept.size_bytes;
        Some(kept)
    }
}

fn reschedule(due: &mut Due, key: &Arc<[u8]>, from: Option<Instant>, to: Option<Instant>) {
    if from == to {
        return;
    }
    if let Some(at) = from {
        due.remove(&(at, key.clone()));
    }
    if let Some(at) = to {
        due.insert((at, key.clone()));
    }
}

fn hash(keys: &RandomState, key: &[u8]) -> u64 {
    let mut hasher = keys.build_hasher();
    hasher.write(key);
    hasher.finish()
}

impl<M> fmt::Debug for Retained<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retained")
            .field("messages", &self.len)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for RetainedFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Messages => "the limit of retained messages is reached",
            Self::Bytes => "the limit of bytes in retained messages is reached",
        })
    }
}

impl std::error::Error for RetainedFull {}

#[cfg(test)]
mod tests;
