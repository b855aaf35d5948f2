//! [`Value`]: what a key may hold, and how it is read from TOML, from an argument or from the environment.
//!
//! Each bound that concerns one value alone is in its type here; what concerns several is checked where they meet.

mod web;

use std::{
    num::{NonZeroU16, NonZeroU32, NonZeroU64, NonZeroUsize},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use mqtt_access::Http;
use mqtt_broker::{
    CertificateField, ClientCertificates, DeliveryMode, Network, PublishRatePolicy, QueueFullPolicy,
    SharedStrategy, TrustedSources,
};
use mqtt_store::Durability;
use toml::de::DeValue;

use self::web::web_path;
pub(crate) use self::web::{WebOrigin, WebPath, web_origin};
use crate::{
    logging::{Directives, LogFormat},
    quantity::{Size, Span},
    serve::{address::ListenAddress, admin::AdminAddress},
};

/// A type of values. `Ok` or what is wrong with what was written, in words that follow the name of the key.
pub(crate) trait Value: Sized {
    /// What the documentation calls it, and which types of TOML it takes.
    const KIND: Kind;

    fn read(written: &Written<'_>) -> Result<Self, String>;

    /// As it would be written in TOML; `None` if it is left out.
    fn show(&self) -> Option<toml::Value>;
}

/// What somebody wrote.
pub(crate) enum Written<'a> {
    /// In an argument or a variable, which know no types.
    Untyped(&'a str),
    /// In a file in this folder.
    Toml(&'a DeValue<'a>, &'a Path),
}

/// What a value is, for a reader and for TOML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Number,
    /// Bytes, as a number or with a unit.
    Size,
    /// A time, or `never` where that makes sense.
    Time,
    Switch,
    Text,
    Path,
    Choice(&'static [&'static str]),
    List(&'static Kind),
}

impl Kind {
    /// How an operator writes it, for a complaint about another type.
    fn spelling(self) -> String {
        match self {
            Self::Number => "a number, without quotes".into(),
            Self::Size => "a size, such as 65536 or \"64KiB\"".into(),
            Self::Time => "a time in quotes, such as \"30s\"".into(),
            Self::Switch => "true or false, without quotes".into(),
            Self::Text => "a text in quotes".into(),
            Self::Path => "a path in quotes".into(),
            Self::Choice(names) => format!("one of {}", quoted(names)),
            Self::List(of) => format!("a list in brackets; each in it is {}", of.spelling()),
        }
    }

    fn takes(self, value: &DeValue<'_>) -> bool {
        match value {
            DeValue::Integer(_) => matches!(self, Self::Number | Self::Size),
            DeValue::Boolean(_) => self == Self::Switch,
            DeValue::String(_) => !matches!(self, Self::Number | Self::Switch | Self::List(_)),
            _ => false,
        }
    }
}

/// A scalar's text, if its type in TOML is one that `kind` takes.
fn text_of(written: &Written<'_>, kind: Kind) -> Result<String, String> {
    match written {
        Written::Untyped(text) => Ok((*text).to_owned()),
        Written::Toml(value, _) if !kind.takes(value) => {
            Err(format!("is {}, and has to be {}", describe(value), kind.spelling()))
        }
        Written::Toml(DeValue::String(text), _) => Ok(text.clone().into_owned()),
        Written::Toml(DeValue::Integer(number), _) => {
            match i128::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Ok(number.to_string()),
                Err(_) => Err("is a number too large".into()),
            }
        }
        Written::Toml(DeValue::Boolean(value), _) => Ok(value.to_string()),
        Written::Toml(value, _) => Err(format!("is {}, and has to be {}", describe(value), kind.spelling())),
    }
}

fn describe(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

pub(super) fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

impl<T: Value> Value for Option<T> {
    const KIND: Kind = T::KIND;

    fn read(written: &Written<'_>) -> Result<Self, String> {
        T::read(written).map(Some)
    }

    fn show(&self) -> Option<toml::Value> {
        self.as_ref().and_then(T::show)
    }
}

/// In an argument or a variable its parts stand between commas.
impl<T: Value> Value for Vec<T> {
    const KIND: Kind = Kind::List(&T::KIND);

    fn read(written: &Written<'_>) -> Result<Self, String> {
        match written {
            Written::Untyped(text) => text
                .split(',')
                .filter(|part| !part.is_empty())
                .map(|part| T::read(&Written::Untyped(part)))
                .collect(),
            Written::Toml(DeValue::Array(parts), folder) => {
                parts.iter().map(|part| T::read(&Written::Toml(part.get_ref(), folder))).collect()
            }
            Written::Toml(value, _) => {
                Err(format!("is {}, and has to be {}", describe(value), Self::KIND.spelling()))
            }
        }
    }

    fn show(&self) -> Option<toml::Value> {
        Some(toml::Value::Array(self.iter().filter_map(T::show).collect()))
    }
}

/// A scalar that is read from its text.
macro_rules! scalar {
    ($type:ty, $kind:expr, $read:expr, $show:expr) => {
        impl Value for $type {
            const KIND: Kind = $kind;

            fn read(written: &Written<'_>) -> Result<Self, String> {
                let read: fn(&str) -> Result<Self, String> = $read;
                read(&text_of(written, Self::KIND)?)
            }

            fn show(&self) -> Option<toml::Value> {
                let show: fn(&Self) -> toml::Value = $show;
                Some(show(self))
            }
        }
    };
}

scalar!(usize, Kind::Number, |text| number(text, "0 or more"), |value| integer(*value));
scalar!(NonZeroUsize, Kind::Number, |text| number(text, "1 or more"), |value| integer(value.get()));
scalar!(NonZeroU32, Kind::Number, |text| number(text, "1 or more"), |value| i64::from(value.get()).into());
scalar!(NonZeroU16, Kind::Number, |text| number(text, "from 1 to 65535"), |value| integer(
    value.get().into()
));
scalar!(bool, Kind::Switch, |text| text.parse().map_err(|_| "has to be true or false".into()), |value| {
    (*value).into()
});
scalar!(String, Kind::Text, |text| Ok(text.to_owned()), |value| value.clone().into());
scalar!(Size, Kind::Size, size, |value| value.to_string().into());
scalar!(Span, Kind::Time, span, |value| value.to_string().into());
scalar!(Finite, Kind::Time, finite, |value| Span(Some(value.0)).to_string().into());
scalar!(Deadline, Kind::Time, deadline, |value| Span(Some(value.0)).to_string().into());
scalar!(Interval, Kind::Time, interval, |value| Span(value.0).to_string().into());
scalar!(Seldom, Kind::Time, seldom, |value| Span(value.0).to_string().into());
scalar!(KeepAlive, Kind::Time, keep_alive, |value| value.to_string().into());
scalar!(PacketSize, Kind::Size, packet_size, |value| Size(value.0).to_string().into());
scalar!(UnixMode, Kind::Text, unix_mode, |value| format!("{:04o}", value.0).into());
scalar!(ListenAddress, Kind::Text, address, |value| value.to_string().into());
scalar!(NotEmpty, Kind::Size, not_empty, |value| Size(value.0).to_string().into());
scalar!(ByteRate, Kind::Size, byte_rate, |value| Size(value.0.get() as usize).to_string().into());
scalar!(PrefixLen, Kind::Number, prefix_len, |value| i64::from(value.0).into());
scalar!(AdminAddress, Kind::Text, address, |value| value.to_string().into());
scalar!(Directives, Kind::Text, str::parse, |value| value.to_string().into());
scalar!(Network, Kind::Text, network, |value| value.to_string().into());
scalar!(WebPath, Kind::Text, web_path, |value| value.0.clone().into());
scalar!(WebOrigin, Kind::Text, web_origin, |value| value.0.clone().into());
scalar!(ServerUrl, Kind::Text, server_url, |value| value.0.clone().into());

/// A relative path in a file starts from where that file is, so that they can be moved together.
impl Value for PathBuf {
    const KIND: Kind = Kind::Path;

    fn read(written: &Written<'_>) -> Result<Self, String> {
        let text = text_of(written, Self::KIND)?;
        match written {
            _ if text.is_empty() => Err("is an empty path".into()),
            Written::Toml(_, folder) => Ok(folder.join(text)),
            Written::Untyped(_) => Ok(text.into()),
        }
    }

    fn show(&self) -> Option<toml::Value> {
        Some(self.display().to_string().into())
    }
}

impl Value for TrustedSources {
    const KIND: Kind = Kind::List(&Kind::Text);

    fn read(written: &Written<'_>) -> Result<Self, String> {
        Self::new(Vec::<String>::read(written)?).map_err(|wrong| format!("names proxies, and {wrong}"))
    }

    fn show(&self) -> Option<toml::Value> {
        let text = self.to_string();
        let entries = text.split(", ").filter(|entry| !entry.is_empty());
        Some(toml::Value::Array(entries.map(Into::into).collect()))
    }
}

/// A time that has an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Finite(pub(crate) Duration);

/// A time in which something can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline(pub(crate) Duration);

/// How often something is done; never is possible, all the time is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval(pub(crate) Option<Duration>);

/// How often something is done, each second at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seldom(pub(crate) Option<Duration>);

/// The longest keep alive, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeepAlive(pub(crate) Option<u16>);

/// A bound of packets, in bytes, fixed header included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PacketSize(pub(crate) usize);

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tcp,
    Tls,
    Ws,
    Wss,
}

/// Who says who a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    Certificate,
    Token,
    Password,
    Http,
}

/// Who says what a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Authority {
    Acl,
    Http,
}

/// The name of the algorithm that a key of tokens is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TokenKind(pub(crate) &'static str);

/// A web server that can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerUrl(pub(crate) String);

/// The permissions of a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnixMode(pub(crate) u32);

/// Bytes, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotEmpty(pub(crate) usize);

/// Bytes a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteRate(pub(crate) NonZeroU64);

/// Bits of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PrefixLen(pub(crate) u8);

/// The longest packet that the protocol can spell.
const MAX_PACKET_SIZE: usize = mqtt_codec::MAX_REMAINING_LEN + 5;

impl std::fmt::Display for KeepAlive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Span(self.0.map(|secs| Duration::from_secs(secs.into()))).fmt(f)
    }
}

fn integer(number: usize) -> toml::Value {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}

fn number<T: FromStr>(text: &str, range: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("has to be a whole number, {range} (got `{text}`)"))
}

fn size(text: &str) -> Result<Size, String> {
    text.parse().map_err(|wrong| format!("is {wrong}"))
}

fn span(text: &str) -> Result<Span, String> {
    text.parse().map_err(|wrong| format!("is {wrong}"))
}

fn address<T: FromStr<Err = &'static str>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|wrong| format!("is no address: {wrong}"))
}

fn finite(text: &str) -> Result<Finite, String> {
    match span(text)? {
        Span(Some(time)) => Ok(Finite(time)),
        Span(None) => Err("has to be a time with an end".into()),
    }
}

fn deadline(text: &str) -> Result<Deadline, String> {
    match finite(text)? {
        Finite(Duration::ZERO) => Err("is a time of nothing at all, in which nobody could connect".into()),
        Finite(time) => Ok(Deadline(time)),
    }
}

fn interval(text: &str) -> Result<Interval, String> {
    match span(text)? {
        Span(Some(Duration::ZERO)) => Err("is a time of nothing at all: say never, or a time".into()),
        Span(time) => Ok(Interval(time)),
    }
}

fn seldom(text: &str) -> Result<Seldom, String> {
    match span(text)? {
        Span(Some(time)) if time < Duration::from_secs(1) => {
            Err("is less than a second: say never, or a second or more".into())
        }
        Span(time) => Ok(Seldom(time)),
    }
}

fn keep_alive(text: &str) -> Result<KeepAlive, String> {
    let Span(time) = span(text)?;
    match time.map(|time| u16::try_from(time.as_secs())) {
        None => Ok(KeepAlive(None)),
        Some(Ok(secs)) if secs > 0 => Ok(KeepAlive(Some(secs))),
        Some(_) => Err("has to be from 1s to 65535s, or never".into()),
    }
}

fn not_empty(text: &str) -> Result<NotEmpty, String> {
    match size(text)? {
        Size(0) => Err("has to be at least 1B".into()),
        Size(bytes) => Ok(NotEmpty(bytes)),
    }
}

fn byte_rate(text: &str) -> Result<ByteRate, String> {
    let Size(bytes) = size(text)?;
    NonZeroU64::new(bytes as u64).map(ByteRate).ok_or_else(|| "has to be at least one byte a second".into())
}

fn prefix_len(text: &str) -> Result<PrefixLen, String> {
    let len = text.parse().ok().filter(|len| (1..=128).contains(len));
    len.map(PrefixLen).ok_or_else(|| format!("has to be a number of bits, from 1 to 128 (got `{text}`)"))
}

fn network(text: &str) -> Result<Network, String> {
    text.parse().map_err(|wrong: mqtt_broker::NotANetwork| format!("names what is {wrong}"))
}

fn server_url(text: &str) -> Result<ServerUrl, String> {
    Http::check_url(text).map(|()| ServerUrl(text.to_owned())).map_err(|wrong| format!("is {wrong}"))
}

fn unix_mode(text: &str) -> Result<UnixMode, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.map(UnixMode).ok_or_else(|| format!("has to be permissions such as \"0660\" (got `{text}`)"))
}

fn packet_size(text: &str) -> Result<PacketSize, String> {
    match size(text)? {
        Size(bytes) if (64..=MAX_PACKET_SIZE).contains(&bytes) => Ok(PacketSize(bytes)),
        Size(_) => Err(format!("has to be from 64B to {MAX_PACKET_SIZE}B")),
    }
}

/// One of a few names.
macro_rules! choice {
    ($type:ty { $($name:literal => $value:expr),+ $(,)? }) => {
        impl Value for $type {
            const KIND: Kind = Kind::Choice(&[$($name),+]);

            fn read(written: &Written<'_>) -> Result<Self, String> {
                match text_of(written, Self::KIND)?.as_str() {
                    $($name => Ok($value),)+
                    other => Err(format!("is `{other}`, and has to be {}", Self::KIND.spelling())),
                }
            }

            fn show(&self) -> Option<toml::Value> {
                $(if *self == $value { return Some($name.into()); })+
                None
            }
        }
    };
}

impl Protocol {
    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    pub(crate) fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        })
    }
}

choice!(Protocol { "tcp" => Self::Tcp, "tls" => Self::Tls, "ws" => Self::Ws, "wss" => Self::Wss });
choice!(Provider {
    "certificate" => Self::Certificate,
    "token" => Self::Token,
    "password" => Self::Password,
    "http" => Self::Http,
});
choice!(Authority { "acl" => Self::Acl, "http" => Self::Http });
choice!(TokenKind {
    "HS256" => Self("HS256"),
    "HS384" => Self("HS384"),
    "HS512" => Self("HS512"),
    "RS256" => Self("RS256"),
    "RS384" => Self("RS384"),
    "RS512" => Self("RS512"),
    "ES256" => Self("ES256"),
    "ES384" => Self("ES384"),
});
choice!(Durability { "sync" => Self::Sync, "os" => Self::Os, "memory" => Self::Memory });
choice!(LogFormat { "text" => Self::Text, "json" => Self::Json });
choice!(DeliveryMode { "once" => Self::Once, "overlap" => Self::Overlap });
choice!(QueueFullPolicy {
    "drop-oldest" => Self::DropOldest,
    "drop-newest" => Self::DropNewest,
    "disconnect" => Self::Disconnect,
});
choice!(PublishRatePolicy { "delay" => Self::Delay, "disconnect" => Self::Disconnect });
choice!(SharedStrategy {
    "round-robin" => Self::RoundRobin,
    "random" => Self::Random,
    "sticky" => Self::Sticky,
    "hash-client" => Self::HashClient,
    "hash-topic" => Self::HashTopic,
});
choice!(ClientCertificates { "none" => Self::None, "optional" => Self::Optional, "required" => Self::Required });
choice!(CertificateField {
    "common-name" => Self::CommonName,
    "distinguished-name" => Self::DistinguishedName,
    "subject-alt-name" => Self::SubjectAltName,
});
