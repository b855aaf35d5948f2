//! The router through its public API: one binary, because linking one is quicker than linking two.

mod allocation;
#[path = "../client/mod.rs"]
mod client;
mod oracle;
