// Again and again, as long as the page is open and somebody may see it.

let pressed = false;
addEventListener("pointerdown", () => { pressed = true; });
for (const end of ["pointerup", "pointercancel", "blur"]) addEventListener(end, () => { pressed = false; });

// Nothing is drawn anew under a finger, or under what somebody has marked to copy it.
const isBusy = () => document.hidden || pressed || !getSelection().isCollapsed;

export function every(millis, act, signal) {
  const timer = setInterval(() => { if (!isBusy()) act(); }, millis);
  signal.addEventListener("abort", () => clearInterval(timer));
}

// Keeps a stream open until the page is left: it begins anew when it ends.
export function keepOpen(open, signal, onState) {
  (async () => {
    while (!signal.aborted) {
      try {
        onState("open");
        await open();
        onState("ended");
      } catch (problem) {
        if (signal.aborted || problem.name === "AbortError") return;
        onState(problem.message);
        if (problem.status >= 400 && problem.status < 500) return;
      }
      await new Promise((resolve) => setTimeout(resolve, 1500));
    }
  })();
}
