//! The broker in numbers as OpenMetrics text, for Prometheus and its kin.
//!
//! No label has values that a client chooses: all are out of closed lists.

use std::fmt;

use mqtt_broker::{CloseReason, Counts, DropReason, RefusalReason, store::BatchCounts};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, text::encode},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use crate::{
    admin::Admin,
    api::counters::{CONNECT_OUTCOMES, PACKET_TYPES, seconds},
    process::Process,
};

/// All metrics of this moment.
pub(crate) fn text(admin: &Admin) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("gmqtt");
    registry.register_collector(Box::new(Figures(admin.clone())));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Figures(Admin);

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        let admin = &self.0;
        let snapshot = admin.broker().snapshot();
        let totals = admin.session_totals();
        out.info(env!("CARGO_PKG_VERSION"))?;
        out.gauge("uptime_seconds", "Since the broker was built.", admin.broker().uptime().as_secs())?;
        out.gauge(
            "connections",
            "Open connections, those without a CONNECT included.",
            snapshot.connections,
        )?;
        let sessions = [("online", totals.connected), ("offline", totals.sessions - totals.connected)];
        out.gauges("sessions", "Sessions, by whether their client is connected.", "status", sessions)?;
        out.gauge("subscriptions", "Subscriptions of all sessions.", snapshot.subscriptions)?;
        out.gauge("retained_messages", "Retained messages.", snapshot.retained_messages)?;
        out.gauge("retained_bytes", "Their topics and payloads.", snapshot.retained_bytes)?;
        out.gauge("queued_messages", "Messages that wait for their receivers.", totals.queued_messages)?;
        out.gauge("queued_bytes", "Their topics and payloads.", totals.queued_bytes)?;
        let inflight = totals.inflight_messages;
        out.gauge("inflight_messages", "QoS 1 and 2 messages sent and not acknowledged.", inflight)?;
        let unreleased = totals.unreleased_messages;
        out.gauge("unreleased_messages", "QoS 2 messages received and not released.", unreleased)?;
        let ready = u8::from(admin.broker().store_failure().is_none());
        out.gauge("ready", "1, or 0 if the store has failed.", ready)?;
        out.gauge("bans", "Bans in force.", admin.broker().bans().len())?;
        out.connections(&snapshot.counts)?;
        out.packets(&snapshot.counts)?;
        out.messages(&snapshot.counts)?;
        if let Some(batches) = admin.broker().store_batches() {
            out.store(&batches)?;
        }
        out.process(&Process::now(admin.broker().workers()))
    }
}

/// Where metrics are written to.
struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn connections(&mut self, counts: &Counts) -> fmt::Result {
        self.counter(
            "connections_accepted",
            "Connections that a listener accepted.",
            counts.connections_accepted,
        )?;
        let refused = counts.connections_refused;
        self.counter(
            "connections_refused",
            "Connections closed at once: too many, or a hook said no.",
            refused,
        )?;
        let refusals = RefusalReason::ALL.iter().map(|reason| reason.as_str()).zip(counts.refused);
        let help = "Connections and CONNECT packets that were not let in, by reason.";
        self.counters("refusals", help, "reason", refusals)?;
        let pauses = counts.accept_pauses;
        self.counter("accept_pauses", "Times that nobody was let in for want of an open file.", pauses)?;
        let authentications = Counts::AUTHENTICATIONS.into_iter().zip(counts.authentications);
        let help = "CONNECT packets about which access control was asked, by what came of it.";
        self.counters("authentications", help, "outcome", authentications)?;
        let closed = CloseReason::NAMES.iter().copied().zip(counts.closed);
        self.counters("connections_closed", "Connections that ended, by reason.", "reason", closed)?;
        let outcomes = CONNECT_OUTCOMES.into_iter().zip(counts.connacks);
        self.counters("connects", "CONNECT packets by their outcome.", "outcome", outcomes)?;
        self.counter("sessions_created", "Sessions that began.", counts.sessions_created)?;
        self.counter("sessions_resumed", "Sessions resumed by a new connection.", counts.sessions_resumed)?;
        let taken_over = counts.sessions_taken_over;
        self.counter(
            "sessions_taken_over",
            "Connections that lost their session to a newer one.",
            taken_over,
        )?;
        let expired = counts.sessions_expired;
        self.counter("sessions_expired", "Sessions that were absent for too long.", expired)?;
        let refused = counts.filters_refused;
        self.counter("filters_refused", "Topic filters refused because of a limit.", refused)?;
        let delayed = counts.publishers_delayed;
        self.counter("publishers_delayed", "Times that a client was read from more slowly.", delayed)
    }

    fn packets(&mut self, counts: &Counts) -> fmt::Result {
        self.counter("received_bytes", "Bytes read from sockets.", counts.bytes_received)?;
        self.counter("sent_bytes", "Bytes handed to sockets.", counts.bytes_sent)?;
        let all = [
            ("packets_received", "Packets received, by type.", &counts.packets_received),
            ("packets_sent", "Packets sent, by type.", &counts.packets_sent),
            ("packet_received_bytes", "Bytes of packets received, by type.", &counts.packet_bytes_received),
            ("packet_sent_bytes", "Bytes of packets sent, by type.", &counts.packet_bytes_sent),
        ];
        for (name, help, by_type) in all {
            let by_type = PACKET_TYPES.into_iter().zip(by_type.iter().copied()).skip(1);
            self.counters(name, help, "type", by_type)?;
        }
        Ok(())
    }

    fn messages(&mut self, counts: &Counts) -> fmt::Result {
        let all = [
            ("messages_received", "PUBLISH packets received, by QoS.", counts.publishes_received),
            ("messages_sent", "PUBLISH packets sent, by QoS.", counts.publishes_sent),
            (
                "messages_delivered",
                "Messages handed to a receiver, by the QoS that it gets.",
                counts.delivered,
            ),
        ];
        for (name, help, by_qos) in all {
            self.counters(name, help, "qos", ["0", "1", "2"].into_iter().zip(by_qos))?;
        }
        let acknowledged = counts.messages_acknowledged;
        self.counter("messages_acknowledged", "QoS 1 and 2 deliveries completed.", acknowledged)?;
        let dropped = DropReason::ALL.iter().map(|reason| reason.as_str()).zip(counts.dropped);
        self.counters("messages_dropped", "Messages dropped, by reason.", "reason", dropped)?;
        self.residence(counts)
    }

    fn residence(&mut self, counts: &Counts) -> fmt::Result {
        let bounds = Counts::residence_bounds().map(|bound| bound.as_secs_f64());
        let help = "From the reading of a PUBLISH to the hand-over to the receiver's socket; what waited in a queue is left out";
        let sum = seconds(counts.residence_micros);
        self.histogram("residence", help, Some(&Unit::Seconds), (bounds, &counts.residence), sum)
    }

    #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53 records")]
    fn store(&mut self, batches: &BatchCounts) -> fmt::Result {
        let bounds = BatchCounts::time_bounds().map(|bound| bound.as_secs_f64());
        let help = "From the beginning of a batch to its being durable, the sync included";
        let sum = seconds(batches.micros);
        self.histogram("store_batch", help, Some(&Unit::Seconds), (bounds, &batches.times), sum)?;
        let bounds = BatchCounts::size_bounds().map(|bound| bound as f64);
        let sum = batches.records as f64;
        self.histogram("store_batch_records", "Records in a batch", None, (bounds, &batches.sizes), sum)
    }

    fn histogram(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        (bounds, counts): (impl Iterator<Item = f64>, &[u64]),
        sum: f64,
    ) -> fmt::Result {
        let buckets: Vec<(f64, u64)> = bounds.chain([f64::INFINITY]).zip(counts.iter().copied()).collect();
        let mut encoder = self.0.encode_descriptor(name, help, unit, MetricType::Histogram)?;
        encoder.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
    }

    fn process(&mut self, process: &Process) -> fmt::Result {
        if let Some(bytes) = process.resident_bytes {
            self.gauge("process_resident_memory_bytes", "Memory that is not paged out.", bytes)?;
        }
        if let Some(files) = process.open_files {
            self.gauge("process_open_fds", "Open file descriptors.", files)?;
        }
        if let Some(cpu) = process.cpu_seconds {
            self.seconds("process_cpu", "Processor time, of the system and of the user", cpu)?;
        }
        self.seconds("tokio_busy", "Time that workers were not idle", process.busy.as_secs_f64())?;
        self.gauge("tokio_workers", "Worker threads of the runtimes.", process.workers)?;
        self.gauge("tokio_tasks", "Tasks that are alive.", process.tasks)?;
        self.gauge("tokio_queued_tasks", "Tasks in the queue that all workers share.", process.queued_tasks)
    }

    /// A counter of seconds.
    fn seconds(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Counter)?;
        encoder.encode_counter::<NoLabelSet, f64, f64>(&value, None)
    }

    fn info(&mut self, version: &str) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor("build", "What runs", None, MetricType::Info)?;
        encoder.encode_info(&[("version", version)].as_slice())
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(encoder)
    }

    fn counters<'a>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (value, count) in values {
            ConstCounter::new(count).encode(family.encode_family(&[(label, value)])?)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl TryInto<i64>) -> fmt::Result {
        let encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(whole(value)).encode(encoder)
    }

    fn gauges<'a>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, usize)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (value, count) in values {
            ConstGauge::new(whole(count)).encode(family.encode_family(&[(label, value)])?)?;
        }
        Ok(())
    }
}

fn whole(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}
