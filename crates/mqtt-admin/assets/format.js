// Numbers, times and payloads, as people read them.

const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"];

export function count(n) {
  return Math.round(n).toLocaleString("en-US");
}

// Three digits, so that a number that lives does not jump.
export function rate(n) {
  if (n === undefined || n === null || Number.isNaN(n)) return "–";
  if (n >= 999_950) return `${(n / 1e6).toPrecision(3)} M`;
  if (n >= 9_999.5) return `${(n / 1e3).toPrecision(3)} k`;
  if (n >= 100 || n === 0 || Number.isInteger(n)) return count(n);
  return n >= 10 ? n.toFixed(1) : n.toFixed(2);
}

export function bytes(n) {
  if (n === undefined || n === null || Number.isNaN(n)) return "–";
  let unit = 0;
  while (n >= 1024 && unit < SIZES.length - 1) {
    n /= 1024;
    unit += 1;
  }
  const digits = unit === 0 ? 0 : n < 10 ? 2 : n < 100 ? 1 : 0;
  return `${n.toFixed(digits)} ${SIZES[unit]}`;
}

export function micros(n) {
  if (n === undefined || n === null || Number.isNaN(n)) return "–";
  if (n < 1_000) return `${Math.round(n)} µs`;
  if (n < 1_000_000) return `${(n / 1_000).toPrecision(3)} ms`;
  return `${(n / 1_000_000).toPrecision(3)} s`;
}

export function clock(at) {
  return new Date(at).toLocaleTimeString("en-GB");
}

export function moment(at) {
  const date = new Date(at);
  return at && date.getUTCFullYear() > 1 ? `${date.toLocaleDateString("en-CA")} ${date.toLocaleTimeString("en-GB")}` : "—";
}

export function span(secs) {
  secs = Math.max(0, Math.round(secs));
  if (secs < 60) return `${secs} s`;
  if (secs < 3600) return `${Math.floor(secs / 60)} min ${secs % 60} s`;
  if (secs < 86_400) return `${Math.floor(secs / 3600)} h ${Math.floor(secs % 3600 / 60)} min`;
  return `${Math.floor(secs / 86_400)} d ${Math.floor(secs % 86_400 / 3600)} h`;
}

export function since(at) {
  return span((Date.now() - new Date(at)) / 1000);
}

export function reason(name) {
  return ({
    queue_full: "queue full",
    qos0_while_absent: "QoS 0, receiver absent",
    refused: "refused by a rule",
    retained_full: "retained store full",
    session_ended: "session ended",
  })[name] ?? String(name).replaceAll("_", " ");
}

export function sentence(past) {
  return `${past.event.replaceAll("_", " ")} ${past.detail}`;
}

export function fromBase64(text) {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}

// "text", "json" or "hex": what a payload looks like to who sees it for the first time.
export function kindOf(payload) {
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(payload);
  } catch {
    return "hex";
  }
  if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/.test(text)) return "hex";
  return /^\s*[[{]/.test(text) && parsed(text) !== undefined ? "json" : "text";
}

export function shown(payload, kind) {
  if (kind === "hex") return hex(payload);
  const text = new TextDecoder().decode(payload);
  const value = kind === "json" ? parsed(text) : undefined;
  return value === undefined ? text : JSON.stringify(value, null, 2);
}

// One line of a payload.
export function glimpse(payload, most = 120) {
  if (!payload.length) return "(empty)";
  if (kindOf(payload) === "hex") {
    const head = [...payload.slice(0, 24)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    return payload.length > 24 ? `${head} …` : head;
  }
  const text = new TextDecoder().decode(payload).replace(/\s+/g, " ");
  return text.length > most ? `${text.slice(0, most)} …` : text;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function hex(payload) {
  const lines = [];
  for (let at = 0; at < payload.length; at += 16) {
    const row = [...payload.slice(at, at + 16)];
    const digits = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ").padEnd(47);
    const text = row.map((byte) => byte >= 32 && byte < 127 ? String.fromCharCode(byte) : "·").join("");
    lines.push(`${at.toString(16).padStart(6, "0")}  ${digits}  ${text}`);
  }
  return lines.join("\n");
}
