//! `gmqtt acl`: which line of an access list decides. The judge is the broker's own.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use mqtt_access::{Acl, Act, Subject};
use mqtt_codec::{TopicFilter, TopicName};

use crate::exit;

/// Say what an access list allows
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    act: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say whether a client may do something, and which line says so; exit code 1 if it may not
    Explain {
        /// The access list
        #[arg(long, value_name = "FILE")]
        acl_file: PathBuf,
        /// The user name; without one the client is anonymous
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// The client identifier
        #[arg(long, value_name = "ID", default_value = "")]
        client: String,
        #[command(subcommand)]
        wish: Wish,
    },
}

#[derive(Debug, clap::Subcommand)]
enum Wish {
    /// Publish to this topic
    Publish {
        #[arg(value_parser = topic)]
        topic: String,
        /// As a retained message
        #[arg(long)]
        retain: bool,
    },
    /// Subscribe to this topic filter
    Subscribe {
        #[arg(value_parser = filter)]
        filter: String,
    },
    /// Get a message that was published to this topic
    Receive {
        #[arg(value_parser = topic)]
        topic: String,
    },
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let Command::Explain { acl_file, user, client, wish } = &options.act;
    let acl = Acl::load(acl_file)?;
    let subject = Subject { client_id: client, user_name: user.as_deref() };
    let act = match wish {
        Wish::Publish { topic, retain } => Act::Publish { topic, retain: *retain },
        Wish::Subscribe { filter } => Act::Subscribe { filter },
        Wish::Receive { topic } => Act::Receive { topic },
    };
    let ruling = acl.explain(subject, act);
    if !ruling.allowed {
        anyhow::bail!("{ruling}");
    }
    exit::output(writeln!(io::stdout(), "{ruling}"))
}

fn topic(text: &str) -> Result<String, String> {
    TopicName::try_from(text).map(|topic| topic.as_str().to_owned()).map_err(|error| error.to_string())
}

fn filter(text: &str) -> Result<String, String> {
    TopicFilter::try_from(text).map(|filter| filter.as_str().to_owned()).map_err(|error| error.to_string())
}
