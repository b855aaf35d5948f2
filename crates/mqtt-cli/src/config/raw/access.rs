//! `[access]` and what belongs to it: who is asked about clients, and how.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
};

use mqtt_access::{HttpOptions, ThrottleLimits, TokenOptions};

use crate::config::{
    key::section,
    value::{Authority, Deadline, Finite, Interval, Provider, ServerUrl, TokenKind},
};

section! {
    /// Who may connect, and what he may do there. The files are read again at a reload.
    ///
    /// Those who are asked are asked in their order, and the first one with an opinion decides; docs/access.md says which
    /// opinions each has.
    AccessKeys at "access" {
        /// Who is asked who a client is. Without a list, all of these that have what they need, in this order: certificate
        /// (TLS), token ([access.token]), password (password_file), http ([access.http] connect_url).
        identify: Option<Vec<Provider>> = None, Reload;
        /// Who is asked what a client may do. Without a list, those of these that have what they need: acl (acl_file), http
        /// ([access.http] acl_url). If nobody is asked, clients may do everything.
        authorize: Option<Vec<Authority>> = None, Reload;
        /// Ask clients for a user name and a password of this file, which `gmqtt passwd FILE USER` writes; those of mosquitto
        /// are read as they are.
        password_file: Option<PathBuf> = None, Reload;
        /// Let clients do only what this file allows, in the syntax of mosquitto.
        acl_file: Option<PathBuf> = None, Reload;
        /// Passwords that are checked at a time, each on a core of its own; 64 wait for each. Without a number, half of the
        /// cores.
        max_password_checks: Option<NonZeroUsize> = None, Restart;
        /// Failed attempts a minute from one address, or from one /64 of IPv6, before it is not listened to for a while.
        max_failures_per_address: NonZeroU32 = at_least_one(throttle().failures_per_address), Restart;
        /// Failed attempts a minute for one user name, from addresses where that user has not connected of late.
        max_failures_per_user: NonZeroU32 = at_least_one(throttle().failures_per_user), Restart;
        /// Addresses, and users, whose failed attempts are remembered.
        max_failures_remembered: NonZeroUsize = throttle().most_remembered, Restart;
    }
}

section! {
    /// JSON Web Tokens that clients give as passwords. They need the key that they are signed with, or a set of keys.
    TokenKeys at "access.token" {
        /// A secret of at least 32 bytes, or a public key as PEM.
        key_file: Option<PathBuf> = None, Reload;
        /// What the key of key_file is for. No token says it for itself.
        algorithm: Option<TokenKind> = None, Reload;
        /// A JSON Web Key Set, in place of key_file.
        jwks_file: Option<PathBuf> = None, Reload;
        /// The issuer (iss) that a token must name. Without one, any.
        issuer: Option<String> = None, Reload;
        /// The audience (aud) that a token must name. Without one, any.
        audience: Option<String> = None, Reload;
        /// The claim that is the user name.
        user_name_claim: String = TokenOptions::default().user_name_claim, Reload;
        /// The claim that, if a token has it, is the client identifier that must be used, or a list of them.
        client_id_claim: String = TokenOptions::default().client_id_claim, Reload;
        /// The claim that, if a token has it, is a list of all that the client may do: lines of an access list.
        acl_claim: String = TokenOptions::default().acl_claim, Reload;
        /// How far the clocks of the issuer and of this machine may be apart.
        leeway: Finite = Finite(TokenOptions::default().leeway), Reload;
    }
}

section! {
    /// A web server that is asked about clients, by POST and JSON: docs/access.md has the questions and the answers. What it
    /// cannot tell is refused.
    HttpKeys at "access.http" {
        /// Whom to ask who a client is: http://... or https://...
        connect_url: Option<ServerUrl> = None, Reload;
        /// Whom to ask what a client may do.
        acl_url: Option<ServerUrl> = None, Reload;
        /// How long an answer may take, the wait for a turn included. Less than [limits] hook_timeout.
        timeout: Deadline = Deadline(http().timeout), Reload;
        /// Questions at a time, to each of the two; 64 wait for each, and further ones are not asked.
        max_concurrent: NonZeroUsize = http().max_concurrent, Reload;
        /// How long an answer is remembered; "0s" is not at all.
        cache_ttl: Finite = Finite(http().cache_ttl), Reload;
        /// Answers of each of the two that are remembered.
        cache_entries: NonZeroUsize = http().cache_entries, Reload;
        /// How often subscriptions are asked about again, as far as no answer is remembered. What the server does not grant any
        /// more is removed; a server that is away costs clients their connections. never is at a reload alone.
        recheck_interval: Interval = Interval(None), Restart;
        /// A file with a token that is sent along as `Authorization: Bearer`, so that the server knows who asks.
        bearer_token_file: Option<PathBuf> = None, Reload;
        /// The authorities that sign the server's certificate (PEM). Without a file, those of the system.
        authority_file: Option<PathBuf> = None, Reload;
    }
}

section! {
    /// What a listener has of its own in place of what stands in `[access]`.
    ListenerAccessKeys at "listener.access" {
        /// In place of the one in `[access]`, as the following.
        identify: Option<Vec<Provider>> = None, Reload;
        /// In place of the one in `[access]`.
        authorize: Option<Vec<Authority>> = None, Reload;
        /// In place of the one in `[access]`.
        password_file: Option<PathBuf> = None, Reload;
        /// In place of the one in `[access]`.
        acl_file: Option<PathBuf> = None, Reload;
    }
}

fn throttle() -> ThrottleLimits {
    ThrottleLimits::default()
}

fn http() -> HttpOptions {
    HttpOptions::default()
}

fn at_least_one(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN)
}
