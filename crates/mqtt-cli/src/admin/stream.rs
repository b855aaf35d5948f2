//! The verbs of `gmqtt admin` that go on until they are stopped.

use std::io::{self, Write};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{given, printable, table::Output};
use crate::{api_client::ApiClient, exit};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Stream {
    /// Print what is published, as it is published; in a flood, some of it
    Watch {
        /// A topic filter
        #[arg(default_value = "#")]
        filter: String,
    },
    /// Print what happens to a client, to the messages of some topics, or from an address; without payloads
    #[command(group = clap::ArgGroup::new("what").required(true))]
    Trace {
        /// A client identifier
        #[arg(long, value_name = "ID", group = "what")]
        client: Option<String>,
        /// A topic filter
        #[arg(long, value_name = "FILTER", group = "what")]
        filter: Option<String>,
        /// An IP address
        #[arg(long, value_name = "ADDRESS", group = "what")]
        address: Option<String>,
    },
}

impl Stream {
    pub(super) async fn run(&self, api: &ApiClient, output: Output) -> anyhow::Result<()> {
        match self {
            Self::Watch { filter } => {
                let query = [("filter", filter.clone())];
                let print = |event: Value| exit::output(print_messages(&event, output));
                api.events(&["watch", "messages"], &query, print).await
            }
            Self::Trace { client, filter, address } => {
                let query = given([("client_id", client), ("filter", filter), ("address", address)]);
                api.events(&["trace"], &query, |record| exit::output(print_record(&record, output))).await
            }
        }
    }
}

fn print_messages(event: &Value, output: Output) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    for message in event.get("messages").and_then(Value::as_array).into_iter().flatten() {
        if output.json {
            writeln!(stdout, "{message}")?;
            continue;
        }
        let text = |name: &str| message.get(name).and_then(Value::as_str).unwrap_or_default();
        let payload = STANDARD.decode(text("payload")).unwrap_or_default();
        writeln!(stdout, "{} {}", printable(text("topic")), printable(&String::from_utf8_lossy(&payload)))?;
    }
    match event.get("skipped").and_then(Value::as_u64) {
        Some(skipped) if skipped > 0 && !output.json => writeln!(stdout, "({skipped} more)"),
        _ => Ok(()),
    }
    .and_then(|()| stdout.flush())
}

fn print_record(record: &Value, output: Output) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    if output.json {
        writeln!(stdout, "{record}")?;
        return stdout.flush();
    }
    let text = |name: &str| record.get(name).and_then(Value::as_str).map(printable);
    let number = |name: &str| record.get(name).and_then(Value::as_u64);
    let words = [
        text("at"),
        text("client_id"),
        text("event"),
        text("topic"),
        number("payload_bytes").map(|bytes| format!("{bytes} bytes")),
        number("qos").map(|qos| format!("QoS {qos}")),
        text("detail"),
        number("lost")
            .filter(|&lost| lost > 0)
            .map(|lost| format!("({lost} records before this one were lost)")),
    ];
    writeln!(stdout, "{}", words.into_iter().flatten().collect::<Vec<_>>().join("  "))?;
    stdout.flush()
}
