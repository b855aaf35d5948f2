//! How the program ends: the exit code, and the one line on stderr that says why.

use std::{
    fmt,
    io::{self, Write},
    process::ExitCode,
};

use clap::error::ErrorKind;

use crate::config::Mistakes;

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const STORE_FAILED: u8 = 3;
/// What `mosquitto_sub -W` ends with.
const TIMED_OUT: u8 = 27;

/// Ends that are told apart from a plain failure by more than their message.
#[derive(Debug)]
pub(crate) enum Ending {
    /// Whoever read our standard output has had enough: no reason to complain.
    OutputClosed,
    /// The arguments make no sense.
    Usage(String),
    /// `-W`: the time is over.
    TimedOut,
    /// The broker could keep nothing any more.
    StoreFailed(String),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutputClosed => f.write_str("standard output is closed"),
            Self::Usage(message) => f.write_str(message),
            Self::TimedOut => f.write_str("timed out"),
            Self::StoreFailed(why) => {
                write!(f, "{why}; what was acknowledged is kept, and nothing was acknowledged since")
            }
        }
    }
}

impl std::error::Error for Ending {}

/// Names what writing to standard output may end with.
pub(crate) fn output(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Ending::OutputClosed.into()),
        Err(error) => Err(anyhow::Error::new(error).context("cannot write to standard output")),
        Ok(()) => Ok(()),
    }
}

/// The exit code for what a subcommand returned; says on stderr why it is not 0.
pub(crate) fn code(outcome: anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    if let Some(mistakes) = error.downcast_ref::<Mistakes>() {
        mistakes.lines().for_each(|line| complain(format_args!("{line}")));
        return USAGE.into();
    }
    let code = match error.downcast_ref::<Ending>() {
        Some(Ending::OutputClosed) => return ExitCode::SUCCESS,
        Some(Ending::Usage(_)) => USAGE,
        Some(Ending::TimedOut) => TIMED_OUT,
        Some(Ending::StoreFailed(_)) => STORE_FAILED,
        None => FAILED,
    };
    complain(format_args!("{error:#}"));
    code.into()
}

/// The exit code for a command line that was not taken as it is: a request for help, or a mistake.
pub(crate) fn refused(refusal: &clap::Error) -> ExitCode {
    if matches!(refusal.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return code(output(refusal.print()));
    }
    complain(format_args!("{}", one_line(&refusal.render().to_string())));
    USAGE.into()
}

/// Nothing can be done about a closed stderr.
pub(crate) fn complain(message: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "gmqtt: {message}");
}

/// clap's paragraphs (the mistake, a tip, the usage, where help is) as one line, without the usage.
fn one_line(rendered: &str) -> String {
    let paragraphs = rendered.trim().split("\n\n").filter(|paragraph| !paragraph.starts_with("Usage:"));
    let lines = paragraphs.map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    let line = lines.collect::<Vec<_>>().join("; ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_takes_one_line() {
        let rendered = "error: the following required arguments were not provided:\n  --topic <TOPIC>\n\n  \
                        tip: a tip\n\nUsage: gmqtt pub\n\nFor more information, try '--help'.\n";
        let line = "the following required arguments were not provided: --topic <TOPIC>; tip: a tip; \
                    For more information, try '--help'.";
        assert_eq!(one_line(rendered), line);
    }
}
