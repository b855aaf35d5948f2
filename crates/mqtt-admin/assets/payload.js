// A payload as text, JSON or hexadecimal; whatever it holds, it is shown as text.

import { el, replace } from "./dom.js";
import { bytes, kindOf, shown } from "./format.js";

export function payload(content, size = content.length) {
  let kind = kindOf(content);
  const text = el("pre.payload", { tabindex: "0", "aria-label": "Payload" });
  const tabs = el("div.tabs", { role: "group", "aria-label": "Show the payload as" });
  const draw = () => {
    replace(tabs, ["text", "json", "hex"].map((one) =>
      el("button.small", { type: "button", "aria-pressed": String(one === kind), onclick: () => { kind = one; draw(); } }, one)));
    text.textContent = content.length ? shown(content, kind) : "(empty)";
    if (size > content.length) text.append(`\n… the first ${bytes(content.length)} of ${bytes(size)}`);
  };
  draw();
  return el("div", tabs, text);
}
