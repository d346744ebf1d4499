// Cards in a row that scrolls, with an arrow at each edge behind which there are more.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./i18n.js";

const NEAR = 4;
const STEP = 0.85;

/** The element of a carousel of these cards. */
export function carousel(cards) {
  const list = h(
    "ul.carousel",
    { tabindex: "0", "aria-label": t("cardsList") },
    cards.map((card) => h("li", card)),
  );
  const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
  const arrow = (side, label, direction) =>
    h(
      `button.arrow.${side}`,
      {
        type: "button",
        title: t(label),
        "aria-label": t(label),
        onclick: () => list.scrollBy({ left: direction * STEP * list.clientWidth, behavior }),
      },
      icon("back"),
    );
  const [back, on] = [arrow("before", "cardsBack", -1), arrow("after", "cardsOn", 1)];
  const frame = h("div.cards", list, back, on);
  const show = () => {
    const rest = list.scrollWidth - list.clientWidth;
    const isOnArrow = frame.contains(document.activeElement) && document.activeElement.matches(".arrow");
    back.disabled = list.scrollLeft <= NEAR;
    on.disabled = list.scrollLeft >= rest - NEAR;
    back.hidden = on.hidden = rest <= NEAR;
    if (isOnArrow && document.activeElement.disabled !== false) list.focus({ preventScroll: true });
    frame.classList.toggle("has-before", !back.disabled);
    frame.classList.toggle("has-after", rest > NEAR && !on.disabled);
  };
  list.addEventListener("scroll", show, { passive: true });
  new ResizeObserver(show).observe(list);
  return frame;
}
