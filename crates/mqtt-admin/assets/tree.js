// A tree of topics that opens level by level, drawn again whenever it changes; arrow keys walk it.

import { el } from "./dom.js";

const SHOWN = 1_500;

export class Node {
  constructor(level, topic) {
    this.level = level;
    this.topic = topic;
    this.children = new Map();
    this.leaf = null;
  }

  // The node of a topic, made if need be, with all above it.
  static reach(root, topic) {
    const path = [root];
    let node = root;
    let at = "";
    topic.split("/").forEach((level, index) => {
      at = index ? `${at}/${level}` : level;
      let child = node.children.get(level);
      if (!child) node.children.set(level, child = new Node(level, at));
      path.push(node = child);
    });
    return path;
  }
}

// { label, note(node), peek(node), onSelect(node) } -> { element, draw(root), opened, selected }
export function tree({ label, note, peek, onSelect }) {
  const element = el("div.tree", { role: "tree", "aria-label": label });
  const view = { element, opened: new Set(), selected: null, draw };
  let root = null;

  function draw(newRoot = root) {
    root = newRoot;
    const focused = document.activeElement?.dataset?.topic;
    const rows = [];
    walk(root, 0, rows);
    element.replaceChildren(...rows);
    if (rows.length === SHOWN) element.append(el("p.notice", `Only ${SHOWN} lines are shown: close a branch, or narrow the filter.`));
    const tabbable = rows.find((row) => row.dataset.topic === (focused ?? view.selected)) ?? rows[0];
    tabbable?.setAttribute("tabindex", "0");
    if (focused !== undefined && tabbable?.dataset.topic === focused) tabbable.focus({ preventScroll: true });
  }

  function walk(node, depth, rows) {
    for (const child of [...node.children.values()].sort((a, b) => a.level < b.level ? -1 : 1)) {
      if (rows.length >= SHOWN) return;
      const open = view.opened.has(child.topic);
      const inner = child.children.size > 0;
      const row = el("button.node", {
        type: "button", role: "treeitem", tabindex: "-1", "data-topic": child.topic, "aria-level": depth + 1,
        "aria-expanded": inner ? String(open) : null, "aria-selected": String(view.selected === child.topic),
        onclick: () => choose(child, !open),
      },
      el("span.twist", { "aria-hidden": "true" }, inner ? (open ? "▾" : "▸") : ""),
      el("span.level", child.level === "" ? "(empty)" : child.level),
      el("span.peek", peek(child)), el("span.side-note", note(child)));
      row.style.setProperty("--depth", depth);
      rows.push(row);
      if (open) walk(child, depth + 1, rows);
    }
  }

  function choose(node, open) {
    if (open) view.opened.add(node.topic); else view.opened.delete(node.topic);
    view.selected = node.topic;
    onSelect(node);
    draw();
  }

  element.addEventListener("keydown", (event) => {
    const row = event.target.closest(".node");
    if (!row) return;
    const step = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling }[event.key];
    const open = row.getAttribute("aria-expanded");
    if (step?.matches?.(".node")) step.focus();
    else if ((event.key === "ArrowRight" && open === "false") || (event.key === "ArrowLeft" && open === "true")) row.click();
    else return;
    event.preventDefault();
  });
  return view;
}
