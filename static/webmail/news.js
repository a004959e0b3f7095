// New mail appears by itself: every so often the mailbox's version is asked for; 304 costs next to nothing.

import { list } from "./rows.js";

const EVERY = 30_000;
let busy = 0;

// Told by the request itself: of an element that is gone by then, htmx tells nobody.
document.addEventListener("htmx:beforeSend", (event) => {
  busy++;
  event.detail.xhr.addEventListener("loadend", () => busy--);
});

export async function look() {
  const shown = list();
  if (!shown || document.hidden || busy > 0) return;
  let answer;
  try {
    answer = await fetch(shown.dataset.versionUrl, {
      headers: { "If-None-Match": `"${shown.dataset.version}"`, "HX-Request": "true" },
      cache: "no-store",
    });
  } catch {
    return; // no network: the next look will tell
  }
  const end = answer.headers.get("HX-Redirect");
  if (end) {
    location.assign(end);
    return;
  }
  // The page may have been swapped while we waited.
  if (answer.status !== 200 || busy > 0 || list() !== shown) return;
  const { version } = await answer.json();
  if (String(version) === shown.dataset.version) return;
  htmx.ajax("GET", shown.dataset.here, { target: "#list", swap: "outerHTML", source: shown });
}

setInterval(look, EVERY);
document.addEventListener("visibilitychange", look);
