//! Paths and origins as browsers send them.

/// The path of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WebPath(pub(crate) String);

/// Where a page in a browser is from, as the browser says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WebOrigin(pub(crate) String);

pub(super) fn web_path(text: &str) -> Result<WebPath, String> {
    let is_path = text.starts_with('/') && is_part_of_url(text, b"?#");
    if is_path {
        Ok(WebPath(text.to_owned()))
    } else {
        Err(format!(
            "names `{text}`, and a path begins with `/`, is spelled as in a URL, and ends before `?`"
        ))
    }
}

pub(crate) fn web_origin(text: &str) -> Result<WebOrigin, String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let can_be_sent = match scheme.to_ascii_lowercase().as_str() {
        "" => text == "null",
        // What opens the connection, and not where the page is from.
        "ws" | "wss" => false,
        "http" => !rest.is_empty() && !rest.ends_with(":80"),
        "https" => !rest.is_empty() && !rest.ends_with(":443"),
        _ => true,
    };
    if can_be_sent && is_part_of_url(rest, b"/?#@*") && !rest.contains(":0") {
        Ok(WebOrigin(text.to_owned()))
    } else {
        Err(format!(
            "names `{text}`, and a page has to be named as browsers do it: https://example.org, without a path, and \
             with a port only if it is another than the usual one"
        ))
    }
}

fn is_part_of_url(text: &str, ends: &[u8]) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() && !ends.contains(&byte))
}
