// The two ways of the console to the broker's messages: as a client of its WebSocket, or over the API. Both have
// `watch(filter, signal, take, onState)`, `publish(message)` and `end()`; `take({ messages, skipped })`.

import { events, post } from "./api.js";
import { fromBase64 } from "./format.js";
import { connect } from "./mqtt.js";
import { keepOpen } from "./timer.js";

// A flood is no reason for a page to stand still: of what comes within a span, so many are shown.
const SPAN_MILLIS = 200;
const SHOWN_IN_A_SPAN = 50;

export const apiLink = {
  about: "over the API: past all access rules",

  watch(filter, signal, take, onState) {
    const whole = ({ messages, skipped }) => take({
      messages: messages.map((message) => ({ ...message, content: fromBase64(message.payload) })), skipped,
    });
    keepOpen(() => events("/api/v1/watch/messages", { filter }, signal, whole), signal, onState);
  },

  publish: (message) => post("/api/v1/publish", message),
  end() {},
};

// The address of a WebSocket listener, as this page reaches it.
export function addressOf({ port, secure, path }) {
  return `${secure ? "wss" : "ws"}://${location.hostname}:${port}${path}`;
}

// `credentials()` is asked at each connection.
export function mqttLink(url, credentials) {
  let publisher = null;
  return {
    about: `over ${url}: as any other client, access rules included`,

    watch(filter, signal, take, onState) {
      let batch = { messages: [], skipped: 0 };
      const onMessage = ({ topic, qos, retain, content }) => {
        if (batch.messages.length >= SHOWN_IN_A_SPAN) batch.skipped += 1;
        else batch.messages.push({ at: new Date().toISOString(), topic, qos, retain, content, size: content.length });
      };
      const timer = setInterval(() => {
        if (!batch.messages.length) return;
        const full = batch;
        batch = { messages: [], skipped: 0 };
        take(full);
      }, SPAN_MILLIS);
      signal.addEventListener("abort", () => clearInterval(timer));
      const open = async () => {
        let ended;
        const end = new Promise((resolve) => { ended = resolve; });
        // Who is refused is not to try again and again: a broker counts that.
        const client = await connect(url, { ...credentials(), onMessage, onEnd: ended })
          .catch((problem) => { throw Object.assign(problem, { status: problem.refused ? 403 : 0 }); });
        signal.addEventListener("abort", () => client.end());
        if (signal.aborted) return client.end();
        await client.subscribe(filter, 0).catch((problem) => { client.end(); throw Object.assign(problem, { status: 403 }); });
        onState("open");
        const why = await end;
        if (!signal.aborted) throw new Error(why);
      };
      keepOpen(open, signal, (now) => { if (now !== "open") onState(now); });
    },

    async publish(message) {
      publisher ??= connect(url, { ...credentials(), onMessage() {}, onEnd() { publisher = null; } });
      const client = await publisher.catch((problem) => { publisher = null; throw problem; });
      await client.publish(message);
    },

    end() {
      publisher?.then((client) => client.end(), () => {});
      publisher = null;
    },
  };
}
