// What happens to one client, to the messages of some topics, or from one address, as it happens.

import { events } from "../api.js";
import { el, field, panel, replace, select } from "../dom.js";
import { bytes, clock, count, reason } from "../format.js";
import { keepOpen } from "../timer.js";

const KINDS = [["client_id", "client identifier"], ["filter", "topic filter"], ["address", "IP address"]];
const KEEP = 1_000;

export function trace(root, { signal, query }) {
  const kind = select(KINDS, KINDS.find(([name]) => query.has(name))?.[0] ?? "client_id");
  const value = el("input", { required: true, spellcheck: "false", value: query.get(kind.value) ?? "" });
  const go = el("button.primary", "Start");
  const list = el("ul.stream", { role: "log", "aria-live": "off", "aria-label": "What happened, the newest first", tabindex: "0" });
  const state = el("p.notice", "Nothing is traced. Payloads are not shown here; the console shows them.");
  const counted = el("span.note");
  let stream = null;
  let seen = 0;
  let lost = 0;
  let waiting = [];
  root.append(
    panel("Trace", el("form.form", { onsubmit: toggle }, el("div.row", field("What", kind), field("Name", value), go,
      el("button", { type: "button", onclick: () => { seen = lost = 0; replace(list); tell(); } }, "Clear")))),
    panel("What happened", [state, list], counted));

  function toggle(event) {
    event?.preventDefault();
    if (stream) {
      stream.abort();
      stream = null;
      go.textContent = "Start";
      state.textContent = "Stopped.";
      return;
    }
    stream = new AbortController();
    go.textContent = "Stop";
    const own = stream.signal;
    const take = (record) => {
      seen += 1;
      lost += record.lost;
      waiting.push(record);
      if (waiting.length > KEEP) waiting.shift();
    };
    keepOpen(() => events("/api/v1/trace", { [kind.value]: value.value }, own, take), own, (now) => {
      state.className = now === "open" || now === "ended" ? "notice" : "problem";
      state.textContent = now === "open" ? `Tracing ${value.value}.` : now === "ended" ? "The broker has ended the trace; trying again." : now;
    });
  }

  // A few times a second, however much happens.
  const timer = setInterval(() => {
    if (!waiting.length) return;
    list.prepend(...waiting.reverse().map(row));
    waiting = [];
    while (list.children.length > KEEP) list.lastElementChild.remove();
    tell();
  }, 250);

  function tell() {
    counted.textContent = seen ? `${count(seen)} records${lost ? `, ${count(lost)} lost: too many for this page` : ""}` : "";
  }

  function row(record) {
    const tone = { dropped: ".bad", closed: ".warn", connected: ".good" }[record.event] ?? "";
    const about = [
      record.topic && el("span.mono", record.topic),
      record.payload_bytes !== null && ` ${bytes(record.payload_bytes)}`,
      record.qos !== null && ` q${record.qos}`, record.retain && " retained",
      record.detail && ` ${record.event === "dropped" ? reason(record.detail) : record.detail}`,
      record.event === "connected" && record.remote_addr,
    ];
    return el("li.traced", el("span.time", clock(record.at)), el(`span${tone}`, record.event),
      record.client_id ? el("a.topic.mono", { href: `#/clients/${encodeURIComponent(record.client_id)}` }, record.client_id) : el("span"),
      el("span.body", about));
  }

  signal.addEventListener("abort", () => { clearInterval(timer); stream?.abort(); });
  if (value.value) toggle();
}
