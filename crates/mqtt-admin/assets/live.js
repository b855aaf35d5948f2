// The broker's history, kept up to date: one request a second for all pages together.

import { get } from "./api.js";

const KEEP = 300;

// Columns of samples; rates come from neighbours.
class Series {
  constructor(columns) {
    this.columns = columns;
  }

  get length() {
    return this.columns?.at_ms.length ?? 0;
  }

  get at() {
    return this.columns?.at_ms ?? [];
  }

  append(more, keep) {
    for (const [name, column] of Object.entries(more)) {
      const own = this.columns[name];
      if (name === "dropped") column.forEach((row, index) => extend(own[index], row, keep));
      else if (Array.isArray(own) && name !== "drop_reasons") extend(own, column, keep);
    }
  }

  // A gauge as it is.
  gauge(name) {
    return this.columns?.[name] ?? [];
  }

  // A counter's growth, per second; one fewer than there are samples, so the first is doubled.
  rate(column) {
    const values = typeof column === "string" ? this.gauge(column) : column;
    const at = this.at;
    const rates = values.map((value, index) => {
      if (index === 0) return 0;
      const secs = (at[index] - at[index - 1]) / 1000;
      return secs > 0 ? Math.max(0, value - values[index - 1]) / secs : 0;
    });
    if (rates.length > 1) rates[0] = rates[1];
    return rates;
  }

  get drops() {
    const rows = this.columns?.dropped ?? [];
    return this.at.map((_, index) => rows.reduce((sum, row) => sum + row[index], 0));
  }
}

function extend(own, more, keep) {
  own.push(...more);
  if (own.length > keep) own.splice(0, own.length - keep);
}

export const live = {
  minutes: new Series(null),
  hour: new Series(null),
  up: false,
  listeners: new Set(),

  // Calls `listener` at each new sample until the page is left.
  follow(listener, signal) {
    this.listeners.add(listener);
    signal.addEventListener("abort", () => this.listeners.delete(listener));
    if (this.minutes.length) listener();
  },

  async refresh() {
    const grow = async (name, span, keep) => {
      const series = this[name];
      const last = series.at[series.length - 1];
      const more = await get("/api/v1/history", { span, after_ms: last });
      if (series.columns && more.at_ms.length) series.append(more, keep);
      else if (!series.columns) this[name] = new Series(more);
    };
    try {
      await grow("minutes", "minutes", KEEP);
      const newest = this.hour.at[this.hour.length - 1] ?? 0;
      if (Date.now() - newest > 10_000) await grow("hour", "hour", 360);
      this.up = true;
    } catch (problem) {
      if (problem.status === 401) throw problem;
      this.up = false;
    }
    for (const listener of [...this.listeners]) listener();
  },

  forget() {
    this.minutes = new Series(null);
    this.hour = new Series(null);
  },
};
