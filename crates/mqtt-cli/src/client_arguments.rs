//! What `gmqtt pub` and `gmqtt sub` have in common: where the broker is, and as whom to connect. The letters are those of
//! mosquitto's clients; `-h` is the host, so help is `--help` alone.

use std::{
    ffi::OsString,
    hash::{BuildHasher, RandomState},
    process,
};

use bytes::Bytes;
use clap::{ArgAction, value_parser};
use mqtt_codec::{Connect, Credentials, QoS, TopicFilter, TopicName, Utf8Bytes, Will};

use crate::{
    client::{Client, Endpoint},
    exit::Ending,
    logging,
};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct ClientArguments {
    /// Print help
    #[arg(long, action = ArgAction::HelpShort)]
    help: Option<bool>,

    /// The broker's host name or address
    #[arg(short = 'h', long, default_value = "localhost")]
    host: String,

    /// The broker's port
    #[arg(short, long, default_value_t = 1883)]
    port: u16,

    /// The client identifier; made up if not given
    #[arg(short, long, value_name = "ID", value_parser = string)]
    id: Option<Utf8Bytes>,

    /// Make the client identifier up, but with this beginning
    #[arg(short = 'I', long, value_name = "PREFIX", conflicts_with = "id")]
    id_prefix: Option<String>,

    /// Go on with the stored session of this client identifier, and leave it stored; takes -i
    #[arg(short = 'c', long)]
    disable_clean_session: bool,

    /// The longest silence, in seconds; 0 for any
    #[arg(short, long, value_name = "SECONDS", default_value_t = 60)]
    keepalive: u16,

    /// The user name
    #[arg(short, long, value_name = "NAME", value_parser = string)]
    username: Option<Utf8Bytes>,

    /// The password; takes -u
    #[arg(short = 'P', long, requires = "username", allow_hyphen_values = true)]
    pw: Option<String>,

    /// What the broker publishes if this client is gone without a good-bye: the topic
    #[arg(long, value_name = "TOPIC", value_parser = topic_name)]
    will_topic: Option<TopicName>,

    /// ... the message
    #[arg(
        long,
        value_name = "MESSAGE",
        requires = "will_topic",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    will_payload: OsString,

    /// ... the QoS
    #[arg(long, value_name = "QOS", requires = "will_topic", value_parser = qos, default_value = "0")]
    will_qos: QoS,

    /// ... and whether it is retained
    #[arg(long, requires = "will_topic")]
    will_retain: bool,

    /// The version of the protocol; 311 is the one there is
    #[arg(short = 'V', long, value_name = "VERSION", value_parser = protocol_version)]
    protocol_version: Option<()>,

    /// Messages of QoS 1 and 2 sent at a time
    #[arg(short = 'M', long, value_name = "N", default_value_t = 20, value_parser = value_parser!(u16).range(1..=10_000))]
    max_inflight: u16,

    /// Tell on stderr what is sent and received
    #[arg(short, long)]
    debug: bool,

    /// Do not tell of lost connections and refused subscriptions
    #[arg(long, conflicts_with = "debug")]
    quiet: bool,
}

impl ClientArguments {
    /// A client that is not connected yet. Starts its log.
    pub(crate) fn client(&self, reconnect: bool) -> anyhow::Result<Client> {
        logging::start_for_client(self.debug, self.quiet);
        let endpoint = Endpoint { host: self.host.clone(), port: self.port, reconnect };
        Client::new(endpoint, self.connect()?, self.max_inflight)
            .map_err(|fault| Ending::Usage(format!("cannot connect as asked: {fault}")).into())
    }

    fn connect(&self) -> anyhow::Result<Connect> {
        let client_id = match (&self.id, &self.id_prefix) {
            (Some(id), _) => id.clone(),
            (None, prefix) => made_up_client_id(prefix.as_deref().unwrap_or("gmqtt"))?,
        };
        // [MQTT-3.1.3-7], and what is made up is never found again.
        if self.disable_clean_session && self.id.as_ref().is_none_or(Utf8Bytes::is_empty) {
            return Err(Ending::Usage("a stored session needs a name: -c takes -i ID".to_owned()).into());
        }
        let password = self.pw.as_ref().map(|password| Bytes::copy_from_slice(password.as_bytes()));
        Ok(Connect {
            clean_session: !self.disable_clean_session,
            keep_alive_secs: self.keepalive,
            client_id,
            will: self.will(),
            credentials: self.username.clone().map(|user_name| Credentials { user_name, password }),
        })
    }

    fn will(&self) -> Option<Will> {
        let topic = self.will_topic.clone()?;
        let message = Bytes::copy_from_slice(self.will_payload.as_encoded_bytes());
        Some(Will { topic, message, qos: self.will_qos, retain: self.will_retain })
    }
}

/// A CONNECT with a made-up client identifier and a clean session.
pub(crate) fn connect_as(user: Option<&str>, password: Option<&str>) -> anyhow::Result<Connect> {
    let wrong = |what: String| Ending::Usage(format!("not a user name: {what}"));
    let user_name = user.map(string).transpose().map_err(wrong)?;
    let password = password.map(|password| Bytes::copy_from_slice(password.as_bytes()));
    Ok(Connect {
        clean_session: true,
        keep_alive_secs: 60,
        client_id: made_up_client_id("gmqtt-top")?,
        will: None,
        credentials: user_name.map(|user_name| Credentials { user_name, password }),
    })
}

/// Of characters that every server must take; with the usual prefix, of no more than every server must take.
fn made_up_client_id(prefix: &str) -> anyhow::Result<Utf8Bytes> {
    let random = RandomState::new().hash_one(process::id());
    let refused = |error| Ending::Usage(format!("not a beginning of a client identifier: {error:?}"));
    Ok(Utf8Bytes::try_from(format!("{prefix}{random:016x}").as_str()).map_err(refused)?)
}

pub(crate) fn qos(text: &str) -> Result<QoS, &'static str> {
    text.parse().ok().and_then(QoS::from_u8).ok_or("a QoS is 0, 1 or 2")
}

pub(crate) fn topic_name(text: &str) -> Result<TopicName, String> {
    TopicName::try_from(text).map_err(|error| error.to_string())
}

pub(crate) fn topic_filter(text: &str) -> Result<TopicFilter, String> {
    TopicFilter::try_from(text).map_err(|error| error.to_string())
}

fn string(text: &str) -> Result<Utf8Bytes, String> {
    Utf8Bytes::try_from(text).map_err(|error| error.to_string())
}

fn protocol_version(text: &str) -> Result<(), &'static str> {
    match text {
        "311" | "mqttv311" | "4" => Ok(()),
        _ => Err("only MQTT 3.1.1 is spoken here: -V 311"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    #[command(disable_help_flag = true)]
    struct Line {
        #[command(flatten)]
        client: ClientArguments,
    }

    fn connect(arguments: &[&str]) -> Result<Connect, String> {
        let line =
            Line::try_parse_from([&["gmqtt"], arguments].concat()).map_err(|error| error.to_string())?;
        line.client.connect().map_err(|error| error.to_string())
    }

    /// [MQTT-3.1.3-7]
    #[test]
    fn a_stored_session_takes_a_client_identifier() {
        assert!(connect(&["-c"]).is_err());
        assert!(connect(&["-c", "-i", ""]).is_err());
        assert!(connect(&["-c", "-I", "prefix"]).is_err());
        assert!(!connect(&["-c", "-i", "name"]).unwrap().clean_session);
        let unnamed = connect(&["-i", ""]).unwrap();
        assert!(unnamed.clean_session && unnamed.client_id.is_empty());
    }

    #[test]
    fn made_up_client_identifiers_are_taken_by_every_server_and_are_no_two_alike() {
        let (first, second) = (connect(&[]).unwrap().client_id, connect(&[]).unwrap().client_id);
        assert_ne!(first, second);
        assert!(first.len() <= 23 && first.as_bytes().iter().all(u8::is_ascii_alphanumeric), "{first}");
        assert!(connect(&["-I", "door-"]).unwrap().client_id.as_str().starts_with("door-"));
    }

    #[test]
    fn all_of_a_connect_can_be_said() {
        let all = "-i me -u user -P secret -k 7 --will-topic w --will-payload gone --will-qos 2 --will-retain -V 311";
        let connect = connect(&all.split(' ').collect::<Vec<_>>()).unwrap();
        assert_eq!((connect.client_id.as_str(), connect.keep_alive_secs), ("me", 7));
        let credentials = connect.credentials.unwrap();
        assert_eq!(
            (credentials.user_name.as_str(), credentials.password.as_deref()),
            ("user", Some(&b"secret"[..]))
        );
        let will = connect.will.unwrap();
        assert_eq!((will.topic.as_str(), &will.message[..]), ("w", &b"gone"[..]));
        assert_eq!((will.qos, will.retain), (QoS::ExactlyOnce, true));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused: [&[&str]; 8] = [
            &["-P", "secret"],
            &["--will-payload", "x"],
            &["--will-retain"],
            &["--will-topic", "a/#"],
            &["--will-topic", "w", "--will-qos", "3"],
            &["-V", "5"],
            &["-k", "65536"],
            &["-M", "0"],
        ];
        for arguments in refused {
            assert!(connect(arguments).is_err(), "{arguments:?}");
        }
    }
}
