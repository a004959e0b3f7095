// Rows are dragged to folders; whoever cannot drag has 'Move to'.

import { rowOf, rows } from "./rows.js";

const KIND = "application/x-restante";
// What was ticked before a row was dragged that was not: the drag ticks that row alone, and only for itself.
let before = null;

const boxOf = (row) => row.querySelector("input[name=message]");

function tick(ids) {
  for (const row of rows()) boxOf(row).checked = ids.includes(row.dataset.id);
  document.dispatchEvent(new CustomEvent("list:changed"));
}

document.addEventListener("pointerover", (event) => {
  const row = rowOf(event.target);
  if (row && event.pointerType === "mouse") row.draggable = true;
});

document.addEventListener("dragstart", (event) => {
  const row = rowOf(event.target);
  if (!row) return;
  const ticked = () => rows().filter((one) => boxOf(one).checked);
  before = null;
  if (!boxOf(row).checked) {
    before = ticked().map((one) => one.dataset.id);
    tick([row.dataset.id]);
  }
  const dragged = ticked();
  for (const one of dragged) one.classList.add("dragged");
  event.dataTransfer.setData(KIND, String(dragged.length));
  event.dataTransfer.effectAllowed = "move";
});

function end() {
  for (const one of document.querySelectorAll(".dragged")) one.classList.remove("dragged");
  for (const one of document.querySelectorAll(".drop")) one.classList.remove("drop");
  if (before) tick(before);
  before = null;
}

document.addEventListener("dragend", end);

function target(event) {
  const folder = event.target.closest?.(".folder[data-folder]");
  const takes = folder && event.dataTransfer.types.includes(KIND) && !folder.hasAttribute("aria-current");
  return takes ? folder : null;
}

document.addEventListener("dragover", (event) => {
  const folder = target(event);
  for (const one of document.querySelectorAll(".drop")) one.classList.toggle("drop", one === folder);
  if (!folder) return;
  event.preventDefault();
  folder.classList.add("drop");
});

document.addEventListener("drop", (event) => {
  const folder = target(event);
  const select = document.getElementById("move-to");
  if (!folder || !select) return;
  event.preventDefault();
  select.value = folder.dataset.folder;
  if (select.value) select.form.requestSubmit(select.form.querySelector("button[value=move]"));
  // The row may be gone before its drag has ended, which nobody hears of then.
  end();
});
