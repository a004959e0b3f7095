// In a letter that a search has found, what was searched for is marked: by ranges, so that the letter itself stays
// as it came.

const MARKS_MAX = 500;

function patternOf(words) {
  const parts = words.map((phrase) => {
    const begins = phrase.endsWith("*");
    const text = phrase.replace(/\*$/, "").replace(/[^\p{L}\p{N} ]/gu, "");
    if (!text.trim()) return "";
    return `(?<![\\p{L}\\p{N}])${text.trim().replace(/ +/g, "[^\\p{L}\\p{N}]+")}${begins ? "" : "(?![\\p{L}\\p{N}])"}`;
  });
  const some = parts.filter(Boolean);
  return some.length ? new RegExp(some.join("|"), "giu") : null;
}

function rangesIn(root, pattern) {
  const ranges = [];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walker.nextNode() && ranges.length < MARKS_MAX) {
    for (const match of walker.currentNode.data.matchAll(pattern)) {
      const range = new Range();
      range.setStart(walker.currentNode, match.index);
      range.setEnd(walker.currentNode, match.index + match[0].length);
      ranges.push(range);
    }
  }
  return ranges;
}

function markFound() {
  if (!CSS.highlights) return;
  CSS.highlights.delete("found");
  const words = (document.getElementById("message-acts")?.dataset.words ?? "").split("|").filter(Boolean);
  const pattern = patternOf(words);
  if (!pattern) return;
  const ranges = [...document.querySelectorAll("#message .text")].flatMap((text) => rangesIn(text, pattern));
  if (ranges.length) CSS.highlights.set("found", new Highlight(...ranges));
}

document.addEventListener("htmx:afterSettle", markFound);
markFound();
