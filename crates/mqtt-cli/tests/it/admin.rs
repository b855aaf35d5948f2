//! `gmqtt serve --admin` and `gmqtt admin token`: the API of the real binary.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
};

use super::harness::{Gmqtt, STUCK};

const SERVE: [&str; 5] = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];

/// The address of the API, and what the line says of its token.
fn api(broker: &Gmqtt) -> (String, String) {
    loop {
        let line = broker.line();
        if let Some(rest) = line.strip_prefix("dashboard and HTTP API on http://") {
            let (address, token) = rest.split_once("/ (token in ").unwrap();
            return (address.to_owned(), token.trim_end_matches(')').to_owned());
        }
    }
}

/// The status of the answer.
fn get(address: &str, path: &str, token: &str) -> u16 {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(STUCK)).unwrap();
    let head = "HTTP/1.1\r\nHost: x\r\nConnection: close";
    write!(socket, "GET {path} {head}\r\nAuthorization: Bearer {token}\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn the_first_start_makes_a_token_that_later_ones_keep() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("admin-token");
    let arguments = [&SERVE[..], &["--data-dir", data.path().to_str().unwrap()]].concat();
    let mut secrets = Vec::new();
    for _ in 0..2 {
        let broker = Gmqtt::start(&arguments);
        let (address, place) = api(&broker);
        assert_eq!(place, file.display().to_string());
        let secret = fs::read_to_string(&file).unwrap();
        assert_eq!(get(&address, "/api/v1/overview", secret.trim()), 200);
        assert_eq!(get(&address, "/api/v1/overview", "admin"), 401);
        assert_eq!(get(&address, "/readyz", ""), 200);
        secrets.push(secret);
    }
    assert_eq!(secrets[0], secrets[1]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn tokens_that_were_made_are_accepted_and_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens");
    let create = ["admin", "token", "create", "--name", "grafana", "--file", file.to_str().unwrap()];
    let made = Gmqtt::start(&create).ended().output();
    let [secret] = made.as_slice() else { panic!("{made:?}") };
    assert!(!fs::read_to_string(&file).unwrap().contains(secret.as_str()));
    let broker = Gmqtt::start(&[&SERVE[..], &["--admin-token-file", file.to_str().unwrap()]].concat());
    let (address, place) = api(&broker);
    assert_eq!(place, file.display().to_string());
    assert_eq!((get(&address, "/metrics", secret), get(&address, "/metrics", "gmqtt_x")), (200, 401));
    let printed =
        Gmqtt::start(&["admin", "token", "create", "--name", "a", "--role", "write"]).ended().output();
    assert!(printed[0].starts_with("gmqtt_") && printed[1].starts_with("write a sha256:"), "{printed:?}");
}

#[test]
fn a_token_is_added_to_a_file_that_stays_good() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens");
    let create = |name| {
        let create = ["admin", "token", "create", "--name", name, "--file", file.to_str().unwrap()];
        Gmqtt::start(&create).ended()
    };
    create("first").output();
    let first = fs::read_to_string(&file).unwrap();
    // As an editor leaves it that adds no end of line.
    fs::write(&file, first.trim_end()).unwrap();
    let secret = create("second").output().join("");
    let both = fs::read_to_string(&file).unwrap();
    assert!(both.starts_with(&first) && both.lines().count() == 2, "{both}");
    let broker = Gmqtt::start(&[&SERVE[..], &["--admin-token-file", file.to_str().unwrap()]].concat());
    assert_eq!(get(&api(&broker).0, "/metrics", &secret), 200);

    fs::write(&file, format!("{first}nonsense\n")).unwrap();
    let complaint = create("third").complaint(1);
    assert!(complaint.contains("line 2: ") && complaint.contains(file.to_str().unwrap()), "{complaint}");
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{first}nonsense\n"));
}

#[test]
fn health_is_told_by_the_exit_code_without_a_token() {
    let broker = Gmqtt::start(&SERVE);
    let url = format!("http://{}", api(&broker).0);
    let health = ["admin", "health", "--url", url.as_str()];
    assert_eq!(Gmqtt::start(&health).ended().output(), ["ready"]);
    drop(broker);
    let complaint = Gmqtt::start(&health).ended().complaint(1);
    assert!(complaint.contains("does a gmqtt run there?"), "{complaint}");
}

#[test]
fn an_address_in_use_is_one_line_that_helps() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let line = Gmqtt::start(&["serve", "--listen", "127.0.0.1:0", "--admin", &address]).ended().complaint(1);
    assert!(line.contains(&address) && line.contains("--admin ADDRESS"), "{line}");
}
