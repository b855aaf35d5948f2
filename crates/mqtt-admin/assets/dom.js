// Elements out of text. Nothing here reads markup: what clients send is put into the page as text, whatever it is.

import { count } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";

// el("button.primary", { type: "button", onclick }, "Text", child, ...)
export function el(spec, ...rest) {
  const [tag, ...classes] = spec.split(".");
  return fill(document.createElement(tag), classes, rest);
}

export function svg(spec, ...rest) {
  const [tag, ...classes] = spec.split(".");
  return fill(document.createElementNS(SVG, tag), classes, rest);
}

function fill(element, classes, rest) {
  if (classes.length) element.setAttribute("class", classes.join(" "));
  for (const part of rest.flat(Infinity)) {
    if (part === null || part === undefined || part === false) continue;
    if (part instanceof Node) element.append(part);
    else if (typeof part === "object") properties(element, part);
    else element.append(String(part));
  }
  return element;
}

function properties(element, all) {
  for (const [name, value] of Object.entries(all)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
}

export function replace(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child || child === 0));
}

// Said once to who does not see the page change.
export function announce(text) {
  document.getElementById("announce").textContent = text;
}

let toastTimer;
export function toast(text, bad = false) {
  document.querySelector(".toast")?.remove();
  const box = el(`div.toast${bad ? ".bad" : ""}`, text);
  document.body.append(box);
  announce(text);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => box.remove(), 5000);
}

// Asks before what cannot be undone. Resolves to whether it was agreed to.
export function confirm(title, text, action) {
  return new Promise((resolve) => {
    const dialog = el("dialog.confirm", { "aria-labelledby": "confirm-title" },
      el("h2", { id: "confirm-title" }, title), el("p", text),
      el("form", { method: "dialog" },
        el("button", { value: "no" }, "Cancel"),
        el("button.danger", { value: "yes", autofocus: true }, action)));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

// A labelled control.
export function field(label, control, hint) {
  return el("label.field", el("span.label", label), control, hint && el("span.hint", hint));
}

export function select(options, chosen, properties = {}) {
  return el("select", properties, options.map(([value, text]) =>
    el("option", { value, selected: value === chosen }, text)));
}

// Not on every key: when the typing pauses.
export function paused(act, wait = 250) {
  let timer;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...args), wait);
  };
}

export function panel(title, body, extra) {
  return el("section.panel", el("header", el("h2", title), extra), body);
}

// columns: [{ name, cell(row), key?, number?, mono? }]; a row may lead somewhere: href(row).
export function table({ caption, columns, rows, sort, onSort, empty = "Nothing here." }) {
  const heads = columns.map((column) => {
    const active = sort && column.key === sort.key;
    const cell = column.key && onSort
      ? el("button.sort", { type: "button", onclick: () => onSort(column.key) },
        column.name, active && el("span.arrow", { "aria-hidden": "true" }, sort.order === "desc" ? "▾" : "▴"))
      : column.name;
    return el(`th${column.number ? ".number" : ""}`,
      { scope: "col", "aria-sort": active ? (sort.order === "desc" ? "descending" : "ascending") : null }, cell);
  });
  const body = rows.map((row) => el("tr", columns.map((column, index) => {
    const classes = [column.number && "number", column.mono && "mono", column.wide && "wide"].filter(Boolean);
    return el([index === 0 ? "th" : "td", ...classes].join("."), index === 0 ? { scope: "row" } : {}, column.cell(row));
  })));
  if (!rows.length) body.push(el("tr", el("td.empty", { colspan: columns.length }, empty)));
  return el("div.scroll", { tabindex: "0", role: "region", "aria-label": caption },
    el("table", el("caption.hidden", caption), el("thead", el("tr", heads)), el("tbody", body)));
}

// What stands below a page of a list: where it is, and the ways to the one before and the next. `cursors` led here; `again` shows
// the page to which others lead.
export function pages(page, cursors, again) {
  const from = (page.page - 1) * page.page_size;
  return [
    el("span", page.total_count ? `${count(from + 1)}–${count(from + page.current_count)} of ${count(page.total_count)}` : "0"),
    el("button", { type: "button", disabled: !cursors.length, onclick: () => again(cursors.slice(0, -1)) }, "Previous"),
    el("button", { type: "button", disabled: !page.next_cursor, onclick: () => again([...cursors, page.next_cursor]) }, "Next"),
  ];
}

export function facts(pairs) {
  return el("dl.facts", pairs.filter(Boolean).map(([name, value]) =>
    el("div", el("dt", name), el("dd", value === "" || value === null || value === undefined ? "—" : value))));
}
