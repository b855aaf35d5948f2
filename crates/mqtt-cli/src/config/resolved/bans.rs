//! From `[bans]` to whom the broker does not let in.

use mqtt_broker::BanTarget;

use crate::config::{key::Setting, mistake::Mistakes, raw::BanKeys};

pub(super) fn resolve(keys: &BanKeys, max_bans: usize, mistakes: &mut Mistakes) -> Vec<BanTarget> {
    let networks = keys.networks.value.iter().copied().map(BanTarget::Network);
    let client_ids = names(&keys.client_ids, mistakes);
    if client_ids.iter().any(String::is_empty) {
        mistakes.add(&keys.client_ids.origin, "bans a name that no client can have: it is empty");
    }
    let client_ids = client_ids.iter().map(|name| BanTarget::ClientId(name.as_str().into()));
    let users = names(&keys.users, mistakes).iter().map(|name| BanTarget::User(name.as_str().into()));
    let mut targets: Vec<BanTarget> = networks.chain(client_ids).chain(users).collect();
    targets.sort_unstable();
    targets.dedup();
    if targets.len() > max_bans {
        let lists = [
            (keys.networks.value.len(), &keys.networks.origin, "networks"),
            (keys.client_ids.value.len(), &keys.client_ids.origin, "client_ids"),
            (keys.users.value.len(), &keys.users.origin, "users"),
        ];
        let count = targets.len();
        if let Some((_, longest, name)) = lists.into_iter().max_by_key(|(len, ..)| *len) {
            let what = format!("with `{name}` there are {count} bans, and [limits] max_bans is {max_bans}");
            mistakes.add(longest, what);
        }
    }
    targets
}

/// As MQTT can spell them.
fn names<'a>(list: &'a Setting<Vec<String>>, mistakes: &mut Mistakes) -> &'a [String] {
    if list.value.iter().any(|name| name.len() > usize::from(u16::MAX)) {
        mistakes.add(&list.origin, "bans a name that no client can have: it is of more than 65535 bytes");
    }
    &list.value
}
