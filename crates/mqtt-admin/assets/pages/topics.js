// What is published now, as a tree of topics with rates.

import { events } from "../api.js";
import { el, facts, field, panel, paused, replace } from "../dom.js";
import { bytes, clock, count, fromBase64, glimpse, rate } from "../format.js";
import { payload } from "../payload.js";
import { keepOpen } from "../timer.js";
import { Node, tree } from "../tree.js";

const KEEP = 20_000;

export function topics(root, { signal, query }) {
  const filter = el("input", { type: "search", value: query.get("filter") ?? "#", spellcheck: "false" });
  const state = el("p.notice");
  const totals = el("span.note");
  let top = new Node("", "");
  let known = 0;
  let stream = new AbortController();
  const detail = el("div", el("p.notice", "Choose a topic to see its last message."));
  const view = tree({
    label: "Topics that are published to",
    note: (node) => node.rate >= 0.05 ? `${rate(node.rate)}/s` : "",
    peek: (node) => node.leaf ? glimpse(node.payload) : "",
    onSelect: show,
  });
  root.append(el("div.filters", field("Topic filter", filter, "What is retained comes first. Every message is counted; a second's last one is shown.")),
    el("div.side-by-side", panel("Topics", [view.element, state], totals), panel("Last message", detail)));

  function show(node) {
    if (!node.leaf) {
      replace(detail, facts([
        ["Topic", el("span.mono", node.topic)], ["Below it", `${count(node.children.size)} levels`],
        ["Messages", `${rate(node.rate ?? 0)}/s, with all below it`],
      ]));
      return;
    }
    const last = node.leaf;
    const shownNow = detail.querySelector("[data-at]")?.dataset;
    if (shownNow?.topic === node.topic && shownNow.at === last.at) return;
    replace(detail, el("div", { "data-topic": node.topic, "data-at": last.at },
      facts([
        ["Topic", el("span.mono", node.topic)], ["At", clock(last.at)], ["QoS", last.qos + (last.retain ? ", retained" : "")],
        ["Size", bytes(last.size)], ["Messages", `${rate(node.rate ?? 0)}/s, ${count(node.count)} since this page is open`],
        ["", el("a", { href: `#/console?filter=${encodeURIComponent(node.topic)}` }, "watch all of them in the console")],
      ]),
      payload(node.payload, last.size)));
  }

  function take(second) {
    const seen = new Map();
    for (const one of second.topics) {
      if (known >= KEEP && !find(one.topic)) continue;
      const path = Node.reach(top, one.topic);
      const node = path[path.length - 1];
      if (!node.leaf) known += 1;
      node.leaf = one.last;
      node.payload = fromBase64(one.last.payload);
      node.count = (node.count ?? 0) + one.messages;
      for (const above of path) seen.set(above, (seen.get(above) ?? 0) + one.messages);
    }
    settle(top, seen);
    if (view.opened.size === 0 && top.children.size === 1) view.opened.add([...top.children.keys()][0]);
    totals.textContent = `${count(known)} topics, ${rate(top.rate ?? 0)}/s`
      + (second.other_messages ? `; ${count(second.other_messages)} messages to more topics than are told apart in a second` : "");
    view.draw(top);
    state.textContent = known ? "" : "Nothing is published to these topics yet.";
    const selected = view.selected && find(view.selected);
    if (selected) show(selected);
  }

  const find = (topic) => topic.split("/").reduce((node, level) => node?.children.get(level), top);

  // A mean over some seconds, so that what comes every two seconds does not flicker.
  function settle(node, seen) {
    const now = seen.get(node) ?? 0;
    node.rate = node.rate === undefined ? now : node.rate * 0.7 + now * 0.3;
    for (const child of node.children.values()) settle(child, seen);
  }

  function begin() {
    stream.abort();
    stream = new AbortController();
    top = new Node("", "");
    known = 0;
    view.opened.clear();
    const own = stream.signal;
    keepOpen(() => events("/api/v1/watch/topics", { filter: filter.value || "#" }, own, take), own, (now) => {
      state.className = now === "open" || now === "ended" ? "notice" : "problem";
      state.textContent = now === "open" ? "…" : now === "ended" ? "The broker has ended the stream; trying again." : now;
    });
  }
  filter.addEventListener("input", paused(begin, 500));
  signal.addEventListener("abort", () => stream.abort());
  begin();
}
