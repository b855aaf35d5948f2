//! The dashboard: files out of the binary, served as they are. What it shows it asks of the API, like everybody else.
//!
//! The files hold no secret, so they need no token; the page asks its user for one. They are in `assets/`, plain HTML, CSS
//! and ES modules: nothing builds them. A debug build reads them from the sources at each request.

use std::fmt::Write;

use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::{
    admin::{Admin, WebSocketPlace},
    problem::Problem,
};

#[derive(RustEmbed)]
#[folder = "assets/"]
struct Assets;

/// The page may load from here alone, and run no script that is not a file of ours: a topic or a client identifier that
/// looks like markup stays text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'; connect-src 'self'";

pub(crate) fn router() -> Router<Admin> {
    Router::new().route("/", get(index)).route("/assets/{*path}", get(asset))
}

async fn index(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    serve("index.html", &admin, &headers)
}

async fn asset(State(admin): State<Admin>, Path(path): Path<String>, headers: HeaderMap) -> Response {
    serve(&path, &admin, &headers)
}

/// One of the files.
pub(crate) fn serve(path: &str, admin: &Admin, request: &HeaderMap) -> Response {
    let Some(file) = Assets::get(path) else {
        return Problem::not_found("there is no such file").into_response();
    };
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(file.metadata.sha256_hash()));
    let known = request.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let policy = policy(&admin.shared().options.websockets, request);
    // Kept, but asked for each time: after an update of the broker nobody runs half of an old page.
    let headers: [(HeaderName, &str); 4] = [
        (header::CACHE_CONTROL, "no-cache"),
        (header::ETAG, &tag),
        (header::CONTENT_SECURITY_POLICY, &policy),
        (header::CONTENT_TYPE, kind_of(path)),
    ];
    if known {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let EmbeddedFile { data, .. } = file;
    (headers, Body::from(data.into_owned())).into_response()
}

/// The page may also connect to the broker's own WebSocket listeners, on the host that it came from and no other.
fn policy(websockets: &[WebSocketPlace], request: &HeaderMap) -> String {
    let mut policy = POLICY.to_owned();
    let host = request.get(header::HOST).and_then(|host| host.to_str().ok()).and_then(host_of);
    for WebSocketPlace { port, secure, .. } in websockets {
        if let Some(host) = host {
            let scheme = if *secure { "wss" } else { "ws" };
            let _ = write!(policy, " {scheme}://{host}:{port}"); // A string takes everything.
        }
    }
    policy
}

/// Without the port; `None` if it is no host at all: what stands there becomes a part of the policy.
fn host_of(header: &str) -> Option<&str> {
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let host = match header.rsplit_once(':') {
        Some((host, port)) if is_port(port) => host,
        _ => header,
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    (!bare.is_empty() && bare.bytes().all(is_plain)).then_some(host)
}

fn kind_of(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    /// As much as a slow line brings in a moment.
    const LARGEST: usize = 300 * 1024;

    #[test]
    fn all_files_together_are_small() {
        let mut total = 0;
        for path in Assets::iter() {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
            gzip.write_all(&Assets::get(&path).unwrap().data).unwrap();
            total += gzip.finish().unwrap().len();
            assert_ne!(
                kind_of(&path),
                "application/octet-stream",
                "{path}: browsers take no file of an unknown kind"
            );
        }
        println!("dashboard: {total} bytes compressed");
        assert!(total < LARGEST, "{total} bytes, compressed");
    }

    #[test]
    fn a_policy_holds_no_more_of_a_request_than_its_host() {
        let hosts = ["b:1", "127.0.0.1:18083", "[::1]:18083", "my-host.example", "[::1]"];
        assert_eq!(
            hosts.map(host_of),
            [Some("b"), Some("127.0.0.1"), Some("[::1]"), Some("my-host.example"), Some("[::1]")]
        );
        for wrong in ["", ":80", "a b", "a;script-src *", "*", "*:80", "a,b", "[]:80"] {
            assert_eq!(host_of(wrong), None, "{wrong}");
        }
        let mut request = HeaderMap::new();
        let places = [WebSocketPlace { port: 8083, secure: false, path: "/mqtt".into() }];
        assert!(policy(&places, &request).ends_with("connect-src 'self'"));
        request.insert(header::HOST, "broker:18083".parse().unwrap());
        assert!(policy(&places, &request).ends_with("connect-src 'self' ws://broker:8083"));
        assert!(policy(&[], &request).ends_with("connect-src 'self'"));
    }

    /// All that a page refers to is among the files, and nothing is of another host.
    #[test]
    fn no_file_needs_another_host() {
        for path in Assets::iter() {
            let file = Assets::get(&path).unwrap();
            let text = std::str::from_utf8(&file.data).unwrap();
            let allowed = text.replace("http://www.w3.org/2000/svg", ""); // The name of a namespace.
            for wrong in
                ["http://", "https://", "//cdn", "innerHTML", "insertAdjacentHTML", "document.write", "eval("]
            {
                assert!(!allowed.contains(wrong), "{path} has {wrong:?}");
            }
            for (_, rest) in text.match_indices("from \"").map(|(at, what)| (at, &text[at + what.len()..])) {
                let target = rest.split('"').next().unwrap();
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                let name = match target.strip_prefix("../") {
                    Some(name) => name.to_owned(),
                    None if folder.is_empty() => target.trim_start_matches("./").to_owned(),
                    None => format!("{folder}/{}", target.trim_start_matches("./")),
                };
                assert!(Assets::get(&name).is_some(), "{path} imports {target}");
            }
        }
    }
}
