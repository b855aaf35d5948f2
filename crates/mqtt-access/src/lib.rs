//! Who may connect to an MQTT broker, and what he may do there: implementations of `mqtt-broker`'s hooks.
//!
//! ```
//! use mqtt_access::{Access, AccessControl, Acl, PasswordChecks, PasswordFile, Passwords};
//! use mqtt_broker::Broker;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let (users, rights) = (directory.path().join("users"), directory.path().join("rights"));
//! # std::fs::write(&users, "")?;
//! # std::fs::write(&rights, "")?;
//! let access = Access::new()
//!     .identify(Passwords::new(PasswordFile::load(&users)?, PasswordChecks::default()))
//!     .authorize(Acl::load(&rights)?);
//! let control = AccessControl::new(access);
//! let broker = control.install(Broker::builder()).build();
//! # Ok(())
//! # }
//! ```
//!
//! An [`IdentityProvider`] says who a client is, an [`Authorizer`] what it may do; [`Access`] asks several of them in
//! turn, and [`AccessControl`] is what the broker asks.

mod access;
mod acl;
mod authorize;
mod control;
mod file_error;
#[cfg(feature = "http")]
mod http;
mod identity;
#[cfg(feature = "passwords")]
mod passwords;
mod throttle;
#[cfg(feature = "tokens")]
mod tokens;
#[cfg(any(feature = "http", feature = "passwords"))]
mod turns;

pub use self::{
    access::{Access, Failures},
    acl::{Acl, Act, Because, Ruling, Subject},
    authorize::{AskFuture, Authorizer, CannotTell, Opinion},
    control::{AccessControl, AccessRules},
    file_error::{FileError, LineError},
    identity::{Certificates, Identity, IdentityProvider, Verdict},
    throttle::ThrottleLimits,
};

#[cfg(feature = "http")]
pub use self::http::{Http, HttpError, HttpOptions};

#[cfg(feature = "passwords")]
pub use self::passwords::{Edit, EditError, PasswordChecks, PasswordFile, Passwords, edit};

#[cfg(feature = "tokens")]
pub use self::tokens::{TokenAlgorithm, TokenKeys, TokenOptions, Tokens};
