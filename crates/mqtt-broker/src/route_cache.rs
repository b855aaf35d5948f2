//! [`RouteCache`]: a memory of who receives what, so that most messages need neither the router nor its lock.

use std::{mem, slice, sync::Arc};

use mqtt_codec::QoS;
use mqtt_router::{Route, SharedGroup};

use crate::session::SessionRef;

/// The routes of some topics, each valid for one generation of the subscriptions.
///
/// Bounded in topics, and in what it keeps of each. A topic has two places where it can stand, side by side. Of topics that are
/// more than there is room for, those stay that came first, unless another is asked for twice before a third is: going round
/// very many topics costs a look, and does not push out what others ask for.
pub(crate) struct RouteCache {
    /// None until the first is kept.
    places: Box<[Place]>,
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

/// A topic and its hash, by which its places are chosen: one that spreads poorly costs speed, and never gives a wrong route.
#[derive(Clone, Copy)]
pub(crate) struct HashedTopic<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) hash: u64,
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
        Self { places: Box::default(), bounds }
    }

    pub(crate) fn get(&self, topic: HashedTopic<'_>, generation: u64) -> Option<Receivers<'_>> {
        let both = self.places.get(self.first_place(topic.hash)..)?.first_chunk::<2>()?;
        let found = both.iter().find(|place| place.generation == generation && place.topic.is(topic.text));
        Some(found?.kept.receivers())
    }

    /// Keeps the receivers of a topic that it does not have, if it has room. Says whether it has.
    pub(crate) fn offer(
        &mut self,
        topic: HashedTopic<'_>,
        generation: u64,
        receivers: Receivers<'_>,
    ) -> bool {
        if topic.text.len() > self.bounds.topic_len || receivers.count() > self.bounds.receivers {
            return false;
        }
        if self.places.is_empty() {
            self.places = (0..self.bounds.topics).map(|_| Place::empty()).collect();
        }
        let first = self.first_place(topic.hash);
        let Some(places) = self.places.get_mut(first..first + 2) else { return false };
        let is_free = |place: &Place| place.generation != generation;
        let chosen = places.iter().position(is_free).or_else(|| {
            let of_two = topic.hash as usize % 2;
            let tag = (topic.hash >> 32) as u32;
            let last = mem::replace(&mut places.get_mut(of_two)?.refused, tag);
            (last == tag).then_some(of_two)
        });
        let Some(place) = chosen.and_then(|chosen| places.get_mut(chosen)) else { return false };
        let (kept, topic) = (Kept::new(receivers), Text::new(topic.text));
        *place = Place { generation, kept, topic, refused: 0 };
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

impl<'a> Receivers<'a> {
    pub(crate) fn of(route: &'a Route<SessionRef>) -> Self {
        Self { direct: &route.direct, groups: &route.groups }
    }

    /// The members of shared groups are kept with them.
    fn count(&self) -> usize {
        self.direct.len() + self.groups.iter().map(|group| group.members().len()).sum::<usize>()
    }
}

impl Place {
    fn empty() -> Self {
        Self { generation: NO_GENERATION, kept: Kept::Nobody, topic: Text::new(&[]), refused: 0 }
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
