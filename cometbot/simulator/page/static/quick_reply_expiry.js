// Which offers a bot would still take: those of its last answer, until it says something in answer to a later message.

const EXPIRED = "No longer asked: the bot has answered a later message";

/** By this name a message is known to the bot that said it: for which event, and in which run of it. */
const CLIENT_ID = /^cb-([a-z]\w*)-(\d+)-/;

/** What is over of what the bots of `store` have offered, by the rule of cometbot: a conversation with all its threads. */
export class QuickReplyExpiry {
  #store;
  #standing = null;

  constructor(store) {
    this.#store = store;
    store.on("messages handled", () => (this.#standing = null));
  }

  /** Whether nothing takes any more what this message offers; false where that cannot be known. */
  isExpired(message) {
    const turn = turnOf(message);
    if (!turn || !message.hasQuickReplies) return false;
    this.#standing ??= this.#find();
    return this.#standing.get(laneOf(message)) !== turn;
  }

  /** By lane the turn, which is all that was said for one event, whose offers stand. */
  #find() {
    const homes = this.#homes();
    const turns = new Map();
    for (const message of [...this.#store.messages.values()].sort((one, other) => one.id - other.id)) {
      const turn = turnOf(message);
      if (!turn) continue;
      const name = `${laneOf(message)} ${turn}`;
      const before = turns.get(name);
      turns.delete(name); // it counts from its last message on
      turns.set(name, { turn, message, isOffer: before?.isOffer || message.hasQuickReplies });
    }
    const standing = new Map();
    for (const { turn, message, isOffer } of turns.values()) {
      if (isOffer || isAnswer(message, homes)) standing.set(laneOf(message), turn);
    }
    return standing;
  }

  /** By bot and event the conversation in which it happened, as far as that is known. */
  #homes() {
    const homes = new Map();
    for (const [name, { event }] of Object.entries(this.#store.handled)) {
      const place = name.indexOf("/");
      const message = this.#store.messages.get(name.slice(place + 1));
      if (event && message) homes.set(`${name.slice(0, place)}/${event}`, message.conversationId);
    }
    return homes;
  }
}

/** Whether the handler that sent this message still runs, and may edit it: a streamed reply grows by edits. */
export function isBeingHandled(message, handled) {
  const [, event] = CLIENT_ID.exec(message.muid ?? "") ?? [];
  const isRunning = ([name, one]) =>
    one.event === event && one.state === "running" && name.startsWith(`${message.sender}/`);
  return Boolean(event) && Object.entries(handled).some(isRunning);
}

const laneOf = (message) => `${message.sender} ${message.conversationId}`;

function turnOf(message) {
  const found = CLIENT_ID.exec(message.muid ?? "");
  return found ? `${found[1]}-${found[2]}` : "";
}

/** Whether it was said for an event of its own conversation: what is said unasked, or from elsewhere, ends nothing. */
function isAnswer(message, homes) {
  const [, event] = CLIENT_ID.exec(message.muid);
  const home = homes.get(`${message.sender}/${event}`) ?? message.conversationId;
  return event.startsWith("m") && home === message.conversationId;
}

/** Return the attributes of a quick reply: disabled for the bot itself, and once it is no longer asked. */
export function quickReplyState({ canReply, isExpired }) {
  return { disabled: !canReply || isExpired, title: isExpired && EXPIRED };
}
