//! A broker with rules, and clients without a network: see what they are answered, and what reaches them.

mod client;
#[cfg(feature = "http")]
mod http;
mod rules;
#[cfg(feature = "tokens")]
mod tokens;
