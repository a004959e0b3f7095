// Taking an act back is painted at once, like the act: its rows are kept until the next act is done.

import { list } from "./rows.js";

let done = null;

// The server has done what was asked, and offers the way back under a key.
export function offered({ was, here, leaves }) {
  const key = document.querySelector("#toasts .undo [name=change]")?.value;
  if (key) done = { key, was, here, leaves };
}

// Paints the list as it was before the act; gives what takes that back again.
export function bringBack(form) {
  const toast = form.closest(".toast");
  toast.hidden = true;
  const painted = done?.key === form.elements.change.value && done.here === list()?.dataset.here;
  // From the last to the first: each stands before the one that it stood before.
  const was = painted ? [...done.was].reverse() : [];
  const rows = was.map((one) => (done.leaves ? insert(one) : relabel(one))).filter(Boolean);
  return () => {
    for (const withdraw of rows) withdraw();
    toast.hidden = false;
  };
}

function insert({ row, id, classes, after }) {
  const all = document.querySelector("#list .rows");
  if (!all || document.getElementById(`m${id}`)) return null;
  const again = row.cloneNode(true);
  again.className = classes;
  all.insertBefore(again, document.getElementById(`m${after}`));
  htmx.process(again);
  return () => again.remove();
}

function relabel({ id, classes }) {
  const row = document.getElementById(`m${id}`);
  if (!row) return null;
  const now = row.className;
  row.className = classes;
  return () => (row.className = now);
}
