// The rows of the list: which one the reader is at, and how to get to another.

export const list = () => document.getElementById("list");
export const rows = () => [...document.querySelectorAll(".row:not(.leaving)")];
export const rowOf = (element) => element?.closest?.(".row") ?? null;
export const openRow = () => document.querySelector(".row[data-open]");
export const openMessage = () => document.getElementById("message")?.dataset.open ?? "";

// Remembered by number, for rows are swapped under the reader's feet.
let at = "";
export const place = () => at;

export function here() {
  return rowOf(document.activeElement) ?? document.getElementById(`m${at}`) ?? openRow();
}

export function stay(row) {
  at = row?.dataset.id ?? "";
}

export function focusRow(row) {
  stay(row);
  const link = row?.querySelector(".open");
  link?.focus({ preventScroll: true });
  row?.scrollIntoView({ block: "nearest" });
}

export function beside(row, step) {
  const all = rows();
  if (!row) return all[0] ?? null;
  return all[all.indexOf(row) + step] ?? null;
}

// The row that is next when these are gone: the one after the last of them, else the one before the first.
export function remaining(leaving) {
  const all = rows();
  const last = all.indexOf(leaving.at(-1));
  const first = all.indexOf(leaving[0]);
  return all.slice(last + 1).find((row) => !leaving.includes(row)) ?? all.slice(0, Math.max(first, 0)).at(-1) ?? null;
}

document.addEventListener("focusin", (event) => {
  const row = rowOf(event.target);
  if (row) stay(row);
});
