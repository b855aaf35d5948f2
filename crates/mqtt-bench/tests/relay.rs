//! The generator against its own relay: a whole run, every message accounted for.

use clap::Parser;
use mqtt_bench::{BenchArgs, Relay};

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    bench: BenchArgs,
}

fn p2p(extra: &[&str]) -> mqtt_bench::Report {
    p2p_of("500", extra)
}

fn p2p_of(messages: &str, extra: &[&str]) -> mqtt_bench::Report {
    let port = Relay::spawn().unwrap().port().to_string();
    let mut words =
        vec!["bench", "p2p", "-h", "127.0.0.1", "-p", &port, "--pairs", "2", "--messages", messages, "-q"];
    words.extend(extra);
    mqtt_bench::run(&Program::try_parse_from(words).unwrap().bench.command).unwrap()
}

#[test]
fn every_message_passes_the_relay_at_each_qos() {
    for qos in ["0", "1", "2"] {
        let report = p2p(&["--qos", qos]);
        assert!(report.is_sound(), "{}", report.table());
        assert_eq!(report.latency.as_ref().map(|latency| latency.count), Some(1000));
    }
}

#[test]
fn an_open_loop_sends_all_it_should() {
    let report = p2p(&["--qos", "1", "--rate", "20000"]);
    assert!(report.is_sound(), "{}", report.table());
    assert_eq!(report.latency.as_ref().map(|latency| latency.count), Some(1000));
}

#[test]
fn messages_larger_than_what_is_sent_at_once_pass_the_relay() {
    let report = p2p_of("5", &["--payload", "20000000", "--patience", "1m"]);
    assert!(report.is_sound(), "{}", report.table());
    assert_eq!(report.latency.as_ref().map(|latency| latency.count), Some(10));
}

#[test]
fn the_report_is_json_for_machines() {
    let report = p2p(&[]);
    let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
    assert_eq!(json["sound"], true);
    assert_eq!(json["scenario"], "p2p");
    assert!(json["latency"]["p99_micros"].as_f64().unwrap() > 0.0);
    let back = mqtt_bench::Report::from_json(&report.json()).unwrap();
    assert_eq!(back.table(), report.table());
}
