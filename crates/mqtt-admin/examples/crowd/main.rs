//! The HTTP API over a broker inside your own program, with clients that have no socket: connections over a transport that
//! the broker does not know.
//!
//! `cargo run --release -p mqtt-admin --example crowd -- 100000` has so many of them connected beside an ordinary listener,
//! and says where the API is, and its token. `cargo xtask bench scraping --in-process 100000` measures what it costs to
//! look at them.

mod members;

use std::{error::Error, future::pending, io, thread};

use mqtt_admin::{Admin, AdminOptions, ClientEvents, Role, Token, Tokens};
use mqtt_broker::Broker;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Handle},
};
use tokio_util::sync::CancellationToken;

use self::members::Crowd;

fn main() -> Result<(), Box<dyn Error>> {
    let size: usize = std::env::args().nth(1).map_or(Ok(1_000), |size| size.parse())?;
    // As `gmqtt serve` has it: the API is on a thread that serves no client of MQTT.
    Builder::new_current_thread().enable_all().build()?.block_on(serve(size))
}

async fn serve(size: usize) -> Result<(), Box<dyn Error>> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let workers: Vec<Handle> = (0..processors).map(|_| worker()).collect::<io::Result<_>>()?;
    let events = ClientEvents::default();
    let broker = Broker::builder().workers(workers).observer(events.clone()).build();
    let mut crowd = Crowd::new(&broker);
    (0..size).for_each(|number| crowd.join(&format!("crowd/{number:06}"), number));

    println!("listening on {} (tcp)", broker.listen("127.0.0.1:0").await?);
    let (token, mut tokens) = (Token::generate()?, Tokens::new());
    tokens.add("me", Role::Write, token.secret())?;
    let mut options = AdminOptions::default();
    options.events = Some(events);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("HTTP API on http://{}/ (token {})", listener.local_addr()?, token.secret());
    Admin::new(broker, tokens, (), options).serve(listener, CancellationToken::new()).await;
    Ok(())
}

/// A thread for connections, as long as the process lasts.
fn worker() -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new().spawn(move || runtime.block_on(pending::<()>()))?;
    Ok(handle)
}
