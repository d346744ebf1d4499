// Follows the simulator: a snapshot first, then server-sent events from where that ends.

import { snapshot } from "./api.js";
import { calmly } from "./press.js";

const AGAIN = 1500;

/** Keeps `store` up to date for as long as the page is open, over restarts of the simulator. */
export class Feed {
  #source = null;
  #store;

  constructor(store) {
    this.#store = store;
  }

  /** Resolves when the store has what there is. */
  async start() {
    let begun;
    try {
      begun = await snapshot();
    } catch {
      this.#lost();
      return;
    }
    this.#store.restore(begun);
    this.#follow(begun);
  }

  #follow({ run, lastId }) {
    const source = new EventSource(`/simulator/events?after=${lastId}`);
    this.#source = source;
    const isMine = () => this.#source === source;
    const on = (name, take) =>
      source.addEventListener(name, (event) => calmly(() => isMine() && take(JSON.parse(event.data))));
    on("hello", (name) => {
      if (name === run) this.#connected(true);
      else this.#restart(0); // another simulator, or one that has forgotten everything
    });
    on("entry", (entry) => this.#store.take(entry));
    on("handled", (changed) => this.#store.takeHandled(changed));
    on("directory", (directory) => this.#store.setDirectory(directory));
    for (const topic of ["rules", "status", "output", "dead"]) on(topic, (value) => this.#store.set(topic, value));
    source.addEventListener("error", () => {
      this.#connected(false);
      if (source.readyState === EventSource.CLOSED) this.#restart(AGAIN);
    });
  }

  #lost() {
    this.#connected(false);
    this.#restart(AGAIN);
  }

  #restart(delay) {
    this.#source?.close();
    this.#source = null;
    setTimeout(() => this.start(), delay);
  }

  #connected(connected) {
    if (this.#store.connected !== connected) this.#store.set("connected", connected);
  }
}
