//! The `gmqtt` binary as its users meet it: over sockets, pipes, signals and exit codes.

mod abuse;
mod access;
mod admin;
mod certificates;
mod chains;
mod configuration;
mod durability;
mod fake_api;
mod fake_broker;
mod harness;
mod listeners;
#[cfg(target_os = "linux")]
mod open_files;
mod operations;
mod program;
mod publish_subscribe;
mod reconnect;
#[cfg(unix)]
mod secrets;
mod serve;
#[cfg(unix)]
mod supervisor;
#[cfg(target_os = "linux")]
mod top;
