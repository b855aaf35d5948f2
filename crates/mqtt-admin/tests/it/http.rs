//! A client for HTTP that sends what the test says, one request a connection.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Nothing here takes so long: whatever does is stuck.
pub(crate) const STUCK: Duration = Duration::from_mins(1);

/// Requests to one server, all with the same token.
#[derive(Clone, Copy)]
pub(crate) struct Http<'a> {
    address: SocketAddr,
    token: Option<&'a str>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl<'a> Http<'a> {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, token: None }
    }

    pub(crate) fn token(self, token: &'a str) -> Self {
        Self { token: Some(token), ..self }
    }

    pub(crate) async fn get(self, path: &str) -> Answer {
        self.request("GET", path, "", "").await
    }

    pub(crate) async fn delete(self, path: &str) -> Answer {
        self.request("DELETE", path, "", "").await
    }

    pub(crate) async fn post(self, path: &str, json: &Value) -> Answer {
        self.request("POST", path, "application/json", &json.to_string()).await
    }

    pub(crate) async fn put(self, path: &str, json: &Value) -> Answer {
        self.request("PUT", path, "application/json", &json.to_string()).await
    }

    pub(crate) async fn form(self, path: &str, form: &str) -> Answer {
        self.request("POST", path, "application/x-www-form-urlencoded", form).await
    }

    pub(crate) async fn request(self, method: &str, path: &str, kind: &str, body: &str) -> Answer {
        let mut socket = self.begin(method, path, kind, body).await;
        let mut answer = Vec::new();
        timeout(STUCK, socket.read_to_end(&mut answer)).await.expect("an answer").expect("the whole answer");
        Answer::parse(&String::from_utf8(answer).expect("text"))
    }

    /// The request sent; the answer is the caller's to read.
    pub(crate) async fn begin(self, method: &str, path: &str, kind: &str, body: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.address).await.expect("the API listens");
        let token = self.token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let length = if kind.is_empty() {
            String::new()
        } else {
            format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len())
        };
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{token}{length}");
        socket.write_all(format!("{head}\r\n{body}").as_bytes()).await.expect("the API reads");
        socket
    }
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Self { status, head: head.to_ascii_lowercase(), body: unchunked(head, body) }
    }

    /// The body, of an answer that is what it should be.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The sentence of a problem with this status.
    pub(crate) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.head.contains("content-type: application/problem+json"), "{self:?}");
        let problem: Value = serde_json::from_str(&self.body).expect("JSON");
        assert_eq!(problem["status"], status);
        problem["detail"].as_str().expect("a sentence").to_owned()
    }
}

fn unchunked(head: &str, body: &str) -> String {
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return body.to_owned();
    }
    let (mut rest, mut whole) = (body, String::new());
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("the size of a chunk");
        whole += after.get(..size).expect("a whole chunk");
        rest = after.get(size + 2..).unwrap_or_default();
    }
    whole
}
