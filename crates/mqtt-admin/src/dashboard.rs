//! The dashboard: files out of the binary, served as they are. What it shows it asks of the API, like everybody else.
//!
//! The files hold no secret, so they need no token; the page asks its user for one. They are in `assets/`, plain HTML, CSS
//! and ES modules: nothing builds them. A debug build reads them from the sources at each request.

use axum::{
    Router,
    body::Body,
    extract::Path,
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::problem::Problem;

#[derive(RustEmbed)]
#[folder = "assets/"]
struct Assets;

/// The page may load from here alone, and run no script that is not a file of ours: a topic or a client identifier that
/// looks like markup stays text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

pub(crate) fn router() -> Router {
    Router::new().route("/", get(async |headers: HeaderMap| serve("index.html", &headers))).route(
        "/assets/{*path}",
        get(async |Path(path): Path<String>, headers: HeaderMap| serve(&path, &headers)),
    )
}

fn serve(path: &str, request: &HeaderMap) -> Response {
    let Some(file) = Assets::get(path) else {
        return Problem::not_found("there is no such file").into_response();
    };
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(file.metadata.sha256_hash()));
    let known = request.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    // Kept, but asked for each time: after an update of the broker nobody runs half of an old page.
    let headers: [(HeaderName, &str); 4] = [
        (header::CACHE_CONTROL, "no-cache"),
        (header::ETAG, &tag),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CONTENT_TYPE, kind_of(path)),
    ];
    if known {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let EmbeddedFile { data, .. } = file;
    (headers, Body::from(data.into_owned())).into_response()
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
    use std::io::Write;

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
