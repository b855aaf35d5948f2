//! Configurations of mosquitto as they are met, and what they come to.

use std::path::{Path, PathBuf};

use mqtt_broker::ClientCertificates;

use super::{mosquitto::migrate, output::Migrated, *};
use crate::config::{Config, File, Protocol, Sources};

/// What a configuration comes to, and the notes. What was written has to be good.
fn migrated(text: &str) -> (Config, Vec<String>) {
    let migrated = read(text);
    let toml = migrated.to_toml();
    let file = File { path: PathBuf::from("/etc/gmqtt/gmqtt.toml"), text: toml.clone() };
    let data_dir = ("GMQTT_DATA_DIR".to_owned(), "/data".to_owned());
    let sources = Sources { file: Some(file), variables: vec![data_dir], ..Sources::default() };
    let (config, _) = Config::of(&sources).unwrap_or_else(|mistakes| panic!("{mistakes}\n{toml}"));
    (config, migrated.notes.iter().map(|note| format!("{}: {}", note.place, note.what)).collect())
}

/// The same, whether it is good or not.
fn read(text: &str) -> Migrated {
    let mut lines = Lines::default();
    lines.add(Path::new("mosquitto.conf"), text, true);
    migrate(lines)
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

/// In mosquitto it is about the default listener, which is there with `port` and `bind_address` alone.
#[test]
fn what_stands_before_a_listener_is_not_about_it() {
    let (own, named) = (
        "per_listener_settings true\nallow_anonymous true\n",
        "listener 21961 0.0.0.0\npassword_file /etc/mosquitto/passwd\n",
    );
    let (config, notes) = migrated(&format!("{own}{named}"));
    assert_eq!(addresses(&config), ["0.0.0.0:21961"]);
    assert!(!config.is_open_to_anybody(), "mosquitto asks for a password there");
    assert!(
        notes.len() == 1 && notes[0].starts_with("mosquitto.conf:2: allow_anonymous: before a `listener`"),
        "{notes:#?}"
    );
    // Wherever the port stands, it has what stands before.
    for text in [format!("{own}port 21962\n{named}"), format!("{own}{named}port 21962\n")] {
        let (config, notes) = migrated(&text);
        assert_eq!((addresses(&config), notes.len()), (vec!["0.0.0.0:21961".into(), "[::]:21962".into()], 0));
        assert_eq!([0, 1].map(|index| config.listeners[index].allow_anonymous), [false, true], "{text}");
    }
    // Whatever the settings are: who may connect, and how a listener speaks.
    let (config, notes) = migrated(&format!("max_connections 5\nprotocol websockets\n{named}"));
    assert_eq!(
        (config.listeners[0].protocol, config.listeners[0].limits.max_connections),
        (Protocol::Tcp, None)
    );
    assert_eq!(notes.len(), 2, "{notes:#?}");
}

/// Nor is what stands in another file about it.
#[test]
fn each_file_begins_with_the_default_listener() {
    let mut lines = Lines::default();
    for text in [
        "per_listener_settings true\nlistener 1883 0.0.0.0\n",
        "allow_anonymous true\n",
        "listener 1884\nallow_anonymous true\n",
    ] {
        lines.add(Path::new("mosquitto.conf"), text, false);
    }
    let migrated = migrate(lines);
    assert_eq!(migrated.notes.len(), 1, "{:#?}", migrated.notes);
    let toml = migrated.to_toml();
    let (first, second) = toml.split_once("[::]:1884").unwrap();
    assert!(first.contains("allow_anonymous = false") && second.contains("allow_anonymous = true"), "{toml}");
}

#[test]
fn nobody_comes_in_without_a_name_unless_it_is_said() {
    for text in ["listener 1883 127.0.0.1", "listener 0 /run/m.sock", "port 1883", "bind_address 127.0.0.1"] {
        let toml = read(text).to_toml();
        assert!(toml.contains("allow_anonymous = false"), "{toml}");
        assert!(migrated(&format!("{text}\nallow_anonymous true")).0.listeners[0].allow_anonymous);
    }
    assert!(migrated("").0.listeners[0].allow_anonymous, "without a listener, on the machine itself");
}

#[test]
fn a_session_ends_when_mosquitto_ends_it() {
    let expiry = |text| migrated(text).0.limits.session_expiry.map(|expiry| expiry.as_secs());
    assert_eq!((expiry(""), expiry("persistent_client_expiration 3h")), (None, Some(3 * 3600)));
}

#[test]
fn what_is_said_several_times_is_carried_over_as_a_whole() {
    let text = "\
        protocol websockets\n\
        websockets_origin https://a.example\n\
        websockets_origin https://b.example\n\
        log_type error\n\
        log_type warning\n\
        sys_interval 30\n\
        max_inflight_bytes 5000\n";
    let (config, notes) = migrated(text);
    assert_eq!(notes, <[String; 0]>::default());
    let websocket = format!("{:?}", config.listeners[0].websocket);
    assert!(
        websocket.contains("https://a.example") && websocket.contains("https://b.example"),
        "{websocket}"
    );
    assert_eq!(config.log.level.to_string(), "warn");
    assert_eq!(config.limits.sys_interval.map(|interval| interval.as_secs()), Some(30));
    assert_eq!(config.limits.max_inflight_bytes, 5_000);
}

/// Left out it would let the pages of all in; `gmqtt check-config` refuses it, and the note says where it is from.
#[test]
fn an_origin_that_no_browser_sends_is_kept_and_noted() {
    let migrated = read("listener 9001\nprotocol websockets\nwebsockets_origin https://x.org/\n");
    assert!(migrated.to_toml().contains("https://x.org/"));
    let [note] = &migrated.notes[..] else { panic!("{:?}", migrated.notes) };
    assert!(note.place.ends_with(":3") && note.what.starts_with("websockets_origin"), "{note:?}");
}

/// There a certificate may be asked for beside a password; here it takes its place.
#[test]
fn where_certificates_mean_something_else_it_is_said() {
    let tls = "certfile /a.pem\nkeyfile /b.pem\nrequire_certificate true\n";
    let (config, notes) = migrated(&format!("{tls}cafile /c.pem\n"));
    assert_eq!(config.listeners[0].tls.as_ref().unwrap().client_certificates, ClientCertificates::Required);
    assert!(
        notes.len() == 1 && notes[0].starts_with("mosquitto.conf:3: require_certificate: "),
        "{notes:#?}"
    );
    // Authorities in a folder: nobody is let in until they are named.
    let mut lines = Lines::default();
    lines.add(
        Path::new("mosquitto.conf"),
        &format!("{tls}capath /c\nuse_identity_as_username true\n"),
        false,
    );
    let migrated = migrate(lines);
    assert_eq!(migrated.notes.len(), 2, "{:#?}", migrated.notes);
    assert!(migrated.to_toml().contains("client_certificates = \"required\"\nclient_authorities = []"));
}

/// All of mosquitto.conf(5).
const SWITCHES: &str = "allow_anonymous allow_duplicate_messages allow_zero_length_clientid \
    auth_plugin_deny_special_chars autosave_on_changes check_retain_source connection_messages log_timestamp \
    per_listener_settings persistence queue_qos0_messages retain_available set_tcp_nodelay upgrade_outgoing_qos \
    use_username_as_clientid require_certificate use_identity_as_username use_subject_as_username cleansession \
    local_cleansession notifications round_robin try_private bridge_insecure";

/// mosquitto takes numbers for switches too, the first word alone, and does not start on anything else.
#[test]
fn a_switch_is_on_or_off_in_every_spelling_of_mosquitto_s_and_named_in_others() {
    let said = |option: &str, value: &str| {
        let tls = "certfile /a.pem\nkeyfile /b.pem\ncafile /c.pem";
        read(&format!("{option} {value}\nlistener 1883\n{option} {value}\npassword_file /p\n{tls}\n"))
    };
    for option in SWITCHES.split(' ') {
        for (one, other) in [("true", "1"), ("false", "0"), ("true", "true # or not"), ("false", "0 1")] {
            assert_eq!(said(option, one).to_toml(), said(option, other).to_toml(), "{option} {other}");
        }
        for neither in ["maybe", "TRUE", "01", ""] {
            assert!(!said(option, neither).notes.is_empty(), "{option} {neither}");
        }
    }
    let tls = "listener 8883\ncertfile /a.pem\nkeyfile /b.pem\ncafile /c.pem\nrequire_certificate 1\n";
    assert!(read(tls).to_toml().contains("client_certificates = \"required\""));
}

#[test]
fn of_two_bounds_of_a_packet_the_smaller_is_in_force() {
    let size = |text: &str| migrated(text).0.limits.max_packet_size;
    assert_eq!(size("max_packet_size 300\nmessage_size_limit 1000"), 300);
    assert_eq!(size("message_size_limit 1000\nmax_packet_size 300"), 300);
    assert_eq!(size("message_size_limit 0\nmax_packet_size 300"), 300);
}

/// Without certificates of clients there is nothing to revoke.
#[test]
fn revocation_lists_are_for_those_who_are_asked_for_certificates() {
    let tls = "certfile /a.pem\nkeyfile /b.pem\ncafile /c.pem\ncrlfile /d.pem\n";
    let (config, notes) = migrated(tls);
    assert!(config.listeners[0].tls.as_ref().unwrap().revocation_lists.is_empty());
    assert!(notes.len() == 1 && notes[0].starts_with("mosquitto.conf:4: crlfile: "), "{notes:#?}");
    let (config, notes) =
        migrated(&format!("{tls}require_certificate true\nuse_identity_as_username true\n"));
    assert_eq!(config.listeners[0].tls.as_ref().unwrap().revocation_lists, [PathBuf::from("/d.pem")]);
    assert_eq!(notes, [""; 0]);
}

/// All that mosquitto.conf(5) has: each line changes something, or is named. Where it does neither, gmqtt does so anyway.
#[test]
fn no_line_is_lost() {
    const NUMBERS: &str = "autosave_interval max_inflight_bytes max_inflight_messages max_keepalive max_packet_size \
        max_queued_bytes max_queued_messages memory_limit message_size_limit sys_interval max_connections max_qos \
        max_topic_alias port listener websockets_log_level websockets_headers_size keepalive_interval idle_timeout \
        threshold restart_timeout";
    const TEXTS: &str = "acl_file auth_plugin auth_opt_a plugin plugin_opt_a auto_id_prefix clientid_prefixes log_dest \
        log_facility log_timestamp_format log_type password_file persistence_file persistence_location \
        persistent_client_expiration pid_file psk_file user bind_address bind_interface http_dir mount_point protocol \
        socket_domain capath certfile ciphers ciphers_tls1.3 crlfile dhparamfile keyfile tls_engine \
        tls_engine_kpass_sha1 tls_keyform tls_version psk_hint address addresses connection local_clientid \
        local_password local_username notification_topic remote_clientid remote_password remote_username start_type \
        topic bridge_alpn bridge_bind_address bridge_cafile bridge_psk nonsense";
    const ANYWAY: [&str; 12] = [
        "allow_anonymous true", // Without a line about anything, on the machine itself.
        "allow_duplicate_messages false",
        "connection_messages true",
        "log_timestamp true",
        "per_listener_settings true", // It says how others are meant.
        "per_listener_settings false",
        "persistence false",
        "require_certificate false",
        "set_tcp_nodelay true",
        "use_identity_as_username false",
        "use_subject_as_username false",
        "max_connections -1",
    ];
    let switches = SWITCHES.split(' ').flat_map(|option| ["true", "false"].map(|value| (option, value)));
    let numbers = NUMBERS.split(' ').flat_map(|option| ["0", "7", "-1"].map(|value| (option, value)));
    let texts = TEXTS.split(' ').map(|option| (option, "x"));
    let nothing = migrate(Lines::default()).to_toml();
    for line in switches.chain(numbers).chain(texts).map(|(option, value)| format!("{option} {value}")) {
        let mut lines = Lines::default();
        lines.add(Path::new("mosquitto.conf"), &line, false);
        let is_lost = migrate(lines).to_toml() == nothing;
        assert_eq!(is_lost, ANYWAY.contains(&line.as_str()), "{line}");
    }
}

#[test]
fn the_old_way_to_say_where_to_listen() {
    for text in ["port 1884\nbind_address 127.0.0.1", "bind_address 127.0.0.1\nport 1884"] {
        let (config, _) = migrated(&format!("{text}\nallow_anonymous true"));
        assert_eq!(addresses(&config), ["127.0.0.1:1884"], "{text}");
    }
    // mosquitto listens there too, wherever the lines stand.
    let beside = "listener 1885 127.0.0.1\nprotocol websockets\nport 1884\nbind_address 127.0.0.1\n\
        listener 1886 ::1\nallow_anonymous true";
    assert_eq!(addresses(&migrated(beside).0), ["127.0.0.1:1885", "[::1]:1886", "127.0.0.1:1884"]);
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
