//! Clients that publish too fast.

use std::num::{NonZeroU32, NonZeroU64};

use super::*;
use crate::limits::PublishRatePolicy;

/// One PUBLISH after the other, as fast as they come.
fn publishes(payload: &str, count: usize) -> Vec<u8> {
    let (topic, payload) = (TopicName::try_from("t").unwrap(), Bytes::copy_from_slice(payload.as_bytes()));
    let publish = Publish { delivery: Delivery::AtMostOnce, retain: false, topic, payload };
    let mut bytes = Vec::new();
    (0..count).for_each(|_| publish.encode(&mut bytes).unwrap());
    bytes
}

impl Fixture {
    fn hear_publishes(&mut self, payload: &str, count: usize) {
        let bytes = publishes(payload, count);
        self.connection.handle_bytes(self.now, &bytes, &mut self.core.burst());
    }

    /// How many messages have come back.
    fn echoes(&mut self) -> usize {
        self.say().iter().filter(|packet| matches!(packet, Packet::Publish(_))).count()
    }
}

#[test]
fn who_publishes_too_fast_is_read_less() {
    let limits = Limits {
        max_publish_rate: NonZeroU32::new(10),
        max_inflight: 100,
        max_keep_alive_secs: Some(1),
        ..Limits::default()
    };
    let mut fixture = Fixture::new(limits);
    fixture.hear_publishes("x", 10);
    assert!(fixture.connection.wants_bytes(), "a second's worth may come at once");
    assert_eq!(fixture.echoes(), 10);
    fixture.hear_publishes("x", 30);
    assert!(!fixture.connection.wants_bytes());
    assert_eq!(fixture.echoes(), 1, "what went beyond the rate is passed on");
    assert_eq!(fixture.core.counters.snapshot().publishers_delayed, 1);
    // What has come already goes on at the rate, and the keep alive of 1.5 s does not run while nobody listens.
    let mut waited = Duration::ZERO;
    for _ in 0..29 {
        let until = fixture.connection.poll_timeout().unwrap();
        let pause = until.saturating_duration_since(fixture.now);
        waited += pause;
        fixture.pass(pause);
        assert_eq!(fixture.echoes(), 1);
    }
    assert_eq!(waited, Duration::from_millis(2_900));
    assert_eq!(fixture.connection.closed(), None);
    let pause = fixture.connection.poll_timeout().unwrap().saturating_duration_since(fixture.now);
    fixture.pass(pause);
    assert!(fixture.connection.wants_bytes());
    // Then it runs again.
    fixture.pass(Duration::from_millis(1_500));
    assert_eq!(fixture.connection.closed(), Some(&CloseReason::KeepAliveTimeout));
}

#[test]
fn bytes_are_limited_as_messages_are() {
    let len = publishes("0123456789", 1).len() as u64;
    let limits = Limits { max_publish_byte_rate: NonZeroU64::new(2 * len), ..Limits::default() };
    let mut fixture = Fixture::new(limits);
    fixture.hear_publishes("0123456789", 4);
    assert_eq!(fixture.echoes(), 3);
    fixture.pass(Duration::from_millis(500));
    assert_eq!(fixture.echoes(), 1);
}

#[test]
fn who_publishes_too_fast_is_disconnected_if_that_is_the_policy() {
    let limits = Limits {
        max_publish_rate: NonZeroU32::new(2),
        publish_rate_policy: PublishRatePolicy::Disconnect,
        ..Limits::default()
    };
    let mut fixture = Fixture::new(limits);
    fixture.hear_publishes("x", 2);
    assert_eq!(fixture.echoes(), 2);
    fixture.pass(Duration::from_millis(500));
    fixture.hear_publishes("x", 2);
    assert_eq!(fixture.connection.closed(), Some(&CloseReason::PublishRate));
}

/// A take-over or a kick reaches a client that is held back too.
#[test]
fn who_is_held_back_can_be_ended() {
    let limits = Limits { max_publish_byte_rate: NonZeroU64::new(1), ..Limits::default() };
    let mut fixture = Fixture::new(limits);
    fixture.hear_publishes("x", 2);
    assert!(!fixture.connection.wants_bytes());
    assert!(fixture.core.sessions.get("client").unwrap().close(CloseReason::Kicked));
    fixture.say();
    assert_eq!(fixture.connection.closed(), Some(&CloseReason::Kicked));
}

impl Fixture {
    /// One more connection of a client that publishes, which has a session as long as that.
    fn publisher(&self) -> Connection {
        let connect = Packet::Connect(Box::new(Connect {
            clean_session: true,
            keep_alive_secs: 0,
            client_id: Utf8Bytes::try_from("publisher").unwrap(),
            will: None,
            credentials: None,
        }));
        let (mut publisher, mut bytes) = (connection(&self.core, self.now), Vec::new());
        connect.encode(&mut bytes).unwrap();
        publisher.handle_bytes(self.now, &bytes, &mut self.core.burst());
        publisher
    }
}

/// A rate that each connection began anew with was none: a client may have one after the other.
#[test]
fn who_comes_back_publishes_no_faster() {
    // Where it is delayed, the message that goes beyond the rate is passed on.
    for (policy, at_once) in [(PublishRatePolicy::Delay, 11), (PublishRatePolicy::Disconnect, 10)] {
        for takes_over in [false, true] {
            let mut fixture = Fixture::new(Limits {
                max_publish_rate: NonZeroU32::new(10),
                publish_rate_policy: policy,
                ..Limits::default()
            });
            let mut earlier = Vec::new();
            for (pause, passed_on) in [(0, at_once), (500, 5), (100_000, at_once)] {
                fixture.now += Duration::from_millis(pause);
                fixture.core.tick(fixture.now);
                for _ in 0..100 {
                    let mut publisher = fixture.publisher();
                    publisher.handle_bytes(fixture.now, &publishes("x", 10), &mut fixture.core.burst());
                    if !takes_over {
                        let lost = CloseReason::ConnectionLost;
                        publisher.handle_loss(fixture.now, lost, &mut fixture.core.burst());
                    }
                    earlier.push(publisher);
                }
                assert_eq!(fixture.echoes(), passed_on, "{policy:?}, {takes_over}, after {pause} ms");
            }
        }
    }
}
