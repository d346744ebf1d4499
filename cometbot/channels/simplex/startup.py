"""What is done on every connection before events are heard: the profile, the address, and what was missed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cometbot.bot import Bot
from cometbot.channels.simplex import schemas
from cometbot.channels.simplex.errors import AnswerMissing, CommandDelayed, CommandFailed, CommandNotFound
from cometbot.channels.simplex.menu import is_same_menu, make_menu
from cometbot.channels.simplex.protocol import ChatRef, Command, Record, commands
from cometbot.channels.simplex.protocol.contents import text_content
from cometbot.channels.simplex.views import Address, ChatSummary, User
from cometbot.errors import ConfigurationError, PayloadError
from cometbot.settings import Settings

log = logging.getLogger(__name__)

DESCRIPTION_LIMIT = 160
"""Characters of the short description in a profile."""

CHATS_A_PAGE = 50
ITEMS_A_PAGE = 100
MISSED_LIMIT = 10_000
"""Items that are fetched of one chat at most."""

BUSY_PAUSES = (0.5, 1.0, 2.0)
"""Seconds that fetching what was missed waits, all in all, for a CLI whose database is busy, before it goes on."""

_PROFILE_FIELDS = (
    "displayName", "fullName", "shortDescr", "description", "image", "contactLink", "preferences", "peerType", "badge",
    "contactDomain",
)  # fmt: skip

_ALLOWED = ("calls", "files", "voice")

Ask = Callable[["Command | str"], Record]


@dataclass(frozen=True, slots=True, kw_only=True)
class BotProfile:
    """How the bot is to show itself.

    ``name`` is for a profile that has to be made, ``display_name`` changes one that is there (empty: leave it).
    ``select`` names the profile to use where the CLI has several (empty: the active one). ``menu`` are
    ``ChatBotCommand`` objects.
    """

    name: str
    select: str = ""
    display_name: str = ""
    description: str = ""
    menu: list[dict[str, Any]] = field(default_factory=list)
    accept_files: bool = True

    @classmethod
    def from_bot(cls, bot: Bot, settings: Settings) -> BotProfile:
        """The profile of ``bot``: its name, its description, its commands, and what the settings say."""
        return cls(
            name=settings.simplex_display_name or settings.simplex_profile or bot.name,
            select=settings.simplex_profile,
            display_name=settings.simplex_display_name,
            description=bot.description.strip().partition("\n")[0][:DESCRIPTION_LIMIT],
            menu=make_menu(bot),
            accept_files=settings.simplex_accept_files,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressWish:
    """What address the bot is to have. Without ``make`` the one that is there is used as it is, if there is one.

    ``welcome`` is what newcomers are told first (empty: leave what is set).
    """

    make: bool = True
    auto_accept: bool = True
    is_business: bool = False
    welcome: str = ""

    @classmethod
    def from_settings(cls, settings: Settings) -> AddressWish:
        """The wish that the variables ``SIMPLEX_…`` speak of."""
        return cls(
            make=settings.simplex_address,
            auto_accept=settings.simplex_auto_accept,
            is_business=settings.simplex_business_address,
            welcome=settings.simplex_welcome,
        )


@dataclass(frozen=True, slots=True)
class Session:
    """As whom the bot is connected, and by which address people reach it (None: by none)."""

    user: User
    address: Address | None = None


def prepare(ask: Ask, profile: BotProfile, wish: AddressWish) -> Session:
    """The profile made, chosen and brought up to date, and the address likewise.

    Writes nothing where all is as it should be. Raises what ``ask`` raises, and :class:`ConfigurationError` for a
    name that SimpleX does not take.
    """
    user = _find_user(ask, profile)
    address = _bring_address(ask, user, wish)
    user = _bring_profile(ask, user, profile, address if wish.make else None)
    return Session(user, address)


def _find_user(ask: Ask, profile: BotProfile) -> User:
    if not profile.select:
        try:
            return _user_in(ask(commands.show_active_user()))
        except CommandFailed as error:
            if error.tag != "noActiveUser":
                raise
        return _make_user(ask, profile)
    users: list[User] = schemas.read(ask(commands.list_users()), "users") or []
    for user in users:
        if profile.select in (user.profile.display_name, user.name):
            return user if user.is_active else _user_in(ask(commands.set_active_user(user.user_id)))
    return _make_user(ask, profile)


def _make_user(ask: Ask, profile: BotProfile) -> User:
    made = {"displayName": profile.name, "fullName": "", "peerType": "bot", "preferences": _preferences({}, profile)}
    user = _user_in(_name_checked(ask, commands.create_active_user(made)))
    log.info("the SimpleX profile %r was made", user.name or profile.name)
    return user


def _user_in(record: Record) -> User:
    user: User | None = schemas.read(record, "user")
    if user is None:
        raise PayloadError(f"the SimpleX CLI's answer {record.type} names no user")
    return user


def _bring_address(ask: Ask, user: User, wish: AddressWish) -> Address | None:
    try:
        address: Address | None = schemas.read(ask(commands.show_my_address(user.user_id)), "contactLink")
    except CommandFailed as error:
        if error.tag != "userContactLinkNotFound":
            raise
        address = None
    if not wish.make:
        return address
    if address is None:
        address = schemas.read(ask(commands.create_my_address(user.user_id)), "connLinkContact")
        log.info("a SimpleX address was made")
    if address is None:
        raise PayloadError("the SimpleX CLI's answer to making an address holds none")
    if _has_wish(address.settings, wish):
        return address
    wanted = _address_settings(address.settings, wish)
    changed: Address | None = schemas.read(ask(commands.set_address_settings(user.user_id, wanted)), "contactLink")
    return changed or address


def _address_settings(current: Mapping[str, Any], wish: AddressWish) -> dict[str, Any]:
    """The settings to set: what is wished for, and what else there is already."""
    wanted = {key: value for key, value in current.items() if key != "autoAccept" and value is not None}
    wanted["businessAddress"] = wish.is_business
    if wish.auto_accept:
        wanted["autoAccept"] = current.get("autoAccept") or {"acceptIncognito": False}
    if wish.welcome:
        wanted["autoReply"] = text_content(wish.welcome)
    return wanted


def _has_wish(current: Mapping[str, Any], wish: AddressWish) -> bool:
    """Return whether the settings are as wished for, by the fields that we know; null counts as absent."""
    reply = current.get("autoReply")
    welcome = reply if isinstance(reply, Mapping) and reply.get("type") == "text" else {}
    return (
        bool(current.get("businessAddress")) == wish.is_business
        and (current.get("autoAccept") is not None) == wish.auto_accept
        and (not wish.welcome or welcome.get("text") == wish.welcome)
    )


def _bring_profile(ask: Ask, user: User, profile: BotProfile, address: Address | None) -> User:
    raw = user.profile.raw
    current = {key: raw[key] for key in _PROFILE_FIELDS if raw.get(key) is not None}
    wanted = {**current, "peerType": "bot", "preferences": _preferences(user.profile.preferences, profile)}
    wanted["displayName"] = profile.display_name or user.profile.display_name
    wanted.setdefault("fullName", "")
    if profile.description:
        wanted["shortDescr"] = profile.description
    if address is not None and address.link:
        wanted["contactLink"] = address.link
    if _is_same_profile(current, wanted):
        return user
    record = _name_checked(ask, commands.update_profile(user.user_id, wanted))
    return _user_in(record) if record.raw.get("user") is not None else user


def _is_same_profile(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether a profile says what we want, by the fields that we know."""
    if any(current.get(name) != wanted.get(name) for name in ("displayName", "peerType", "shortDescr", "contactLink")):
        return False
    given = current.get("preferences")
    given = given if isinstance(given, Mapping) else {}
    for name in _ALLOWED:
        preference = given.get(name)
        if not isinstance(preference, Mapping) or preference.get("allow") != wanted["preferences"][name]["allow"]:
            return False
    return is_same_menu(given.get("commands"), wanted["preferences"]["commands"])


def _preferences(current: Mapping[str, Any], profile: BotProfile) -> dict[str, Any]:
    allowed = {"allow": "yes" if profile.accept_files else "no"}
    kept = {key: value for key, value in current.items() if value is not None}
    return {**kept, "calls": {"allow": "no"}, "files": allowed, "voice": allowed, "commands": profile.menu}


def _name_checked(ask: Ask, command: Command) -> Record:
    try:
        return ask(command)
    except CommandFailed as error:
        inner = error.chat_error.get("errorType")
        if error.tag == "invalidDisplayName" and isinstance(inner, Mapping):
            raise ConfigurationError(
                f"SimpleX does not take this display name; set SIMPLEX_DISPLAY_NAME to {inner.get('validName')!r}"
            ) from error
        if error.tag == "userExists":
            raise ConfigurationError(
                "the SimpleX CLI has another profile or contact of this name; set SIMPLEX_DISPLAY_NAME to another one"
            ) from error
        raise


def newest_item(ask: Ask, user_id: int) -> int:
    """The id of the newest item in any chat; 0 where there is none. From here on :func:`missed` finds what came."""
    return max((_newest(chat) for chat in _list(ask, user_id, CHATS_A_PAGE)[0]), default=0)


def missed(ask: Ask, user_id: int, after: int, postponed: list[str]) -> Iterator[dict[str, Any]]:
    """The items with an id above ``after``, as ``{"chatInfo": …, "chatItem": …}``, oldest first in each chat.

    Items of every kind and direction, in all chats, talks with a group's moderators included. Of one chat
    :data:`MISSED_LIMIT` items at most, the newest. What is no chat or no item is left out, and so is a chat that does
    not exist or that the CLI does not know how to name. One that it cannot give now is added to ``postponed``: nothing
    of it was yielded, and it is to be asked for again.
    """
    patiently = patient(ask)
    for ref in _changed_chats(patiently, user_id, after, postponed):
        try:
            items = items_after(patiently, ref, after)
        except (CommandFailed, AnswerMissing) as error:
            _set_aside(f"what was missed in the chat {ref}", str(ref), error, postponed)
        else:
            yield from items


def patient(ask: Ask) -> Ask:
    """Asks again when the CLI's database was busy: a chat that comes late comes after what is written there now."""
    pauses = list(BUSY_PAUSES)

    def asked(command: Command | str) -> Record:
        while True:
            try:
                return ask(command)
            except CommandDelayed:
                if not pauses:
                    raise
                time.sleep(pauses.pop(0))

    return asked


def _set_aside(what: str, name: str, error: CommandFailed | AnswerMissing, postponed: list[str]) -> None:
    """Leave it out if it can never be had; otherwise it is postponed."""
    if isinstance(error, CommandNotFound) or (isinstance(error, CommandFailed) and error.tag == "commandError"):
        log.warning("%s cannot be fetched and is left out: %s", what, error)
    else:
        log.warning("%s cannot be fetched now and is asked for again later: %s", what, error)
        postponed.append(name)


def _changed_chats(ask: Ask, user_id: int, after: int, postponed: list[str]) -> list[ChatRef]:
    """The chats with items above ``after``. The list is in the order of change, so what follows many old is older."""
    count = CHATS_A_PAGE
    while True:
        chats, listed = _list(ask, user_id, count)
        if listed < count or all(_newest(chat) <= after for chat in chats[-CHATS_A_PAGE // 2 :]):
            break
        count *= 4
    found = [chat.chat.ref for chat in chats if _newest(chat) > after]
    scopes = [scope for chat in chats for scope in _given_scopes(ask, chat, postponed)]
    return [ref for ref in found if ref is not None] + scopes


def _list(ask: Ask, user_id: int, count: int) -> tuple[list[ChatSummary], int]:
    """The chats that changed last, without those that cannot be read, and how many there were with them."""
    raw = ask(commands.get_chats(user_id, count=count)).raw.get("chats")
    listed = raw if isinstance(raw, list) else []
    chats = []
    for item in listed:
        try:
            chats.append(schemas.read_chat(item))
        except PayloadError as error:
            log.debug("a chat of the SimpleX CLI's list was left out: %s", error)
    return chats, len(listed)


def _newest(chat: ChatSummary) -> int:
    return max((item.item_id for item in chat.items), default=0)


def _given_scopes(ask: Ask, chat: ChatSummary, postponed: list[str]) -> list[ChatRef]:
    """The talks with moderators, none where the CLI cannot say who has them."""
    try:
        return list(_support_scopes(ask, chat))
    except PayloadError as error:
        log.warning("who waits for the moderators of a group cannot be read: %s", error)
    except (CommandFailed, AnswerMissing) as error:
        _set_aside("who waits for the moderators of a group", f"the moderators of {chat.chat.ref}", error, postponed)
    return []


def _support_scopes(ask: Ask, chat: ChatSummary) -> Iterator[ChatRef]:
    """The talks of single members with the moderators that have something unread, the bot's own included."""
    group = chat.chat.group
    if chat.chat.type != "group" or group is None:
        return
    if group.membership is not None and _has_unread(group.membership.raw):
        yield ChatRef("group", group.group_id, "support")
    waiting = group.raw.get("membersRequireAttention")
    if not isinstance(waiting, int) or waiting <= 0:
        return
    for member in schemas.read(ask(commands.list_members(group.group_id)), "group") or ():
        if _has_unread(member.raw):
            yield ChatRef("group", group.group_id, "support", member.group_member_id)


def _has_unread(member: Mapping[str, Any]) -> bool:
    talk = member.get("supportChat")
    return isinstance(talk, Mapping) and isinstance(talk.get("unread"), int) and talk["unread"] > 0


def items_after(ask: Ask, ref: ChatRef, after: int, *, page: int = 0) -> list[dict[str, Any]]:
    """The items of one chat with an id above ``after``, as :func:`missed` gives them.

    Asked for in pages from the newest back, since an item of another chat is no place to begin from in this one.
    """
    found: dict[int, dict[str, Any]] = {}
    before: int | None = None
    page = page or ITEMS_A_PAGE
    while len(found) < MISSED_LIMIT:
        record = ask(commands.get_chat(ref, count=page, before=before))
        chat = record.raw.get("chat")
        info = chat.get("chatInfo") if isinstance(chat, Mapping) else None
        items = chat.get("chatItems") if isinstance(chat, Mapping) else None
        given = {_item_id(item): {"chatInfo": info, "chatItem": item} for item in items or ()}
        new = {number: item for number, item in given.items() if number > after and number not in found}
        found |= new
        if len(new) < page:
            break
        before = min(new)
    else:
        log.warning("more than %d messages were missed in one chat; the oldest are left out", MISSED_LIMIT)
    return [found[number] for number in sorted(found)]


def _item_id(item: object) -> int:
    meta = item.get("meta") if isinstance(item, Mapping) else None
    number = meta.get("itemId") if isinstance(meta, Mapping) else None
    return number if isinstance(number, int) else 0
