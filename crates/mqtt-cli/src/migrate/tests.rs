//! Configurations of mosquitto as they are met, and what they come to.

use std::path::{Path, PathBuf};

use super::{mosquitto::migrate, *};
use crate::config::{Config, File, Protocol, Sources};

/// What a configuration comes to, and the notes. What was written has to be good.
fn migrated(text: &str) -> (Config, Vec<String>) {
    let mut lines = Lines::default();
    lines.add(Path::new("mosquitto.conf"), text, true);
    let migrated = migrate(lines);
    let toml = migrated.to_toml();
    let file = File { path: PathBuf::from("/etc/gmqtt/gmqtt.toml"), text: toml.clone() };
    let data_dir = ("GMQTT_DATA_DIR".to_owned(), "/data".to_owned());
    let sources = Sources { file: Some(file), variables: vec![data_dir], ..Sources::default() };
    let (config, _) = Config::of(&sources).unwrap_or_else(|mistakes| panic!("{mistakes}\n{toml}"));
    (config, migrated.notes.iter().map(|note| format!("{}: {}", note.place, note.what)).collect())
}

fn addresses(config: &Config) -> Vec<String> {
    config.listeners.iter().map(|listener| listener.address.to_string()).collect()
}

#[test]
fn debian_s_own_serves_this_machine() {
    let text = "\
        # Place your local configuration in /etc/mosquitto/conf.d/\n\
        #\n\
        persistence true\n\
        persistence_location /var/lib/mosquitto/\n\
        \n\
        log_dest file /var/log/mosquitto/mosquitto.log\n\
        \n\
        include_dir /nowhere/mosquitto/conf.d\n";
    let (config, notes) = migrated(text);
    assert_eq!(addresses(&config), ["localhost:1883"]);
    assert!(config.listeners[0].allow_anonymous && config.storage.describe().contains("sync"));
    let starts = [
        "mosquitto.conf:8: include_dir",
        "mosquitto.conf:4: persistence_location",
        "mosquitto.conf:6: log_dest",
    ];
    assert_eq!(notes.len(), 3, "{notes:#?}");
    for (note, start) in notes.iter().zip(starts) {
        assert!(note.starts_with(start), "{note}");
    }
}

#[test]
fn a_server_with_tls_passwords_and_limits() {
    let text = "\
        allow_anonymous false\n\
        password_file /etc/mosquitto/passwd\n\
        acl_file /etc/mosquitto/acl\n\
        max_inflight_messages 40\n\
        max_queued_messages 500\n\
        message_size_limit 1000\n\
        queue_qos0_messages true\n\
        persistent_client_expiration 2w\n\
        listener 1883 127.0.0.1\n\
        listener 8883\n\
        certfile /etc/ssl/cert.pem\n\
        keyfile /etc/ssl/key.pem\n\
        cafile /etc/ssl/ca.pem\n\
        require_certificate true\n\
        use_identity_as_username true\n\
        max_connections 100\n\
        tls_version tlsv1.2\n\
        listener 9001\n\
        protocol websockets\n\
        listener 0 /run/mosquitto/mosquitto.sock\n";
    let (config, notes) = migrated(text);
    assert_eq!(
        addresses(&config),
        ["127.0.0.1:1883", "[::]:8883", "[::]:9001", "unix:/run/mosquitto/mosquitto.sock"]
    );
    let protocols: Vec<Protocol> = config.listeners.iter().map(|listener| listener.protocol).collect();
    assert_eq!(protocols, [Protocol::Tcp, Protocol::Tls, Protocol::Ws, Protocol::Tcp]);
    assert!(config.asks_for_passwords() && !config.is_open_to_anybody());
    assert_eq!(config.listeners[1].limits.max_connections, Some(100));
    assert!(config.listeners[1].tls.as_ref().is_some_and(|tls| tls.client_authorities.len() == 1));
    let limits = &config.limits;
    assert_eq!((limits.max_inflight, limits.max_queued_messages, limits.max_packet_size), (40, 500, 66_544));
    assert_eq!(limits.session_expiry.map(|expiry| expiry.as_secs()), Some(14 * 24 * 3600));
    assert_eq!(notes, ["mosquitto.conf:17: tls_version: gmqtt has no such option"]);
}

#[test]
fn settings_per_listener_and_bridges() {
    let text = "\
        per_listener_settings true\n\
        listener 1883 localhost\n\
        allow_anonymous true\n\
        listener 1884\n\
        allow_anonymous false\n\
        password_file /etc/mosquitto/passwd\n\
        listener 1885 eth0.example\n\
        password_file /etc/mosquitto/other\n\
        connection cloud\n\
        address cloud.example:8883\n\
        topic # out 1\n\
        remote_password secret\n";
    let (config, notes) = migrated(text);
    let anonymous: Vec<bool> = config.listeners.iter().map(|listener| listener.allow_anonymous).collect();
    assert_eq!(anonymous, [true, false, false]);
    assert_eq!(addresses(&config), ["localhost:1883", "[::]:1884", "localhost:1885"]);
    let password_file = |index: usize| config.listeners[index].access.password_file.value.clone();
    assert_eq!(
        [0, 1, 2].map(password_file),
        [None, Some("/etc/mosquitto/passwd".into()), Some("/etc/mosquitto/other".into())]
    );
    assert_eq!(notes.len(), 5, "{notes:#?}");
    assert!(notes[0].starts_with("mosquitto.conf:7: listener: a name for an address"), "{notes:#?}");
    assert!(notes[4].starts_with("mosquitto.conf:12: remote_password: gmqtt has no bridges"), "{notes:#?}");
    assert!(!notes.iter().any(|note| note.contains("secret")), "{notes:#?}");
}

#[test]
fn the_old_way_to_say_where_to_listen() {
    for text in ["port 1884\nbind_address 127.0.0.1", "bind_address 127.0.0.1\nport 1884"] {
        assert_eq!(addresses(&migrated(text).0).last().map(String::as_str), Some("127.0.0.1:1884"), "{text}");
    }
}

#[test]
fn lines_that_say_nothing_sensible_are_named() {
    let text =
        "max_connections many\nmax_inflight_messages x\npersistent_client_expiration 3\nbridge\nplugin /a.so";
    let (_, notes) = migrated(text);
    assert_eq!(notes.len(), 5, "{notes:#?}");
}

/// Whatever stands in the file, there is an answer, and it is TOML.
mod fuzz {
    use super::*;
    use crate::random_text::{Piece, text};

    const WORDS: [&str; 24] = [
        "\n",
        "\n",
        " ",
        " ",
        "listener",
        "port",
        "bind_address",
        "protocol websockets",
        "socket_domain ipv6",
        "cafile /a",
        "certfile /b",
        "keyfile /c",
        "require_certificate true",
        "use_identity_as_username",
        "allow_anonymous",
        "true",
        "password_file /d",
        "persistence",
        "max_queued_messages",
        "per_listener_settings true",
        "connection",
        "bridge_cafile",
        "log_type",
        "127.0.0.1",
    ];

    #[test]
    fn mosquitto() {
        bolero::check!().with_type::<Vec<Piece>>().for_each(|pieces| {
            let text = text(pieces, &WORDS);
            let mut lines = Lines::default();
            lines.add(Path::new("mosquitto.conf"), &text, false);
            let toml = migrate(lines).to_toml();
            assert!(toml.parse::<toml::Table>().is_ok(), "{toml}");
        });
    }
}
