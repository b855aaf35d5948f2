//! A browser for tests, headless Chromium, and playwright-core, which drives it.

use crate::debian;
use crate::process::{self, program};
use anyhow::Result;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The newest that is content with the Node.js 18 of Debian 12.
const PLAYWRIGHT: &str = "playwright-core@1.61.1";

/// Node.js with this script below `xtask/`, which finds the browser in `$CHROMIUM`, and its driver in the `node_modules` of
/// the folder `$PLAYWRIGHT`.
pub(crate) fn script(path: &str) -> Result<Command> {
    debian::ensure("chromium", "chromium")?;
    let modules = node_modules()?;
    let mut node = program("node");
    node.arg(process::root().join("xtask").join(path));
    node.env("CHROMIUM", "/usr/bin/chromium").env("PLAYWRIGHT", modules);
    Ok(node)
}

/// The folder whose `node_modules` holds the driver of the browser.
fn node_modules() -> Result<PathBuf> {
    debian::ensure("node", "nodejs")?;
    let modules = process::target_folder().join("dashboard");
    let stamp = modules.join("installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == PLAYWRIGHT) {
        return Ok(modules);
    }
    debian::ensure("npm", "npm")?;
    fs::create_dir_all(&modules)?;
    let quiet = ["install", "--no-audit", "--no-fund", "--loglevel=error", PLAYWRIGHT, "--prefix"];
    process::run(program("npm").args(quiet).arg(&modules))?;
    fs::write(stamp, PLAYWRIGHT)?;
    Ok(modules)
}
