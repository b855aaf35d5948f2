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
  // Rows stay the same elements as long as they are shown: a click needs its target to live from press to release.
  let lines = new Map();
  let root = null;

  function draw(newRoot = root) {
    root = newRoot;
    const kept = lines;
    lines = new Map();
    walk(root, 0, kept);
    const rows = [...lines.values()].map((line) => line.row);
    if (rows.length === SHOWN) rows.push(el("p.notice", `Only ${SHOWN} lines are shown: close a branch, or narrow the filter.`));
    const isSame = rows.length === element.children.length && rows.every((row, index) => row === element.children[index]);
    const focused = element.contains(document.activeElement) ? document.activeElement : null;
    if (!isSame) element.replaceChildren(...rows);
    const tabbable = lines.get(focused?.dataset.topic ?? view.selected) ?? lines.values().next().value;
    for (const { row } of lines.values()) row.setAttribute("tabindex", row === tabbable.row ? "0" : "-1");
    if (focused && document.activeElement !== focused && lines.has(focused.dataset.topic)) focused.focus({ preventScroll: true });
  }

  function walk(node, depth, kept) {
    for (const child of [...node.children.values()].sort((a, b) => a.level < b.level ? -1 : 1)) {
      if (lines.size >= SHOWN) return;
      const open = view.opened.has(child.topic);
      const line = kept.get(child.topic) ?? newLine(child, depth);
      lines.set(child.topic, line);
      line.node = child;
      const inner = child.children.size > 0;
      if (inner) line.row.setAttribute("aria-expanded", String(open)); else line.row.removeAttribute("aria-expanded");
      line.row.setAttribute("aria-selected", String(view.selected === child.topic));
      line.twist.textContent = inner ? (open ? "▾" : "▸") : "";
      line.peek.textContent = peek(child);
      line.note.textContent = note(child);
      if (open) walk(child, depth + 1, kept);
    }
  }

  function newLine(node, depth) {
    const line = { node, twist: el("span.twist", { "aria-hidden": "true" }), peek: el("span.peek"), note: el("span.side-note") };
    line.row = el("button.node",
      { type: "button", role: "treeitem", "data-topic": node.topic, "aria-level": depth + 1,
        onclick: () => choose(line.node, !view.opened.has(line.node.topic)) },
      line.twist, el("span.level", node.level === "" ? "(empty)" : node.level), line.peek, line.note);
    line.row.style.setProperty("--depth", depth);
    return line;
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
