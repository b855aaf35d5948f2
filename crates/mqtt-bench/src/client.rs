//! A fleet of clients: connect them, subscribe them, hand back their connections.
//!
//! What they do afterwards is the scenario's business.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use mqtt_codec::QoS;

use crate::{
    BenchError,
    frames::{self, Connect, packet_type},
    net::{ConnId, Event, Net},
    progress::Progress,
};

/// Filters put into one SUBSCRIBE at most.
const FILTERS_PER_SUBSCRIBE: usize = 100;
/// The only packet identifier a client needs while it waits for each answer.
const PACKET_ID: u16 = 1;

/// The server, and how to sign in.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) keep_alive_secs: u16,
    /// Connections being made at the same time.
    pub(crate) concurrency: usize,
    /// No single connection, and no silence, may take longer.
    pub(crate) patience: Duration,
}

/// One client to be.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) clean_session: bool,
    pub(crate) filters: Vec<String>,
    pub(crate) qos: QoS,
}

impl Client {
    pub(crate) fn new(id: String) -> Self {
        Self { id, clean_session: true, filters: Vec::new(), qos: QoS::AtMostOnce }
    }

    pub(crate) fn subscribed(mut self, filters: Vec<String>, qos: QoS) -> Self {
        self.filters = filters;
        self.qos = qos;
        self
    }
}

impl Server {
    /// Appends this client's CONNECT.
    pub(crate) fn greet(&self, client_id: &str, clean_session: bool, out: &mut Vec<u8>) {
        Connect {
            client_id,
            clean_session,
            keep_alive_secs: self.keep_alive_secs,
            user_name: self.user_name.as_deref(),
            password: self.password.as_deref(),
        }
        .encode(out);
    }
}

/// Connects and subscribes all of them; their connections come in the order of `clients`.
pub(crate) fn connect(
    net: &mut Net,
    server: &Server,
    clients: &[Client],
    progress: &Progress,
) -> Result<Vec<ConnId>, BenchError> {
    let mut fleet = Fleet { server, clients, ids: Vec::new(), subscribed: Vec::new(), ready: 0, failed: None };
    let mut by_conn = Vec::new();
    let mut last_step = (0, Instant::now());
    while fleet.ready < clients.len() {
        while fleet.ids.len() < clients.len() && fleet.ids.len() - fleet.ready < server.concurrency {
            let id = net.open(server.address)?;
            let client = &clients[fleet.ids.len()];
            server.greet(&client.id, client.clean_session, net.out(id));
            by_conn.resize(id + 1, usize::MAX);
            by_conn[id] = fleet.ids.len();
            fleet.ids.push(id);
            fleet.subscribed.push(0);
        }
        net.turn(Duration::from_millis(100), &mut |net, id, event| {
            if let Some(&client) = by_conn.get(id)
                && client != usize::MAX
            {
                fleet.on_event(net, client, event);
            }
        })?;
        if let Some(failed) = fleet.failed.take() {
            return Err(failed);
        }
        progress.show(net.now_ns(), || format!("{} of {} clients connected", fleet.ready, clients.len()));
        if last_step.0 != fleet.ready {
            last_step = (fleet.ready, Instant::now());
        } else if last_step.1.elapsed() > server.patience {
            return Err(BenchError::Silence { waiting_for: "CONNACK and SUBACK".into(), after: server.patience });
        }
    }
    Ok(fleet.ids)
}

struct Fleet<'a> {
    server: &'a Server,
    clients: &'a [Client],
    ids: Vec<ConnId>,
    /// How many of its filters each client has asked for.
    subscribed: Vec<usize>,
    ready: usize,
    failed: Option<BenchError>,
}

impl Fleet<'_> {
    fn on_event(&mut self, net: &mut Net, client: usize, event: Event<'_>) {
        let answer = match event {
            Event::Frame { head, body } => self.on_frame(net, client, head >> 4, body),
            Event::Closed(error) => Err(BenchError::Closed {
                client: format!("{} at {}", self.clients[client].id, self.server.address),
                error,
            }),
            Event::Written => Ok(()),
        };
        if let Err(error) = answer {
            self.failed.get_or_insert(error);
        }
    }

    fn on_frame(&mut self, net: &mut Net, client: usize, kind: u8, body: &[u8]) -> Result<(), BenchError> {
        let name = &self.clients[client].id;
        match kind {
            packet_type::CONNACK => accepted(name, body)?,
            packet_type::SUBACK => granted(name, body)?,
            // A resumed session or a retained message may speak already.
            _ => return Ok(()),
        }
        let filters = &self.clients[client].filters;
        let from = self.subscribed[client];
        if from == filters.len() {
            self.ready += 1;
            return Ok(());
        }
        let to = filters.len().min(from + FILTERS_PER_SUBSCRIBE);
        frames::subscribe(net.out(self.ids[client]), PACKET_ID, &filters[from..to], self.clients[client].qos);
        self.subscribed[client] = to;
        Ok(())
    }
}

/// What a CONNACK says, if it is not yes.
pub(crate) fn accepted(client: &str, body: &[u8]) -> Result<(), BenchError> {
    match body {
        [_, 0] => Ok(()),
        [_, code] => Err(BenchError::Refused { client: client.into(), what: "CONNECT", code: *code }),
        _ => Err(BenchError::Malformed("CONNACK")),
    }
}

/// What a SUBACK says, if it is not yes to every filter.
pub(crate) fn granted(client: &str, body: &[u8]) -> Result<(), BenchError> {
    let codes = body.get(2..).ok_or(BenchError::Malformed("SUBACK"))?;
    match codes.iter().find(|&&code| code > 2) {
        Some(&code) => Err(BenchError::Refused { client: client.into(), what: "SUBSCRIBE", code }),
        None => Ok(()),
    }
}
