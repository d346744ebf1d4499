// Follows the simulator: a snapshot first, then server-sent events from where that ends.

import { afterPress } from "./after_press.js";
import { snapshot } from "./api.js";
import { Feed } from "./feed.js";

const EVENTS = [
  "entry",
  "handled",
  "directory",
  "rules",
  "status",
  "output",
  "dead",
  "dialogs",
  "jobs",
  "moderation",
  "runs",
];
const CATCH_UP_TIMEOUT = 10_000;

/** Keeps the store up to date for as long as the page is open, over restarts of the simulator. */
export class SimulatorFeed extends Feed {
  pollInterval = 3000;
  maxPause = 2000;
  #run = "";
  #lastId = 0; // of the newest entry that the store has
  #catchingUp = null;
  #received = []; // events of the stream that are newer than what is being fetched

  get stream() {
    return { name: "simulator", address: () => this.#address(), events: EVENTS };
  }

  /** Load the snapshot and open the stream; the promise resolves when the store has the snapshot. */
  async reconnect() {
    this.stop();
    let data;
    try {
      data = await snapshot();
    } catch {
      this.retryLater();
      return;
    }
    this.store.restore(data);
    this.#run = data.run;
    this.#lastId = data.lastId;
    this.#received = [];
    this.connect();
  }

  /** The stream may be one that another tab has had for long, so its `hello` may name a simulator of before. */
  async catchUp(hello) {
    if (hello && JSON.parse(hello) !== this.#run) return this.reconnect();
    while (this.#catchingUp) await this.#catchingUp;
    this.#catchingUp = this.#fetchMissed();
    const run = await this.#catchingUp;
    this.#catchingUp = null;
    if (run !== null && run !== this.#run) return this.reconnect(); // another simulator, or one that was reset
    for (const [name, value] of this.#received.splice(0)) this.#apply(name, value);
    if (run === null) throw new Error("no answer");
    return undefined;
  }

  receive(name, value) {
    if (this.#catchingUp) this.#received.push([name, value]);
    else this.#apply(name, value);
  }

  #apply(name, value) {
    const { store } = this;
    if (name === "handled") store.updateHandled(value);
    else if (name === "directory") store.updateDirectory(value);
    else if (name !== "entry") store.set(name, value);
    else if (value.id > this.#lastId) {
      this.#lastId = value.id;
      store.addEntry(value);
    }
  }

  /** Apply all events since the last entry, and return the name of the simulator's run; null without an answer. */
  #fetchMissed() {
    return new Promise((resolve) => {
      let run = null;
      const source = new EventSource(`${this.#address()}&once=1`);
      const end = () => {
        clearTimeout(timer);
        source.close();
        afterPress(() => resolve(run));
      };
      const timer = setTimeout(end, CATCH_UP_TIMEOUT);
      source.addEventListener("hello", ({ data }) => (run = JSON.parse(data)));
      for (const name of EVENTS) {
        const apply = (data) => run === this.#run && this.#apply(name, JSON.parse(data));
        source.addEventListener(name, ({ data }) => afterPress(() => apply(data)));
      }
      source.addEventListener("error", end);
    });
  }

  #address() {
    return `/simulator/events?after=${this.#lastId}`;
  }
}
