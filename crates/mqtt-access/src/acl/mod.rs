//! [`Acl`]: who may publish, retain, subscribe and receive what, by a file in the syntax of mosquitto.
//!
//! It knows no broker: it answers questions about names and topics, and [`Ruling`] says which line has answered.

mod parse;
mod rule;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, fmt, fs, path::Path, sync::Arc};

pub use self::rule::Subject;
use self::rule::{Rights, Rule};
use crate::file_error::{FileError, LineError};

/// An access list. What no line allows is refused, so an empty one allows nothing.
///
/// ```
/// use mqtt_access::{Acl, Act, Subject};
///
/// let acl = Acl::parse("user anna\ntopic read news/#\n\npattern write devices/%c/state\n").expect("a list");
/// let anna = Subject { client_id: "lamp", user_name: Some("anna") };
/// assert!(acl.allows(anna, Act::Receive { topic: "news/today" }));
/// assert!(acl.allows(anna, Act::Publish { topic: "devices/lamp/state", retain: false }));
/// assert!(!acl.allows(anna, Act::Publish { topic: "devices/door/state", retain: false }));
/// ```
#[derive(Clone, Debug)]
pub struct Acl {
    sections: Sections,
    patterns: Section,
    patterns_use_client_id: bool,
    patterns_use_user_name: bool,
}

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act<'a> {
    /// To publish to a topic.
    Publish {
        /// The topic name.
        topic: &'a str,
        /// Whether the message is to be retained.
        retain: bool,
    },
    /// To subscribe.
    Subscribe {
        /// The topic filter; a `$share/group/` before it is not looked at.
        filter: &'a str,
    },
    /// To subscribe, and have every message that matches without being asked about it.
    SubscribeWhole {
        /// The same.
        filter: &'a str,
    },
    /// To get a message that was published to a topic.
    Receive {
        /// The topic name.
        topic: &'a str,
    },
}

/// The answer, and what it rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling<'a> {
    /// Whether the client may.
    pub allowed: bool,
    /// Why.
    pub because: Because<'a>,
}

/// What an answer rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because<'a> {
    /// A line says so.
    Line {
        /// Its number, from 1.
        number: usize,
        /// As it was written.
        text: &'a str,
    },
    /// No line allows it.
    NoLine,
    /// The client identifier or the user name has `+`, `#` or `/` in it, or is empty: no pattern is for such a name.
    Name,
}

#[derive(Clone, Debug)]
enum Sections {
    ByUser {
        anonymous: Section,
        users: HashMap<Box<str>, Section>,
    },
    /// The list came with one client, and is about no other.
    OneForAll(Section),
}

/// Lines that are judged together: those that deny first.
#[derive(Clone, Debug, Default)]
struct Section {
    deny: Vec<Arc<Rule>>,
    grant: Vec<Arc<Rule>>,
}

impl Acl {
    /// Reads a file. It blocks for as long.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let text = fs::read_to_string(path).map_err(FileError::io(path))?;
        Self::parse(&text).map_err(|lines| FileError::lines(path, lines))
    }

    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, Vec<LineError>> {
        parse::file(text)
    }

    /// A list for one client: each entry is a `topic` or `pattern` line.
    pub fn for_one_client<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Self, Vec<LineError>> {
        parse::lines(lines)
    }

    /// Whether this client may, and which line says so. The only judge: the broker and whoever explains it ask here.
    pub fn explain(&self, subject: Subject<'_>, act: Act<'_>) -> Ruling<'_> {
        match act {
            Act::Publish { topic, retain: false } => {
                self.judge(subject, &Want::Topic(topic, Rights::PUBLISH))
            }
            Act::Publish { topic, retain: true } => {
                let published = self.judge(subject, &Want::Topic(topic, Rights::PUBLISH));
                if !published.allowed {
                    return published;
                }
                self.judge(subject, &Want::Topic(topic, Rights::RETAIN))
            }
            Act::Subscribe { filter } => self.judge(subject, &Want::Filter(without_share(filter))),
            Act::SubscribeWhole { filter } => self.judge(subject, &Want::WholeFilter(without_share(filter))),
            Act::Receive { topic } => self.judge(subject, &Want::Topic(topic, Rights::RECEIVE)),
        }
    }

    /// Whether this client may.
    pub fn allows(&self, subject: Subject<'_>, act: Act<'_>) -> bool {
        self.explain(subject, act).allowed
    }

    fn new(sections: Sections, patterns: Section) -> Self {
        let mut all =
            Self { sections, patterns, patterns_use_client_id: false, patterns_use_user_name: false };
        let mut patterns = all.patterns.deny.iter().chain(&all.patterns.grant);
        all.patterns_use_client_id = patterns.clone().any(|rule| rule.uses_client_id());
        all.patterns_use_user_name = patterns.any(|rule| rule.uses_user_name());
        all
    }

    /// The client's own section first, then the patterns, as mosquitto does.
    fn judge(&self, subject: Subject<'_>, want: &Want<'_>) -> Ruling<'_> {
        let own = match (&self.sections, subject.user_name) {
            (Sections::OneForAll(section), _) => Some(section),
            (Sections::ByUser { users, .. }, Some(user_name)) => users.get(user_name),
            (Sections::ByUser { anonymous, .. }, None) => Some(anonymous),
        };
        if let Some(ruling) = own.and_then(|section| section.judge(subject, want)) {
            return ruling;
        }
        if self.patterns.is_empty() {
            return Ruling { allowed: false, because: Because::NoLine };
        }
        // A name is chosen by whoever bears it. Not even a line that denies may be evaded by it.
        let client_id_fits = !self.patterns_use_client_id || fits_one_level(subject.client_id);
        let user_name_fits = !self.patterns_use_user_name || subject.user_name.is_none_or(fits_one_level);
        if !client_id_fits || !user_name_fits {
            return Ruling { allowed: false, because: Because::Name };
        }
        let no_line = Ruling { allowed: false, because: Because::NoLine };
        self.patterns.judge(subject, want).unwrap_or(no_line)
    }
}

/// What a line is held against.
enum Want<'a> {
    Topic(&'a str, Rights),
    Filter(&'a str),
    WholeFilter(&'a str),
}

impl Section {
    fn add(&mut self, rule: Arc<Rule>) {
        if rule.rights == Rights::default() {
            self.deny.push(rule);
        } else {
            self.grant.push(rule);
        }
    }

    fn extend(&mut self, other: &Self) {
        self.deny.extend(other.deny.iter().cloned());
        self.grant.extend(other.grant.iter().cloned());
        // Of several lines that decide alike, the first one in the file is named.
        self.deny.sort_by_key(|rule| rule.line);
        self.grant.sort_by_key(|rule| rule.line);
    }

    fn is_empty(&self) -> bool {
        self.deny.is_empty() && self.grant.is_empty()
    }

    fn judge(&self, subject: Subject<'_>, want: &Want<'_>) -> Option<Ruling<'_>> {
        let denies = |rule: &Rule| match *want {
            Want::Topic(topic, _) => rule.matches(topic, subject),
            Want::Filter(filter) | Want::WholeFilter(filter) => rule.covers(filter, subject),
        };
        let grants = |rule: &Rule| match *want {
            Want::Topic(topic, right) => rule.rights.has(right) && rule.matches(topic, subject),
            Want::Filter(filter) => {
                rule.rights.has(Rights::SUBSCRIBE_ACROSS) && rule.overlaps(filter, subject)
                    || rule.rights.has(Rights::SUBSCRIBE_WITHIN) && rule.covers(filter, subject)
            }
            Want::WholeFilter(filter) => {
                rule.rights.has(Rights::RECEIVE | Rights::SUBSCRIBE_ACROSS) && rule.covers(filter, subject)
            }
        };
        let first = self.deny.iter().find(|rule| denies(rule)).map(|rule| (false, rule));
        let found = first.or_else(|| self.grant.iter().find(|rule| grants(rule)).map(|rule| (true, rule)));
        found.map(|(allowed, rule)| Ruling {
            allowed,
            because: Because::Line { number: rule.line, text: &rule.text },
        })
    }
}

/// Whether a name can stand for one level of a topic, and for nothing else.
fn fits_one_level(name: &str) -> bool {
    !name.is_empty() && !name.contains(['+', '#', '/'])
}

/// A member of a shared subscription gets what the filter within it matches.
fn without_share(filter: &str) -> &str {
    let rest = filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/'));
    rest.map_or(filter, |(_, filter)| filter)
}

impl fmt::Display for Ruling<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.allowed { "allowed" } else { "refused" };
        match self.because {
            Because::Line { number, text } => write!(f, "{verdict} by line {number}: {text}"),
            Because::NoLine => write!(f, "{verdict}: no line allows it"),
            Because::Name => write!(
                f,
                "{verdict}: no line of its user allows it, and no pattern is for a name that is empty or has + # / in it"
            ),
        }
    }
}
