// The tabs of the inspector: traffic, dead letters, failures and the bot's output, and a thread when one is open.

import { h, fill } from "./dom.js";

/** `pages` is a list of {name, label, element, badge()}; a page with `hidden` true has no tab until it is shown. */
export class Tabs {
  constructor(root, pages, store) {
    this.pages = pages;
    this.strip = h("div.tabs-strip", { role: "tablist", "aria-label": "Inspector" });
    this.panels = h("div.tab-panels");
    fill(root, this.strip, this.panels);
    this.current = pages.find((page) => !page.hidden).name;
    for (const page of pages) {
      page.panel = h(
        "div.tab-panel",
        { role: "tabpanel", id: `panel-${page.name}`, "aria-labelledby": `tab-${page.name}` },
        page.element,
      );
      page.tab = h("button.hstack.muted", {
        role: "tab",
        id: `tab-${page.name}`,
        "aria-controls": `panel-${page.name}`,
        onclick: () => this.show(page.name),
      });
      this.panels.append(page.panel);
      this.strip.append(page.tab);
    }
    this.strip.addEventListener("keydown", (event) => this.#move(event));
    store.on("entries dead rules output", () => this.#label());
    this.show(this.current);
  }

  show(name) {
    this.current = name;
    for (const page of this.pages) {
      const isHere = page.name === name;
      if (isHere) page.hidden = false;
      page.panel.hidden = !isHere;
      page.tab.hidden = Boolean(page.hidden);
      page.tab.setAttribute("aria-selected", String(isHere));
      page.tab.tabIndex = isHere ? 0 : -1;
      if (isHere) page.shown?.();
    }
    this.#label();
  }

  hide(name) {
    const page = this.pages.find((other) => other.name === name);
    page.hidden = true;
    if (this.current === name) this.show(this.pages.find((other) => !other.hidden).name);
    else this.show(this.current);
  }

  #label() {
    for (const page of this.pages) {
      const { count = 0, kind = "" } = page.badge?.() ?? {};
      fill(page.tab, page.label, count ? h("span.count", { class: kind }, count) : null);
    }
  }

  #move(event) {
    const shown = this.pages.filter((page) => !page.hidden);
    const place = shown.findIndex((page) => page.name === this.current);
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = shown[(place + step + shown.length) % shown.length];
    this.show(next.name);
    next.tab.focus();
  }
}
