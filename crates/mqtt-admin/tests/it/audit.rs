//! The audit log: a line for each change, whatever becomes of the request.

use std::{
    io,
    sync::{Arc, Mutex, Once, mpsc},
    time::Duration,
};

use mqtt_admin::{AdminOptions, OperationError, Operations};
use mqtt_broker::Broker;
use serde_json::json;
use tokio::{sync::mpsc::UnboundedSender, time::timeout};
use tracing::subscriber::DefaultGuard;

use crate::{World, http::STUCK};

/// What is logged from now on by the thread of this test, where all its tasks run.
struct Log {
    text: Text,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn begin() -> Self {
        // What nobody has wanted so far is offered to nobody any more: so there is always somebody who wants everything.
        static EVERYTHING: Once = Once::new();
        EVERYTHING.call_once(|| {
            let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
        });
        let text = Text::default();
        let writer = text.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
        Self { text, _guard: tracing::subscriber::set_default(subscriber.finish()) }
    }

    /// The line of the audit log that has this in it, once it is there.
    async fn line(&self, part: &str) -> String {
        let read = async {
            loop {
                let text = String::from_utf8(self.text.0.lock().unwrap().clone()).unwrap();
                let line = text.lines().find(|line| line.contains("gmqtt::audit") && line.contains(part));
                if let Some(line) = line {
                    return line.to_owned();
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(STUCK, read).await.unwrap_or_else(|_| panic!("no line with {part}"))
    }
}

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An operation that is not done before it may be.
struct Slow {
    begun: UnboundedSender<()>,
    may_end: Mutex<mpsc::Receiver<()>>,
}

impl Operations for Slow {
    fn log_level(&self) -> Result<String, OperationError> {
        Ok("info".to_owned())
    }

    fn set_log_level(&self, _: &str) -> Result<(), OperationError> {
        let _ = self.begun.send(());
        let _ = self.may_end.lock().unwrap().recv();
        Ok(())
    }
}

#[tokio::test]
async fn who_hangs_up_has_his_line_with_what_he_began() {
    let log = Log::begin();
    let (begun, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
    let (_end, may_end) = mpsc::channel();
    let slow = Slow { begun, may_end: may_end.into() };
    let world = World::with(Broker::builder(), slow, AdminOptions::default()).await;
    let level = json!({"level": "debug"}).to_string();
    let socket = world.http().begin("PUT", "/api/v1/log-level", "application/json", &level).await;
    timeout(STUCK, has_begun.recv()).await.unwrap().unwrap();
    drop(socket);
    let line = log.line("not answered").await;
    assert!(line.contains(r#"token="writer""#) && line.contains(r#"path="/api/v1/log-level""#), "{line}");
    assert!(line.contains(r#"what="log \"debug\"""#) && !line.contains("status"), "{line}");
}

#[tokio::test]
async fn what_takes_too_long_is_named_in_its_line() {
    let log = Log::begin();
    let (begun, _has_begun) = tokio::sync::mpsc::unbounded_channel();
    let (_end, may_end) = mpsc::channel();
    let mut options = AdminOptions::default();
    options.request_timeout = Duration::from_millis(50);
    let world = World::with(Broker::builder(), Slow { begun, may_end: may_end.into() }, options).await;
    world.http().put("/api/v1/log-level", &json!({"level": "debug"})).await.problem(408);
    let line = log.line("status=408").await;
    assert!(line.contains(r#"what="log \"debug\"""#), "{line}");
}

#[tokio::test]
async fn what_was_refused_is_named_in_its_line() {
    let log = Log::begin();
    let world = World::start().await;
    world.http().delete("/api/v1/client/nobody").await.problem(404);
    let line = log.line("status=404").await;
    assert!(line.contains(r#"what="disconnect \"nobody\"""#), "{line}");
    let endless = "x".repeat(1_000_000);
    world.http().post("/api/v1/subscribe", &json!({"topic": "a", "client_id": endless})).await.problem(404);
    let line = log.line("/api/v1/subscribe").await;
    assert!(line.contains("subscribe") && line.len() < 10_000, "{} bytes", line.len());
}
