//! A line of the log, written straight into the text that it becomes.
//!
//! It looks as `tracing-subscriber` would write it without colours. That asks for a style at each piece of a line, also of one
//! that has none: with clients that come and go, a third of the broker's own instructions. A terminal keeps the colours.

use std::{
    error::Error,
    fmt::{self, Debug, Write},
    mem,
    time::SystemTime,
};

use tracing::field::{Field, Visit};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{FormatFields, format::Writer, time::FormatTime},
};

/// What `tracing` calls the text of an event, which stands for itself.
const MESSAGE: &str = "message";

/// When it happened: UTC, to the microsecond.
pub(super) struct Clock;

/// What happened, and what is known about it: `text name=value name=value`.
pub(super) struct Fields;

struct Line<'a> {
    writer: Writer<'a>,
    has_begun: bool,
    result: fmt::Result,
}

/// Takes from a text what would command the terminal that it is read on.
struct Harmless<'a>(&'a mut dyn Write);

impl FormatTime for Clock {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{}", humantime::format_rfc3339_micros(SystemTime::now()))
    }
}

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line { writer, has_begun: false, result: Ok(()) };
        fields.record(&mut line);
        line.result
    }
}

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, |to| write!(Harmless(to), "{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, |to| match field.name() {
            MESSAGE => Harmless(to).write_str(value),
            _ => quote(to, value),
        });
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, |to| to.write_str(if value { "true" } else { "false" }));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.add(field, |to| {
            write!(Harmless(to), "{value}")?;
            let mut source = value.source();
            while let Some(error) = source {
                write!(Harmless(to), ": {error}")?;
                source = error.source();
            }
            Ok(())
        });
    }
}

impl Line<'_> {
    /// Writes a field, unless one before it could not be written.
    fn add(&mut self, field: &Field, value: impl FnOnce(&mut dyn Write) -> fmt::Result) {
        let name = field.name();
        // Where a record of the `log` crate is from has been said already.
        if self.result.is_err() || name.starts_with("log.") {
            return;
        }
        self.result = self.begin(name).and_then(|()| value(&mut self.writer));
    }

    fn begin(&mut self, name: &str) -> fmt::Result {
        if mem::replace(&mut self.has_begun, true) {
            self.writer.write_char(' ')?;
        }
        if name == MESSAGE {
            return Ok(());
        }
        self.writer.write_str(name.strip_prefix("r#").unwrap_or(name))?;
        self.writer.write_char('=')
    }
}

/// In quotation marks; what is not readable, escaped.
fn quote(to: &mut dyn Write, text: &str) -> fmt::Result {
    if !text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')) {
        return write!(to, "{text:?}");
    }
    to.write_char('"')?;
    to.write_str(text)?;
    to.write_char('"')
}

impl Write for Harmless<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return self.0.write_str(text);
        }
        for character in text.chars() {
            match character {
                '\u{80}'.. if commands_a_terminal(character) => {
                    write!(self.0, "{}", character.escape_unicode())?
                }
                _ if commands_a_terminal(character) => write!(self.0, "\\x{:02x}", u32::from(character))?,
                _ => self.0.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// Escape sequences begin with these, or they ring, move back or form-feed. A line may be broken.
fn commands_a_terminal(character: char) -> bool {
    matches!(character, '\x07' | '\x08' | '\x0c' | '\x1b' | '\x7f'..='\u{9f}')
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    /// What a log with these fields says about what is done within.
    fn said<N>(fields: N, act: impl Fn()) -> String
    where
        N: for<'w> FormatFields<'w> + Send + Sync + 'static,
    {
        #[derive(Clone, Default)]
        struct Sink(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Sink {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let sink = Sink::default();
        let writer = sink.clone();
        let log = tracing_subscriber::fmt().without_time().with_ansi(false).fmt_fields(fields);
        let log = log.with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(log, act);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    /// People's tools have learned to read what `tracing-subscriber` itself makes of it.
    #[test]
    fn a_line_looks_as_it_does_elsewhere() {
        let act = || {
            let user_name: Option<&str> = None;
            let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 1883));
            tracing::info!(client_id = "sensor-1", %peer, user_name, session_present = false, "connected");
            tracing::warn!(listener = Some("tcp"), count = 7_u64, ratio = 0.5, ?peer, "a {} text", "longer");
            tracing::info!(
                client_id = "qu\"ote\\ \u{1b}[2J \u{85} ü\n",
                r#type = 1,
                "named\u{1b}]0;\u{85}\n"
            );
            tracing::info!(alone = true);
            tracing::info!("");
        };
        assert_eq!(said(Fields, act), said(tracing_subscriber::fmt::format::DefaultFields::new(), act));
    }

    #[test]
    fn nobody_commands_the_terminal() {
        let harmful = "a\u{1b}[2J\u{9b}b\x07";
        let line = said(Fields, || tracing::info!(harmful, shown = %harmful, debug = ?harmful, "{harmful}"));
        assert!(!line.chars().any(commands_a_terminal), "{line:?}");
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn an_error_says_what_caused_it() {
        let error = anyhow::anyhow!("no such file").context("cannot read the list");
        let line = said(Fields, || tracing::warn!(error = AsRef::<dyn Error>::as_ref(&error), "kept"));
        assert!(line.ends_with("kept error=cannot read the list: no such file\n"), "{line:?}");
    }

    #[test]
    fn the_clock_is_utc_to_the_microsecond() {
        let mut text = String::new();
        Clock.format_time(&mut Writer::new(&mut text)).unwrap();
        assert_eq!((text.len(), text.get(10..11), text.get(26..)), (27, Some("T"), Some("Z")), "{text}");
    }
}
