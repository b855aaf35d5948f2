//! `gmqtt top`: a running broker on a terminal, second by second.

mod figures;
mod source;
mod state;
mod view;

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyEventKind},
};
use tokio::{
    sync::{mpsc, watch},
    time::interval,
};

use self::{
    source::{Update, Updates, Wanted},
    state::{Order, State},
};
use crate::{
    api_client::{ApiArguments, ApiClient},
    client::{Client, Endpoint},
    client_arguments,
    exit::Ending,
    quantity, runtime,
};

/// Watch a running broker: rates, clients, topics, drops
///
/// Asks the HTTP API of a gmqtt. Where there is none, or with --mqtt, it shows what any broker publishes below $SYS.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Watch the broker of any make that listens there, over MQTT
    #[arg(long, value_name = "HOST:PORT")]
    mqtt: Option<String>,

    /// The user name for --mqtt
    #[arg(short, long, value_name = "NAME", requires = "mqtt")]
    username: Option<String>,

    /// The password for --mqtt; takes -u
    #[arg(short = 'P', long, requires = "username", allow_hyphen_values = true)]
    pw: Option<String>,

    /// Ask this often
    #[arg(short = 'd', long, value_name = "TIME", default_value = "1s", value_parser = quantity::finite)]
    interval: Duration,

    #[command(flatten)]
    api: ApiArguments,
}

/// Where a broker listens unless it was told otherwise.
const MQTT_PORT: u16 = 1883;
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
/// The terminal is drawn at least so often.
const FRAME: Duration = Duration::from_millis(500);
const SECOND: Duration = Duration::from_secs(1);
const WAITING: usize = 4_096;

/// A source under way, and how it looks before it has said anything.
struct Session {
    state: State,
    updates: mpsc::Receiver<Update>,
    wanted: watch::Sender<Wanted>,
    /// And where what was asked of it is told of.
    api: Option<(ApiClient, Updates)>,
    started: Instant,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    runtime::for_client()?.block_on(async {
        let session = Session::begin(options).await?;
        let mut terminal = ratatui::try_init().context("gmqtt top takes a terminal")?;
        let outcome = session.run(&mut terminal).await;
        ratatui::restore();
        outcome
    })
}

impl Session {
    async fn begin(options: &Options) -> anyhow::Result<Self> {
        if let Some(address) = &options.mqtt {
            return Self::over_mqtt(options, address);
        }
        let reachable = async {
            let api = options.api.client()?;
            api.get(&["overview"], &[]).await.map(|_| api)
        };
        match reachable.await {
            Ok(api) => Ok(Self::over_api(api, options)),
            Err(error) => {
                let address = format!("{}:{MQTT_PORT}", options.api.host());
                let mut session = Self::over_mqtt(options, &address)?;
                session.state.notice = Some(format!("not the API, but $SYS: {error:#}"));
                Ok(session)
            }
        }
    }

    fn over_api(api: ApiClient, options: &Options) -> Self {
        let state = State::new(api.url().to_string(), true);
        let (sender, updates) = mpsc::channel(WAITING);
        let (wanted, watched) = watch::channel(state.wanted());
        let period = options.interval.max(SHORTEST_INTERVAL);
        tokio::spawn(source::ask_api(api.clone(), period, watched.clone(), sender.clone()));
        tokio::spawn(source::watch_topics(api.clone(), watched, sender.clone()));
        Self { state, updates, wanted, api: Some((api, sender)), started: Instant::now() }
    }

    fn over_mqtt(options: &Options, address: &str) -> anyhow::Result<Self> {
        let wrong = || Ending::Usage(format!("{address} is not HOST:PORT"));
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let connect = client_arguments::connect_as(options.username.as_deref(), options.pw.as_deref())?;
        let client = Client::new(Endpoint { host, port, reconnect: true }, connect, 20)?;
        let state = State::new(format!("$SYS of {address}"), false);
        let (sender, updates) = mpsc::channel(WAITING);
        let (wanted, _) = watch::channel(state.wanted());
        tokio::spawn(source::subscribe_to_sys(client, sender));
        Ok(Self { state, updates, wanted, api: None, started: Instant::now() })
    }

    async fn run(mut self, terminal: &mut DefaultTerminal) -> anyhow::Result<()> {
        let mut keys = keys();
        let (mut frames, mut seconds) = (interval(FRAME), interval(SECOND));
        loop {
            terminal.draw(|frame| view::draw(frame, &self.state)).context("cannot draw")?;
            tokio::select! {
                Some(update) = self.updates.recv() => {
                    self.take(update);
                    // In a flood a frame for each message would be all that is done.
                    while let Ok(update) = self.updates.try_recv() {
                        self.take(update);
                    }
                }
                Some(event) = keys.recv() => match event {
                    Event::Key(key) if key.kind != KeyEventKind::Release && self.obey(key) => return Ok(()),
                    _ => {}
                },
                _ = seconds.tick() => if self.api.is_none() { self.state.figures.settle_topics(1.0) },
                _ = frames.tick() => {}
            }
        }
    }

    fn take(&mut self, update: Update) {
        let figures = &mut self.state.figures;
        match update {
            Update::Notice(notice) => self.state.notice = Some(notice),
            _ if self.state.paused => {}
            Update::Version(version) => figures.version = Some(version),
            Update::History(history) => figures.add_history(&history),
            Update::Clients(page) => figures.set_clients(&page),
            Update::Topics(second) => figures.add_topics(&second),
            Update::Sys(topic, value) => figures.add_sys(self.started, &topic, &value),
            Update::Message(topic, bytes) => figures.count_topic(&topic, 1, bytes),
        }
    }

    /// Says whether it is over. Nothing is waited for here: the screen would stand still.
    fn obey(&mut self, key: event::KeyEvent) -> bool {
        match self.state.handle_key(key) {
            Some(Order::Quit) => return true,
            Some(Order::AskAgain) => drop(self.wanted.send_replace(self.state.wanted())),
            Some(Order::Disconnect(client_id)) => {
                if let Some((api, updates)) = self.api.clone() {
                    tokio::spawn(source::disconnect(api, client_id, updates));
                }
            }
            None => {}
        }
        false
    }
}

/// Keys block their reader, so it has a thread of its own; it ends with the process.
fn keys() -> mpsc::Receiver<Event> {
    let (sender, keys) = mpsc::channel(64);
    thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    });
    keys
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    #[tokio::test]
    async fn where_there_is_no_api_it_shows_sys_of_the_same_machine() {
        let directory = tempfile::tempdir().unwrap();
        let token = directory.path().join("token");
        std::fs::write(&token, "gmqtt_x").unwrap();
        let token = token.to_str().unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", closed.local_addr().unwrap());
        drop(closed);
        let line = Line::parse_from(["top", "--url", &url, "--token-file", token]);
        let session = Session::begin(&line.options).await.unwrap();
        assert!(session.api.is_none());
        let notice = session.state.notice.unwrap();
        assert!(notice.starts_with("not the API, but $SYS: cannot ask http://127.0.0.1:"), "{notice}");
        assert_eq!(session.state.source, "$SYS of 127.0.0.1:1883");
    }
}
