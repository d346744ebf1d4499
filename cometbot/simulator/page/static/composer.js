// The box one writes in: text, files by picker, drop or paste, and completion of mentions and commands.

import { h, fill } from "./dom.js";
import { icon } from "./icons.js";
import { Completion } from "./completion.js";

const HIGHEST = 220;
const MOST_FILES = 10;

/**
 * `send({text, files})` returns a promise; what was written comes back if it fails. `offers(kind)` are the completions
 * for `@` and `/`: [{value, label, hint}]. `editLast()` is called for Up in an empty box.
 */
export class Composer {
  #files = [];
  #mentioned = new Map();
  #send;
  #edits = null;
  #busy = false;

  constructor({ send, offers, editLast = () => {}, id = "composer-text", label = "Message" }) {
    this.#send = send;
    this.text = h("textarea", {
      id,
      rows: "1",
      "aria-label": label,
      placeholder: label,
      autocomplete: "off",
      spellcheck: "true",
      enterkeyhint: "send",
    });
    this.completion = new Completion(
      this.text,
      (kind) => offers(kind),
      (offer) => this.#mentioned.set(`@${offer.label}`, offer.value),
      `${id}-list`,
    );
    this.picker = h("input", { type: "file", multiple: true, hidden: true, tabindex: "-1", "aria-hidden": "true" });
    this.chips = h("div.chips");
    this.note = h("div.editing", { hidden: true });
    this.button = h("button.send", { type: "submit", "aria-label": "Send", title: "Send (Enter)" }, icon("send"));
    const attach = h(
      "button.attach",
      { type: "button", "aria-label": "Attach files", title: "Attach files", onclick: () => this.picker.click() },
      icon("attach"),
    );
    this.element = h(
      "form.composer",
      { onsubmit: (event) => this.#submit(event) },
      this.note,
      this.chips,
      h("div.box", {}, attach, this.text, this.picker, this.button),
      this.completion.element,
    );
    this.text.addEventListener("keydown", (event) => this.#key(event, editLast));
    this.text.addEventListener("input", () => this.#grow());
    this.text.addEventListener("paste", (event) => this.#paste(event));
    this.picker.addEventListener("change", () => {
      this.attach(this.picker.files);
      this.picker.value = "";
    });
  }

  /** Take files that are dropped anywhere on `zone`. */
  dropOn(zone) {
    let depth = 0;
    const shows = (yes) => zone.classList.toggle("dropping", yes);
    const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
    zone.addEventListener("dragenter", (event) => {
      if (hasFiles(event)) {
        depth += 1;
        shows(true);
      }
    });
    zone.addEventListener("dragleave", (event) => {
      if (hasFiles(event)) {
        depth -= 1;
        shows(depth > 0);
      }
    });
    zone.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
    zone.addEventListener("drop", (event) => {
      depth = 0;
      shows(false);
      if (!hasFiles(event)) return;
      event.preventDefault();
      this.attach(event.dataTransfer.files);
    });
  }

  attach(files) {
    this.#files = [...this.#files, ...files].slice(0, MOST_FILES);
    this.#showChips();
    this.text.focus();
  }

  /** Let what is written now take the place of a message's text, by `save(text)`. */
  edit(text, save) {
    this.#edits = save;
    this.text.value = text;
    fill(
      this.note,
      icon("edit"),
      h("span", {}, "Editing your message"),
      h("button.button", { type: "button", onclick: () => this.#endEdit() }, "Cancel"),
    );
    this.note.hidden = false;
    this.#grow();
    this.text.focus();
  }

  focus() {
    this.text.focus({ preventScroll: true });
  }

  set placeholder(text) {
    this.text.placeholder = text;
    this.text.setAttribute("aria-label", text);
  }

  #endEdit() {
    this.#edits = null;
    this.note.hidden = true;
    this.text.value = "";
    this.#grow();
    this.text.focus();
  }

  async #submit(event) {
    event.preventDefault();
    const written = this.text.value;
    const files = this.#files;
    if (this.#busy || (!written.trim() && !files.length)) return;
    if (this.#edits) {
      const save = this.#edits;
      this.#endEdit();
      await save(this.#withMentions(written));
      return;
    }
    this.#clear();
    this.#setBusy(files.length > 0);
    const isSent = await this.#send({ text: this.#withMentions(written).trim(), files });
    this.#setBusy(false);
    if (!isSent && !this.text.value) {
      this.text.value = written;
      this.#files = files;
      this.#showChips();
      this.#grow();
    }
  }

  #setBusy(busy) {
    this.#busy = busy;
    this.element.classList.toggle("busy", busy);
  }

  #clear() {
    this.text.value = "";
    this.#files = [];
    this.#showChips();
    this.#grow();
    this.completion.close();
  }

  #withMentions(text) {
    const names = [...this.#mentioned.keys()].sort((one, other) => other.length - one.length);
    return names.reduce((changed, name) => changed.replaceAll(name, `<@uid:${this.#mentioned.get(name)}>`), text);
  }

  #key(event, editLast) {
    if (this.completion.key(event) || event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.element.requestSubmit();
    } else if (event.key === "ArrowUp" && !this.text.value && !this.#edits) {
      event.preventDefault();
      editLast();
    } else if (event.key === "Escape" && this.#edits) {
      this.#endEdit();
    }
  }

  #paste(event) {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    this.attach(files);
  }

  #grow() {
    this.text.style.height = "auto";
    this.text.style.height = `${Math.min(this.text.scrollHeight, HIGHEST)}px`;
    this.element.classList.toggle("ready", Boolean(this.text.value.trim() || this.#files.length));
  }

  #showChips() {
    for (const image of this.chips.querySelectorAll("img")) URL.revokeObjectURL(image.src);
    fill(
      this.chips,
      this.#files.map((file, place) => this.#chip(file, place)),
    );
    this.#grow();
  }

  #chip(file, place) {
    const image = file.type.startsWith("image/") && h("img", { src: URL.createObjectURL(file), alt: "" });
    const drop = () => {
      this.#files = this.#files.filter((_, other) => other !== place);
      this.#showChips();
      this.text.focus();
    };
    return h(
      "span.attached",
      {},
      image || icon("file"),
      h("span", {}, file.name || "picture"),
      h("button", { type: "button", "aria-label": `Remove ${file.name}`, onclick: drop }, icon("close")),
    );
  }
}
