// The keyboard, as people know it from other webmails. `?` shows the keys.

import { beside, focusRow, here, list, openMessage, openRow, rows } from "./rows.js";
import { choose } from "./selection.js";

let goingTo = false;
let tooLate = 0;

function press(selector) {
  const button = document.querySelector(selector);
  button?.click();
  return Boolean(button);
}

// The reader is at a row whose message is open beside it; one that is still on its way is not meant.
const readsHere = () => openMessage() && (!here() || here().dataset.id === openMessage());

// On what is chosen; else on the message that is open; else on the row the reader is at.
function act(verb) {
  const chosen = rows().some((row) => row.querySelector("input[name=message]").checked);
  if (chosen) return press(`#acts button[name=act][value=${verb}]`);
  if (readsHere() && press(`#message-acts button[name=act][value=${verb}]`)) return true;
  const row = here();
  const button = document.querySelector(`#acts button[name=act][value=${verb}]`);
  if (!row || !button) return false;
  row.querySelector("input[name=message]").checked = true;
  button.click();
  return true;
}

function step(by) {
  const from = openRow() && !here() ? openRow() : here();
  const row = beside(from, by);
  if (!row) return turn(by);
  focusRow(row);
  if (openMessage()) row.querySelector(".open").click();
}

// Behind the last row of a page is the first of the next one, and before the first the last of the one before.
let turning = null;

function turn(by) {
  const link = document.querySelector(`.pager [rel=${by > 0 ? "next" : "prev"}]`);
  if (!link || turning) return;
  link.click();
  turning = { by, from: list().dataset.here, opens: Boolean(openMessage()) };
}

// Who goes elsewhere meanwhile does not wait for that page any more.
document.addEventListener("going", () => (turning = null));

document.addEventListener("list:changed", () => {
  if (!turning || turning.from === list()?.dataset.here) return;
  const { by, opens } = turning;
  turning = null;
  const row = rows().at(by > 0 ? 0 : -1);
  focusRow(row);
  if (opens) row?.querySelector(".open").click();
});
document.addEventListener("htmx:afterRequest", (event) => {
  if (!event.detail.successful && !event.detail.overtaken) turning = null;
});

function find() {
  const box = document.getElementById("q");
  box?.focus();
  box?.select();
}

const go = { i: "inbox", t: "trash", a: "archive" };

const keys = {
  j: () => step(1),
  k: () => step(-1),
  o: () => here()?.querySelector(".open").click(),
  u: () => press(".message-tools .back"),
  e: () => act("archive"),
  "#": () => act("trash"),
  "!": () => act("junk"),
  U: () => act("unseen"),
  s: () => (readsHere() ? press("#open-star") : here()?.querySelector("button.star").click()),
  x: () => choose(here()),
  z: () => press(".toast:not([hidden]) .undo button"),
  "/": () => find(),
  "?": () => document.getElementById("help")?.showModal(),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input:not([type=checkbox], [type=radio]), textarea, select, dialog[open]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !document.getElementById("help")) return;
  if (goingTo) {
    goingTo = false;
    if (go[event.key] && press(`.sidebar a[data-folder=${go[event.key]}]`)) event.preventDefault();
    return;
  }
  if (event.key === "g") {
    goingTo = true;
    // That of a `g` before would else end this one early.
    clearTimeout(tooLate);
    tooLate = setTimeout(() => (goingTo = false), 1500);
    return;
  }
  const perform = keys[event.key];
  if (!perform || (!document.getElementById("list") && !"/?".includes(event.key))) return;
  event.preventDefault();
  perform();
});
