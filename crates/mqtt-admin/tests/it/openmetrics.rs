//! Whether what is scraped is OpenMetrics, by the rules of its specification, and health as supervisors ask for it.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

use mqtt_admin::AdminOptions;
use mqtt_broker::{
    Broker,
    store::{DeliverPage, Mark, MemoryStore, QueueRead, Record, Store, StoreError},
};
use tokio::runtime::Handle;

use crate::{World, http::Http};

/// What stands above the samples of a family.
#[derive(Default)]
struct Family {
    kind: String,
    unit: Option<String>,
    has_help: bool,
}

/// How the names of samples end, by the type of their family.
fn ends(kind: &str) -> &'static [&'static str] {
    match kind {
        "counter" => &["_total"],
        "gauge" => &[""],
        "histogram" => &["_bucket", "_count", "_sum"],
        "info" => &["_info"],
        _ => panic!("a family of the type {kind:?}"),
    }
}

#[tokio::test]
async fn what_is_scraped_is_open_metrics() {
    let broker = Broker::builder().build_on(MemoryStore::default()).unwrap();
    let world = World::before(broker, (), AdminOptions::default()).await;
    let answer = world.http().get("/metrics").await;
    assert!(
        answer.head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{}",
        answer.head
    );
    let text = answer.body.strip_suffix("# EOF\n").expect("the end, said");
    let (mut families, mut current) = (HashMap::<String, Family>::new(), String::new());
    let (mut samples, mut buckets) = (HashSet::new(), HashMap::<String, f64>::new());
    for line in text.lines() {
        assert!(!line.is_empty() && line != "# EOF", "{line:?} in between");
        if let Some(about) = line.strip_prefix("# ") {
            let [what, name, value] = about.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            if name != current {
                assert!(!families.contains_key(name), "the family {name} in two parts");
                current = name.to_owned();
            }
            let family = families.entry(current.clone()).or_default();
            match what {
                "TYPE" => family.kind = value.to_owned(),
                "UNIT" => family.unit = Some(value.to_owned()),
                "HELP" => family.has_help = !value.is_empty(),
                _ => panic!("{line}"),
            }
            continue;
        }
        let (name_and_labels, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(value >= 0.0, "{line}");
        assert!(samples.insert(name_and_labels.to_owned()), "{name_and_labels} twice");
        let name = name_and_labels.split('{').next().unwrap();
        let kind = &families[&current].kind;
        let end = name.strip_prefix(current.as_str()).unwrap_or_else(|| panic!("{name} within {current}"));
        assert!(ends(kind).contains(&end), "{name} of a {kind}");
        if end == "_bucket" {
            let before = buckets.insert(name.to_owned(), value).unwrap_or_default();
            assert!(value >= before, "{line}: what is in a bucket is in all after it");
        }
    }
    for (name, family) in &families {
        assert!(family.has_help && !family.kind.is_empty(), "{name}");
        assert!(family.unit.as_ref().is_none_or(|unit| name.ends_with(&format!("_{unit}"))), "{name}");
        for end in ends(&family.kind) {
            let of_it = format!("{name}{end}");
            assert!(samples.iter().any(|sample| sample.split('{').next() == Some(&of_it)), "{of_it}");
        }
    }
    for name in buckets.keys() {
        assert!(samples.contains(&format!("{name}{{le=\"+Inf\"}}")), "{name}");
    }
}

/// All that a label may be: no client chooses a value.
#[tokio::test]
async fn labels_have_no_values_that_clients_choose() {
    let world = World::start().await;
    let labels = async || {
        let text = world.http().get("/metrics").await.body;
        let labels =
            text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('{'));
        labels.map(|(_, rest)| rest.split('}').next().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let before = labels().await;
    let mut client = world.connect("a client of this name", true).await;
    client.subscribe("a filter/of this name", mqtt_broker::QoS::AtMostOnce).await;
    let message = serde_json::json!({"topic": "a filter/of this name", "payload": "x", "retain": true});
    world.http().post("/api/v1/publish", &message).await.json();
    client.payload().await;
    assert_eq!(labels().await, before);
}

#[tokio::test]
async fn the_runtimes_of_the_connections_are_among_the_figures() {
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let handles: Vec<Handle> = vec![first.handle().clone(), second.handle().clone()];
    let world = World::with(Broker::builder().workers(handles), (), AdminOptions::default()).await;
    let text = world.http().get("/metrics").await.body;
    // Those of this test's own runtime, where the API is, come on top.
    assert!(text.contains("\ngmqtt_tokio_workers 5\n"), "{text}");
    let busy = text.lines().find_map(|line| line.strip_prefix("gmqtt_tokio_busy_seconds_total ")).unwrap();
    assert!(busy.parse::<f64>().unwrap() > 0.0);
    first.shutdown_background();
    second.shutdown_background();
}

/// A store that fails when it is told to.
#[derive(Clone, Default)]
struct Failing {
    has_failed: Arc<AtomicBool>,
    inner: MemoryStore,
}

impl Store for Failing {
    fn append(&self, group: Vec<Record>) -> Mark {
        self.inner.append(group)
    }

    fn durable(&self) -> Mark {
        self.inner.durable()
    }

    fn wake_at(&self, mark: Mark, waker: &Waker) {
        self.inner.wake_at(mark, waker);
    }

    fn failure(&self) -> Option<StoreError> {
        self.has_failed.load(Ordering::Relaxed).then(|| StoreError::new("the disk is gone"))
    }

    fn recover(&self, visit: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
        self.inner.recover(visit)
    }

    fn read_queue(&self, read: QueueRead, deliver: DeliverPage) {
        self.inner.read_queue(read, deliver);
    }
}

/// And needs no token: whoever asks is a supervisor.
#[tokio::test]
async fn a_broker_whose_store_has_failed_lives_and_is_not_ready() {
    let store = Failing::default();
    let broker = Broker::builder().build_on(store.clone()).unwrap();
    let world = World::before(broker, (), AdminOptions::default()).await;
    let http = Http::new(world.address);
    let health = async || (http.get("/livez").await.status, http.get("/readyz").await.status);
    assert_eq!(health().await, (200, 200));
    store.has_failed.store(true, Ordering::Relaxed);
    assert_eq!(health().await, (200, 503));
    let problem = http.get("/readyz").await.problem(503);
    assert!(problem.contains("store") && !problem.contains("disk"), "{problem}");
    assert!(world.http().get("/metrics").await.body.contains("\ngmqtt_ready 0\n"));
}
