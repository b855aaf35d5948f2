//! [`KeyArguments`]: the command line's way to set what the configuration file can set too. Made from the same table.

use clap::{Arg, ArgAction, ArgMatches, Command, builder::PossibleValuesParser};

use crate::config::{Argument, Key, Kind, section_named};

/// A section whose keys are arguments, what they begin with, and their heading in the help.
const SECTIONS: [(&str, &str, &str); 8] = [
    ("", "", "Options"),
    ("access", "", "Access"),
    ("access.token", "token-", "JSON Web Tokens"),
    ("access.http", "http-", "A web server that is asked about clients"),
    ("admin", "admin-", "HTTP API"),
    ("storage", "", "Durability"),
    ("limits", "", "Limits"),
    ("log", "log-", "Log"),
];
/// An argument that is called otherwise than its section and key would have it.
const SHORT: (&str, &str) = ("admin-address", "admin");
/// An argument, and what it was called before it was made from its key: who has that in a script keeps it.
const FORMER: (&str, &str) = ("no-queue-qos0-messages", "no-queue-qos0");

/// What was given, key by key.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyArguments(pub(crate) Vec<Argument>);

/// A key and the argument that sets it.
struct Flag {
    section: &'static str,
    heading: &'static str,
    key: Key,
    long: String,
}

fn flags() -> impl Iterator<Item = Flag> {
    SECTIONS.into_iter().flat_map(|(section, prefix, heading)| {
        section_named(section).keys.into_iter().map(move |key| {
            let negation = if key.is_on_by_default() { "no-" } else { "" };
            let long = format!("{negation}{prefix}{}", key.name.replace('_', "-"));
            let long = if long == SHORT.0 { SHORT.1.to_owned() } else { long };
            Flag { section, heading, key, long }
        })
    })
}

impl Flag {
    fn argument(&self) -> Arg {
        let key = &self.key;
        let summary = key.summary();
        let summary = summary.trim_end_matches('.');
        let argument = Arg::new(self.long.clone()).long(self.long.clone()).help_heading(self.heading);
        let argument = if self.long == FORMER.0 { argument.alias(FORMER.1) } else { argument };
        if key.kind == Kind::Switch {
            let help = if key.is_on_by_default() { format!("Not: {summary}") } else { summary.to_owned() };
            return argument.action(ArgAction::SetTrue).help(help);
        }
        let default = key.default.as_ref().map(|default| format!(" [default: {}]", bare(default)));
        let help = format!("{summary}{}", default.unwrap_or_default());
        let details = key.details().map(|details| format!("{help}\n\n{details}"));
        let argument = argument.help(help).value_name(value_name(key.kind));
        let argument = match details {
            Some(details) => argument.long_help(details),
            None => argument,
        };
        match key.kind {
            Kind::Choice(names) => argument.value_parser(PossibleValuesParser::new(names.iter().copied())),
            _ => argument,
        }
    }

    fn given(&self, matches: &ArgMatches) -> Option<Argument> {
        let text = if self.key.kind == Kind::Switch {
            let is_set = matches.get_flag(&self.long);
            is_set.then(|| (!self.key.is_on_by_default()).to_string())
        } else {
            matches.get_one::<String>(&self.long).cloned()
        };
        let (section, key, spelling) = (self.section, self.key.name, format!("--{}", self.long));
        Some(Argument { section, key, spelling, text: text? })
    }
}

fn value_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Number => "N",
        Kind::Size => "SIZE",
        Kind::Time => "TIME",
        Kind::Path => "PATH",
        Kind::Choice(_) => "WORD",
        Kind::Text | Kind::Switch => "TEXT",
        Kind::List(_) => "LIST",
    }
}

/// Without the quotes that it has in the file.
fn bare(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl clap::Args for KeyArguments {
    fn augment_args(command: Command) -> Command {
        command.args(flags().map(|flag| flag.argument()))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for KeyArguments {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(flags().filter_map(|flag| flag.given(matches)).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;
    use mqtt_broker::Limits;

    use super::*;
    use crate::config::{Config, Mistakes, Sources};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        keys: KeyArguments,
    }

    fn config(arguments: &[&str]) -> Result<Config, Mistakes> {
        let Ok(line) = Line::try_parse_from([&["gmqtt", "--data-dir=/d"], arguments].concat()) else {
            return Err(Mistakes::default());
        };
        Config::of(&Sources { arguments: line.keys.0, ..Sources::default() }).map(|(config, _)| config)
    }

    #[test]
    fn without_arguments_all_is_as_the_broker_has_it_but_for_sys_topics() {
        let mut expected = Limits::default();
        expected.sys_interval = Some(Duration::from_secs(10));
        assert_eq!(format!("{:?}", config(&[]).unwrap().limits), format!("{expected:?}"));
    }

    #[test]
    fn each_argument_sets_its_own_limit() {
        let table = [
            ("--max-connections=1", "max_connections: 1,"),
            ("--max-connections-per-listener=15", "max_connections_per_listener: Some(15),"),
            ("--max-connections-per-address=2", "max_connections_per_address: Some(2),"),
            ("--max-connections-per-user=3", "max_connections_per_user: Some(3),"),
            ("--max-accept-rate-per-address=4", "max_accept_rate_per_address: Some(4),"),
            ("--ipv6-prefix-len=56", "ipv6_prefix_len: 56,"),
            ("--max-bans=5", "max_bans: 5,"),
            ("--flapping-connects=6", "flapping_connects: Some(6),"),
            ("--flapping-window=7s", "flapping_window: 7s,"),
            ("--flapping-ban=8s", "flapping_ban: 8s,"),
            ("--tcp-keep-alive=9s", "tcp_keep_alive: Some(9s),"),
            ("--max-publish-rate=10", "max_publish_rate: Some(10),"),
            ("--max-publish-byte-rate=11KiB", "max_publish_byte_rate: Some(11264),"),
            ("--publish-rate-policy=disconnect", "publish_rate_policy: Disconnect,"),
            ("--allow-dollar-topics", "allow_dollar_topics: true,"),
            ("--max-topic-len=12", "max_topic_len: 12,"),
            ("--max-filters-per-packet=13", "max_filters_per_packet: 13,"),
            ("--max-subscriptions=14", "max_subscriptions: 14,"),
            ("--max-wildcard-subscriptions-per-client=15", "max_wildcard_subscriptions_per_client: 15,"),
            ("--max-shared-subscriptions-per-client=16", "max_shared_subscriptions_per_client: 16,"),
            ("--connect-timeout=2s", "connect_timeout: 2s,"),
            ("--max-connect-packet-size=32KiB", "max_connect_packet_size: 32768,"),
            ("--max-packet-size=64KiB", "max_packet_size: 65536,"),
            ("--max-client-id-len=23", "max_client_id_len: 23,"),
            ("--max-user-name-len=17", "max_user_name_len: 17,"),
            ("--max-keep-alive=3m", "max_keep_alive_secs: Some(180),"),
            ("--max-topic-levels=4", "max_topic_levels: 4,"),
            ("--max-subscriptions-per-client=5", "max_subscriptions_per_client: 5,"),
            ("--max-subscription-bytes-per-client=5KiB", "max_subscription_bytes_per_client: 5120,"),
            ("--max-sessions=6", "max_sessions: 6,"),
            ("--session-expiry=never", "session_expiry: None,"),
            ("--max-inflight=8", "max_inflight: 8,"),
            ("--max-inflight-bytes=8KiB", "max_inflight_bytes: 8192,"),
            ("--queue-window-bytes=12KiB", "queue_window_bytes: 12288,"),
            ("--max-unreleased=9", "max_unreleased: 9,"),
            ("--max-queued-messages=10", "max_queued_messages: 10,"),
            ("--max-queued-bytes=11kB", "max_queued_bytes: 11000,"),
            ("--queue-full=disconnect", "queue_full: Disconnect,"),
            ("--no-queue-qos0-messages", "queue_qos0_messages: false,"),
            ("--no-queue-qos0", "queue_qos0_messages: false,"),
            ("--max-pending-bytes=12KiB", "max_pending_bytes: 12288,"),
            ("--retry-interval=20s", "retry_interval: Some(20s),"),
            ("--delivery-mode=overlap", "delivery_mode: Overlap,"),
            ("--shared-strategy=hash-topic", "shared_strategy: HashTopic,"),
            ("--max-retained-messages=13", "max_retained_messages: 13,"),
            ("--max-retained-bytes=14MiB", "max_retained_bytes: 14680064,"),
            ("--retained-expiry=1h", "retained_expiry: Some(3600s),"),
            ("--sys-interval=20s", "sys_interval: Some(20s),"),
            ("--hook-timeout=3s", "hook_timeout: 3s"),
        ];
        for (argument, field) in table {
            let limits = format!("{:?}", config(&[argument]).unwrap().limits);
            assert!(limits.contains(field), "{argument}: {limits}");
            assert!(
                !format!("{:?}", Limits::default()).contains(field),
                "{argument} is tried with its default"
            );
        }
    }

    #[test]
    fn the_numbers_of_access_have_arguments_too() {
        for (argument, field) in [
            ("--max-password-checks=2", "max_password_checks: Some(2)"),
            ("--max-failures-per-address=3", "failures_per_address: 3"),
            ("--max-failures-per-user=4", "failures_per_user: 4"),
            ("--max-failures-remembered=5", "most_remembered: 5"),
            ("--token-leeway=6s", "leeway: 6s"),
            ("--http-timeout=1s", "timeout: Setting { value: Deadline(1s)"),
            ("--http-max-concurrent=8", "max_concurrent: Setting { value: 8"),
            ("--http-cache-ttl=9s", "cache_ttl: Setting { value: Finite(9s)"),
            ("--http-cache-entries=10", "cache_entries: Setting { value: 10"),
        ] {
            let access = |arguments: &[&str]| format!("{:?}", config(arguments).unwrap().access);
            assert!(access(&[argument]).contains(field), "{argument}: {}", access(&[argument]));
            assert!(!access(&[]).contains(&format!("{field},")), "{argument} is tried with its default");
        }
    }

    #[test]
    fn limits_that_would_stop_all_service_are_refused() {
        let refused = [
            "--max-inflight=0",
            "--max-inflight=65536",
            "--max-inflight-bytes=0B",
            "--max-packet-size=63",
            "--max-packet-size=1GiB",
            "--max-client-id-len=22",
            "--max-topic-levels=0",
            "--max-keep-alive=0s",
            "--max-keep-alive=19h",
            "--connect-timeout=never",
            "--retry-interval=0s",
            "--tcp-keep-alive=0s",
            "--max-publish-rate=0",
            "--max-publish-byte-rate=0",
            "--max-accept-rate-per-address=0",
            "--max-connections-per-address=0",
            "--ipv6-prefix-len=0",
            "--max-filters-per-packet=0",
            "--queue-full=later",
        ];
        for argument in refused {
            assert!(config(&[argument]).is_err(), "{argument}");
        }
    }
}
