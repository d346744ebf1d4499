// A click needs the same element at press and release, so no element is replaced while the pointer is down.

const CLICKED = 50;

let isDown = false;
const waiting = [];

addEventListener("pointerdown", (event) => (isDown = event.button === 0), true);
for (const end of ["pointerup", "pointercancel", "contextmenu"]) addEventListener(end, released, true);
addEventListener("blur", released);

/** Call `act`, which may replace elements: at once, or after the click while the pointer is down. The order is kept. */
export function afterPress(act) {
  if (isDown || waiting.length) waiting.push(act);
  else act();
}

function released() {
  isDown = false;
  if (waiting.length) setTimeout(catchUp, CLICKED); // after a touch the click comes as an event of its own
}

function catchUp() {
  while (waiting.length && !isDown) waiting.shift()();
}
