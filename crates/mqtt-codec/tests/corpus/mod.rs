//! Reads `packets.txt`, whose head describes its format.
//!
//! It needs nothing but the standard library, so that the tests of other crates can include it by path.

const PACKETS: &str = include_str!("packets.txt");

/// One line of the corpus.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// The section it stands in: `Fixed header`, `CONNECT`, ...
    pub(crate) section: &'static str,
    /// What it is about, with the statements it bears on.
    pub(crate) about: &'static str,
    /// The bytes on the wire.
    pub(crate) bytes: Vec<u8>,
    /// What they are.
    pub(crate) outcome: Outcome,
}

/// What the bytes of a [`Case`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// This packet, and the packet is written as these bytes.
    Packet(&'static str),
    /// This packet, which is written with other bytes.
    PacketSpelledOtherwise(&'static str),
    /// No packet, for this reason.
    Refused(&'static str),
    /// The beginning of a packet.
    Unfinished,
}

/// Every case, in the order of the file. Panics on a line it cannot read.
pub(crate) fn cases() -> Vec<Case> {
    let (mut section, mut about) = ("", "");
    let mut cases = Vec::new();
    for (number, line) in PACKETS.lines().enumerate() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title;
        } else if let Some(text) = line.strip_prefix('#') {
            about = text.trim_start();
        } else if !line.is_empty() {
            let (bytes, outcome) =
                read_case(line).unwrap_or_else(|| panic!("packets.txt:{}: {line}", number + 1));
            cases.push(Case { section, about, bytes, outcome });
        }
    }
    cases
}

fn read_case(line: &'static str) -> Option<(Vec<u8>, Outcome)> {
    let (mut bytes, mut rest) = (Vec::new(), line);
    loop {
        rest = rest.trim_start();
        if rest == "..." {
            return Some((bytes, Outcome::Unfinished));
        }
        let outcome: fn(&'static str) -> Outcome = match rest.get(..2)? {
            "= " => Outcome::Packet,
            "~ " => Outcome::PacketSpelledOtherwise,
            "! " => Outcome::Refused,
            _ => {
                rest = read_word(rest, &mut bytes)?;
                continue;
            }
        };
        return Some((bytes, outcome(&rest[2..])));
    }
}

/// Appends what the word at the head of `text` stands for; returns what follows it.
fn read_word<'a>(text: &'a str, bytes: &mut Vec<u8>) -> Option<&'a str> {
    let (word, rest) = if let Some(quoted) = text.strip_prefix('"') {
        let (word, rest) = quoted.split_once('"')?;
        (word.as_bytes().to_vec(), rest)
    } else {
        let len = text.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(text.len());
        let digits = text.get(..len).filter(|digits| !digits.is_empty() && digits.len() % 2 == 0)?;
        let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).ok();
        ((0..len).step_by(2).map(byte).collect::<Option<_>>()?, &text[len..])
    };
    let Some(count) = rest.strip_prefix('*') else {
        bytes.extend(word);
        return Some(rest);
    };
    let len = count.find(|c: char| !c.is_ascii_digit()).unwrap_or(count.len());
    bytes.extend(word.repeat(count[..len].parse().ok()?));
    Some(&count[len..])
}
