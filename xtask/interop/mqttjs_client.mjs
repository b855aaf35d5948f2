// The interop cases with MQTT.js. Usage: node mqttjs_client.mjs HOST PORT TRANSPORT [FOLDER-OF-CERTIFICATES]
// $MQTTJS is the folder whose node_modules it is in.
import { deepStrictEqual as expect } from "node:assert";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { setTimeout as after } from "node:timers/promises";

const mqtt = createRequire(join(process.env.MQTTJS, "package.json"))("mqtt");
const [host, port, transport, folder] = process.argv.slice(2);
const pem = (name) => readFileSync(join(folder, `${name}.pem`));
const way = {
  tcp: () => ({ protocol: "mqtt" }),
  tls: () => ({ protocol: "mqtts", ca: pem("authority") }),
  mtls: () => ({ protocol: "mqtts", ca: pem("authority"), cert: pem("client-cert"), key: pem("client-key") }),
  ws: () => ({ protocol: "ws", path: "/mqtt" }),
  wss: () => ({ protocol: "wss", path: "/mqtt", wsOptions: { ca: pem("authority") } }),
}[transport]();
const WAIT_MILLIS = 10_000;

/** Rejects when `promise` has not settled in time, and says what was waited for. */
async function inTime(promise, what) {
  const stop = new AbortController();
  const late = after(WAIT_MILLIS, null, { signal: stop.signal }).then(
    () => { throw new Error(`nothing within ${WAIT_MILLIS} ms: ${what}`); },
    () => {},
  );
  try {
    return await Promise.race([promise, late]);
  } finally {
    stop.abort();
  }
}

/** A connected client that keeps what it receives until it is asked for it. */
class Client {
  static async open(clientId, options = {}) {
    const client = new Client();
    client.received = [];
    client.waiting = [];
    client.mqtt = mqtt.connect({
      host, port, ...way, clientId, protocolVersion: 4, reconnectPeriod: 0, keepalive: 30, ...options,
    });
    client.mqtt.on("message", (topic, payload, { qos, retain }) => {
      const message = { topic, payload, qos, retain };
      const next = client.waiting.shift();
      if (next) next(message); else client.received.push(message);
    });
    const [connack] = await inTime(once(client.mqtt, "connect"), "CONNACK");
    client.mqtt.on("error", (error) => console.error(clientId, error.message));
    client.sessionPresent = connack.sessionPresent;
    return client;
  }

  async subscribe(filter, qos) {
    const [grant] = await inTime(this.mqtt.subscribeAsync(filter, { qos }), "SUBACK");
    expect(grant.qos, qos);
  }

  publish(topic, payload, options = { qos: 1 }) {
    return inTime(this.mqtt.publishAsync(topic, payload, options), "acknowledgement");
  }

  receive() {
    const message = this.received.shift();
    return message ?? inTime(new Promise((resolve) => this.waiting.push(resolve)), "message");
  }

  /** What comes up to the payload "end". */
  async receiveUntilEnd() {
    const payloads = [];
    for (;;) {
      const payload = (await this.receive()).payload.toString();
      if (payload === "end") return payloads;
      payloads.push(payload);
    }
  }

  close() {
    return inTime(this.mqtt.endAsync(), "close");
  }

  /** Ends the connection as a crash does: no DISCONNECT. */
  cut() {
    this.mqtt.stream.destroy();
  }
}

async function roundTrip(qos) {
  const topic = `mqttjs/qos${qos}`;
  const subscriber = await Client.open(`mqttjs-qos${qos}-sub`);
  const publisher = await Client.open(`mqttjs-qos${qos}-pub`);
  await subscriber.subscribe(topic, qos);
  for (const payload of [Buffer.from("one"), Buffer.alloc(0), Buffer.from([0, 255, 32])]) {
    await publisher.publish(topic, payload, { qos });
    expect(await subscriber.receive(), { topic, payload, qos, retain: false });
  }
  await subscriber.close();
  await publisher.close();
}

const cases = {
  async connect() {
    const client = await Client.open("mqttjs-connect");
    expect(client.sessionPresent, false);
    await client.close();
  },
  qos_0: () => roundTrip(0),
  qos_1: () => roundTrip(1),
  qos_2: () => roundTrip(2),
  async retained() {
    const topic = "mqttjs/retained";
    const client = await Client.open("mqttjs-retained");
    await client.publish(topic, "kept", { qos: 1, retain: true });
    await client.subscribe(topic, 1);
    expect(await client.receive(), { topic, payload: Buffer.from("kept"), qos: 1, retain: true });
    await client.publish(topic, "", { qos: 1, retain: true });
    expect(await client.receive(), { topic, payload: Buffer.alloc(0), qos: 1, retain: false });
    await client.subscribe(topic, 1);
    await client.publish(topic, "next");
    expect((await client.receive()).payload.toString(), "next");
    await client.close();
  },
  async will() {
    const watcher = await Client.open("mqttjs-will-watch");
    await watcher.subscribe("mqttjs/will", 2);
    const polite = await Client.open("mqttjs-polite", { will: { topic: "mqttjs/will", payload: "never", qos: 1 } });
    await polite.close();
    const doomed = await Client.open("mqttjs-doomed", { will: { topic: "mqttjs/will", payload: "gone", qos: 1 } });
    doomed.cut();
    const will = { topic: "mqttjs/will", payload: Buffer.from("gone"), qos: 1, retain: false };
    expect(await watcher.receive(), will);
    await watcher.close();
  },
  async offline_queue() {
    const session = { clean: false };
    await (await Client.open("mqttjs-offline")).close(); // whatever an earlier run left is gone
    const before = await Client.open("mqttjs-offline", session);
    expect(before.sessionPresent, false);
    await before.subscribe("mqttjs/offline", 2);
    await before.close();
    const publisher = await Client.open("mqttjs-offline-pub");
    await publisher.publish("mqttjs/offline", "at 1", { qos: 1 });
    await publisher.publish("mqttjs/offline", "at 2", { qos: 2 });
    await publisher.close();
    const back = await Client.open("mqttjs-offline", session);
    expect(back.sessionPresent, true);
    for (const qos of [1, 2]) {
      const payload = Buffer.from(`at ${qos}`);
      expect(await back.receive(), { topic: "mqttjs/offline", payload, qos, retain: false });
    }
    await back.close();
    await (await Client.open("mqttjs-offline")).close();
  },
  async take_over() {
    const first = await Client.open("mqttjs-taken");
    const closed = once(first.mqtt, "close");
    const second = await Client.open("mqttjs-taken");
    await inTime(closed, "the first connection is closed");
    await second.subscribe("mqttjs/taken", 1);
    await second.publish("mqttjs/taken", "mine");
    expect((await second.receive()).payload.toString(), "mine");
    await second.close();
  },
  async one_mebibyte() {
    const payload = Buffer.alloc(1 << 20, Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)));
    const client = await Client.open("mqttjs-mebibyte");
    await client.subscribe("mqttjs/mebibyte", 2);
    await client.publish("mqttjs/mebibyte", payload, { qos: 2 });
    expect(payload.equals((await client.receive()).payload), true);
    await client.close();
  },
  async longest_topic() {
    const topic = "t".repeat(65535);
    const client = await Client.open("mqttjs-longest");
    await client.subscribe(topic, 1);
    await client.publish(topic, "far");
    const message = await client.receive();
    expect([message.topic === topic, message.payload.toString()], [true, "far"]);
    await client.close();
  },
  async unsubscribe() {
    const client = await Client.open("mqttjs-unsubscribe");
    await client.subscribe("mqttjs/unsubscribe", 1);
    await client.subscribe("mqttjs/unsubscribe/end", 1);
    await inTime(client.mqtt.unsubscribeAsync("mqttjs/unsubscribe"), "UNSUBACK");
    await inTime(client.mqtt.unsubscribeAsync("mqttjs/never-subscribed"), "UNSUBACK");
    await client.publish("mqttjs/unsubscribe", "not for us");
    await client.publish("mqttjs/unsubscribe/end", "for us");
    expect((await client.receive()).payload.toString(), "for us");
    await client.close();
  },
  async shared() {
    const members = [await Client.open("mqttjs-share-a"), await Client.open("mqttjs-share-b")];
    for (const member of members) {
      await member.subscribe("$share/mqttjs/mqttjs/share", 1);
      await member.subscribe("mqttjs/share-end", 1);
    }
    const publisher = await Client.open("mqttjs-share-pub");
    const sent = Array.from({ length: 20 }, (_, number) => `${number}`);
    for (const payload of sent) await publisher.publish("mqttjs/share", payload);
    await publisher.publish("mqttjs/share-end", "end");
    const shares = [await members[0].receiveUntilEnd(), await members[1].receiveUntilEnd()];
    expect(shares.flat().sort(), sent.sort());
    expect(shares.every((share) => share.length > 0), true);
    for (const client of [...members, publisher]) await client.close();
  },
};

let failed = 0;
for (const [name, run] of Object.entries(cases)) {
  try {
    await run();
    console.log(`ok MQTT.js ${transport} ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED MQTT.js ${transport} ${name}: ${error.message.replaceAll("\n", " ").slice(0, 300)}`);
    console.error(error);
  }
}
process.exit(failed ? 1 : 0);
