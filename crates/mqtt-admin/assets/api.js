// The HTTP API. The token lives in this tab's session storage, and goes out in a header alone.

const KEY = "gmqtt-token";
let onRefused = () => {};

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

// A token in the fragment is taken, and gone from the address bar before anything else happens.
export function adoptTokenOfAddress() {
  const match = /^#token=(.+)$/.exec(location.hash);
  if (!match) return;
  history.replaceState(null, "", location.pathname);
  sessionStorage.setItem(KEY, decodeURIComponent(match[1]).trim());
}

export const session = {
  has: () => Boolean(sessionStorage.getItem(KEY)),
  begin: (token) => sessionStorage.setItem(KEY, token.trim()),
  end: () => sessionStorage.removeItem(KEY),
  whenRefused: (act) => { onRefused = act; },
};

export const authorization = () => session.has() ? { Authorization: `Bearer ${sessionStorage.getItem(KEY)}` } : {};

async function send(method, path, { query, json, signal } = {}) {
  const url = new URL(path, location.origin);
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, value);
  }
  const headers = { ...authorization() };
  if (json !== undefined) headers["Content-Type"] = "application/json";
  const request = { method, headers, signal, cache: "no-store", credentials: "omit", redirect: "error" };
  if (json !== undefined) request.body = JSON.stringify(json);
  const response = await fetch(url, request).catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "the broker does not answer");
  });
  if (response.ok) return response;
  const detail = await response.json().then((problem) => problem.detail, () => response.statusText);
  if (response.status === 401) onRefused(detail);
  throw new Problem(response.status, detail);
}

const body = async (response) => {
  const text = await response.text();
  return text ? JSON.parse(text) : null;
};

export const get = (path, query, signal) => send("GET", path, { query, signal }).then(body);
export const post = (path, json) => send("POST", path, { json }).then(body);
export const put = (path, json) => send("PUT", path, { json }).then(body);
export const remove = (path, query) => send("DELETE", path, { query }).then(body);

// A browser takes these two for a way through the path, however they are spelled: they go into the query.
export const named = (path, name, rest = "") => [".", ".."].includes(name)
  ? `${path}/-${rest}?client_id=${name}` : `${path}/${encodeURIComponent(name)}${rest}`;

// Server-sent events by fetch: EventSource can show no token. Calls `each(value, kind)` until `signal` ends it.
export async function events(path, query, signal, each) {
  const response = await send("GET", path, { query, signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n");
      const of = (name) => lines.filter((line) => line.startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).trimStart());
      const data = of("data").join("\n");
      if (data) each(JSON.parse(data), of("event")[0]);
    }
  }
}
