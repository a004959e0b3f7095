// What a page does beyond links and forms. Each module listens on the document, so parts may be swapped freely.

import "./acts.js";
import "./drag.js";
import "./found.js";
import "./going.js";
import "./keys.js";
import "./looks.js";
import "./news.js";
import "./pressed.js";
import "./returning.js";
import "./selection.js";
import "./swaps.js";
import "./toasts.js";

document.documentElement.classList.add("scripted");

function reveal(root) {
  for (const element of root.querySelectorAll(".needs-script, [data-dismiss], [data-print]")) element.hidden = false;
}

reveal(document);
document.addEventListener("htmx:load", (event) => reveal(event.target.parentElement ?? document));
document.addEventListener("click", (event) => {
  if (event.target.closest("[data-print]")) window.print();
});
