// As much MQTT as a crowd of test clients needs: to connect, subscribe and publish with QoS 0 and 1, and to stop reading.

import { connect } from "node:net";

const text = (string) => {
  const bytes = Buffer.from(string);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]);
};

function packet(first, ...parts) {
  const body = Buffer.concat(parts);
  const head = [first];
  let length = body.length;
  do {
    head.push((length & 127) | (length > 127 ? 128 : 0));
    length >>= 7;
  } while (length > 0);
  return Buffer.concat([Buffer.from(head), body]);
}

export class Client {
  // Resolves once the broker has accepted it.
  static connect(port, id, { clean = true, user } = {}) {
    return new Promise((resolve, reject) => {
      const client = new Client();
      client.id = id;
      client.onMessage = () => {};
      client.closed = false;
      client.socket = connect({ port, host: "127.0.0.1" });
      client.socket.on("error", reject);
      client.socket.on("close", () => { client.closed = true; });
      client.reader(resolve);
      const flags = (clean ? 2 : 0) | (user ? 128 : 0);
      const rest = user ? [text(id), text(user)] : [text(id)];
      client.socket.write(packet(0x10, text("MQTT"), Buffer.from([4, flags, 0, 0]), ...rest));
    });
  }

  reader(accepted) {
    let buffer = Buffer.alloc(0);
    this.socket.on("data", (data) => {
      buffer = Buffer.concat([buffer, data]);
      for (;;) {
        let length = 0;
        let at = 1;
        while (at < 5 && buffer[at] & 128) at += 1;
        for (let index = at; index >= 1; index -= 1) length = length * 128 + (buffer[index] & 127);
        if (buffer.length < at + 1 || buffer.length < at + 1 + length) return;
        const first = buffer[0];
        const body = buffer.subarray(at + 1, at + 1 + length);
        buffer = buffer.subarray(at + 1 + length);
        if (first >> 4 === 2) accepted(this);
        else if (first >> 4 === 9) this.granted?.();
        else if (first >> 4 === 3) this.deliver(first, body);
      }
    });
  }

  deliver(first, body) {
    const end = 2 + body.readUInt16BE(0);
    const qos = (first >> 1) & 3;
    if (qos === 1) this.socket.write(packet(0x40, body.subarray(end, end + 2)));
    this.onMessage(body.subarray(2, end).toString(), body.subarray(qos ? end + 2 : end));
  }

  // Resolves once it is granted.
  subscribe(filter, qos = 0) {
    return new Promise((resolve) => {
      this.granted = resolve;
      this.socket.write(packet(0x82, Buffer.from([0, 1]), text(filter), Buffer.from([qos])));
    });
  }

  publish(topic, payload, { qos = 0, retain = false } = {}) {
    const id = qos ? Buffer.from([0, 1]) : Buffer.alloc(0);
    this.socket.write(packet(0x30 | (qos << 1) | (retain ? 1 : 0), text(topic), id, Buffer.from(payload)));
  }

  // A reader that has fallen asleep: what is sent to it waits in the broker.
  stopReading() {
    this.socket.pause();
  }

  end() {
    this.socket.destroy();
  }
}
