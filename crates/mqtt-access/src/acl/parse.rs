//! Reads the lines of an access list.

use std::{collections::HashMap, sync::Arc};

use mqtt_codec::TopicFilter;

use super::{
    Acl, Section, Sections,
    rule::{Rights, Rule},
};
use crate::file_error::{LineError, without_byte_order_mark};

/// Which section the lines that follow belong to.
#[derive(Clone)]
enum Place {
    Anonymous,
    User(Box<str>),
    Group(Box<str>),
}

#[derive(Default)]
struct User {
    own: Section,
    /// With the lines that say so.
    groups: Vec<(usize, Box<str>)>,
}

#[derive(Default)]
struct Parser {
    anonymous: Section,
    users: HashMap<Box<str>, User>,
    groups: HashMap<Box<str>, Section>,
    patterns: Section,
    errors: Vec<LineError>,
}

/// A whole file.
pub(super) fn file(text: &str) -> Result<Acl, Vec<LineError>> {
    let mut parser = Parser::default();
    let mut place = Place::Anonymous;
    for (index, line) in without_byte_order_mark(text).lines().enumerate() {
        let (number, line) = (index + 1, line.trim());
        if !line.is_empty()
            && !line.starts_with('#')
            && let Err(what) = parser.line(number, line, &mut place)
        {
            parser.errors.push(LineError { line: number, what });
        }
    }
    parser.finish()
}

/// The lines that came with one client: `topic` and `pattern` lines, all of which are its own.
pub(super) fn lines<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Acl, Vec<LineError>> {
    let (mut own, mut patterns, mut errors) = (Section::default(), Section::default(), Vec::new());
    for (index, line) in lines.into_iter().enumerate() {
        let (number, line) = (index + 1, line.trim());
        let (word, rest) = split_word(line);
        let read = match word {
            "topic" => rule(number, line, rest, false).map(|rule| own.add(rule)),
            "pattern" => rule(number, line, rest, true).map(|rule| patterns.add(rule)),
            _ => Err("expected `topic` or `pattern`".to_owned()),
        };
        errors.extend(read.err().map(|what| LineError { line: number, what }));
    }
    if errors.is_empty() { Ok(Acl::new(Sections::OneForAll(own), patterns)) } else { Err(errors) }
}

impl Parser {
    fn line(&mut self, number: usize, line: &str, place: &mut Place) -> Result<(), String> {
        let (word, rest) = split_word(line);
        match word {
            "user" => {
                let name = name_of("user", rest)?;
                self.users.entry(name.clone()).or_default();
                *place = Place::User(name);
            }
            "group" => {
                let name = name_of("group", rest)?;
                self.groups.entry(name.clone()).or_default();
                *place = Place::Group(name);
            }
            "memberof" => {
                let group = name_of("memberof", rest)?;
                let Place::User(user) = place else {
                    return Err("`memberof` stands below the `user` whose group it names".to_owned());
                };
                self.users.entry(user.clone()).or_default().groups.push((number, group));
            }
            "topic" => {
                let rule = rule(number, line, rest, false)?;
                self.section(place).add(rule);
            }
            "pattern" => {
                let rule = rule(number, line, rest, true)?;
                if matches!(place, Place::Group(_)) {
                    return Err(
                        "a pattern is for every client, and stands in no group: move it above".to_owned()
                    );
                }
                self.patterns.add(rule);
            }
            _ => {
                return Err(format!(
                    "`{}`: a line begins with user, group, memberof, topic, pattern, or # for a comment",
                    word.escape_debug()
                ));
            }
        }
        Ok(())
    }

    fn section(&mut self, place: &Place) -> &mut Section {
        match place {
            Place::Anonymous => &mut self.anonymous,
            Place::User(name) => &mut self.users.entry(name.clone()).or_default().own,
            Place::Group(name) => self.groups.entry(name.clone()).or_default(),
        }
    }

    fn finish(mut self) -> Result<Acl, Vec<LineError>> {
        let mut users = HashMap::with_capacity(self.users.len());
        for (name, User { mut own, groups }) in self.users {
            for (line, group) in groups {
                if let Some(section) = self.groups.get(&group) {
                    own.extend(section);
                } else {
                    let what = format!("there is no `group {}` in this file", group.escape_debug());
                    self.errors.push(LineError { line, what });
                }
            }
            users.insert(name, own);
        }
        if self.errors.is_empty() {
            return Ok(Acl::new(Sections::ByUser { anonymous: self.anonymous, users }, self.patterns));
        }
        self.errors.sort_by_key(|error| error.line);
        Err(self.errors)
    }
}

fn name_of(keyword: &str, rest: &str) -> Result<Box<str>, String> {
    if rest.is_empty() { Err(format!("`{keyword}` without a name")) } else { Ok(rest.into()) }
}

/// What follows `topic` or `pattern`: perhaps a right, then the topic. A topic with a space in it needs the right.
fn rule(number: usize, line: &str, rest: &str, is_pattern: bool) -> Result<Arc<Rule>, String> {
    let (first, topic) = split_word(rest);
    let (rights, topic) = match (rights_of(first), topic) {
        (_, "") => (rights_of("readwrite").unwrap_or_default(), first),
        (Some(rights), topic) => (rights, topic),
        (None, _) => {
            return Err(format!(
                "`{}` is no right: read, write, readwrite, deny, publish, retain, subscribe or receive",
                first.escape_debug()
            ));
        }
    };
    if let Err(error) = TopicFilter::check(topic.as_bytes()) {
        return Err(format!("`{}` is no topic filter: {error}", topic.escape_debug()));
    }
    Ok(Arc::new(Rule::new(number, line, rights, topic, is_pattern)))
}

/// A line that denies has no right to give.
fn rights_of(word: &str) -> Option<Rights> {
    let read = Rights::RECEIVE | Rights::SUBSCRIBE_ACROSS;
    let write = Rights::PUBLISH | Rights::RETAIN;
    Some(match word {
        "read" => read,
        "write" => write,
        "readwrite" => read | write,
        "deny" => Rights::default(),
        "publish" => Rights::PUBLISH,
        "retain" => Rights::RETAIN,
        "subscribe" => Rights::SUBSCRIBE_WITHIN,
        "receive" => Rights::RECEIVE,
        _ => return None,
    })
}

/// The first word, and what follows it.
fn split_word(text: &str) -> (&str, &str) {
    match text.split_once([' ', '\t']) {
        Some((word, rest)) => (word, rest.trim_start()),
        None => (text, ""),
    }
}
