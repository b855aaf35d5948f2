// Who is connected: a list, and one of them in full.

import { get, named, remove } from "../api.js";
import { confirm, el, facts, field, pages, panel, paused, replace, select, table, toast } from "../dom.js";
import { bytes, count, fromBase64, glimpse, moment, reason, sentence, since } from "../format.js";
import { every } from "../timer.js";

const SIZE = 50;
const DESCENDING = ["subscriptions", "inflight_len", "msg_queue_len", "msg_queue_bytes", "msg_queue_dropped"];
const link = (id) => el("a", { href: `#/clients/${encodeURIComponent(id)}` }, id);

const COLUMNS = [
  { name: "Client", key: "client_id", mono: true, wide: true, cell: (row) => link(row.client_id) },
  { name: "User", key: "username", cell: (row) => row.username || "—" },
  { name: "Address", mono: true, cell: (row) => row.remote_addr || "—" },
  { name: "Connected", key: "connected_at", number: true, cell: (row) => row.status === "offline" ? "offline" : el("span", { title: moment(row.connected_at) }, since(row.connected_at)) },
  { name: "In flight", key: "inflight_len", number: true, cell: (row) => count(row.inflight_len) },
  { name: "Waiting", key: "msg_queue_len", number: true, cell: (row) => count(row.msg_queue_len) },
  { name: "Bytes", key: "msg_queue_bytes", number: true, cell: (row) => bytes(row.msg_queue_bytes) },
  { name: "Dropped", key: "msg_queue_dropped", number: true, cell: (row) => count(row.msg_queue_dropped) },
];

export function clients(root, { signal, query }) {
  const state = {
    sort: query.get("sort") ?? "client_id", client_id: query.get("client_id") ?? "", what: "clients",
    order: null, cursors: [],
  };
  // Grows when something else is asked for: answers from before are too late.
  let turn = 0;
  state.order = DESCENDING.includes(state.sort) ? "desc" : "asc";
  const search = el("input", { type: "search", value: state.client_id, placeholder: "part of a client identifier", spellcheck: "false" });
  const which = select([["clients", "connected"], ["sessions", "all sessions"]], state.what);
  const list = el("div");
  const pager = el("nav.pager", { "aria-label": "Pages of the list" });
  root.append(el("div.filters", field("Search", search), field("Show", which)), panel("", [list, pager]));

  async function load() {
    const own = turn;
    const cursor = state.cursors[state.cursors.length - 1];
    const asked = { sort: state.sort, order: state.order, client_id: state.client_id, cursor, "per-page": SIZE };
    const page = await get(`/api/v1/${state.what}`, asked, signal).catch((problem) => problem);
    if (own !== turn || page.name === "AbortError") return;
    if (page instanceof Error) {
      replace(list, el("p.problem", page.message));
      return;
    }
    const focused = document.activeElement?.closest(".sort")?.textContent;
    const scrolled = list.firstElementChild?.scrollLeft ?? 0;
    replace(list, table({
      caption: "Clients", columns: COLUMNS, rows: page.list, sort: { key: state.sort, order: state.order }, onSort,
      empty: state.client_id ? "No client identifier has this in it." : "Nobody is connected.",
    }));
    list.firstElementChild.scrollLeft = scrolled;
    if (focused) [...list.querySelectorAll(".sort")].find((one) => one.textContent === focused)?.focus();
    replace(pager, ...pages(page, state.cursors, again));
  }
  function again(cursors = []) {
    state.cursors = cursors;
    turn += 1;
    load();
  }
  function onSort(key) {
    const first = DESCENDING.includes(key) ? "desc" : "asc";
    state.order = state.sort === key ? (state.order === "asc" ? "desc" : "asc") : first;
    state.sort = key;
    again();
  }
  search.addEventListener("input", paused(() => { state.client_id = search.value; again(); }));
  which.addEventListener("change", () => { state.what = which.value; again(); });
  load();
  every(3000, load, signal);
}

export function client(root, { signal, name }) {
  const about = el("div");
  const actions = el("div.actions");
  const queue = el("div");
  const subscriptions = el("div");
  const timeline = el("div");
  const waiting = el("div");
  root.append(actions,
    el("div.two", panel("Client", about), panel("Messages for it", [queue, waiting])),
    el("div.two", panel("What happened lately", timeline), panel("Subscriptions", subscriptions)));

  const act = async (what, done) => {
    try {
      await what();
      toast(done);
      load();
    } catch (problem) {
      toast(problem.message, true);
    }
  };
  const disconnect = async () => {
    const text = `Its Will is published. Unless it is clean, its session stays. Most clients connect again at once.`;
    if (await confirm(`Disconnect ${name}?`, text, "Disconnect")) {
      act(() => remove(named("/api/v1/client", name)), `${name} is disconnected`);
    }
  };
  const end = async () => {
    const text = "Its connection is closed; its subscriptions, and the messages that wait for it, are gone for good.";
    if (await confirm(`End the session of ${name}?`, text, "End the session")) {
      act(() => remove(named("/api/v1/session", name)), `the session of ${name} has ended`);
    }
  };

  // Only when asked for: they may have to be read from the disk.
  async function look() {
    const oldest = await get(named("/api/v1/session", name, "/queue"), { limit: 20 }, signal).catch((problem) => problem);
    if (oldest.name === "AbortError") return;
    replace(waiting, oldest instanceof Error ? el("p.notice", oldest.message) : table({
      caption: `The oldest messages that wait for ${name}`,
      columns: [
        { name: "Topic", mono: true, wide: true, cell: (row) => row.topic },
        { name: "QoS", number: true, cell: (row) => row.qos },
        { name: "Payload", mono: true, cell: (row) => glimpse(fromBase64(row.payload)) },
      ],
      rows: oldest.list,
      empty: "No message waits for it.",
    }));
  }

  // What is known of it stays when it is gone: that is when one asks.
  async function history() {
    const past = await get(named("/api/v1/client", name, "/events"), {}, signal).catch((problem) => problem);
    if (past.name === "AbortError") return;
    if (past instanceof Error) {
      replace(timeline, el("p.notice", past.message));
      return;
    }
    replace(timeline, table({
      caption: `What happened to ${name}, the newest first`,
      columns: [{ name: "When", cell: (row) => el("span.reason", moment(row.at)) }, { name: "What", wide: true, cell: sentence }],
      rows: past.list.reverse(),
      empty: "Nothing is known.",
    }));
  }

  async function load() {
    let one;
    let filters;
    history();
    try {
      [one, filters] = await Promise.all([
        get(named("/api/v1/session", name), {}, signal),
        get(named("/api/v1/subscriptions", name), { "per-page": 1000 }, signal),
      ]);
    } catch (problem) {
      if (problem.name === "AbortError") return;
      replace(about, el("p.problem", problem.status === 404 ? "It has no session any more." : problem.message));
      replace(queue);
      replace(waiting);
      replace(subscriptions);
      replace(actions);
      delete actions.dataset.online;
      return;
    }
    const online = one.status === "online";
    if (actions.dataset.online !== String(online)) {
      actions.dataset.online = online;
      replace(actions,
        el("button.danger", { type: "button", disabled: !online, onclick: disconnect }, "Disconnect"),
        el("button.danger", { type: "button", onclick: end }, "End session"),
        el("button", { type: "button", onclick: look }, "Look at its queue"),
        el("a.button", { href: `#/bans?client_id=${encodeURIComponent(name)}` }, "Ban …"),
        el("a.button", { href: `#/trace?client_id=${encodeURIComponent(name)}` }, "Trace"));
    }
    replace(about, facts([
      ["State", el(`span.badge.${online ? "good" : "off"}`, online ? "connected" : "absent")],
      ["User name", one.username],
      ["Address", el("span.mono", one.remote_addr)],
      online ? ["Connected", `${moment(one.connected_at)} (${since(one.connected_at)})`] : ["Absent since", moment(one.offline_at)],
      ["Session", one.clean_session ? "clean: ends with the connection" : "kept while it is absent"],
    ]));
    replace(queue, facts([
      ["Waiting", `${count(one.msg_queue_len)} of ${count(one.max_msg_queue)} messages, ${bytes(one.msg_queue_bytes)}`],
      ["In flight", `${count(one.inflight_len)} of ${count(one.max_inflight)}`],
      ["Received, not released (QoS 2)", count(one.unreleased_len)],
      ["Dropped", Object.entries(one.dropped ?? {}).filter(([, many]) => many > 0)
        .map(([why, many]) => `${count(many)} ${reason(why)}`).join(", ") || count(one.msg_queue_dropped)],
      one.last_drop && ["Last dropped", `${reason(one.last_drop.reason)}${one.last_drop.at ? `, ${moment(one.last_drop.at)}` : ""}`],
      one.messages_sent !== undefined && ["Sent to it", `${count(one.messages_sent)} messages, ${bytes(one.bytes_sent)}`],
      one.messages_received !== undefined && ["Received from it", `${count(one.messages_received)} messages, ${bytes(one.bytes_received)}`],
    ]));
    replace(subscriptions, table({
      caption: `Subscriptions of ${name}`,
      columns: [
        { name: "Filter", mono: true, wide: true, cell: (row) => row.name },
        { name: "QoS", number: true, cell: (row) => row.qos },
        { name: "Since", number: true, cell: (row) => moment(row.at) },
      ],
      rows: filters.list,
      empty: "It subscribes to nothing.",
    }));
  }
  load();
  every(2000, load, signal);
}
