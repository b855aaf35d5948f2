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
    latency::Latency,
    net::{ConnId, Event, Net},
    progress::Progress,
    traffic,
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
    /// Put before every client identifier.
    pub(crate) client_prefix: String,
    /// Connections being made at the same time.
    pub(crate) concurrency: usize,
    /// Connections begun a second, at most.
    pub(crate) per_second: Option<f64>,
    /// No single connection, and no silence, may take longer.
    pub(crate) patience: Duration,
    /// When to give up, if ever.
    pub(crate) too_late: Option<Instant>,
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
    pub(crate) fn is_too_late(&self) -> bool {
        self.too_late.is_some_and(|when| Instant::now() >= when)
    }

    /// Appends this client's CONNECT.
    pub(crate) fn greet(&self, client_id: &str, clean_session: bool, out: &mut Vec<u8>) {
        Connect {
            client_id: &format!("{}{client_id}", self.client_prefix),
            clean_session,
            keep_alive_secs: self.keep_alive_secs,
            user_name: self.user_name.as_deref(),
            password: self.password.as_deref(),
        }
        .encode(out);
    }
}

/// A fleet that stands.
pub(crate) struct Connected {
    /// In the order of the clients.
    pub(crate) conns: Vec<ConnId>,
    /// Clients that were answered: all, unless it got too late.
    pub(crate) ready: usize,
    /// From the beginning of each connection to its CONNACK, or to its last SUBACK if it subscribes.
    pub(crate) latency: Latency,
    /// Clients whose session the server remembered.
    pub(crate) resumed: usize,
}

/// Connects and subscribes all of `clients`; over the connections named `again`, if any, else over new ones.
pub(crate) fn connect(
    net: &mut Net,
    server: &Server,
    clients: &[Client],
    again: &[ConnId],
    progress: &Progress,
) -> Result<Connected, BenchError> {
    let mut fleet = Fleet::new(server, clients);
    let began = Instant::now();
    let mut last_step = ((0, 0), began);
    while fleet.ready < clients.len() && !server.is_too_late() {
        let due =
            server.per_second.map_or(usize::MAX, |rate| (began.elapsed().as_secs_f64() * rate) as usize + 1);
        while fleet.conns.len() < clients.len().min(due)
            && fleet.conns.len() - fleet.ready < server.concurrency
        {
            fleet.begin(net, again)?;
        }
        let wait = if server.per_second.is_some() { 1 } else { 100 };
        net.turn(Duration::from_millis(wait), &mut |net, id, event| fleet.on_event(net, id, event))?;
        if let Some(failed) = fleet.failed.take() {
            return Err(failed);
        }
        progress.show(net.now_ns(), || format!("{} of {} clients connected", fleet.ready, clients.len()));
        if last_step.0 != (fleet.ready, fleet.answers) {
            last_step = ((fleet.ready, fleet.answers), Instant::now());
        } else if last_step.1.elapsed() > server.patience {
            return Err(BenchError::Silence {
                waiting_for: "CONNACK or SUBACK".into(),
                after: server.patience,
            });
        }
    }
    fleet.latency.settle();
    Ok(Connected { conns: fleet.conns, ready: fleet.ready, latency: fleet.latency, resumed: fleet.resumed })
}

/// The answer that a client waits for.
#[derive(Clone, Copy)]
enum Awaits {
    Connack,
    /// To so many filters.
    Suback(usize),
    Nothing,
}

struct Fleet<'a> {
    server: &'a Server,
    clients: &'a [Client],
    conns: Vec<ConnId>,
    /// Which client a connection is of; `usize::MAX` is none.
    client_of: Vec<usize>,
    began_ns: Vec<u64>,
    awaits: Vec<Awaits>,
    /// How many of its filters each client has asked for.
    subscribed: Vec<usize>,
    answers: usize,
    ready: usize,
    resumed: usize,
    latency: Latency,
    failed: Option<BenchError>,
}

impl<'a> Fleet<'a> {
    fn new(server: &'a Server, clients: &'a [Client]) -> Self {
        Self {
            server,
            clients,
            conns: Vec::with_capacity(clients.len()),
            client_of: Vec::new(),
            began_ns: Vec::with_capacity(clients.len()),
            awaits: vec![Awaits::Connack; clients.len()],
            subscribed: vec![0; clients.len()],
            answers: 0,
            ready: 0,
            resumed: 0,
            latency: Latency::new(),
            failed: None,
        }
    }

    fn begin(&mut self, net: &mut Net, again: &[ConnId]) -> Result<(), BenchError> {
        let index = self.conns.len();
        self.began_ns.push(net.refresh_now());
        let conn = match again.get(index) {
            Some(&conn) => net.reopen(conn, self.server.address).map(|()| conn)?,
            None => net.open(self.server.address)?,
        };
        let client = &self.clients[index];
        self.server.greet(&client.id, client.clean_session, net.out(conn));
        if self.client_of.len() <= conn {
            self.client_of.resize(conn + 1, usize::MAX);
        }
        self.client_of[conn] = index;
        self.conns.push(conn);
        Ok(())
    }

    fn on_event(&mut self, net: &mut Net, conn: ConnId, event: Event<'_>) {
        let Some(&index) = self.client_of.get(conn).filter(|&&index| index != usize::MAX) else { return };
        let answer = match event {
            Event::Frame { head, body } => self.on_frame(net, index, head, body),
            Event::Closed(error) => Err(BenchError::Closed {
                client: format!("{} at {}", self.clients[index].id, self.server.address),
                error,
            }),
            Event::Written => Ok(()),
        };
        if let Err(error) = answer {
            self.failed.get_or_insert(error);
        }
    }

    fn on_frame(&mut self, net: &mut Net, index: usize, head: u8, body: &[u8]) -> Result<(), BenchError> {
        let client = &self.clients[index];
        match (head >> 4, self.awaits[index]) {
            (packet_type::CONNACK, Awaits::Connack) => {
                self.resumed += usize::from(accepted(&client.id, body)?);
            }
            (packet_type::SUBACK, Awaits::Suback(filters)) => {
                granted(&client.id, body, filters, client.qos)?;
            }
            // It must not count as the answer to another client.
            (packet_type::CONNACK, _) => return Err(BenchError::Unasked("CONNACK")),
            (packet_type::SUBACK, _) => return Err(BenchError::Unasked("SUBACK")),
            // A resumed session or a retained message may speak already. Without an answer nothing might come after it.
            _ => return traffic::acknowledge(net, self.conns[index], head, body).map(drop),
        }
        self.answers += 1;
        let from = self.subscribed[index];
        if from == client.filters.len() {
            self.ready += 1;
            self.awaits[index] = Awaits::Nothing;
            self.latency.record(net.now_ns() - self.began_ns[index]);
            return Ok(());
        }
        let to = client.filters.len().min(from + FILTERS_PER_SUBSCRIBE);
        frames::subscribe(net.out(self.conns[index]), PACKET_ID, &client.filters[from..to], client.qos);
        self.subscribed[index] = to;
        self.awaits[index] = Awaits::Suback(to - from);
        Ok(())
    }
}

/// What a CONNACK says: whether the session was there before, or why not.
fn accepted(client: &str, body: &[u8]) -> Result<bool, BenchError> {
    match body {
        [flags, 0] => Ok(flags & 1 == 1),
        [_, code] => Err(BenchError::Refused { client: client.into(), what: "CONNECT", code: *code }),
        _ => Err(BenchError::Malformed("CONNACK")),
    }
}

/// What the SUBACK to so many `filters` says, if it is not yes to every one of them at the QoS that was asked for.
pub(crate) fn granted(client: &str, body: &[u8], filters: usize, asked: QoS) -> Result<(), BenchError> {
    let codes = body.get(2..).filter(|codes| codes.len() == filters);
    let codes = codes.ok_or(BenchError::Malformed("SUBACK"))?;
    match codes.iter().find(|&&code| code > 2 || code < asked.as_u8()) {
        Some(&granted @ 0..=2) => Err(BenchError::Lowered { client: client.into(), granted, asked }),
        Some(&code) => Err(BenchError::Refused { client: client.into(), what: "SUBSCRIBE", code }),
        None => Ok(()),
    }
}
