// The bots, the chats with each, who one is, and where this is.

import { h, fill, oncePerFrame, safeUrl } from "./dom.js";
import { icon, iconButton } from "./icons.js";
import { avatar } from "./avatar.js";
import { afterPress } from "./after_press.js";
import { themeButton } from "./theme_button.js";
import { summary } from "./content.js";
import { t } from "./i18n.js";
import { shortTime } from "./time.js";

/** The left pane. `go(path)` opens an address, `leave()` signs the user out. */
export class Sidebar {
  constructor(store, { go, leave }) {
    Object.assign(this, { store, go, leave });
    this.brand = h("header.brand.hstack");
    this.list = h("nav.conversations", { "aria-label": t("chats") });
    this.foot = h("footer.identity.hstack.muted");
    this.element = h("aside.people.vstack", this.brand, this.list, this.foot);
    store.on("service user", () => this.#showFrame());
    store.on(
      "bots chats place messages",
      oncePerFrame(() => afterPress(() => this.#show())),
    );
  }

  /** Give the focus to where one was. */
  focus() {
    const here = this.list.querySelector("[aria-current]") ?? this.list.querySelector("a");
    here?.focus({ preventScroll: true });
  }

  #showFrame() {
    const { service, user } = this.store;
    const home = h("a.home.hstack", linkTo("/", this.go), serviceMark(service, "34"), h("h1.truncate", service.name));
    fill(this.brand, home, themeButton());
    if (!user) return;
    fill(
      this.foot,
      avatar(user.id, user.name),
      h("p.truncate", t("hello", { name: user.name })),
      iconButton("button.quiet-button", "leave", t("leave"), () => this.leave()),
    );
  }

  #show() {
    const { store } = this;
    const here = document.activeElement?.getAttribute?.("data-path");
    const bots = [...store.bots.values()];
    const orphans = [...store.chats.values()].filter((chat) => !store.bots.has(chat.botId)); // can still be read
    fill(this.list, bots.map(this.#bot, this), orphans.length > 0 && this.#chats("ul.orphans", orphans));
    if (here) this.list.querySelector(`[data-path="${CSS.escape(here)}"]`)?.focus({ preventScroll: true });
  }

  #bot(bot) {
    const chats = this.store.chatsWith(bot.id);
    const isHere = this.store.place.kind === "bot" && this.store.place.id === bot.id;
    const newest = chats.reduce((last, chat) => (!last || timeOf(chat) >= timeOf(last) ? chat : last), null);
    const path = newest ? `/conversation/${newest.id}` : `/bot/${bot.id}`;
    const add = t("newChatWith", { name: bot.name });
    const attributes = {
      ...linkTo(path, this.go),
      dataset: { path: `bot ${bot.id}` },
      "aria-current": isHere ? "page" : null,
    };
    const lines = [h("span.name.hstack", bot.name), bot.description && h("small.truncate", bot.description)];
    const row = [
      h("a.conversation.hstack", attributes, avatar(bot.id, bot.name, "", bot.avatar), h("span.lines", lines)),
    ];
    if (chats.length) {
      const label = { title: add, "aria-label": add, dataset: { path: `new ${bot.id}` } };
      row.push(h("a.plus.icon-button", { ...linkTo(`/bot/${bot.id}`, this.go), ...label }, icon("plus")));
    }
    const list = chats.length > 0 && this.#chats("ul", chats);
    return h("section", { "aria-label": bot.name }, h("div.bot-row.hstack", row), list);
  }

  #chats(selector, chats) {
    const items = chats.map((chat) => h("li", this.#chat(chat)));
    return h(selector, items);
  }

  #chat(chat) {
    const { store } = this;
    const isHere = store.place.kind === "chat" && store.place.id === chat.id;
    const count = store.unread.get(chat.id) ?? 0;
    const { last } = chat;
    const text = last ? summary(last) : "";
    const said = last?.senderId === store.user?.id && text ? t("youSaid", { text }) : text;
    const attributes = {
      ...linkTo(`/conversation/${chat.id}`, this.go),
      dataset: { path: chat.id },
      "aria-current": isHere ? "page" : null,
      class: count ? "unread" : "",
    };
    const badge = h("span", { "aria-hidden": "true" }, count > 99 ? "99+" : count);
    return h(
      "a.conversation.hstack.small",
      attributes,
      h("span.lines", h("span.name.truncate", store.titleOf(chat)), h("small.truncate", said || t("nothingSaid"))),
      h(
        "span.aside.vstack",
        last && h("time.muted", shortTime(last.timestamp / 1000)),
        count > 0 && h("span.count", h("span.unheard", t("unread", { count })), badge),
      ),
    );
  }
}

/** Return the attributes of a link within the page; `go(path)` opens it, unless the user wants a new tab. */
export function linkTo(path, go) {
  const onclick = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    go(path);
  };
  return { href: path, onclick };
}

/** Return the picture of the service, or cometbot's own. */
export function serviceMark({ name, avatar: picture }, size) {
  if (picture) return avatar(name, name, "group", picture);
  return h("img", { src: new URL("icon.svg", import.meta.url).href, alt: "", width: size, height: size });
}

/** The links that the platform's config file names. */
export function socials(service) {
  const links = (service.socials ?? []).map(({ title, url }) => [title, safeUrl(url)]).filter(([, url]) => url);
  if (!links.length) return null;
  const link = ([title, href]) => h("li", h("a", { href, target: "_blank", rel: "noopener noreferrer" }, title));
  return h("ul.socials", links.map(link));
}

const timeOf = (chat) => chat.last?.timestamp ?? chat.createdAt ?? 0;
