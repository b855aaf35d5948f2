//! [`Client`]: one connection to a broker, made again when it is lost. The protocol is in [`state`]; here are the socket,
//! the clock and the waiting.

mod backoff;
mod fault;
mod state;

use std::{
    hash::{BuildHasher, RandomState},
    io,
    net::SocketAddr,
    process,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use mqtt_codec::{Connect, PacketId, QoS, TopicFilter};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, lookup_host},
    time::{sleep_until, timeout},
};

pub(crate) use self::state::{Event, Publication};
use self::{backoff::Backoff, fault::Fault, state::State};

/// How long one attempt to reach one address may take.
const DIAL_TIME: Duration = Duration::from_secs(10);
/// How long a server may take to close after DISCONNECT.
const GOOD_BYE_TIME: Duration = Duration::from_secs(2);
/// After so many connections in a row that ended before anything was acknowledged, it is the messages' fault.
const MAX_FRUITLESS: u32 = 5;
const READ_CHUNK: usize = 16 * 1024;

/// Where the broker is, and what to do when it is lost.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Whether a connection that was accepted once is made again when it is lost.
    pub(crate) reconnect: bool,
}

/// Poll `poll_event` until it returns nothing, then await `drive`; and so on.
pub(crate) struct Client {
    endpoint: Endpoint,
    state: State,
    link: Link,
    backoff: Backoff,
    was_connected: bool,
    acknowledged_at_loss: u64,
    fruitless: u32,
}

enum Link {
    Down { until: Instant },
    Up { socket: TcpStream, since: Instant },
}

impl Client {
    /// A client that connects as soon as it is driven.
    pub(crate) fn new(endpoint: Endpoint, connect: Connect, max_inflight: u16) -> Result<Self, Fault> {
        let now = Instant::now();
        Ok(Self {
            endpoint,
            state: State::new(now, connect, max_inflight, any_packet_id())?,
            link: Link::Down { until: now },
            backoff: Backoff::new(),
            was_connected: false,
            acknowledged_at_loss: 0,
            fruitless: 0,
        })
    }

    /// The next thing that happened; never waits.
    pub(crate) fn poll_event(&mut self) -> anyhow::Result<Option<Event>> {
        match self.state.poll_event() {
            Ok(event) => {
                self.was_connected |= matches!(event, Some(Event::Connected { .. }));
                Ok(event)
            }
            Err(fault) => self.handle_fault(fault).map(|()| None),
        }
    }

    /// Connects, reads, writes, pings or waits, a step at a time. May be dropped at any moment and called again, but for a
    /// connection that was just being made: that one begins again.
    pub(crate) async fn drive(&mut self) -> anyhow::Result<()> {
        match &mut self.link {
            Link::Down { until } => {
                sleep_until((*until).into()).await;
                match dial(&self.endpoint).await {
                    Ok(socket) => {
                        self.link = Link::Up { socket, since: Instant::now() };
                        Ok(self.state.handle_connection(Instant::now()).map_err(Fault::from)?)
                    }
                    Err(error) => self.handle_loss(error),
                }
            }
            Link::Up { socket, .. } => match exchange(socket, &mut self.state).await {
                Ok(()) => Ok(()),
                Err(Interruption::Loss(error)) => self.handle_loss(error),
                Err(Interruption::Fault(fault)) => self.handle_fault(fault),
            },
        }
    }

    /// Whether a message may be published now.
    pub(crate) fn has_room(&self) -> bool {
        self.state.has_room()
    }

    /// Whether all that was sent has been written, and answered if it takes an answer.
    pub(crate) fn is_idle(&self) -> bool {
        self.state.is_idle()
    }

    /// Sends a message; ask `has_room` before.
    pub(crate) fn publish(&mut self, publication: Publication) -> Result<(), Fault> {
        Ok(self.state.publish(publication)?)
    }

    /// Asks for subscriptions; answered by [`Event::Subscribed`], or lost with the connection.
    pub(crate) fn subscribe(&mut self, filters: Vec<(TopicFilter, QoS)>) -> Result<(), Fault> {
        self.state.subscribe(filters)
    }

    /// Ends subscriptions.
    pub(crate) fn unsubscribe(&mut self, filters: Vec<TopicFilter>) -> Result<(), Fault> {
        self.state.unsubscribe(filters)
    }

    /// Bytes that wait to be written.
    pub(crate) fn unsent_len(&mut self) -> usize {
        self.state.buffers().0.len()
    }

    /// Keeps back what was to be sent since `unsent_len` was that, such as acknowledgements; nothing may have been driven in
    /// between, nor is anything but `disconnect` possible afterwards.
    pub(crate) fn take_back(&mut self, unsent_len: usize) {
        self.state.buffers().0.truncate(unsent_len);
    }

    /// Sends DISCONNECT, closes [MQTT-3.14.4-1], and waits until the broker has closed too: only then is it sure that it
    /// has read everything.
    pub(crate) async fn disconnect(mut self) -> anyhow::Result<()> {
        let Link::Up { socket, .. } = &mut self.link else { return Ok(()) };
        self.state.disconnect()?;
        let (outgoing, _) = self.state.buffers();
        let good_bye = async {
            socket.write_all_buf(outgoing).await?;
            socket.shutdown().await?;
            let mut ignored = [0; 1024];
            while socket.read(&mut ignored).await? > 0 {}
            Ok::<_, io::Error>(())
        };
        match timeout(GOOD_BYE_TIME, good_bye).await {
            Ok(done) => done.context("the broker broke the connection off: the last messages may be lost"),
            Err(_) => Ok(()), // A server that does not close is not the concern of one who leaves.
        }
    }

    fn handle_fault(&mut self, fault: Fault) -> anyhow::Result<()> {
        if fault.is_transient() { self.handle_loss(fault.into()) } else { Err(fault.into()) }
    }

    /// Has the connection made again, or gives up.
    fn handle_loss(&mut self, error: anyhow::Error) -> anyhow::Result<()> {
        let now = Instant::now();
        let uptime = match self.link {
            Link::Up { since, .. } => Some(now - since),
            Link::Down { .. } => None,
        };
        self.state.handle_loss();
        if !self.was_connected || !self.endpoint.reconnect {
            return Err(error);
        }
        if uptime.is_some() {
            self.count_fruitless();
        }
        if self.fruitless == MAX_FRUITLESS {
            bail!(
                "{error:#}, {MAX_FRUITLESS} times in a row, before it acknowledged anything: is the message too large?"
            );
        }
        let delay = self.backoff.delay(uptime);
        tracing::warn!("{error:#}; connecting again in {}", humantime::format_duration(delay));
        self.link = Link::Down { until: now + delay };
        Ok(())
    }

    fn count_fruitless(&mut self) {
        let acknowledged = self.state.acknowledged();
        let is_fruitless = self.state.unacknowledged() > 0 && acknowledged == self.acknowledged_at_loss;
        self.fruitless = if is_fruitless { self.fruitless + 1 } else { 0 };
        self.acknowledged_at_loss = acknowledged;
    }
}

/// Why [`exchange`] cannot go on.
enum Interruption {
    Loss(anyhow::Error),
    Fault(Fault),
}

/// Whatever comes first: bytes to read, room to write, or the moment to ping.
async fn exchange(socket: &mut TcpStream, state: &mut State) -> Result<(), Interruption> {
    let deadline = state.poll_timeout();
    let (outgoing, incoming) = state.buffers();
    let (mut reader, mut writer) = socket.split();
    let has_outgoing = !outgoing.is_empty();
    incoming.reserve(READ_CHUNK);
    let lost = |error| Interruption::Loss(anyhow::Error::new(error).context("connection lost"));
    tokio::select! {
        read = reader.read_buf(incoming) => match read {
            Ok(0) => Err(Interruption::Loss(anyhow!("the broker closed the connection"))),
            Ok(_) => Ok(()),
            Err(error) => Err(lost(error)),
        },
        written = writer.write_buf(outgoing), if has_outgoing => {
            written.map_err(lost)?;
            state.handle_sent(Instant::now());
            Ok(())
        }
        () = at(deadline) => state.handle_timeout(Instant::now()).map_err(Interruption::Fault),
    }
}

/// Over TCP [MQTT-7.1.2-1].
async fn dial(Endpoint { host, port, .. }: &Endpoint) -> anyhow::Result<TcpStream> {
    let found = lookup_host((host.as_str(), *port)).await;
    let addresses: Vec<SocketAddr> =
        found.with_context(|| format!("cannot find the address of the host {host}"))?.collect();
    let mut failure = anyhow!("the host {host} has no address");
    for address in addresses {
        let error = match timeout(DIAL_TIME, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => {
                // Packets are written in whole batches: waiting for more would only add delay.
                let _ = socket.set_nodelay(true);
                return Ok(socket);
            }
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        let advice = match error.kind() {
            io::ErrorKind::ConnectionRefused => " (is a broker running there?)",
            _ => "",
        };
        failure = anyhow::Error::new(error).context(format!("cannot connect to {address}{advice}"));
    }
    Err(failure)
}

/// A stored session may hold identifiers that an earlier run of this program left in use: beginning anywhere makes it
/// unlikely to meet them.
fn any_packet_id() -> PacketId {
    let random = RandomState::new().hash_one(process::id());
    PacketId::new(random as u16).unwrap_or(PacketId::FIRST)
}

/// At no time, if there is none.
pub(crate) async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
