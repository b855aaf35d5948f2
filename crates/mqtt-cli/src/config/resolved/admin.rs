//! From `[admin]` to where the HTTP API is served, to whom, and with which certificate.

use std::fs;

use mqtt_admin::Tokens;
use mqtt_broker::{ClientCertificates, Tls, TlsOptions};

use super::storage;
use crate::{
    config::{
        mistake::Mistakes,
        raw::{AdminKeys, StorageKeys},
    },
    serve::admin::AdminSettings,
};

pub(super) fn resolve(keys: &AdminKeys, storage: &StorageKeys, mistakes: &mut Mistakes) -> AdminSettings {
    AdminSettings {
        address: keys.address.value,
        token_file: keys.token_file.value.clone(),
        data_dir: storage::directory(storage),
        tls: tls(keys, mistakes),
    }
}

fn tls(keys: &AdminKeys, mistakes: &mut Mistakes) -> Option<TlsOptions> {
    let authorities = &keys.client_authorities;
    let (certificate, private_key) = match (&keys.certificate.value, &keys.private_key.value) {
        (Some(certificate), Some(private_key)) => (certificate, private_key),
        (None, None) => {
            if !authorities.value.is_empty() {
                let what = "`client_authorities` is for TLS, and needs `certificate` and `private_key` too";
                mistakes.add(&authorities.origin, what);
            }
            return None;
        }
        (Some(_), None) => {
            mistakes.add(&keys.certificate.origin, "`certificate` of the API needs its `private_key` too");
            return None;
        }
        (None, Some(_)) => {
            mistakes.add(&keys.private_key.origin, "`private_key` of the API needs its `certificate` too");
            return None;
        }
    };
    let mut options = TlsOptions::new(certificate, private_key);
    if !authorities.value.is_empty() {
        options.client_authorities.clone_from(&authorities.value);
        options.client_certificates = ClientCertificates::Required;
    }
    Some(options)
}

impl AdminSettings {
    pub(super) fn load_certificate(&self, keys: &AdminKeys, mistakes: &mut Mistakes) -> Option<Tls> {
        match Tls::load(self.tls.clone()?) {
            Ok(tls) => Some(tls),
            Err(error) => {
                mistakes.add(&keys.certificate.origin, format!("cannot use TLS for the API: {error}"));
                None
            }
        }
    }

    /// The tokens of the file that is named, if one is.
    pub(super) fn load_tokens(&self, keys: &AdminKeys, mistakes: &mut Mistakes) -> Option<Tokens> {
        let file = self.token_file.as_ref()?;
        let tokens = fs::read_to_string(file)
            .map_err(|error| error.to_string())
            .and_then(|text| Tokens::parse(&text).map_err(|error| error.to_string()))
            .and_then(|tokens| {
                if tokens.is_empty() {
                    Err("no token in it: make one with gmqtt admin token create".to_owned())
                } else {
                    Ok(tokens)
                }
            });
        match tokens {
            Ok(tokens) => Some(tokens),
            Err(why) => {
                let what = format!("cannot use the tokens of the API: {}: {why}", file.display());
                mistakes.add(&keys.token_file.origin, what);
                None
            }
        }
    }
}
