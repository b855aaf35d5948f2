// Who may not connect.

import { get, post, remove } from "../api.js";
import { confirm, el, field, panel, replace, select, table, toast } from "../dom.js";
import { span } from "../format.js";
import { every } from "../timer.js";

const KINDS = [["client_id", "client identifier"], ["username", "user name"], ["network", "address or network"]];
const TIMES = [["600", "10 minutes"], ["3600", "an hour"], ["86400", "a day"], ["604800", "a week"], ["", "for ever"]];
const ORIGINS = { operator: "an operator", configuration: "the configuration", flapping: "the broker: it connected too often" };
const MOST_BYTES = 256;

export function bans(root, { signal, query }) {
  const list = el("div");
  const kind = select(KINDS, KINDS.find(([name]) => query.has(name))?.[0] ?? "client_id");
  const value = el("input", { required: true, spellcheck: "false", value: query.get(kind.value) ?? "" });
  const reason = el("input", { placeholder: "for whoever reads this list", oninput: () => {
    const length = new TextEncoder().encode(reason.value).length;
    reason.setCustomValidity(length > MOST_BYTES ? `${length} bytes; at most ${MOST_BYTES}` : "");
  } });
  const time = select(TIMES, "3600");
  const submit = async (event) => {
    event.preventDefault();
    const text = "Whoever is connected and meant is disconnected now, and refused until the ban ends.";
    if (!await confirm(`Ban ${value.value}?`, text, "Ban")) return;
    const ban = { [kind.value]: value.value, reason: reason.value };
    if (time.value) ban.seconds = Number(time.value);
    await post("/api/v1/bans", ban).then(() => toast(`${value.value} is banned`), (problem) => toast(problem.message, true));
    load();
  };
  root.append(
    panel("Ban", el("form.form", { onsubmit: submit }, el("div.row",
      field("Who", kind), field("Name or address", value), field("Reason", reason), field("For", time), el("button.danger", "Ban")))),
    panel("Bans in force", list));

  async function load() {
    const all = await get("/api/v1/bans", {}, signal).catch((problem) => {
      if (problem.name !== "AbortError") replace(list, el("p.problem", problem.message));
    });
    if (!all) return;
    replace(list, table({
      caption: "Bans in force",
      columns: [
        { name: "Who", mono: true, wide: true, cell: (row) => row.value },
        { name: "Kind", cell: (row) => KINDS.find(([name]) => name === row.kind)?.[1] ?? row.kind },
        { name: "Reason", wide: true, cell: (row) => row.reason || "—" },
        { name: "Made by", cell: (row) => ORIGINS[row.origin] ?? row.origin },
        { name: "Ends in", number: true, cell: (row) => row.seconds_left === null ? "never" : span(row.seconds_left) },
        { name: "", number: true, cell: (row) => el("button.small", { type: "button", "aria-label": `End the ban of ${row.value}`, onclick: () => end(row) }, "End") },
      ],
      rows: all,
      empty: "Nobody is banned.",
    }));
  }
  async function end(row) {
    const until = row.origin === "configuration" ? " until the next reload: the ban stands in the configuration" : " again";
    await remove("/api/v1/bans", { [row.kind]: row.value }).then(() => toast(`${row.value} may connect${until}`), (problem) => toast(problem.message, true));
    load();
  }
  load();
  every(3000, load, signal);
}
