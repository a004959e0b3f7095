// Acts are painted at once, sent one after the other, and taken back if the server refuses.
//
// Nothing that the reader does meanwhile is lost: an act takes the ticks off its rows when it begins, so what
// is ticked when an answer comes was ticked since, and stays (swaps.js).

import { focusRow, here, list, openMessage, place, remaining, rows, stay } from "./rows.js";
import { said, tell } from "./toasts.js";
import { bringBack } from "./undoing.js";

const LEAVES = new Set(["archive", "junk", "trash", "move", "restore", "restore_session", "expunge"]);

// Those that wait for their answer; the first of them is on its way.
const waiting = [];
let last = Promise.resolve();
let begun = 0;

export const actsBegun = () => begun;
export const actsWait = () => waiting.length > 0;
export const isAnswer = (request) => Boolean(request && waiting.length) && request.parameters === waiting[0].parameters;
export const answered = () => waiting[0];

function isAct(element) {
  return element?.matches?.("#acts, #message-acts, .undo, [id^='session-']") ?? false;
}

function asked(values) {
  const [single, number] = (values.get("one") ?? "").split(":");
  const act = single || (values.get("act") ?? "");
  if (act === "restore_session") {
    const session = values.get("session");
    return { act, ids: rows().filter((row) => row.dataset.session === session).map((row) => row.dataset.id) };
  }
  if (single) return { act, ids: [number] };
  if (values.get("all")) return { act, ids: rows().map((row) => row.dataset.id) };
  return { act, ids: values.getAll("message") };
}

const LOOKS = {
  seen: (row) => row.classList.remove("unread"),
  unseen: (row) => row.classList.add("unread"),
  star: (row) => row.classList.add("starred"),
  unstar: (row) => row.classList.remove("starred"),
};

// The button of a star says what pressing it would do, so it is painted with the star.
function paintStar(button, on) {
  button.classList.toggle("on", on);
  button.setAttribute("aria-pressed", String(on));
  button.value = button.value.replace(/^(un)?star/, on ? "unstar" : "star");
}

function showStar(row) {
  paintStar(row.querySelector(".star"), row.classList.contains("starred"));
}

function paint(row, { act, leaves }) {
  if (leaves) row.classList.add("leaving");
  LOOKS[act]?.(row);
  showStar(row);
  row.querySelector("input[name=message]").checked = false;
}

// A message that was asked for before its star was pressed comes without it.
export function paintOpenAs(row) {
  const button = document.getElementById("open-star");
  if (button) paintStar(button, row.classList.contains("starred"));
}

// The star of the message that is open, beside its row or without one.
function paintOpen({ act, ids }) {
  const button = document.getElementById("open-star");
  if (button && (act === "star" || act === "unstar") && ids.includes(openMessage())) paintStar(button, act === "star");
}

// A list that came meanwhile knows nothing of the acts that still wait. What leaves one list may have come to another.
export function paintAgain() {
  for (const deed of waiting) {
    for (const { id } of deed.leaves && deed.here !== list()?.dataset.here ? [] : deed.was) {
      const row = document.getElementById(`m${id}`);
      if (row) paint(row, deed);
    }
    paintOpen(deed);
  }
}

function takeBack({ act, ids, was, leaves, next, withdraw }) {
  for (const { id, classes, ticked } of was) {
    const row = document.getElementById(`m${id}`);
    if (!row) continue;
    row.className = classes;
    showStar(row);
    row.querySelector("input[name=message]").checked = ticked;
  }
  if (act === "star" || act === "unstar") paintOpen({ act: act === "star" ? "unstar" : "star", ids });
  withdraw?.();
  // Who has gone nowhere since is at the row that is back, as before.
  const first = was.map(({ id }) => document.getElementById(`m${id}`)).find(Boolean);
  if (leaves && first && (!next || place() === next)) {
    const at = document.activeElement;
    if (!at || at === document.body || at.closest("#list, #message")) focusRow(first);
    else stay(first);
  }
  document.dispatchEvent(new CustomEvent("list:changed"));
}

function begin(form, submitter) {
  const values = new FormData(form, submitter);
  const { act, ids } = asked(values);
  if (act === "expunge") values.set("sure", "1");
  const chosen = ids.map((id) => document.getElementById(`m${id}`)).filter(Boolean);
  const was = chosen.map((row) => ({
    id: row.dataset.id,
    classes: row.className,
    row,
    after: rows()[rows().indexOf(row) + 1]?.dataset.id,
    ticked: row.querySelector("input[name=message]").checked,
  }));
  // A search finds its messages wherever they lie.
  const leaves = LEAVES.has(act) && list()?.dataset.folder !== "search";
  const next = leaves && chosen.length ? remaining(chosen) : here();
  for (const row of chosen) paint(row, { act, leaves });
  const deed = { act, ids, was, values, url: form.action, here: list()?.dataset.here ?? "", leaves };
  deed.next = next?.dataset.id ?? "";
  deed.focuses = leaves || form.id === "acts" || form.matches(".undo");
  if (form.matches(".undo")) deed.withdraw = bringBack(form);
  paintOpen(deed);
  if (leaves && next) focusRow(next);
  else if (next) stay(next);
  for (const select of form.querySelectorAll("select[name=to]")) select.value = "";
  document.dispatchEvent(new CustomEvent("list:changed"));
  begun++;
  waiting.push(deed);
  last = last.then(() => send(deed));
}

async function send(deed) {
  deed.open = openMessage();
  if (deed.open) deed.values.set("open", deed.open);
  try {
    await htmx.ajax("POST", deed.url, { source: "body", target: "#list", swap: "outerHTML", values: deed.values });
  } catch {
    // said already: see `failed`
  }
  waiting.shift();
}

document.addEventListener("htmx:configRequest", (event) => {
  const { detail } = event;
  if (detail.elt === document.body && detail.verb === "post" && waiting.length) waiting[0].parameters = detail.parameters;
});

// htmx would keep of several acts at once the last alone, so it is only asked to send what is sent in turn.
document.addEventListener("htmx:confirm", (event) => {
  const form = event.detail.elt;
  if (!isAct(form)) return;
  event.preventDefault();
  const submitter = event.detail.triggeringEvent?.submitter ?? null;
  if (submitter?.value === "move" && !form.elements.to.value) return form.elements.to.focus();
  if (submitter?.value !== "expunge") return begin(form, submitter);
  // Removing for good is asked about first; without scripts the server asks on a page of its own.
  const sheet = document.getElementById("sure");
  sheet.returnValue = "no";
  // Not once: that a sheet was closed may be told only after it was opened again.
  sheet.onclose = () => sheet.returnValue === "yes" && begin(form, submitter);
  sheet.showModal();
  sheet.querySelector("[value=no]").focus();
});

function failed(event) {
  if (isAnswer(event.detail.requestConfig)) takeBack(waiting[0]);
  const gone = event.detail.xhr?.status === 404;
  tell(said(gone ? "Gone" : "Failed"));
}
for (const failure of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) document.addEventListener(failure, failed);

// With a pointer, choosing a folder in 'Move to' is the act itself. By keyboard one passes folder after folder:
// there Enter does it, or the button 'Move' (WCAG 3.2.2).
let pointedAt = null;
const targetsOf = (element) => element.closest?.("#acts select[name=to], #message-acts select[name=to]") ?? null;

function moveTo(select) {
  const form = select.form;
  const chosen = new FormData(form);
  if (!chosen.getAll("message").length && !chosen.get("all")) {
    select.value = "";
    tell(said("Choose"));
    return;
  }
  form.requestSubmit(form.querySelector("button[value=move]"));
}

document.addEventListener("pointerdown", (event) => {
  pointedAt = targetsOf(event.target);
});

document.addEventListener("keydown", (event) => {
  pointedAt = null;
  const select = targetsOf(event.target);
  if (event.key !== "Enter" || !select?.value) return;
  event.preventDefault();
  moveTo(select);
});

document.addEventListener("change", (event) => {
  const select = targetsOf(event.target);
  if (select?.value && select === pointedAt) moveTo(select);
});
