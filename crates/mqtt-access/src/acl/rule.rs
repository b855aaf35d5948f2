//! [`Rule`]: one line of an access list, and what it matches.
//!
//! Everything is compared level by level: what a client calls itself fills one level of a pattern, and can be neither a
//! wildcard nor several levels.

use std::ops::BitOr;

/// What a line gives. A set: `readwrite` gives four.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rights(u8);

impl Rights {
    pub(crate) const PUBLISH: Self = Self(1);
    /// To have what may be published retained.
    pub(crate) const RETAIN: Self = Self(2);
    pub(crate) const RECEIVE: Self = Self(4);
    /// To subscribe to what matches nothing beyond the line.
    pub(crate) const SUBSCRIBE_WITHIN: Self = Self(8);
    /// To subscribe to whatever has a topic in common with the line: deliveries are judged one by one anyway.
    pub(crate) const SUBSCRIBE_ACROSS: Self = Self(16);

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Rights {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One line that gives or denies rights.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// Its number, from 1.
    pub(crate) line: usize,
    /// As it was written.
    pub(crate) text: Box<str>,
    /// What it gives; a line that denies gives nothing, and denies everything.
    pub(crate) rights: Rights,
    levels: Box<[Level]>,
}

/// A level of a rule's topic.
#[derive(Clone, Debug)]
enum Level {
    Text(Box<str>),
    /// Text with names in it, which are the client's own.
    Template(Box<[Part]>),
    /// `+`
    Any,
    /// `#`
    Rest,
}

#[derive(Clone, Debug)]
enum Part {
    Text(Box<str>),
    ClientId,
    UserName,
}

/// Who wants something, by the names that stand in patterns.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The client identifier.
    pub client_id: &'a str,
    /// The user name, unless it is anonymous.
    pub user_name: Option<&'a str>,
}

impl Rule {
    /// A rule for a topic filter that has been checked; `is_pattern` says that `%c` and `%u` in it are names.
    pub(crate) fn new(line: usize, text: &str, rights: Rights, filter: &str, is_pattern: bool) -> Self {
        let levels = filter.split('/').map(|level| Level::parse(level, is_pattern)).collect();
        Self { line, text: text.into(), rights, levels }
    }

    pub(crate) fn uses_client_id(&self) -> bool {
        self.parts().any(|part| matches!(part, Part::ClientId))
    }

    pub(crate) fn uses_user_name(&self) -> bool {
        self.parts().any(|part| matches!(part, Part::UserName))
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.levels.iter().flat_map(|level| match level {
            Level::Template(parts) => parts.iter(),
            _ => [].iter(),
        })
    }

    /// Whether a topic name belongs to the rule. A topic that begins with `$` belongs only to a rule that does.
    pub(crate) fn matches(&self, topic: &str, subject: Subject<'_>) -> bool {
        if topic.starts_with('$') && !self.begins_with_dollar() {
            return false;
        }
        let mut topic = topic.split('/');
        for level in &self.levels {
            match (level, topic.next()) {
                (Level::Rest, _) => return true, // `a/#` matches `a` too.
                (level, Some(name)) if level.matches(name, subject) => {}
                _ => return false,
            }
        }
        topic.next().is_none()
    }

    /// Whether some topic belongs to the rule and to `filter`.
    pub(crate) fn overlaps(&self, filter: &str, subject: Subject<'_>) -> bool {
        if subject.user_name.is_none() && self.uses_user_name() {
            return false;
        }
        // Wildcards at the beginning match no topic with `$` there.
        if filter.starts_with('$') != self.begins_with_dollar() {
            return false;
        }
        let mut wanted = filter.split('/');
        for level in &self.levels {
            match (level, wanted.next()) {
                (Level::Rest, _) | (_, Some("#")) => return true,
                (_, Some("+")) => {}
                (level, Some(name)) if level.matches(name, subject) => {}
                _ => return false,
            }
        }
        matches!(wanted.next(), None | Some("#"))
    }

    /// Whether every topic that belongs to `filter` belongs to the rule.
    pub(crate) fn covers(&self, filter: &str, subject: Subject<'_>) -> bool {
        if filter.starts_with('$') && !self.begins_with_dollar() {
            return false;
        }
        let mut wanted = filter.split('/');
        for level in &self.levels {
            match (level, wanted.next()) {
                (Level::Rest, _) => return true,
                (_, None | Some("#")) => return false,
                (Level::Any, Some(_)) => {}
                (_, Some("+")) => return false,
                (level, Some(name)) if level.matches(name, subject) => {}
                _ => return false,
            }
        }
        wanted.next().is_none()
    }

    /// A name that a client has chosen does not count: nobody becomes `$SYS` by his name.
    fn begins_with_dollar(&self) -> bool {
        let first = match self.levels.first() {
            Some(Level::Text(text)) => Some(text),
            Some(Level::Template(parts)) => match parts.first() {
                Some(Part::Text(text)) => Some(text),
                _ => None,
            },
            _ => None,
        };
        first.is_some_and(|text| text.starts_with('$'))
    }
}

impl Level {
    fn parse(level: &str, is_pattern: bool) -> Self {
        match level {
            "+" => Self::Any,
            "#" => Self::Rest,
            _ if is_pattern && (level.contains("%c") || level.contains("%u")) => Self::Template(parts(level)),
            _ => Self::Text(level.into()),
        }
    }

    /// Whether the level is this name, which is no wildcard.
    fn matches(&self, name: &str, subject: Subject<'_>) -> bool {
        match self {
            Self::Any | Self::Rest => true,
            Self::Text(text) => **text == *name,
            Self::Template(parts) => {
                let mut rest = name;
                for part in parts {
                    let expected = match part {
                        Part::Text(text) => text,
                        Part::ClientId => subject.client_id,
                        // A pattern with a user name in it is nothing to who has none.
                        Part::UserName => match subject.user_name {
                            Some(user_name) => user_name,
                            None => return false,
                        },
                    };
                    match rest.strip_prefix(expected) {
                        Some(after) => rest = after,
                        None => return false,
                    }
                }
                rest.is_empty()
            }
        }
    }
}

fn parts(level: &str) -> Box<[Part]> {
    let mut parts = Vec::new();
    let mut rest = level;
    while let Some(at) = rest.find("%c").into_iter().chain(rest.find("%u")).min() {
        let (text, name) = rest.split_at(at);
        if !text.is_empty() {
            parts.push(Part::Text(text.into()));
        }
        let (name, after) = name.split_at(2);
        parts.push(if name == "%c" { Part::ClientId } else { Part::UserName });
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.into()));
    }
    parts.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNA: Subject<'_> = Subject { client_id: "c1", user_name: Some("anna") };

    fn rule(filter: &str) -> Rule {
        Rule::new(1, filter, Rights::default(), filter, true)
    }

    #[test]
    fn topics_are_matched_level_by_level() {
        for (filter, topic) in [
            ("a/b", "a/b"),
            ("a/+", "a/"),
            ("a/#", "a"),
            ("#", "a/b/c"),
            ("$SYS/#", "$SYS/x"),
            ("d/%c/%u", "d/c1/anna"),
            ("d/x-%c-%u/+", "d/x-c1-anna/y"),
            ("d/%c%u", "d/c1anna"),
            ("/", "/"),
        ] {
            assert!(rule(filter).matches(topic, ANNA), "{filter} {topic}");
        }
        for (filter, topic) in [
            ("a/b", "a"),
            ("a/b", "a/b/c"),
            ("a/+", "a"),
            ("#", "$SYS/x"),
            ("+/x", "$SYS/x"),
            ("d/%c", "d/c2"),
            ("d/%c", "d/c1x"),
            ("d/%c", "d/%c"),
            ("a", "a/"),
        ] {
            assert!(!rule(filter).matches(topic, ANNA), "{filter} {topic}");
        }
    }

    #[test]
    fn filters_overlap_and_are_covered() {
        let (no, some, all) = ((false, false), (true, false), (true, true));
        for (line, filter, expected) in [
            ("a/b", "a/b", all),
            ("a/b", "a/+", some),
            ("a/b", "#", some),
            ("a/b", "a/b/#", some),
            ("a/b", "a/b/c/#", no),
            ("a/b", "b", no),
            ("a/+", "a/+", all),
            ("a/+", "a/x", all),
            ("a/+", "a/#", some),
            ("a/+", "+/x", some),
            ("a/#", "a/+/c", all),
            ("a/#", "a", all),
            ("a/#", "+/+", some),
            ("#", "#", all),
            ("#", "$SYS/#", no),
            ("$SYS/#", "#", no),
            ("$SYS/#", "+/x", no),
            ("$SYS/#", "$SYS/x", all),
            ("d/%c/#", "d/c1/x", all),
            ("d/%c/#", "d/+/x", some),
            ("d/%c/#", "d/c2/x", no),
        ] {
            let rule = rule(line);
            let found = (rule.overlaps(filter, ANNA), rule.covers(filter, ANNA));
            assert_eq!(found, expected, "{line} {filter}");
        }
    }

    #[test]
    fn a_name_that_begins_with_dollar_opens_no_system_topic() {
        let dollar = Subject { client_id: "$SYS", user_name: None };
        assert!(!rule("%c/#").matches("$SYS/x", dollar));
        assert!(!rule("%c/#").overlaps("$SYS/x", dollar) && !rule("%c/#").covers("$SYS/x", dollar));
        assert!(!rule("%u/x").matches("/x", dollar), "no user name is not the empty one");
    }
}
