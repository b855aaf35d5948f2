//! [`BanFile`]: an operator's bans, kept over a restart in `bans.json` of the data directory.
//!
//! Those that the broker makes itself, of clients that flap, are not kept: they are over soon. Nor are those of the configuration,
//! where they stand.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use mqtt_broker::{Ban, BanError, BanOrigin, BanTarget, Broker};
use parking_lot::Mutex;
use serde_json::{Value, json};

/// The bans of a broker, as a file.
pub(super) struct BanFile {
    broker: Broker,
    /// One writes at a time, so that what is written last is what holds.
    path: Mutex<PathBuf>,
}

const NAME: &str = "bans.json";

impl BanFile {
    /// Bans whoever was banned when an earlier process ended. `None` if there is no place for the file.
    pub(super) fn in_force(broker: &Broker, data_dir: Option<&Path>) -> anyhow::Result<Option<Self>> {
        let Some(path) = data_dir.map(|directory| directory.join(NAME)) else { return Ok(None) };
        match fs::read_to_string(&path) {
            Ok(text) => ban_all(broker, &path, &text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
        Ok(Some(Self { broker: broker.clone(), path: Mutex::new(path) }))
    }

    /// Writes those that are in force now.
    pub(super) fn write(&self) -> anyhow::Result<()> {
        self.write_to(&self.path.lock())
    }

    /// The same, into a copy of the data directory.
    pub(super) fn write_into(&self, directory: &Path) -> anyhow::Result<()> {
        self.write_to(&directory.join(NAME))
    }

    fn write_to(&self, path: &Path) -> anyhow::Result<()> {
        let now = unix_now();
        let bans = self.broker.bans();
        let kept: Vec<Value> = bans.iter().filter_map(|ban| spelled(ban, now)).collect();
        replace(path, &format!("{:#}\n", json!({"bans": kept})))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Takes the bans of a data directory that no broker uses into a copy of it.
pub(crate) fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let from = from.join(NAME);
    match fs::read_to_string(&from) {
        Ok(text) => replace(&to.join(NAME), &text).context("cannot copy the bans"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", from.display())),
    }
}

/// The file is there whole, old or new, at any moment.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("json.tmp");
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

fn spelled(ban: &Ban, now: Duration) -> Option<Value> {
    if ban.origin != BanOrigin::Operator {
        return None;
    }
    let (kind, name) = match &ban.target {
        BanTarget::Network(network) => ("network", network.to_string()),
        BanTarget::ClientId(client_id) => ("client_id", client_id.to_string()),
        BanTarget::User(user) => ("username", user.to_string()),
        _ => return None,
    };
    let until = ban.time_left.map(|left| now.saturating_add(left).as_secs());
    Some(json!({kind: name, "reason": &*ban.reason, "until": until}))
}

fn ban_all(broker: &Broker, path: &Path, text: &str) -> anyhow::Result<()> {
    let wrong = || format!("{}: mend it, or delete it to end all bans", path.display());
    let bans = read(text).with_context(wrong)?;
    let count = bans.len();
    for (target, reason, left) in bans {
        broker.ban(target.clone(), &reason, left).map_err(|error| match error {
            // The file is good, and those in it are to stay banned.
            BanError::ListFull => anyhow::anyhow!(
                "{}: its {count} bans do not all fit beside those of [bans], for there is room for {} in all: raise [limits] max_bans",
                path.display(),
                broker.limits().max_bans
            ),
            error => anyhow::Error::new(error).context(format!("a ban of {target}")).context(wrong()),
        })?;
    }
    Ok(())
}

/// Whom, why and for how long, but for what is over.
fn read(text: &str) -> anyhow::Result<Vec<(BanTarget, String, Option<Duration>)>> {
    let file: Value = serde_json::from_str(text)?;
    let now = unix_now();
    let mut bans = Vec::new();
    for ban in file.get("bans").and_then(Value::as_array).context("there is no list `bans` in it")? {
        let reason = ban.get("reason").and_then(Value::as_str).unwrap_or_default();
        let until = ban.get("until").and_then(Value::as_u64).map(Duration::from_secs);
        let left = until.map(|until| until.saturating_sub(now));
        if !left.is_some_and(|left| left.is_zero()) {
            bans.push((target_of(ban)?, reason.to_owned(), left));
        }
    }
    Ok(bans)
}

fn target_of(ban: &Value) -> anyhow::Result<BanTarget> {
    let text = |name: &str| ban.get(name).and_then(Value::as_str);
    match (text("network"), text("client_id"), text("username")) {
        (Some(network), None, None) => Ok(BanTarget::Network(network.parse()?)),
        (None, Some(client_id), None) => Ok(BanTarget::ClientId(client_id.into())),
        (None, None, Some(user)) => Ok(BanTarget::User(user.into())),
        _ => anyhow::bail!("{ban} names not exactly one of `network`, `client_id` and `username`"),
    }
}

/// Since 1970.
fn unix_now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bans_outlive_a_broker_and_those_that_are_over_do_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(NAME);
        let before = Broker::builder().build();
        let file = BanFile::in_force(&before, Some(directory.path())).unwrap().unwrap();
        before.ban(BanTarget::ClientId("a \"b\"".into()), "floods", None).unwrap();
        before.ban(BanTarget::User("u".into()), "", Some(Duration::from_hours(1))).unwrap();
        before.ban(BanTarget::Network("192.0.2.0/24".parse().unwrap()), "", None).unwrap();
        file.write().unwrap();
        let after = Broker::builder().build();
        BanFile::in_force(&after, Some(directory.path())).unwrap();
        let (old, new) = (before.bans(), after.bans());
        assert_eq!(new.len(), 3);
        for (old, new) in old.iter().zip(&new) {
            assert_eq!((&old.target, &old.reason, old.origin), (&new.target, &new.reason, new.origin));
            assert_eq!(old.time_left.is_some(), new.time_left.is_some());
        }
        let over = r#"{"bans": [{"client_id": "a", "reason": "", "until": 1}]}"#;
        fs::write(&path, over).unwrap();
        let later = Broker::builder().build();
        BanFile::in_force(&later, Some(directory.path())).unwrap();
        assert!(later.bans().is_empty());
    }

    /// Who is no longer named there is let in after a restart.
    #[test]
    fn bans_of_the_configuration_are_not_in_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::builder().build();
        let file = BanFile::in_force(&broker, Some(directory.path())).unwrap().unwrap();
        broker.replace_configured_bans(&[BanTarget::User("u".into())]).unwrap();
        file.write().unwrap();
        let after = Broker::builder().build();
        BanFile::in_force(&after, Some(directory.path())).unwrap();
        assert_eq!((broker.bans().len(), after.bans().len()), (1, 0));
    }

    /// There is nothing to mend in the file, and nobody to forgive.
    #[test]
    fn more_bans_than_there_may_be_are_no_mistake_of_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let bans = r#"{"bans": [{"client_id": "a"}, {"client_id": "b"}, {"client_id": "c", "until": 1}]}"#;
        fs::write(directory.path().join(NAME), bans).unwrap();
        let mut limits = mqtt_broker::Limits::default();
        limits.max_bans = 1;
        let broker = Broker::builder().limits(limits).build();
        let error = BanFile::in_force(&broker, Some(directory.path())).err().unwrap();
        let error = format!("{error:#}");
        assert!(error.contains("raise [limits] max_bans") && !error.contains("delete"), "{error}");
        assert!(error.contains("2 bans") && error.contains("bans.json"), "{error}");
    }

    #[test]
    fn a_file_that_makes_no_sense_lets_nobody_in() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["", "{}", "[]", r#"{"bans": [{}]}"#, r#"{"bans": [{"network": "x"}]}"#] {
            fs::write(directory.path().join(NAME), text).unwrap();
            let broker = Broker::builder().build();
            let error = BanFile::in_force(&broker, Some(directory.path())).err().unwrap();
            assert!(format!("{error:#}").contains("bans.json: mend it"), "{error:#}");
        }
    }
}
