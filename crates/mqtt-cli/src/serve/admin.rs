//! The HTTP API of the broker: where it is served, and for the bearers of which tokens.

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, IsTerminal, Write},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context, anyhow};
use mqtt_admin::{Admin, AdminOptions, ClientEvents, Role, Token, Tokens, WebSocketPlace};
use mqtt_broker::{Broker, Tls, TlsOptions};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{operations::Program, say};

/// Where the API is, and who may use it.
#[derive(Clone, Debug)]
pub(crate) struct AdminSettings {
    /// 127.0.0.1:18083 if nobody names one, and if that is free.
    pub(crate) address: Option<AdminAddress>,
    /// One token for everything, in the data directory, if nobody names a file.
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) data_dir: Option<PathBuf>,
    /// Plain HTTP without.
    pub(crate) tls: Option<TlsOptions>,
}

/// What the API is started with.
pub(super) struct Parts {
    /// What it knows of clients' past.
    pub(super) events: ClientEvents,
    /// For the dashboard's console.
    pub(super) websockets: Vec<WebSocketPlace>,
    /// Those of the file that is named.
    pub(super) tokens: Option<Tokens>,
    pub(super) tls: Option<Tls>,
    pub(super) program: Program,
}

/// Where the API is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AdminAddress {
    Off,
    Socket(SocketAddr),
}

/// Beyond this machine the token would go over the network for all to read.
const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 18_083);
/// In the data directory.
const TOKEN_FILE: &str = "admin-token";

impl FromStr for AdminAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::Socket).map_err(|_| "write it like 127.0.0.1:18083 or [::1]:18083, or: off")
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Socket(address) => address.fmt(f),
        }
    }
}

impl AdminSettings {
    /// Starts the API, and says where it is.
    pub(super) async fn start(
        &self,
        broker: &Broker,
        parts: Parts,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let Parts { events, websockets, tokens, tls, program } = parts;
        let Some(listener) = self.listener().await? else { return Ok(()) };
        let Some(tokens) = self.tokens(tokens)? else {
            tracing::warn!(
                "no HTTP API: there is no place for its token; name one: --data-dir or --admin-token-file"
            );
            return Ok(());
        };
        let address = listener.local_addr().context("the HTTP API")?;
        let mut options = AdminOptions::default();
        options.events = Some(events);
        options.websockets = websockets;
        let reloader = program.reloader.clone();
        let admin = Admin::new(broker.clone(), tokens, program, options);
        reloader.serves(&admin);
        let scheme = if tls.is_some() { "https" } else { "http" };
        if tls.is_none() && !address.ip().is_loopback() {
            tracing::warn!(
                "the HTTP API on {address} is without TLS: whoever sees the network's traffic sees its tokens; add \
                 --admin-certificate and --admin-private-key"
            );
        }
        tokio::spawn(async move {
            match tls {
                Some(tls) => admin.serve_tls(listener, tls, stop).await,
                None => admin.serve(listener, stop).await,
            }
        });
        let kept_in = self.token_file.clone().or_else(|| self.own_token_file()).unwrap_or_default();
        say(&format!("dashboard and HTTP API on {scheme}://{address}/ (token in {})", kept_in.display()));
        self.say_how_to_log_in(scheme, address, &kept_in);
        Ok(())
    }

    /// At a terminal alone: a log, and whoever collects it, is no place for a token.
    fn say_how_to_log_in(&self, scheme: &str, address: SocketAddr, kept_in: &Path) {
        if self.token_file.is_none()
            && io::stdout().is_terminal()
            && let Ok(token) = fs::read_to_string(kept_in)
        {
            say(&format!("log in: {scheme}://{address}/#token={}", token.trim()));
        }
    }

    /// A second broker on this machine starts without an API rather than not at all, unless it was told where to serve it.
    async fn listener(&self) -> anyhow::Result<Option<TcpListener>> {
        let address = match self.address {
            Some(AdminAddress::Off) => return Ok(None),
            Some(AdminAddress::Socket(address)) => address,
            None => DEFAULT,
        };
        match TcpListener::bind(address).await {
            Ok(listener) => Ok(Some(listener)),
            Err(error) if self.address.is_none() => {
                tracing::warn!(
                    %error,
                    "no HTTP API: cannot listen on {address}; take another port: --admin 127.0.0.1:0, or none: --admin off"
                );
                Ok(None)
            }
            Err(error) => {
                Err(anyhow!("cannot serve the HTTP API on {address}: {error}; name another: --admin ADDRESS"))
            }
        }
    }

    /// Those of the file that is named, or else the API's own token; `None` if there is no place for that.
    pub(super) fn tokens(&self, of_the_file: Option<Tokens>) -> anyhow::Result<Option<Tokens>> {
        of_the_file.map_or_else(|| self.own_token(), |tokens| Ok(Some(tokens)))
    }

    /// The token that is kept for this machine's operator, made at the first time; `None` if there is no place for it.
    fn own_token(&self) -> anyhow::Result<Option<Tokens>> {
        let Some(file) = self.own_token_file() else { return Ok(None) };
        let secret =
            read_or_make(&file).with_context(|| format!("the token of the HTTP API, {}", file.display()))?;
        let mut tokens = Tokens::new();
        tokens
            .add("admin-token", Role::Write, &secret)
            .with_context(|| format!("{}: delete it", file.display()))?;
        Ok(Some(tokens))
    }

    fn own_token_file(&self) -> Option<PathBuf> {
        self.data_dir.as_ref().map(|directory| directory.join(TOKEN_FILE))
    }
}

/// The token of an earlier start, or a new one that its owner alone can read.
fn read_or_make(file: &Path) -> anyhow::Result<String> {
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    let token = Token::generate()?;
    match private(OpenOptions::new().write(true).create_new(true)).open(file) {
        Ok(mut new) => {
            writeln!(new, "{}", token.secret())?;
            new.sync_all()?;
            Ok(token.secret().to_owned())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Ok(fs::read_to_string(file)?.trim().to_owned())
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;

    options.mode(0o600)
}

#[cfg(not(unix))]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        assert_eq!("off".parse(), Ok(AdminAddress::Off));
        assert_eq!("127.0.0.1:18083".parse(), Ok(AdminAddress::Socket(DEFAULT)));
        for wrong in ["", "on", "18083", "localhost"] {
            assert!(wrong.parse::<AdminAddress>().is_err(), "{wrong}");
        }
    }
}
