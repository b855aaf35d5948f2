//! Topic matching alone: reads filters as arguments and topics as lines, and says for each topic which filters it matches.
//!
//! `printf 'room/1/light\nroom/2/door\n' | cargo run -p mqtt-router --example matching -- 'room/+/light' '#'`.

use std::{
    error::Error,
    io::{self, BufRead},
    sync::Arc,
};

use mqtt_codec::{QoS, TopicFilter, TopicName};
use mqtt_router::{DEFAULT_MAX_TOPIC_LEVELS, DeliveryMode, Route, SharedStrategy, Subscriber, Subscriptions};

/// A receiver is whatever the caller says it is: here a filter's place among the arguments.
struct Receiver {
    id: u64,
    filter: TopicFilter,
}

impl Subscriber for Receiver {
    fn id(&self) -> u64 {
        self.id
    }

    fn is_online(&self) -> bool {
        true
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut subscriptions = Subscriptions::new(DEFAULT_MAX_TOPIC_LEVELS, SharedStrategy::RoundRobin);
    for (id, argument) in (1..).zip(std::env::args().skip(1)) {
        let filter = TopicFilter::try_from(argument.as_str())?;
        let receiver = Arc::new(Receiver { id, filter: filter.clone() });
        subscriptions.subscribe(&filter, &receiver, QoS::AtMostOnce)?;
    }
    // Used again for each topic: once it has grown, a look-up allocates nothing.
    let mut route = Route::new();
    for line in io::stdin().lock().lines() {
        let topic = TopicName::new(line?)?;
        subscriptions.route(topic.as_bytes(), DeliveryMode::Once, &mut route);
        let mut matched: Vec<&str> =
            route.direct.iter().map(|(receiver, _)| receiver.filter.as_str()).collect();
        matched.sort_unstable();
        println!("{topic}: {}", if matched.is_empty() { "-".to_owned() } else { matched.join(", ") });
    }
    Ok(())
}
