// Which quick replies are over: those of a bot's reply are valid until it replies to a later message.

const EXPIRED = "No longer asked: the bot has answered a later message";

/** The id that the bot gave to a message: the event that it replies to, and the attempt. */
const CLIENT_ID = /^cb-([a-z]\w*)-(\d+)-/;

/** By cometbot's own rule, which counts a conversation with all its threads. */
export class QuickReplyExpiry {
  #store;
  #valid = null;

  constructor(store) {
    this.#store = store;
    store.on("messages handled", () => (this.#valid = null));
  }

  /** Return whether a message's quick replies are over; false if that cannot be known. */
  isExpired(message) {
    const turn = turnOf(message);
    if (!turn || !message.hasQuickReplies) return false;
    this.#valid ??= this.#find();
    return this.#valid.get(conversationOf(message)) !== turn;
  }

  /** Return for each bot and conversation the turn (all messages for one event) whose quick replies are valid. */
  #find() {
    const conversations = this.#findConversations();
    const turns = new Map();
    for (const message of [...this.#store.messages.values()].sort((one, other) => one.id - other.id)) {
      const turn = turnOf(message);
      if (!turn) continue;
      const name = `${conversationOf(message)} ${turn}`;
      const before = turns.get(name);
      turns.delete(name); // it counts from its last message on
      turns.set(name, { turn, message, hasQuickReplies: before?.hasQuickReplies || message.hasQuickReplies });
    }
    const valid = new Map();
    const labels = new Map();
    for (const { turn, message, hasQuickReplies } of turns.values()) {
      const conversation = conversationOf(message);
      if (isRefusal(message, labels.get(conversation))) continue;
      if (!hasQuickReplies && !isAnswer(message, conversations)) continue;
      valid.set(conversation, turn);
      labels.set(conversation, labelsOf(message));
    }
    return valid;
  }

  /** Return the conversation of each bot's event, as far as it is known. */
  #findConversations() {
    const conversations = new Map();
    for (const [name, { event }] of Object.entries(this.#store.handled)) {
      const place = name.indexOf("/");
      const message = this.#store.messages.get(name.slice(place + 1));
      if (event && message) conversations.set(`${name.slice(0, place)}/${event}`, message.conversationId);
    }
    return conversations;
  }
}

/** Return whether the handler that sent this message still runs: it may edit it, as a streamed reply does. */
export function isBeingHandled(message, handled) {
  const [, event] = CLIENT_ID.exec(message.muid ?? "") ?? [];
  const isRunning = ([name, one]) =>
    one.event === event && one.state === "running" && name.startsWith(`${message.sender}/`);
  return Boolean(event) && Object.entries(handled).some(isRunning);
}

const conversationOf = (message) => `${message.sender} ${message.conversationId}`;

function turnOf(message) {
  const found = CLIENT_ID.exec(message.muid ?? "");
  return found ? `${found[1]}-${found[2]}` : "";
}

/** Return whether a message replies to an event of its own conversation. Others end no quick replies. */
function isAnswer(message, conversations) {
  const [, event] = CLIENT_ID.exec(message.muid);
  const conversation = conversations.get(`${message.sender}/${event}`) ?? message.conversationId;
  return event.startsWith("m") && conversation === message.conversationId;
}

/** Return the labels of the fields of a form that is shown as text. */
function labelsOf({ quickReplies }) {
  const form = quickReplies?.find(({ kind }) => kind === "form");
  return form?.fields.map(({ label }) => label) ?? [];
}

/** Return whether a message says what is wrong with a field of the form that is open, which stays open then. */
function isRefusal({ data }, labels = []) {
  return labels.some((label) => data?.text?.startsWith(`${label}: `));
}

/** Return the attributes of a quick reply: disabled for the bot itself, and once it is no longer asked. */
export function quickReplyState({ canReply, isExpired }) {
  return { disabled: !canReply || isExpired, title: isExpired && EXPIRED };
}
