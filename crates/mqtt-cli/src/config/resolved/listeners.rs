//! From `[[listener]]` to where the broker listens, and what it speaks there.

use mqtt_broker::{
    ClientCertificates, ListenerLimits, Tls, TlsOptions, Transport, TrustedSources, WebSocketOptions,
};

use super::access::{AccessSettings, ListenerAccess};

use crate::{
    config::{
        mistake::{Mistakes, Origin},
        raw::{Raw, RawListener, TlsKeys},
        value::Protocol,
    },
    serve::address::ListenAddress,
};

/// A place to listen.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    origin: Origin,
    /// Its address, if nobody gave it a name; with a number if others are called so already.
    pub(crate) name: String,
    pub(crate) has_name: bool,
    pub(crate) address: ListenAddress,
    pub(crate) unix_mode: u32,
    pub(crate) protocol: Protocol,
    pub(crate) tls: Option<TlsOptions>,
    pub(crate) websocket: Option<WebSocketOptions>,
    /// One of the paths that it serves, if it speaks WebSocket.
    pub(crate) websocket_path: Option<String>,
    pub(crate) limits: ListenerLimits,
    proxy_protocol_from: TrustedSources,
    pub(crate) access: ListenerAccess,
    /// Clients are served without being asked who they are.
    pub(crate) allow_anonymous: bool,
    /// That, and other machines can connect.
    pub(crate) is_open_to_anybody: bool,
}

pub(super) fn resolve(raw: &Raw, access: &AccessSettings, mistakes: &mut Mistakes) -> Vec<Listener> {
    let mut all: Vec<Listener> = Vec::new();
    for listener in &raw.listeners {
        let access = access.of_listener(&raw.access, listener.access.as_ref(), mistakes);
        let raw = listener;
        let Some(mut listener) = resolve_one(raw, access, mistakes) else { continue };
        listener.differ_from(&all);
        if let Some(earlier) = all.iter().find(|earlier| earlier.contradicts(&listener)) {
            let what = format!("another listener is called `{}`, or takes {}", earlier.name, earlier.address);
            mistakes.add(raw.origin_of_address(), what);
        }
        all.push(listener);
    }
    all
}

fn resolve_one(raw: &RawListener, access: ListenerAccess, mistakes: &mut Mistakes) -> Option<Listener> {
    let keys = &raw.keys;
    let Some(address) = keys.address.value.clone() else {
        if !keys.address.is_given() {
            mistakes.add(&raw.origin, "a listener needs an `address`, such as \"localhost:1883\"");
        }
        return None;
    };
    let protocol = keys.protocol.value;
    let tls = tls(raw, mistakes);
    if raw.websocket.is_some() && !protocol.is_websocket() {
        mistakes.add(&raw.origin, "[listener.websocket] is for the protocols \"ws\" and \"wss\"");
    }
    let are_asked = access.asks_who_clients_are();
    let asks_for_certificate = access.takes_certificates()
        && tls.as_ref().is_some_and(|tls| tls.client_certificates == ClientCertificates::Required);
    let allow_anonymous = keys.allow_anonymous.value.unwrap_or(!asks_for_certificate && !are_asked);
    let is_open_to_anybody = allow_anonymous && (!address.is_loopback() || is_behind_proxies(raw));
    if is_open_to_anybody && keys.allow_anonymous.value.is_none() {
        complain_of_open_door(raw, &address, mistakes);
    }
    if !allow_anonymous && !asks_for_certificate && !are_asked {
        let what = "nobody could connect: `allow_anonymous` is false, and there is no way to prove who one is; add \
                    password_file to [access]";
        mistakes.add(&keys.allow_anonymous.origin, what);
    }
    Some(Listener {
        origin: raw.origin.clone(),
        has_name: keys.name.value.is_some(),
        name: keys.name.value.clone().unwrap_or_else(|| address.to_string()),
        address,
        unix_mode: keys.unix_mode.value.0,
        protocol,
        tls,
        websocket: protocol.is_websocket().then(|| websocket(raw, mistakes)),
        websocket_path: protocol.is_websocket().then(|| websocket_path(raw)),
        limits: limits(raw),
        proxy_protocol_from: keys.proxy_protocol_from.value.clone(),
        access,
        allow_anonymous,
        is_open_to_anybody,
    })
}

/// Whether other machines' clients come by it, whatever its address.
fn is_behind_proxies(raw: &RawListener) -> bool {
    let forwarded = raw.websocket.as_ref().map(|keys| &keys.forwarded_for_from.value);
    let nobody = TrustedSources::default();
    raw.keys.proxy_protocol_from.value != nobody || forwarded.is_some_and(|proxies| *proxies != nobody)
}

/// As the broker spells "never" where a listener says so.
const NO_LIMIT: u16 = 0;

fn limits(raw: &RawListener) -> ListenerLimits {
    let keys = &raw.keys;
    let mut limits = ListenerLimits::default();
    limits.max_connections = keys.max_connections.value;
    limits.connect_timeout = keys.connect_timeout.value.map(|time| time.0);
    limits.max_connect_packet_size = keys.max_connect_packet_size.value.map(|size| size.0);
    limits.max_packet_size = keys.max_packet_size.value.map(|size| size.0);
    limits.max_keep_alive_secs = keys.max_keep_alive.value.map(|time| time.0.unwrap_or(NO_LIMIT));
    limits
}

fn complain_of_open_door(raw: &RawListener, address: &ListenAddress, mistakes: &mut Mistakes) {
    let origin = raw.origin_of_address();
    let (passwords, nobody_asked) = match origin {
        Origin::Argument(_) => ("--password-file FILE", "--allow-anonymous"),
        _ => ("password_file to [access]", "allow_anonymous = true"),
    };
    let what = format!(
        "will not listen on {address}: whoever can reach it could publish and subscribe without a password; make users \
         with `gmqtt passwd FILE USER` and add: {passwords}, or, if it is what you want: {nobody_asked}"
    );
    mistakes.add(origin, what);
}

fn websocket(raw: &RawListener, mistakes: &mut Mistakes) -> WebSocketOptions {
    let Some(keys) = &raw.websocket else { return WebSocketOptions::default() };
    if keys.paths.value.is_empty() {
        mistakes
            .add(&keys.paths.origin, "nobody could connect: `paths` needs one at least, such as \"/mqtt\"");
    }
    let options = WebSocketOptions::default()
        .paths(keys.paths.value.iter().map(|path| path.0.as_str()))
        .forwarded_for(keys.forwarded_for_from.value.clone());
    let origins = keys.origins.value.iter().map(|origin| origin.0.as_str());
    if origins.len() == 0 { options } else { options.origins(origins) }
}

fn websocket_path(raw: &RawListener) -> String {
    let keys = raw.websocket.clone().unwrap_or_default();
    keys.paths.value.into_iter().next().map_or_else(|| "/".to_owned(), |path| path.0)
}

fn tls(raw: &RawListener, mistakes: &mut Mistakes) -> Option<TlsOptions> {
    let is_wanted = raw.keys.protocol.value.is_tls();
    let keys = match &raw.tls {
        Some(_) if !is_wanted => {
            mistakes.add(&raw.origin, "[listener.tls] is for the protocols \"tls\" and \"wss\"");
            return None;
        }
        Some(keys) => keys,
        None if is_wanted => {
            let what = "needs a table [listener.tls] with `certificate` and `private_key`";
            mistakes.add(&raw.origin, what);
            return None;
        }
        None => return None,
    };
    let (Some(certificate), Some(private_key)) = (&keys.certificate.value, &keys.private_key.value) else {
        mistakes.add(&raw.origin, "[listener.tls] needs both `certificate` and `private_key`");
        return None;
    };
    let mut options = TlsOptions::new(certificate, private_key);
    options.client_authorities.clone_from(&keys.client_authorities.value);
    options.revocation_lists.clone_from(&keys.revocation_lists.value);
    options.client_certificates = client_certificates(keys, mistakes);
    if options.client_certificates != ClientCertificates::None {
        options.user_name = Some(keys.user_name.value);
    }
    Some(options)
}

fn client_certificates(keys: &TlsKeys, mistakes: &mut Mistakes) -> ClientCertificates {
    let has_authorities = !keys.client_authorities.value.is_empty();
    let default = if has_authorities { ClientCertificates::Required } else { ClientCertificates::None };
    let wanted = keys.client_certificates.value.unwrap_or(default);
    if wanted != ClientCertificates::None && !has_authorities {
        let what = "`client_certificates` needs `client_authorities`: who signs them?";
        mistakes.add(&keys.client_certificates.origin, what);
    }
    if wanted == ClientCertificates::None && !keys.revocation_lists.value.is_empty() {
        let what = "`revocation_lists` would not even be read: no client is asked for a certificate; add \
                    `client_authorities`";
        mistakes.add(&keys.revocation_lists.origin, what);
    }
    wanted
}

impl RawListener {
    fn origin_of_address(&self) -> &Origin {
        if self.keys.address.is_given() { &self.keys.address.origin } else { &self.origin }
    }
}

impl Listener {
    pub(super) fn load_certificates(&self, mistakes: &mut Mistakes) -> Option<Tls> {
        match Tls::load(self.tls.clone()?) {
            Ok(tls) => Some(tls),
            Err(error) => {
                mistakes.add(&self.origin, format!("cannot use TLS: {error}"));
                None
            }
        }
    }

    /// As the broker takes it.
    pub(crate) fn opened_with(&self, tls: Option<&Tls>) -> mqtt_broker::Listener {
        let mut transport = Transport::tcp();
        if self.proxy_protocol_from != TrustedSources::default() {
            transport = transport.proxy_protocol(self.proxy_protocol_from.clone());
        }
        if let Some(tls) = tls {
            transport = transport.tls(tls);
        }
        if let Some(websocket) = &self.websocket {
            transport = transport.websocket(websocket.clone());
        }
        mqtt_broker::Listener::new(self.name.as_str(), transport).limits(self.limits.clone())
    }

    /// Rules and reloads go by the name. Those that nobody named, on whatever port is free, are told apart by their order.
    fn differ_from(&mut self, earlier: &[Self]) {
        let is_twin = |other: &&Self| !other.has_name && other.address == self.address;
        let twins = earlier.iter().filter(is_twin).count();
        if twins > 0 && !self.has_name {
            self.name = format!("{} #{}", self.address, twins + 1);
        }
    }

    /// Whether the two cannot be served at the same time, or not be told apart.
    fn contradicts(&self, other: &Self) -> bool {
        let same_name = self.name == other.name;
        (same_name && (self.has_name || other.has_name))
            || (self.address == other.address && !self.address.takes_a_free_port())
    }
}
