// A click belongs to an element: where that is made anew between press and release, the click would be lost with it.

const CLICKED = 50;

let isDown = false;
const waiting = [];

addEventListener("pointerdown", (event) => (isDown = event.button === 0), true);
for (const end of ["pointerup", "pointercancel", "contextmenu"]) addEventListener(end, released, true);
addEventListener("blur", released);

/** Do what may make elements anew: at once, or after the click if the pointer is down. What waits is done in order. */
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
