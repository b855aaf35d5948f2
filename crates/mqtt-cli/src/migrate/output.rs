//! [`Migrated`]: the configuration as it grows, and as TOML.

use std::fmt::Write;

use toml::Value;

use super::{Note, mosquitto::Line};

/// Keys and what they hold, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys(Vec<(&'static str, Value)>);

/// A configuration of gmqtt.
#[derive(Clone, Debug, Default)]
pub(super) struct Migrated {
    pub(super) listeners: Vec<Listener>,
    pub(super) access: Keys,
    pub(super) storage: Keys,
    pub(super) limits: Keys,
    pub(super) log: Keys,
    pub(super) notes: Vec<Note>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Listener {
    pub(super) keys: Keys,
    pub(super) tls: Keys,
    pub(super) websocket: Keys,
    pub(super) access: Keys,
    pub(super) speaks_websocket: bool,
    /// Used only where clients show certificates.
    pub(super) authorities: Option<String>,
    /// Likewise: the line that names the file.
    pub(super) revocations: Option<Line>,
    /// The line that says so.
    pub(super) asks_for_certificates: Option<Line>,
    pub(super) origins: Vec<String>,
}

impl Keys {
    pub(super) fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.0.retain(|(known, _)| *known != key);
        self.0.push((key, value.into()));
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(known, _)| *known == key)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn write(&self, text: &mut String, heading: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n{heading}");
        for (key, value) in &self.0 {
            let _ = writeln!(text, "{key} = {value}");
        }
    }
}

impl Listener {
    /// What its lines come to together.
    pub(super) fn finish(&mut self) {
        if self.asks_for_certificates.is_some() {
            // Without authorities it is a mistake, and not an open door.
            self.tls.set("client_certificates", "required");
            self.tls.set("client_authorities", self.authorities.iter().cloned().collect::<Vec<_>>());
            if let Some(line) = &self.revocations {
                self.tls.set("revocation_lists", vec![line.value.clone()]);
            }
        }
        if !self.origins.is_empty() {
            self.websocket.set("origins", self.origins.clone());
        }
        let protocol = match (self.speaks_websocket, self.tls.has("certificate")) {
            (false, false) => "tcp",
            (false, true) => "tls",
            (true, false) => "ws",
            (true, true) => "wss",
        };
        self.keys.set("protocol", protocol);
    }
}

impl Migrated {
    pub(super) fn to_toml(&self) -> String {
        let mut text = String::from("# Made by `gmqtt migrate`. Check it with: gmqtt check-config FILE\n");
        if !self.notes.is_empty() {
            text.push_str("#\n# Not carried over, or not as it was:\n");
        }
        for note in &self.notes {
            let _ = writeln!(text, "#   {}: {}", note.place, note.what.escape_debug());
        }
        for listener in &self.listeners {
            listener.keys.write(&mut text, "[[listener]]");
            for (keys, heading) in [
                (&listener.tls, "[listener.tls]"),
                (&listener.websocket, "[listener.websocket]"),
                (&listener.access, "[listener.access]"),
            ] {
                if !keys.is_empty() {
                    keys.write(&mut text, heading);
                }
            }
        }
        for (keys, heading) in [
            (&self.access, "[access]"),
            (&self.storage, "[storage]"),
            (&self.limits, "[limits]"),
            (&self.log, "[log]"),
        ] {
            if !keys.is_empty() {
                keys.write(&mut text, heading);
            }
        }
        text
    }
}
