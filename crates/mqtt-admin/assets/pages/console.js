// To publish, and to see what is published: a client without a client.

import { events, post } from "../api.js";
import { el, field, panel, replace, select, toast } from "../dom.js";
import { bytes, clock, count, fromBase64, glimpse } from "../format.js";
import { payload } from "../payload.js";
import { keepOpen } from "../timer.js";

const KEEP = 400;

export function console(root, { signal, query }) {
  const list = el("ul.stream", { role: "log", "aria-live": "off", "aria-label": "Messages received", tabindex: "0" });
  const state = el("p.notice", "Subscribe to see messages; retained ones come first.");
  const counted = el("span.note");
  const detail = el("div", el("p.notice", "Choose a message to see all of it."));
  let stream = null;
  let received = 0;
  let skipped = 0;

  const filter = el("input", { value: query.get("filter") ?? "#", required: true, spellcheck: "false" });
  const go = el("button.primary", "Subscribe");
  const watch = el("form.form", { onsubmit: toggle }, el("div.row", field("Topic filter", filter), go,
    el("button", { type: "button", onclick: () => { received = skipped = 0; replace(list); tell(); } }, "Clear")));
  root.append(
    el("div.two", panel("Publish", publisher()), panel("Subscribe", watch)),
    el("div.side-by-side.reversed", panel("Messages", [list, state], counted), panel("Message", detail)));

  function toggle(event) {
    event?.preventDefault();
    if (stream) {
      stream.abort();
      stream = null;
      go.textContent = "Subscribe";
      state.textContent = "Not subscribed.";
      return;
    }
    stream = new AbortController();
    go.textContent = "Unsubscribe";
    const own = stream.signal;
    keepOpen(() => events("/api/v1/watch/messages", { filter: filter.value }, own, take), own, (now) => {
      state.className = now === "open" || now === "ended" ? "notice" : "problem";
      state.textContent = now === "open" ? `Subscribed to ${filter.value}.` : now === "ended" ? "The broker has ended the stream; trying again." : now;
    });
  }

  function take(batch) {
    received += batch.messages.length + batch.skipped;
    skipped += batch.skipped;
    const rows = batch.messages.map(row).reverse();
    list.prepend(...rows);
    while (list.children.length > KEEP) list.lastElementChild.remove();
    tell();
  }

  function tell() {
    counted.textContent = received ? `${count(received)} received${skipped ? `, ${count(skipped)} of them too fast to be shown` : ""}` : "";
  }

  function row(message) {
    const content = fromBase64(message.payload);
    const open = () => replace(detail,
      el("dl.facts",
        ["Topic", message.topic, "At", clock(message.at), "QoS", `${message.qos}${message.retain ? ", retained" : ""}`, "Size", bytes(message.size)]
          .reduce((pairs, value, index, all) => index % 2 ? pairs : [...pairs, el("div", el("dt", value), el("dd", all[index + 1]))], [])),
      payload(content, message.size));
    return el("li", el("span.time", clock(message.at)),
      el("a.topic.mono", { href: "#", onclick: (event) => { event.preventDefault(); open(); } }, message.topic),
      el("span.side-note", `q${message.qos}${message.retain ? " ret" : ""}`), el("span.body.mono", glimpse(content)));
  }

  function publisher() {
    const topic = el("input", { required: true, spellcheck: "false", placeholder: "plant/hall/lamp" });
    const text = el("textarea", { rows: 3, spellcheck: "false" });
    const qos = select([["0", "0"], ["1", "1"], ["2", "2"]], "0");
    const retain = el("input", { type: "checkbox" });
    const submit = async (event) => {
      event.preventDefault();
      await post("/api/v1/publish", { topic: topic.value, payload: text.value, qos: Number(qos.value), retain: retain.checked })
        .then(() => toast(`published to ${topic.value}`), (problem) => toast(problem.message, true));
    };
    return el("form.form", { onsubmit: submit },
      field("Topic", topic), field("Payload", text),
      el("div.row", field("QoS", qos), el("label.field.check", retain, el("span", "retain")), el("button.primary", "Publish")));
  }

  signal.addEventListener("abort", () => stream?.abort());
  if (query.get("filter")) toggle();
}
