// Who is slow, whose queue is full, and why messages were dropped.

import { get } from "../api.js";
import { el, panel, replace } from "../dom.js";
import { live } from "../live.js";
import { every } from "../timer.js";
import { dropsTable, fullestTable } from "./overview.js";

const MEANING = {
  queue_full: "The receiver reads more slowly than messages come for it, or is away: its queue has reached max_queued_messages or max_queued_bytes. It stands below.",
  qos0_while_absent: "QoS 0 for a session whose client is not connected; the limit queue_qos0_messages would keep them.",
  refused: "An access rule or a hook forbade the publisher this topic.",
  reserved_topic: "A client published to a topic that begins with $: those are the broker's own.",
  too_long: "It was made inside the broker's process, and is too long for any packet.",
  withheld: "When it was about to leave, an access rule or a hook did not let its receiver have it.",
  retained_full: "It was delivered, but not kept for future subscribers: the retained store is full.",
  session_ended: "It waited for a client whose session ended before it came back.",
};

export function trouble(root, { signal }) {
  const drops = el("div");
  const fullest = el("div");
  const dropped = el("div");
  const inflight = el("div");
  root.append(
    panel("Why messages were dropped", drops),
    el("div.two", panel("Fullest queues", fullest), panel("Most dropped", dropped)),
    panel("Slowest to acknowledge", inflight));
  live.follow(() => replace(drops, dropsTable(live.minutes, MEANING)), signal);
  const load = async () => {
    const lists = [
      ["msg_queue_bytes", "msg_queue_len", fullest, "No message waits for anybody."],
      ["msg_queue_dropped", "msg_queue_dropped", dropped, "No session that is there has lost a message."],
      ["inflight_len", "inflight_len", inflight, "Everything sent is acknowledged."],
    ];
    await Promise.all(lists.map(async ([sort, has, place, empty]) => {
      const page = await get("/api/v1/sessions", { sort, "per-page": 10 }, signal).catch(() => null);
      if (page) replace(place, fullestTable(page.list.filter((one) => one[has] > 0), empty));
    }));
  };
  load();
  every(3000, load, signal);
}
