// Puts the page together: the store and its feed, the three panes, and the address that names where one is.

import { decodeUrlPart, h, fill } from "./dom.js";
import { icon } from "./icons.js";
import { SimulatorStore } from "./simulator_store.js";
import { SimulatorFeed } from "./simulator_feed.js";
import { Sidebar } from "./sidebar.js";
import { Chat } from "./chat.js";
import { MessageActions } from "./message_actions.js";
import { Thread } from "./thread.js";
import { Tabs } from "./tabs.js";
import { TrafficLog } from "./traffic_log.js";
import { Dialogs } from "./dialogs.js";
import { Jobs } from "./jobs.js";
import { DeadLetters } from "./dead_letters.js";
import { Moderation } from "./moderation.js";
import { Failures } from "./failures.js";
import { Output } from "./output.js";
import { showToast } from "./toasts.js";

const PANES = [
  ["people", "Chats", "people"],
  ["chat", "Talk", "chat"],
  ["tools", "Inspector", "traffic"],
];
const byId = (id) => document.getElementById(id);

const store = new SimulatorStore();
const messageActions = new MessageActions(store, { inspect, go, openThread });
const sidebar = new Sidebar(byId("people"), store, { go, become });
const chat = new Chat(byId("chat"), store, messageActions);
const thread = new Thread(store, messageActions, closeThread);
const traffic = new TrafficLog(store);
const panels = {
  thread,
  traffic,
  dialogs: new Dialogs(store),
  jobs: new Jobs(store),
  dead: new DeadLetters(store),
  moderation: new Moderation(store),
  failures: new Failures(store),
  output: new Output(store),
};
const tabs = new Tabs(byId("tools"), panels, store);

const paneButton = ([pane, label, sign]) =>
  h("button", { dataset: { pane }, onclick: () => showPane(pane) }, icon(sign), h("span", label));
fill(byId("panes"), PANES.map(paneButton));
showPane("chat");
store.on("directory", settle);
store.on("messages", () => store.place && sidebar.markSeen(store.place));
window.addEventListener("hashchange", settle);
await new SimulatorFeed(store).reconnect();
document.documentElement.dataset.ready = "true";
if (matchMedia("(min-width: 761px)").matches) chat.composer.focus();

/** Open what the address names: a user and a conversation; by default the first person and the first bot. */
function settle() {
  const [uid, kind, id] = location.hash.slice(1).split("/").map(decodeUrlPart);
  const users = [...store.users.values()];
  const first = (users.find((user) => !user.isBot && !user.isAgent) ?? users[0])?.uid ?? "";
  const me = [uid, store.me, first].find((one) => store.users.has(one)) ?? "";
  const place = id !== me && store.has({ kind, id }) ? { kind, id } : placeFor(me);
  if (me !== store.me) {
    store.me = me;
    store.emit("me");
  }
  if (place && (place.kind !== store.place?.kind || place.id !== store.place?.id)) enter(place);
}

function placeFor(me) {
  if (store.place && store.has(store.place) && store.place.id !== me) return store.place;
  const others = [...store.users.values()].filter((user) => user.uid !== me);
  const first = store.isBot(me)
    ? others.find((user) => !user.isBot && !user.isAgent)
    : (others.find((user) => user.isBot && store.bots.get(user.uid)?.enabled) ?? others[0]);
  if (first) return { kind: "user", id: first.uid };
  const group = [...store.groups.keys()][0];
  return group ? { kind: "group", id: group } : null;
}

function enter(place) {
  store.place = place;
  sidebar.markSeen(place);
  store.emit("place");
}

function go(place) {
  if (!store.has(place)) return showToast(`There is no ${place.kind} ${place.id} here.`, "bad");
  closeThread();
  remember(store.me, place);
  showPane("chat");
  chat.composer.focus();
}

function become(uid) {
  closeThread();
  const talked = store.isBot(uid) ? lastPartner(uid) : null;
  const isSelf = store.place?.kind === "user" && store.place.id === uid;
  // A user who becomes the bot of the open chat wants to answer as the bot.
  remember(uid, isSelf ? { kind: "user", id: store.me } : (talked ?? placeOf(uid)));
}

function lastPartner(uid) {
  const own = [...store.messages.values()].filter(
    (message) => message.receiverType === "user" && [message.sender, message.receiver].includes(uid),
  );
  const last = own.sort((one, other) => one.id - other.id).at(-1);
  return last ? { kind: "user", id: last.sender === uid ? last.receiver : last.sender } : null;
}

function placeOf(uid) {
  return store.place && store.place.id !== uid ? store.place : placeFor(uid);
}

function remember(me, place) {
  location.hash = [me, place?.kind ?? "", place?.id ?? ""].map(encodeURIComponent).join("/");
}

function showPane(pane) {
  document.body.dataset.pane = pane;
  for (const button of byId("panes").children)
    button.setAttribute("aria-current", String(button.dataset.pane === pane));
}

function openThread(id) {
  tabs.show("thread");
  showPane("tools");
  thread.open(id);
}

function closeThread() {
  const from = thread.root;
  if (!from) return;
  thread.open("");
  tabs.hide("thread");
  showPane("chat");
  chat.transcript.focusOn(from);
}

function inspect(message) {
  tabs.show("traffic");
  showPane("tools");
  traffic.showMessage(message.id);
}
