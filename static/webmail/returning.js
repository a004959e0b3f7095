// Who comes back to a list finds it where they left it: kept by the list's URL, for as long as the tab lives.

import { focusRow, list, openMessage, openRow, place, stay } from "./rows.js";

const scroller = () => document.getElementById("scroller");
const key = () => `place ${list().dataset.here}`;

// A list that is hidden behind its message, as on a phone, stands at 0; it will be shown again where it was.
let seen = 0;
let back = false;

function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(key()));
  } catch {
    return null;
  }
}

function keep() {
  if (!list()) return;
  const top = scroller()?.clientHeight ? scroller().scrollTop : seen;
  const row = openMessage() || place();
  try {
    sessionStorage.setItem(key(), JSON.stringify({ top, row, back }));
  } catch {
    // no room, or not allowed: the list will begin at its beginning
  }
}

function restore() {
  if (!list()) return;
  const was = kept();
  const [arrival] = performance.getEntriesByType("navigation");
  if (was && (was.back || arrival?.type !== "navigate")) {
    seen = was.top;
    if (scroller()) scroller().scrollTop = was.top;
    const row = document.getElementById(`m${was.row}`);
    if (row && !openMessage()) focusRow(row);
  }
  const open = openRow();
  if (!open) return;
  stay(open);
  open.scrollIntoView({ block: "nearest" });
}

document.addEventListener(
  "scroll",
  (event) => {
    if (event.target.id === "scroller" && event.target.clientHeight) seen = event.target.scrollTop;
  },
  { capture: true, passive: true },
);
document.addEventListener("click", (event) => {
  back = Boolean(event.target.closest?.(".message-tools .back"));
});
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target?.id === "list") keep();
});
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.target?.id === "list") seen = scroller()?.scrollTop ?? 0;
});
window.addEventListener("pagehide", keep);
restore();
