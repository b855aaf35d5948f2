//! When a publisher may send: as its receivers keep up, by the clock, or one message at a time.

use std::{cmp::Reverse, mem, time::Duration};

use crate::{
    net::Net,
    traffic::{Extent, MAX_INFLIGHT, Pace, Routing, run::Run},
};

/// A publisher whose socket has not taken this much yet is given no more.
const MAX_UNSENT_BYTES: usize = 256 * 1024;
/// When it is looked at again, where it waits for no acknowledgement that would say so.
const LOOK_AGAIN_NS: u64 = 1_000_000;
/// The longest wait of one turn, so that clocks and progress are looked at.
const MAX_WAIT: Duration = Duration::from_millis(50);

impl Run<'_> {
    /// Lets publishers send what they may; gives the time to wait for.
    pub(super) fn send(&mut self, net: &mut Net) -> Duration {
        if !self.is_publishing() {
            return MAX_WAIT;
        }
        match self.plan.pace {
            Pace::Closed { window } => self.send_closed(net, window),
            Pace::Open { per_second } => self.send_open(net, per_second),
            Pace::Spaced { .. } => self.send_spaced(net),
        }
    }

    /// Publisher `index` has been told that one of its messages is safe.
    pub(super) fn acknowledged(&mut self, index: usize, now_ns: u64) {
        if let Pace::Spaced { interval } = self.plan.pace {
            let interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
            self.due.push(Reverse((now_ns.saturating_add(interval_ns), index)));
        } else {
            self.touch(index);
        }
    }

    fn send_closed(&mut self, net: &mut Net, window: u64) -> Duration {
        let now_ns = net.refresh_now();
        let mut touched = mem::take(&mut self.touched);
        for index in touched.drain(..) {
            self.refill(net, index, window, now_ns);
        }
        touched.append(&mut self.touched);
        self.touched = touched;
        if self.touched.is_empty() { MAX_WAIT } else { Duration::ZERO }
    }

    fn refill(&mut self, net: &mut Net, index: usize, window: u64, now_ns: u64) {
        let publisher = &mut self.publishers[index];
        publisher.touched = false;
        if net.unsent(publisher.conn) > MAX_UNSENT_BYTES {
            // `Event::Written` will touch it again.
            return;
        }
        let on_their_way = publisher.sent.saturating_sub(self.checks.received_by_slowest(index));
        let mut room = window.saturating_sub(on_their_way);
        if self.with_acknowledgement {
            room = room.min(self.plan.inflight.saturating_sub(publisher.unacknowledged));
        }
        if let Extent::Messages(count) = self.plan.extent {
            room = room.min(count - publisher.sent);
        }
        if room == 0 {
            return;
        }
        let count = room.min(publisher.at_once);
        publisher.publish(count, now_ns, net.out(publisher.conn));
        self.published += count;
        if count < room || (self.plan.routing == Routing::Nobody && !self.with_acknowledgement) {
            // No event need ever say that it may go on.
            self.touch(index);
        }
    }

    /// The messages whose time has come, each stamped with that time; gives the time until the next.
    fn send_open(&mut self, net: &mut Net, per_second: f64) -> Duration {
        let now_ns = net.refresh_now();
        loop {
            let after_ns = (self.published as f64 * 1e9 / per_second) as u64;
            let intended_ns = self.began_ns.saturating_add(after_ns);
            if intended_ns > now_ns {
                return Duration::from_nanos(intended_ns - now_ns).min(MAX_WAIT);
            }
            let index = (self.published % self.publishers.len().max(1) as u64) as usize;
            if !self.may_send_more(index) {
                return MAX_WAIT;
            }
            self.most_late_ns = self.most_late_ns.max(now_ns - intended_ns);
            self.publish_one(net, index, intended_ns);
        }
    }

    /// One message at a time from each publisher, the next one `interval` after the last was acknowledged.
    fn send_spaced(&mut self, net: &mut Net) -> Duration {
        let now_ns = net.refresh_now();
        let first_time = mem::take(&mut self.touched);
        for index in first_time {
            if self.publishers[index].sent == 0 {
                self.due.push(Reverse((now_ns, index)));
            }
        }
        while let Some(&Reverse((due_ns, index))) = self.due.peek() {
            if due_ns > now_ns {
                return Duration::from_nanos(due_ns - now_ns).min(MAX_WAIT);
            }
            self.due.pop();
            if self.publishers.get(index).is_some_and(|one| net.unsent(one.conn) > MAX_UNSENT_BYTES) {
                self.due.push(Reverse((now_ns + LOOK_AGAIN_NS, index)));
            } else if self.may_send_more(index) {
                self.publish_one(net, index, now_ns);
                if !self.with_acknowledgement {
                    self.acknowledged(index, now_ns);
                }
            }
        }
        MAX_WAIT
    }

    fn may_send_more(&self, index: usize) -> bool {
        match (self.plan.extent, self.publishers.get(index)) {
            // With more than that an identifier would be that of two.
            (_, Some(publisher)) if publisher.unacknowledged >= MAX_INFLIGHT => false,
            (Extent::Messages(count), Some(publisher)) => publisher.sent < count,
            (Extent::Time { .. }, Some(_)) => true,
            (_, None) => false,
        }
    }

    fn publish_one(&mut self, net: &mut Net, index: usize, sent_ns: u64) {
        let publisher = &mut self.publishers[index];
        publisher.publish(1, sent_ns, net.out(publisher.conn));
        self.published += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use mqtt_codec::QoS;

    use super::*;
    use crate::{link::Transport, traffic::Plan};

    #[test]
    fn a_window_of_large_messages_is_not_held_in_memory() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut net = Net::new(Transport::default(), 0).unwrap();
        let conn = net.open(listener.local_addr().unwrap()).unwrap();
        for (payload_bytes, at_most) in [(64, 900), (100_000, 10), (2_000_000, 1)] {
            let plan = Plan {
                routing: Routing::Pairs,
                subscribers: 1,
                pace: Pace::Closed { window: 900 },
                ..Plan::store(vec!["t".into()], QoS::AtMostOnce, payload_bytes, 2000)
            };
            net.out(conn).clear();
            let mut run = Run::new(&mut net, &plan, &[conn], &[]);
            assert_eq!(run.send(&mut net).is_zero(), at_most < 900, "it has to go on by itself");
            assert_eq!(run.published, at_most);
            // The socket has taken nothing yet, so there is no more.
            run.send(&mut net);
            assert_eq!(run.published, at_most);
        }
    }

    #[test]
    fn no_packet_identifier_is_used_while_it_is_unacknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut net = Net::new(Transport::default(), 0).unwrap();
        let conn = net.open(listener.local_addr().unwrap()).unwrap();
        let plan = Plan {
            pace: Pace::Open { per_second: 1e12 },
            ..Plan::store(vec!["t".into()], QoS::AtLeastOnce, 16, 70_000)
        };
        let mut run = Run::new(&mut net, &plan, &[conn], &[]);
        std::thread::sleep(Duration::from_millis(1));
        run.send(&mut net);
        assert_eq!(run.published, 65_535);
    }

    #[test]
    fn a_message_may_be_due_later_than_time_goes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut net = Net::new(Transport::default(), 0).unwrap();
        let conn = net.open(listener.local_addr().unwrap()).unwrap();
        for pace in [Pace::Open { per_second: 1e-300 }, Pace::Spaced { interval: Duration::MAX }] {
            let plan = Plan { pace, ..Plan::store(vec!["t".into()], QoS::AtMostOnce, 16, 3) };
            let mut run = Run::new(&mut net, &plan, &[conn], &[]);
            run.send(&mut net);
            run.send(&mut net);
            assert_eq!(run.published, 1, "{pace:?}");
        }
    }
}
