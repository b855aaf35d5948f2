//! [`ApiClient`]: what `gmqtt admin` and `gmqtt top` ask of a running broker, over its HTTP API.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use reqwest::{Certificate, Client, Method, RequestBuilder, Response, StatusCode, Url, header};
use serde_json::Value;

use crate::{exit::Ending, serve};

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "The broker's HTTP API")]
pub(crate) struct ApiArguments {
    /// Where it is
    #[arg(
        long,
        value_name = "URL",
        env = "GMQTT_API",
        default_value = "http://127.0.0.1:18083",
        global = true
    )]
    url: Url,

    /// A file that holds the token; the variable `GMQTT_TOKEN` may hold it too
    /// [default: DATA_DIR/admin-token]
    #[arg(long, value_name = "FILE", env = "GMQTT_TOKEN_FILE", global = true)]
    token_file: Option<PathBuf>,

    /// The broker's data directory, where its token is [default: as gmqtt serve has it]
    #[arg(long, value_name = "DIR", env = "GMQTT_DATA_DIR", global = true)]
    data_dir: Option<PathBuf>,

    /// Over https, trust certificates of these authorities too (PEM)
    #[arg(long, value_name = "FILE", env = "GMQTT_API_CA", global = true)]
    ca_file: Option<PathBuf>,
}

/// Requests with a token.
#[derive(Clone)]
pub(crate) struct ApiClient {
    http: Client,
    url: Url,
    token: String,
}

/// Names and values of a query.
pub(crate) type Query<'a> = &'a [(&'a str, String)];

const CONNECT_TIME: Duration = Duration::from_secs(5);
const ANSWER_TIME: Duration = Duration::from_secs(40);
/// A broker gives a backup an hour.
const BACKUP_TIME: Duration = Duration::from_mins(61);
/// More than a broker ever sends as one event: topics and payloads of 2 MiB, and JSON around them.
const LARGEST_EVENT: usize = 16 * 1024 * 1024;
const TOKEN_FILE: &str = "admin-token";

impl ApiArguments {
    /// The machine that it is on.
    pub(crate) fn host(&self) -> &str {
        self.url.host_str().unwrap_or("localhost")
    }

    pub(crate) fn client(&self) -> anyhow::Result<ApiClient> {
        Ok(ApiClient { http: self.http()?, url: self.url.clone(), token: self.token()? })
    }

    /// Whether the broker serves; an error says why not. This takes no token.
    pub(crate) async fn ready(&self) -> anyhow::Result<()> {
        let client = ApiClient { http: self.http()?, url: self.url.clone(), token: String::new() };
        let url = client.below(&["readyz"])?;
        client.send(client.http.get(url).timeout(CONNECT_TIME)).await.map(drop)
    }

    fn http(&self) -> anyhow::Result<Client> {
        let mut http = Client::builder()
            .connect_timeout(CONNECT_TIME)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if let Some(file) = &self.ca_file {
            http = http.tls_certs_merge(authorities(file)?);
        }
        http.build().context("cannot speak HTTP")
    }

    fn token(&self) -> anyhow::Result<String> {
        if let Ok(token) = env::var("GMQTT_TOKEN")
            && self.token_file.is_none()
        {
            return Ok(token.trim().to_owned());
        }
        let of_data_dir = || {
            let directory = self.data_dir.clone().or_else(serve::default_data_dir);
            directory.map(|directory| directory.join(TOKEN_FILE))
        };
        let Some(file) = self.token_file.clone().or_else(of_data_dir) else {
            let missing = "no token for the API: name its file with --token-file";
            return Err(Ending::Usage(missing.into()).into());
        };
        read_token(&file)
    }
}

fn authorities(file: &Path) -> anyhow::Result<Vec<Certificate>> {
    let pem = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let all = Certificate::from_pem_bundle(&pem)
        .with_context(|| format!("{} holds no certificate", file.display()))?;
    if all.is_empty() {
        bail!("{} holds no certificate", file.display());
    }
    Ok(all)
}

fn read_token(file: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(file).with_context(|| {
        format!(
            "no token for the API in {} (is this the data directory of the broker, and may you read it? \
             --data-dir and --token-file name others)",
            file.display()
        )
    })?;
    Ok(text.trim().to_owned())
}

impl ApiClient {
    /// Where it asks.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// `path` is what follows `/api/v1`, segment by segment; each may be any text.
    pub(crate) async fn get(&self, path: &[&str], query: Query<'_>) -> anyhow::Result<Value> {
        self.ask(self.question(Method::GET, path, query)?).await
    }

    pub(crate) async fn delete(&self, path: &[&str], query: Query<'_>) -> anyhow::Result<Value> {
        self.ask(self.question(Method::DELETE, path, query)?).await
    }

    pub(crate) async fn post(&self, path: &[&str], body: &Value) -> anyhow::Result<Value> {
        self.ask(with_body(self.question(Method::POST, path, &[])?, body)).await
    }

    pub(crate) async fn put(&self, path: &[&str], body: &Value) -> anyhow::Result<Value> {
        self.ask(with_body(self.question(Method::PUT, path, &[])?, body)).await
    }

    /// All items of a list, up to a number; a page at a time.
    pub(crate) async fn list(
        &self,
        path: &[&str],
        query: Query<'_>,
        limit: usize,
    ) -> anyhow::Result<Vec<Value>> {
        let (items, end) = self.pages(path, query, limit, ["per-page", "cursor", "next_cursor"]).await;
        end.map(|()| items)
    }

    /// The same, where the next page begins behind a topic. That may be longer than a request: what came before is handed out then,
    /// and why there is no more.
    pub(crate) async fn list_by_topic(
        &self,
        path: &[&str],
        query: Query<'_>,
        limit: usize,
    ) -> (Vec<Value>, anyhow::Result<()>) {
        self.pages(path, query, limit, ["limit", "after", "next_after"]).await
    }

    /// The names: of a page's size, of where it begins, and of where the next one does.
    async fn pages(
        &self,
        path: &[&str],
        query: Query<'_>,
        limit: usize,
        [size, from, next]: [&str; 3],
    ) -> (Vec<Value>, anyhow::Result<()>) {
        let (mut items, mut cursor) = (Vec::new(), None::<String>);
        while items.len() < limit {
            let mut query = query.to_vec();
            query.push((size, (limit - items.len()).min(1_000).to_string()));
            query.extend(cursor.map(|cursor| (from, cursor)));
            let mut page = match self.get(path, &query).await {
                Ok(page) => page,
                Err(error) => return (items, Err(error)),
            };
            if let Some(Value::Array(list)) = page.get_mut("list").map(Value::take) {
                items.extend(list);
            }
            cursor = page.get(next).and_then(Value::as_str).map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        (items, Ok(()))
    }

    /// Server-sent events, until they end or `each` has had enough.
    pub(crate) async fn events(
        &self,
        path: &[&str],
        query: Query<'_>,
        mut each: impl FnMut(Value) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut response = self.send(self.request(Method::GET, path, query)?).await?;
        let mut rest = Vec::new();
        while let Some(chunk) = response.chunk().await.context("the stream broke off")? {
            rest.extend_from_slice(&chunk);
            while let Some(end) = rest.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = rest.drain(..end + 2).collect();
                if let Some(data) = data_of(&String::from_utf8_lossy(&event)) {
                    each(serde_json::from_str(&data).context("the broker sent what is no JSON")?)?;
                }
            }
            if rest.len() > LARGEST_EVENT {
                bail!("the broker sent an event without an end");
            }
        }
        Ok(())
    }

    /// A request whose answer is waited for so long, and no longer.
    fn question(&self, method: Method, path: &[&str], query: Query<'_>) -> anyhow::Result<RequestBuilder> {
        let time = if path == ["backup"] { BACKUP_TIME } else { ANSWER_TIME };
        Ok(self.request(method, path, query)?.timeout(time))
    }

    fn request(&self, method: Method, path: &[&str], query: Query<'_>) -> anyhow::Result<RequestBuilder> {
        let mut url = self.below(&[&["api", "v1"], path].concat())?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(self.http.request(method, url).bearer_auth(&self.token))
    }

    /// A name that a URL would drop, or a part of it, goes into the query, and `-` into its place.
    fn below(&self, path: &[&str]) -> anyhow::Result<Url> {
        let is_dropped = |name: &str| matches!(name, "." | "..") || name.contains(['\t', '\n', '\r']);
        let mut url = self.url.clone();
        let no_base = || Ending::Usage(format!("{} is no place where an API can be", self.url));
        let segments = path.iter().map(|&name| if is_dropped(name) { "-" } else { name });
        url.path_segments_mut().map_err(|()| no_base())?.pop_if_empty().extend(segments);
        if let Some(name) = path.iter().find(|name| is_dropped(name)) {
            url.query_pairs_mut().append_pair("client_id", name);
        }
        Ok(url)
    }

    async fn ask(&self, request: RequestBuilder) -> anyhow::Result<Value> {
        let text = self.send(request).await?.text().await.context("half an answer")?;
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).with_context(|| format!("{} is no API of gmqtt: no JSON came", self.url))
    }

    /// An answer that says that it was done; else its problem as an error.
    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let problem: Option<Value> =
            response.text().await.ok().and_then(|text| serde_json::from_str(&text).ok());
        let detail = problem.as_ref().and_then(|problem| problem.get("detail")?.as_str());
        match (status, detail) {
            (StatusCode::UNAUTHORIZED, Some(detail)) => {
                Err(anyhow!("{detail}: --token-file, or GMQTT_TOKEN"))
            }
            (_, Some(detail)) => Err(anyhow!("{detail}")),
            (_, None) => Err(anyhow!("{} answered {status}: is it the API of gmqtt?", self.url)),
        }
    }

    fn unreachable(&self, error: reqwest::Error) -> anyhow::Error {
        let advice =
            if error.is_connect() { " (does a gmqtt run there? --url names another place)" } else { "" };
        anyhow::Error::new(error.without_url()).context(format!("cannot ask {}{advice}", self.url))
    }
}

fn with_body(request: RequestBuilder, body: &Value) -> RequestBuilder {
    request.header(header::CONTENT_TYPE, "application/json").body(body.to_string())
}

fn data_of(event: &str) -> Option<String> {
    let lines = event.lines().filter_map(|line| line.strip_prefix("data:"));
    let lines: Vec<&str> = lines.map(|data| data.strip_prefix(' ').unwrap_or(data)).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_segment_of_the_path_whatever_is_in_it() {
        let url: Url = "http://127.0.0.1:1/behind/".parse().unwrap();
        let client = ApiClient { http: Client::new(), url, token: "t".into() };
        let request =
            client.request(Method::GET, &["client", "a/b?c#d%"], &[("sort", "x&y".into())]).unwrap();
        let request = request.build().unwrap();
        assert_eq!(
            request.url().as_str(),
            "http://127.0.0.1:1/behind/api/v1/client/a%2Fb%3Fc%23d%25?sort=x%26y"
        );
        assert_eq!(request.headers()["authorization"], "Bearer t");
    }

    #[test]
    fn a_name_that_no_path_can_have_is_in_the_query() {
        let client =
            ApiClient { http: Client::new(), url: "http://127.0.0.1:1".parse().unwrap(), token: "t".into() };
        for (name, spelled) in [(".", "."), ("..", ".."), ("a\tb\r\n", "a%09b%0D%0A")] {
            let request = client.request(Method::GET, &["session", name, "queue"], &[("limit", "9".into())]);
            assert_eq!(
                request.unwrap().build().unwrap().url().as_str(),
                format!("http://127.0.0.1:1/api/v1/session/-/queue?client_id={spelled}&limit=9")
            );
        }
        let dots = client.request(Method::GET, &["client", "..."], &[]).unwrap().build().unwrap();
        assert_eq!(dots.url().as_str(), "http://127.0.0.1:1/api/v1/client/...");
    }

    #[test]
    fn a_backup_may_take_as_long_as_the_broker_lets_it() {
        let client =
            ApiClient { http: Client::new(), url: "http://127.0.0.1:1".parse().unwrap(), token: "t".into() };
        let time = |path: &[&str]| {
            let question = client.question(Method::POST, path, &[]).unwrap().build().unwrap();
            question.timeout().copied().unwrap()
        };
        assert!(time(&["backup"]) > Duration::from_hours(1), "{:?}", time(&["backup"]));
        assert!(time(&["reload"]) < Duration::from_mins(1));
    }

    #[test]
    fn the_data_of_an_event_is_taken_out_of_it() {
        assert_eq!(data_of("event: x\ndata: {\"a\":\ndata: 1}\n\n").as_deref(), Some("{\"a\":\n1}"));
        assert_eq!(data_of(": a comment\n\n"), None);
    }
}
