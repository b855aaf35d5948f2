//! [`Flipper`]: a session that is begun and discarded in turns.

use std::{collections::BTreeSet, time::Duration};

use mqtt_codec::{Packet, PacketId, QoS, Subscribe, TopicFilter};

use crate::{
    link::{Link, Stop, connect_packet, fault},
    phase::{Client, Phase},
    rng::Rng,
};

const NAME: &str = "flipper";

pub(crate) struct Flipper {
    rng: Rng,
    /// Whether there is a session: what the last CONNACK promised, and what was asked for since.
    possible: BTreeSet<bool>,
}

impl Flipper {
    pub(crate) fn new(rng: Rng) -> Self {
        Self { rng, possible: BTreeSet::from([false]) }
    }
}

impl Client for Flipper {
    fn name(&self) -> &str {
        NAME
    }

    fn connection(&mut self, phase: &Phase) -> Result<bool, Stop> {
        if phase.goal.is_some() {
            return Ok(true);
        }
        let clean_session = self.rng.percent(40);
        let earlier = self.possible.clone();
        self.possible.insert(!clean_session);
        let connected = Link::connect(phase.address, connect_packet(NAME, clean_session));
        let (mut link, session_present) = connected?;
        if clean_session && session_present || !clean_session && !earlier.contains(&session_present) {
            return fault(format!(
                "session present {session_present} with CleanSession {clean_session}, possible was {earlier:?}"
            ));
        }
        self.possible = BTreeSet::from([!clean_session]);
        // A session to discard should hold something: messages come, and none of them is acknowledged.
        let filters = vec![(TopicFilter::try_from("t/+/2").unwrap(), QoS::ExactlyOnce)];
        link.send(Packet::Subscribe(Subscribe { packet_id: PacketId::FIRST, filters }))?;
        for _ in 0..self.rng.within(1..20) {
            link.next(Duration::from_millis(5))?;
        }
        if self.rng.percent(50) {
            link.leave();
        }
        phase.rest(Duration::from_millis(self.rng.within(0..50)));
        Ok(false)
    }

    fn lacks(&self, _phase: &Phase) -> String {
        "it never lacks anything".into()
    }
}
