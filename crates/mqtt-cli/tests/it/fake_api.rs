//! An HTTP API that the test plays itself: what `gmqtt admin` asks it, answer by answer.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc::channel,
    thread,
};

use super::harness::{Ended, Gmqtt, STUCK};

/// `gmqtt admin`, ended, and its requests: their first lines, and their bodies.
pub(crate) fn admin(arguments: &[&str], answers: &'static [&'static str]) -> (Ended, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, requests) = channel();
    // It is not waited for: whether all was asked shows in the requests.
    thread::spawn(move || {
        for answer in answers {
            let _ = sender.send(request(&listener.accept().unwrap().0, answer));
        }
    });
    let token = tempfile::NamedTempFile::new().unwrap();
    fs::write(token.path(), "token").unwrap();
    let place = ["--url", &url, "--token-file", token.path().to_str().unwrap()];
    let ended = Gmqtt::start(&[&["admin"], arguments, &place].concat()).ended();
    (ended, requests.try_iter().collect())
}

fn request(mut socket: &TcpStream, answer: &str) -> String {
    socket.set_read_timeout(Some(STUCK)).unwrap();
    let mut reader = BufReader::new(socket);
    let head: Vec<String> =
        (&mut reader).lines().map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
    let len = head
        .iter()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |len| len.parse().unwrap());
    let mut body = vec![0; len];
    reader.read_exact(&mut body).unwrap();
    let len = answer.len();
    write!(socket, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n{answer}").unwrap();
    format!("{} {}", head[0], String::from_utf8(body).unwrap())
}
