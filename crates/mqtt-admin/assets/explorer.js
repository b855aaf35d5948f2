// The page at /api: each request that the API's own description has, to be filled in and sent.

import { adoptTokenOfAddress, authorization, session } from "./api.js";
import { announce, el, field, panel, replace } from "./dom.js";
import { blank, resolve, typeOf } from "./schema.js";

// So much of an answer is shown; a live stream has no end of its own.
const SHOWN = 200_000;

const main = document.getElementById("main");
adoptTokenOfAddress();
document.documentElement.dataset.theme = localStorage.getItem("gmqtt-theme") ?? "";
show().catch((problem) => replace(main, el("p.problem", `The description of the API cannot be read: ${problem.message}`)));

async function show() {
  const api = await (await fetch("/api/openapi.json", { credentials: "omit" })).json();
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const tag = operation.tags?.[0] ?? "other";
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(request(api, method.toUpperCase(), path, operation));
    }
  }
  replace(main,
    el("header.top", el("h1", `${api.info.title} API`), el("a", { href: "/" }, "Dashboard"), el("a", { href: "/api/openapi.json" }, "openapi.json")),
    el("div.page",
      panel("Who asks", tokenForm()),
      [...groups].map(([tag, requests]) => panel(tag, el("div.requests", requests)))));
}

function tokenForm() {
  const input = el("input", { type: "password", autocomplete: "off", spellcheck: "false" });
  const state = el("p.notice");
  const tell = () => { state.textContent = session.has() ? "Requests carry the token of this tab." : "Requests carry no token yet."; };
  const submit = (event) => {
    event.preventDefault();
    if (input.value) session.begin(input.value); else session.end();
    input.value = "";
    tell();
  };
  tell();
  return el("div", state, el("form.form", { onsubmit: submit }, el("div.row",
    field("Token", input, "kept in this tab alone, until it is closed; with nothing in the field it is forgotten"),
    el("button", "Use it"))));
}

function request(api, method, path, operation) {
  const inputs = (operation.parameters ?? []).map((parameter) => ({ ...parameter, control: control(api, parameter) }));
  const content = operation.requestBody?.content?.["application/json"];
  const body = content && el("textarea", { rows: 5, spellcheck: "false", value: JSON.stringify(blank(api, content.schema), null, 2) });
  const answer = el("div.answer");
  const stop = el("button", { type: "button", hidden: true }, "Stop");
  const send = async (event) => {
    event.preventDefault();
    const running = new AbortController();
    stop.hidden = false;
    stop.onclick = () => running.abort();
    await ask(method, address(path, inputs), body?.value, answer, running.signal);
    stop.hidden = true;
  };
  const [summary, ...more] = (operation.summary ?? "").split("\n");
  return el("details.request",
    el("summary", el(`b.method.${method.toLowerCase()}`, method), " ", el("span.mono", path), " ", el("span.about", summary)),
    el("form.form", { onsubmit: send },
      (operation.description ?? more.join(" ")) && el("p.about", operation.description ?? more.join(" ")),
      inputs.map(({ name, required, description, control }) => field(required ? `${name} (required)` : name, control, description)),
      body && field("Body", body, "application/json"),
      el("div.actions", el("button.primary", "Send"), stop)),
    answer);
}

// What a parameter is filled in with.
function control(api, parameter) {
  const schema = resolve(api, parameter.schema ?? {});
  if (!schema.enum) return el("input", { spellcheck: "false", required: parameter.required, placeholder: typeOf(schema) });
  return el("select", el("option", { value: "" }, "—"), schema.enum.filter(Boolean).map((one) => el("option", { value: one }, one)));
}

function address(path, inputs) {
  const url = new URL(path, location.origin);
  const given = inputs.filter(({ control }) => control.value !== "");
  url.pathname = given.filter((one) => one.in === "path")
    .reduce((so, { name, control }) => so.replace(`{${name}}`, encodeURIComponent(control.value)), path);
  for (const { name, control } of given.filter((one) => one.in === "query")) url.searchParams.set(name, control.value);
  return url;
}

async function ask(method, url, body, answer, signal) {
  const began = performance.now();
  const text = el("pre.payload", { tabindex: "0", "aria-label": "Answer" });
  const state = el("p.notice", "…");
  replace(answer, state, text);
  const headers = { ...authorization() };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  try {
    const response = await fetch(url, { method, headers, body, signal, cache: "no-store", credentials: "omit", redirect: "error" });
    const kind = response.headers.get("Content-Type") ?? "no content";
    state.textContent = `${response.status} ${response.statusText}, ${kind}, after ${Math.round(performance.now() - began)} ms`;
    state.className = response.ok ? "notice" : "problem";
    announce(state.textContent);
    await read(response, kind, text);
  } catch (problem) {
    if (problem.name === "AbortError") return;
    state.textContent = `No answer: ${problem.message}`;
    state.className = "problem";
  }
}

// As it comes: the answer may be a stream.
async function read(response, kind, text) {
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let all = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    all += value;
    // Of a stream the newest is of interest, of anything else the beginning.
    if (kind.includes("event-stream")) all = all.slice(-SHOWN);
    text.textContent = all.length > SHOWN ? `${all.slice(0, SHOWN)}\n…` : all;
  }
  if (/json/.test(kind) && all.length <= SHOWN) text.textContent = JSON.stringify(JSON.parse(all), null, 2);
}
