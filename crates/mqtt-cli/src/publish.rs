//! `gmqtt pub`: publishes messages, and ends when the broker has them.

use std::{
    ffi::OsString,
    fs,
    io::{self, BufRead, Read},
    path::PathBuf,
    thread,
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use clap::value_parser;
use mqtt_codec::{QoS, TopicName};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    client::{Client, Publication},
    client_arguments::{ClientArguments, qos, topic_name},
    quantity, runtime,
};

/// Lines read ahead of what the broker has taken.
const LINES_AHEAD: usize = 64;

const NOTES: &str = "\
Ends when every message has been written, and acknowledged if its QoS asks for that. A connection that is lost \
meanwhile is made again, and what was not acknowledged is sent again: as new messages, or, with -c and -i, as the same \
ones, which keeps QoS 2 exact. One message of QoS 0 is not sent again.";

/// Publish messages
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true, after_help = NOTES)]
pub(crate) struct Options {
    /// The topic
    #[arg(short, long, value_parser = topic_name)]
    topic: TopicName,

    #[command(flatten)]
    payload: Payload,

    /// The QoS: 0, 1 or 2
    #[arg(short, long, default_value = "0", value_parser = qos)]
    qos: QoS,

    /// Have the broker keep the message for future subscribers
    #[arg(short, long)]
    retain: bool,

    /// Publish the message so many times
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "stdin_line", value_parser = value_parser!(u64).range(1..))]
    repeat: u64,

    /// Seconds from one time to the next
    #[arg(long, value_name = "SECONDS", default_value = "0", conflicts_with = "stdin_line", value_parser = quantity::seconds)]
    repeat_delay: Duration,

    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Payload {
    /// The message
    #[arg(short, long, allow_hyphen_values = true)]
    message: Option<OsString>,

    /// Send the contents of a file
    #[arg(short, long, value_name = "PATH")]
    file: Option<PathBuf>,

    /// Send each line of standard input as a message
    #[arg(short = 'l', long)]
    stdin_line: bool,

    /// Send all of standard input as one message
    #[arg(short = 's', long)]
    stdin_file: bool,

    /// Send an empty message; with -r, that removes the retained one
    #[arg(short, long)]
    null_message: bool,
}

pub(crate) fn run(options: Box<Options>) -> anyhow::Result<()> {
    let source = Source::open(&options)?;
    // The one QoS 0 message has no acknowledgement that would say whether it is to be sent again.
    let reconnect = options.payload.stdin_line || options.qos != QoS::AtMostOnce;
    let client = options.client.client(reconnect)?;
    runtime::for_client()?.block_on(publish(client, source, &options))
}

async fn publish(mut client: Client, mut source: Source, options: &Options) -> anyhow::Result<()> {
    let mut all_sent = false;
    loop {
        while client.poll_event()?.is_some() {}
        if all_sent && client.is_idle() {
            return client.disconnect().await;
        }
        let has_room = client.has_room();
        tokio::select! {
            step = client.drive() => step?,
            payload = source.next(), if has_room && !all_sent => match payload {
                Some(payload) => {
                    let (topic, qos, retain) = (options.topic.clone(), options.qos, options.retain);
                    client.publish(Publication { topic, payload: payload?, qos, retain })?;
                }
                None => all_sent = true,
            },
        }
    }
}

/// Where messages come from.
enum Source {
    Repeated { payload: Bytes, left: u64, next_at: Instant, delay: Duration },
    Lines(mpsc::Receiver<io::Result<Bytes>>),
}

impl Source {
    fn open(options: &Options) -> anyhow::Result<Self> {
        let payload = match &options.payload {
            Payload { message: Some(message), .. } => Bytes::copy_from_slice(message.as_encoded_bytes()),
            Payload { file: Some(path), .. } => {
                fs::read(path).with_context(|| format!("cannot read {}", path.display()))?.into()
            }
            Payload { stdin_line: true, .. } => return Ok(Self::Lines(lines())),
            Payload { stdin_file: true, .. } => {
                let mut payload = Vec::new();
                io::stdin().read_to_end(&mut payload).context("cannot read standard input")?;
                payload.into()
            }
            _ => Bytes::new(),
        };
        let (left, delay) = (options.repeat, options.repeat_delay);
        Ok(Self::Repeated { payload, left, next_at: Instant::now(), delay })
    }

    /// The next message's payload; may be dropped while it waits, and called again.
    async fn next(&mut self) -> Option<anyhow::Result<Bytes>> {
        match self {
            Self::Repeated { left: 0, .. } => None,
            Self::Repeated { payload, left, next_at, delay } => {
                tokio::time::sleep_until(*next_at).await;
                *left -= 1;
                *next_at = Instant::now() + *delay;
                Some(Ok(payload.clone()))
            }
            Self::Lines(lines) => lines.recv().await.map(|line| line.context("cannot read standard input")),
        }
    }
}

/// Reads standard input on a thread of its own, which nobody waits for: a read cannot be called off.
fn lines() -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(LINES_AHEAD);
    thread::spawn(move || {
        for line in io::stdin().lock().split(b'\n') {
            let line = line.map(|mut line| {
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                Bytes::from(line)
            });
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
