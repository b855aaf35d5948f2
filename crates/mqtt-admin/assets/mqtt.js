// MQTT 3.1.1 over the broker's WebSocket: as much of a client as the console needs. It knows nothing of the page.

const CONNECT = 1, CONNACK = 2, PUBLISH = 3, PUBACK = 4, PUBREC = 5, PUBREL = 6, PUBCOMP = 7, SUBSCRIBE = 8, SUBACK = 9,
  PINGREQ = 12, DISCONNECT = 14;
const REFUSALS = ["", "the protocol's version is refused", "the client identifier is refused", "the broker has no room",
  "user name or password are wrong", "this user may not connect"];
const KEEP_ALIVE_SECS = 30;
const OPENING_MILLIS = 10_000;

const utf8 = new TextEncoder();
const text = new TextDecoder();

// A field of the standard: two bytes of length, and the bytes.
function field(bytes) {
  if (bytes.length > 65_535) throw new Error("a name or a password of more than 65,535 bytes");
  return [bytes.length >> 8, bytes.length & 255, ...bytes];
}

function packet(type, flags, ...parts) {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const head = [(type << 4) | flags];
  for (let rest = length; ;) {
    const more = rest > 127;
    head.push((rest & 127) | (more ? 128 : 0));
    if (!more) break;
    rest >>>= 7;
  }
  const bytes = new Uint8Array(head.length + length);
  bytes.set(head);
  let at = head.length;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

// Takes bytes as they come, and hands out whole packets.
export class Packets {
  constructor() {
    this.rest = new Uint8Array(0);
  }

  *take(bytes) {
    const all = new Uint8Array(this.rest.length + bytes.length);
    all.set(this.rest);
    all.set(bytes, this.rest.length);
    let at = 0;
    for (;;) {
      let [length, shift, end] = [0, 0, at + 1];
      for (; end < all.length && shift < 28; end += 1, shift += 7) {
        length |= (all[end] & 127) << shift;
        if (all[end] < 128) break;
      }
      if (shift >= 28) throw new Error("the broker sent what is no MQTT");
      if (end >= all.length || end + 1 + length > all.length) break;
      yield { type: all[at] >> 4, flags: all[at] & 15, body: all.subarray(end + 1, end + 1 + length) };
      at = end + 1 + length;
    }
    this.rest = all.slice(at);
  }
}

const number = (body, at = 0) => (body[at] << 8) | body[at + 1];

// What a PUBLISH says.
export function published({ flags, body }) {
  const qos = (flags >> 1) & 3;
  const end = 2 + number(body);
  return {
    qos,
    retain: (flags & 1) === 1,
    id: qos ? number(body, end) : 0,
    topic: text.decode(body.subarray(2, end)),
    content: body.slice(qos ? end + 2 : end),
  };
}

// Resolves once the broker has accepted it. `onMessage(message)` and `onEnd(why)` are called for as long as it is there.
export function connect(url, { user, password, onMessage, onEnd }) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, "mqtt");
    const client = new Client(socket, onMessage);
    let why = "the broker's WebSocket cannot be reached, or does not let this page in";
    let ended = reject;
    let refused = false;
    const tooLate = setTimeout(() => socket.close(), OPENING_MILLIS);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      why = "the broker has closed the connection";
      client.sayWho(user, password);
    };
    socket.onmessage = ({ data }) => {
      try {
        client.take(new Uint8Array(data), (code) => {
          clearTimeout(tooLate);
          if (code) {
            why = REFUSALS[code] ?? `refused with code ${code}`;
            refused = true;
            return socket.close();
          }
          ended = (error) => onEnd(error.message);
          resolve(client);
        });
      } catch (problem) {
        why = problem.message;
        socket.close();
      }
    };
    socket.onclose = () => {
      clearTimeout(tooLate);
      client.over(why);
      ended(Object.assign(new Error(why), { refused }));
    };
  });
}

class Client {
  constructor(socket, onMessage) {
    this.socket = socket;
    this.onMessage = onMessage;
    this.packets = new Packets();
    this.lastId = 0;
    // Packet identifiers of ours, and who waits for their end.
    this.waiting = new Map();
    // QoS 2 messages of the broker's that it has not released.
    this.unreleased = new Set();
  }

  send(...parts) {
    this.socket.send(packet(...parts));
  }

  sayWho(user, password) {
    const flags = 2 | (user ? 128 : 0) | (user && password ? 64 : 0);
    const id = `console-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`;
    this.send(CONNECT, 0, field(utf8.encode("MQTT")), [4, flags, 0, KEEP_ALIVE_SECS], field(utf8.encode(id)),
      user ? field(utf8.encode(user)) : [], user && password ? field(utf8.encode(password)) : []);
    this.pings = setInterval(() => this.send(PINGREQ, 0), KEEP_ALIVE_SECS * 500);
  }

  take(bytes, onConnack) {
    for (const one of this.packets.take(bytes)) {
      switch (one.type) {
        case CONNACK: onConnack(one.body[1]); break;
        case PUBLISH: this.receive(published(one)); break;
        case PUBREL: this.unreleased.delete(number(one.body)); this.send(PUBCOMP, 0, one.body); break;
        case PUBREC: this.send(PUBREL, 2, one.body); break;
        case SUBACK: this.settle(number(one.body), one.body[2]); break;
        case PUBACK: case PUBCOMP: this.settle(number(one.body), 0); break;
      }
    }
  }

  receive(message) {
    const id = [message.id >> 8, message.id & 255];
    const known = message.qos === 2 && this.unreleased.has(message.id);
    if (message.qos === 1) this.send(PUBACK, 0, id);
    if (message.qos === 2) {
      this.unreleased.add(message.id);
      this.send(PUBREC, 0, id);
    }
    if (!known) this.onMessage(message);
  }

  // Resolves with what the broker says to a packet of ours.
  answered(send) {
    do this.lastId = (this.lastId % 65_535) + 1; while (this.waiting.has(this.lastId));
    const id = this.lastId;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      send([id >> 8, id & 255]);
    });
  }

  settle(id, code) {
    this.waiting.get(id)?.resolve(code);
    this.waiting.delete(id);
  }

  async subscribe(filter, qos) {
    const code = await this.answered((id) => this.send(SUBSCRIBE, 2, id, field(utf8.encode(filter)), [qos]));
    if (code === 128) throw new Error(`the broker refuses to subscribe this user to ${filter}`);
    return code;
  }

  // With QoS 0 nobody answers.
  async publish({ topic, payload, qos, retain }) {
    const flags = (qos << 1) | (retain ? 1 : 0);
    const [name, content] = [field(utf8.encode(topic)), utf8.encode(payload)];
    if (qos === 0) this.send(PUBLISH, flags, name, content);
    else await this.answered((id) => this.send(PUBLISH, flags, name, id, content));
  }

  over(why) {
    clearInterval(this.pings);
    for (const { reject } of this.waiting.values()) reject(new Error(why));
    this.waiting.clear();
  }

  end() {
    if (this.socket.readyState === WebSocket.OPEN) this.send(DISCONNECT, 0);
    this.socket.close();
  }
}
