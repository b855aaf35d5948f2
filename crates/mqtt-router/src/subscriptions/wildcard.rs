//! [`WildcardTrie`]: the filters with a wildcard, a node for each level.
//!
//! The nodes name each other by number. A node knows one child for a literal level, the first, by
//! itself: where the trie does not branch, a step is a comparison. All other literal children are found in one hash
//! table over (parent, level): a node has no map of its own, and a step costs the same however many there are. A filter
//! ends at a node in one of two places: `here`, or `below` if a `#` follows, which matches the node's own level and all
//! below it. No recursion: neither the topic's depth nor the trie's can exhaust the stack.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    mem,
};

use super::{Subscriber, level::Level, pages::Pages, receivers::Receivers, route::Route};
use crate::sharded::ShardedTable;

/// The node that stands before the first level. Never a child, so its number also says "no child".
const ROOT: u32 = 0;

pub(super) struct WildcardTrie<S> {
    nodes: Pages<Node<S>>,
    /// The nodes reached by a literal level that are not their parent's first, found by that parent and level.
    edges: ShardedTable<u32>,
    keys: RandomState,
}

/// One cache line.
struct Node<S> {
    parent: u32,
    /// The child for `+`, or [`ROOT`] for none.
    plus: u32,
    /// One child for a literal level, or [`ROOT`] for none.
    first: u32,
    /// How many more children for a literal level there are: those in the table of edges.
    others: u32,
    /// The level that leads here from the parent.
    level: Level,
    /// The receivers of the filter that ends with this level.
    here: Receivers<S>,
    /// The receivers of the filter that goes on from this level with `#`.
    below: Receivers<S>,
}

impl<S: Subscriber + Clone> WildcardTrie<S> {
    pub(super) fn new(keys: RandomState) -> Self {
        Self { nodes: Pages::new(), edges: ShardedTable::new(), keys }
    }

    /// How many nodes there are. None at all if no filter is held.
    pub(super) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The receivers of `filter`, made if need be. The caller must add one.
    pub(super) fn entry(&mut self, filter: &[u8]) -> &mut Receivers<S> {
        let (levels, ends_with_hash) = split_hash(filter);
        if self.nodes.is_empty() {
            self.nodes.insert(Node::default()); // the root
        }
        let mut index = ROOT;
        for level in levels.into_iter().flat_map(split_levels) {
            index = match self.child(index, level) {
                Some(child) => child,
                None => self.add_child(index, level),
            };
        }
        let node = &mut self.nodes[index];
        if ends_with_hash { &mut node.below } else { &mut node.here }
    }

    pub(super) fn remove(&mut self, filter: &[u8], group: Option<&str>, subscriber_id: u64) -> bool {
        if self.nodes.is_empty() {
            return false;
        }
        let (levels, ends_with_hash) = split_hash(filter);
        let mut index = ROOT;
        for level in levels.into_iter().flat_map(split_levels) {
            let Some(child) = self.child(index, level) else { return false };
            index = child;
        }
        let node = &mut self.nodes[index];
        let receivers = if ends_with_hash { &mut node.below } else { &mut node.here };
        let removed = receivers.remove(group, subscriber_id);
        if removed {
            self.prune(index);
        }
        removed
    }

    /// Adds the receivers of every filter that matches `topic`.
    pub(super) fn route(&self, topic: &[u8], route: &mut Route<S>) {
        if self.nodes.is_empty() {
            return;
        }
        let mut pending = mem::take(&mut route.pending);
        pending.push((ROOT, 0));
        while let Some((index, level_start)) = pending.pop() {
            let node = &self.nodes[index];
            route.cost += 1;
            // A wildcard in the first level does not match a topic that begins with `$`. [MQTT-4.7.2-1]
            let wildcards_apply = index != ROOT || !topic.starts_with(b"$");
            if wildcards_apply {
                node.below.add_to(route); // `a/#` matches `a` too: 4.7.1.2
            }
            // After the last level the next one would begin one byte beyond the end.
            let Some(rest) = topic.get(level_start..) else {
                node.here.add_to(route);
                continue;
            };
            let level = split_levels(rest).next().unwrap_or_default();
            let next_start = level_start + level.len() + 1;
            if wildcards_apply && node.plus != ROOT {
                pending.push((node.plus, next_start)); // [MQTT-4.7.1-3]
            }
            if let Some(child) = self.literal_child(index, level) {
                pending.push((child, next_start)); // byte for byte [MQTT-4.7.3-4]
            }
        }
        route.pending = pending;
    }

    fn child(&self, parent: u32, level: &[u8]) -> Option<u32> {
        if level == b"+" {
            Some(self.nodes[parent].plus).filter(|&plus| plus != ROOT)
        } else {
            self.literal_child(parent, level)
        }
    }

    fn literal_child(&self, parent: u32, level: &[u8]) -> Option<u32> {
        let node = &self.nodes[parent];
        if node.first != ROOT && self.nodes[node.first].level.is(level) {
            return Some(node.first);
        }
        if node.others == 0 {
            return None;
        }
        let is_it = |&child: &u32| {
            let child = &self.nodes[child];
            child.parent == parent && child.level.is(level)
        };
        self.edges.find(hash(&self.keys, parent, level), is_it).copied()
    }

    fn add_child(&mut self, parent: u32, level: &[u8]) -> u32 {
        let child = self.nodes.insert(Node { parent, level: Level::new(level), ..Node::default() });
        let parent_node = &mut self.nodes[parent];
        if level == b"+" {
            parent_node.plus = child;
        } else if parent_node.first == ROOT {
            parent_node.first = child;
        } else {
            parent_node.others += 1;
            let (nodes, keys) = (&self.nodes, &self.keys);
            let hash = hash(keys, parent, level);
            self.edges.shard_mut(hash).insert_unique(hash, child, |&child| hash_of(nodes, keys, child));
        }
        child
    }

    /// Removes the node and those above it for as long as nothing hangs on them.
    fn prune(&mut self, mut index: u32) {
        while index != ROOT && self.nodes[index].is_unused() {
            let removed = self.nodes.remove(index);
            let parent = &mut self.nodes[removed.parent];
            if parent.plus == index {
                parent.plus = ROOT;
            } else if parent.first == index {
                parent.first = ROOT;
            } else {
                parent.others -= 1;
                let (nodes, keys) = (&self.nodes, &self.keys);
                let hash = hash(keys, removed.parent, removed.level.as_bytes());
                self.edges.remove(hash, |&child| child == index, |&child| hash_of(nodes, keys, child));
            }
            index = removed.parent;
        }
        if self.node_count() == 1 && self.nodes[ROOT].is_unused() {
            *self = Self::new(self.keys.clone()); // gives the memory back
        }
    }
}

impl<S> Default for Node<S> {
    fn default() -> Self {
        Self {
            parent: ROOT,
            plus: ROOT,
            first: ROOT,
            others: 0,
            level: Level::default(),
            here: Receivers::default(),
            below: Receivers::default(),
        }
    }
}

impl<S: Subscriber + Clone> Node<S> {
    fn is_unused(&self) -> bool {
        self.plus == ROOT
            && self.first == ROOT
            && self.others == 0
            && self.here.is_empty()
            && self.below.is_empty()
    }
}

fn hash(keys: &RandomState, parent: u32, level: &[u8]) -> u64 {
    let mut hasher = keys.build_hasher();
    hasher.write_u32(parent);
    hasher.write(level);
    hasher.finish()
}

fn hash_of<S>(nodes: &Pages<Node<S>>, keys: &RandomState, child: u32) -> u64 {
    let node = &nodes[child];
    hash(keys, node.parent, node.level.as_bytes())
}

/// The levels before a `#` at the end, if there are any, and whether there is one. [MQTT-4.7.1-2]
fn split_hash(filter: &[u8]) -> (Option<&[u8]>, bool) {
    match filter {
        b"#" => (None, true),
        [levels @ .., b'/', b'#'] => (Some(levels), true),
        levels => (Some(levels), false),
    }
}

fn split_levels(levels: &[u8]) -> impl Iterator<Item = &[u8]> {
    levels.split(|&byte| byte == b'/')
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A look-up among very many touches one line a level.
    #[test]
    fn a_node_is_one_cache_line() {
        assert_eq!(size_of::<Node<Arc<u8>>>(), 64);
    }
}
