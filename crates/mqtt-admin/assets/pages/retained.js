// What is kept for future subscribers, as a tree of topics: to look at, and to delete.

import { get, remove } from "../api.js";
import { confirm, el, facts, field, panel, paused, replace, toast } from "../dom.js";
import { bytes, count, fromBase64, glimpse } from "../format.js";
import { payload } from "../payload.js";
import { Node, tree } from "../tree.js";

const PAGE = 1_000;
const MOST = 20_000;

export function retained(root, { signal, query }) {
  const filter = el("input", { type: "search", value: query.get("filter") ?? "#", spellcheck: "false" });
  const note = el("span.note");
  const more = el("div.form");
  const detail = el("div", el("p.notice", "Choose a topic to see what is retained for it."));
  const view = tree({
    label: "Topics with a retained message",
    note: (node) => node.leaf ? bytes(node.leaf.payload_bytes) : `${count(node.inside ?? 0)}`,
    peek: (node) => node.leaf ? glimpse(fromBase64(node.leaf.payload)) : "",
    onSelect: show,
  });
  let top;
  let known;
  let after;
  // Each grows with what is asked for: answers to what was asked before are too late.
  let reading = 0;
  let showing = 0;
  root.append(el("div.filters", field("Topic filter", filter), el("button", { type: "button", onclick: begin }, "Read again")),
    el("div.side-by-side", panel("Retained messages", [view.element, more], note), panel("Message", detail)));

  async function begin() {
    top = new Node("", "");
    known = 0;
    after = undefined;
    await load();
    if (top.children.size === 1) view.opened.add([...top.children.keys()][0]);
    view.draw(top);
  }

  async function load() {
    const own = reading += 1;
    const page = await get("/api/v1/retained", { filter: filter.value || "#", after, limit: PAGE }, signal).catch((problem) => problem);
    if (own !== reading || page.name === "AbortError") return;
    if (page instanceof Error) {
      replace(more, el("p.problem", page.message));
      return;
    }
    for (const one of page.list) {
      const path = Node.reach(top, one.topic);
      path[path.length - 1].leaf = one;
      for (const node of path) node.inside = (node.inside ?? 0) + 1;
      known += 1;
    }
    after = page.next_after;
    note.textContent = `${count(known)}${after ? " and more" : ""}`;
    replace(more,
      !known && el("p.notice", "Nothing is retained for these topics."),
      after && known < MOST && el("button", { type: "button", onclick: load }, `Show ${count(PAGE)} more`),
      after && known >= MOST && el("p.notice", "That is as much as is shown: narrow the filter."));
    view.draw(top);
  }

  async function show(node) {
    const own = showing += 1;
    const below = node.children.size > 0 && el("button.danger", { type: "button", onclick: () => forget(`${node.topic}/#`, node.inside) }, "Delete this and all below");
    if (!node.leaf) {
      replace(detail, facts([["Topic", el("span.mono", node.topic)], ["Retained below it", count(node.inside ?? 0)]]), el("div.form", el("div.actions", below)));
      return;
    }
    const whole = await get("/api/v1/retained/message", { topic: node.topic }, signal).catch((problem) => problem);
    if (own !== showing || whole.name === "AbortError") return;
    if (whole instanceof Error) {
      replace(detail, el("p.problem", whole.message));
      return;
    }
    replace(detail,
      facts([["Topic", el("span.mono", whole.topic)], ["QoS", whole.qos], ["Size", bytes(whole.payload_bytes)]]),
      el("div.form", el("div.actions",
        el("button.danger", { type: "button", onclick: () => forget(node.topic, 1) }, "Delete"), below)),
      payload(fromBase64(whole.payload), whole.payload_bytes));
  }

  async function forget(topics, how_many) {
    const text = `${count(how_many)} retained ${how_many === 1 ? "message is" : "messages are"} deleted for good. Subscribers keep what they have.`;
    if (!await confirm(`Delete ${topics}?`, text, "Delete")) return;
    await remove("/api/v1/retained", { filter: topics })
      .then((done) => toast(`${count(done.forgotten)} deleted`), (problem) => toast(problem.message, true));
    showing += 1;
    replace(detail, el("p.notice", "Choose a topic to see what is retained for it."));
    begin();
  }

  filter.addEventListener("input", paused(begin, 400));
  begin();
}
