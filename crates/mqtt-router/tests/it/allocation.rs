//! Matching allocates nothing once the caller's route has grown.

use std::sync::Arc;

use allocation_counter::measure;
use mqtt_codec::{QoS, TopicFilter};
use mqtt_router::{DeliveryMode, Route, SharedStrategy, Subscriptions};

use crate::client::Client;

#[test]
fn matching_allocates_nothing() {
    let mut subscriptions = Subscriptions::new(128, SharedStrategy::RoundRobin);
    for id in 0..100 {
        let session = Arc::new(Client(id));
        for text in ["a/b/c", "a/+/c", "#", "+/+/+", "a/b/#", "$share/g/a/b/+", "$share/h/a/b/c"] {
            let filter = TopicFilter::try_from(text).expect("a filter");
            subscriptions.subscribe(&filter, &session, QoS::AtLeastOnce).expect("allowed");
        }
    }
    let mut route = Route::new();
    let mut allocations = |mode| {
        let measured = measure(|| subscriptions.route(b"a/b/c", mode, &mut route));
        assert_eq!(route.groups.len(), 2);
        (route.direct.len(), measured.count_total)
    };
    let (receivers, at_first) = allocations(DeliveryMode::Overlap);
    assert_eq!(receivers, 500);
    assert!(at_first > 0, "the count counts");
    assert_eq!(allocations(DeliveryMode::Overlap), (500, 0));
    assert_eq!(allocations(DeliveryMode::Once), (100, 0));
}
