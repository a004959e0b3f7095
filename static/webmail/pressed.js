// While a button or a link is pressed, no answer takes it from under the finger, for its click would be lost: what came
// is shown when it is released.

const PRESSED = "a, button, label, summary, input";

let held = false;
let waiting = [];

document.addEventListener(
  "pointerdown",
  (event) => (held = event.isPrimary && event.button === 0 && Boolean(event.target.closest(PRESSED))),
  true,
);

// The click is told after the release, and before what waits.
function release() {
  held = false;
  setTimeout(() => {
    if (held) return;
    const came = waiting;
    waiting = [];
    for (const show of came) setTimeout(show);
  });
}

// Of a press that becomes a drag, or opens a menu, no release is told.
for (const end of ["pointerup", "pointercancel", "dragstart", "contextmenu"]) {
  document.addEventListener(end, release, true);
}
window.addEventListener("blur", release);

document.addEventListener("htmx:beforeRequest", (event) => {
  const { xhr } = event.detail;
  const show = xhr.onload;
  xhr.onload = () => {
    if (held) waiting.push(() => show.call(xhr));
    else show.call(xhr);
  };
});
