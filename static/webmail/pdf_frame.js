// The page in the sandboxed frame: pages of a PDF, drawn when they come into view. It has no network (connect-src is
// none): the library, the file, and what the library asks for come from the page around it, through a port.

"use strict";

{
  // Each page is a box in the document, drawn or not.
  const PAGES_MAX = 500;
  // So many pages are drawn at once, each of so many pixels (4 octets each): 256 MB at most.
  const DRAWN_MAX = 8;
  const PIXELS_MAX = 8_000_000;
  // An image in the file, in pixels: one that claims more is left out.
  const IMAGE_PIXELS_MAX = 64_000_000;
  const ZOOM_STEPS = [0.25, 0.33, 0.5, 0.67, 0.8, 1, 1.25, 1.5, 2, 3, 4];
  const MARGIN = 12;

  const find = (id) => document.getElementById(id);
  const scroller = find("pages");
  const number = find("number");
  const { port1: port, port2 } = new MessageChannel();
  const percent = new Intl.NumberFormat(document.documentElement.lang, { style: "percent" });
  const waiting = new Map();
  const sheets = [];
  let pdfjs = null;
  let pdf = null;
  let thread = null;
  let zoom = 1;
  let current = 1;
  let drawing = false;

  function fail(why) {
    thread?.terminate();
    thread = null;
    pdf = null;
    for (const id of ["bar", "pages", "cut", "opening"]) find(id).hidden = true;
    const text = document.querySelector(`[data-why="${why}"]`) ?? document.querySelector('[data-why="broken"]');
    text.hidden = false;
    document.documentElement.dataset.state = "failed";
  }

  // -- what comes through the port ------------------------------------------------------------

  // As the library asks for a character map, a font or a decoder.
  class HandedIn {
    fetch({ kind, filename }) {
      const folder = { cMapUrl: "cmaps", standardFontDataUrl: "standard_fonts", wasmUrl: "wasm" }[kind];
      const name = `${folder}/${filename}`;
      if (!waiting.has(name)) {
        waiting.set(name, Promise.withResolvers());
        port.postMessage(name);
      }
      return waiting.get(name).promise;
    }
  }

  function receive({ name, octets }) {
    const asked = waiting.get(name);
    waiting.delete(name);
    if (octets) asked?.resolve(new Uint8Array(octets));
    else asked?.reject(new Error(name));
  }

  port.onmessage = ({ data }) => {
    if (data.failed) fail(data.failed);
    else if (data.name) receive(data);
    else open(data);
  };

  // -- opening --------------------------------------------------------------------------------

  const scriptUrl = (octets) => URL.createObjectURL(new Blob([octets], { type: "text/javascript" }));

  // Browsers load no module as a worker where there is no origin, but a plain script there may import one. What is sent
  // to it before that is done would be lost; it says itself when it listens.
  function begin(worker) {
    const url = JSON.stringify(scriptUrl(worker));
    thread = new Worker(scriptUrl(`import(${url}).catch((error) => setTimeout(() => { throw error; }));`));
    thread.addEventListener("error", () => fail("broken"));
    return new Promise((resolve) => thread.addEventListener("message", resolve, { once: true }));
  }

  async function open({ library, worker, octets }) {
    try {
      pdfjs = await import(scriptUrl(library));
      await begin(worker);
      pdfjs.GlobalWorkerOptions.workerPort = thread;
      const task = pdfjs.getDocument({
        data: new Uint8Array(octets),
        BinaryDataFactory: HandedIn,
        cMapUrl: "cmaps/",
        standardFontDataUrl: "standard_fonts/",
        wasmUrl: "wasm/",
        useWorkerFetch: false,
        // Fonts of the device are loaded by address, which this page forbids; the library brings the usual ones.
        useSystemFonts: false,
        disableWorkerRendering: true,
        enableXfa: false,
        maxImageSize: IMAGE_PIXELS_MAX,
        canvasMaxAreaInBytes: PIXELS_MAX * 4,
        verbosity: pdfjs.VerbosityLevel.ERRORS,
      });
      pdf = await task.promise;
      await lay(await pdf.getPage(1));
    } catch (error) {
      fail(error?.name === "PasswordException" ? "locked" : "broken");
    }
  }

  async function lay(first) {
    const shown = Math.min(pdf.numPages, PAGES_MAX);
    const { width, height } = first.getViewport({ scale: 1 });
    for (let index = 1; index <= shown; index += 1) {
      const box = document.createElement("section");
      box.className = "pdf-page";
      box.dataset.page = index;
      box.setAttribute("aria-label", label(index));
      sheets.push({ index, box, width, height, unit: first.userUnit, inView: false, canvas: null, scale: 0, failed: false });
      scroller.append(box);
    }
    find("count").textContent = pdf.numPages;
    find("cut").hidden = shown === pdf.numPages;
    number.max = shown;
    for (const id of ["bar", "pages"]) find(id).hidden = false;
    find("opening").hidden = true;
    document.documentElement.dataset.state = "open";
    tell(1);
    measure();
    for (const { box } of sheets) watcher.observe(box);
    new ResizeObserver(measure).observe(scroller);
  }

  function label(index) {
    return scroller.dataset.label.replace("{number}", index).replace("{count}", pdf.numPages);
  }

  // -- sizes ----------------------------------------------------------------------------------

  function scaleOf(sheet) {
    return (Math.max(scroller.clientWidth - 2 * MARGIN, 80) * zoom) / sheet.width;
  }

  function size(sheet) {
    const scale = scaleOf(sheet);
    sheet.box.style.width = `${sheet.width * scale}px`;
    sheet.box.style.height = `${sheet.height * scale}px`;
    sheet.box.style.setProperty("--total-scale-factor", scale * sheet.unit);
  }

  function measure() {
    const { box } = sheets[current - 1];
    const within = (scroller.scrollTop - box.offsetTop) / (box.offsetHeight || 1);
    sheets.forEach(size);
    if (scroller.scrollTop) scroller.scrollTop = box.offsetTop + within * box.offsetHeight;
    find("zoom").textContent = percent.format(zoom);
    find("smaller").disabled = zoom <= ZOOM_STEPS[0];
    find("larger").disabled = zoom >= ZOOM_STEPS.at(-1);
    drawNext();
  }

  function zoomTo(next) {
    if (!next || next === zoom) return;
    zoom = next;
    measure();
  }

  // -- drawing: one page after the other, what is in view first -----------------------------------

  const watcher = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) sheets[entry.target.dataset.page - 1].inView = entry.isIntersecting;
      drawNext();
    },
    { root: scroller, rootMargin: "60% 0px" },
  );

  const isStale = (sheet) => !sheet.failed && (!sheet.canvas || sheet.scale !== scaleOf(sheet));
  const distance = (sheet) => Math.abs(sheet.index - current);

  async function drawNext() {
    if (drawing || !pdf) return;
    const wanted = sheets.filter((sheet) => sheet.inView && isStale(sheet));
    const next = wanted.sort((one, other) => distance(one) - distance(other)).find(makeRoom);
    if (!next) return;
    drawing = true;
    try {
      await draw(next);
    } catch {
      next.failed = true;
      next.box.replaceChildren(find("undrawn").content.cloneNode(true));
    }
    drawing = false;
    drawNext();
  }

  function makeRoom(sheet) {
    if (sheet.canvas) return true;
    const drawn = sheets.filter((one) => one.canvas);
    if (drawn.length < DRAWN_MAX) return true;
    const unseen = drawn.filter((one) => !one.inView).sort((one, other) => distance(other) - distance(one));
    if (unseen.length) clear(unseen[0]);
    return unseen.length > 0;
  }

  function clear(sheet) {
    sheet.canvas.width = sheet.canvas.height = 0; // else some browsers keep its pixels for a while
    sheet.canvas = null;
    sheet.box.replaceChildren();
    delete sheet.box.dataset.drawn;
    pdf.getPage(sheet.index).then((page) => page.cleanup());
  }

  async function draw(sheet) {
    const page = await pdf.getPage(sheet.index);
    const { width, height } = page.getViewport({ scale: 1 });
    Object.assign(sheet, { width, height, unit: page.userUnit });
    size(sheet);
    const scale = scaleOf(sheet);
    const viewport = page.getViewport({ scale });
    const area = viewport.width * viewport.height;
    const density = Math.min(devicePixelRatio, 2, Math.sqrt(PIXELS_MAX / area));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(viewport.width * density));
    canvas.height = Math.max(1, Math.round(viewport.height * density));
    canvas.setAttribute("aria-hidden", "true");
    await page.render({ canvas, viewport, transform: [density, 0, 0, density, 0, 0] }).promise;
    const text = document.createElement("div");
    text.className = "textLayer";
    const layer = new pdfjs.TextLayer({ textContentSource: page.streamTextContent(), container: text, viewport });
    // A page whose text cannot be read is still a page.
    await layer.render().catch(() => text.replaceChildren());
    sheet.box.replaceChildren(canvas, text);
    Object.assign(sheet, { canvas, scale });
    sheet.box.dataset.drawn = "";
  }

  // -- where the reader is ------------------------------------------------------------------------

  function see() {
    const line = scroller.scrollTop + scroller.clientHeight / 3;
    const under = sheets.findIndex(({ box }) => box.offsetTop + box.offsetHeight > line);
    const end = scroller.scrollTop + scroller.clientHeight >= scroller.scrollHeight - 1;
    tell(end && scroller.scrollTop ? sheets.length : under < 0 ? sheets.length : under + 1);
  }

  function tell(index) {
    current = index;
    if (document.activeElement !== number) number.value = index;
    find("back").disabled = index <= 1;
    find("on").disabled = index >= sheets.length;
  }

  function go(index) {
    const wanted = Math.min(Math.max(Math.trunc(index) || 1, 1), sheets.length);
    scroller.scrollTop = sheets[wanted - 1].box.offsetTop - MARGIN;
    tell(wanted);
    number.value = wanted;
    drawNext();
  }

  const steps = {
    back: () => go(current - 1),
    on: () => go(current + 1),
    smaller: () => zoomTo(ZOOM_STEPS.findLast((step) => step < zoom)),
    larger: () => zoomTo(ZOOM_STEPS.find((step) => step > zoom)),
    fit: () => zoomTo(1),
    shut: () => port.postMessage("close"),
  };
  const keys = {
    Escape: "shut",
    ArrowLeft: "back",
    ArrowRight: "on",
    "-": "smaller",
    "+": "larger",
    0: "fit",
  };

  document.addEventListener("click", (event) => steps[event.target.closest("button")?.id]?.());
  number.addEventListener("change", () => go(Number(number.value)));
  scroller.addEventListener("scroll", see, { passive: true });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target === number && event.key !== "Escape") return;
    // What is wider than the frame is moved sideways.
    if (event.key.startsWith("Arrow") && zoom > 1) return;
    const step = keys[event.key];
    if (!step || (step !== "shut" && !sheets.length)) return;
    event.preventDefault();
    if (step === "shut" || !find(step).disabled) steps[step]();
  });

  if (parent === window) fail("broken");
  else parent.postMessage("pdf: ready", location.origin, [port2]);
}
