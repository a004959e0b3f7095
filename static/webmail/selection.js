// Choosing many: one by one, a range with Shift, the page, or all of the folder.

import { hear } from "./heard.js";
import { list, rowOf, rows } from "./rows.js";
import { said } from "./toasts.js";

let last = null;
const boxes = () => rows().map((row) => row.querySelector("input[name=message]"));

function show() {
  const all = boxes();
  const chosen = all.filter((box) => box.checked).length;
  const page = document.getElementById("choose-page");
  const everything = document.getElementById("everything");
  if (page) {
    page.checked = chosen > 0 && chosen === all.length;
    page.indeterminate = chosen > 0 && chosen < all.length;
  }
  if (everything) {
    everything.hidden = chosen === 0 || chosen < all.length;
    if (everything.hidden) everything.querySelector("input").checked = false;
  }
}

document.addEventListener("click", (event) => {
  const box = event.target.closest?.("input[name=message]");
  if (!box) return;
  const all = boxes();
  const [from, to] = [all.indexOf(last), all.indexOf(box)];
  if (event.shiftKey && from >= 0) {
    for (const between of all.slice(Math.min(from, to), Math.max(from, to) + 1)) between.checked = box.checked;
  }
  last = box;
});

document.addEventListener("change", (event) => {
  if (!list()?.contains(event.target)) return;
  if (event.target.id === "choose-page") for (const box of boxes()) box.checked = event.target.checked;
  if (event.target.type === "checkbox") show();
});

document.addEventListener("list:changed", show);

export function choose(row) {
  const box = rowOf(row)?.querySelector("input[name=message]");
  if (!box) return;
  box.checked = !box.checked;
  show();
  hear(`${said("Chosen")} ${boxes().filter((one) => one.checked).length}`);
}

show();
