// Again and again, as long as the page is open and somebody may see it.

export function every(millis, act, signal) {
  const timer = setInterval(() => { if (!document.hidden) act(); }, millis);
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
