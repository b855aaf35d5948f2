//! [`Mortal`]: a client whose connections have a Will each, and end in every way.

use std::{collections::BTreeSet, time::Duration};

use mqtt_codec::{QoS, TopicName, Will};

use crate::{
    link::{Link, Stop, connect_packet},
    phase::{Client, Phase},
    rng::Rng,
};

pub(crate) struct Mortal {
    name: String,
    clean_session: bool,
    rng: Rng,
    connections: u64,
    /// Wills of accepted connections that ended without DISCONNECT: each is published once. Of the others (CONNECT without
    /// CONNACK, DISCONNECT shortly before the broker died) each may be, once.
    pub(crate) due: BTreeSet<String>,
    /// Wills that nobody may ever see: DISCONNECT was taken, and a later CONNACK says that this is durable.
    pub(crate) void: BTreeSet<String>,
}

impl Mortal {
    pub(crate) fn new(name: &str, clean_session: bool, rng: Rng) -> Self {
        Self {
            name: name.into(),
            clean_session,
            rng,
            connections: 0,
            due: BTreeSet::new(),
            void: BTreeSet::new(),
        }
    }

    fn connect(&mut self, phase: &Phase) -> Result<(Link, String), Stop> {
        self.connections += 1;
        let will = format!("{} {}", self.name, self.connections);
        let mut connect = connect_packet(&self.name, self.clean_session);
        let topic = TopicName::try_from(&*format!("w/{}", self.name)).unwrap();
        let message = will.clone().into();
        connect.will = Some(Will { topic, message, qos: QoS::ExactlyOnce, retain: false });
        let link = Link::connect(phase.address, connect)?.0;
        // Unless it leaves in order.
        self.due.insert(will.clone());
        Ok((link, will))
    }

    fn live(&mut self, phase: &Phase) {
        phase.rest(Duration::from_millis(self.rng.within(0..80)));
    }
}

impl Client for Mortal {
    fn name(&self) -> &str {
        &self.name
    }

    fn connection(&mut self, phase: &Phase) -> Result<bool, Stop> {
        if phase.goal.is_some() {
            return Ok(true);
        }
        let (link, will) = self.connect(phase)?;
        self.live(phase);
        match self.rng.within(0..4) {
            0 => {
                self.due.remove(&will);
                if link.leave() {
                    self.connect(phase)?;
                    self.void.insert(will);
                }
            }
            1 => {
                // Taken over by the next connection.
                let (_next, _) = self.connect(phase)?;
                self.live(phase);
            }
            _ => drop(link),
        }
        Ok(false)
    }

    fn lacks(&self, _phase: &Phase) -> String {
        "it never lacks anything".into()
    }
}
