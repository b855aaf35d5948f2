//! Whose a data directory is. What is written there belongs to whoever runs the command, a look writes too, and the broker
//! cannot read what is another's alone.

use std::path::Path;

/// An error if the directory is there and belongs to another user than who runs this.
#[cfg(unix)]
pub(super) fn check(directory: &Path) -> anyhow::Result<()> {
    use std::{fs, os::unix::fs::MetadataExt};

    // Why it cannot be looked at is for the store to say.
    let Ok(metadata) = fs::metadata(directory) else { return Ok(()) };
    let (owner, own) = (metadata.uid(), rustix::process::geteuid().as_raw());
    anyhow::ensure!(
        owner == own,
        "{} belongs to user {owner}, whose broker cannot read what user {own} writes there: run this as its owner: \
         sudo -u '#{owner}' gmqtt store ...",
        directory.display()
    );
    Ok(())
}

/// There are no such owners.
#[cfg(not(unix))]
pub(super) fn check(_directory: &Path) -> anyhow::Result<()> {
    Ok(())
}
