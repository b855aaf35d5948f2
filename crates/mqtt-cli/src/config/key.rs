//! [`Key`] and [`Section`]: the one table of what can be configured. Reading, defaults, flags, variables, the example and
//! the documentation all come from it.

use super::{mistake::Origin, source::Table, value::Kind};

/// A key of a section.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// Lines; the first paragraph is a summary.
    pub(crate) about: &'static [&'static str],
    pub(crate) kind: Kind,
    /// `None` if it is left out unless somebody gives it.
    pub(crate) default: Option<toml::Value>,
    pub(crate) change: Change,
    /// A short environment variable for it, beside the one that its name makes.
    pub(crate) variable: Option<&'static str>,
}

/// When a new value of a key comes into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// At a reload.
    Reload,
    /// At the next start.
    Restart,
}

/// A table of the configuration: a struct whose fields are its keys.
pub(crate) trait Section: Sized {
    /// As in `[path]`; empty for the keys that stand before all tables.
    const PATH: &'static str;
    const ABOUT: &'static [&'static str];

    fn keys() -> Vec<Key>;

    /// Takes its keys out of what was written.
    fn read(table: &mut Table<'_, '_>) -> Self;

    /// What its keys hold, in their order.
    fn shown(&self) -> Vec<Option<toml::Value>>;
}

/// What a key holds, and who said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting<T> {
    pub(crate) value: T,
    pub(crate) origin: Origin,
}

impl<T> Setting<T> {
    pub(crate) fn is_given(&self) -> bool {
        self.origin != Origin::Default
    }
}

impl Key {
    pub(crate) fn is_on_by_default(&self) -> bool {
        self.default == Some(toml::Value::Boolean(true))
    }

    /// What comes after the first paragraph, on one line.
    pub(crate) fn details(&self) -> Option<String> {
        let mut lines = self.about.iter().map(|line| line.trim()).skip_while(|line| !line.is_empty());
        lines.next()?;
        Some(lines.collect::<Vec<_>>().join(" "))
    }

    /// The first paragraph of what it is about, on one line.
    pub(crate) fn summary(&self) -> String {
        let lines = self.about.iter().map(|line| line.trim()).take_while(|line| !line.is_empty());
        lines.collect::<Vec<_>>().join(" ")
    }
}

/// The environment variable of a key.
pub(crate) fn variable_of(section: &str, key: &str) -> String {
    let name = if section.is_empty() { format!("GMQTT_{key}") } else { format!("GMQTT_{section}_{key}") };
    name.replace('.', "_").to_ascii_uppercase()
}

/// Declares a section. Each key: what it is about, its type, its default, when a change of it comes into force, and its
/// short environment variable if it has one.
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        $name:ident at $path:literal {
            $(
                $(#[doc = $key_about:literal])*
                $key:ident: $type:ty = $default:expr, $change:ident $(, $variable:literal)?;
            )*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug)]
        pub(crate) struct $name {
            $(pub(crate) $key: $crate::config::key::Setting<$type>,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($key: $crate::config::key::Setting {
                        value: $default,
                        origin: $crate::config::mistake::Origin::Default,
                    },)*
                }
            }
        }

        impl $crate::config::key::Section for $name {
            const PATH: &'static str = $path;
            const ABOUT: &'static [&'static str] = &[$($about),*];

            fn keys() -> Vec<$crate::config::key::Key> {
                vec![$($crate::config::key::Key {
                    name: stringify!($key),
                    about: &[$($key_about),*],
                    kind: <$type as $crate::config::value::Value>::KIND,
                    default: <$type as $crate::config::value::Value>::show(&$default),
                    change: $crate::config::key::Change::$change,
                    variable: [$($variable)?].first().copied(),
                },)*]
            }

            fn read(table: &mut $crate::config::source::Table<'_, '_>) -> Self {
                Self { $($key: table.take(stringify!($key), [$($variable)?].first().copied(), $default),)* }
            }

            fn shown(&self) -> Vec<Option<toml::Value>> {
                vec![$($crate::config::value::Value::show(&self.$key.value),)*]
            }
        }
    };
}
pub(crate) use section;
