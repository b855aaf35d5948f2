// To publish, and to see what is published: a client of the broker in the browser.

import { get } from "../api.js";
import { el, field, panel, replace, select, toast } from "../dom.js";
import { bytes, clock, count, glimpse } from "../format.js";
import { addressOf, apiLink, mqttLink } from "../links.js";
import { payload } from "../payload.js";

const KEEP = 400;
const API = "api";

export function console(root, { signal, query }) {
  const list = el("ul.stream", { role: "log", "aria-live": "off", "aria-label": "Messages received", tabindex: "0" });
  const state = el("p.notice", "Subscribe to see messages; retained ones come first.");
  const counted = el("span.note");
  const detail = el("div", el("p.notice", "Choose a message to see all of it."));
  let stream = null;
  let received = 0;
  let skipped = 0;

  const way = waysToTheBroker(signal, () => { if (stream) toggle(); });
  const filter = el("input", { value: query.get("filter") ?? "#", required: true, spellcheck: "false" });
  const go = el("button.primary", "Subscribe");
  const watch = el("form.form", { onsubmit: toggle }, el("div.row", field("Topic filter", filter), go,
    el("button", { type: "button", onclick: () => { received = skipped = 0; replace(list); tell(); } }, "Clear")));
  root.append(
    panel("Connect", way.element),
    el("div.two", panel("Publish", publisher(way)), panel("Subscribe", watch)),
    el("div.side-by-side.reversed", panel("Messages", [list, state], counted), panel("Message", detail)));

  async function toggle(event) {
    event?.preventDefault();
    if (stream) {
      stream.abort();
      stream = null;
      go.textContent = "Subscribe";
      state.className = "notice";
      state.textContent = "Not subscribed.";
      return;
    }
    stream = new AbortController();
    go.textContent = "Unsubscribe";
    const own = stream.signal;
    (await way.link()).watch(filter.value, own, take, (now) => {
      if (own.aborted) return;
      state.className = now === "open" || now === "ended" ? "notice" : "problem";
      state.textContent = now === "open" ? `Subscribed to ${filter.value}.` : now === "ended" ? "The broker has ended the stream; trying again." : now;
    });
  }

  function take(batch) {
    received += batch.messages.length + batch.skipped;
    skipped += batch.skipped;
    list.prepend(...batch.messages.map(row).reverse());
    while (list.children.length > KEEP) list.lastElementChild.remove();
    tell();
  }

  function tell() {
    counted.textContent = received ? `${count(received)} received${skipped ? `, ${count(skipped)} of them too fast to be shown` : ""}` : "";
  }

  function row(message) {
    const open = () => replace(detail,
      el("dl.facts",
        ["Topic", message.topic, "At", clock(message.at), "QoS", `${message.qos}${message.retain ? ", retained" : ""}`, "Size", bytes(message.size)]
          .reduce((pairs, value, index, all) => index % 2 ? pairs : [...pairs, el("div", el("dt", value), el("dd", all[index + 1]))], [])),
      payload(message.content, message.size));
    return el("li", el("span.time", clock(message.at)),
      el("a.topic.mono", { href: "#", onclick: (event) => { event.preventDefault(); open(); } }, message.topic),
      el("span.side-note", `q${message.qos}${message.retain ? " ret" : ""}`), el("span.body.mono", glimpse(message.content)));
  }

  signal.addEventListener("abort", () => stream?.abort());
  if (query.get("filter")) toggle();
}

// By which way, and as whom.
function waysToTheBroker(signal, onChange) {
  const choice = select([[API, "HTTP API"]], API);
  const user = el("input", { autocomplete: "off", spellcheck: "false", placeholder: "if asked for" });
  const password = el("input", { type: "password", autocomplete: "off" });
  const about = el("p.notice", "…");
  const names = el("div.row", field("User name", user), field("Password", password));
  let link = apiLink;
  const choose = () => {
    link.end();
    const credentials = () => ({ user: user.value, password: password.value });
    link = choice.value === API ? apiLink : mqttLink(choice.value, credentials);
    names.hidden = link === apiLink;
    about.textContent = `Messages go ${link.about}.`;
  };
  for (const input of [choice, user, password]) {
    input.addEventListener("change", () => {
      choose();
      onChange();
    });
  }
  const known = get("/api/v1/websockets", {}, signal).then(({ list }) => {
    // A page that came over TLS may not speak without.
    const doors = list.filter(({ secure }) => secure || location.protocol === "http:").map(addressOf);
    replace(choice, [...doors.map((url) => [url, `WebSocket ${url}`]), [API, "HTTP API"]].map(([value, text]) => el("option", { value }, text)));
    choose();
    if (!doors.length) about.textContent = `The broker has no WebSocket listener for this page: messages go ${apiLink.about}.`;
  }, choose);
  signal.addEventListener("abort", () => link.end());
  return { element: el("div.form", el("div.row", field("By way of", choice), names), about), link: () => known.then(() => link) };
}

function publisher(way) {
  const topic = el("input", { required: true, spellcheck: "false", placeholder: "plant/hall/lamp" });
  const text = el("textarea", { rows: 3, spellcheck: "false" });
  const qos = select([["0", "0"], ["1", "1"], ["2", "2"]], "0");
  const retain = el("input", { type: "checkbox" });
  const submit = async (event) => {
    event.preventDefault();
    const message = { topic: topic.value, payload: text.value, qos: Number(qos.value), retain: retain.checked };
    await way.link().then((link) => link.publish(message))
      .then(() => toast(`published to ${topic.value}`), (problem) => toast(problem.message, true));
  };
  return el("form.form", { onsubmit: submit },
    field("Topic", topic), field("Payload", text),
    el("div.row", field("QoS", qos), el("label.field.check", retain, el("span", "retain")), el("button.primary", "Publish")));
}
