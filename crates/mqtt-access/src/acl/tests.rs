//! Tests of [`Acl`]: the syntax, the order in which lines count, and names that try to be more than names.

use mqtt_codec::{TopicFilter, TopicName};

use super::*;

const FILE: &str = "\
# anonymous clients
topic read public/#

group fitters
topic readwrite plant/+/valve
topic deny plant/secret/valve

user anna
memberof fitters
topic write  with spaces/x
topic news
topic deny plant/7/valve

user berta with spaces
topic receive alarms/#
topic subscribe alarms/+
topic publish status
topic retain status/kept

user anna
topic read more

pattern readwrite dev/%c/#
pattern write who/%u
pattern deny dev/%c/private
";

fn anonymous(client_id: &str) -> Subject<'_> {
    Subject { client_id, user_name: None }
}

fn user(name: &str) -> Subject<'_> {
    Subject { client_id: "c1", user_name: Some(name) }
}

fn publish(topic: &str) -> Act<'_> {
    Act::Publish { topic, retain: false }
}

fn retain(topic: &str) -> Act<'_> {
    Act::Publish { topic, retain: true }
}

fn subscribe(filter: &str) -> Act<'_> {
    Act::Subscribe { filter }
}

fn receive(topic: &str) -> Act<'_> {
    Act::Receive { topic }
}

/// The number of the line that decides; 0 for none.
fn decided(acl: &Acl, subject: Subject<'_>, act: Act<'_>) -> (bool, usize) {
    let Ruling { allowed, because } = acl.explain(subject, act);
    let line = if let Because::Line { number, .. } = because { number } else { 0 };
    (allowed, line)
}

#[test]
fn the_line_that_decides_is_named() {
    let acl = Acl::parse(FILE).unwrap();
    for (subject, act, expected) in [
        (anonymous("x"), receive("public/a"), (true, 2)),
        (anonymous("x"), publish("public/a"), (false, 0)),
        (user("anna"), receive("public/a"), (false, 0)),
        (user("anna"), publish("plant/1/valve"), (true, 5)),
        (user("anna"), publish("plant/secret/valve"), (false, 6)),
        (user("anna"), publish("plant/7/valve"), (false, 12)),
        (user("anna"), retain("with spaces/x"), (true, 10)),
        (user("anna"), receive("with spaces/x"), (false, 0)),
        (user("anna"), receive("news"), (true, 11)),
        (user("anna"), receive("more"), (true, 21)),
        (user("anna"), publish("who/anna"), (true, 24)),
        (user("anna"), publish("who/berta"), (false, 0)),
        (user("nobody"), publish("plant/1/valve"), (false, 0)),
        (user("nobody"), publish("dev/c1/x"), (true, 23)),
        (anonymous("c2"), publish("dev/c1/x"), (false, 0)),
        (anonymous("c1"), receive("dev/c1/private"), (false, 25)),
        (anonymous("c1"), publish("who/"), (false, 0)),
        (user("berta with spaces"), publish("status"), (true, 17)),
        (user("berta with spaces"), retain("status"), (false, 0)),
        (user("berta with spaces"), retain("status/kept"), (false, 0)),
    ] {
        assert_eq!(decided(&acl, subject, act), expected, "{subject:?} {act:?}");
    }
    let ruling = acl.explain(user("anna"), publish("plant/7/valve"));
    assert_eq!(ruling.to_string(), "refused by line 12: topic deny plant/7/valve");
}

/// `read` grants what has a topic in common with it, as mosquitto does; `subscribe` only what lies within it.
#[test]
fn wildcard_subscriptions() {
    let acl = Acl::parse(FILE).unwrap();
    for (subject, filter, expected) in [
        (user("anna"), "#", (true, 5)),
        (user("anna"), "plant/#", (true, 5)),
        (user("anna"), "plant/secret/valve", (false, 6)),
        (user("anna"), "plant/+/valve", (true, 5)),
        (user("anna"), "other/#", (false, 0)),
        (user("anna"), "$share/g/plant/#", (true, 5)),
        (user("anna"), "$share/g/other/#", (false, 0)),
        (user("anna"), "$SYS/#", (false, 0)),
        (user("berta with spaces"), "alarms/+", (true, 16)),
        (user("berta with spaces"), "alarms/x", (true, 16)),
        (user("berta with spaces"), "alarms/#", (false, 0)),
        (anonymous("c1"), "dev/+/x", (true, 23)),
        (anonymous("c1"), "dev/c2/#", (false, 0)),
        (anonymous("c1"), "who/+", (false, 0)),
    ] {
        assert_eq!(decided(&acl, subject, subscribe(filter)), expected, "{subject:?} {filter}");
    }
}

#[test]
fn an_empty_list_allows_nothing() {
    for text in ["", "\n# a comment\n", "user anna"] {
        let acl = Acl::parse(text).unwrap();
        for act in [publish("a"), retain("a"), subscribe("a"), subscribe("#"), receive("a")] {
            assert!(!acl.allows(user("anna"), act) && !acl.allows(anonymous("x"), act), "{text:?} {act:?}");
        }
    }
}

#[test]
fn a_name_with_a_wildcard_or_a_slash_fits_no_pattern() {
    let acl = Acl::parse("pattern readwrite dev/%c/#\npattern deny all/%u\npattern read all/#").unwrap();
    for name in ["+", "#", "a/b", "a+", "/", ""] {
        let by_client_id = anonymous(name);
        let by_user_name = Subject { client_id: "c1", user_name: Some(name) };
        for act in [publish("dev/x/y"), receive("dev/a/b/y"), subscribe("dev/+/y"), receive("all/x")] {
            assert_eq!(acl.explain(by_client_id, act).because, Because::Name, "{name} {act:?}");
            assert_eq!(acl.explain(by_user_name, act).because, Because::Name, "{name} {act:?}");
        }
    }
    // Its own section is not in question.
    let acl = Acl::parse("user a/b\ntopic x\npattern y/%u").unwrap();
    assert!(acl.allows(user("a/b"), publish("x")) && !acl.allows(user("a/b"), publish("y/a/b")));
}

#[test]
fn a_wrong_line_is_named_and_said_to_be_wrong() {
    let text = "user\ntopic\ntopic own x\ntopic read a/#/b\nread a\nmemberof g\nuser a\nmemberof g\ngroup h\npattern read x";
    let lines: Vec<usize> = Acl::parse(text).unwrap_err().iter().map(|error| error.line).collect();
    assert_eq!(lines, [1, 2, 3, 4, 5, 6, 8, 10]);
    assert!(Acl::parse("topic read a\0").is_err());
}

#[test]
fn a_list_for_one_client_is_about_no_other_and_has_no_sections() {
    let acl = Acl::for_one_client(["topic read a/#", "pattern write dev/%c"]).unwrap();
    assert!(acl.allows(user("anna"), receive("a/b")) && acl.allows(anonymous("c1"), receive("a/b")));
    assert!(acl.allows(user("anna"), publish("dev/c1")) && !acl.allows(user("anna"), publish("dev/c2")));
    let lines: Vec<usize> =
        Acl::for_one_client(["user x", "topic a", ""]).unwrap_err().iter().map(|error| error.line).collect();
    assert_eq!(lines, [1, 3]);
}

/// Topics of up to three levels out of these.
fn topics() -> Vec<String> {
    let levels = ["a", "b", "$s", ""];
    let one: Vec<String> = levels.map(str::to_owned).to_vec();
    let two: Vec<String> = one.iter().flat_map(|a| levels.map(|b| format!("{a}/{b}"))).collect();
    let three: Vec<String> = two.iter().flat_map(|a| levels.map(|b| format!("{a}/{b}"))).collect();
    one.into_iter().chain(two).chain(three).filter(|topic| !topic.is_empty()).collect()
}

/// Against the plain reading of the standard, for all topics and filters of a small alphabet.
#[test]
fn what_lines_match_is_what_the_standard_says() {
    let topics = topics();
    let levels = ["a", "b", "$s", "+", "#"];
    let filters: Vec<TopicFilter> = levels
        .iter()
        .flat_map(|a| levels.map(|b| format!("{a}/{b}")).into_iter().chain([(*a).to_owned()]))
        .filter_map(|filter| TopicFilter::new(filter.into_bytes()).ok())
        .collect();
    for line in &filters {
        let rule = Rule::new(1, "", Rights::default(), line.as_str(), false);
        let of = |filter: &TopicFilter, topic: &str| filter.matches(&TopicName::try_from(topic).unwrap());
        for topic in &topics {
            // A line that begins with a wildcard is never about `$`, as with subscriptions.
            assert_eq!(rule.matches(topic, anonymous("c")), of(line, topic), "{line:?} {topic}");
        }
        for filter in &filters {
            let wanted: Vec<&String> = topics.iter().filter(|topic| of(filter, topic)).collect();
            let common = wanted.iter().filter(|topic| of(line, topic)).count();
            let (overlaps, covers) = (
                rule.overlaps(filter.as_str(), anonymous("c")),
                rule.covers(filter.as_str(), anonymous("c")),
            );
            assert_eq!(overlaps, common > 0, "{line:?} overlaps {filter:?}");
            assert!(!covers || common == wanted.len(), "{line:?} does not cover {filter:?}");
        }
    }
}

/// No text makes the parser panic, and what it takes answers every question.
mod fuzz {
    use super::*;

    #[test]
    fn acl() {
        bolero::check!().with_type::<(Vec<Piece>, String, String, String)>().for_each(
            |(pieces, client_id, user_name, topic)| {
                let text: String = pieces.iter().map(Piece::text).collect();
                let Ok(acl) = Acl::parse(&text) else { return };
                let subject = Subject { client_id, user_name: Some(user_name) };
                for act in [publish(topic), retain(topic), subscribe(topic), receive(topic)] {
                    let ruling = acl.explain(subject, act);
                    if let Because::Line { number, text: line } = ruling.because {
                        assert_eq!(text.lines().nth(number - 1).map(str::trim), Some(line));
                    } else {
                        assert!(!ruling.allowed);
                    }
                }
            },
        );
    }

    /// Words that mean something, and anything.
    #[derive(Debug, bolero::TypeGenerator)]
    enum Piece {
        Word(u8),
        Text(String),
    }

    impl Piece {
        fn text(&self) -> &str {
            const WORDS: [&str; 16] = [
                "user ",
                "topic ",
                "pattern ",
                "group ",
                "memberof ",
                "read ",
                "deny ",
                "readwrite ",
                "subscribe ",
                "\n",
                "%c",
                "%u",
                "#",
                "+",
                "/",
                "$share/g/",
            ];
            match self {
                Self::Word(index) => WORDS[usize::from(*index) % WORDS.len()],
                Self::Text(text) => text,
            }
        }
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_line() {
    let acl = Acl::parse("\u{feff}topic a\n").unwrap();
    assert_eq!(decided(&acl, anonymous("c"), publish("a")), (true, 1));
}
