// The files that go along with the next message: a chip each, with the progress of its upload where there is one.

import { h, fill } from "./dom.js";
import { icon, iconButton } from "./icons.js";
import { showToast } from "./toasts.js";
import { t } from "./i18n.js";

const MAX_FILES = 10;

/** An attached file: `{file, progress, error, stored}`, `stored` being a promise of what the server has. */
class Attached {
  constructor(file) {
    this.file = file;
    this.name = file.name || t("picture");
    this.progress = null;
    this.error = "";
    this.stored = Promise.resolve(file);
    this.stop = () => {};
    this.url = file.type.startsWith("image/") ? URL.createObjectURL(file) : "";
  }

  /** Its picture is shown no longer. */
  forget() {
    if (this.url) URL.revokeObjectURL(this.url);
  }
}

/**
 * `upload(file, progress)` is a promise of what the server stored, with a method `stop`; without it the files
 * themselves are what is sent. `changed()` is called when there are more or fewer, `done()` when one was handled.
 */
export class Attachments {
  #items = [];

  constructor({ upload, refuse = () => "", mostFiles = () => MAX_FILES, changed, done }) {
    Object.assign(this, { upload, refuse, mostFiles, changed, done });
    this.picker = h("input", { type: "file", multiple: true, hidden: true, tabindex: "-1", "aria-hidden": "true" });
    this.picker.addEventListener("change", () => {
      this.add([...this.picker.files]);
      this.picker.value = "";
    });
    this.element = h("div.chips");
  }

  get items() {
    return this.#items;
  }

  set items(items) {
    this.#items = items;
    this.#show();
  }

  add(files) {
    for (const file of files) {
      const error =
        this.#items.length >= this.mostFiles() ? t("tooMany", { count: this.mostFiles() }) : this.refuse(file);
      if (error) {
        showToast(error, "bad");
        continue;
      }
      const item = new Attached(file);
      this.#items = [...this.#items, item];
      if (this.upload) this.#begin(item);
    }
    this.#show();
    this.done();
  }

  /** Wait for the uploads and return what the server stored of each file; null if one failed. */
  async settled() {
    const items = this.#items;
    const stored = await Promise.all(items.map((item) => item.stored));
    const isWhole = stored.every(Boolean) && items === this.#items;
    return isWhole ? stored : null;
  }

  /** Attach files that are dropped on `zone`. */
  dropOn(zone) {
    const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
    zone.append(h("div.drop-hint", { "aria-hidden": "true" }, icon("attach"), t("dropHere")));
    const show = (isOver) => zone.classList.toggle("dropping", isOver);
    zone.addEventListener("dragleave", (event) => zone.contains(event.relatedTarget) || show(false));
    zone.addEventListener("dragover", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      show(true);
    });
    zone.addEventListener("drop", (event) => {
      show(false);
      if (!hasFiles(event)) return;
      event.preventDefault();
      this.add([...event.dataTransfer.files]);
    });
  }

  #begin(item) {
    item.error = "";
    item.progress = 0;
    const running = this.upload(item.file, (share) => {
      item.progress = share;
      this.#showProgress(item);
    });
    item.stop = () => running.stop?.();
    item.stored = running.then(
      (stored) => {
        item.progress = null;
        this.#showProgress(item);
        return stored;
      },
      (error) => {
        item.progress = null;
        item.error = error.message;
        this.#show();
        return null;
      },
    );
  }

  #show() {
    fill(
      this.element,
      this.#items.map((item) => this.#chip(item)),
    );
    this.changed();
  }

  #chip(item) {
    const again = () => {
      this.#begin(item);
      this.#show();
    };
    item.bar = h("progress", { max: "100", "aria-label": t("uploading", { name: item.name }) });
    const chip = h(
      "span.attached.hstack",
      { class: item.error ? "bad" : "" },
      item.url ? h("img", { src: item.url, alt: "" }) : icon(item.error ? "warn" : "file"),
      h("span.lines", h("span.truncate", item.name), item.error && h("small", { role: "alert" }, item.error), item.bar),
      item.error && iconButton("button", "reload", t("again"), again),
      iconButton("button", "close", t("remove", { name: item.name }), () => this.#drop(item)),
    );
    this.#showProgress(item);
    return chip;
  }

  #showProgress(item) {
    if (!item.bar) return;
    item.bar.hidden = item.progress === null;
    item.bar.value = Math.round((item.progress ?? 1) * 100);
  }

  #drop(item) {
    item.stop();
    item.forget();
    this.#items = this.#items.filter((other) => other !== item);
    this.#show();
    this.done();
  }
}
