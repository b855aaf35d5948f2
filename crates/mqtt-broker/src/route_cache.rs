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
            if route.direct.len() > MOST_RECEIVERS {
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
}

/// Topics of one publisher mostly differ at the end and in length. A poor spread costs speed, never a wrong route.
fn place_of(topic: &[u8]) -> usize {
    let tail =
        topic.iter().rev().take(4).fold(topic.len(), |sum, &byte| sum.wrapping_mul(31) + usize::from(byte));
    tail % ENTRIES
}
