// A crowd of clients as a small plant has them, one of which has stopped reading.

import { Client } from "./mqtt.mjs";

const ROOMS = ["boiler", "press", "paint", "pack", "cold-store"];

// Resolves once everybody is there. `end()` sends them home.
export async function crowd(port) {
  const sensors = await Promise.all(ROOMS.flatMap((room) => [1, 2, 3, 4].map((n) =>
    Client.connect(port, `sensor-${room}-${n}`, { user: "plant" }).then((client) => ({ client, room, n })))));
  const panels = await Promise.all(["north", "south", "office"].map((name) =>
    Client.connect(port, `panel-${name}`, { user: "panels" })));
  for (const panel of panels) await panel.subscribe("plant/#", 0);
  const archive = await Client.connect(port, "archive", { clean: false, user: "archive" });
  await archive.subscribe("plant/+/+/temperature", 1);
  const slow = await Client.connect(port, "slow-reader", { user: "panels" });
  await slow.subscribe("plant/#", 1);
  slow.stopReading();

  sensors[0].client.publish("plant/about", JSON.stringify({ name: "Plant 7", since: 1998, halls: ROOMS }), { retain: true });
  for (const room of ROOMS) sensors[0].client.publish(`plant/${room}/state`, room === "paint" ? "maintenance" : "running", { retain: true });
  sensors[0].client.publish("plant/boiler/firmware", Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, 255, 254, 0, 9, 31]), { retain: true });
  // Not what a page would like to show.
  sensors[0].client.publish("plant/<img src=x onerror=alert(1)>/note", "<script>alert(1)</script>", { retain: true });

  let round = 0;
  const timer = setInterval(() => {
    round += 1;
    for (const { client, room, n } of sensors) {
      const celsius = (20 + 8 * Math.sin(round / 60 + n) + n).toFixed(2);
      client.publish(`plant/${room}/${n}/temperature`, JSON.stringify({ celsius: Number(celsius), at: round }), { qos: round % 2 });
      if (round % 5 === n) client.publish(`plant/${room}/${n}/vibration`, Buffer.alloc(900, round & 255));
    }
  }, 50);
  return {
    sensors, panels, archive, slow,
    end() {
      clearInterval(timer);
      for (const client of [...sensors.map((one) => one.client), ...panels, archive, slow]) client.end();
    },
  };
}
