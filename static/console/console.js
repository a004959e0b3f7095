// Keys for those who work here all day: / to the search box, j and k through rows, Enter opens.

const typing = (element) =>
  element.matches("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");

const steps = () => [...document.querySelectorAll("[data-rows] a[href], [data-rows] summary")].filter((one) => {
  const row = one.closest("tr, li");
  return row?.querySelector("a[href], summary") === one;
});

function step(by) {
  const all = steps();
  if (!all.length) return;
  const row = document.activeElement?.closest("tr, li");
  const at = all.findIndex((one) => row?.contains(one));
  all[Math.min(all.length - 1, Math.max(0, at < 0 ? 0 : at + by))].focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  if (event.key === "/") {
    event.preventDefault();
    const box = document.querySelector("[data-find]");
    box.focus();
    box.select();
  } else if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
});

// Many at once: one box ticks all of the page, and the button says how many there are.
for (const form of document.querySelectorAll("[data-choosing]")) {
  // A form's boxes may stand outside of it.
  const own = [...form.elements].filter((one) => one.type === "checkbox");
  const all = own.find((one) => "tickAll" in one.dataset);
  const boxes = own.filter((one) => one !== all);
  if (!boxes.length) continue;
  const told = form.querySelector("[data-ticked]");
  const tell = () => {
    const ticked = boxes.filter((one) => one.checked).length;
    told.textContent = ticked ? `(${ticked})` : "";
    all.checked = ticked === boxes.length;
    all.indeterminate = ticked > 0 && ticked < boxes.length;
  };
  all.hidden = false;
  all.addEventListener("change", () => {
    for (const one of boxes) one.checked = all.checked;
    tell();
  });
  for (const one of boxes) one.addEventListener("change", tell);
  tell();
}
