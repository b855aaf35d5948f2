//! The HTTP API of a broker: what an operator looks at, and what he does.
//!
//! [`Admin`] serves it on a listener: JSON under `/api/v1`, its description at `/api/openapi.json`, metrics at `/metrics`,
//! `/livez` and `/readyz`, and at `/` a dashboard that shows all this in a browser. It reads the broker's public snapshots and
//! calls its public API, no more; what only the program around the broker can do (reload its configuration, back up its store)
//! comes in through [`Operations`].
//!
//! Every request but for those that ask whether the process lives shows a bearer token: see [`Tokens`].
//!
//! ```
//! use mqtt_admin::{Admin, AdminOptions, Role, Token, Tokens};
//! use mqtt_broker::Broker;
//! use tokio::net::TcpListener;
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = Broker::builder().build();
//! let (token, mut tokens) = (Token::generate()?, Tokens::new());
//! tokens.add("me", Role::Write, token.secret())?;
//! let admin = Admin::new(broker, tokens, (), AdminOptions::default());
//!
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! println!("http://{}/#token={}", listener.local_addr()?, token.secret());
//! let stop = CancellationToken::new();
//! # stop.cancel();
//! admin.serve(listener, stop).await;
//! # Ok(())
//! # }
//! ```

mod admin;
mod api;
mod auth;
mod clock;
mod dashboard;
mod events;
mod history;
mod input;
mod list;
mod metrics;
mod operations;
mod problem;
mod process;
mod server;

pub use self::{
    admin::{Admin, AdminOptions, WebSocketPlace},
    auth::{Role, Token, TokenError, Tokens},
    events::ClientEvents,
    operations::{OperationError, Operations},
};

/// The description of the API in the OpenAPI format, as JSON.
pub fn openapi_json() -> &'static str {
    include_str!("../openapi.json")
}
