// The bots, the chats with each, who one is, and where this is.

import { h, fill, oncePerFrame, safeUrl } from "./dom.js";
import { icon, iconButton } from "./icons.js";
import { avatar } from "./avatar.js";
import { afterPress } from "./after_press.js";
import { themeButton } from "./theme_button.js";
import { summary } from "./content.js";
import { t } from "./i18n.js";
import { shortTime } from "./time.js";

/** The left pane. `go(path)` opens what is at this address, `leave()` is asked for by whoever wants to. */
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
    const home = (event) => this.#open(event, "/");
    const mark = service.avatar
      ? avatar(service.name, service.name, "group", service.avatar)
      : h("img", { src: new URL("icon.svg", import.meta.url).href, alt: "", width: "34", height: "34" });
    fill(
      this.brand,
      h("a.home.hstack", { href: "/", onclick: home }, mark, h("h1.truncate", service.name)),
      themeButton(),
    );
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
    fill(
      this.list,
      [...store.bots.values()].map((bot) => this.#bot(bot)),
      this.#orphans(),
    );
    if (here) this.list.querySelector(`[data-path="${CSS.escape(here)}"]`)?.focus({ preventScroll: true });
  }

  #bot(bot) {
    const chats = this.store.chatsWith(bot.id);
    const isHere = this.store.place.kind === "bot" && this.store.place.id === bot.id;
    const newest = chats.reduce((last, chat) => (!last || timeOf(chat) >= timeOf(last) ? chat : last), null);
    const path = newest ? `/conversation/${newest.id}` : `/bot/${bot.id}`;
    const add = t("newChatWith", { name: bot.name });
    return h(
      "section",
      { "aria-label": bot.name },
      h(
        "div.bot-row.hstack",
        h(
          "a.conversation.hstack",
          { ...this.#link(path), dataset: { path: `bot ${bot.id}` }, "aria-current": isHere ? "page" : null },
          avatar(bot.id, bot.name, "", bot.avatar),
          h("span.lines", h("span.name.hstack", bot.name), bot.description && h("small.truncate", bot.description)),
        ),
        chats.length > 0 &&
          h(
            "a.plus.icon-button",
            { ...this.#link(`/bot/${bot.id}`), dataset: { path: `new ${bot.id}` }, title: add, "aria-label": add },
            icon("plus"),
          ),
      ),
      chats.length > 0 &&
        h(
          "ul",
          chats.map((chat) => h("li", this.#chat(chat))),
        ),
    );
  }

  /** Chats with bots that are not here any more can still be read. */
  #orphans() {
    const orphans = [...this.store.chats.values()].filter((chat) => !this.store.bots.has(chat.botId));
    if (!orphans.length) return null;
    return h(
      "ul.orphans",
      orphans.map((chat) => h("li", this.#chat(chat))),
    );
  }

  #chat(chat) {
    const { store } = this;
    const isHere = store.place.kind === "chat" && store.place.id === chat.id;
    const count = store.unread.get(chat.id) ?? 0;
    const { last } = chat;
    const said = last ? summary(last) : "";
    const isOwn = last?.senderId === store.user?.id;
    return h(
      "a.conversation.hstack.small",
      {
        ...this.#link(`/conversation/${chat.id}`),
        dataset: { path: chat.id },
        "aria-current": isHere ? "page" : null,
        class: count ? "unread" : "",
      },
      h(
        "span.lines",
        h(
          "span.name.truncate",
          store.titleOf(chat, (number) => t("chatNumber", { number })),
        ),
        h("small.truncate", said ? (isOwn ? t("youSaid", { text: said }) : said) : t("nothingSaid")),
      ),
      h(
        "span.aside.vstack",
        last && h("time.muted", shortTime(last.timestamp / 1000)),
        count > 0 && h("span.count", h("span.unheard", t("unread", { count })), badge(count)),
      ),
    );
  }

  #link(path) {
    return { href: path, onclick: (event) => this.#open(event, path) };
  }

  #open(event, path) {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    this.go(path);
  }
}

/** The links that the platform's config file names. */
export function socials(service) {
  const links = (service.socials ?? []).map(({ title, url }) => [title, safeUrl(url)]).filter(([, url]) => url);
  if (!links.length) return null;
  return h(
    "ul.socials",
    links.map(([title, href]) => h("li", h("a", { href, target: "_blank", rel: "noopener noreferrer" }, title))),
  );
}

const timeOf = (chat) => chat.last?.timestamp ?? chat.createdAt ?? 0;
const badge = (count) => h("span", { "aria-hidden": "true" }, count > 99 ? "99+" : count);
