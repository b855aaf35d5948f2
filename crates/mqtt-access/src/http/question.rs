//! What a server is asked, and what it may answer: JSON. `docs/access.md` describes both.

use std::time::Duration;

use mqtt_broker::{ClientInfo, ConnectRequest, Peer};
use serde::Deserialize;
use serde_json::json;

use crate::acl::{Acl, Act};

/// A server cannot bring more lines of an access list than this.
const MOST_LINES: usize = 1_000;

/// What a server says.
#[derive(Debug)]
pub(super) enum Answer {
    /// It does not know: the next one is asked.
    Ignore,
    Deny,
    Allow(Allowed),
}

/// What it may say of a client that it lets in.
#[derive(Debug)]
pub(super) struct Allowed {
    pub(super) user_name: Option<String>,
    pub(super) acl: Option<Acl>,
    pub(super) expires_in: Option<Duration>,
}

/// As it is written.
#[derive(Deserialize)]
struct Written {
    result: Word,
    user_name: Option<String>,
    acl: Option<Vec<String>>,
    expires_in_secs: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Allow,
    Deny,
    Ignore,
}

impl Answer {
    /// Anything that is not as it should be is no answer.
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        let written: Written = serde_json::from_slice(body).map_err(|error| format!("no answer: {error}"))?;
        let Written { result, user_name, acl, expires_in_secs } = written;
        match result {
            Word::Ignore => Ok(Self::Ignore),
            Word::Deny => Ok(Self::Deny),
            Word::Allow if user_name.as_deref() == Some("") => Err("an empty user name".into()),
            Word::Allow => Ok(Self::Allow(Allowed {
                user_name,
                acl: acl.map(rights).transpose()?,
                expires_in: expires_in_secs.map(Duration::from_secs),
            })),
        }
    }
}

/// `None` if the password is no text: then no server knows it.
pub(super) fn connect(request: &ConnectRequest) -> Option<String> {
    let password = request.password.as_deref().map(std::str::from_utf8).transpose().ok()?;
    let client = &request.client;
    let question = json!({
        "action": "connect",
        "client_id": &*client.client_id,
        "user_name": client.user_name.as_deref(),
        "password": password,
        "certificate_user_name": request.certificate_user_name.as_deref(),
        "peer": peer(client),
        "listener": client.listener.as_deref(),
    });
    Some(question.to_string())
}

pub(super) fn act(client: &ClientInfo, act: Act<'_>) -> String {
    let (action, topic, retain) = match act {
        Act::Publish { topic, retain } => ("publish", topic, retain),
        Act::Subscribe { filter } | Act::SubscribeWhole { filter } => ("subscribe", filter, false),
        Act::Receive { topic } => ("receive", topic, false),
    };
    let question = json!({
        "action": action,
        "client_id": &*client.client_id,
        "user_name": client.user_name.as_deref(),
        "peer": peer(client),
        "listener": client.listener.as_deref(),
        "topic": topic,
        "retain": retain,
    });
    question.to_string()
}

/// Without the port: the same client has another one each time, and what was answered is to be remembered.
pub(super) fn peer(client: &ClientInfo) -> String {
    match client.peer {
        Peer::Inet(address) => address.ip().to_string(),
        Peer::Unix { .. } => "unix".into(),
        other => other.to_string(),
    }
}

fn rights(lines: Vec<String>) -> Result<Acl, String> {
    if lines.len() > MOST_LINES {
        return Err(format!("more than {MOST_LINES} lines of rights"));
    }
    Acl::for_one_client(lines.iter().map(String::as_str))
        .map_err(|errors| errors.first().map_or_else(String::new, |error| format!("the rights, {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_answer_is_none() {
        for good in [r#"{"result":"allow"}"#, r#"{"result":"deny","more":[1]}"#, r#" {"result":"ignore"} "#] {
            assert!(Answer::parse(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in [
            "",
            "allow",
            "{}",
            "true",
            r#"["allow"]"#,
            r#"{"result":"Allow"}"#,
            r#"{"result":"yes"}"#,
            r#"{"result":true}"#,
            r#"{"result":"allow"} {"#,
            r#"{"result":"allow","result":"deny"}"#,
            r#"{"result":"allow","user_name":""}"#,
            r#"{"result":"allow","user_name":7}"#,
            r#"{"result":"allow","acl":"topic #"}"#,
            r#"{"result":"allow","acl":["user anna"]}"#,
            r#"{"result":"allow","expires_in_secs":-1}"#,
        ] {
            assert!(Answer::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
