// One event stream for all tabs of a browser. The tab that has the lock reads the stream and broadcasts each event to the
// others: over HTTP/1.1 a browser opens six connections to a server, so a seventh tab would load nothing.

const HELLO_TIMEOUT = 10_000; // without `hello` by then, a proxy holds the stream back
const SILENT_TIMEOUT = 40_000; // the server sends a ping every 15 s
const SILENT_PAUSE = 20_000;
const FIRST_PAUSE = 1000;
const MAX_PAUSE = 15_000;

/**
 * `address()` is the stream's URL and `events` the names of its events; it begins with the event `hello`. Tabs with the
 * same `name` share a stream. `onOpen(hello)` is called when events come from now on, `onEvent(name, data)` for each, and
 * `onClose({isSilent, failures})` when none come any more: it tries again by itself until `stop` is called.
 */
export class SharedStream {
  #source = null;
  #channel = null;
  #asking = null;
  #release = null;
  #isOpen = false;
  #watchdog = 0;
  #timer = 0;
  #failures = 0;
  #state = {}; // the reply to a tab that asks: {isOpen, hello} or {fault}
  #id = Math.random();

  constructor(options) {
    Object.assign(this, options);
  }

  /** Return whether tabs can share a stream: browsers have locks over HTTPS and on localhost. */
  static get isShared() {
    return Boolean(navigator.locks && window.BroadcastChannel);
  }

  start() {
    this.stop();
    this.#failures = 0;
    if (!SharedStream.isShared) return this.#connect();
    this.#channel = new BroadcastChannel(this.name);
    this.#channel.onmessage = ({ data }) => this.#onBroadcast(data);
    this.#follow();
  }

  stop() {
    this.#drop();
    this.#asking?.abort();
    this.#release?.();
    this.#channel?.close();
    this.#asking = this.#release = this.#channel = null;
  }

  /** Try again now, where it waits to do so. */
  retry() {
    if (this.#timer) this.#connect();
  }

  #follow() {
    this.#request();
    this.#broadcast({ asks: this.#id });
    this.#watch(HELLO_TIMEOUT + FIRST_PAUSE);
  }

  /** Wait for the lock; `steal` takes it from a tab that has stopped passing events on. */
  #request(steal = false) {
    this.#asking?.abort();
    const asking = (this.#asking = new AbortController());
    const isCurrent = () => this.#asking === asking;
    const lead = () => {
      if (!isCurrent()) return undefined;
      this.#connect();
      return new Promise((release) => (this.#release = release));
    };
    const options = steal ? { steal } : { signal: asking.signal };
    navigator.locks.request(this.name, options, lead).catch((error) => isCurrent() && this.#deposed(error));
  }

  /** Another tab has taken the lock, because this one was frozen; or the browser refuses locks. */
  #deposed({ name }) {
    this.#release = null;
    if (name !== "AbortError") {
      this.#channel.close();
      this.#channel = null;
      return this.#connect();
    }
    this.#drop();
    return this.#follow();
  }

  #connect() {
    this.#drop();
    const source = (this.#source = new EventSource(this.address()));
    this.#watch(HELLO_TIMEOUT);
    this.#state = {};
    for (const name of ["hello", "ping", ...this.events]) {
      source.addEventListener(name, (event) => this.#source === source && this.#received(name, event.data));
    }
    source.addEventListener("error", () => this.#source === source && this.#lost(false));
  }

  #received(name, data) {
    this.#watch(SILENT_TIMEOUT);
    this.#failures = 0;
    if (name !== "hello") {
      this.#broadcast({ name, data });
      return this.#pass(name, data);
    }
    this.#state = { isOpen: true, hello: data };
    this.#broadcast(this.#state);
    return this.#begin(data);
  }

  #pass(name, data) {
    if (name !== "ping") this.onEvent(name, data);
  }

  #begin(hello) {
    this.#isOpen = true;
    this.onOpen(hello);
  }

  #lost(isSilent) {
    this.#drop();
    this.#failures += 1;
    const fault = { isSilent, failures: this.#failures };
    this.#state = { fault };
    this.#broadcast(this.#state);
    const pause = isSilent ? SILENT_PAUSE : Math.min(FIRST_PAUSE * 2 ** (this.#failures - 1), MAX_PAUSE);
    this.#timer = setTimeout(() => this.#connect(), pause * (0.7 + Math.random() * 0.3));
    this.onClose(fault);
  }

  #broadcast(what) {
    this.#channel?.postMessage(what);
  }

  /** Handle the message of another tab: the one with the stream, or one that asks for its state. */
  #onBroadcast({ asks, to = this.#id, isOpen, hello, fault, name, data }) {
    if (asks) return this.#release && this.#broadcast({ ...this.#state, to: asks });
    if (this.#release || to !== this.#id) return undefined;
    this.#watch(SILENT_TIMEOUT);
    if (isOpen) return this.#begin(hello); // also where another tab goes on: some events may be missing
    if (name) return this.#isOpen && this.#pass(name, data);
    if (!fault) return undefined;
    this.#isOpen = false;
    return this.onClose(fault);
  }

  #watch(limit) {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#silent(), limit);
  }

  #silent() {
    if (this.#source) return this.#lost(true);
    this.#isOpen = false;
    this.onClose({ isSilent: true, failures: 1 });
    this.#request(true);
  }

  #drop() {
    clearTimeout(this.#watchdog);
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#isOpen = false;
    this.#source?.close();
    this.#source = null;
  }
}
