//! [`edit`]: changes one user of a password file, so that whoever reads it at any moment finds a whole file.
//!
//! The new file is written beside the old one, made durable, and put in its place. Two at a time wait for each other.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    process,
};

use super::{PasswordFile, check_user_name, hash::PasswordHash, is_comment};
use crate::file_error::{FileError, without_byte_order_mark};

/// What to do with a user.
#[derive(Clone, Copy)]
pub enum Edit<'a> {
    /// Give him this password; he is added if he is not there.
    Set {
        /// The password.
        password: &'a [u8],
    },
    /// Remove him.
    Delete,
}

/// A password file stays as it was.
#[derive(Debug)]
#[non_exhaustive]
pub enum EditError {
    /// It cannot be read or written, or has wrong lines.
    File(FileError),
    /// There is no such user to remove.
    NoSuchUser,
    /// The user name can stand in no password file.
    UserName(&'static str),
    /// The password is empty.
    EmptyPassword,
    /// The system has no randomness to give.
    NoRandomness,
}

/// Changes a user of the file at `path`; makes the file if there is none, for its owner alone. It blocks for as long as
/// hashing and the disk take.
///
/// ```
/// use mqtt_access::{Edit, PasswordFile, edit};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("users");
/// edit(&path, "anna", Edit::Set { password: b"secret" })?;
/// let users = PasswordFile::load(&path)?;
/// assert_eq!(users.verify("anna", b"secret"), Some(true));
/// assert_eq!(users.verify("bert", b"secret"), None);
/// # Ok(())
/// # }
/// ```
pub fn edit(path: &Path, user_name: &str, what: Edit<'_>) -> Result<(), EditError> {
    check_user_name(user_name).map_err(EditError::UserName)?;
    let line = match what {
        Edit::Set { password: b"" } => return Err(EditError::EmptyPassword),
        Edit::Set { password } => {
            let hash = PasswordHash::of(password).map_err(|_| EditError::NoRandomness)?;
            Some(format!("{user_name}:{hash}"))
        }
        Edit::Delete => None,
    };
    // A link stays a link: the file that it leads to is replaced.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = Directory::lock(&path).map_err(|error| EditError::File(FileError::io(&path)(error)))?;
    let old = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read.map_err(FileError::io(&path))?,
    };
    let users = PasswordFile::parse(&old).map_err(|lines| FileError::lines(&path, lines))?;
    if line.is_none() && !users.contains(user_name) {
        return Err(EditError::NoSuchUser);
    }
    directory.replace(&path, &changed(&old, user_name, line.as_deref())).map_err(FileError::io(&path))?;
    Ok(())
}

/// All other lines stay as they are, and where they are.
fn changed(old: &str, user_name: &str, new: Option<&str>) -> String {
    let is_his =
        |line: &str| !is_comment(line) && line.split_once(':').is_some_and(|(name, _)| name == user_name);
    let mut lines: Vec<&str> = Vec::new();
    let mut unplaced = new;
    for line in without_byte_order_mark(old).lines() {
        if is_his(line) { lines.extend(unplaced.take()) } else { lines.push(line) }
    }
    lines.extend(unplaced);
    lines.into_iter().flat_map(|line| [line, "\n"]).collect()
}

/// The directory of a file, locked: other edits wait.
struct Directory {
    path: PathBuf,
    #[cfg_attr(not(unix), expect(dead_code, reason = "it is there to be held"))]
    handle: File,
}

impl Directory {
    fn lock(file: &Path) -> io::Result<Self> {
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        let path = parent.unwrap_or(Path::new(".")).to_owned();
        let handle = open_to_lock(&path, file)?;
        handle.lock()?;
        Ok(Self { path, handle })
    }

    fn replace(&self, file: &Path, text: &str) -> io::Result<()> {
        let name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
        let draft = self.path.join(format!(".{name}.{}.new", process::id()));
        let written = write_draft(&draft, file, text).and_then(|()| fs::rename(&draft, file));
        if written.is_err() {
            // Of an earlier process with the same number, or ours; in any case nobody's any more.
            let _ = fs::remove_file(&draft);
            return written;
        }
        #[cfg(unix)]
        self.handle.sync_all()?;
        Ok(())
    }
}

fn write_draft(draft: &Path, original: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(draft)?;
    keep_owner(&file, original)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The new file belongs to whom the old one did, and its group may do what it could; others may nothing.
#[cfg(unix)]
fn keep_owner(file: &File, original: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};

    let old = match fs::metadata(original) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    let new = file.metadata()?;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        fchown(file, Some(old.uid()), Some(old.gid()))?;
    }
    file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o660 | 0o600))
}

#[cfg(not(unix))]
fn keep_owner(_file: &File, _original: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn open_to_lock(directory: &Path, _file: &Path) -> io::Result<File> {
    File::open(directory)
}

/// Where a directory cannot be opened, a file beside the password file is locked instead.
#[cfg(not(unix))]
fn open_to_lock(_directory: &Path, file: &Path) -> io::Result<File> {
    File::create(file.with_extension("lock"))
}

impl From<FileError> for EditError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::NoSuchUser => f.write_str("there is no such user"),
            Self::UserName(why) => f.write_str(why),
            Self::EmptyPassword => f.write_str("the password is empty"),
            Self::NoRandomness => f.write_str("the system has no randomness to give"),
        }
    }
}

/// As with [`FileError`], it says all itself.
impl std::error::Error for EditError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(path: &Path, user_name: &str, password: &str) {
        edit(path, user_name, Edit::Set { password: password.as_bytes() }).unwrap();
    }

    #[test]
    fn users_are_added_changed_and_removed_and_all_else_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        set(&path, "anna", "one");
        let with_comment = format!("# mine\n\n{}", fs::read_to_string(&path).unwrap());
        fs::write(&path, &with_comment).unwrap();
        set(&path, "berta", "two");
        set(&path, "anna", "three");
        let file = PasswordFile::load(&path).unwrap();
        assert_eq!((file.verify("anna", b"three"), file.verify("anna", b"one")), (Some(true), Some(false)));
        assert_eq!(file.verify("berta", b"two"), Some(true));
        edit(&path, "anna", Edit::Delete).unwrap();
        assert!(matches!(edit(&path, "anna", Edit::Delete), Err(EditError::NoSuchUser)));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# mine\n\nberta:$argon2id$") && text.ends_with('\n'), "{text}");
        let left: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["users"]);
    }

    /// As editors on Windows put it at the beginning. It was a part of the first user's name.
    #[test]
    fn a_byte_order_mark_is_no_part_of_a_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        set(&path, "anna", "one");
        fs::write(&path, format!("\u{feff}{}", fs::read_to_string(&path).unwrap())).unwrap();
        assert_eq!(PasswordFile::load(&path).unwrap().verify("anna", b"one"), Some(true));
        set(&path, "anna", "two");
        let file = PasswordFile::load(&path).unwrap();
        assert_eq!((file.len(), file.verify("anna", b"two")), (1, Some(true)));
        let in_the_middle = fs::read_to_string(&path).unwrap().replace("anna", "\u{feff}anna");
        assert!(PasswordFile::parse(&format!("# users\n{in_the_middle}")).unwrap().contains("\u{feff}anna"));
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_its_owners_and_a_link_stays_one() {
        use std::os::unix::fs::{PermissionsExt, symlink};

        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("users"), directory.path().join("link"));
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        set(&path, "anna", "one");
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        symlink(&path, &link).unwrap();
        set(&link, "anna", "two");
        assert_eq!(mode(), 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(PasswordFile::load(&path).unwrap().verify("anna", b"two"), Some(true));
    }

    /// Whoever has it open reads the old one to its end.
    #[test]
    fn the_file_is_replaced_and_not_written_over() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other_name) = (directory.path().join("users"), directory.path().join("old"));
        set(&path, "anna", "one");
        let old = fs::read_to_string(&path).unwrap();
        fs::hard_link(&path, &other_name).unwrap();
        set(&path, "anna", "two");
        edit(&path, "anna", Edit::Delete).unwrap();
        assert_eq!(fs::read_to_string(&other_name).unwrap(), old);
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
    }

    #[test]
    fn a_file_with_a_wrong_line_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        fs::write(&path, "anna:plain\n").unwrap();
        assert!(matches!(edit(&path, "anna", Edit::Set { password: b"x" }), Err(EditError::File(_))));
        for (name, password) in [("", "x"), ("a:b", "x"), ("a\nb", "x"), ("#a", "x"), ("berta", "")] {
            assert!(edit(&path, name, Edit::Set { password: password.as_bytes() }).is_err(), "{name:?}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "anna:plain\n");
    }

    /// Each of them read the file, and the last one to write it won.
    #[test]
    fn nobody_is_lost_when_many_edit_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        let names: Vec<String> = (0..8).map(|n| format!("user{n}")).collect();
        std::thread::scope(|scope| {
            for name in &names {
                scope.spawn(|| set(&path, name, "x"));
            }
        });
        let file = PasswordFile::load(&path).unwrap();
        assert!(names.iter().all(|name| file.contains(name)), "{file:?}");
    }
}
