//! One file a scenario: what is set up, what is measured, what it is called.

mod churn;
mod connect;
mod drain;
mod flow;
mod offline;
mod publish;
mod retained;
mod subscribe;

use std::{
    net::ToSocketAddrs as _,
    time::{Duration, Instant},
};

use crate::{
    BenchError,
    args::{BenchCommand, ServerArgs, TrafficArgs, TransportKind},
    client::{self, Client, Connected, Server},
    descriptors, frames,
    link::{Tls, Transport},
    net::{ConnId, Net},
    progress::Progress,
    report::Report,
    server_process,
    traffic::{self, Bystanders, Extent, MAX_INFLIGHT, Measured, Pace, Plan, Routing},
};

pub(crate) fn run(command: &BenchCommand) -> Result<Report, BenchError> {
    match command {
        BenchCommand::P2p(args) => flow::p2p(args),
        BenchCommand::Fanout(args) => flow::fanout(args),
        BenchCommand::Fanin(args) => flow::fanin(args),
        BenchCommand::Shared(args) => flow::shared(args),
        BenchCommand::Rate(args) => flow::rate(args),
        BenchCommand::Connect(args) => connect::connect(args),
        BenchCommand::Tls(args) => connect::handshakes(args),
        BenchCommand::Idle(args) => connect::idle(args),
        BenchCommand::Reconnect(args) => connect::reconnect(args),
        BenchCommand::Publish(args) => publish::run(args),
        BenchCommand::Subscribe(args) => subscribe::subscribe(args),
        BenchCommand::Subscriptions(args) => subscribe::subscriptions(args),
        BenchCommand::Offline(args) => offline::run(args),
        BenchCommand::Retained(args) => retained::run(args),
        BenchCommand::Churn(args) => churn::run(args),
        BenchCommand::Preset(args) => flow::preset(args),
        BenchCommand::Relay(_) | BenchCommand::Page(_) => {
            Err(BenchError::Usage("a relay and a page are no scenarios".into()))
        }
    }
}

/// What every scenario works with.
struct Bench {
    net: Net,
    server: Server,
    server_pid: Option<u32>,
    transport: TransportKind,
    progress: Progress,
    connections: usize,
    /// Connections that do nothing beside the traffic.
    idle: Vec<ConnId>,
}

impl Bench {
    fn new(args: &ServerArgs) -> Result<Self, BenchError> {
        Self::over(args, Transport::new(args.transport, &Tls::new(true)?, &args.ws_path))
    }

    fn over(args: &ServerArgs, transport: Transport) -> Result<Self, BenchError> {
        if let Some(pid) = args.server_pid {
            server_process::read(pid).ok_or(BenchError::NoProcess(pid))?;
        }
        let no_address = || BenchError::NoAddress(args.host.clone());
        let mut addresses = (args.host.as_str(), args.port).to_socket_addrs().map_err(|_| no_address())?;
        // Where a name has both, most servers under test listen on IPv4 alone.
        let first = addresses.next().ok_or_else(no_address)?;
        let address = if first.is_ipv4() {
            first
        } else {
            addresses.find(std::net::SocketAddr::is_ipv4).unwrap_or(first)
        };
        Ok(Self {
            net: Net::new(transport, args.keep_alive)?,
            server: Server {
                address,
                user_name: args.user.clone(),
                password: args.password.clone(),
                keep_alive_secs: args.keep_alive,
                client_prefix: args.client_prefix.clone(),
                concurrency: args.concurrency.max(1),
                per_second: None,
                patience: args.patience,
                too_late: None,
            },
            server_pid: args.server_pid,
            transport: args.transport,
            progress: Progress::new(args.quiet || args.json),
            connections: 0,
            idle: Vec::new(),
        })
    }

    fn connect(&mut self, clients: &[Client]) -> Result<Connected, BenchError> {
        self.connections += clients.len();
        descriptors::allow(self.connections)?;
        client::connect(&mut self.net, &self.server, clients, &[], &self.progress)
    }

    fn connect_idle(&mut self, traffic: &TrafficArgs) -> Result<(), BenchError> {
        let idle: Vec<_> =
            (0..traffic.idle).map(|index| Client::new(format!("bench-idle-{index}"))).collect();
        self.idle = self.connect(&idle)?.conns;
        Ok(())
    }

    /// Runs `plan`; idle connections that did not last until its end are a fault.
    fn run(
        &mut self,
        plan: &Plan,
        publishers: &[ConnId],
        subscribers: &[ConnId],
        bystanders: &mut impl Bystanders,
    ) -> Result<Measured, BenchError> {
        let mut measured =
            traffic::run(&mut self.net, plan, publishers, subscribers, bystanders, &self.progress)?;
        // Asked at the end and not counted by events: they may have ended while others still connected.
        let ended = self.idle.iter().filter(|&&conn| !self.net.is_open(conn)).count();
        if ended > 0 {
            let error = format!("{ended} of {} idle connections did not last", self.idle.len());
            measured.faults.error(error);
        }
        Ok(measured)
    }

    /// Limits the time from now on; 0 is no limit, and so is a time that never comes.
    fn give_up_after(&mut self, secs: u64) {
        let limit = Some(Duration::from_secs(secs)).filter(|limit| !limit.is_zero());
        self.server.too_late = limit.and_then(|limit| Instant::now().checked_add(limit));
    }

    /// Says goodbye on every connection, so that no will and no session is left behind.
    fn disconnect(&mut self) {
        self.net.end_all(frames::disconnect);
        self.progress.finish();
    }

    /// Says goodbye and ends the sessions of `clients`, so that the next run finds none.
    ///
    /// What was measured stands: that a session could not be ended is one more fault.
    fn forget_sessions(&mut self, clients: &[Client], report: &mut Report) {
        // Before anything else, or there would be more connections than descriptors were asked for.
        self.disconnect();
        self.give_up_after(0);
        let clean = |client: &Client| Client { clean_session: true, filters: Vec::new(), ..client.clone() };
        let clean: Vec<_> = clients.iter().map(clean).collect();
        if let Err(error) = client::connect(&mut self.net, &self.server, &clean, &[], &self.progress) {
            report.faults().error(format!("the sessions were not ended: {error}"));
        }
        self.disconnect();
    }

    fn plan(&self, traffic: &TrafficArgs, topics: Vec<String>, subscribers: usize, routing: Routing) -> Plan {
        let pace = match traffic.rate {
            Some(per_second) => Pace::Open { per_second },
            None => Pace::Closed {
                window: window_of_publisher(traffic.window, routing, topics.len(), subscribers),
            },
        };
        let extent = match traffic.messages {
            Some(count) => Extent::Messages(count),
            None => Extent::Time { warmup: traffic.warmup, duration: traffic.duration },
        };
        Plan {
            topics,
            digits: None,
            subscribers,
            routing,
            qos: traffic.qos,
            delivery_qos: traffic.subscribe_qos.map_or(traffic.qos, |qos| qos.min(traffic.qos)),
            retain: false,
            payload_bytes: traffic.payload,
            inflight: traffic.inflight.clamp(1, MAX_INFLIGHT),
            pace,
            extent,
            patience: self.server.patience,
            at_most: None,
            server_pid: self.server_pid,
        }
    }

    fn report(&self, scenario: &str) -> Report {
        let mut report = Report::new(scenario, self.server.address);
        if self.transport != TransportKind::Tcp {
            report.setting("transport", format!("{:?}", self.transport).to_lowercase());
        }
        report
    }
}

/// The part of a subscriber's window that each of its publishers may use.
///
/// What is on its way to one subscriber waits in one queue of the server, and that queue has a limit.
fn window_of_publisher(window: u64, routing: Routing, publishers: usize, subscribers: usize) -> u64 {
    let (publishers, subscribers) = (publishers.max(1) as u64, subscribers.max(1) as u64);
    let share = match routing {
        Routing::Pairs | Routing::Nobody => window,
        Routing::All => window / publishers,
        Routing::AnyOne => window.min(window * subscribers / publishers),
    };
    share.max(1)
}

impl Report {
    /// A fault if not `all` were done before it got too late.
    fn note_given_up(&mut self, secs: u64, done: usize, all: usize, what: &str) {
        if done < all {
            self.faults().error(format!("gave up after {secs} s: {done} of {all} {what}"));
        }
    }

    fn set_traffic(&mut self, traffic: &TrafficArgs) {
        self.setting("QoS", traffic.qos);
        if let Some(qos) = traffic.subscribe_qos.filter(|&qos| qos != traffic.qos) {
            self.setting("QoS of subscribing", qos);
        }
        self.setting("payload", format!("{} bytes", traffic.payload));
        let (pace, how) = match traffic.rate {
            Some(rate) => ("open loop", format!("{rate} messages/s, latency from the intended time")),
            None => ("closed loop", format!("window of {} messages a subscriber", traffic.window)),
        };
        self.setting(pace, how);
        if traffic.qos.as_u8() > 0 && traffic.rate.is_none() {
            self.setting("inflight", traffic.inflight);
        }
        if traffic.idle > 0 {
            self.setting("idle connections", traffic.idle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_subscriber_has_more_on_its_way_than_its_window() {
        assert_eq!(window_of_publisher(900, Routing::Pairs, 10, 10), 900);
        assert_eq!(window_of_publisher(900, Routing::All, 1, 50), 900);
        assert_eq!(window_of_publisher(900, Routing::All, 50, 1), 18);
        assert_eq!(window_of_publisher(900, Routing::AnyOne, 10, 5), 450);
        assert_eq!(window_of_publisher(900, Routing::AnyOne, 10, 100), 900);
        assert_eq!(window_of_publisher(900, Routing::All, 5000, 1), 1);
    }
}
