// A PDF is looked at in place. Mozilla's pdf.js draws it in a sandboxed frame that has neither our origin nor a
// network: whatever a hostile file makes of it, it reaches nothing. So this page fetches what the frame needs and hands
// it in through a port, which only the script that the frame began with has.

const READY = "pdf: ready";
// More is drawn by the browser's own reader, in a window of its own: here it would lie in memory several times.
const OCTETS_MAX = 32 * 1024 * 1024;
const VENDOR = new URL("../vendor/pdfjs/", import.meta.url);
// What the frame may ask for by name: files of the library, and nothing else of this house.
const NAMES = /^(cmaps\/[\w-]{1,60}\.bcmap|standard_fonts\/[\w-]{1,60}\.(pfb|ttf)|wasm\/(jbig2|openjpeg)\.wasm)$/;
const served = new WeakMap();

class Refusal extends Error {}

async function octetsOf(url, signal) {
  const response = await fetch(url, { signal, redirect: "error" });
  if (!response.ok) throw new Refusal("gone");
  if (Number(response.headers.get("Content-Length")) > OCTETS_MAX) throw new Refusal("large");
  const octets = await response.arrayBuffer();
  if (octets.byteLength > OCTETS_MAX) throw new Refusal("large");
  return octets;
}

async function handIn(frame, port, signal) {
  try {
    // The attachment first: one that is too large costs nothing else.
    const octets = await octetsOf(frame.dataset.pdf, signal);
    const files = ["pdf.min.mjs", "pdf.worker.min.mjs"].map((name) => octetsOf(new URL(name, VENDOR), signal));
    const [library, worker] = await Promise.all(files);
    port.postMessage({ library, worker, octets }, [library, worker, octets]);
  } catch (error) {
    if (!signal.aborted) port.postMessage({ failed: error instanceof Refusal ? error.message : "gone" });
  }
}

async function handOver(name, port, signal) {
  try {
    const octets = await octetsOf(new URL(name, VENDOR), signal);
    port.postMessage({ name, octets }, [octets]);
  } catch {
    if (!signal.aborted) port.postMessage({ name, octets: null });
  }
}

function serve(frame, port) {
  const aborting = new AbortController();
  const { signal } = aborting;
  served.get(frame)?.abort();
  served.set(frame, aborting);
  signal.addEventListener("abort", () => port.close());
  port.onmessage = ({ data }) => {
    if (data === "close") close(frame.closest("details"));
    else if (typeof data === "string" && NAMES.test(data)) handOver(data, port, signal);
  };
  handIn(frame, port, signal);
}

addEventListener("message", (event) => {
  // A sandboxed frame has no origin, which is written "null".
  if (event.data !== READY || event.origin !== "null" || event.ports.length !== 1) return;
  const frames = [...document.querySelectorAll("iframe[data-pdf]")];
  const frame = frames.find((one) => one.contentWindow === event.source);
  if (frame) serve(frame, event.ports[0]);
});

function close(look) {
  look.open = false;
  look.querySelector("summary").focus();
}

document.addEventListener("keydown", (event) => {
  const look = event.key === "Escape" && event.target.closest?.("details.look[open]");
  if (look) close(look);
});

// What is closed costs nothing any more, nor what was closed before it had begun: a new frame takes its place, empty
// until it is opened.
document.addEventListener(
  "toggle",
  (event) => {
    const frame = !event.target.open && event.target.querySelector?.("iframe[data-pdf]");
    if (!frame) return;
    served.get(frame)?.abort();
    frame.replaceWith(frame.cloneNode());
  },
  true,
);
