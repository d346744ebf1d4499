// The switch between light, dark and what the system says.

import { h, fill } from "./dom.js";
import { icon } from "./icons.js";
import { storage } from "./store.js";
import { t } from "./i18n.js";

const ORDER = ["system", "light", "dark"];
const ICONS = { system: "system", light: "sun", dark: "moon" };

/** A button that goes from one to the next and remembers it. */
export function themeButton() {
  const button = h("button.quiet-button.icon-button", { onclick: next });
  function now() {
    return document.documentElement.dataset.theme ?? "system";
  }
  function show() {
    const label = t("appearance", { name: t(`appearance.${now()}`) });
    button.title = label;
    button.setAttribute("aria-label", label);
    fill(button, icon(ICONS[now()]));
  }
  function next() {
    const chosen = ORDER[(ORDER.indexOf(now()) + 1) % ORDER.length];
    if (chosen === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
    storage.set("cometbot.theme", chosen);
    show();
  }
  show();
  return button;
}
