// What the broker runs with, and what can be changed while it runs.

import { get, post, put } from "../api.js";
import { el, facts, field, panel, replace, select, toast } from "../dom.js";

export function settings(root, { signal }) {
  const version = el("div");
  const config = el("div", el("p.notice", "…"));
  const log = el("div");
  root.append(el("div.two", panel("Broker", version), panel("While it runs", log)), panel("Configuration in force", config));
  get("/api/v1/overview", {}, signal).then((all) => replace(version, facts([
    ["Version", all.version], ["API", el("a", { href: "/api" }, "try it")], ["Metrics", el("span.mono", "/metrics")],
  ])), () => {});
  get("/api/v1/config", {}, signal).then((all) => replace(config, lines(all)),
    (problem) => replace(config, el("p.notice", problem.message)));

  get("/api/v1/log-level", {}, signal).then(({ level }) => {
    const levels = ["error", "warn", "info", "debug", "trace"].map((name) => [name, name]);
    if (!levels.some(([name]) => name === level)) levels.unshift([level, level]);
    const chosen = select(levels, level);
    chosen.addEventListener("change", () => put("/api/v1/log-level", { level: chosen.value })
      .then((now) => toast(`logging at ${now.level}, until the next start or a new level in the configuration`), (problem) => toast(problem.message, true)));
    log.prepend(el("div.form", field("Log level", chosen, "until the next start, or until the configuration names another")));
  }, (problem) => log.prepend(el("p.notice", `Log level: ${problem.message}`)));
  log.append(el("div.form", el("div.actions",
    el("button", { type: "button", onclick: () => report(post("/api/v1/reload")) }, "Read the configuration again"),
    el("button", { type: "button", onclick: () => report(post("/api/v1/backup", { name: `dashboard-${new Date().toISOString().slice(0, 19).replace(/[^0-9]/g, "")}` })) }, "Back up the store"))));
}

const report = (asked) => asked.then((answer) => toast(answer.report), (problem) => toast(problem.message, true));

// A nested object as a list of dotted names.
function lines(value) {
  const rows = [];
  const walk = (name, one) => {
    if (one && typeof one === "object" && !Array.isArray(one)) {
      for (const [key, inner] of Object.entries(one)) walk(name ? `${name}.${key}` : key, inner);
    } else {
      rows.push([el("span.mono", name), el("span.mono", typeof one === "string" ? one : JSON.stringify(one))]);
    }
  };
  walk("", value);
  return facts(rows);
}
