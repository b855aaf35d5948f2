//! Each attack of `cargo xtask abuse`, on a small scale: the broker's counters say what happens to it, it lives, and a
//! well-behaved pair gets all its messages meanwhile. How fast it gets them is judged by that command alone.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Parser;
use mqtt_abuse::{Attack, Target};
use mqtt_bench::{BenchArgs, Report};
use mqtt_broker::{Broker, DropReason, Limits, Tls, TlsOptions, Transport, WebSocketOptions};
use test_certificates::{CertificateFiles, Files};

/// Far longer than anything takes: only a defect comes near it.
const PATIENCE: Duration = Duration::from_mins(1);
const CONNECT: usize = 1;
const PINGREQ: usize = 12;

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    bench: BenchArgs,
}

/// Attacks until `evidence` is found, and the pair has done its work beside it.
async fn smoke(name: &str, change: impl FnOnce(&mut Limits), evidence: impl Fn(&Broker) -> bool) {
    let mut limits = Limits::default();
    change(&mut limits);
    let broker = Broker::builder().limits(limits).build();
    let target = listen(&broker).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (attack, stopped) = (Attack::find(name).expect("an attack"), Arc::clone(&stop));
    let attack = tokio::task::spawn_blocking(move || attack.run(target, PATIENCE, &stopped));
    let begin = Instant::now();
    while !evidence(&broker) {
        let counts = broker.counts();
        assert!(begin.elapsed() < PATIENCE && !attack.is_finished(), "{name} leaves no trace: {counts:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let report = tokio::task::spawn_blocking(move || pair(target)).await.unwrap();
    assert!(report.is_sound(), "{}", report.table());
    stop.store(true, Ordering::Relaxed);
    assert!(attack.await.unwrap().unwrap().acts > 0);
    broker.shutdown(PATIENCE).await.unwrap();
}

async fn listen(broker: &Broker) -> Target {
    let folder = tempfile::tempdir().unwrap();
    let Files { certificates, private_key } = CertificateFiles::create(folder.path()).server;
    let tls = Tls::load(TlsOptions::new(certificates, private_key)).unwrap();
    let websocket = Transport::tcp().websocket(WebSocketOptions::default());
    Target {
        tcp: broker.listen("127.0.0.1:0").await.unwrap(),
        tls: broker.listen_with("127.0.0.1:0", Transport::tcp().tls(&tls)).await.unwrap(),
        websocket: broker.listen_with("127.0.0.1:0", websocket).await.unwrap(),
    }
}

fn pair(target: Target) -> Report {
    let port = target.tcp.port().to_string();
    let words = ["bench", "rate", "--pairs", "1", "--rate", "100", "--messages", "50", "--qos", "1"];
    let server = ["--quiet", "--patience", "60s", "--host", "127.0.0.1", "--port", &port];
    let program = Program::try_parse_from(words.into_iter().chain(server)).unwrap();
    mqtt_bench::run(&program.bench.command).unwrap()
}

/// With so many worker threads as the binary has on a small machine.
macro_rules! smoke {
    ($($test:ident: $name:literal, $change:expr, $evidence:expr;)+) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            smoke($name, $change, $evidence).await;
        }
    )+ };
}

smoke! {
    slowloris: "slowloris-connect", |_| {}, |broker| broker.snapshot().connections > 50;
    slowloris_is_cut_off: "slowloris-connect", |limits| limits.connect_timeout = Duration::from_millis(200),
        |broker| broker.counts().connections_accepted > 20 && broker.snapshot().connections == 0;
    connect_flood: "connect-flood", |_| {}, |broker| broker.counts().packets_received[CONNECT] > 100;
    take_over_loop: "take-over-loop", |_| {}, |broker| broker.counts().sessions_taken_over > 20;
    tls_handshake_flood: "tls-handshake-flood", |_| {}, |broker| broker.snapshot().connections > 20;
    websocket_upgrade_flood: "websocket-upgrade-flood", |_| {}, |broker| broker.snapshot().connections > 50;
    random_bytes: "random-bytes", |_| {}, |broker| broker.counts().connections_accepted > 8;
    huge_remaining_length: "huge-remaining-length", |_| {}, |broker| broker.snapshot().connections > 50;
    ping_flood: "ping-flood", |_| {}, |broker| broker.counts().packets_received[PINGREQ] > 20_000;
    subscription_bomb: "subscription-bomb", |limits| limits.max_subscriptions_per_client = 1_000,
        |broker| broker.counts().filters_refused == 8 * 24 && broker.counts().publishes_received[0] > 5;
    retained_flood: "retained-flood", |limits| limits.max_retained_messages = 100,
        |broker| broker.counts().dropped_for(DropReason::RetainedFull) > 100;
    slow_reader: "slow-reader", |limits| limits.max_queued_messages = 50,
        |broker| broker.counts().dropped_for(DropReason::QueueFull) > 100;
    unreleased_qos2: "unreleased-qos2", |limits| limits.max_unreleased = 200,
        |broker| broker.counts().connects_accepted > 2;
}
