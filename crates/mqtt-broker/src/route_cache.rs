//! [`RouteCache`]: a memory of who receives what, so that most messages need neither the router nor its lock.

use std::{mem, slice, sync::Arc};

use mqtt_codec::QoS;
use mqtt_router::{Route, SharedGroup};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::session::SessionRef;

/// The routes of some topics, each valid for one generation of the subscriptions.
///
/// Bounded in topics, and in what it keeps of each. A topic has two places where it can stand, side by side. Of topics that are
/// more than there is room for, those stay that came first, unless another is asked for twice before a third is: going round
/// very many topics costs a look, and does not push out what others ask for.
pub(crate) struct RouteCache {
    /// None until the first is kept.
    places: Box<[Place]>,
    /// Where the topic stands that was found or put in last.
    newest: usize,
    bounds: &'static Bounds,
}

/// How much a cache keeps.
pub(crate) struct Bounds {
    /// A power of two.
    pub(crate) topics: usize,
    /// Of each topic. A larger route costs more memory to keep than it saves: finding it again is cheap beside handing out
    /// to so many.
    pub(crate) receivers: usize,
    /// The length of a topic.
    pub(crate) topic_len: usize,
}

static OWN: Bounds = Bounds { topics: 8, receivers: 256, topic_len: 65_535 };

/// A topic and its hash, by which its places are chosen.
#[derive(Clone, Copy)]
pub(crate) struct HashedTopic<'a> {
    text: &'a [u8],
    hash: u64,
}

/// Everyone who must get a message, as the router or a cache has them.
#[derive(Clone, Copy)]
pub(crate) struct Receivers<'a> {
    pub(crate) direct: &'a [(SessionRef, QoS)],
    pub(crate) groups: &'a [Arc<SharedGroup<SessionRef>>],
}

/// One cache line, with all of it for a short topic with one receiver: a look among many touches no other.
#[repr(align(64))]
struct Place {
    generation: u64,
    kept: Kept,
    topic: Text,
    /// A part of the hash of the last topic for which there was no room here.
    refused: u32,
}

/// The subscriptions never have this generation: they would have to be changed once a nanosecond for centuries.
const NO_GENERATION: u64 = u64::MAX;

#[derive(Default)]
enum Kept {
    #[default]
    Nobody,
    One((SessionRef, QoS)),
    Several(Box<Several>),
}

struct Several {
    direct: Box<[(SessionRef, QoS)]>,
    groups: Box<[Arc<SharedGroup<SessionRef>>]>,
}

enum Text {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Box<[u8]>),
}

/// What else fits into a cache line.
const SHORT: usize = 30;

impl RouteCache {
    pub(crate) fn new(bounds: &'static Bounds) -> Self {
        Self { places: Box::default(), newest: 0, bounds }
    }

    /// The receivers of a topic that is the newest. Most publishers have but one, which needs no hash.
    pub(crate) fn get_newest(&self, topic: &[u8], generation: u64) -> Option<Receivers<'_>> {
        let newest = self.places.get(self.newest)?;
        newest.is(topic, generation).then(|| newest.kept.receivers())
    }

    pub(crate) fn get(&mut self, topic: HashedTopic<'_>, generation: u64) -> Option<Receivers<'_>> {
        let first = self.first_place(topic.hash);
        let both = self.places.get(first..)?.first_chunk::<2>()?;
        let of_two = both.iter().position(|place| place.is(topic.text, generation))?;
        self.newest = first + of_two;
        Some(both[of_two].kept.receivers())
    }

    /// Keeps the receivers of a topic that it does not have, if it has room. Says whether it has.
    pub(crate) fn offer(
        &mut self,
        topic: HashedTopic<'_>,
        generation: u64,
        receivers: Receivers<'_>,
    ) -> bool {
        let Bounds { topics, receivers: most_receivers, topic_len } = *self.bounds;
        if topic.text.len() > topic_len || receivers.count() > most_receivers {
            return false;
        }
        if self.places.is_empty() {
            self.places = (0..topics).map(|_| Place::empty()).collect();
        }
        let Some(number) = self.place_for(topic.hash, generation) else { return false };
        let (kept, topic) = (Kept::new(receivers), Text::new(topic.text));
        self.places[number] = Place { generation, kept, topic, refused: 0 };
        self.newest = number;
        true
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Lets go of the routes of all generations but this one.
    pub(crate) fn forget_older(&mut self, generation: u64) {
        for place in self.places.iter_mut().filter(|place| place.generation != generation) {
            *place = Place::empty();
        }
    }

    /// Lets go of everything, its memory too.
    pub(crate) fn clear(&mut self) {
        self.places = Box::default();
    }

    /// One of the two that is free, or else the one that this topic would push another out of, if it is the second time.
    fn place_for(&mut self, hash: u64, generation: u64) -> Option<usize> {
        let first = self.first_place(hash);
        let both = self.places.get_mut(first..)?.first_chunk_mut::<2>()?;
        if let Some(free) = both.iter().position(|place| place.generation != generation) {
            return Some(first + free);
        }
        let of_two = hash as usize % 2;
        let tag = (hash >> 32) as u32;
        let last = mem::replace(&mut both[of_two].refused, tag);
        (last == tag).then_some(first + of_two)
    }

    /// The places of a topic are this one and the next.
    fn first_place(&self, hash: u64) -> usize {
        hash as usize & self.places.len().wrapping_sub(2)
    }
}

/// A publisher's own.
impl Default for RouteCache {
    fn default() -> Self {
        Self::new(&OWN)
    }
}

impl<'a> HashedTopic<'a> {
    /// The seed should be secret, so that nobody can choose topics that push each other out.
    pub(crate) fn new(text: &'a [u8], seed: u64) -> Self {
        Self { text, hash: xxh3_64_with_seed(text, seed) }
    }
}

impl<'a> Receivers<'a> {
    pub(crate) fn of(route: &'a Route<SessionRef>) -> Self {
        Self { direct: &route.direct, groups: &route.groups }
    }

    /// The members of shared groups are kept with them.
    fn count(self) -> usize {
        self.direct.len() + self.groups.iter().map(|group| group.members().len()).sum::<usize>()
    }
}

impl Place {
    fn empty() -> Self {
        Self { generation: NO_GENERATION, kept: Kept::Nobody, topic: Text::new(&[]), refused: 0 }
    }

    fn is(&self, topic: &[u8], generation: u64) -> bool {
        self.generation == generation && self.topic.is(topic)
    }
}

impl Kept {
    fn new(Receivers { direct, groups }: Receivers<'_>) -> Self {
        match (direct, groups) {
            ([], []) => Self::Nobody,
            ([one], []) => Self::One(one.clone()),
            _ => Self::Several(Box::new(Several { direct: direct.into(), groups: groups.into() })),
        }
    }

    fn receivers(&self) -> Receivers<'_> {
        match self {
            Self::Nobody => Receivers { direct: &[], groups: &[] },
            Self::One(one) => Receivers { direct: slice::from_ref(one), groups: &[] },
            Self::Several(several) => Receivers { direct: &several.direct, groups: &several.groups },
        }
    }
}

impl Text {
    fn new(text: &[u8]) -> Self {
        let mut bytes = [0; SHORT];
        match bytes.get_mut(..text.len()) {
            Some(front) => {
                front.copy_from_slice(text);
                Self::Short { len: text.len() as u8, bytes }
            }
            None => Self::Long(text.into()),
        }
    }

    fn is(&self, text: &[u8]) -> bool {
        match self {
            Self::Short { len, bytes } => bytes.get(..usize::from(*len)) == Some(text),
            Self::Long(bytes) => **bytes == *text,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use mqtt_codec::TopicFilter;
    use mqtt_router::{DeliveryMode, SharedStrategy, Subscriptions};

    use super::*;
    use crate::{
        client::{Attached, ClientInfo, Peer},
        durability::Durability,
        hooks::HookSet,
        limits::Limits,
        net,
        session::Registry,
    };

    static FEW: Bounds = Bounds { topics: 4, receivers: 2, topic_len: 60 };

    /// So many sessions, the first with serial number 1.
    pub(crate) fn sessions(count: usize) -> Vec<SessionRef> {
        let registry = Registry::new();
        let attach = |n: usize| {
            let info = Arc::new(ClientInfo {
                client_id: n.to_string().into(),
                user_name: None,
                peer: Peer::InProcess,
                listener: None,
                clean_session: true,
                keep_alive_secs: 0,
                connected_at: net::now(),
                attached: Attached::default(),
            });
            let (limits, hooks) = (Limits::default(), HookSet::default());
            let attached =
                registry.attach(&info, None, &limits, &hooks, &Durability::default(), |attached| attached);
            attached.unwrap().attachment.session
        };
        (0..count).map(attach).collect()
    }

    fn of(session: &SessionRef) -> (SessionRef, QoS) {
        (session.clone(), QoS::AtMostOnce)
    }

    fn direct(direct: &[(SessionRef, QoS)]) -> Receivers<'_> {
        Receivers { direct, groups: &[] }
    }

    fn serials(receivers: Receivers<'_>) -> Vec<u64> {
        receivers.direct.iter().map(|(session, _)| session.serial).collect()
    }

    #[test]
    fn a_place_is_one_cache_line() {
        assert_eq!(size_of::<Place>(), 64);
    }

    /// Topics of all lengths, each the beginning of the next, all in the same two places, in generations that come and go.
    #[test]
    fn what_it_has_is_of_that_topic_and_that_generation() {
        let sessions = sessions(80);
        let text = [b'x'; 80];
        let mut cache = RouteCache::new(&FEW);
        let mut found = 0;
        for step in 0..20_000_usize {
            let mixed = step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
            let (len, generation) = (mixed % 6 * 13 + step % 2, (step / 100 % 3) as u64);
            let topic = HashedTopic { text: &text[..len], hash: ((len as u64) << 32) + len as u64 % 2 };
            let to = [of(&sessions[(len + generation as usize) % 80])];
            let expected = vec![to[0].0.serial];
            if let Some(newest) = cache.get_newest(topic.text, generation) {
                assert_eq!(serials(newest), expected);
            }
            match cache.get(topic, generation) {
                Some(receivers) => {
                    assert_eq!(serials(receivers), expected);
                    found += 1;
                }
                None => _ = cache.offer(topic, generation, direct(&to)),
            }
        }
        assert!((1_000..19_000).contains(&found), "{found}");
    }

    /// One that goes round a thousand topics leaves the others what they ask for; who asks for the same again gets a place.
    #[test]
    fn what_is_asked_for_once_pushes_nothing_out() {
        let (sessions, seed) = (sessions(1), 7);
        let to = [of(&sessions[0])];
        let mut cache = RouteCache::default();
        let names: Vec<String> = (0..1_000).map(|n| format!("topic/{n}")).collect();
        let topics: Vec<_> = names.iter().map(|name| HashedTopic::new(name.as_bytes(), seed)).collect();
        let has = |cache: &mut RouteCache, n: usize| cache.get(topics[n], 1).is_some();
        let kept: Vec<usize> = (0..1_000).filter(|&n| cache.offer(topics[n], 1, direct(&to))).collect();
        assert_eq!(kept.len(), OWN.topics);
        assert!(kept.iter().all(|&n| has(&mut cache, n)));
        assert!(!cache.offer(topics[999], 1, direct(&to)) || !kept.contains(&999));
        assert!(cache.offer(topics[998], 1, direct(&to)) || cache.offer(topics[998], 1, direct(&to)));
        assert!(has(&mut cache, 998));
        assert_eq!((0..1_000).filter(|&n| has(&mut cache, n)).count(), OWN.topics);
        assert!(cache.offer(topics[500], 2, direct(&to)), "what is out of date makes room");
    }

    #[test]
    fn what_is_out_of_date_is_let_go() {
        let sessions = sessions(2);
        let mut cache = RouteCache::new(&FEW);
        let (old, new) = (HashedTopic { text: b"old", hash: 0 }, HashedTopic { text: b"new", hash: 2 });
        assert!(cache.offer(old, 1, direct(&[of(&sessions[0])])));
        assert!(cache.offer(new, 2, direct(&[of(&sessions[1])])));
        assert!(cache.get(old, 1).is_some());
        cache.forget_older(2);
        assert!(cache.get(old, 1).is_none());
        assert_eq!(cache.get(new, 2).map(serials), Some(vec![sessions[1].serial]));
        cache.clear();
        assert!(cache.is_empty() && cache.get(new, 2).is_none());
    }

    /// Each of ten thousand clients of one room kept the room's ten thousand receivers; or an old list of a shared group.
    #[test]
    fn a_large_route_is_not_kept_however_it_is_large() {
        let sessions = sessions(FEW.receivers + 1);
        for filter in ["room", "$share/group/room"] {
            let mut subscriptions = Subscriptions::new(2, SharedStrategy::RoundRobin);
            let (mut cache, mut route) = (RouteCache::new(&FEW), Route::new());
            let topic = HashedTopic::new(b"room", 0);
            for session in &sessions {
                subscriptions
                    .subscribe(&TopicFilter::try_from(filter).unwrap(), session, QoS::AtMostOnce)
                    .unwrap();
                subscriptions.route(b"room", DeliveryMode::Once, &mut route);
                let is_kept = cache.offer(topic, subscriptions.generation(), Receivers::of(&route));
                assert_eq!(is_kept, subscriptions.len() <= FEW.receivers);
                let has = cache.get(topic, subscriptions.generation());
                assert_eq!(has.map(Receivers::count), is_kept.then_some(subscriptions.len()));
            }
        }
        let long = [b'x'; 61];
        assert!(!RouteCache::new(&FEW).offer(HashedTopic::new(&long, 0), 1, direct(&[])));
        assert!(RouteCache::new(&FEW).offer(HashedTopic::new(&long[1..], 0), 1, direct(&[])));
    }
}
