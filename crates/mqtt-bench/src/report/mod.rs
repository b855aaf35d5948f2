//! What a benchmark found, the same for every scenario: settings, figures, latency, faults.
//!
//! Plain data with units in it; [`table`](Report::table) is for people, [`json`](Report::json) for machines.

mod environment;
mod html;
mod plot;
mod table;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::{environment::Environment, html::page};

use crate::{
    BenchError,
    latency::Latency,
    server_process::{Spent, Usage},
    traffic::{Faults, Measured},
};

/// The result of one benchmark.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// What to call the server in a comparison; its address without it.
    #[serde(default)]
    pub label: Option<String>,
    /// The scenario's name on the command line.
    pub scenario: String,
    /// The server's address.
    pub server: String,
    /// What was asked for: name and value.
    pub settings: Vec<(String, String)>,
    /// What was measured.
    pub figures: Vec<Figure>,
    /// Time from (intended) sending to receiving; absent where nothing is delivered.
    pub latency: Option<LatencySummary>,
    faults: Faults,
    /// What the reader should know before believing the figures.
    pub notes: Vec<String>,
    /// Where and how it was measured.
    pub environment: Environment,
}

/// One measured number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    /// What it is.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: Unit,
}

/// The unit of a [`Figure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A plain number.
    Count,
    /// Per second.
    PerSecond,
    /// Microseconds.
    Micros,
    /// Seconds.
    Secs,
    /// Bytes.
    Bytes,
    /// Bytes per second.
    BytesPerSecond,
    /// Processors kept busy.
    Cores,
    /// A share of one.
    Share,
}

/// Latency percentiles in microseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LatencySummary {
    /// Messages it is about.
    pub count: u64,
    /// Median.
    pub p50_micros: f64,
    /// 90 % do not exceed this.
    pub p90_micros: f64,
    /// 99 % do not exceed this.
    pub p99_micros: f64,
    /// 99.9 % do not exceed this.
    pub p999_micros: f64,
    /// The slowest.
    pub max_micros: f64,
    /// (microseconds, share of messages at most that).
    pub curve: Vec<(f64, f64)>,
}

impl LatencySummary {
    pub(crate) fn of(latency: &Latency) -> Option<Self> {
        let micros = |time: Duration| time.as_nanos() as f64 / 1e3;
        (latency.count() > 0).then(|| Self {
            count: latency.count(),
            p50_micros: micros(latency.percentile(50.0)),
            p90_micros: micros(latency.percentile(90.0)),
            p99_micros: micros(latency.percentile(99.0)),
            p999_micros: micros(latency.percentile(99.9)),
            max_micros: micros(latency.max()),
            curve: latency.curve(),
        })
    }
}

impl Report {
    pub(crate) fn new(scenario: &str, server: impl ToString) -> Self {
        Self {
            label: None,
            scenario: scenario.into(),
            server: server.to_string(),
            settings: Vec::new(),
            figures: Vec::new(),
            latency: None,
            faults: Faults::default(),
            notes: Vec::new(),
            environment: Environment::default(),
        }
    }

    /// Whether every message came once, in order, to whom it was for, and nothing else went wrong.
    pub fn is_sound(&self) -> bool {
        !self.faults.any()
    }

    /// The value of the figure of this name.
    pub fn figure(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.name == name).map(|figure| figure.value)
    }

    /// What to call the server.
    pub fn name(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.server)
    }

    /// One JSON object on several lines: the fields of this structure, and `sound`.
    pub fn json(&self) -> String {
        let mut json = serde_json::to_value(self).unwrap_or_default();
        json["sound"] = self.is_sound().into();
        format!("{json:#}")
    }

    /// The opposite of [`Report::json`].
    pub fn from_json(json: &str) -> Result<Self, BenchError> {
        serde_json::from_str(json).map_err(|error| BenchError::NotAReport(error.to_string()))
    }

    /// A table for a terminal.
    pub fn table(&self) -> String {
        table::render(self)
    }

    pub(crate) fn setting(&mut self, name: &str, value: impl ToString) {
        self.settings.push((name.into(), value.to_string()));
    }

    /// What is not a number is left out: JSON could not say it.
    pub(crate) fn add(&mut self, name: &str, value: f64, unit: Unit) {
        if value.is_finite() {
            self.figures.push(Figure { name: name.into(), value, unit });
        }
    }

    /// `count` of them in `time`.
    pub(crate) fn add_rate(&mut self, name: &str, count: u64, time: Duration) {
        self.add(name, count as f64 / time.as_secs_f64().max(1e-9), Unit::PerSecond);
    }

    /// What server and generator used for `count` pieces of work.
    pub(crate) fn add_spent(&mut self, spent: &Spent, count: u64) {
        self.add("measured time", spent.time.as_secs_f64(), Unit::Secs);
        if let Some(server) = spent.server {
            self.add_usage("server", server, count, spent.time);
        }
        self.add_usage("generator", spent.generator, count, spent.time);
    }

    fn add_usage(&mut self, who: &str, usage: Usage, count: u64, time: Duration) {
        if count > 0 {
            self.add(&format!("{who} CPU each"), usage.cpu_secs * 1e6 / count as f64, Unit::Micros);
        }
        self.add(&format!("{who} CPU"), usage.cpu_secs / time.as_secs_f64().max(1e-9), Unit::Cores);
        self.add(&format!("{who} peak memory"), usage.peak_resident_bytes as f64, Unit::Bytes);
    }

    /// What the growth of a process says and what it does not.
    pub(crate) fn note_memory(&mut self) {
        self.notes.push(
            "memory is the growth of the process: start the server anew before, or it reuses what it has; what the \
             kernel keeps for a socket is not in it"
                .into(),
        );
    }

    pub(crate) fn faults(&mut self) -> &mut Faults {
        &mut self.faults
    }

    /// All that a run of traffic showed.
    pub(crate) fn add_traffic(&mut self, measured: &Measured) {
        self.add_rate("published", measured.published, measured.spent.time);
        if measured.delivered > 0 {
            self.add_rate("delivered", measured.delivered, measured.spent.time);
        }
        let each = if measured.delivered > 0 { measured.delivered } else { measured.published };
        self.add_spent(&measured.spent, each);
        if !measured.most_late.is_zero() {
            self.add("generator late at most", measured.most_late.as_nanos() as f64 / 1e3, Unit::Micros);
        }
        self.latency = LatencySummary::of(&measured.latency);
        self.faults = measured.faults.clone();
    }
}
