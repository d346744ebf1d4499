// The tabs of the inspector: traffic, dialogs, jobs, dead letters, moderation, failures, output; a thread when one is open.

import { h, fill } from "./dom.js";

const LABELS = {
  thread: "Thread",
  traffic: "Traffic",
  dialogs: "Dialogs",
  jobs: "Jobs",
  dead: "Dead letters",
  moderation: "Moderation",
  failures: "Failures",
  output: "Output",
};

/**
 * `panels` are by name what the tabs show: each has an `element`, and may have `badge` ({count, kind}) and `shown()`. The
 * thread has no tab until it is shown.
 */
export class Tabs {
  constructor(root, panels, store) {
    this.pages = Object.entries(panels).map(([name, content]) => this.#page(name, content));
    const tabs = this.pages.map(({ tab }) => tab);
    this.strip = h("div.tabs-strip", { role: "tablist", "aria-label": "Inspector" }, tabs);
    const elements = this.pages.map(({ panel }) => panel);
    fill(root, this.strip, h("div.tab-panels", elements));
    this.strip.addEventListener("keydown", (event) => this.#move(event));
    store.on("entries dialogs jobs dead moderation rules output", () => this.#label());
    this.show("traffic");
  }

  #page(name, content) {
    const [id, controls] = [`tab-${name}`, `panel-${name}`];
    const onclick = () => this.show(name);
    const tab = h("button.hstack.muted", { role: "tab", id, "aria-controls": controls, onclick });
    const panel = h("div.tab-panel", { role: "tabpanel", id: controls, "aria-labelledby": id }, content.element);
    return { name, content, tab, panel, hidden: name === "thread" };
  }

  show(name) {
    this.current = name;
    for (const page of this.pages) {
      const isHere = page.name === name;
      if (isHere) page.hidden = false;
      page.panel.hidden = !isHere;
      page.tab.hidden = page.hidden;
      page.tab.setAttribute("aria-selected", String(isHere));
      page.tab.tabIndex = isHere ? 0 : -1;
      if (isHere) page.content.shown?.();
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
      const { count = 0, kind = "" } = page.content.badge ?? {};
      fill(page.tab, LABELS[page.name], count ? h("span.count", { class: kind }, count) : null);
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
