//! mosquitto.conf(5), line by line.

use std::{
    collections::HashMap,
    fs, mem,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::{
    Note,
    output::{Listener, Migrated},
};
use crate::config::web_origin;

/// What there is to a CONNECT or PUBLISH beside its payload, at most: mosquitto's limit is of the payload.
const AROUND_A_PAYLOAD: u64 = 65_535 + 9;

/// That the protocol can spell, in bytes.
const LARGEST_PACKET: u64 = mqtt_codec::MAX_REMAINING_LEN as u64 + 5;

/// The lines that say something, of a file and of those that it includes.
#[derive(Debug, Default)]
pub(super) struct Lines {
    all: Vec<Line>,
    notes: Vec<Note>,
    files: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Which of the files, by number.
    file: usize,
    place: String,
    option: String,
    pub(super) value: String,
}

impl Lines {
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut lines = Self::default();
        lines.add(file, &text, true);
        Ok(lines)
    }

    pub(super) fn add(&mut self, file: &Path, text: &str, may_include: bool) {
        let number = self.files;
        self.files += 1;
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (option, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let place = format!("{}:{}", file.display(), index + 1);
            let (option, value) = (option.to_owned(), value.trim().to_owned());
            let line = Line { file: number, place, option, value };
            if may_include && line.option == "include_dir" {
                self.include(&line);
            } else {
                self.all.push(line);
            }
        }
    }

    /// In mosquitto's order: by name.
    fn include(&mut self, line: &Line) {
        let read = || -> std::io::Result<Vec<(PathBuf, String)>> {
            let files: Result<Vec<PathBuf>, _> =
                fs::read_dir(&line.value)?.map(|entry| entry.map(|entry| entry.path())).collect();
            let mut files = files?;
            files.retain(|file| file.extension().is_some_and(|extension| extension == "conf"));
            files.sort();
            files.into_iter().map(|file| fs::read_to_string(&file).map(|text| (file, text))).collect()
        };
        match read() {
            Ok(files) => files.iter().for_each(|(file, text)| self.add(file, text, false)),
            Err(error) => {
                let what = format!("include_dir: cannot read {}: {error}", line.value);
                self.notes.push(Note { place: line.place.clone(), what });
            }
        }
    }
}

/// What was read so far, and where it belongs.
struct Reader {
    migrated: Migrated,
    /// mosquitto's default listener: what stands before the first `listener` of a file is about it, and about no other. It is
    /// there if `port` or `bind_address` gives it an address.
    default: Listener,
    /// The lines that are about it.
    of_default: Vec<Line>,
    /// By file, which of the listeners its last `listener` has begun.
    present: HashMap<usize, usize>,
    has_settings_per_listener: bool,
    default_port: u16,
    default_address: String,
    anonymous: Option<bool>,
    in_bridge: bool,
    /// The smallest bound of a packet so far.
    packet: Option<u64>,
    /// Of [`LEVELS`], the one that tells all that was asked for.
    level: Option<usize>,
}

pub(super) fn migrate(lines: Lines) -> Migrated {
    let mut reader = Reader {
        migrated: Migrated { notes: lines.notes, ..Migrated::default() },
        default: Listener::default(),
        of_default: Vec::new(),
        present: HashMap::new(),
        has_settings_per_listener: false,
        default_port: 1883,
        default_address: String::new(),
        anonymous: None,
        in_bridge: false,
        packet: None,
        level: None,
    };
    // What mosquitto does when no line says otherwise.
    reader.migrated.storage.set("durability", "memory");
    reader.migrated.limits.set("session_expiry", "never");
    for line in &lines.all {
        reader.line(line);
    }
    reader.finish()
}

/// Options of a bridge, or that begin one.
const OF_BRIDGES: [&str; 19] = [
    "address",
    "addresses",
    "topic",
    "cleansession",
    "clientid",
    "keepalive_interval",
    "notifications",
    "notification_topic",
    "notifications_local_only",
    "start_type",
    "restart_timeout",
    "round_robin",
    "try_private",
    "idle_timeout",
    "threshold",
    "username",
    "password",
    "local_cleansession",
    "connection",
];
const OF_DEFAULT: &str = "before a `listener` of its file it is about the default one, on port 1883";
/// Those that say something here; others are unknown whatever their value.
const SWITCHES: [&str; 8] = [
    "allow_anonymous",
    "allow_duplicate_messages",
    "per_listener_settings",
    "persistence",
    "queue_qos0_messages",
    "require_certificate",
    "use_identity_as_username",
    "use_subject_as_username",
];
/// Switches that gmqtt has not, because it does this anyway.
const ALWAYS_ON: [&str; 3] = ["set_tcp_nodelay", "log_timestamp", "connection_messages"];
/// Of the log, from few lines to many.
const LEVELS: [&str; 5] = ["off", "error", "warn", "info", "debug"];

impl Reader {
    fn line(&mut self, line: &Line) {
        let option = line.option.as_str();
        let is_of_bridge = option.starts_with("bridge_")
            || option.starts_with("remote_")
            || option.starts_with("local_")
            || OF_BRIDGES.contains(&option);
        if is_of_bridge || (self.in_bridge && option == "max_queued_messages") {
            self.in_bridge = true;
            return self.note(line, "gmqtt has no bridges");
        }
        let is_known = self.switch_line(line)
            || self.listener_line(line)
            || self.limit_line(line)
            || self.other_line(line);
        if !is_known {
            self.note(line, "gmqtt has no such option");
        }
    }

    fn note(&mut self, line: &Line, why: &str) {
        // The value may be a secret.
        let what = format!("{}: {why}", line.option);
        self.migrated.notes.push(Note { place: line.place.clone(), what });
    }

    /// Switches; `false` if it is none of them.
    fn switch_line(&mut self, line: &Line) -> bool {
        let option = line.option.as_str();
        if !SWITCHES.contains(&option) && !ALWAYS_ON.contains(&option) {
            return false;
        }
        let Some(is_on) = switch(&line.value) else {
            self.note(line, "neither true nor false");
            return true;
        };
        match option {
            "require_certificate" => {
                self.listener(line).asks_for_certificates = is_on.then(|| line.clone());
            }
            "use_identity_as_username" if is_on => {
                self.listener(line).tls.set("user_name", "common-name");
            }
            "use_subject_as_username" if is_on => {
                self.listener(line).tls.set("user_name", "distinguished-name");
            }
            "allow_anonymous" if self.has_settings_per_listener => {
                self.listener(line).keys.set("allow_anonymous", is_on);
            }
            "allow_anonymous" => self.anonymous = Some(is_on),
            "per_listener_settings" => self.has_settings_per_listener = is_on,
            "queue_qos0_messages" => self.migrated.limits.set("queue_qos0_messages", is_on),
            "allow_duplicate_messages" if is_on => self.migrated.limits.set("delivery_mode", "overlap"),
            "persistence" => self.migrated.storage.set("durability", if is_on { "sync" } else { "memory" }),
            _ if !is_on && ALWAYS_ON.contains(&option) => self.note(line, "gmqtt does that in any case"),
            _ => {}
        }
        true
    }

    /// Options of a listener; `false` if it is none of them.
    fn listener_line(&mut self, line: &Line) -> bool {
        let value = line.value.as_str();
        match line.option.as_str() {
            "listener" => self.begin(line),
            "port" | "bind_address" => self.bind_default(line),
            "protocol" => match value {
                "mqtt" => {}
                "websockets" => self.listener(line).speaks_websocket = true,
                _ => self.note(line, "gmqtt speaks no such protocol"),
            },
            "certfile" => self.listener(line).tls.set("certificate", value),
            "keyfile" => self.listener(line).tls.set("private_key", value),
            "cafile" => self.listener(line).authorities = Some(value.to_owned()),
            "crlfile" => self.listener(line).revocations = Some(line.clone()),
            "max_connections" => match value.parse::<i64>() {
                Ok(-1) => {}
                Ok(most) if most >= 0 => self.listener(line).keys.set("max_connections", most),
                _ => self.note(line, "no number"),
            },
            "websockets_origin" => self.origin(line, value),
            _ => return false,
        }
        true
    }

    /// Kept in any case: a listener without any is open to the pages of all.
    fn origin(&mut self, line: &Line, value: &str) {
        self.listener(line).origins.push(value.to_owned());
        if let Err(why) = web_origin(value) {
            self.note(line, &why);
        }
    }

    /// The one that a line is about.
    fn listener(&mut self, line: &Line) -> &mut Listener {
        let present = self.present.get(&line.file);
        if let Some(listener) = present.and_then(|&index| self.migrated.listeners.get_mut(index)) {
            return listener;
        }
        self.of_default.push(line.clone());
        &mut self.default
    }

    /// `listener PORT [ADDRESS]`.
    fn begin(&mut self, line: &Line) {
        self.in_bridge = false;
        let mut listener = Listener::default();
        let mut words = line.value.split_whitespace();
        let port = words.next().and_then(|port| port.parse::<u16>().ok());
        match (port, words.next()) {
            (Some(0), Some(path)) if path.starts_with('/') => {
                listener.keys.set("address", format!("unix:{path}"));
            }
            (Some(port), address) => {
                listener.keys.set("address", self.address(line, address.unwrap_or_default(), port));
            }
            (None, _) => self.note(line, "no port"),
        }
        self.present.insert(line.file, self.migrated.listeners.len());
        self.migrated.listeners.push(listener);
    }

    /// `port PORT`, `bind_address ADDRESS`.
    fn bind_default(&mut self, line: &Line) {
        if line.option == "port" {
            self.in_bridge = false;
            let Ok(port) = line.value.parse() else { return self.note(line, "no port") };
            self.default_port = port;
        } else {
            line.value.clone_into(&mut self.default_address);
        }
        let address = self.address(line, &self.default_address.clone(), self.default_port);
        self.default.keys.set("address", address);
    }

    fn address(&mut self, line: &Line, address: &str, port: u16) -> String {
        match (address, address.parse::<IpAddr>()) {
            ("", _) => format!("[::]:{port}"),
            (_, Ok(IpAddr::V6(address))) => format!("[{address}]:{port}"),
            (_, Ok(IpAddr::V4(address))) => format!("{address}:{port}"),
            ("localhost", _) => format!("localhost:{port}"),
            _ => {
                self.note(line, "a name for an address: it listens on localhost until you write the address");
                format!("localhost:{port}")
            }
        }
    }

    /// Numbers; `false` if it is none of them.
    fn limit_line(&mut self, line: &Line) -> bool {
        let Some(key) = limit_of(&line.option) else { return false };
        let limits = &mut self.migrated.limits;
        let number = line.value.parse::<u64>().ok();
        match (line.option.as_str(), number) {
            ("persistent_client_expiration", _) => match expiry(&line.value) {
                Some(expiry) => limits.set(key, expiry),
                None => self.note(line, "no time, such as 14d"),
            },
            (_, None) => self.note(line, "no number"),
            ("max_keepalive" | "sys_interval", Some(0)) => limits.set(key, "never"),
            ("max_keepalive" | "sys_interval", Some(secs)) => limits.set(key, format!("{secs}s")),
            ("max_inflight_messages", Some(0)) => limits.set(key, 65_535),
            ("max_queued_messages" | "max_queued_bytes" | "max_inflight_bytes", Some(0)) => {
                self.note(line, "gmqtt bounds what waits for a client: the default is in force");
            }
            ("message_size_limit" | "max_packet_size", Some(number)) => {
                let packet = match line.option.as_str() {
                    _ if number == 0 => LARGEST_PACKET,
                    "message_size_limit" => number.saturating_add(AROUND_A_PAYLOAD).min(LARGEST_PACKET),
                    _ => number,
                };
                // There both are in force.
                let smaller = self.packet.map_or(packet, |earlier| earlier.min(packet));
                self.packet = Some(smaller);
                limits.set(key, i64::try_from(smaller).unwrap_or(i64::MAX));
            }
            (_, Some(number)) => limits.set(key, i64::try_from(number).unwrap_or(i64::MAX)),
        }
        true
    }

    /// The rest; `false` if it is unknown.
    fn other_line(&mut self, line: &Line) -> bool {
        let value = line.value.as_str();
        match line.option.as_str() {
            "password_file" | "acl_file" => {
                let key = if line.option == "acl_file" { "acl_file" } else { "password_file" };
                if self.has_settings_per_listener {
                    self.listener(line).access.set(key, value);
                } else if self.migrated.access.has(key) {
                    self.note(line, "there was one before, for all listeners");
                } else {
                    self.migrated.access.set(key, value);
                }
            }
            "persistence_location" | "persistence_file" | "autosave_interval" | "autosave_on_changes" => {
                self.note(
                    line,
                    "gmqtt has a data directory of its own, and writes at once: [storage] data_dir",
                );
            }
            "log_type" => self.log_type(line),
            "log_dest" if value == "stderr" => {}
            "log_dest" | "log_facility" => self.note(line, "gmqtt logs to stderr: let systemd keep it"),
            "user" | "pid_file" => self.note(line, "that is for whoever starts gmqtt, such as systemd"),
            _ => return false,
        }
        true
    }

    /// Several add up.
    fn log_type(&mut self, line: &Line) {
        let level = match line.value.as_str() {
            "none" => "off",
            "error" => "error",
            "warning" => "warn",
            "notice" | "information" => "info",
            "debug" | "all" => "debug",
            _ => return self.note(line, "gmqtt has levels, and no such type: [log] level"),
        };
        self.level = self.level.max(LEVELS.iter().position(|known| *known == level));
    }

    fn finish(mut self) -> Migrated {
        if let Some(level) = self.level.and_then(|level| LEVELS.get(level)) {
            self.migrated.log.set("level", *level);
        }
        self.finish_default();
        for mut listener in mem::take(&mut self.migrated.listeners) {
            self.note_certificates(&listener);
            if !listener.keys.has("allow_anonymous") {
                // Without a word, mosquitto 2 lets nobody in who does not say who he is.
                listener.keys.set("allow_anonymous", self.anonymous.unwrap_or(false));
            }
            listener.finish();
            self.migrated.listeners.push(listener);
        }
        self.migrated
    }

    fn finish_default(&mut self) {
        if self.migrated.listeners.is_empty() && !self.default.keys.has("address") {
            // mosquitto without a listener is for its own machine, without passwords.
            self.default.keys.set("address", "localhost:1883");
            self.anonymous.get_or_insert(true);
        }
        if self.default.keys.has("address") {
            self.migrated.listeners.push(mem::take(&mut self.default));
        } else {
            for line in mem::take(&mut self.of_default) {
                self.note(&line, OF_DEFAULT);
            }
        }
    }

    fn note_certificates(&mut self, listener: &Listener) {
        let Some(line) = &listener.asks_for_certificates else {
            if let Some(line) = &listener.revocations {
                self.note(line, "no client is asked for a certificate: there is nothing to revoke");
            }
            return;
        };
        if listener.authorities.is_none() {
            self.note(line, "name the files of the authorities: client_authorities");
        }
        if !listener.tls.has("user_name") {
            let why =
                "who shows a certificate has its common name for a user name, and is asked for no password";
            self.note(line, why);
        }
    }
}

/// What mosquitto reads: the first word. It does not start on another than these.
fn switch(value: &str) -> Option<bool> {
    match value.split_whitespace().next()? {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// The key of a limit.
fn limit_of(option: &str) -> Option<&'static str> {
    Some(match option {
        "max_inflight_messages" => "max_inflight",
        "max_inflight_bytes" => "max_inflight_bytes",
        "sys_interval" => "sys_interval",
        "max_queued_messages" => "max_queued_messages",
        "max_queued_bytes" => "max_queued_bytes",
        "message_size_limit" | "max_packet_size" => "max_packet_size",
        "max_keepalive" => "max_keep_alive",
        "persistent_client_expiration" => "session_expiry",
        _ => return None,
    })
}

/// `14d`: hours, days, weeks, months or years.
fn expiry(text: &str) -> Option<String> {
    let number = text.get(..text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok()?;
    let days = match text.chars().last()? {
        'h' => return Some(format!("{number}h")),
        'd' => number,
        'w' => number.checked_mul(7)?,
        'm' => number.checked_mul(30)?,
        'y' => number.checked_mul(365)?,
        _ => return None,
    };
    Some(format!("{days}d"))
}
