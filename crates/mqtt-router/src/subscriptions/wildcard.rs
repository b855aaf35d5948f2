//! [`WildcardTrie`]: the filters with a wildcard, a node for each level.
//!
//! The nodes lie in one vector and name each other by index. The edges for literal levels lie in one hash table over
//! (parent, level): a node has no map of its own, and finding a child costs the same however many there are. A filter
//! ends at a node in one of two places: `here`, or `below` if a `#` follows, which matches the node's own level and all
//! below it. No recursion: neither the topic's depth nor the trie's can exhaust the stack.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    mem,
};

use hashbrown::HashTable;

use super::{Subscriber, receivers::Receivers, route::Route};

/// The node that stands before the first level. Never a child, so its index also says "no child".
const ROOT: u32 = 0;

pub(super) struct WildcardTrie<S> {
    nodes: Vec<Node<S>>,
    /// Indices of nodes that are free to be used again.
    free: Vec<u32>,
    /// The nodes reached by a literal level, found by their parent and that level.
    edges: HashTable<u32>,
    keys: RandomState,
}

struct Node<S> {
    parent: u32,
    /// The child for `+`, or [`ROOT`] for none.
    plus: u32,
    /// How many children are reached by a literal level.
    literal_children: u32,
    /// The level that leads here from the parent.
    level: Box<[u8]>,
    /// The receivers of the filter that ends with this level.
    here: Receivers<S>,
    /// The receivers of the filter that goes on from this level with `#`.
    below: Receivers<S>,
}

impl<S: Subscriber + Clone> WildcardTrie<S> {
    pub(super) fn new(keys: RandomState) -> Self {
        Self { nodes: Vec::new(), free: Vec::new(), edges: HashTable::new(), keys }
    }

    /// How many nodes there are. None at all if no filter is held.
    pub(super) fn node_count(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// The receivers of `filter`, made if need be. The caller must add one.
    pub(super) fn entry(&mut self, filter: &[u8]) -> &mut Receivers<S> {
        let (levels, ends_with_hash) = split_hash(filter);
        if self.nodes.is_empty() {
            self.nodes.push(Node::new(ROOT, &[]));
        }
        let mut index = ROOT;
        for level in levels.into_iter().flat_map(split_levels) {
            index = match self.child(index, level) {
                Some(child) => child,
                None => self.add_child(index, level),
            };
        }
        let node = &mut self.nodes[index as usize];
        if ends_with_hash { &mut node.below } else { &mut node.here }
    }

    pub(super) fn remove(&mut self, filter: &[u8], group: Option<&str>, subscriber_id: u64) -> bool {
        let (levels, ends_with_hash) = split_hash(filter);
        let mut index = ROOT;
        for level in levels.into_iter().flat_map(split_levels) {
            let Some(child) = self.child(index, level) else { return false };
            index = child;
        }
        let Some(node) = self.nodes.get_mut(index as usize) else { return false };
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
            let node = &self.nodes[index as usize];
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
            if node.literal_children > 0
                && let Some(child) = self.literal_child(index, level)
            {
                pending.push((child, next_start)); // byte for byte [MQTT-4.7.3-4]
            }
        }
        route.pending = pending;
    }

    fn child(&self, parent: u32, level: &[u8]) -> Option<u32> {
        if level == b"+" {
            self.nodes.get(parent as usize).map(|node| node.plus).filter(|&plus| plus != ROOT)
        } else {
            self.literal_child(parent, level)
        }
    }

    fn literal_child(&self, parent: u32, level: &[u8]) -> Option<u32> {
        let is_it = |&child: &u32| {
            let node = &self.nodes[child as usize];
            node.parent == parent && *node.level == *level
        };
        self.edges.find(hash(&self.keys, parent, level), is_it).copied()
    }

    fn add_child(&mut self, parent: u32, level: &[u8]) -> u32 {
        let node = Node::new(parent, level);
        let child = if let Some(index) = self.free.pop() {
            self.nodes[index as usize] = node;
            index
        } else {
            self.nodes.push(node);
            (self.nodes.len() - 1) as u32
        };
        if level == b"+" {
            self.nodes[parent as usize].plus = child;
        } else {
            self.nodes[parent as usize].literal_children += 1;
            let (nodes, keys) = (&self.nodes, &self.keys);
            self.edges.insert_unique(hash(keys, parent, level), child, |&child| hash_of(nodes, keys, child));
        }
        child
    }

    /// Removes the node and those above it for as long as nothing hangs on them.
    fn prune(&mut self, mut index: u32) {
        while index != ROOT && self.nodes[index as usize].is_unused() {
            let (nodes, keys) = (&self.nodes, &self.keys);
            if let Ok(edge) = self.edges.find_entry(hash_of(nodes, keys, index), |&child| child == index) {
                edge.remove();
            }
            let removed = mem::replace(&mut self.nodes[index as usize], Node::new(ROOT, &[]));
            let parent = &mut self.nodes[removed.parent as usize];
            if *removed.level == *b"+" {
                parent.plus = ROOT;
            } else {
                parent.literal_children -= 1;
            }
            self.free.push(index);
            index = removed.parent;
        }
        if self.node_count() == 1 && self.nodes[ROOT as usize].is_unused() {
            *self = Self::new(self.keys.clone()); // gives the memory back
        } else if self.edges.len() < self.edges.capacity() / 8 {
            let (nodes, keys) = (&self.nodes, &self.keys);
            self.edges.shrink_to(self.edges.len() * 2, |&child| hash_of(nodes, keys, child));
        }
    }
}

impl<S: Subscriber + Clone> Node<S> {
    fn new(parent: u32, level: &[u8]) -> Self {
        Self {
            parent,
            plus: ROOT,
            literal_children: 0,
            level: level.into(),
            here: Receivers::default(),
            below: Receivers::default(),
        }
    }

    fn is_unused(&self) -> bool {
        self.plus == ROOT && self.literal_children == 0 && self.here.is_empty() && self.below.is_empty()
    }
}

fn hash(keys: &RandomState, parent: u32, level: &[u8]) -> u64 {
    let mut hasher = keys.build_hasher();
    hasher.write_u32(parent);
    hasher.write(level);
    hasher.finish()
}

fn hash_of<S>(nodes: &[Node<S>], keys: &RandomState, child: u32) -> u64 {
    let node = &nodes[child as usize];
    hash(keys, node.parent, &node.level)
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
