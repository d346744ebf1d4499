// The direction of text that holds code.

const BLOCKS = "p, li, th, td";
const RIGHT_TO_LEFT = /[\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u;

/**
 * Mark the blocks in `nodes` whose text without code begins with a letter that runs right to left. WebKit's
 * `unicode-bidi: plaintext` counts the letters of the code as well. Return `nodes`.
 */
export function markDirections(nodes) {
  for (const node of nodes.flat(Infinity)) {
    if (!(node instanceof Element)) continue;
    for (const code of node.querySelectorAll("code")) code.closest(BLOCKS)?.classList.toggle("rtl", runsLeft(code));
  }
  return nodes;
}

function runsLeft(code) {
  const text = code.closest(BLOCKS).cloneNode(true);
  for (const part of text.querySelectorAll("code")) part.remove();
  return RIGHT_TO_LEFT.test(text.textContent.match(/\p{L}/u)?.[0] ?? "");
}
