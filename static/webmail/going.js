// Links to a list or a message are asked for by an element that stays: the link itself may be gone when the answer
// comes, and then htmx tells nobody and forgets the address. Of several that are on their way, the last one counts.

const PARTS = new Set(["list", "message"]);

const askers = new WeakSet();
let newest = null;

// Changes with each link that is followed.
export const lastAsked = () => newest;

function go(path, part) {
  const asker = document.createElement("span");
  asker.hidden = true;
  document.body.append(asker);
  askers.add(asker);
  newest = asker;
  document.dispatchEvent(new CustomEvent("going"));
  htmx
    .ajax("GET", path, { source: asker, target: `#${part}`, swap: "outerHTML", push: "true" })
    .catch(() => {}) // said already: see acts.js
    .finally(() => asker.remove());
}

document.addEventListener("htmx:confirm", (event) => {
  const { elt, target, verb, path } = event.detail;
  if (verb !== "get" || !elt.matches("a[href]") || !PARTS.has(target.id)) return;
  event.preventDefault();
  go(path, target.id);
});

// An answer goes where its part of the page stands when it comes; what stood there when it was asked for may be gone.
document.addEventListener("htmx:beforeRequest", (event) => {
  const { id } = event.detail.target;
  if (!PARTS.has(id)) return;
  const stands = { get: () => document.getElementById(id), set() {}, enumerable: true, configurable: true };
  Object.defineProperty(event.detail, "target", stands);
});

document.addEventListener("htmx:beforeOnLoad", (event) => {
  const { elt } = event.detail;
  event.detail.overtaken = askers.has(elt) && elt !== newest;
  if (event.detail.overtaken) event.preventDefault();
});
