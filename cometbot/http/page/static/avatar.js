// A round mark for a person, a bot or a group: a picture, or its initials on a colour that stays the same.

import { h, safeUrl } from "./dom.js";

const COLOURS = "#5b6ad0 #b0508f #2f7f78 #a45f24 #7a58c2 #3477ab #607a2c #b04a55".split(" ");

const broken = new Set();

/** The mark for whoever has this id and name; `picture` is a URL, and the initials are shown where it does not load. */
export function avatar(id, name, kind = "", picture = "") {
  const words = String(name || id)
    .replace(/[^\p{L}\p{N} ]/gu, " ")
    .trim()
    .split(/\s+/);
  const letters = (words.length > 1 ? words[0][0] + words.at(-1)[0] : words[0].slice(0, 2)).toUpperCase();
  let sum = 0;
  for (const letter of String(id)) sum = (sum * 31 + letter.codePointAt(0)) % 9973;
  const mark = h("span.avatar.center", { class: kind, "aria-hidden": "true" }, letters);
  mark.style.background = COLOURS[sum % COLOURS.length];
  const source = picture && safeUrl(picture, ["http:", "https:"]);
  if (source && !broken.has(source)) {
    const image = h("img", { src: source, alt: "", loading: "lazy" });
    image.addEventListener("error", () => {
      broken.add(source); // asked for once, not each time that the mark is drawn
      image.remove();
    });
    mark.append(image);
  }
  return mark;
}
