//! From `[access]` and `[listener.access]` to who is asked about the clients of each listener, and how.

use std::{fs, path::PathBuf, time::Duration};

use mqtt_access::{Http, HttpOptions, ThrottleLimits, TokenAlgorithm, TokenKeys, TokenOptions};

use crate::config::{
    key::Setting,
    mistake::{Mistakes, Origin},
    raw::{AccessKeys, HttpKeys, ListenerAccessKeys, Raw, TokenKeys as TokenKeysInFile},
    value::{Authority, Provider, ServerUrl},
};

/// What holds for all listeners.
#[derive(Clone, Debug)]
pub(crate) struct AccessSettings {
    pub(crate) max_password_checks: Option<usize>,
    pub(crate) failures: ThrottleLimits,
    pub(crate) token_options: TokenOptions,
    pub(crate) recheck_interval: Option<Duration>,
    tokens: Option<TokenSource>,
    http: HttpKeys,
}

/// Who is asked about the clients of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListenerAccess {
    pub(crate) identify: Vec<Provider>,
    pub(crate) authorize: Vec<Authority>,
    pub(crate) password_file: Setting<Option<PathBuf>>,
    pub(crate) acl_file: Setting<Option<PathBuf>>,
}

/// Where the keys of tokens are.
#[derive(Clone, Debug)]
struct TokenSource {
    path: PathBuf,
    origin: Origin,
    /// Of a single key; `None` for a set.
    algorithm: Option<TokenAlgorithm>,
}

/// The web servers that are asked.
#[derive(Clone, Default)]
pub(crate) struct Servers {
    pub(crate) connect: Option<Http>,
    pub(crate) acl: Option<Http>,
}

impl AccessSettings {
    pub(super) fn resolve(raw: &Raw, hook_timeout: Duration, mistakes: &mut Mistakes) -> Self {
        let AccessKeys {
            max_password_checks,
            max_failures_per_address,
            max_failures_per_user,
            max_failures_remembered,
            ..
        } = &raw.access;
        let mut failures = ThrottleLimits::default();
        failures.failures_per_address = max_failures_per_address.value.get();
        failures.failures_per_user = max_failures_per_user.value.get();
        failures.most_remembered = max_failures_remembered.value;
        let has_server = raw.http.connect_url.value.is_some() || raw.http.acl_url.value.is_some();
        if has_server && raw.http.timeout.value.0 >= hook_timeout {
            let what = "`timeout` has to be less than [limits] hook_timeout: nobody would hear the answer";
            mistakes.add(&raw.http.timeout.origin, what);
        }
        Self {
            max_password_checks: max_password_checks.value.map(Into::into),
            failures,
            token_options: token_options(&raw.token),
            recheck_interval: raw.http.recheck_interval.value.0,
            tokens: token_source(&raw.token, mistakes),
            http: raw.http.clone(),
        }
    }

    /// Notes who is to be asked and cannot be.
    pub(super) fn of_listener(
        &self,
        common: &AccessKeys,
        own: Option<&ListenerAccessKeys>,
        mistakes: &mut Mistakes,
    ) -> ListenerAccess {
        let password_file = stronger(own.map(|own| &own.password_file), &common.password_file);
        let acl_file = stronger(own.map(|own| &own.acl_file), &common.acl_file);
        let identify = stronger(own.map(|own| &own.identify), &common.identify);
        let authorize = stronger(own.map(|own| &own.authorize), &common.authorize);
        let providers = [
            (Provider::Certificate, true, ""),
            (Provider::Token, self.tokens.is_some(), "\"token\" needs a key in [access.token]"),
            (Provider::Password, password_file.value.is_some(), "\"password\" needs `password_file`"),
            (
                Provider::Http,
                self.http.connect_url.value.is_some(),
                "\"http\" needs `connect_url` in [access.http]",
            ),
        ];
        let authorities = [
            (Authority::Acl, acl_file.value.is_some(), "\"acl\" needs `acl_file`"),
            (Authority::Http, self.http.acl_url.value.is_some(), "\"http\" needs `acl_url` in [access.http]"),
        ];
        ListenerAccess {
            identify: chain("identify", identify, &providers, mistakes),
            authorize: chain("authorize", authorize, &authorities, mistakes),
            password_file: password_file.clone(),
            acl_file: acl_file.clone(),
        }
    }

    pub(super) fn load_token_keys(&self, mistakes: &mut Mistakes) -> Option<TokenKeys> {
        let TokenSource { path, origin, algorithm } = self.tokens.as_ref()?;
        let keys = match algorithm {
            Some(algorithm) => TokenKeys::load(path, *algorithm),
            None => TokenKeys::load_jwks(path),
        };
        keys.map_err(|error| mistakes.add(origin, format!("cannot use the key of tokens: {error}"))).ok()
    }

    pub(super) fn load_servers(&self, mistakes: &mut Mistakes) -> Servers {
        let keys = &self.http;
        let mut options = HttpOptions::default();
        options.timeout = keys.timeout.value.0;
        options.max_concurrent = keys.max_concurrent.value;
        options.cache_ttl = keys.cache_ttl.value.0;
        options.cache_entries = keys.cache_entries.value;
        let token = read(&keys.bearer_token_file, mistakes);
        options.bearer_token = token.map(|token| String::from_utf8_lossy(&token).trim_end().to_owned());
        options.authorities = read(&keys.authority_file, mistakes);
        let mut server = |url: &Setting<Option<ServerUrl>>| {
            let http = Http::new(&url.value.as_ref()?.0, &options);
            http.map_err(|error| mistakes.add(&url.origin, format!("cannot ask a web server: {error}"))).ok()
        };
        Servers { connect: server(&keys.connect_url), acl: server(&keys.acl_url) }
    }
}

impl ListenerAccess {
    /// Whether clients can prove who they are, otherwise than by a certificate.
    pub(crate) fn asks_who_clients_are(&self) -> bool {
        self.identify.iter().any(|provider| *provider != Provider::Certificate)
    }

    /// Whether clients can prove by a certificate who they are.
    pub(crate) fn takes_certificates(&self) -> bool {
        self.identify.contains(&Provider::Certificate)
    }
}

/// A listener's own word, if it has one.
fn stronger<'a, T>(
    own: Option<&'a Setting<Option<T>>>,
    common: &'a Setting<Option<T>>,
) -> &'a Setting<Option<T>> {
    own.filter(|own| own.value.is_some()).unwrap_or(common)
}

/// Who was named, or all who can be asked.
fn chain<T: Copy + PartialEq>(
    key: &str,
    named: &Setting<Option<Vec<T>>>,
    known: &[(T, bool, &str)],
    mistakes: &mut Mistakes,
) -> Vec<T> {
    let Some(list) = &named.value else {
        return known.iter().filter(|(_, can_be_asked, _)| *can_be_asked).map(|(who, ..)| *who).collect();
    };
    let lacking = known.iter().filter(|(who, can_be_asked, _)| !can_be_asked && list.contains(who));
    for (.., needs) in lacking {
        mistakes.add(&named.origin, format!("`{key}`: {needs}"));
    }
    list.clone()
}

fn token_options(keys: &TokenKeysInFile) -> TokenOptions {
    let mut options = TokenOptions::default();
    options.issuer.clone_from(&keys.issuer.value);
    options.audience.clone_from(&keys.audience.value);
    options.user_name_claim.clone_from(&keys.user_name_claim.value);
    options.client_id_claim.clone_from(&keys.client_id_claim.value);
    options.acl_claim.clone_from(&keys.acl_claim.value);
    options.leeway = keys.leeway.value.0;
    options
}

fn token_source(keys: &TokenKeysInFile, mistakes: &mut Mistakes) -> Option<TokenSource> {
    let TokenKeysInFile { key_file, algorithm, jwks_file, issuer, audience, .. } = keys;
    match (&key_file.value, &jwks_file.value) {
        (Some(_), Some(_)) => {
            mistakes.add(&jwks_file.origin, "`jwks_file` or `key_file`: one of the two has the keys");
            None
        }
        (Some(path), None) => {
            let Some(kind) = algorithm.value else {
                let what = "`key_file` needs `algorithm`: no token says for itself how it is signed";
                mistakes.add(&key_file.origin, what);
                return None;
            };
            let source = |algorithm| TokenSource {
                path: path.clone(),
                origin: key_file.origin.clone(),
                algorithm: Some(algorithm),
            };
            kind.0.parse().map(source).map_err(|what: String| mistakes.add(&algorithm.origin, what)).ok()
        }
        (None, Some(path)) => {
            if algorithm.is_given() {
                mistakes
                    .add(&algorithm.origin, "`algorithm` is for `key_file`: a set names those of its keys");
            }
            Some(TokenSource { path: path.clone(), origin: jwks_file.origin.clone(), algorithm: None })
        }
        (None, None) => {
            let origins = [&algorithm.origin, &issuer.origin, &audience.origin];
            if let Some(origin) = origins.into_iter().find(|origin| **origin != Origin::Default) {
                mistakes.add(
                    origin,
                    "[access.token] needs `key_file` or `jwks_file`: what are tokens signed with?",
                );
            }
            None
        }
    }
}

fn read(file: &Setting<Option<PathBuf>>, mistakes: &mut Mistakes) -> Option<Vec<u8>> {
    let path = file.value.as_ref()?;
    fs::read(path)
        .map_err(|error| mistakes.add(&file.origin, format!("cannot read {}: {error}", path.display())))
        .ok()
}
