//! The foreign clients, at versions that do not change by themselves, below `target/interop`.

use crate::debian;
use crate::process::{self, program};
use anyhow::Result;
use std::fs;
use std::path::PathBuf;

const PAHO: &str = "paho-mqtt==2.2.0";
const MQTT_JS: &str = "mqtt@5.16.0";

/// The interpreter of a virtual environment that holds paho-mqtt.
pub(super) fn python() -> Result<PathBuf> {
    let environment = folder()?.join("venv");
    let python = environment.join("bin/python");
    let stamp = environment.join("installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == PAHO) && python.exists() {
        return Ok(python);
    }
    debian::ensure("python3", "python3")?;
    let create = || process::run(program("python3").args(["-m", "venv", "--clear"]).arg(&environment));
    if create().is_err() {
        // Debian ships the module apart from the interpreter.
        debian::install("python3-venv")?;
        create()?;
    }
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", PAHO];
    process::run(program(&python).args(pip))?;
    fs::write(stamp, PAHO)?;
    Ok(python)
}

/// The folder whose `node_modules` holds MQTT.js.
pub(super) fn node_modules() -> Result<PathBuf> {
    debian::ensure("node", "nodejs")?;
    let modules = folder()?.join("node");
    let stamp = modules.join("installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == MQTT_JS) {
        return Ok(modules);
    }
    debian::ensure("npm", "npm")?;
    fs::create_dir_all(&modules)?;
    let quiet = ["install", "--no-audit", "--no-fund", "--loglevel=error", MQTT_JS, "--prefix"];
    process::run(program("npm").args(quiet).arg(&modules))?;
    fs::write(stamp, MQTT_JS)?;
    Ok(modules)
}

fn folder() -> Result<PathBuf> {
    let folder = process::target_folder().join("interop");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
