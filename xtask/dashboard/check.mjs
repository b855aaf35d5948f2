// Each page of the dashboard in a real browser, before a real broker with a crowd of clients: what is shown is there, and
// what is done happens. node check.mjs BASE-URL TOKEN MQTT-PORT [FOLDER-FOR-SCREENSHOTS]

import { createRequire } from "node:module";
import { join } from "node:path";
import { crowd } from "./crowd.mjs";
import { Client } from "./mqtt.mjs";

const { chromium } = createRequire(join(process.env.PLAYWRIGHT, "here.js"))("playwright-core");
const [base, token, port, folder] = process.argv.slice(2);
const STUCK = 30_000;
const BROWSER = process.env.CHROMIUM ?? "/usr/bin/chromium";
const QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];

const faults = [];
const sockets = [];
let failed = 0;

function expect(truth, what) {
  if (!truth) throw new Error(what);
}

async function until(what, holds) {
  const end = Date.now() + STUCK;
  while (!await holds()) {
    if (Date.now() > end) throw new Error(`in vain waited for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function test(name, run) {
  const before = faults.length;
  try {
    await run();
    if (faults.length > before) throw new Error(faults.slice(before).join("; "));
    console.log(`ok dashboard ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED dashboard ${name}: ${String(error.message).split("\n")[0]}`);
  }
}

// A page that notes what no page of ours may do.
async function openPage(browser, options = {}) {
  const page = await browser.newPage({ viewport: { width: 1200, height: 780 }, ...options });
  page.setDefaultTimeout(STUCK);
  page.on("pageerror", (error) => faults.push(`an error in the page: ${error.message}`));
  page.on("console", (message) => {
    // That an answer was a refusal is no error of the page: it shows the refusal.
    const refusal = /^Failed to load resource: the server responded with a status of (401|404|501)/.test(message.text());
    if (message.type() === "error" && !refusal) faults.push(`on the console: ${message.text()}`);
  });
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== new URL(base).origin) faults.push(`asked another host: ${request.url()}`);
  });
  page.on("websocket", (socket) => {
    sockets.push(socket.url());
    if (new URL(socket.url()).hostname !== new URL(base).hostname) faults.push(`connected to another host: ${socket.url()}`);
  });
  page.on("dialog", (dialog) => { faults.push(`a script of somebody else ran: ${dialog.message()}`); dialog.dismiss(); });
  return page;
}

const browser = await chromium.launch({ executablePath: BROWSER, args: QUIET });
const all = await crowd(Number(port));
const page = await openPage(browser);
const go = (path) => page.goto(`${base}/#/${path}`);
const shown = (text) => page.getByText(text, { exact: false }).first().waitFor();

// Opens the tree, level by level, as far as a topic.
async function openTopic(where, topic) {
  const levels = topic.split("/");
  for (let depth = 1; depth <= levels.length; depth += 1) {
    const row = where.locator(`[data-topic=${JSON.stringify(levels.slice(0, depth).join("/"))}]`);
    await row.waitFor();
    if (depth === levels.length || await row.getAttribute("aria-expanded") !== "true") await row.click();
  }
}

await test("login", async () => {
  await page.goto(base);
  await page.getByLabel("Token").fill("gmqtt_wrong");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("alert").waitFor();
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  await page.getByRole("button", { name: "Log out" }).click();
  await page.goto(`${base}/#token=${token}`);
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  expect(!page.url().includes(token), "the token is still in the address bar");
});

await test("overview", async () => {
  await go("overview");
  await until("messages coming in", async () => /[1-9]/.test(await page.locator(".tile .figure").first().textContent()));
  await page.getByRole("link", { name: "slow-reader" }).waitFor();
  await until("drops with their reason", async () =>
    /queue full\s*[1-9]/.test(await page.getByRole("row", { name: /queue full/ }).first().innerText()));
  expect(await page.locator("svg.chart path.line").count() > 4, "the charts are empty");
});

await test("clients", async () => {
  await go("clients");
  await page.getByRole("button", { name: "Waiting" }).click();
  await until("the slow one first", async () => await page.locator("tbody th").first().innerText() === "slow-reader");
  await page.getByLabel("Search").fill("press");
  await until("those that are searched", async () => await page.locator("tbody tr").count() === 4);
});

await test("clients: page by page", async () => {
  const more = await Promise.all(Array.from({ length: 60 }, (_, n) => Client.connect(port, `page-${String(n).padStart(2, "0")}`)));
  await go("clients?client_id=page-");
  const first = () => page.locator("tbody th").first().innerText();
  await shown("1–50 of 60");
  expect(await first() === "page-00", "the first page does not begin with the first");
  await page.getByRole("button", { name: "Next" }).click();
  await until("the second page", async () => await first() === "page-50");
  await shown("51–60 of 60");
  // Who leaves before the page moves nothing on it.
  more[3].end();
  await shown("of 59");
  expect(await first() === "page-50", "the page moved when somebody left");
  expect(await page.getByRole("button", { name: "Next" }).isDisabled(), "there is a page after the last");
  await page.getByRole("button", { name: "Previous" }).click();
  await until("the first page again", async () => await first() === "page-00");
  for (const client of more) client.end();
});

// The first answer to such a request comes only when it may.
async function hold(pattern) {
  let asked;
  let letGo;
  let isFirst = true;
  const isAsked = new Promise((resolve) => { asked = resolve; });
  const mayGo = new Promise((resolve) => { letGo = resolve; });
  await page.route(pattern, async (route) => {
    if (!isFirst) return route.fallback();
    isFirst = false;
    const response = await route.fetch();
    asked();
    await mayGo;
    return route.fulfill({ response });
  });
  return { isAsked, letGo: async () => {
    const answered = page.waitForResponse(pattern);
    letGo();
    await answered.then((response) => response.finished());
    await page.unroute(pattern);
  } };
}

await test("answers that come too late", async () => {
  await go("clients");
  let late = await hold(/clients\?.*client_id=press/);
  await page.getByLabel("Search").fill("press");
  await late.isAsked;
  await page.getByLabel("Search").fill("boiler");
  const first = () => page.locator("tbody th").first().innerText();
  await until("what is searched now", async () => await first() === "sensor-boiler-1");
  await late.letGo();
  await page.evaluate(() => new Promise((done) => { setTimeout(done, 100); }));
  expect(await first() === "sensor-boiler-1", "the answer to an earlier search is shown");

  await go("retained?filter=plant/about");
  await page.locator("[data-topic=plant]").waitFor();
  late = await hold(/retained\?.*filter=plant%2F%2B%2Fstate/);
  await page.getByLabel("Topic filter").fill("plant/+/state");
  await late.isAsked;
  await page.getByLabel("Topic filter").fill("plant/boiler/firmware");
  await page.locator("[data-topic='plant/boiler']").waitFor();
  await late.letGo();
  await page.evaluate(() => new Promise((done) => { setTimeout(done, 100); }));
  expect(await page.locator("[data-topic='plant/pack']").count() === 0, "topics of an earlier filter are among these");
});

await test("client: what waits for it", async () => {
  await go("clients/slow-reader");
  await page.getByRole("button", { name: "Look at its queue" }).click();
  await page.getByRole("cell", { name: /celsius/ }).first().waitFor();
});

await test("client: disconnect", async () => {
  const victim = all.panels[0];
  await go(`clients/${victim.id}`);
  await shown("127.0.0.1");
  await page.getByRole("button", { name: "Disconnect" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
  expect(!victim.closed, "it was disconnected in spite of Cancel");
  await page.getByRole("button", { name: "Disconnect" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Disconnect" }).click();
  await until("the end of its connection", () => victim.closed);
});

await test("client: end the session", async () => {
  const client = await Client.connect(port, "with a/slash & more?", { clean: false });
  client.end();
  await go(`clients/${encodeURIComponent(client.id)}`);
  await shown("absent");
  await page.getByRole("button", { name: "End session" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "End the session" }).click();
  await shown("It has no session any more.");
});

await test("client: back after its end", async () => {
  const client = await Client.connect(port, "comes-back");
  await go(`clients/${client.id}`);
  await page.getByRole("button", { name: "Disconnect" }).waitFor();
  client.end();
  await shown("It has no session any more.");
  const again = await Client.connect(port, client.id);
  await page.getByRole("button", { name: "Disconnect" }).waitFor();
  again.end();
});

await test("client: one that is called ..", async () => {
  const client = await Client.connect(port, "..");
  await client.subscribe("plant/dots");
  await go("clients/..");
  await shown("connected");
  await page.getByRole("cell", { name: "plant/dots" }).waitFor();
  await page.getByRole("button", { name: "Look at its queue" }).click();
  await shown("No message waits for it.");
  await page.getByRole("button", { name: "Disconnect" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Disconnect" }).click();
  await until("the end of its connection", () => client.closed);
});

await test("subscriptions", async () => {
  await go("subscriptions");
  await page.getByLabel("Client identifier").fill("panel-office");
  await page.getByLabel("Filter", { exact: true }).last().fill("extra/news");
  await page.getByRole("button", { name: "Subscribe" }).click();
  await page.getByLabel("Filter", { exact: true }).first().fill("extra");
  const row = page.getByRole("row", { name: /extra\/news/ });
  await row.waitFor();
  const heard = new Promise((resolve) => { all.panels[2].onMessage = (topic) => { if (topic === "extra/news") resolve(); }; });
  all.sensors[0].client.publish("extra/news", "x");
  await heard;
  await row.getByRole("button").click();
  await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
  await until("its end", async () => await row.count() === 0);
});

await test("topics", async () => {
  await go("topics");
  await openTopic(page, "plant/boiler/1/temperature");
  await shown("celsius");
  await until("rates", async () => /[1-9][\d.,]*\/s/.test(await page.locator("[data-topic=plant]").first().innerText()));
  await openTopic(page, "plant/<img src=x onerror=alert(1)>/note");
  await shown("<script>alert(1)</script>");
  expect(await page.locator("main img, main script").count() === 0, "what a client sent became markup");
});

// The same by each way: as a client of the broker's WebSocket, and over the API.
for (const [way, about] of [["WebSocket", "Messages go over ws://"], ["HTTP API", "Messages go over the API"]]) await test(`console: ${way}`, async () => {
  await go("console?by=" + way.slice(0, 4));
  const ways = page.getByLabel("By way of");
  await until("the ways", async () => await ways.locator("option").count() === 2);
  expect((await ways.locator("option").first().innerText()).startsWith("WebSocket ws://127.0.0.1:"), "the WebSocket is not the first choice");
  await ways.selectOption({ index: way === "WebSocket" ? 0 : 1 });
  await shown(about);
  const before = sockets.length;
  await page.getByLabel("Topic filter").fill("plant/console/+");
  await page.getByRole("button", { name: "Subscribe" }).click();
  await shown("Subscribed to");
  const heard = new Promise((resolve) => {
    all.panels[1].onMessage = (topic, payload) => { if (topic === "plant/console/lamp") resolve(payload.toString()); };
  });
  await page.getByLabel("Topic", { exact: true }).fill("plant/console/lamp");
  await page.getByLabel("Payload", { exact: true }).first().fill("{\"on\":true}");
  await page.getByRole("button", { name: "Publish" }).click();
  expect(await heard === "{\"on\":true}", "a subscriber got something else");
  await page.getByRole("link", { name: "plant/console/lamp" }).click();
  await until("the message", async () => /"on": true/.test(await page.locator("pre.payload").innerText()));
  expect(way !== "WebSocket" || sockets.length > before, "it came by no WebSocket");
  expect(way === "WebSocket" || sockets.length === before, "it came by a WebSocket");
});

await test("console: a filter in the address", async () => {
  await go("console?filter=plant/boiler/%2B/temperature");
  await shown("Subscribed to plant/boiler/+/temperature.");
  await page.getByRole("link", { name: "plant/boiler/1/temperature" }).first().waitFor();
});

await test("retained", async () => {
  await go("retained");
  await openTopic(page, "plant/about");
  await until("the message", async () => /"name": "Plant 7"/.test(await page.locator("pre.payload").innerText()));
  await page.getByRole("button", { name: "hex" }).click();
  await shown("000000  7b 22 6e");
  await page.getByRole("button", { name: "Delete", exact: true }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await until("its end", async () => await page.locator("[data-topic='plant/about']").count() === 0);
  const late = await Client.connect(port, "late");
  const heard = [];
  late.onMessage = (topic) => heard.push(topic);
  await late.subscribe("plant/about");
  await late.subscribe("plant/boiler/state");
  await until("what is still retained", () => heard.includes("plant/boiler/state"));
  expect(!heard.includes("plant/about"), "it is still retained");
  late.end();
});

await test("trace", async () => {
  await go("trace?client_id=sensor-boiler-1");
  await shown("Tracing sensor-boiler-1.");
  await shown("plant/boiler/1/temperature");
  await page.getByRole("button", { name: "Stop" }).click();
});

await test("bans", async () => {
  const victim = all.panels[1];
  await go(`bans?client_id=${victim.id}`);
  await page.getByLabel("Reason").fill("floods");
  await page.getByRole("button", { name: "Ban", exact: true }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Ban" }).click();
  await page.getByRole("row", { name: /floods/ }).waitFor();
  await until("the end of its connection", () => victim.closed);
  await go(`clients/${victim.id}`);
  await shown("banned");
  await go("bans");
  await page.getByRole("button", { name: `End the ban of ${victim.id}` }).click();
  await shown("Nobody is banned.");
  (await Client.connect(port, victim.id)).end();
});

await test("bans: for how long, whose, and why", async () => {
  await go("bans");
  await page.getByLabel("Name or address").fill("nobody");
  const reason = page.getByLabel("Reason");
  const isValid = () => reason.evaluate((one) => one.checkValidity());
  await reason.fill("ü".repeat(129));
  expect(!await isValid(), "a reason of 258 bytes is taken");
  await reason.fill("ü".repeat(128));
  expect(await isValid(), "a reason of 256 bytes is not taken");
  await page.locator("label", { hasText: /^For/ }).locator("select").selectOption({ label: "for ever" });
  await page.getByRole("button", { name: "Ban", exact: true }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Ban" }).click();
  await page.getByRole("row", { name: /nobody.*an operator.*never/ }).waitFor();
  // As the broker tells of one that its configuration has.
  await page.route("**/api/v1/bans*", async (route) => {
    if (route.request().method() === "DELETE") return route.fallback();
    return route.fulfill({ json: [{ kind: "client_id", value: "nobody", reason: "", origin: "configuration", seconds_left: null }] });
  });
  await page.getByRole("row", { name: /nobody.*the configuration.*never/ }).waitFor();
  await page.getByRole("button", { name: "End the ban of nobody" }).click();
  await shown("may connect until the next reload");
  await page.unroute("**/api/v1/bans*");
});

await test("trouble", async () => {
  await go("trouble");
  await shown("max_queued_messages");
  await page.getByRole("link", { name: "slow-reader" }).first().waitFor();
});

await test("settings", async () => {
  await go("settings");
  await shown("Version");
  await shown("limits.max_queued_messages");
  await page.getByLabel("Log level").selectOption("error");
  await shown("logging at error");
  await page.getByRole("button", { name: "Read the configuration again" }).click();
  await shown("reloaded; changed: nothing");
  await page.getByRole("button", { name: "Back up the store" }).click();
  await shown("the store is copied to");
});

await test("the page to try the API", async () => {
  await page.goto(`${base}/api`);
  await shown("Requests carry the token of this tab.");
  const request = (name) => page.locator("details").filter({ has: page.getByText(name, { exact: true }) }).first();
  const overview = request("/api/v1/overview");
  await overview.locator("summary").click();
  await overview.getByRole("button", { name: "Send" }).click();
  await until("an answer", async () => /"uptime_secs": \d+/.test(await overview.locator("pre").innerText()));
  const heard = new Promise((resolve) => {
    all.panels[2].onMessage = (topic, payload) => { if (topic === "plant/tried") resolve(payload.toString()); };
  });
  const publish = request("/api/v1/publish");
  await publish.locator("summary").click();
  await publish.getByLabel("Body").fill(JSON.stringify({ topic: "plant/tried", payload: "yes" }));
  await publish.getByRole("button", { name: "Send" }).click();
  expect(await heard === "yes", "a subscriber got something else");
  const watch = request("/api/v1/watch/topics");
  await watch.locator("summary").click();
  await watch.getByLabel("filter").fill("plant/#");
  await watch.getByRole("button", { name: "Send" }).click();
  await until("a stream", async () => /plant\/boiler/.test(await watch.locator("pre").innerText()));
  await watch.getByRole("button", { name: "Stop" }).click();
});

// The way of somebody who has never seen it: from the address that the broker prints to why messages were dropped.
await test("a first walk", async () => {
  const lazy = await Client.connect(port, "lazy-panel", { user: "panels" });
  await lazy.subscribe("flood/#", 1);
  lazy.stopReading();
  const newcomer = await openPage(browser);
  await newcomer.goto(base);
  await newcomer.getByLabel("Token").fill(token);
  await newcomer.getByRole("button", { name: "Log in" }).click();
  const flood = setInterval(() => {
    for (let n = 0; n < 200; n += 1) all.sensors[0].client.publish(`flood/${n}`, Buffer.alloc(8_000, n));
  }, 20);
  try {
    await newcomer.getByRole("link", { name: "lazy-panel" }).first().click();
    await newcomer.getByRole("heading", { name: "lazy-panel" }).waitFor();
    await newcomer.getByText(/[1-9][\d,]* queue full/).first().waitFor();
    await newcomer.getByRole("button", { name: "Disconnect" }).click();
    await newcomer.getByRole("dialog").getByRole("button", { name: "Disconnect" }).click();
    await newcomer.getByText("It has no session any more.").waitFor();
  } finally {
    clearInterval(flood);
  }
  await newcomer.getByRole("cell", { name: /disconnected/ }).first().waitFor();
  await newcomer.getByRole("link", { name: "Trouble" }).click();
  const why = newcomer.getByRole("row", { name: /queue full/ }).first();
  await why.waitFor();
  expect(/max_queued_messages/.test(await why.innerText()), "the page does not say what a full queue means");
  await newcomer.close();
  lazy.end();
});

await test("names for who does not see", async () => {
  for (const path of ["overview", "clients", "clients/archive", "subscriptions", "topics", "console", "retained", "trace", "bans", "trouble", "settings"]) {
    await go(path);
    await page.locator("main h1").waitFor();
    const nameless = await page.evaluate(() => [...document.querySelectorAll("input, select, textarea, button")]
      .filter((one) => !(one.labels?.length || one.getAttribute("aria-label") || one.textContent.trim()))
      .map((one) => one.outerHTML));
    expect(nameless.length === 0, `${path} has controls without a name: ${nameless.join(" ")}`);
    expect(await page.locator("main h1").count() === 1, `${path} has not one heading`);
  }
  await page.keyboard.press("Tab");
  expect(await page.evaluate(() => document.activeElement !== document.body), "nothing can be reached by keyboard");
});

await test("a phone", async () => {
  const phone = await openPage(browser, { viewport: { width: 390, height: 780 }, colorScheme: "dark" });
  await phone.goto(`${base}/#token=${token}`);
  for (const path of ["overview", "clients", "topics", "console", "trouble"]) {
    await phone.goto(`${base}/#/${path}`);
    await phone.locator("main h1").waitFor();
    const over = await phone.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(over <= 0, `${path} is ${over} pixels too wide`);
  }
  await phone.close();
});

if (folder) {
  const pictures = [
    ["overview", "overview", "light"], ["overview-dark", "overview", "dark"], ["clients", "clients?sort=msg_queue_bytes", "light"],
    ["topics", "topics", "light"], ["trouble", "trouble", "light"], ["client", "clients/slow-reader", "light"],
    ["console", "console?filter=plant/%2B/%2B/temperature", "light"],
  ];
  for (const [name, path, colorScheme] of pictures) {
    const other = await openPage(browser, { viewport: { width: 1120, height: 760 }, colorScheme });
    await other.goto(`${base}/#token=${token}`);
    await other.goto(`${base}/#/${path}`);
    await other.waitForTimeout(4_000);
    if (name === "topics") {
      await openTopic(other, "plant/boiler/1/temperature");
      await other.waitForTimeout(1_500);
    }
    await other.screenshot({ path: join(folder, `dashboard-${name}.png`) });
    await other.close();
  }
}

all.end();
await browser.close();
process.exit(failed ? 1 : 0);
