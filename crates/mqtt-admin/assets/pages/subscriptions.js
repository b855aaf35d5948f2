// Who subscribes to what; to make and remove a subscription for a client.

import { get, post } from "../api.js";
import { confirm, el, field, pages, panel, paused, replace, select, table, toast } from "../dom.js";
import { moment } from "../format.js";
import { every } from "../timer.js";

export function subscriptions(root, { signal, query }) {
  const state = { name: query.get("name") ?? "", client_id: query.get("client_id") ?? "", cursors: [] };
  // Grows when something else is asked for: answers from before are too late.
  let turn = 0;
  const filter = el("input", { type: "search", value: state.name, placeholder: "part of a filter", spellcheck: "false" });
  const client = el("input", { type: "search", value: state.client_id, placeholder: "part of a client identifier", spellcheck: "false" });
  const list = el("div");
  const pager = el("nav.pager", { "aria-label": "Pages of the list" });
  root.append(el("div.filters", field("Filter", filter), field("Client", client)),
    panel("", [list, pager]), panel("Subscribe a client", form()));

  async function load() {
    const own = turn;
    const cursor = state.cursors[state.cursors.length - 1];
    const asked = { name: state.name, client_id: state.client_id, cursor, "per-page": 50 };
    const page = await get("/api/v1/subscriptions", asked, signal).catch((problem) => problem);
    if (own !== turn || page.name === "AbortError") return;
    if (page instanceof Error) {
      replace(list, el("p.problem", page.message));
      return;
    }
    replace(list, table({
      caption: "Subscriptions",
      columns: [
        { name: "Filter", mono: true, wide: true, cell: (row) => row.name },
        { name: "Client", mono: true, cell: (row) => el("a", { href: `#/clients/${encodeURIComponent(row.client_id)}` }, row.client_id) },
        { name: "QoS", number: true, cell: (row) => row.qos },
        { name: "Since", number: true, cell: (row) => moment(row.at) },
        { name: "", number: true, cell: (row) => el("button.small.danger", { type: "button", "aria-label": `Remove ${row.name} of ${row.client_id}`, onclick: () => removeOne(row) }, "Remove") },
      ],
      rows: page.list,
      empty: "No subscription is like this.",
    }));
    replace(pager, ...pages(page, state.cursors, again));
  }
  function again(cursors = []) {
    state.cursors = cursors;
    turn += 1;
    load();
  }

  async function removeOne(row) {
    const text = `${row.client_id} gets nothing more for ${row.name}. It is not told.`;
    if (!await confirm("Remove this subscription?", text, "Remove")) return;
    await post("/api/v1/unsubscribe", { client_id: row.client_id, topic: row.name })
      .then(() => toast("removed"), (problem) => toast(problem.message, true));
    load();
  }

  function form() {
    const who = el("input", { required: true, spellcheck: "false" });
    const what = el("input", { required: true, spellcheck: "false", placeholder: "plant/+/temperature" });
    const qos = select([["0", "0"], ["1", "1"], ["2", "2"]], "0");
    const submit = async (event) => {
      event.preventDefault();
      await post("/api/v1/subscribe", { client_id: who.value, topic: what.value, qos: Number(qos.value) })
        .then(() => toast(`${who.value} is subscribed to ${what.value}`), (problem) => toast(problem.message, true));
      load();
    };
    return el("form.form", { onsubmit: submit }, el("div.row",
      field("Client identifier", who), field("Filter", what), field("QoS", qos), el("button", "Subscribe")));
  }

  const follow = (name, input) => input.addEventListener("input", paused(() => {
    state[name] = input.value;
    again();
  }));
  follow("name", filter);
  follow("client_id", client);
  load();
  every(5000, load, signal);
}
