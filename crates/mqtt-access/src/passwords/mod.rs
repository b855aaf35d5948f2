//! [`PasswordFile`]: users and their hashed passwords. A file in which anything is wrong is refused whole.

mod check;
mod edit;
mod hash;

use std::{collections::HashMap, fs, path::Path};

use self::hash::PasswordHash;
pub use self::{
    check::{PasswordChecks, Passwords},
    edit::{Edit, EditError, edit},
};
use crate::file_error::{FileError, LineError, without_byte_order_mark};

/// The longest user name that MQTT can spell, in bytes.
const LONGEST_USER_NAME: usize = 65_535;

/// The users of a password file: `name:hash`, a line each. Empty lines and those that begin with `#` are comments.
#[derive(Clone, Default)]
pub struct PasswordFile {
    users: HashMap<Box<str>, PasswordHash>,
    /// What a check of a user who does not exist is made against, so that it takes as long.
    decoy: Option<PasswordHash>,
}

impl PasswordFile {
    /// Reads a file. It blocks for as long. Says in the log if others than its owner and group may read it.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let text = fs::read_to_string(path).map_err(FileError::io(path))?;
        warn_if_open_to_others(path);
        Self::parse(&text).map_err(|lines| FileError::lines(path, lines))
    }

    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, Vec<LineError>> {
        let (mut users, mut errors, mut decoy) = (HashMap::new(), Vec::new(), None);
        for (index, line) in without_byte_order_mark(text).lines().enumerate() {
            if is_comment(line) {
                continue;
            }
            match parse_line(line) {
                Ok((name, hash)) => {
                    decoy.get_or_insert_with(|| hash.clone());
                    if users.insert(Box::from(name), hash).is_some() {
                        let what = format!("a second line for the user {}", name.escape_debug());
                        errors.push(LineError { line: index + 1, what });
                    }
                }
                Err(what) => errors.push(LineError { line: index + 1, what }),
            }
        }
        if errors.is_empty() { Ok(Self { users, decoy }) } else { Err(errors) }
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Whether there is this user.
    pub fn contains(&self, user_name: &str) -> bool {
        self.users.contains_key(user_name)
    }

    /// How many users there are with each format of hash, the name of the format first.
    pub fn formats(&self) -> Vec<(&'static str, usize)> {
        let mut formats: Vec<(&'static str, usize)> = Vec::new();
        for name in self.users.values().map(PasswordHash::format) {
            match formats.iter_mut().find(|(known, _)| *known == name) {
                Some((_, count)) => *count += 1,
                None => formats.push((name, 1)),
            }
        }
        formats.sort_unstable();
        formats
    }

    /// Whether this is the user's password. It blocks for as long as hashing takes: tens of milliseconds.
    pub fn verify(&self, user_name: &str, password: &[u8]) -> Option<bool> {
        let hash = self.users.get(user_name);
        let is_of = hash.or(self.decoy.as_ref()).is_some_and(|hash| hash.is_of(password));
        // The compiler must not find out that for a decoy nobody wants to know.
        hash.and(Some(std::hint::black_box(is_of)))
    }

    /// Something that is the same for as long as the user's password is: its hash.
    pub(crate) fn proof(&self, user_name: &str) -> Option<String> {
        self.users.get(user_name).map(ToString::to_string)
    }
}

impl std::fmt::Debug for PasswordFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PasswordFile").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

fn is_comment(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with('#')
}

/// What is wrong is said without a word of the line: it may hold a password.
fn parse_line(line: &str) -> Result<(&str, PasswordHash), String> {
    let (name, hash) = line.split_once(':').ok_or("no user: a line is name:hash")?;
    check_user_name(name)?;
    let hash = PasswordHash::parse(hash.trim_end())
        .map_err(|why| format!("the password of {}: {why}", name.escape_debug()))?;
    Ok((name, hash))
}

fn check_user_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("an empty user name");
    }
    if name.len() > LONGEST_USER_NAME {
        return Err("a user name of more than 65,535 bytes");
    }
    if name.starts_with('#') || name.contains(':') || name.contains(char::is_control) || name.trim() != name {
        return Err(
            "a user name that begins with #, holds : or a control character, or has spaces around it",
        );
    }
    Ok(())
}

#[cfg(unix)]
fn warn_if_open_to_others(path: &Path) {
    use std::os::unix::fs::MetadataExt;

    if fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o007 != 0) {
        tracing::warn!(path = %path.display(), "everybody on this machine may read the password file: chmod o= it");
    }
}

#[cfg(not(unix))]
fn warn_if_open_to_others(_path: &Path) {}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$7$1$c2FsdA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";

    #[test]
    fn users_are_read_and_comments_are_not() {
        let text = format!("# a comment:{HASH}\n\nanna:{HASH}\r\nber ta:{HASH}\n");
        let file = PasswordFile::parse(&text).unwrap();
        assert_eq!((file.len(), file.formats().len()), (2, 1));
        assert!(file.contains("anna") && file.contains("ber ta") && !file.contains("# a comment"));
        assert_eq!((file.verify("anna", b"x"), file.verify("nobody", b"x")), (Some(false), None));
    }

    #[test]
    fn a_wrong_line_is_an_error_and_no_user_and_shows_no_password() {
        let text = format!(
            "anna:{HASH}\nhunter2\nberta:hunter2\n:{HASH}\n carl:{HASH}\nanna:{HASH}\ndora:$7$x$hunter2$\nemil:{HASH}:x"
        );
        let errors = PasswordFile::parse(&text).unwrap_err();
        assert_eq!(errors.iter().map(|error| error.line).collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7, 8]);
        let error = FileError::lines(Path::new("users"), errors).to_string();
        assert!(error.contains("users:6: a second line for the user anna"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    mod fuzz {
        use super::*;

        /// No text makes it panic; what it takes is a line for each user.
        #[test]
        fn password_file() {
            bolero::check!().with_type::<Vec<(bool, String)>>().for_each(|pieces| {
                let text: String = pieces
                    .iter()
                    .map(|(hash, text)| if *hash { format!("{text}:{HASH}\n") } else { text.clone() })
                    .collect();
                if let Ok(file) = PasswordFile::parse(&text) {
                    let users = text.lines().filter(|line| !is_comment(line)).count();
                    assert_eq!(file.len(), users);
                }
            });
        }
    }
}
