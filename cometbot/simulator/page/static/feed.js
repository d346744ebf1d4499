// Follows the simulator: a snapshot first, then server-sent events from where that ends.

import { snapshot } from "./api.js";
import { SharedStream } from "./shared_stream.js";
import { afterPress } from "./after_press.js";

const EVENTS = ["entry", "handled", "directory", "rules", "status", "output", "dead"];
const AGAIN = 1500;
const POLL = 3000;
const LONGEST_POLL = 10_000;

/** Keeps `store` up to date for as long as the page is open, over restarts of the simulator. */
export class Feed {
  #store;
  #live = null;
  #run = "";
  #last = 0; // the id of the newest entry that the store has
  #isLive = false;
  #isFaulty = false;
  #isPolling = false;
  #isDue = false;
  #waiting = [];
  #timer = 0;

  constructor(store) {
    this.#store = store;
  }

  /** Resolves when the store has what there is. */
  async start() {
    let begun;
    try {
      begun = await snapshot();
    } catch {
      this.#connected(false);
      this.#restart(AGAIN);
      return;
    }
    this.#store.restore(begun);
    this.#run = begun.run;
    this.#last = begun.lastId;
    this.#follow();
  }

  #follow() {
    const quietly = (act) => afterPress(() => this.#live === live && act());
    const live = new SharedStream({
      name: "simulator",
      address: () => addressOf(this.#last),
      events: EVENTS,
      onOpen: (hello) => quietly(() => this.#opened(JSON.parse(hello))),
      onEvent: (name, data) => quietly(() => this.#heard(name, JSON.parse(data))),
      onClose: (fault) => quietly(() => this.#closed(fault)),
    });
    this.#live = live;
    live.start();
  }

  /** What this page has missed is asked for: the stream may be one that another tab has had for long. */
  #opened(run) {
    if (run !== this.#run) return this.#restart(0); // another simulator, or one that has forgotten everything
    this.#isLive = true;
    this.#isFaulty = false;
    this.#connected(true);
    this.#poll();
  }

  #closed({ isSilent, failures }) {
    this.#isLive = false;
    this.#isFaulty ||= isSilent || failures > 1;
    this.#poll();
  }

  /** What comes while the page asks for what it has missed is newer than that. */
  #heard(name, value) {
    if (this.#isPolling) this.#waiting.push([name, value]);
    else this.#take(name, value);
  }

  #take(name, value) {
    const store = this.#store;
    if (name === "handled") store.updateHandled(value);
    else if (name === "directory") store.updateDirectory(value);
    else if (name !== "entry") store.set(name, value);
    else if (value.id > this.#last) {
      this.#last = value.id;
      store.addEntry(value);
    }
  }

  /** Ask what there is: once where the stream brings the rest, else every few seconds. */
  async #poll() {
    clearTimeout(this.#timer);
    this.#isDue = this.#isPolling;
    if (this.#isPolling) return;
    this.#isPolling = true;
    const live = this.#live;
    const run = await this.#ask(live);
    this.#isPolling = false;
    const waiting = this.#waiting.splice(0);
    if (live !== this.#live) return;
    if (run !== null && run !== this.#run) return this.#restart(0);
    for (const [name, value] of waiting) this.#take(name, value);
    this.#polled(run !== null);
  }

  #polled(isAnswered) {
    if (isAnswered && !this.#store.connected) this.#live.retry();
    if (this.#isLive || !isAnswered || this.#isFaulty) this.#connected(isAnswered && (this.#isLive || "polling"));
    if (this.#isDue) this.#poll();
    else if (!this.#isLive || !isAnswered) this.#timer = setTimeout(() => this.#poll(), isAnswered ? POLL : AGAIN);
  }

  /** The name of the simulator's run, once all since the last entry is taken; null where there is no answer. */
  #ask(live) {
    return new Promise((answer) => {
      let run = null;
      const source = new EventSource(`${addressOf(this.#last)}&once=1`);
      const end = () => {
        source.close();
        afterPress(() => answer(run));
      };
      const limit = setTimeout(end, LONGEST_POLL);
      const take = (name, data) => this.#live === live && run === this.#run && this.#take(name, JSON.parse(data));
      source.addEventListener("hello", ({ data }) => (run = JSON.parse(data)));
      for (const name of EVENTS) source.addEventListener(name, ({ data }) => afterPress(() => take(name, data)));
      source.addEventListener("error", () => {
        clearTimeout(limit);
        end();
      });
    });
  }

  #restart(delay) {
    clearTimeout(this.#timer);
    this.#live?.stop();
    this.#live = null;
    this.#isLive = false;
    setTimeout(() => this.start(), delay);
  }

  /** `connected` is false, true, or "polling" where there is no live connection. */
  #connected(connected) {
    if (this.#store.connected !== connected) this.#store.set("connected", connected);
  }
}

const addressOf = (last) => `/simulator/events?after=${last}`;
