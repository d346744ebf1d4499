// What a page knows, with listeners for its changes; and what the browser stores for it.

/** Base of a page's store. Its `connection` is connecting, open, polling, lost or offline. */
export class Store {
  #listeners = new Map();
  connection = "connecting";

  /** Call `listener(detail)` on each change of one of these topics. */
  on(topics, listener) {
    for (const topic of topics.split(" ")) {
      this.#listeners.set(topic, [...(this.#listeners.get(topic) ?? []), listener]);
    }
  }

  /** Call the listeners of a topic. */
  emit(topic, detail) {
    for (const listener of this.#listeners.get(topic) ?? []) listener(detail);
  }

  setConnection(connection) {
    if (this.connection === connection) return;
    this.connection = connection;
    this.emit("connection");
  }
}

/** The browser's storage. Where it is switched off, it is empty. */
export const storage = {
  get: (name) => withStorage((items) => items.getItem(name), null),
  set: (name, text) => withStorage((items) => items.setItem(name, text)),
  remove: (name) => withStorage((items) => items.removeItem(name)),
  names: (prefix) => withStorage((items) => Object.keys(items).filter((name) => name.startsWith(prefix)), []),
};

function withStorage(access, fallback) {
  try {
    return access(localStorage);
  } catch {
    return fallback;
  }
}
