// The output and log of the bot.

import { h, fill } from "./dom.js";
import { clock } from "./time.js";

const END_DISTANCE = 60;

/** Lines, the newest last; stays at the end if one is there. */
export class Output {
  #unseen = 0;
  #last = 0;

  constructor(store) {
    this.list = h("ol.output", { role: "log", "aria-label": "Output of the bot", tabindex: "0" });
    this.element = h("div.output-pane", this.list);
    store.on("output", (lines) => this.#show(lines));
    this.#show([]);
  }

  /** The number of warnings and errors that came while this was hidden. */
  get badge() {
    return { count: this.#unseen, kind: "bad" };
  }

  shown() {
    this.#unseen = 0;
    this.list.scrollTop = this.list.scrollHeight;
  }

  #show(lines) {
    const isAtEnd = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < END_DISTANCE;
    const isVisible = this.list.offsetParent !== null;
    const fresh = lines.filter((line) => line.id > this.#last);
    if (this.#last || isVisible)
      this.#unseen = isVisible
        ? 0
        : this.#unseen + fresh.filter((line) => line.level !== "print" && line.level !== "info").length;
    this.#last = lines.at(-1)?.id ?? this.#last;
    fill(this.list, lines.length ? lines.map(row) : h("li.hint.muted", "What your bot prints and logs appears here."));
    if (isAtEnd) this.list.scrollTop = this.list.scrollHeight;
  }
}

function row(line) {
  const time = clock(line.at);
  const trace = line.trace && h("details", h("summary", "Traceback"), h("pre", { tabindex: "0" }, line.trace));
  return h(
    "li",
    { class: line.level },
    h("time.muted", time),
    h("span", line.level !== "print" && h("b", `${line.level} `), line.text),
    trace,
  );
}
