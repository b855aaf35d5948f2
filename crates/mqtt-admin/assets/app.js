// The page: who is logged in, which view is shown, what is the same on all of them.

import { adoptTokenOfAddress, get, session } from "./api.js";
import { el, field, replace, svg } from "./dom.js";
import { live } from "./live.js";
import { overview } from "./pages/overview.js";
import { bans } from "./pages/bans.js";
import { client, clients } from "./pages/clients.js";
import { console } from "./pages/console.js";
import { retained } from "./pages/retained.js";
import { settings } from "./pages/settings.js";
import { subscriptions } from "./pages/subscriptions.js";
import { topics } from "./pages/topics.js";
import { trace } from "./pages/trace.js";
import { trouble } from "./pages/trouble.js";

const PAGES = [
  { path: "overview", title: "Overview", show: overview },
  { path: "clients", title: "Clients", show: clients, detail: client },
  { path: "subscriptions", title: "Subscriptions", show: subscriptions },
  { path: "retained", title: "Retained", show: retained },
  { path: "topics", title: "Topics", show: topics },
  { path: "console", title: "Console", show: console },
  { path: "trouble", title: "Trouble", show: trouble },
  { path: "trace", title: "Trace", show: trace },
  { path: "bans", title: "Bans", show: bans },
  { path: "settings", title: "Settings", show: settings },
];

const app = document.getElementById("app");
let leaving = new AbortController();
let pulse;

adoptTokenOfAddress();
theme(localStorage.getItem("gmqtt-theme"));
session.whenRefused((detail) => { logOut(detail); });
window.addEventListener("hashchange", () => {
  adoptTokenOfAddress();
  if (!session.has()) return;
  if (document.querySelector("nav.side")) show(); else start();
});
if (session.has()) start(); else logIn();

function logIn(problem) {
  document.title = "gmqtt";
  const input = el("input", { type: "password", autocomplete: "off", spellcheck: "false", required: true, autofocus: true,
    "aria-describedby": problem ? "login-problem" : null });
  const submit = async (event) => {
    event.preventDefault();
    session.begin(input.value);
    try {
      await get("/api/v1/overview");
      start();
    } catch (problem) {
      session.end();
      logIn(problem.message);
    }
  };
  replace(app, el("main.login", { id: "main" },
    el("form.panel", { onsubmit: submit },
      el("div.brand", logo(), el("b", "gmqtt")),
      field("Token", input, "gmqtt writes one to the file admin-token of its data directory, and says where at its start."),
      problem && el("p.problem", { id: "login-problem", role: "alert" }, problem),
      el("button.primary", "Log in"))));
  input.focus();
}

function logOut(problem) {
  session.end();
  clearInterval(pulse);
  pulse = undefined;
  leaving.abort();
  live.forget();
  logIn(problem);
}

function start() {
  const links = PAGES.map((page) => el("li", el("a", { href: `#/${page.path}` }, page.title)));
  const state = el("span.state", { role: "img" });
  replace(app,
    el("nav.side", { "aria-label": "Pages" },
      el("a.brand", { href: "#/overview" }, logo(), el("b", "gmqtt"), state),
      el("ul", links),
      el("div.tools",
        el("button", { type: "button", onclick: nextTheme, title: "Light, dark, or as the system has it", "aria-label": "Theme" }, "◐", el("span.word", " Theme")),
        el("button", { type: "button", onclick: () => logOut(), "aria-label": "Log out" }, "→", el("span.word", " Log out")))),
    el("main", { id: "main", tabindex: "-1" }));
  const beat = async () => {
    await live.refresh().catch(() => {});
    state.className = `state ${live.up ? "up" : "down"}`;
    state.setAttribute("aria-label", live.up ? "connected" : "the broker does not answer");
    state.title = state.getAttribute("aria-label");
  };
  beat();
  clearInterval(pulse);
  // A page that nobody sees asks for nothing.
  pulse = setInterval(() => { if (!document.hidden) beat(); }, 1000);
  show();
}

// "#/clients/sensor%201?sort=x" -> { path: "clients", rest: "sensor 1", query }
function place() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [first, ...rest] = path.split("/");
  return { path: first || "overview", rest: decodeURIComponent(rest.join("/")), query: new URLSearchParams(query) };
}

function show() {
  const { path, rest, query } = place();
  const page = PAGES.find((one) => one.path === path) ?? PAGES[0];
  leaving.abort();
  leaving = new AbortController();
  const main = document.getElementById("main");
  document.title = `${rest || page.title} – gmqtt`;
  for (const link of document.querySelectorAll("nav a[href]")) {
    if (link.getAttribute("href") === `#/${page.path}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const body = el("div.page", { "data-page": page.path });
  const crumbs = rest && page.detail
    ? el("h1", el("a", { href: `#/${page.path}` }, page.title), el("span.mono", rest)) : el("h1", page.title);
  replace(main, el("header.top", crumbs), body);
  main.scrollTop = 0;
  const view = rest && page.detail ? page.detail : page.show;
  view(body, { signal: leaving.signal, name: rest, query });
}

function nextTheme() {
  const all = [null, "light", "dark"];
  const next = all[(all.indexOf(localStorage.getItem("gmqtt-theme")) + 1) % all.length];
  if (next) localStorage.setItem("gmqtt-theme", next); else localStorage.removeItem("gmqtt-theme");
  theme(next);
}

function theme(name) {
  if (name) document.documentElement.dataset.theme = name; else delete document.documentElement.dataset.theme;
}

function logo() {
  return svg("svg.logo", { viewBox: "0 0 32 32", "aria-hidden": "true" },
    svg("rect", { width: 32, height: 32, rx: 7 }),
    ...["M8 22a4 4 0 0 1 4 4", "M8 14.500a11.500 11.500 0 0 1 11.500 11.500", "M8 7a19 19 0 0 1 19 19"].map((d) => svg("path", { d })));
}
