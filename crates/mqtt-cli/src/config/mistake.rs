//! [`Mistakes`]: everything that is wrong with a configuration, each with where it stands, what it is, and what to do.

use std::{fmt, path::PathBuf};

/// Who said what a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    /// The configuration file, in this line; 0 is the file as a whole.
    File(usize),
    /// An environment variable.
    Variable(String),
    /// An argument, as it is spelled.
    Argument(String),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    origin: Origin,
    what: String,
}

/// All that is wrong, in the order of the file; with nothing in it, all is well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mistakes {
    file: Option<PathBuf>,
    all: Vec<Mistake>,
}

impl Mistakes {
    pub(super) fn of(file: Option<PathBuf>) -> Self {
        Self { file, all: Vec::new() }
    }

    /// One that is about no place in particular.
    pub(crate) fn one(what: String) -> Self {
        Self { file: None, all: vec![Mistake { origin: Origin::Default, what }] }
    }

    /// For more of the same configuration.
    pub(super) fn none(&self) -> Self {
        Self::of(self.file.clone())
    }

    pub(crate) fn add(&mut self, origin: &Origin, what: impl Into<String>) {
        let mistake = Mistake { origin: origin.clone(), what: what.into() };
        // What holds for all listeners is found wrong at each.
        if !self.all.contains(&mistake) {
            self.all.push(mistake);
        }
    }

    /// `value`, if nothing is wrong.
    pub(crate) fn or<T>(mut self, value: T) -> Result<T, Self> {
        if self.all.is_empty() {
            return Ok(value);
        }
        self.all.sort_by_key(|mistake| match mistake.origin {
            Origin::File(line) => line,
            _ => usize::MAX,
        });
        Err(self)
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.all.iter().map(|mistake| match (&mistake.origin, &self.file) {
            (Origin::File(0) | Origin::Default, Some(file)) => {
                format!("{}: {}", file.display(), mistake.what)
            }
            (Origin::File(line), Some(file)) => format!("{}:{line}: {}", file.display(), mistake.what),
            (Origin::Variable(name) | Origin::Argument(name), _) => format!("{name}: {}", mistake.what),
            (Origin::Default | Origin::File(_), None) => mistake.what.clone(),
        })
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().collect::<Vec<_>>().join("\n"))
    }
}

impl std::error::Error for Mistakes {}
