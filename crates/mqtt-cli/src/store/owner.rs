//! Whose a store is. What is written there belongs to whoever runs the command, a look writes too, and the broker cannot read
//! what is another's alone.

use std::path::Path;

/// An error if there is a store that is of another user than who runs this, or a directory of one for a new store.
pub(super) fn check(directory: &Path) -> anyhow::Result<()> {
    let Some((owner, own)) = other_owner(directory) else { return Ok(()) };
    anyhow::bail!(
        "the store in {} belongs to user {owner}, whose broker cannot read what user {own} writes there: run this as its \
         owner: sudo -u '#{owner}' gmqtt store ...",
        directory.display()
    )
}

/// The same for where a copy goes.
pub(super) fn check_target(directory: &Path) -> anyhow::Result<()> {
    let Some((owner, own)) = other_owner(directory) else { return Ok(()) };
    anyhow::bail!(
        "{} belongs to user {owner}, whose broker cannot read what user {own} writes there: name a directory that is not there \
         yet, or make it user {own}'s",
        directory.display()
    )
}

/// Whose it is, and who runs this, if they are two.
#[cfg(unix)]
fn other_owner(directory: &Path) -> Option<(u32, u32)> {
    use std::{fs, os::unix::fs::MetadataExt};

    // Of whoever made the store, whosever the directory was that he found: no look writes it anew.
    let store = fs::metadata(directory.join("gmqtt-store"));
    // Why it cannot be looked at is for the store to say.
    let owner = store.or_else(|_| fs::metadata(directory)).ok()?.uid();
    let own = rustix::process::geteuid().as_raw();
    (owner != own).then_some((owner, own))
}

/// There are no such owners.
#[cfg(not(unix))]
fn other_owner(_directory: &Path) -> Option<(u32, u32)> {
    None
}
