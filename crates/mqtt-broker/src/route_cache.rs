//! [`RouteCache`]: a publisher's own memory of who receives what, so that most messages need no router lock.

use mqtt_router::Route;

use crate::session::SessionRef;

/// The routes of the topics that one connection published to last, each valid for one generation of the subscriptions.
///
/// Owned by the publisher, bounded in entries and in receivers, thrown away with the connection.
#[derive(Default)]
pub(crate) struct RouteCache {
    entries: [Option<Entry>; ENTRIES],
    /// Where a route is put that is too large to keep.
    scratch: Route<SessionRef>,
}

struct Entry {
    topic: Box<[u8]>,
    generation: u64,
    route: Route<SessionRef>,
}

const ENTRIES: usize = 8;
/// A larger route costs more memory to keep than it saves: finding it again is cheap beside handing out to so many.
const MOST_RECEIVERS: usize = 256;

impl RouteCache {
    /// The route for `topic`: kept from an earlier message, or found now with `find`, which returns its generation.
    pub(crate) fn route(
        &mut self,
        topic: &[u8],
        generation: u64,
        find: impl FnOnce(&mut Route<SessionRef>) -> u64,
    ) -> &Route<SessionRef> {
        let place = place_of(topic);
        let entry = &mut self.entries[place];
        let is_kept =
            entry.as_ref().is_some_and(|entry| entry.generation == generation && *entry.topic == *topic);
        if !is_kept {
            let mut route = std::mem::take(&mut self.scratch);
            let generation = find(&mut route);
            let members = route.groups.iter().map(|group| group.members().len()).sum::<usize>();
            if route.direct.len() + members > MOST_RECEIVERS {
                *entry = None;
                self.scratch = route;
                return &self.scratch;
            }
            let old = entry.replace(Entry { topic: topic.into(), generation, route });
            self.scratch = old.map(|old| old.route).unwrap_or_default();
            self.scratch.clear();
        }
        self.entries[place].as_ref().map_or(&self.scratch, |entry| &entry.route)
    }

    /// The route is not needed any more: one that is too large to keep is given back, its memory too.
    pub(crate) fn let_go(&mut self) {
        if self.scratch.direct.capacity() > MOST_RECEIVERS || !self.scratch.groups.is_empty() {
            self.scratch = Route::default();
        }
    }
}

/// Topics of one publisher mostly differ at the end and in length. A poor spread costs speed, never a wrong route.
fn place_of(topic: &[u8]) -> usize {
    let tail =
        topic.iter().rev().take(4).fold(topic.len(), |sum, &byte| sum.wrapping_mul(31) + usize::from(byte));
    tail % ENTRIES
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mqtt_codec::{QoS, TopicFilter};
    use mqtt_router::{DeliveryMode, SharedStrategy, Subscriptions};

    use super::*;
    use crate::{
        client::{ClientInfo, Peer},
        durability::Durability,
        hooks::HookSet,
        limits::Limits,
        net,
        session::Registry,
    };

    /// Each of ten thousand clients of one room kept the room's ten thousand receivers; or an old list of a shared group.
    #[test]
    fn a_large_route_is_not_kept_however_it_is_large() {
        for filter in ["room", "$share/group/room"] {
            let mut subscriptions = Subscriptions::new(2, SharedStrategy::RoundRobin);
            let registry = Registry::new();
            for n in 0..=MOST_RECEIVERS {
                let info = Arc::new(ClientInfo {
                    client_id: n.to_string().into(),
                    user_name: None,
                    peer: Peer::InProcess,
                    listener: None,
                    clean_session: true,
                    keep_alive_secs: 0,
                    connected_at: net::now(),
                    attached: crate::client::Attached::default(),
                });
                let (limits, hooks) = (Limits::default(), HookSet::default());
                let attached = registry.attach(&info, None, &limits, &hooks, &Durability::default()).unwrap();
                let session = attached.attachment.session;
                subscriptions
                    .subscribe(&TopicFilter::try_from(filter).unwrap(), &session, QoS::AtMostOnce)
                    .unwrap();
            }
            let mut cache = RouteCache::default();
            let route = cache.route(b"room", subscriptions.generation(), |route| {
                subscriptions.route(b"room", DeliveryMode::Once, route);
                subscriptions.generation()
            });
            assert!(!route.is_empty());
            cache.let_go();
            assert!(cache.entries.iter().all(Option::is_none));
            assert!(cache.scratch.is_empty() && cache.scratch.direct.capacity() == 0);
        }
    }
}
