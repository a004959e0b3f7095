// Parts of the page are swapped under the reader's feet: where they had scrolled to, what they chose, and the
// row that they are at are the same afterwards.

import { actsBegun, actsWait, answered, isAnswer, paintAgain, paintOpenAs } from "./acts.js";
import { lastAsked } from "./going.js";
import { hear } from "./heard.js";
import { focusRow, here, list, openMessage, openRow, place, rows, stay } from "./rows.js";
import { said } from "./toasts.js";
import { offered } from "./undoing.js";

let before = null;

// When the answer with each message came, in such answers: a list that was asked for before it calls it unread.
const read = new Map();
let readings = 0;

// What the list's own look for news brings is older than an act that has begun since; so is a message.
document.addEventListener("htmx:configRequest", (event) => {
  const { detail } = event;
  const isNews = detail.elt.id === "list";
  if (isNews || detail.target?.id === "message") detail.actsBegun = actsBegun();
  detail.readings = readings;
  // These speak of the list that is shown, and mean no other.
  if (isNews || detail.elt.id === "group") detail.of = list()?.dataset.here;
  if (isNews) detail.lastAsked = lastAsked();
});

function isStale(request) {
  return request?.actsBegun !== undefined && (request.actsBegun !== actsBegun() || actsWait());
}

// Its reader has followed a link since.
function isLeft(request) {
  if (request?.of === undefined) return false;
  return request.of !== list().dataset.here || (request.elt.id === "list" && request.lastAsked !== lastAsked());
}

document.addEventListener("htmx:beforeSwap", (event) => {
  const { detail } = event;
  if (detail.target?.id !== "list" || !detail.shouldSwap) return;
  if (isStale(detail.requestConfig) || isLeft(detail.requestConfig)) {
    detail.shouldSwap = false;
    return;
  }
  const answer = isAnswer(detail.requestConfig) ? answered() : null;
  if (answer && answer.here !== list().dataset.here) {
    // Its reader has gone to another list meanwhile: what was done is said there, and nothing else changes.
    answer.elsewhere = true;
    detail.swapOverride = "none";
    detail.ignoreTitle = true;
    return;
  }
  if (answer && openMessage() !== answer.open) {
    detail.serverResponse = detail.serverResponse.replace(/<template id="redrawn">[^]*?<\/template>/, "");
    detail.ignoreTitle = true;
  }
  const focused = document.activeElement?.closest?.("#list") ? document.activeElement : null;
  before = {
    answer,
    news: detail.requestConfig?.elt?.id === "list",
    readings: detail.requestConfig?.readings ?? readings,
    within: document.activeElement?.closest?.("#list, #message")?.id ?? "",
    here: list().dataset.here,
    top: document.getElementById("scroller")?.scrollTop ?? 0,
    chosen: [...document.querySelectorAll(".row:not(.leaving) input[name=message]:checked")].map((box) => box.value),
    everything: Boolean(document.querySelector("#everything input:checked")),
    order: rows().map((row) => row.dataset.id),
    place: here()?.dataset.id ?? place(),
    row: focused?.closest(".row")?.dataset.id ?? "",
    control: focused?.closest(".row") ? ["input", ".star", ".open"].find((one) => focused.matches(one)) : "",
    focused: focused?.closest(".row") ? "" : (focused?.id ?? ""),
  };
});

document.addEventListener("htmx:oobBeforeSwap", (event) => {
  const answer = answered();
  const { id } = event.detail.target;
  // New mail says nothing, and leaves in place what was said; above all the way back.
  if (id === "toasts" && before?.news) event.detail.shouldSwap = false;
  if (!answer || id === "toasts") return;
  const another = id === "message" && openMessage() !== (answer.open ?? "");
  if (answer.elsewhere || another) event.detail.shouldSwap = false;
});

document.addEventListener("htmx:beforeHistoryUpdate", (event) => {
  const { history, requestConfig } = event.detail;
  if (!isAnswer(requestConfig) || !(answered().elsewhere || openMessage() !== answered().open)) return;
  history.type = "replace";
  history.path = location.pathname + location.search;
});

document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.target?.id === "message") return openedMessage(isStale(event.detail.requestConfig));
  if (!before || !list()) return;
  const old = before;
  before = null;
  if (old.answer) {
    offered(old.answer);
    old.answer.was = [];
    old.answer.ids = [];
  }
  if (old.here === list().dataset.here) {
    const scroller = document.getElementById("scroller");
    if (scroller) scroller.scrollTop = old.top;
    for (const id of old.chosen) {
      const box = document.querySelector(`#m${id} input[name=message]`);
      if (box) box.checked = true;
    }
    const everything = document.querySelector("#everything input");
    if (everything && !old.answer) everything.checked = old.everything;
  } else if (openMessage() && !document.getElementById(`m${openMessage()}`)) {
    closeMessage();
  }
  for (const [id, when] of read) {
    if (when > old.readings) document.getElementById(`m${id}`)?.classList.remove("unread");
  }
  paintAgain();
  markOpen();
  findPlace(old);
  if (old.news) tellOfNews(old);
  document.dispatchEvent(new CustomEvent("list:changed"));
});

// The row the reader was at, or the next one that is still there.
function findPlace(old) {
  const at = old.order.indexOf(old.place);
  const nearest = [old.place, ...old.order.slice(at + 1), ...old.order.slice(0, Math.max(at, 0)).reverse()];
  const row = nearest.map((id) => document.getElementById(`m${id}`)).find((one) => one && !one.matches(".leaving"));
  if (old.place) stay(row ?? null);
  const free = () => !document.activeElement || document.activeElement === document.body;
  if (old.row && row) {
    const control = row.dataset.id === old.row ? old.control : "";
    if (control && control !== ".open") row.querySelector(control)?.focus({ preventScroll: true });
    else focusRow(row);
  } else if (old.focused) {
    document.getElementById(old.focused)?.focus({ preventScroll: true });
  } else if (free() && old.answer?.focuses && (row ?? rows()[0])) {
    focusRow(row ?? rows()[0]);
  }
  // What had the focus is gone, and so is every row: the keyboard stays in that part of the page.
  const part = old.within || (old.answer?.focuses ? "list" : "");
  if (part && free()) document.getElementById(part)?.focus({ preventScroll: true });
}

// What came stands above what was there; below it, rows only move up from the next page.
function tellOfNews(old) {
  const all = rows();
  const known = all.findIndex((row) => old.order.includes(row.dataset.id));
  const came = all.slice(0, known < 0 ? all.length : known).filter((row) => row.matches(".unread"));
  if (came.length) hear(`${said("New")} ${came.length}`);
}

// Another folder was opened beside a message: the pane is emptied, for its message is not in that list.
function closeMessage() {
  const message = document.getElementById("message");
  delete message.dataset.open;
  message.classList.add("empty");
  const nothing = document.createElement("div");
  nothing.className = "nothing";
  nothing.id = "content";
  nothing.append(said("Nothing"));
  message.replaceChildren(nothing);
}

// Past the folders there is the list to read, or the message that is open.
function aimSkipLink() {
  document.querySelector(".skip")?.setAttribute("href", openMessage() ? "#content" : "#list");
}

function markOpen() {
  aimSkipLink();
  const row = document.getElementById(`m${openMessage()}`);
  if (openRow() === row) return row;
  for (const other of document.querySelectorAll(".row[data-open]")) {
    delete other.dataset.open;
    other.querySelector(".open").removeAttribute("aria-current");
  }
  if (row) {
    row.dataset.open = "";
    row.querySelector(".open").setAttribute("aria-current", "true");
  }
  return row;
}

function openedMessage(stale) {
  read.set(openMessage(), ++readings);
  const row = markOpen();
  if (row) {
    if (stale) paintOpenAs(row);
    row.classList.remove("unread");
    stay(row);
    row.scrollIntoView({ block: "nearest" });
  }
  if (!document.activeElement?.closest?.("#list")) document.getElementById("message").focus({ preventScroll: true });
}
