//! [`Raw`]: what all sources together say, key by key. Each key and its default stand here and nowhere else; what the keys
//! mean together is in `resolved.rs`.

use std::{
    num::{NonZeroU16, NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use mqtt_broker::{
    CertificateField, ClientCertificates, DeliveryMode, Limits, PublishRatePolicy, QueueFullPolicy,
    SharedStrategy,
};
use mqtt_store::{Durability, StoreOptions};

use super::{
    key::{Key, Section, Setting, section},
    mistake::{Mistakes, Origin},
    resolved::{Config, Storage},
    source::{Reader, Sources, Table},
    value::{ByteRate, Finite, Interval, KeepAlive, NotEmpty, PacketSize, PrefixLen, Protocol, UnixMode},
};
use crate::{
    logging::{Directives, LogFormat},
    quantity::{Size, Span},
    serve::{address::ListenAddress, admin::AdminAddress},
};

section! {
    /// Keys that stand before all tables.
    TopKeys at "" {
        /// Time for a shutdown: for clients to take what they are owed, and for the store to finish.
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
        /// What it is called in the log. Without a name, its address is.
        name: Option<String> = None, Restart;
        /// Where: "localhost:1883", "0.0.0.0:1883", "[::]:1883", or "unix:/run/gmqtt/mqtt.sock"; port 0 takes a free one.
        address: Option<ListenAddress> = None, Restart;
        /// What is spoken there: MQTT over TCP (or over a Unix socket), over TLS, over WebSocket, over secure WebSocket.
        protocol: Protocol = Protocol::Tcp, Restart;
        /// Serve clients without asking who they are.
        ///
        /// Where other machines can connect, and nobody is asked for a password or a certificate, this has to be said in
        /// so many words.
        allow_anonymous: Option<bool> = None, Reload;
        /// The permissions of a Unix socket: who may write to it may connect.
        unix_mode: UnixMode = UnixMode(0o660), Restart;
        /// Connections of this listener at a time, within [limits] max_connections.
        max_connections: Option<usize> = None, Restart;
        /// In place of the one in [limits], as the following.
        connect_timeout: Option<Finite> = None, Restart;
        /// In place of the one in [limits].
        max_connect_packet_size: Option<PacketSize> = None, Restart;
        /// In place of the one in [limits].
        max_packet_size: Option<PacketSize> = None, Restart;
        /// In place of the one in [limits].
        max_keep_alive: Option<KeepAlive> = None, Restart;
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
        paths: Vec<String> = vec!["/mqtt".into(), "/".into()], Restart;
        /// The web pages that may connect, as browsers spell them: "https://example.org". Empty is all of them.
        origins: Vec<String> = Vec::new(), Restart;
    }
}

section! {
    /// Who may connect, and what he may do there. The files are read again at a reload.
    AccessKeys at "access" {
        /// Ask clients for a user name and a password of this file, which `gmqtt passwd FILE USER` writes; those of mosquitto
        /// are read as they are.
        password_file: Option<PathBuf> = None, Reload;
        /// Let clients do only what this file allows, in the syntax of mosquitto.
        acl_file: Option<PathBuf> = None, Reload;
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

section! {
    /// What one client, and all of them, may use: docs/limits.md says what happens at each.
    LimitKeys at "limits" {
        /// Connections at a time.
        max_connections: usize = limits().max_connections, Restart;
        /// Connections of one address at a time. Without a number there is no limit: many clients may share one.
        max_connections_per_address: Option<NonZeroUsize> = None, Restart;
        /// Connections of one user name at a time. Without a number there is no limit.
        max_connections_per_user: Option<NonZeroUsize> = None, Restart;
        /// Connections that one address may open a second; further ones are closed before any TLS. Without a number there is
        /// no limit.
        max_accept_rate_per_address: Option<NonZeroU32> = None, Restart;
        /// How many bits of an IPv6 address stand for one peer, in the limits of an address.
        ipv6_prefix_len: PrefixLen = PrefixLen(limits().ipv6_prefix_len), Restart;
        /// Bans of addresses, client identifiers and users at a time.
        max_bans: usize = limits().max_bans, Restart;
        /// How often a client identifier may connect within flapping_window; one more time, and it is banned. Without a
        /// number there is no limit.
        flapping_connects: Option<NonZeroU32> = None, Restart;
        /// See flapping_connects.
        flapping_window: Finite = Finite(limits().flapping_window), Restart;
        /// How long a client identifier that flaps is banned.
        flapping_ban: Finite = Finite(limits().flapping_ban), Restart;
        /// Time from a connection's beginning to its whole CONNECT.
        connect_timeout: Finite = Finite(limits().connect_timeout), Restart;
        /// Largest packet before the CONNECT is accepted, fixed header included. Never more than max_packet_size.
        max_connect_packet_size: PacketSize = PacketSize(limits().max_connect_packet_size), Restart;
        /// Largest packet, fixed header included; what sends a larger one is disconnected.
        max_packet_size: PacketSize = PacketSize(limits().max_packet_size), Restart;
        /// Longest keep alive, never for no limit; what asks for more gets this one.
        max_keep_alive: KeepAlive = KeepAlive(limits().max_keep_alive_secs), Restart;
        /// How long a TCP connection may be silent before the system asks whether its client is still there.
        tcp_keep_alive: Interval = Interval(limits().tcp_keep_alive), Restart;
        /// Messages that one client may publish a second. Without a number there is no limit.
        max_publish_rate: Option<NonZeroU32> = None, Restart;
        /// Bytes that one client may publish a second. Without a number there is no limit.
        max_publish_byte_rate: Option<ByteRate> = None, Restart;
        /// What happens to a client that publishes faster.
        ///
        /// delay reads nothing more from it until it has kept to the rate again. disconnect disconnects it.
        publish_rate_policy: PublishRatePolicy = limits().publish_rate_policy, Restart;
        /// Let clients publish to topics that begin with $, but for $SYS.
        allow_dollar_topics: bool = limits().allow_dollar_topics, Restart;
        /// Levels of a topic.
        max_topic_levels: NonZeroUsize = at_least_one(limits().max_topic_levels), Restart;
        /// Bytes of a topic.
        max_topic_len: NonZeroUsize = at_least_one(limits().max_topic_len), Restart;
        /// Topic filters in one packet.
        max_filters_per_packet: NonZeroUsize = at_least_one(limits().max_filters_per_packet), Restart;
        /// Topic filters of all clients.
        max_subscriptions: usize = limits().max_subscriptions, Restart;
        /// Topic filters with a wildcard of one client.
        max_wildcard_subscriptions_per_client: usize = limits().max_wildcard_subscriptions_per_client, Restart;
        /// Topic filters of one client.
        max_subscriptions_per_client: usize = limits().max_subscriptions_per_client, Restart;
        /// Sessions, connected or not.
        max_sessions: usize = limits().max_sessions, Restart;
        /// How long a persistent session outlives its connection.
        session_expiry: Span = Span(limits().session_expiry), Restart;
        /// QoS 1 and 2 messages sent to a client and not yet acknowledged.
        max_inflight: NonZeroU16 = NonZeroU16::new(limits().max_inflight).unwrap_or(NonZeroU16::MIN), Restart;
        /// Bytes of those.
        max_inflight_bytes: NotEmpty = NotEmpty(limits().max_inflight_bytes), Restart;
        /// QoS 2 messages received from a client and not yet released by it.
        max_unreleased: NonZeroUsize = at_least_one(limits().max_unreleased), Restart;
        /// Messages that wait for one client, connected or not.
        max_queued_messages: usize = limits().max_queued_messages, Restart;
        /// Bytes that wait for one client, connected or not.
        max_queued_bytes: Size = Size(limits().max_queued_bytes), Restart;
        /// Bytes of a connected client's queue that are kept in memory if the disk has them too.
        queue_window_bytes: Size = Size(limits().queue_window_bytes), Restart;
        /// What to do when the messages or the bytes that wait reach their limit.
        ///
        /// drop-oldest makes room: the oldest queued QoS 0 message goes, without one the new message if it is QoS 0, else
        /// the oldest. drop-newest drops the new message. disconnect drops it and disconnects the client.
        queue_full: QueueFullPolicy = limits().queue_full, Restart;
        /// Whether QoS 0 messages wait for absent clients.
        queue_qos0_messages: bool = limits().queue_qos0_messages, Restart;
        /// Encoded bytes that wait for a connected client's socket, before messages go to its queue.
        max_pending_bytes: Size = Size(limits().max_pending_bytes), Restart;
        /// How often an unacknowledged message is sent again on a live connection.
        retry_interval: Interval = Interval(limits().retry_interval), Restart;
        /// One copy of a message a client, or one a matching subscription.
        delivery_mode: DeliveryMode = limits().delivery_mode, Restart;
        /// Which member of a shared subscription gets a message.
        shared_strategy: SharedStrategy = limits().shared_strategy, Restart;
        /// Retained messages.
        max_retained_messages: usize = limits().max_retained_messages, Restart;
        /// Bytes of all retained messages.
        max_retained_bytes: Size = Size(limits().max_retained_bytes), Restart;
        /// How long a retained message is kept.
        retained_expiry: Span = Span(limits().retained_expiry), Restart;
        /// How often the topics below $SYS are published, a second at least, or never.
        sys_interval: Span = Span(Some(Duration::from_secs(10))), Restart;
        /// How long a decision that is asked of others may take: of a password's check, say.
        hook_timeout: Finite = Finite(limits().hook_timeout), Restart;
    }
}

fn limits() -> Limits {
    Limits::default()
}

fn at_least_one(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN)
}

/// All that was written.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    pub(crate) top: TopKeys,
    pub(crate) listeners: Vec<RawListener>,
    pub(crate) access: AccessKeys,
    pub(crate) admin: AdminKeys,
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
}

impl Raw {
    /// Reads all sources, to the end, whatever is wrong with them.
    pub(super) fn read(sources: &Sources) -> (Self, Mistakes) {
        let mut reader = Reader::new(sources);
        let document = reader.parse();
        let mut root = reader.root(&document);
        let raw = Self {
            top: TopKeys::read(&mut root),
            listeners: root.sections("listener", ListenerKeys::PATH, RawListener::read),
            access: root.section("access", AccessKeys::PATH, AccessKeys::read),
            admin: root.section("admin", AdminKeys::PATH, AdminKeys::read),
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
        Self { origin: Origin::Default, keys, tls: None, websocket: None }
    }
}

impl RawListener {
    fn read(table: &mut Table<'_, '_>) -> Self {
        Self {
            origin: table.origin(),
            keys: ListenerKeys::read(table),
            tls: table.optional_section("tls", TlsKeys::PATH, TlsKeys::read),
            websocket: table.optional_section("websocket", WebSocketKeys::PATH, WebSocketKeys::read),
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
        Described::of::<AccessKeys>(false),
        Described::of::<AdminKeys>(false),
        Described::of::<StorageKeys>(false),
        Described::of::<LimitKeys>(false),
        Described::of::<LogKeys>(false),
    ]
}
