//! Reading a configuration: what is taken from where, and what is said of mistakes.

use std::time::Duration;

use mqtt_broker::{BanTarget, ClientCertificates};

use super::*;

/// What a file says, and nobody else.
pub(super) fn raw(text: &str) -> Raw {
    Raw::read(&Sources { variables: Vec::new(), ..sources(text) }).0
}

fn sources(text: &str) -> Sources {
    let file = File { path: PathBuf::from("/etc/gmqtt/gmqtt.toml"), text: text.to_owned() };
    let data_dir = ("GMQTT_DATA_DIR".to_owned(), "/data".to_owned());
    Sources { file: Some(file), variables: vec![data_dir], ..Sources::default() }
}

fn config(text: &str) -> Config {
    Config::of(&sources(text)).unwrap_or_else(|mistakes| panic!("{mistakes}")).0
}

/// The lines of complaint, without the file's name.
fn mistakes(text: &str) -> Vec<String> {
    let mistakes = Config::of(&sources(text)).map(|_| ()).expect_err("mistakes");
    mistakes.lines().map(|line| line.replace("/etc/gmqtt/gmqtt.toml:", "")).collect()
}

fn one_mistake(text: &str, line: usize, part: &str) {
    let all = mistakes(text);
    assert!(all.len() == 1 && all[0].starts_with(&format!("{line}: ")) && all[0].contains(part), "{all:#?}");
}

#[test]
fn every_mistake_is_named_with_its_line() {
    let text = "\
        shutdown_timeot = \"1s\"\n\
        [limits]\n\
        max_inflght = 3\n\
        max_packet_size = \"big\"\n\
        max_connections = \"5\"\n\
        queue_full = \"later\"\n\
        level = \"info\"\n\
        [nonsense]\n\
        x = 1\n\
        [[listener]]\n\
        address = \"0.0.0.0:1883\"\n\
        [[listener]]\n\
        protocol = \"tls\"\n\
        address = \"localhost:8883\"\n";
    let all = mistakes(text);
    let expected = [
        "1: there is no `shutdown_timeot` before all tables; did you mean `shutdown_timeout`?",
        "3: there is no `max_inflght` in [limits]; did you mean `max_inflight`?",
        "4: `max_packet_size` is not a size",
        "5: `max_connections` is a text, and has to be a number, without quotes",
        "6: `queue_full` is `later`, and has to be one of \"drop-oldest\"",
        "7: there is no `level` in [limits]; it belongs into [log]",
        "8: there is no `nonsense` before all tables; docs/configuration.md",
        "11: will not listen on 0.0.0.0:1883",
        "12: needs a table [listener.tls]",
    ];
    assert_eq!(all.len(), expected.len(), "{all:#?}");
    for (line, expected) in all.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}\n{expected}");
    }
}

#[test]
fn what_is_no_toml_is_named_with_its_line() {
    let all = mistakes("[limits]\nmax_inflight = \n\"\n");
    assert!(all.iter().any(|line| line.starts_with("2: not TOML: ")), "{all:#?}");
    one_mistake("limits = 3", 1, "write [limits]");
    one_mistake("[listener]\naddress = \"localhost:1\"", 1, "write [[listener]]");
    one_mistake("listener = [3]", 1, "write [[listener]]");
}

#[test]
fn values_of_the_wrong_type_are_refused() {
    for (value, part) in [
        ("1.5", "is a number, and has to be a number, without quotes"),
        ("true", "is true or false"),
        ("[1]", "is a list"),
        ("{ a = 1 }", "is a table"),
        ("1979-05-27", "is a date"),
        ("-1", "0 or more"),
        ("99999999999999999999999", "0 or more"),
    ] {
        one_mistake(&format!("[limits]\nmax_sessions = {value}"), 2, part);
    }
    one_mistake("[limits]\nqueue_qos0_messages = \"true\"", 2, "without quotes");
    one_mistake("[limits]\nsession_expiry = 7", 2, "a time in quotes");
}

#[test]
fn the_stronger_source_wins_and_the_weaker_is_checked_all_the_same() {
    let mut sources = sources("[limits]\nmax_inflight = 1\nmax_sessions = 2\nmax_unreleased = 3\n");
    sources.variables.push(("GMQTT_LIMITS_MAX_SESSIONS".into(), "20".into()));
    sources.variables.push(("GMQTT_LIMITS_MAX_UNRELEASED".into(), "30".into()));
    let argument = |text: &str| Argument {
        section: "limits",
        key: "max_unreleased",
        spelling: "--max-unreleased".into(),
        text: text.into(),
    };
    sources.arguments.push(argument("300"));
    let limits = Config::of(&sources).unwrap().0.limits;
    assert_eq!((limits.max_inflight, limits.max_sessions, limits.max_unreleased), (1, 20, 300));

    sources.arguments[0] = argument("0");
    sources.variables[2].1 = "x".into();
    let lines: Vec<String> = Config::of(&sources).map(|_| ()).unwrap_err().lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("GMQTT_LIMITS_MAX_UNRELEASED: has to be a whole number"), "{lines:?}");
    assert!(lines[1].starts_with("--max-unreleased: has to be a whole number"), "{lines:?}");
}

#[test]
fn a_misspelled_variable_is_a_mistake_and_a_foreign_one_is_not() {
    let mut sources = sources("");
    sources.variables.push(("GMQTT_LOG_SERVICE_HOST".into(), "10.0.0.1".into()));
    sources.variables.push(("GMQTT_ADMIN_PORT".into(), "tcp://10.0.0.1:80".into()));
    sources.variables.push(("GMQTT_PORT".into(), "tcp://10.0.0.1:1883".into()));
    assert!(Config::of(&sources).is_ok());
    sources.variables.push(("GMQTT_LIMITS_MAX_INFLGHT".into(), "1".into()));
    let lines: Vec<String> = Config::of(&sources).map(|_| ()).unwrap_err().lines().collect();
    let expected = "GMQTT_LIMITS_MAX_INFLGHT: there is no such key; did you mean GMQTT_LIMITS_MAX_INFLIGHT?";
    assert_eq!(lines, [expected]);
}

#[test]
fn a_variable_for_a_listener_is_a_mistake() {
    let mut sources = sources("");
    sources.variables.push(("GMQTT_LISTENER_PORT".into(), "tcp://10.0.0.1:80".into()));
    assert!(Config::of(&sources).is_ok());
    for (name, table) in
        [("GMQTT_LISTENER_ADDRESS", "[[listener]]"), ("GMQTT_LISTENER_TLS_CERTIFICATE", "[listener.tls]")]
    {
        sources.variables = vec![(name.into(), "x".into())];
        let lines: Vec<String> = Config::of(&sources).map(|_| ()).unwrap_err().lines().collect();
        assert_eq!(lines, [format!("{name}: keys of {table} have no variables: write it into a file")]);
    }
}

#[test]
fn a_listener_has_what_its_tables_say() {
    let text = "\
        [[listener]]\n\
        name = \"devices\"\n\
        address = \"0.0.0.0:8883\"\n\
        protocol = \"wss\"\n\
        max_connections = 7\n\
        [listener.tls]\n\
        certificate = \"cert.pem\"\n\
        private_key = \"/keys/key.pem\"\n\
        client_authorities = [\"ca.pem\"]\n\
        [listener.websocket]\n\
        paths = [\"/a\"]\n";
    let config = config(text);
    let listener = &config.listeners[0];
    let tls = listener.tls.as_ref().unwrap();
    assert_eq!(tls.certificates, Path::new("/etc/gmqtt/cert.pem"), "from where the file is");
    assert_eq!(tls.private_key, Path::new("/keys/key.pem"));
    assert_eq!(tls.client_certificates, ClientCertificates::Required);
    assert_eq!(listener.limits.max_connections, Some(7));
    assert!(format!("{:?}", listener.websocket).contains("\"/a\""));
    assert!(!config.is_open_to_anybody(), "certificates are asked for");
}

/// Each key, with a value that is not its default.
#[test]
fn every_key_of_a_listener_reaches_it() {
    let listener = |keys: &str, tls: &str, websocket: &str| {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:1\"\nprotocol = \"wss\"\nallow_anonymous = true\n{keys}\n\
             [listener.tls]\ncertificate = \"a\"\nprivate_key = \"b\"\nclient_authorities = [\"c\"]\n{tls}\n\
             [listener.websocket]\n{websocket}\n"
        );
        format!("{:?}", config(&text).listeners[0])
    };
    let plain = listener("", "", "");
    for (table, line, part) in [
        (0, "max_connections = 7", "max_connections: Some(7)"),
        (0, "connect_timeout = \"8s\"", "connect_timeout: Some(8s)"),
        (0, "max_connect_packet_size = \"9KiB\"", "max_connect_packet_size: Some(9216)"),
        (0, "max_packet_size = \"10KiB\"", "max_packet_size: Some(10240)"),
        (0, "max_keep_alive = \"11s\"", "max_keep_alive_secs: Some(11)"),
        (0, "max_keep_alive = \"never\"", "max_keep_alive_secs: Some(0)"),
        (0, "name = \"twelve\"", "name: \"twelve\""),
        (0, "unix_mode = \"0600\"", "unix_mode: 384"),
        (0, "proxy_protocol_from = [\"192.0.2.1\"]", "192.0.2.1"),
        (1, "client_certificates = \"optional\"", "client_certificates: Optional"),
        (1, "revocation_lists = [\"r\"]", "\"/etc/gmqtt/r\""),
        (1, "user_name = \"subject-alt-name\"", "user_name: Some(SubjectAltName)"),
        (1, "user_name = \"distinguished-name\"", "user_name: Some(DistinguishedName)"),
        (2, "paths = [\"/x\"]", "paths: [\"/x\"]"),
        (2, "origins = [\"https://a.example\"]", "\"https://a.example\""),
        (2, "forwarded_for_from = [\"192.0.2.2\"]", "192.0.2.2"),
    ] {
        let mut tables = [""; 3];
        tables[table] = line;
        let listener = listener(tables[0], tables[1], tables[2]);
        assert!(listener.contains(part) && !plain.contains(part), "{line}: {listener}");
    }
}

/// Each key, with a value that is not its default.
#[test]
fn every_key_of_tokens_and_of_the_web_server_reaches_it() {
    let token = |line: &str| {
        let text = format!("[access.token]\nkey_file = \"k\"\nalgorithm = \"HS256\"\n{line}\n");
        format!("{:?}", config(&text).access.token_options)
    };
    for (line, part) in [
        ("issuer = \"us\"", "issuer: Some(\"us\")"),
        ("audience = \"mqtt\"", "audience: Some(\"mqtt\")"),
        ("user_name_claim = \"name\"", "user_name_claim: \"name\""),
        ("client_id_claim = \"device\"", "client_id_claim: \"device\""),
        ("acl_claim = \"rights\"", "acl_claim: \"rights\""),
        ("leeway = \"7s\"", "leeway: 7s"),
    ] {
        assert!(token(line).contains(part) && !token("").contains(part), "{line}: {}", token(line));
    }

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bearer"), "t0ken\n").unwrap();
    let bearer = format!("bearer_token_file = \"{}\"", folder.path().join("bearer").display());
    let servers = |line: &str| {
        let urls = "connect_url = \"http://127.0.0.1/c\"\nacl_url = \"http://127.0.0.1/a\"";
        config(&format!("[access.http]\n{urls}\n{line}\n")).load_files().map(|files| files.servers)
    };
    let connect = |line: &str| servers(line).unwrap().connect.unwrap();
    assert!(connect("").asks_like(&connect("")));
    assert!(!connect("").asks_like(&servers("").unwrap().acl.unwrap()));
    for line in ["timeout = \"1s\"", "max_concurrent = 7", "cache_ttl = \"7s\"", "cache_entries = 7", &bearer]
    {
        assert!(!connect(line).asks_like(&connect("")), "{line}");
    }
}

#[test]
fn a_door_is_open_only_if_somebody_says_so() {
    let at = |more: &str| format!("[[listener]]\naddress = \"0.0.0.0:1\"\n{more}");
    one_mistake(&at(""), 2, "allow_anonymous = true");
    one_mistake(&at("allow_anonymous = false"), 3, "nobody could connect");
    assert!(config(&at("allow_anonymous = true")).is_open_to_anybody());
    let passwords = at("[access]\npassword_file = \"p\"");
    assert!(!config(&passwords).is_open_to_anybody() && !config(&passwords).listeners[0].allow_anonymous);
    assert!(config("").listeners[0].allow_anonymous, "on loopback, when nobody is asked");
    assert!(!config("[access]\npassword_file = \"p\"").listeners[0].allow_anonymous);
}

#[test]
fn listeners_that_contradict_each_other_are_refused() {
    let two = |first: &str, second: &str| format!("[[listener]]\n{first}\n[[listener]]\n{second}\n");
    let at = |address: &str| format!("address = \"localhost:{address}\"");
    one_mistake(&two(&at("1"), &at("1")), 4, "another listener");
    let named = |address| format!("name = \"a\"\n{}", at(address));
    assert!(mistakes(&two(&named("1"), &named("2")))[0].contains("is called `a`"));
    assert_eq!(config(&two(&at("0"), &at("0"))).listeners.len(), 2);
    one_mistake("[[listener]]\nname = \"a\"", 1, "needs an `address`");
    let tls = "address = \"localhost:1\"\n[listener.tls]\ncertificate = \"a\"\nprivate_key = \"b\"";
    one_mistake(&format!("[[listener]]\n{tls}"), 1, "is for the protocols");
}

#[test]
fn a_smaller_packet_limit_bounds_connect_too() {
    let text = "[limits]\nmax_packet_size = 1000";
    assert_eq!(config(text).limits.max_connect_packet_size, 1000);
    one_mistake(&format!("{text}\nmax_connect_packet_size = 1001"), 3, "larger than max_packet_size");
}

/// The example as it is, and with every key that is a comment.
#[test]
fn the_example_comes_to_the_defaults() {
    let plain = Config::of(&sources("")).unwrap().1.to_toml();
    assert_eq!(Config::of(&sources(&example())).unwrap().1.to_toml(), plain);
    let uncommented = example().replace("\n#", "\n").replace("\n ", "\n# ");
    let (raw, mistakes) = Raw::read(&sources(&uncommented));
    assert!(mistakes.lines().next().is_none(), "{mistakes}");
    let default = Raw::read(&sources("")).0;
    let changed = raw.changes_since(&default);
    assert!(changed.iter().all(|changed| is_without_default(&changed.key)), "{changed:?}");
    let identify = "\n#identify = [\"certificate\", \"token\", \"password\", \"http\"]   # an example: there is no default\n";
    assert!(example().contains(identify), "an empty list would let everybody in");
    for key in section_keys() {
        assert!(example().contains(&format!("\n#{} = ", key.name)) || key.name == "address", "{}", key.name);
    }
}

fn is_without_default(key: &str) -> bool {
    let name = key.rsplit([' ', '.']).next().unwrap_or(key);
    key.starts_with("listener ") || section_keys().any(|key| key.name == name && key.default.is_none())
}

fn section_keys() -> impl Iterator<Item = Key> {
    raw::sections().into_iter().flat_map(|section| section.keys)
}

#[test]
fn what_is_shown_can_be_read_again() {
    let text = "[[listener]]\naddress = \"[::]:0\"\nallow_anonymous = true\n[log]\nlevel = \"warn,a=debug\"";
    let shown = Config::of(&sources(text)).unwrap().1.to_toml();
    assert!(shown.contains("name = \"[::]:0\"") && shown.contains("level = \"warn,a=debug\""), "{shown}");
    assert_eq!(Config::of(&sources(&shown)).unwrap().1.to_toml(), shown);
}

#[test]
fn changes_are_found_by_key() {
    let before = Config::of(&sources("[limits]\nmax_inflight = 3\n")).unwrap().1;
    let text =
        "[limits]\nmax_inflight = 4\n[log]\nlevel = \"warn\"\n[[listener]]\naddress = \"localhost:1884\"";
    let changed = Config::of(&sources(text)).unwrap().1.changes_since(&before);
    let keys: Vec<&str> = changed.iter().map(|changed| changed.key.as_str()).collect();
    assert!(keys.contains(&"limits.max_inflight") && keys.contains(&"log.level"), "{keys:?}");
    assert!(keys.contains(&"listener localhost:1884: address"), "{keys:?}");
    assert!(keys.contains(&"listener localhost:1883: address"), "{keys:?}");
    assert!(!keys.contains(&"limits.max_sessions"), "{keys:?}");
}

#[test]
fn a_listener_asks_whom_it_names_or_all_who_can_be_asked() {
    let text = "\
        [access]\n\
        password_file = \"users\"\n\
        acl_file = \"rights\"\n\
        [access.token]\n\
        jwks_file = \"keys\"\n\
        [access.http]\n\
        connect_url = \"http://127.0.0.1/\"\n\
        [[listener]]\n\
        address = \"0.0.0.0:1\"\n\
        [[listener]]\n\
        address = \"0.0.0.0:2\"\n\
        [listener.access]\n\
        identify = [\"http\", \"password\"]\n\
        authorize = []\n\
        password_file = \"others\"\n";
    let listeners = config(text).listeners;
    let [first, second] = &listeners[..] else { panic!("{listeners:?}") };
    assert_eq!(
        first.access.identify,
        [Provider::Certificate, Provider::Token, Provider::Password, Provider::Http]
    );
    assert_eq!(first.access.authorize, [Authority::Acl]);
    assert_eq!(second.access.identify, [Provider::Http, Provider::Password]);
    assert!(second.access.authorize.is_empty() && !second.allow_anonymous);
    let path = |name: &str| Some(Path::new("/etc/gmqtt").join(name));
    assert_eq!(
        (&first.access.password_file.value, &second.access.password_file.value),
        (&path("users"), &path("others"))
    );
}

#[test]
fn who_is_named_has_to_be_there_to_be_asked() {
    for (text, line, part) in [
        ("[access]\nidentify = [\"token\"]", 2, "needs a key in [access.token]"),
        ("[access]\nidentify = [\"password\"]", 2, "needs `password_file`"),
        ("[access]\nauthorize = [\"acl\"]", 2, "needs `acl_file`"),
        ("[access]\nauthorize = [\"http\"]", 2, "needs `acl_url`"),
        ("[access]\nidentify = [\"magic\"]", 2, "has to be one of"),
        ("[access.token]\nkey_file = \"k\"", 2, "needs `algorithm`"),
        ("[access.token]\nkey_file = \"k\"\nalgorithm = \"none\"", 3, "has to be one of"),
        ("[access.token]\njwks_file = \"k\"\nalgorithm = \"HS256\"", 3, "is for `key_file`"),
        ("[access.token]\nissuer = \"us\"", 2, "needs `key_file` or `jwks_file`"),
        ("[access.http]\nacl_url = \"ftp://x\"", 2, "has to begin with http://"),
        ("[access.http]\nacl_url = \"http://a:hush@x\"", 2, "holds a password"),
        ("[access.http]\nacl_url = \"http://x\"\ntimeout = \"5s\"", 3, "less than [limits] hook_timeout"),
        ("[access.tokens]\nissuer = \"us\"", 1, "did you mean `token`?"),
    ] {
        let all = mistakes(text);
        let found =
            all.iter().any(|mistake| mistake.starts_with(&format!("{line}: ")) && mistake.contains(part));
        assert!(found && !all.concat().contains("hush"), "{text}: {all:#?}");
    }
    let two = "[access]\nidentify = [\"http\"]\n[[listener]]\naddress = \"[::]:1\"\n[[listener]]\naddress = \"[::]:2\"";
    one_mistake(two, 2, "needs `connect_url`");
}

/// With each of these nobody could connect.
#[test]
fn what_leaves_no_time_to_connect_is_refused() {
    for (text, line) in [
        ("[limits]\nhook_timeout = \"0s\"", 2),
        ("[limits]\nconnect_timeout = \"0s\"", 2),
        ("[[listener]]\naddress = \"[::1]:1\"\nconnect_timeout = \"0s\"", 3),
        ("[access.http]\nconnect_url = \"http://x\"\ntimeout = \"0s\"", 3),
    ] {
        one_mistake(text, line, "a time of nothing at all");
    }
}

/// Those who come from mosquitto write 0 for never, and got the most that there is.
#[test]
fn the_broker_s_own_topics_are_published_each_second_at_most() {
    for time in ["0s", "999ms"] {
        one_mistake(&format!("[limits]\nsys_interval = \"{time}\""), 2, "say never, or a second or more");
    }
    let interval = |time: &str| config(&format!("[limits]\nsys_interval = \"{time}\"")).limits.sys_interval;
    assert_eq!((interval("1s"), interval("never")), (Some(Duration::from_secs(1)), None));
}

/// A client may give an empty user name; its identifier is one that the broker makes where it gives none.
#[test]
fn an_empty_name_is_that_of_a_user_and_of_no_client() {
    one_mistake("[bans]\nclient_ids = [\"\"]", 2, "a name that no client can have");
    assert_eq!(config("[bans]\nusers = [\"\"]").bans, [BanTarget::User("".into())]);
}

#[test]
fn what_no_browser_sends_is_refused() {
    let with = |line: &str| {
        let listener = "[[listener]]\naddress = \"localhost:1\"\nprotocol = \"ws\"\n[listener.websocket]";
        format!("{listener}\n{line}\n")
    };
    one_mistake(&with("paths = []"), 5, "nobody could connect");
    for path in ["mqtt", "", "/mqtt?a", "/a b", "/ä"] {
        one_mistake(&with(&format!("paths = [\"/mqtt\", \"{path}\"]")), 5, "a path begins with `/`");
    }
    for origin in [
        "example.org",
        "https://x.org/",
        "https://x.org/a",
        "https://x.org:443",
        "HTTP://x.org:80",
        "https://a@x.org",
        "https://x.org,https://y.org b",
        "wss://x.org",
        "https://*.x.org",
        "https://",
        "https://x.org:0443",
        "*",
        "",
    ] {
        one_mistake(&with(&format!("origins = [\"{origin}\"]")), 5, "as browsers do it");
    }
    // The case does not matter where they are compared; not all pages are from the web.
    for origin in ["https://x.org", "HTTPS://X.org", "http://[::1]:8080", "null", "app://a-b.c", "file://"] {
        config(&with(&format!("origins = [\"{origin}\"]")));
    }
}

#[test]
fn revocation_lists_need_somebody_whose_certificate_is_asked_for() {
    let tls = |more: &str| {
        let keys = "[listener.tls]\ncertificate = \"a\"\nprivate_key = \"b\"\nrevocation_lists = [\"r\"]";
        format!("[[listener]]\naddress = \"localhost:1\"\nprotocol = \"tls\"\n{keys}\n{more}\n")
    };
    let authorities = "client_authorities = [\"c\"]";
    one_mistake(&tls(""), 7, "`revocation_lists`");
    one_mistake(&tls(&format!("{authorities}\nclient_certificates = \"none\"")), 7, "`revocation_lists`");
    config(&tls(authorities));
}

#[test]
fn behind_proxies_a_loopback_address_is_open_to_others() {
    let at = |more: &str| format!("[[listener]]\naddress = \"127.0.0.1:1\"\n{more}");
    let proxy = at("proxy_protocol_from = [\"127.0.0.1\", \"unix\"]\n");
    one_mistake(&proxy, 2, "allow_anonymous = true");
    one_mistake(&at("proxy_protocol_from = [\"localhost\"]"), 3, "is no address, no network");
    one_mistake(
        &at("protocol = \"ws\"\n[listener.websocket]\nforwarded_for_from = [\"10.0.0.0/8\"]"),
        2,
        "allow_anonymous = true",
    );
    let shown = Config::of(&sources(&format!("{proxy}allow_anonymous = true"))).unwrap().1.to_toml();
    assert!(shown.contains("proxy_protocol_from = [\"127.0.0.1\", \"unix\"]\n"), "{shown}");
}

/// No text makes the reader panic; what it does not take, it complains of.
mod fuzz {
    use super::*;
    use crate::random_text::{Piece, text};

    const WORDS: [&str; 24] = [
        "\n",
        "\n",
        " = ",
        " = ",
        "[[listener]]\n",
        "[listener.tls]\n",
        "[listener.websocket]\n",
        "[limits]\n",
        "[log]\n",
        "name",
        "address",
        "protocol",
        "\"localhost:0\"",
        "\"wss\"",
        "certificate",
        "client_authorities",
        "[\"a\", \"b\"]",
        "max_connections",
        "connect_timeout",
        "\"30s\"",
        "\"64KiB\"",
        "\"never\"",
        "level",
        "true",
    ];

    #[test]
    fn configuration() {
        bolero::check!().with_type::<Vec<Piece>>().for_each(|pieces| {
            let text = text(pieces, &WORDS);
            if let Err(mistakes) = Config::of(&sources(&text)).map(|_| ()) {
                assert!(mistakes.lines().all(|line| line.starts_with("/etc/gmqtt/gmqtt.toml")));
                assert_ne!(mistakes.lines().count(), 0);
            }
        });
    }
}
