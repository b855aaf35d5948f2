// The broker at a glance.

import { get } from "../api.js";
import { chart, tile } from "../chart.js";
import { el, panel, replace, table } from "../dom.js";
import { bytes, count, micros, rate, reason } from "../format.js";
import { live } from "../live.js";
import { every } from "../timer.js";

const last = (values) => values[values.length - 1];

export function overview(root, { signal }) {
  const tiles = {
    received: tile("Messages in /s", "a"),
    sent: tile("Messages out /s", "b"),
    dropped: tile("Dropped /s", "bad", "#/trouble"),
    connections: tile("Connections", "c", "#/clients"),
    queue: tile("Waiting in queues", "warn", "#/clients?sort=msg_queue_bytes"),
    residence: tile("Residence p99", "c"),
  };
  const charts = {
    messages: chart({ title: "Messages per second", format: rate, series: [{ name: "in", tone: "a" }, { name: "out", tone: "b" }] }),
    bytes: chart({ title: "Bytes per second", format: bytes, binary: true, series: [{ name: "in", tone: "a" }, { name: "out", tone: "b" }] }),
    connections: chart({ title: "Connections and sessions", format: count, series: [{ name: "connections", tone: "c" }, { name: "sessions", tone: "b" }] }),
    dropped: chart({ title: "Dropped per second", format: rate, series: [{ name: "dropped", tone: "bad" }] }),
    queue: chart({ title: "Waiting in queues", format: bytes, binary: true, series: [{ name: "topics and payloads", tone: "warn" }] }),
    residence: chart({ title: "Residence: PUBLISH in to out", format: micros, series: [{ name: "p50", tone: "c" }, { name: "p99", tone: "warn" }] }),
  };
  const fullest = el("div");
  const drops = el("div");
  const totals = el("div");
  root.append(
    el("div.tiles", Object.values(tiles).map((one) => one.element)),
    el("div.plots", Object.values(charts).map((one) => one.element)),
    el("div.three",
      panel("Fullest queues", fullest, el("a", { href: "#/clients?sort=msg_queue_bytes" }, "all")),
      panel("Why messages were dropped", drops, el("a", { href: "#/trouble" }, "more")),
      panel("Now", totals)));

  live.follow(() => {
    const { minutes, hour } = live;
    const known = (name) => minutes.gauge(name).length > 0;
    const of = (series, name) => series.rate(name);
    const received = of(minutes, "messages_received");
    const sent = of(minutes, "messages_sent");
    const dropped = minutes.rate(minutes.drops);
    tiles.received.update(rate(last(received)), received, `${bytes(last(of(minutes, "bytes_received")))}/s`);
    tiles.sent.update(rate(last(sent)), sent, `${bytes(last(of(minutes, "bytes_sent")))}/s`);
    tiles.dropped.update(rate(last(dropped)), dropped, `${count(last(minutes.drops) ?? 0)} so far`);
    tiles.connections.update(count(last(minutes.gauge("connections")) ?? 0), minutes.gauge("connections"),
      `${count(last(minutes.gauge("sessions")) ?? 0)} sessions`);
    tiles.queue.update(bytes(last(minutes.gauge("queued_bytes"))), minutes.gauge("queued_bytes"),
      `${count(last(minutes.gauge("queued_messages")) ?? 0)} messages`);
    tiles.residence.update(micros(last(minutes.gauge("residence_p99_micros"))), minutes.gauge("residence_p99_micros"),
      `p50 ${micros(last(minutes.gauge("residence_p50_micros")))}`);
    for (const name of ["queue", "residence"]) {
      const there = known(name === "queue" ? "queued_bytes" : "residence_p99_micros");
      tiles[name].element.hidden = charts[name].element.hidden = !there;
    }
    // Until there is an hour to see, the last minutes say more.
    const past = hour.length >= 30 ? hour : minutes;
    charts.messages.update(past.at, [of(past, "messages_received"), of(past, "messages_sent")]);
    charts.bytes.update(past.at, [of(past, "bytes_received"), of(past, "bytes_sent")]);
    charts.connections.update(past.at, [past.gauge("connections"), past.gauge("sessions")]);
    charts.dropped.update(past.at, [past.rate(past.drops)]);
    if (known("queued_bytes")) charts.queue.update(past.at, [past.gauge("queued_bytes")]);
    if (known("residence_p99_micros")) charts.residence.update(past.at, [past.gauge("residence_p50_micros"), past.gauge("residence_p99_micros")]);
    replace(drops, dropsTable(minutes));
    replace(totals, table({
      caption: "The broker now",
      columns: [{ name: "What", cell: (row) => row[0] }, { name: "How many", number: true, cell: (row) => count(row[1] ?? 0) }],
      rows: [
        ["Connections", last(minutes.gauge("connections"))], ["Sessions", last(minutes.gauge("sessions"))],
        ["Subscriptions", last(minutes.gauge("subscriptions"))], ["Retained messages", last(minutes.gauge("retained_messages"))],
        ["Messages received", last(minutes.gauge("messages_received"))], ["Messages sent", last(minutes.gauge("messages_sent"))],
      ],
    }));
  }, signal);

  const ask = async () => {
    const page = await get("/api/v1/clients", { sort: "msg_queue_bytes", "per-page": 6 }, signal).catch(() => null);
    if (page) replace(fullest, fullestTable(page.list.filter((one) => one.msg_queue_len > 0)));
  };
  ask();
  every(3000, ask, signal);
}

// With what the reasons mean, where there is room for it.
export function dropsTable(minutes, meaning) {
  const names = minutes.columns?.drop_reasons ?? [];
  const rows = names.map((name, index) => {
    const row = minutes.columns.dropped[index];
    return { name, total: last(row) ?? 0, now: last(minutes.rate(row)) ?? 0 };
  });
  return table({
    caption: "Messages dropped, by reason",
    columns: [
      { name: "Reason", cell: (row) => el(`span.reason${row.now > 0 ? ".bad" : ""}`, reason(row.name)) },
      meaning && { name: "Which means", wide: true, cell: (row) => meaning[row.name] ?? "" },
      { name: "Per second", number: true, cell: (row) => rate(row.now) },
      { name: "So far", number: true, cell: (row) => count(row.total) },
    ].filter(Boolean),
    rows,
  });
}

export function fullestTable(rows, empty = "No message waits for a connected client.") {
  return table({
    caption: "Clients",
    empty,
    columns: [
      { name: "Client", mono: true, cell: (row) => el("a", { href: `#/clients/${encodeURIComponent(row.client_id)}` }, row.client_id) },
      { name: "In flight", number: true, cell: (row) => count(row.inflight_len) },
      { name: "Waiting", number: true, cell: (row) => count(row.msg_queue_len) },
      { name: "Bytes", number: true, cell: (row) => bytes(row.msg_queue_bytes) },
      { name: "Dropped", number: true, cell: (row) => count(row.msg_queue_dropped) },
    ],
    rows,
  });
}
