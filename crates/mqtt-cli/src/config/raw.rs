//! [`Raw`]: what all sources together say, key by key. Each key and its default stand here and nowhere else; what the keys
//! mean together is in `resolved.rs`.

mod access;
mod limits;

use std::{path::PathBuf, time::Duration};

use mqtt_broker::{CertificateField, ClientCertificates, Network, TrustedSources};
use mqtt_store::{Durability, StoreOptions};

pub(crate) use self::{
    access::{AccessKeys, HttpKeys, ListenerAccessKeys, TokenKeys},
    limits::LimitKeys,
};
use super::{
    key::{Key, Section, Setting, section},
    mistake::{Mistakes, Origin},
    resolved::{Config, Storage},
    source::{Reader, Sources, Table},
    value::{Deadline, Finite, KeepAlive, PacketSize, Protocol, UnixMode, WebOrigin, WebPath},
};
use crate::{
    logging::{Directives, LogFormat},
    quantity::Size,
    serve::{address::ListenAddress, admin::AdminAddress},
};

section! {
    /// Keys that stand before all tables.
    TopKeys at "" {
        /// Time for a shutdown: for clients to take what they are owed. The store is closed after it.
        shutdown_timeout: Finite = Finite(Duration::from_secs(10)), Restart;
        /// Reload when the configuration file, or one that it names, has changed: the broker looks every 2 seconds. SIGHUP
        /// reloads in any case.
        watch_files: bool = true, Restart;
    }
}

section! {
    /// A place to listen; there may be several. Without any, the broker listens on localhost:1883.
    ///
    /// With --listen or its sisters on the command line, those of the file are not used.
    ListenerKeys at "listener" {
        /// What it is called in the log. Without a name, its address is its name, with a number from the second on if several take a free port.
        name: Option<String> = None, Restart;
        /// Where: "localhost:1883", "0.0.0.0:1883", "[::]:1883", or "unix:/run/gmqtt/mqtt.sock"; port 0 takes a free one.
        address: Option<ListenAddress> = None, Restart;
        /// What is spoken there: MQTT over TCP (or over a Unix socket), over TLS, over WebSocket, over secure WebSocket.
        protocol: Protocol = Protocol::Tcp, Reload;
        /// Serve clients without asking who they are.
        ///
        /// Where other machines can connect, and nobody is asked for a password or a certificate, this has to be said in
        /// so many words.
        allow_anonymous: Option<bool> = None, Reload;
        /// The proxies in front of it, by address, network ("10.0.0.0/8") or "unix": each connection begins with a PROXY protocol
        /// header, and nobody else is served. Name the proxies alone: whoever is named can pass for anybody.
        proxy_protocol_from: TrustedSources = TrustedSources::default(), Reload;
        /// The permissions of a Unix socket: who may write to it may connect.
        unix_mode: UnixMode = UnixMode(0o660), Restart;
        /// Connections of this listener at a time, within [limits] max_connections. In place of max_connections_per_listener there.
        max_connections: Option<usize> = None, Reload;
        /// In place of the one in [limits], as the following.
        connect_timeout: Option<Deadline> = None, Reload;
        /// In place of the one in [limits].
        max_connect_packet_size: Option<PacketSize> = None, Reload;
        /// In place of the one in [limits].
        max_packet_size: Option<PacketSize> = None, Reload;
        /// In place of the one in [limits].
        max_keep_alive: Option<KeepAlive> = None, Reload;
    }
}

section! {
    /// Certificates of a listener whose protocol is tls or wss. All files are PEM; they are read again at a reload.
    TlsKeys at "listener.tls" {
        /// The server's certificate, and those between it and its authority's.
        certificate: Option<PathBuf> = None, Reload;
        /// Its private key.
        private_key: Option<PathBuf> = None, Reload;
        /// Whether clients show certificates; one that is shown must be good.
        client_certificates: Option<ClientCertificates> = None, Reload;
        /// The authorities that sign the clients' certificates. With any, client_certificates is "required" unless it says
        /// otherwise.
        client_authorities: Vec<PathBuf> = Vec::new(), Reload;
        /// Lists of revoked client certificates. With any, a certificate of an authority that has none is refused too.
        revocation_lists: Vec<PathBuf> = Vec::new(), Reload;
        /// Which part of a client's certificate is its user name.
        user_name: CertificateField = CertificateField::CommonName, Reload;
    }
}

section! {
    /// What a listener whose protocol is ws or wss grants.
    WebSocketKeys at "listener.websocket" {
        /// The paths that are served; another one is answered with 404.
        paths: Vec<WebPath> = vec![WebPath("/mqtt".into()), WebPath("/".into())], Reload;
        /// The web pages that may connect, as browsers spell them: "https://example.org". Empty is all of them.
        origins: Vec<WebOrigin> = Vec::new(), Reload;
        /// The proxies whose X-Forwarded-For is believed, as in proxy_protocol_from.
        forwarded_for_from: TrustedSources = TrustedSources::default(), Reload;
    }
}

section! {
    /// The HTTP API.
    AdminKeys at "admin" {
        /// Where it is served, or "off". Without a word, on 127.0.0.1:18083 if that is free.
        address: Option<AdminAddress> = None, Restart, "GMQTT_ADMIN";
        /// The tokens that are accepted, a line each as `gmqtt admin token create` prints it; read again at a reload. Without
        /// a file, one token for everything is kept in admin-token in the data directory.
        token_file: Option<PathBuf> = None, Reload;
        /// Serve it over TLS, with this certificate and those between it and its authority's (PEM).
        certificate: Option<PathBuf> = None, Reload;
        /// The private key of that (PEM).
        private_key: Option<PathBuf> = None, Reload;
        /// Over TLS, serve only clients with a certificate of these authorities (PEM), beside their token.
        client_authorities: Vec<PathBuf> = Vec::new(), Reload;
    }
}

section! {
    /// Who may not connect, for as long as it stands here. Bans for a time are made with `gmqtt admin ban` or over the HTTP API.
    BanKeys at "bans" {
        /// Addresses and networks: "203.0.113.9", "2001:db8::/32".
        networks: Vec<Network> = Vec::new(), Reload;
        /// Client identifiers.
        client_ids: Vec<String> = Vec::new(), Reload;
        /// User names.
        users: Vec<String> = Vec::new(), Reload;
    }
}

section! {
    /// What is kept on the disk.
    StorageKeys at "storage" {
        /// What an acknowledged message survives: sync, the loss of power; os, the end of this process; memory, neither.
        durability: Durability = Durability::default(), Restart;
        /// Where sessions and retained messages are kept; one process at a time. Default: $STATE_DIRECTORY, else
        /// $XDG_STATE_HOME/gmqtt, else ~/.local/state/gmqtt.
        data_dir: Option<PathBuf> = None, Restart, "GMQTT_DATA_DIR";
        /// What each of the store's tables gathers in memory before it is sorted into a file; stays as it was when the data
        /// directory was made.
        memtable_bytes: Size = Size(StoreOptions::new("").memtable_bytes), Restart;
        /// Where backups that are asked for over the HTTP API go, each to a folder of its own. Default: backups in the data
        /// directory.
        backup_dir: Option<PathBuf> = None, Restart;
    }
}

section! {
    /// The log, on stderr.
    LogKeys at "log" {
        /// error, warn, info, debug, trace, off, or a level for a part, such as "info,mqtt_broker::net=debug".
        level: Directives = Directives::default(), Reload, "GMQTT_LOG";
        /// One line of text an event, or one JSON object.
        format: LogFormat = LogFormat::Text, Restart;
    }
}

/// All that was written.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    pub(crate) top: TopKeys,
    pub(crate) listeners: Vec<RawListener>,
    pub(crate) access: AccessKeys,
    pub(crate) token: TokenKeys,
    pub(crate) http: HttpKeys,
    pub(crate) admin: AdminKeys,
    pub(crate) bans: BanKeys,
    pub(crate) storage: StorageKeys,
    pub(crate) log: LogKeys,
    pub(crate) limits: LimitKeys,
}

/// One `[[listener]]`.
#[derive(Clone, Debug)]
pub(crate) struct RawListener {
    pub(crate) origin: Origin,
    pub(crate) keys: ListenerKeys,
    pub(crate) tls: Option<TlsKeys>,
    pub(crate) websocket: Option<WebSocketKeys>,
    pub(crate) access: Option<ListenerAccessKeys>,
}

impl Raw {
    /// Reads all sources, to the end, whatever is wrong with them.
    pub(super) fn read(sources: &Sources) -> (Self, Mistakes) {
        let mut reader = Reader::new(sources);
        let document = reader.parse();
        let mut root = reader.root(&document);
        let (access, token, http) = root.section("access", AccessKeys::PATH, |table| {
            let access = AccessKeys::read(table);
            let token = table.section("token", TokenKeys::PATH, TokenKeys::read);
            (access, token, table.section("http", HttpKeys::PATH, HttpKeys::read))
        });
        let raw = Self {
            top: TopKeys::read(&mut root),
            listeners: root.sections("listener", ListenerKeys::PATH, RawListener::read),
            access,
            token,
            http,
            admin: root.section("admin", AdminKeys::PATH, AdminKeys::read),
            bans: root.section("bans", BanKeys::PATH, BanKeys::read),
            storage: root.section("storage", StorageKeys::PATH, StorageKeys::read),
            log: root.section("log", LogKeys::PATH, LogKeys::read),
            limits: root.section("limits", LimitKeys::PATH, LimitKeys::read),
        };
        root.complain_of_the_rest();
        reader.complain_of_unknown_variables();
        (raw.with_listeners_of(sources), reader.mistakes)
    }

    /// What was left to be found out, for whoever wants to see it.
    pub(super) fn fill_in(&mut self, config: &Config) {
        if let Storage::Directory { path, .. } = &config.storage {
            self.storage.data_dir.value = Some(path.clone());
        }
        for (raw, listener) in self.listeners.iter_mut().zip(&config.listeners) {
            raw.keys.name.value = Some(listener.name.clone());
            raw.keys.allow_anonymous.value = Some(listener.allow_anonymous);
        }
    }

    fn with_listeners_of(mut self, sources: &Sources) -> Self {
        if !sources.listeners.is_empty() {
            self.listeners.clone_from(&sources.listeners);
        }
        if self.listeners.is_empty() {
            self.listeners.push(RawListener::default());
        }
        if sources.allow_anonymous {
            let said = Setting { value: Some(true), origin: Origin::Argument("--allow-anonymous".into()) };
            self.listeners.iter_mut().for_each(|listener| listener.keys.allow_anonymous = said.clone());
        }
        self
    }
}

/// Where the broker listens if nobody says where.
impl Default for RawListener {
    fn default() -> Self {
        let mut keys = ListenerKeys::default();
        keys.address.value = Some(ListenAddress::Localhost(1883));
        Self { origin: Origin::Default, keys, tls: None, websocket: None, access: None }
    }
}

impl RawListener {
    fn read(table: &mut Table<'_, '_>) -> Self {
        Self {
            origin: table.origin(),
            keys: ListenerKeys::read(table),
            tls: table.optional_section("tls", TlsKeys::PATH, TlsKeys::read),
            websocket: table.optional_section("websocket", WebSocketKeys::PATH, WebSocketKeys::read),
            access: table.optional_section("access", ListenerAccessKeys::PATH, ListenerAccessKeys::read),
        }
    }
}

/// A section as the documentation sees it.
pub(crate) struct Described {
    pub(crate) path: &'static str,
    pub(crate) about: &'static [&'static str],
    pub(crate) keys: Vec<Key>,
    pub(crate) is_repeated: bool,
}

impl Described {
    fn of<S: Section>(is_repeated: bool) -> Self {
        Self { path: S::PATH, about: S::ABOUT, keys: S::keys(), is_repeated }
    }

    /// How it is headed in the file.
    pub(crate) fn heading(&self) -> String {
        match (self.path, self.is_repeated) {
            ("", _) => "the beginning of the file, before all tables".into(),
            (path, true) => format!("[[{path}]]"),
            (path, false) => format!("[{path}]"),
        }
    }

    /// Whether it has a heading in the file.
    pub(super) fn is_table(&self) -> bool {
        !self.path.is_empty()
    }

    /// Whether it being there means something.
    pub(super) fn is_optional(&self) -> bool {
        self.path.contains('.')
    }

    /// Whether the environment may override its keys.
    pub(crate) fn has_variables(&self) -> bool {
        !self.path.starts_with(ListenerKeys::PATH)
    }
}

/// The section with this path.
pub(crate) fn section_named(path: &str) -> Described {
    sections()
        .into_iter()
        .find(|section| section.path == path)
        .unwrap_or_else(|| Described::of::<TopKeys>(false))
}

/// Every section, in the order of the documentation.
pub(crate) fn sections() -> Vec<Described> {
    vec![
        Described::of::<TopKeys>(false),
        Described::of::<ListenerKeys>(true),
        Described::of::<TlsKeys>(false),
        Described::of::<WebSocketKeys>(false),
        Described::of::<ListenerAccessKeys>(false),
        Described::of::<AccessKeys>(false),
        Described::of::<TokenKeys>(false),
        Described::of::<HttpKeys>(false),
        Described::of::<AdminKeys>(false),
        Described::of::<BanKeys>(false),
        Described::of::<StorageKeys>(false),
        Described::of::<LimitKeys>(false),
        Described::of::<LogKeys>(false),
    ]
}
