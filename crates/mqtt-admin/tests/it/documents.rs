//! The metrics that the documents name are those that there are.

use std::{collections::BTreeSet, fs, path::Path};

use mqtt_admin::AdminOptions;
use mqtt_broker::{Broker, store::MemoryStore};

use crate::World;

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operations").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every word that begins like a metric.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    words.filter(|word| word.starts_with("gmqtt_")).map(str::to_owned).collect()
}

/// The names of a histogram's samples are its own, and more.
fn without_histogram(names: BTreeSet<String>) -> BTreeSet<String> {
    let base = |name: String| {
        let base = ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end));
        base.filter(|base| base.ends_with("_seconds") || base.ends_with("_records"))
            .map_or(name.clone(), str::to_owned)
    };
    names.into_iter().map(base).collect()
}

#[tokio::test]
async fn the_table_of_metrics_is_complete_and_alerts_and_panels_use_no_others() {
    let broker = Broker::builder().build_on(MemoryStore::default()).unwrap();
    let world = World::before(broker, (), AdminOptions::default()).await;
    let scrape = world.http().get("/metrics").await.body;
    let samples: String = scrape.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    let there = without_histogram(named(&samples));
    let table = document("metrics.md");
    let rows =
        table.lines().filter_map(|line| line.strip_prefix("| `")).filter_map(|row| row.split('`').next());
    let rows: BTreeSet<String> = rows.filter(|name| name.starts_with("gmqtt_")).map(str::to_owned).collect();
    assert_eq!(rows, there);
    for name in ["alerts.yaml", "grafana.json"] {
        let used = without_histogram(named(&document(name)));
        assert!(!used.is_empty() && used.is_subset(&there), "{name}: {:?}", used.difference(&there));
    }
    let panels: serde_json::Value = serde_json::from_str(&document("grafana.json")).unwrap();
    assert!(panels["panels"].as_array().unwrap().len() >= 8);
}
