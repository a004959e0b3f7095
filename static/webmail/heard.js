// What screen readers hear of what changes beside them; nobody sees it.

export function hear(text) {
  const words = document.createElement("span");
  words.append(text);
  document.getElementById("heard")?.replaceChildren(words);
}
