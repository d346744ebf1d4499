// Puts the page together: who one is, the address that names where one is, and what can be done there.

import { decodeUrlPart, h, fill } from "./dom.js";
import * as api from "./api.js";
import { Chat } from "./chat.js";
import { openForm, openConfirmation } from "./dialog.js";
import { ChatFeed } from "./chat_feed.js";
import { Outbox } from "./outbox.js";
import { Sidebar } from "./sidebar.js";
import { ChatStore } from "./chat_store.js";
import { storage } from "./store.js";
import { showToast } from "./toasts.js";
import { t, setLanguage } from "./i18n.js";
import { home, keepsCookies, welcome } from "./welcome.js";

const RETRY_DELAY = 3000;
const MAX_TITLE_LENGTH = 64;
const LEAVING = "webchat.leaving";
const LEAVING_TIMEOUT = 25_000;
const byId = (id) => document.getElementById(id);

let isMade = false;

/** The bots whose first chat this page has begun: one that was deleted stays away. */
const begun = new Set();

setLanguage(navigator.languages ?? [navigator.language]);

const store = new ChatStore();
const feed = new ChatFeed(store, { signedOut: () => signedOut(), caughtUp: () => outbox.flush() });
const outbox = new Outbox(store, { arrived, opened, signedOut: () => signedOut() });
const sidebar = new Sidebar(store, { go, leave });
const chat = new Chat(store, {
  go,
  rename,
  remove,
  home: () => home(store, go),
  send: (message) => outbox.add(message),
  press: (message, body, action) => outbox.add({ body, action: { ...action, messageId: message.storedAs } }),
  again: (id) => outbox.again(id),
  discard: (id) => outbox.discard(id),
  earlier: (id) => attempt(() => feed.loadEarlier(id), { ignoreTransient: true }),
});
const skip = h("a.skip", { href: "#composer-text" }, t("skip"));

store.on("place chats", showTitle);
window.addEventListener("popstate", () => store.user && settle());
document.addEventListener("visibilitychange", () => !document.hidden && store.chat && store.markSeen(store.chat.id));
window.addEventListener("storage", otherTabLeaves);
begin();

async function begin() {
  let now;
  try {
    now = await api.start();
  } catch (error) {
    fill(byId("app"), h("main.welcome.vstack", h("div.sheet.vstack", h("p", { role: "status" }, error.message))));
    setTimeout(begin, RETRY_DELAY);
    return;
  }
  store.restore(now);
  if (store.user) enter();
  else showWelcome();
  document.documentElement.dataset.ready = "true";
}

function showWelcome(note = "") {
  document.title = store.service.name;
  delete document.body.dataset.pane;
  fill(byId("app"), welcome(store, join, note));
  byId("nickname").focus();
}

/** A user is made once, however often one clicks before the page knows them. */
async function join(name) {
  if (!keepsCookies()) throw new Error(t("noCookies"));
  if (!isMade) await api.enter(name);
  isMade = true;
  const now = await api.start();
  if (!now.user) throw new Error(t("noCookies"));
  isMade = false;
  store.restore(now);
  if (location.pathname === "/" && store.bots.size === 1) {
    history.replaceState(null, "", `/bot/${[...store.bots.keys()][0]}`);
  }
  enter();
}

function enter() {
  fill(byId("app"), h("div.webchat", skip, sidebar.element, chat.element));
  settle();
  outbox.restore();
  feed.connect();
}

function signedOut() {
  feed.stop();
  forgetVisitor();
  store.clear();
  showWelcome(t("signedOut"));
}

/** Open what the address names. */
function settle() {
  const [, page, id = ""] = location.pathname.split("/").map(decodeUrlPart);
  const kind = page === "conversation" ? "chat" : page;
  const isKnown = { bot: store.bots, chat: store.chats }[kind]?.has(id);
  if (kind && !isKnown) {
    showToast(t(kind === "bot" ? "noSuchBot" : "noSuchChat"), "bad");
    history.replaceState(null, "", "/");
  }
  const before = store.place;
  store.place = isKnown ? { kind, id } : { kind: "home", id: "" };
  document.body.dataset.pane = isKnown ? "chat" : "people";
  if (before.kind !== store.place.kind || before.id !== store.place.id) store.emit("place");
  if (kind === "chat" && isKnown) openChat(id);
  if (kind === "bot" && isKnown && store.bot.greets && !store.chatsWith(id).length) beginChat(id);
  if (store.bot) showCommands(store.bot.id);
  if (isKnown) chat.focus();
  else sidebar.focus();
}

async function openChat(id) {
  store.markSeen(id);
  const fault = await attempt(() => feed.load(id), { ignoreTransient: true });
  if (store.place.id !== id) return;
  if (!fault) store.markSeen(id);
  else if (fault.isTransient) {
    setTimeout(() => store.place.id === id && !store.known.get(id)?.isBegun && openChat(id), RETRY_DELAY);
  }
}

/** Begin the first chat with a bot that says something before one writes. */
async function beginChat(bot) {
  if (begun.has(bot)) return;
  begun.add(bot);
  const begin = async () => opened(bot, await api.openChat(bot, `greeting-${Date.now()}`));
  if (await attempt(begin, { ignoreTransient: true })) begun.delete(bot);
}

async function showCommands(bot) {
  try {
    store.commands.set(bot, await api.commandsOf(bot));
    store.emit("bots");
    if (store.bot?.id === bot) chat.composer.completion.refresh();
  } catch (error) {
    if (error.status === undefined) throw error; // without the menu one can still write
  }
}

function go(path) {
  if (path !== location.pathname) history.pushState(null, "", path);
  settle();
}

function arrived(item, message) {
  store.addMessage(message);
  if (store.chat?.id === message.chatId) store.markSeen(message.chatId);
}

/** The chat that was begun by writing to a bot: it is the same place, with an address now. */
function opened(bot, made) {
  store.updateChat({ title: "", createdAt: Date.now(), last: null, ...made });
  store.addPage(made.id, [], { hasEarlier: false });
  if (store.place.kind !== "bot" || store.place.id !== bot) return;
  history.replaceState(null, "", `/conversation/${made.id}`);
  store.place = { kind: "chat", id: made.id };
  chat.moved(`bot/${bot}`, `chat/${made.id}`);
  store.emit("chats");
  store.emit("messages");
  openChat(made.id); // another tab may have begun it, and have been answered there
}

async function rename(shown) {
  const field = { name: "title", label: t("rename.label"), value: shown.title, hint: t("rename.hint") };
  const fields = [{ ...field, isOptional: true, longest: MAX_TITLE_LENGTH }];
  const changed = await openForm(t("rename.title"), fields, t("save"), ({ title }) => api.renameChat(shown.id, title));
  if (changed) store.updateChat(changed);
}

async function remove(shown) {
  const name = shown.title || `${store.bot?.name ?? ""} · ${store.titleOf(shown)}`;
  if (!(await openConfirmation(t("delete.title"), t("delete.text", { name }), t("delete")))) return;
  await attempt(async () => {
    await api.deleteChat(shown.id);
    if (store.place.id === shown.id) go("/");
    store.removeChat(shown.id);
  });
}

async function leave() {
  const { name } = store.user;
  if (!(await openConfirmation(t("leave.title", { name }), t("leave.text"), t("leave")))) return;
  storage.set(LEAVING, String(Date.now()));
  suspend();
  const fault = await attempt(api.leave);
  if (!fault) forgetVisitor();
  storage.remove(LEAVING);
  if (!fault) return location.assign("/");
  api.blockRequests(false);
  if (!store.user) return;
  outbox.restore();
  feed.connect();
}

/** Send and store nothing while the user is signed out. */
function suspend() {
  feed.pause();
  outbox.close();
  api.blockRequests(true);
}

/** Another tab asks to leave, and notes that; when it is through with it, this one looks who one is now. */
function otherTabLeaves({ key, newValue }) {
  if (key !== LEAVING || !store.user) return;
  if (newValue === null) return location.reload();
  suspend();
  setTimeout(() => location.reload(), LEAVING_TIMEOUT);
}

/** Remove what the browser stores: the next user of this browser must not see it. */
function forgetVisitor() {
  outbox.close();
  for (const prefix of ["webchat.unsent.", "webchat.seen."]) storage.names(prefix).forEach(storage.remove);
}

store.on("chats", (detail) => {
  if (detail?.removed && store.place.id === detail.removed) {
    showToast(t("noSuchChat"));
    go("/");
  }
});

/** Call `work`, show its error, and return it; `ignoreTransient` shows nothing where a retry may help. */
async function attempt(work, { ignoreTransient = false } = {}) {
  try {
    await work();
    return null;
  } catch (error) {
    if (error.status === undefined) throw error;
    if (error.status === 401) signedOut();
    else if (!ignoreTransient || !error.isTransient) showToast(error.message, "bad");
    return error;
  }
}

function showTitle() {
  const unread = [...store.unread.values()].reduce((sum, count) => sum + count, 0);
  const where = store.bot ? `${store.bot.name} – ${store.service.name}` : store.service.name;
  document.title = unread ? `(${unread}) ${where}` : where;
}
