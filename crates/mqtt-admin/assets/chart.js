// Charts drawn by hand: a line over time, and a small one without axes.

import { el, svg } from "./dom.js";
import { clock } from "./format.js";

const HEIGHT = 150;
const LEFT = 58;
const RIGHT = 10;
const TOP = 10;
const BOTTOM = 22;

// 1, 2, 5, 10, 20, ...: the first that is not below `value`; with binary units, powers of two.
function ceiling(value, binary) {
  if (value <= 0) return 1;
  if (binary) return 2 ** Math.ceil(Math.log2(value));
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 3, 5, 8, 10].map((step) => step * power).find((top) => top >= value * 0.999);
}

function line(values, x, y) {
  return values.map((value, index) => `${index ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`).join("");
}

// { title, series: [{ name, tone }], format, binary } -> { element, update(at, columns) }
export function chart({ title, series, format, binary = false }) {
  const drawing = svg("svg.chart", { height: HEIGHT, role: "img", "aria-label": title });
  const values = series.map(() => el("b", "–"));
  const legend = el("ul.legend", series.map((one, index) =>
    el("li", el(`span.dot.${one.tone}`, { "aria-hidden": "true" }), one.name, " ", values[index])));
  const when = el("span.when");
  const element = el("figure.panel.plot", el("figcaption", el("h2", title), when, legend), drawing);
  let at = [];
  let columns = [];
  let pointed = null;

  function draw() {
    const width = Math.max(240, drawing.clientWidth || element.clientWidth || 480);
    drawing.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const top = ceiling(Math.max(...columns.flat(), 0) * 1.02, binary);
    const first = at[0] ?? 0;
    const last = at[at.length - 1] ?? 1;
    const x = (index) => LEFT + (at[index] - first) / Math.max(1, last - first) * (width - LEFT - RIGHT);
    const y = (value) => HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM);
    const parts = [0, 0.5, 1].map((part) => svg("g",
      svg("line.grid", { x1: LEFT, x2: width - RIGHT, y1: y(top * part), y2: y(top * part) }),
      svg("text.tick", { x: LEFT - 8, y: y(top * part) + 4, "text-anchor": "end" }, format(top * part))));
    if (at.length > 1) {
      parts.push(...times(first, last, (width - LEFT - RIGHT) / 90).map((time) =>
        svg("text.tick", { x: LEFT + (time - first) / (last - first) * (width - LEFT - RIGHT), y: HEIGHT - 5, "text-anchor": "middle" },
          clock(time).slice(0, 5))));
      columns.forEach((column, index) => {
        const path = line(column, x, y);
        if (index === 0) parts.push(svg(`path.area.${series[index].tone}`, { d: `${path}L${x(column.length - 1)} ${y(0)}L${x(0)} ${y(0)}Z` }));
        parts.push(svg(`path.line.${series[index].tone}`, { d: path }));
      });
    } else {
      parts.push(svg("text.tick", { x: width / 2, y: HEIGHT / 2, "text-anchor": "middle" }, "the first figures come in a moment"));
    }
    const shown = pointed === null ? at.length - 1 : Math.min(pointed, at.length - 1);
    if (pointed !== null && at.length > 1) {
      parts.push(svg("line.pointer", { x1: x(shown), x2: x(shown), y1: TOP, y2: HEIGHT - BOTTOM }));
      columns.forEach((column, index) => parts.push(svg(`circle.point.${series[index].tone}`, { cx: x(shown), cy: y(column[shown]), r: 3 })));
    }
    columns.forEach((column, index) => { values[index].textContent = format(column[shown]); });
    when.textContent = pointed !== null && at.length ? clock(at[shown]) : "";
    drawing.replaceChildren(...parts);
  }

  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    const part = (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
    const time = at[0] + part * (at[at.length - 1] - at[0]);
    pointed = at.reduce((best, here, index) => Math.abs(here - time) < Math.abs(at[best] - time) ? index : best, 0);
    draw();
  });
  drawing.addEventListener("pointerleave", () => { pointed = null; draw(); });
  new ResizeObserver(() => draw()).observe(element);

  return {
    element,
    update(newAt, newColumns) {
      at = newAt;
      columns = newColumns;
      draw();
      const spoken = series.map((one, index) => `${one.name} ${values[index].textContent}`).join(", ");
      drawing.setAttribute("aria-label", `${title}, now: ${spoken}`);
    },
  };
}

// Full minutes between two times, as many as there is room for.
function times(first, last, room) {
  const steps = [1, 2, 5, 10, 15, 30].map((minutes) => minutes * 60_000);
  const step = steps.find((one) => (last - first) / one <= room) ?? 3_600_000;
  const found = [];
  for (let time = Math.ceil(first / step) * step; time <= last; time += step) found.push(time);
  return found;
}

// A number with its recent past. -> { element, update(text, values, note) }
export function tile(title, tone, href) {
  const figure = el("b.figure", "–");
  const note = el("span.note");
  const drawing = svg("svg.spark", { viewBox: "0 0 120 32", preserveAspectRatio: "none", "aria-hidden": "true" });
  const element = el(href ? "a.tile" : "div.tile", { href: href ?? null }, el("span.label", title), figure, note, drawing);
  return {
    element,
    update(text, values, hint = "") {
      figure.textContent = text;
      note.textContent = hint;
      const top = Math.max(...values, 1e-9);
      const x = (index) => index / Math.max(1, values.length - 1) * 120;
      const y = (value) => 30 - value / top * 27;
      const path = values.length > 1 ? line(values, x, y) : "";
      drawing.replaceChildren(
        svg(`path.area.${tone}`, { d: path && `${path}L120 32L0 32Z` }), svg(`path.line.${tone}`, { d: path }));
    },
  };
}
