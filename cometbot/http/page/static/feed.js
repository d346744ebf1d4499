// Keeps a page's store up to date: by an event stream, and by polling where there is no stream.

import { afterPress } from "./after_press.js";
import { SharedStream } from "./shared_stream.js";

const FIRST_PAUSE = 1000;

/**
 * A page's feed has `stream`, the options of its stream (name, address, events); `catchUp(hello)`, a promise that the
 * store has all up to now; `receive(name, value)`, which applies an event; and `reconnect()`, which begins again where no
 * stream is open. `catchUp` is called when the stream opens, and every `pollInterval` ms while it is closed.
 */
export class Feed {
  pollInterval = 5000;
  maxPause = 15_000;
  #stream = null;
  #isLive = false;
  #hasFailed = false; // a stream that ends once is only opened again
  #timer = 0;
  #failures = 0;

  constructor(store) {
    this.store = store;
  }

  /** Open the stream again. */
  connect() {
    this.stop();
    const ifCurrent = (act) => afterPress(() => this.#stream === stream && act());
    const stream = new SharedStream({
      ...this.stream,
      onOpen: (hello) => ifCurrent(() => this.#opened(hello)),
      onEvent: (name, data) => ifCurrent(() => this.receive(name, JSON.parse(data))),
      onClose: (failure) => ifCurrent(() => this.#closed(failure)),
    });
    this.#stream = stream;
    stream.start();
    if (this.#hasFailed) this.poll();
  }

  /** Close the stream and stop polling. */
  stop() {
    clearTimeout(this.#timer);
    this.#stream?.stop();
    this.#stream = null;
    this.#isLive = false;
  }

  /** Catch up now, and again after a pause unless the stream is open. */
  async poll(hello = null) {
    clearTimeout(this.#timer);
    const stream = this.#stream;
    const isCurrent = () => stream !== null && this.#stream === stream;
    try {
      await this.catchUp(hello);
    } catch {
      if (isCurrent()) this.retryLater();
      return;
    }
    if (!isCurrent()) return;
    if (this.#failures && !this.#isLive) stream.retry();
    this.#failures = 0;
    if (this.#isLive) this.store.setConnection("open");
    else {
      if (this.#hasFailed) this.store.setConnection("polling");
      this.#schedule(this.pollInterval);
    }
    this.caughtUp?.();
  }

  /** Report the connection as lost, and try again after a pause. */
  retryLater(connection = "lost") {
    this.store.setConnection(connection);
    this.#schedule(Math.min(FIRST_PAUSE * 2 ** this.#failures, this.maxPause));
    this.#failures += 1;
  }

  #opened(hello) {
    this.#isLive = true;
    this.#hasFailed = false;
    this.poll(hello);
  }

  #closed({ isSilent, failures }) {
    this.#isLive = false;
    this.#hasFailed ||= isSilent || failures > 1;
    this.poll();
  }

  /** The pauses are random, so that not all pages come back at the same moment when the server starts. */
  #schedule(pause) {
    clearTimeout(this.#timer);
    const act = () => (this.#stream ? this.poll() : this.reconnect());
    this.#timer = setTimeout(act, pause * (0.7 + Math.random() * 0.6));
  }
}
