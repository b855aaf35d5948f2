//! [`Server`]: the web server that is asked. One question at a time for each turn, each within its time, each answer of a
//! bounded size.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use reqwest::{
    Certificate, Client, Response, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
    redirect::Policy,
};
use tokio::time::timeout;

use super::{HttpError, HttpOptions, question::Answer};
use crate::{authorize::CannotTell, turns::Turns};

/// A longer answer is none.
const LONGEST_ANSWER: usize = 64 * 1024;
/// How often a server's failures are worth a line.
const BETWEEN_COMPLAINTS: Duration = Duration::from_secs(1);

pub(super) struct Server {
    url: Url,
    client: Client,
    turns: Turns,
    time_limit: Duration,
    last_complaint: Mutex<Option<Instant>>,
    /// Failures since then.
    left_out: AtomicU64,
}

/// Why there is no answer.
enum Failure {
    TooManyWait,
    TookTooLong,
    Http(reqwest::Error),
    Status(StatusCode),
    TooLong,
    Wrong(String),
}

impl Server {
    pub(super) fn new(url: &str, options: &HttpOptions) -> Result<Self, HttpError> {
        Ok(Self {
            url: check_url(url)?,
            client: client(options)?,
            turns: Turns::new(options.max_concurrent.get()),
            time_limit: options.timeout,
            last_complaint: Mutex::new(None),
            left_out: AtomicU64::new(0),
        })
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Asks, in its turn; what is wrong is said in the log.
    pub(super) async fn ask(&self, question: String) -> Result<Answer, CannotTell> {
        let answer = timeout(self.time_limit, self.ask_in_turn(question)).await;
        answer.unwrap_or(Err(Failure::TookTooLong)).map_err(|failure| {
            self.complain(&failure);
            CannotTell
        })
    }

    async fn ask_in_turn(&self, question: String) -> Result<Answer, Failure> {
        let _turn = self.turns.take().await.ok_or(Failure::TooManyWait)?;
        let request = self.client.post(self.url.clone()).body(question);
        let response = request.send().await?;
        if response.status() != StatusCode::OK {
            return Err(Failure::Status(response.status()));
        }
        Answer::parse(&body(response).await?).map_err(Failure::Wrong)
    }

    /// Clients make it happen, and must not fill the log.
    fn complain(&self, failure: &Failure) {
        let now = Instant::now();
        let mut last = self.last_complaint.lock();
        if last.is_some_and(|last| now.saturating_duration_since(last) < BETWEEN_COMPLAINTS) {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return;
        }
        *last = Some(now);
        drop(last);
        let left_out = self.left_out.swap(0, Ordering::Relaxed);
        tracing::warn!(url = %self.url, left_out, "refused, because nobody could tell: {failure}");
    }
}

async fn body(mut response: Response) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > LONGEST_ANSWER {
            return Err(Failure::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// It goes wherever the operator says and nowhere else: by no proxy of the environment, and not where an answer points.
fn client(options: &HttpOptions) -> Result<Client, HttpError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(token) = &options.bearer_token {
        let value = HeaderValue::try_from(format!("Bearer {token}"));
        let mut value = value.map_err(|_| HttpError::BearerToken)?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let mut client = Client::builder()
        .default_headers(headers)
        .redirect(Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(options.max_concurrent.get());
    if let Some(pem) = &options.authorities {
        let authorities = Certificate::from_pem_bundle(pem).map_err(HttpError::tls)?;
        if authorities.is_empty() {
            return Err(HttpError::Tls("no certificate in it".into()));
        }
        client = client.tls_certs_only(authorities);
    }
    client.build().map_err(HttpError::tls)
}

pub(super) fn check_url(text: &str) -> Result<Url, HttpError> {
    let url = Url::parse(text).map_err(|error| HttpError::Url(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(HttpError::Url("it has to begin with http:// or https://".into()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(HttpError::Url(
            "it holds a password, which would stand in logs; use a bearer token".into(),
        ));
    }
    Ok(url)
}

impl HttpError {
    fn tls(error: reqwest::Error) -> Self {
        Self::Tls(error.to_string())
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        Self::Http(error.without_url())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyWait => f.write_str("too many questions wait for an answer"),
            Self::TookTooLong => f.write_str("no answer in time"),
            Self::Http(error) => write!(f, "{error}"),
            Self::Status(status) => write!(f, "the answer is {status}, and has to be 200"),
            Self::TooLong => write!(f, "the answer is longer than {LONGEST_ANSWER} bytes"),
            Self::Wrong(what) => f.write_str(what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_cannot_be_asked_are_refused() {
        assert!(
            check_url("http://127.0.0.1:8080/mqtt?site=1").is_ok() && check_url("https://a.example").is_ok()
        );
        for bad in ["", "a.example", "ftp://a.example", "http://", "http://anna:secret@a.example/"] {
            let error = check_url(bad).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
