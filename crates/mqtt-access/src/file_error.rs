//! [`FileError`]: why a password file or an access list cannot be used, by line, and what to do about it; and the mark that both may
//! begin with.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// More mistakes than this in one file are not listed: the first ones explain the others.
const MOST_LISTED: usize = 20;

/// A file cannot be used. Nothing of it is in force.
#[derive(Debug)]
#[non_exhaustive]
pub enum FileError {
    /// It cannot be read, or written.
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Some of its lines are wrong.
    Lines {
        /// Which.
        path: PathBuf,
        /// The lines, in order.
        lines: Vec<LineError>,
    },
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineError {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong, and what to write instead. Never holds a password, nor a hash of one.
    pub what: String,
}

/// Editors on Windows begin a file with it. It is no part of the first line.
pub(crate) fn without_byte_order_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

impl FileError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn lines(path: &Path, lines: Vec<LineError>) -> Self {
        Self::Lines { path: path.to_owned(), lines }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Lines { path, lines } => {
                for (index, error) in lines.iter().take(MOST_LISTED).enumerate() {
                    let separator = if index == 0 { "" } else { "; " };
                    write!(f, "{separator}{}:{}: {}", path.display(), error.line, error.what)?;
                }
                match lines.len().saturating_sub(MOST_LISTED) {
                    0 => Ok(()),
                    more => write!(f, "; and {more} lines more"),
                }
            }
        }
    }
}

/// It has no source: whoever prints a chain of errors would say twice what it says itself.
impl std::error::Error for FileError {}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}
