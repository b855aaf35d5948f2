//! How `gmqtt sub` prints a message: what `-F` may hold, in the letters of `mosquitto_sub`.

use std::{
    fmt,
    io::{self, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use mqtt_codec::Publish;

/// For `--help`.
pub(crate) const HELP: &str = "\
Format (-F):
  %t topic          %p payload            %x payload in hex   %X in upper-case hex
  %q QoS            %l payload length     %r retained (0, 1)  %m packet identifier (0 at QoS 0)
  %I time (UTC)     %U seconds since 1970 %j all, as JSON     %% a percent sign
  \\n \\t \\r \\0 \\a \\e \\v \\\\ as usual

A connection that is lost is made again, with its subscriptions. SIGINT and SIGTERM end the program with a good-bye to \
the broker.";

/// A parsed format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Format(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Topic,
    Payload,
    PayloadOrNull,
    LowerHex,
    UpperHex,
    QoS,
    PayloadLen,
    Retain,
    PacketId,
    IsoTime,
    UnixTime,
    Json,
}

impl Format {
    /// The payload alone.
    pub(crate) fn payload() -> Self {
        Self(vec![Piece::Payload])
    }

    /// `-v`: topic and payload.
    pub(crate) fn verbose() -> Self {
        Self(vec![Piece::Topic, Piece::Text(" ".to_owned()), Piece::PayloadOrNull])
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (mut pieces, mut chars) = (Vec::new(), text.chars());
        let mut literal = String::new();
        while let Some(c) = chars.next() {
            match c {
                '%' => match piece(chars.next())? {
                    Piece::Text(text) => literal.push_str(&text),
                    piece => {
                        if !literal.is_empty() {
                            pieces.push(Piece::Text(std::mem::take(&mut literal)));
                        }
                        pieces.push(piece);
                    }
                },
                '\\' => literal.push(escaped(chars.next())?),
                c => literal.push(c),
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Self(pieces))
    }

    /// Writes what there is to say of one message, without an end of line.
    pub(crate) fn write(&self, out: &mut impl Write, message: &Publish, now: SystemTime) -> io::Result<()> {
        let payload = &message.payload[..];
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.write_all(text.as_bytes())?,
                Piece::Topic => out.write_all(message.topic.as_bytes())?,
                Piece::PayloadOrNull if payload.is_empty() => out.write_all(b"(null)")?,
                Piece::Payload | Piece::PayloadOrNull => out.write_all(payload)?,
                Piece::LowerHex => payload.iter().try_for_each(|byte| write!(out, "{byte:02x}"))?,
                Piece::UpperHex => payload.iter().try_for_each(|byte| write!(out, "{byte:02X}"))?,
                Piece::QoS => write!(out, "{}", message.delivery.qos())?,
                Piece::PayloadLen => write!(out, "{}", payload.len())?,
                Piece::Retain => write!(out, "{}", u8::from(message.retain))?,
                Piece::PacketId => write!(out, "{}", packet_id(message))?,
                Piece::IsoTime => write!(out, "{}", humantime::format_rfc3339_micros(now))?,
                Piece::UnixTime => {
                    let time = now.duration_since(UNIX_EPOCH).unwrap_or_default();
                    write!(out, "{}.{:09}", time.as_secs(), time.subsec_nanos())?;
                }
                Piece::Json => write_json(out, message, now)?,
            }
        }
        Ok(())
    }
}

fn piece(letter: Option<char>) -> Result<Piece, String> {
    Ok(match letter {
        Some('%') => Piece::Text("%".to_owned()),
        Some('t') => Piece::Topic,
        Some('p') => Piece::Payload,
        Some('x') => Piece::LowerHex,
        Some('X') => Piece::UpperHex,
        Some('q') => Piece::QoS,
        Some('l') => Piece::PayloadLen,
        Some('r') => Piece::Retain,
        Some('m') => Piece::PacketId,
        Some('I') => Piece::IsoTime,
        Some('U') => Piece::UnixTime,
        Some('j') => Piece::Json,
        Some(other) => return Err(format!("%{other} means nothing here; --help lists what does")),
        None => return Err("a % at the end; write %% for a percent sign".to_owned()),
    })
}

fn escaped(letter: Option<char>) -> Result<char, String> {
    Ok(match letter {
        Some('n') => '\n',
        Some('t') => '\t',
        Some('r') => '\r',
        Some('0') => '\0',
        Some('a') => '\x07',
        Some('e') => '\x1b',
        Some('v') => '\x0b',
        Some('\\') => '\\',
        Some(other) => return Err(format!("\\{other} means nothing here; --help lists what does")),
        None => return Err("a \\ at the end; write \\\\ for a backslash".to_owned()),
    })
}

fn packet_id(message: &Publish) -> u16 {
    message.delivery.packet_id().map_or(0, mqtt_codec::PacketId::get)
}

/// One JSON object; what is not UTF-8 in a payload becomes U+FFFD.
fn write_json(out: &mut impl Write, message: &Publish, now: SystemTime) -> io::Result<()> {
    write!(
        out,
        r#"{{"tst":"{}","topic":{},"qos":{},"retain":{},"mid":{},"payloadlen":{},"payload":{}}}"#,
        humantime::format_rfc3339_micros(now),
        JsonString(message.topic.as_str()),
        message.delivery.qos(),
        message.retain,
        packet_id(message),
        message.payload.len(),
        JsonString(&String::from_utf8_lossy(&message.payload)),
    )
}

struct JsonString<'a>(&'a str);

impl fmt::Display for JsonString<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                '\n' => f.write_str("\\n")?,
                c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use mqtt_codec::{Delivery, PacketId, TopicName};

    use super::*;

    fn printed(format: &Format, payload: &'static [u8]) -> String {
        let packet_id = PacketId::new(7).unwrap();
        let message = Publish {
            delivery: Delivery::AtLeastOnce { packet_id, dup: false },
            retain: true,
            topic: TopicName::try_from("a/b").unwrap(),
            payload: Bytes::from_static(payload),
        };
        let now = UNIX_EPOCH + Duration::new(1_700_000_000, 5_000_000);
        let mut out = Vec::new();
        format.write(&mut out, &message, now).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_letter_prints_its_part() {
        let table = [
            ("%t|%p|%q|%l|%r|%m", "a/b|Hi\u{7f}|1|3|1|7"),
            ("%x %X", "48697f 48697F"),
            ("%I", "2023-11-14T22:13:20.005000Z"),
            ("%U", "1700000000.005000000"),
            (r"%%%%\n\t\r\0\a\e\v\\", "%%\n\t\r\0\x07\x1b\x0b\\"),
            ("ä", "ä"),
            ("", ""),
        ];
        for (format, expected) in table {
            assert_eq!(printed(&Format::parse(format).unwrap(), b"Hi\x7f"), expected, "{format}");
        }
    }

    #[test]
    fn json_is_escaped() {
        let json = "{\"tst\":\"2023-11-14T22:13:20.005000Z\",\"topic\":\"a/b\",\"qos\":1,\"retain\":true,\"mid\":7,\
                    \"payloadlen\":6,\"payload\":\"\\\"\\\\\\n\\u0001ä\"}";
        assert_eq!(printed(&Format::parse("%j").unwrap(), "\"\\\n\x01ä".as_bytes()), json);
    }

    #[test]
    fn an_empty_payload_is_named_by_verbose_alone() {
        assert_eq!(printed(&Format::verbose(), b""), "a/b (null)");
        assert_eq!(printed(&Format::verbose(), b"x"), "a/b x");
        assert_eq!(printed(&Format::payload(), b""), "");
    }

    #[test]
    fn mistakes_are_told() {
        for text in ["%", "%z", "\\", "\\z"] {
            assert!(Format::parse(text).is_err(), "{text}");
        }
    }
}
