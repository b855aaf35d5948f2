//! Publishing: who receives a message, and handing it to all of them.

use std::{collections::HashSet, sync::atomic::Ordering};

use mqtt_codec::QoS;
use mqtt_router::{DeliveryMode, Route, SharedGroup};

use super::{Core, worker_routes::Shared};
use crate::{
    burst::Burst,
    client::ClientInfo,
    message::Outgoing,
    route_cache::{Receivers, RouteCache},
    session::{Gate, SessionRef},
    store::{Mark, Record},
};

/// How many looks at a filter, or at a member of a shared group, take as long as handing one message over.
const LOOKS_A_HAND_OVER: usize = 8;

impl Core {
    /// Hands a message to everybody with a matching subscription [MQTT-4.5.0-1].
    ///
    /// `publisher` is a number that stands for the publishing client, for shared subscriptions that go by it; `group` is
    /// what has to survive together with the message; `own` is what the publisher knows by itself. The mark says when all of
    /// it does.
    pub(crate) fn publish(
        &self,
        outgoing: &Outgoing<'_>,
        publisher: u64,
        group: Vec<Record>,
        own: &mut RouteCache,
        burst: &mut Burst<'_>,
    ) -> Mark {
        let generation = self.generation.load(Ordering::Acquire);
        match own.get_newest(outgoing.topic, generation) {
            Some(receivers) => self.hand_out(receivers, outgoing, publisher, group, burst, |_| true),
            None => self.publish_elsewhere(outgoing, publisher, group, own, burst),
        }
    }

    /// The rest of `publish`, apart so that the way of a publisher's usual topic stays short.
    #[inline(never)]
    fn publish_elsewhere(
        &self,
        outgoing: &Outgoing<'_>,
        publisher: u64,
        group: Vec<Record>,
        own: &mut RouteCache,
        burst: &mut Burst<'_>,
    ) -> Mark {
        let generation = self.generation.load(Ordering::Acquire);
        let topic = self.routes.hashed(outgoing.topic);
        if let Some(receivers) = own.get(topic, generation) {
            return self.hand_out(receivers, outgoing, publisher, group, burst, |_| true);
        }
        let Some(mut shared) = self.routes.of_this_thread() else {
            return self.find_and_hand_out(outgoing, publisher, group, burst, |_| true);
        };
        let Shared { cache, scratch, .. } = &mut *shared;
        let receivers = if let Some(receivers) = cache.get(topic, generation) {
            own.offer(topic, generation, receivers);
            receivers
        } else {
            let generation = self.find_route(outgoing.topic, scratch, burst);
            let receivers = Receivers::of(scratch);
            if !own.offer(topic, generation, receivers) {
                cache.offer(topic, generation, receivers);
            }
            receivers
        };
        let mark = self.hand_out(receivers, outgoing, publisher, group, burst, |_| true);
        shared.let_go();
        mark
    }

    /// Like [`Core::publish`], but only to receivers that `wanted` names.
    pub(crate) fn publish_to(
        &self,
        outgoing: &Outgoing<'_>,
        group: Vec<Record>,
        burst: &mut Burst<'_>,
        wanted: impl Fn(&SessionRef) -> bool,
    ) -> Mark {
        self.find_and_hand_out(outgoing, 0, group, burst, wanted)
    }

    fn find_and_hand_out(
        &self,
        outgoing: &Outgoing<'_>,
        publisher: u64,
        group: Vec<Record>,
        burst: &mut Burst<'_>,
        wanted: impl Fn(&SessionRef) -> bool,
    ) -> Mark {
        let mut route = Route::default();
        self.find_route(outgoing.topic, &mut route, burst);
        self.hand_out(Receivers::of(&route), outgoing, publisher, group, burst, wanted)
    }

    /// Asks the router. Says for which generation the route is valid.
    fn find_route(&self, topic: &[u8], route: &mut Route<SessionRef>, burst: &mut Burst<'_>) -> u64 {
        let subscriptions = self.subscriptions.read();
        subscriptions.route(topic, self.limits.delivery_mode, route); // [MQTT-3.3.2-3]
        burst.spend(route.cost() / LOOKS_A_HAND_OVER);
        subscriptions.generation()
    }

    fn hand_out(
        &self,
        route: Receivers<'_>,
        outgoing: &Outgoing<'_>,
        publisher: u64,
        group: Vec<Record>,
        burst: &mut Burst<'_>,
        wanted: impl Fn(&SessionRef) -> bool,
    ) -> Mark {
        let in_turn = route.groups.iter().map(|group| 1 + group.members().len() / LOOKS_A_HAND_OVER);
        burst.spend(route.direct.len() + in_turn.sum::<usize>());
        let direct = || route.direct.iter().map(|(receiver, granted)| (receiver, *granted));
        let picked = route.groups.iter().filter_map(|group| self.pick(group, publisher, outgoing, &wanted));
        let wanted = |(receiver, _): &(&SessionRef, QoS)| wanted(receiver);
        // [MQTT-3.8.4-6]; [MQTT-3.3.1-9]: RETAIN is 0 for an established subscription.
        let lower = |(receiver, granted)| (receiver, outgoing.qos.min(granted));
        if !self.durability.is_on() || outgoing.qos == QoS::AtMostOnce {
            for (receiver, qos) in direct().chain(picked).filter(wanted).map(lower) {
                self.hand_over(receiver, outgoing, qos, None, burst);
            }
            return self.durability.append(group);
        }
        if !route.groups.is_empty() || self.limits.delivery_mode == DeliveryMode::Overlap {
            let receivers = direct().chain(picked).filter(wanted).map(lower);
            return self.hand_out_copies(receivers, outgoing, group, burst);
        }
        // Kept, and then handed over.
        let receivers = || direct().filter(wanted).map(lower);
        let mark = self.keep(receivers(), outgoing, false, group);
        for (receiver, qos) in receivers() {
            self.hand_over(receiver, outgoing, qos, None, burst);
        }
        mark
    }

    /// Whose turn it is among the members of a group. The share of one who is not to have the message goes to another.
    #[inline(never)] // The way of a message that nobody shares stays short.
    fn pick<'g>(
        &self,
        group: &'g SharedGroup<SessionRef>,
        publisher: u64,
        outgoing: &Outgoing<'_>,
        wanted: &impl Fn(&SessionRef) -> bool,
    ) -> Option<(&'g SessionRef, QoS)> {
        if self.hooks.on_deliver.is_none() {
            return group.pick_who(publisher, outgoing.topic, |member, _| wanted(member));
        }
        group.pick_who(publisher, outgoing.topic, |member, granted| {
            let may = |client: Option<&ClientInfo>| {
                let gate = Gate::new(&self.hooks, client);
                gate.lets_outgoing_pass(outgoing, outgoing.qos.min(granted), false)
            };
            wanted(member) && may(member.client().as_deref())
        })
    }

    /// The same where a session may get several copies: each of them goes its own way to its end, so in the store each has a key of
    /// its own.
    fn hand_out_copies<'s>(
        &self,
        receivers: impl Iterator<Item = (&'s SessionRef, QoS)>,
        outgoing: &Outgoing<'_>,
        group: Vec<Record>,
        burst: &mut Burst<'_>,
    ) -> Mark {
        let (mut first, mut further, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        for (receiver, qos) in receivers {
            let is_kept = !receiver.clean && qos > QoS::AtMostOnce;
            let copies = if is_kept && !seen.insert(receiver.serial) { &mut further } else { &mut first };
            copies.push((receiver, qos));
        }
        let mark = self.keep(first.iter().copied(), outgoing, false, group);
        for (receiver, qos) in first {
            self.hand_over(receiver, outgoing, qos, None, burst);
        }
        // The last mark is the greatest.
        let alone = |(receiver, qos)| self.hand_over_alone(receiver, outgoing, qos, burst);
        further.into_iter().map(alone).last().unwrap_or(mark)
    }
}
