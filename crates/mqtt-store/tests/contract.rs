//! The store keeps the contract of every store.

use mqtt_broker::store::{Store, contract};
use mqtt_store::{Durability, FjallStore, StoreOptions};

#[test]
fn keeps_the_contract_when_it_syncs() {
    check(Durability::Sync);
}

#[test]
fn keeps_the_contract_when_it_leaves_syncing_to_the_system() {
    check(Durability::Os);
}

fn check(durability: Durability) {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions::new(directory.path().join("data")).durability(durability);
    contract::check(|| FjallStore::open(options.clone()).unwrap());
    let expected = FjallStore::open(options).unwrap().expected();
    let is_about_two = |expected| (2..100).contains(&expected);
    assert!(
        is_about_two(expected.subscriptions) && is_about_two(expected.retained),
        "two of each are left of what the check makes: {expected:?}"
    );
}
