//! Where the log goes and what is in it: stderr, since standard output belongs to results.

use std::{fmt, io, str::FromStr, sync::Arc};

use anyhow::Context;
use parking_lot::Mutex;
use tracing::{Level, level_filters::LevelFilter};
use tracing_subscriber::{
    Registry,
    filter::{ParseError, Targets},
    fmt::layer as fmt_layer,
    layer::SubscriberExt,
    reload,
    util::SubscriberInitExt,
};

use crate::log_lines::Lines;

/// What goes into the log of a broker, and how it looks.
#[derive(Clone, Debug)]
pub(crate) struct LogSettings {
    pub(crate) level: Directives,
    pub(crate) format: LogFormat,
}

/// A level for all, and levels for parts: `info,mqtt_broker::net=debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directives(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl Default for Directives {
    fn default() -> Self {
        Self("info".into())
    }
}

impl FromStr for Directives {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match targets(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(why) => {
                Err(format!("is no level, such as \"info\" or \"info,mqtt_broker::net=debug\": {why}"))
            }
        }
    }
}

impl fmt::Display for Directives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The levels of a log that has begun. All clones are the same.
#[derive(Clone)]
pub(crate) struct LogLevels {
    handle: reload::Handle<Targets, Registry>,
    in_force: Arc<Mutex<Directives>>,
}

impl LogLevels {
    pub(crate) fn in_force(&self) -> Directives {
        self.in_force.lock().clone()
    }

    pub(crate) fn change(&self, to: &Directives) -> anyhow::Result<()> {
        let mut in_force = self.in_force.lock();
        self.handle.reload(filter(&to.0)).context("the levels of the log stay as they were")?;
        in_force.clone_from(to);
        Ok(())
    }
}

/// The log of a broker.
pub(crate) fn start(settings: &LogSettings) -> LogLevels {
    let (filter, handle) = reload::Layer::new(filter(&settings.level.0));
    // A closed stderr ends the log, and nothing else: complaining about it there would be a panic.
    let lines = fmt_layer().with_writer(Lines).log_internal_errors(false);
    let registry = tracing_subscriber::registry().with(filter);
    match settings.format {
        LogFormat::Text => registry.with(lines).init(),
        LogFormat::Json => registry.with(lines.json()).init(),
    }
    LogLevels { handle, in_force: Arc::new(Mutex::new(settings.level.clone())) }
}

/// The library that reads WebSocket frames. At `trace` it tells each of them in full: passwords and payloads.
const TELLS_ALL: &str = "tungstenite";

/// The levels of a text that was checked. The storage engine tells much at `info` that interests nobody who does not name it;
/// its warnings are of interest to all. That a batch could not be written is said by `mqtt_store`, and once is enough.
fn filter(text: &str) -> Targets {
    let wanted = targets(text).unwrap_or_default();
    let most = wanted.iter().map(|(_, level)| level).chain(wanted.default_level()).max();
    let mut levels = Targets::new().with_target("fjall::batch", LevelFilter::OFF);
    if most.is_none_or(|level| level >= LevelFilter::INFO) {
        levels = levels.with_targets([("fjall", LevelFilter::WARN), ("lsm_tree", LevelFilter::WARN)]);
    }
    if let Some(level) = wanted.default_level() {
        levels = levels.with_default(level);
    }
    let tells_all = |target: &str| target.starts_with(TELLS_ALL);
    if wanted.would_enable(TELLS_ALL, &Level::TRACE) {
        levels = levels.with_target(TELLS_ALL, LevelFilter::DEBUG);
    }
    levels.with_targets(wanted.into_iter().map(|(target, level)| {
        let most = if tells_all(&target) { LevelFilter::DEBUG } else { LevelFilter::TRACE };
        (target, level.min(most))
    }))
}

/// Levels by the beginnings of what says something. By spans and fields nothing can be chosen: nothing here has any, and the
/// regular expressions for it are a sixtieth of the program.
fn targets(text: &str) -> Result<Targets, String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return Err("it is empty".into());
    }
    if let Some(part) = parts.iter().find(|part| part.contains(['[', ']', '{', '}'])) {
        return Err(format!("`{part}` is no name of a part"));
    }
    // Taken for the name of a part, a level with a slip in it would turn everything else off.
    if let Some(part) = parts.iter().find(|part| !part.contains('=') && part.parse::<LevelFilter>().is_err())
    {
        return Err(format!("`{part}` is neither a level nor PART=LEVEL"));
    }
    parts.join(",").parse().map_err(|error: ParseError| error.to_string())
}

/// The log of a client: for a person who waits in front of it.
pub(crate) fn start_for_client(debug: bool, quiet: bool) {
    let level = match (debug, quiet) {
        (true, _) => LevelFilter::DEBUG,
        (false, false) => LevelFilter::WARN,
        (false, true) => LevelFilter::OFF,
    };
    let log =
        tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr).log_internal_errors(false);
    log.without_time().with_target(false).init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_quiet_unless_it_is_named() {
        let targets = |text: &str| filter(text).to_string();
        assert!(targets("info").contains("lsm_tree=warn"));
        let named = targets("info,lsm_tree=trace");
        assert!(named.contains("lsm_tree=trace") && !named.contains("lsm_tree=warn"), "{named}");
        assert_eq!(targets("error"), "fjall::batch=off,error");
    }

    #[test]
    fn nobody_is_told_what_is_in_a_frame() {
        for text in ["trace", "info,tungstenite=trace", "trace,tungstenite::protocol::frame=trace"] {
            let levels = filter(text);
            for part in ["tungstenite", "tungstenite::protocol", "tungstenite::protocol::frame::frame"] {
                assert!(!levels.would_enable(part, &Level::TRACE), "{text}: {part}");
            }
        }
        assert!(filter("trace").would_enable("tungstenite::protocol", &Level::DEBUG));
        assert!(filter("info,tungstenite=trace").would_enable("tungstenite::protocol", &Level::DEBUG));
        assert!(!filter("info").would_enable("tungstenite::protocol", &Level::DEBUG));
        assert!(!filter("trace,tungstenite=off").would_enable("tungstenite::protocol", &Level::ERROR));
    }

    #[test]
    fn a_text_of_levels_is_taken_as_far_as_it_makes_sense() {
        for text in ["info", "Debug", "off", "info, mqtt_broker::net=debug,", "gmqtt::audit=info", "a=0"] {
            assert!(text.parse::<Directives>().is_ok(), "{text}");
        }
        for text in [
            "",
            " ,",
            "loud",
            "info,mqtt_broker",
            "a=loud",
            "a=info=debug",
            "[span]=debug",
            "a[{peer=1}]=debug",
        ] {
            assert!(text.parse::<Directives>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_longest_name_decides() {
        let levels = filter("warn, mqtt_broker=info, mqtt_broker::net=debug");
        let enabled = |target, level| levels.would_enable(target, &level);
        assert!(
            enabled("mqtt_broker::net::tls", Level::DEBUG) && !enabled("mqtt_broker::core", Level::DEBUG)
        );
        assert!(enabled("gmqtt", Level::WARN) && !enabled("gmqtt", Level::INFO));
        assert!(enabled("fjall::db", Level::WARN) && !enabled("fjall::db", Level::INFO));
        assert!(!enabled("fjall::batch", Level::ERROR));
    }
}
