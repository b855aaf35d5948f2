// MQTT.js in a page of headless Chromium. Usage: node browser.mjs HOST PORT ws|wss FOLDER-OF-CERTIFICATES
// $MQTTJS and $PLAYWRIGHT are the folders of their node_modules, $CHROMIUM is the browser, $PAGE_PORT where the page comes from,
// $ONE_ORIGIN_PORT a listener for pages from there alone.

import { createHash, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";

const { CHROMIUM, MQTTJS, ONE_ORIGIN_PORT, PAGE_PORT, PLAYWRIGHT } = process.env;
const { chromium } = createRequire(join(PLAYWRIGHT, "package.json"))("playwright-core");
const [host, port, transport, folder] = process.argv.slice(2);
const url = `${transport}://${host}:${port}/mqtt`;
const WAIT_MILLIS = 20_000;
/** Of mqtt-broker, for embedders: no library, opened as a file. */
const EXAMPLE = new URL("../../crates/mqtt-broker/examples/websocket.html", import.meta.url);

/** No other certificate is taken for good than ours: it is named by its key. */
function trustOurs() {
  const { publicKey } = new X509Certificate(readFileSync(join(folder, "cert.pem")));
  const key = publicKey.export({ type: "spki", format: "der" });
  return `--ignore-certificate-errors-spki-list=${createHash("sha256").update(key).digest("base64")}`;
}

async function servePage() {
  const server = createServer((_, response) => {
    response.setHeader("Content-Type", "text/html");
    response.end("<!doctype html><title>MQTT</title>");
  });
  server.listen(Number(PAGE_PORT), "127.0.0.1");
  await once(server, "listening");
  return server;
}

async function openPage(browser, origin) {
  const page = await browser.newPage();
  page.setDefaultTimeout(WAIT_MILLIS);
  await page.goto(origin);
  await page.addScriptTag({ path: join(MQTTJS, "node_modules/mqtt/dist/mqtt.min.js") });
  await page.evaluate(inPage, WAIT_MILLIS);
  return page;
}

/** Runs in the page: what its tests use. */
function inPage(waitMillis) {
  const late = (what) =>
    new Promise((_, reject) => setTimeout(() => reject(new Error(`nothing within ${waitMillis} ms: ${what}`)), waitMillis));
  const inTime = (promise, what) => Promise.race([promise, late(what)]);
  window.open_ = (url, options) => {
    const client = mqtt.connect(url, { protocolVersion: 4, reconnectPeriod: 0, keepalive: 30, ...options });
    const outcome = new Promise((resolve, reject) => {
      client.once("connect", () => resolve(client));
      client.once("error", reject);
      client.once("close", () => reject(new Error("closed without CONNACK")));
    });
    return inTime(outcome, "CONNACK");
  };
  // Publishes to itself, and says what is wrong with what comes back.
  window.roundTrip = async (client, topic, qos, bytes) => {
    const sent = Uint8Array.from({ length: bytes }, (_, index) => index % 251);
    const [grant] = await inTime(client.subscribeAsync(topic, { qos }), "SUBACK");
    if (grant.qos !== qos) return `granted ${grant.qos}`;
    const received = new Promise((resolve) => client.once("message", (...message) => resolve(message)));
    await inTime(client.publishAsync(topic, sent, { qos }), "acknowledgement");
    const [from, payload, packet] = await inTime(received, "the message");
    if (from !== topic || packet.qos !== qos) return `${from} with QoS ${packet.qos}`;
    if (payload.length !== bytes || payload.some((byte, index) => byte !== sent[index])) return "other bytes";
    return "";
  };
}

const server = await servePage();
const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", trustOurs()],
});
const page = await openPage(browser, `http://localhost:${PAGE_PORT}/`);
let failed = 0;

function expect(actual, wanted) {
  if (actual !== wanted) throw new Error(`${JSON.stringify(actual)} where ${JSON.stringify(wanted)} was expected`);
}

async function test(name, run) {
  try {
    await run();
    console.log(`ok browser ${transport} ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED browser ${transport} ${name}: ${String(error.message).split("\n")[0]}`);
  }
}

const roundTrip = (qos, bytes) => test(`qos_${qos}_of_${bytes}_bytes`, async () => {
  const topic = `browser/${transport}/${qos}/${bytes}`;
  expect(await page.evaluate(([topic, qos, bytes]) => roundTrip(client, topic, qos, bytes), [topic, qos, bytes]), "");
});

await test("connect", async () => {
  await page.evaluate(async ([url, clientId]) => { window.client = await open_(url, { clientId }); }, [url, `browser-${transport}`]);
  // What the broker has chosen out of what was offered.
  expect(await page.evaluate(async (url) => {
    const socket = new WebSocket(url, ["no-such-protocol", "mqtt"]);
    await new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = reject; });
    socket.close();
    return socket.protocol;
  }, url), "mqtt");
});
// One more than 4 KiB, one more than a frame to a client holds, one in many frames.
for (const [qos, bytes] of [[0, 3], [1, 3], [2, 3], [1, 4_097], [2, 4_097], [1, 16_385], [0, 300_000], [2, 300_000]]) {
  await roundTrip(qos, bytes);
}
await test("will_of_a_page_that_is_closed", async () => {
  const doomed = await openPage(browser, `http://localhost:${PAGE_PORT}/`);
  const will = { topic: `browser/${transport}/will`, payload: "gone", qos: 1 };
  await page.evaluate(async (topic) => {
    await client.subscribeAsync(topic, { qos: 1 });
    window.will = new Promise((resolve) => client.once("message", (_, payload) => resolve(new TextDecoder().decode(payload))));
  }, will.topic);
  await doomed.evaluate(async ([url, will]) => { window.client = await open_(url, { clientId: "browser-doomed", will }); }, [url, will]);
  await doomed.close();
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error("no Will")), WAIT_MILLIS).unref());
  expect(await Promise.race([page.evaluate(() => will), late]), "gone");
});
await test("the_example_page", async () => {
  const windows = await Promise.all([1, 2].map(async () => {
    const page = await browser.newPage();
    page.setDefaultTimeout(WAIT_MILLIS);
    await page.goto(`${EXAMPLE}?broker=${encodeURIComponent(url)}`);
    return page;
  }));
  const logs = (line) => Promise.all(windows.map((page) => page.waitForFunction(
    (line) => document.getElementById("log").textContent.split("\n").includes(line), line)));
  await logs("connected");
  await logs("subscribed");
  // Long enough that its length takes two bytes, and not in ASCII.
  const said = `grüße ${"x".repeat(200)}`;
  await windows[0].fill("#text", said);
  await windows[0].click("button");
  await logs(`chat/browser: ${said}`);
  await Promise.all(windows.map((page) => page.close()));
});
if (transport === "ws") {
  const refusal = (page) => page.evaluate(async (url) => {
    try {
      await (await open_(url, { clientId: "browser-origin" })).endAsync();
      return "let in";
    } catch (error) {
      return "refused";
    }
  }, `ws://localhost:${ONE_ORIGIN_PORT}/mqtt`);
  await test("the_page_of_an_allowed_origin", async () => expect(await refusal(page), "let in"));
  await test("the_page_of_another_origin", async () => {
    const stranger = await openPage(browser, `http://127.0.0.1:${PAGE_PORT}/`);
    expect(await refusal(stranger), "refused");
  });
}
if (transport === "wss") {
  await test("no_other_certificate_is_taken", async () => {
    const strict = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
    const stranger = await openPage(strict, `http://localhost:${PAGE_PORT}/`);
    const outcome = await stranger.evaluate(async (url) => {
      try {
        await open_(url, { clientId: "browser-strict" });
        return "let in";
      } catch (error) {
        return "refused";
      }
    }, url);
    await strict.close();
    expect(outcome, "refused");
  });
}

await browser.close();
server.close();
process.exit(failed ? 1 : 0);
