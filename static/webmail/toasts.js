// What was done is said, and goes away by itself; while it can be undone it stays longer.

const SHORT = 6000;
const UNDOABLE = 15000;
let timer = 0;

// One that is hidden waits for its answer: see undoing.js.
function clear() {
  document.querySelectorAll("#toasts .toast:not([hidden])").forEach((toast) => toast.remove());
}

function arm() {
  clearTimeout(timer);
  const toasts = document.getElementById("toasts");
  if (!toasts?.childElementCount) return;
  timer = setTimeout(() => {
    if (toasts.matches(":hover, :focus-within")) arm();
    else clear();
  }, toasts.querySelector(".undo") ? UNDOABLE : SHORT);
}

// What scripts say stands in the page, in its language.
export function said(what) {
  return document.getElementById("said").dataset[`said${what}`];
}

export function tell(text) {
  const toasts = document.getElementById("toasts");
  const toast = document.createElement("div");
  toast.className = "toast";
  toast.append(text);
  // The way back stays, whatever else is said.
  for (const other of toasts.querySelectorAll(".toast:not(:has(.undo))")) other.remove();
  toasts.append(toast);
  arm();
}

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-dismiss]")) event.target.closest(".toast").remove();
});
document.addEventListener("htmx:afterSettle", arm);
arm();
