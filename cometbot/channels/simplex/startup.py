"""The start-up of every connection, before events are processed: the profile, the address, and missed items."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cometbot.bot import Bot
from cometbot.channels.simplex import schemas
from cometbot.channels.simplex.command_menu import is_same_menu, make_menu
from cometbot.channels.simplex.errors import AnswerMissing, CommandDelayed, CommandFailed, CommandNotFound
from cometbot.channels.simplex.models import Address, ChatSummary, User
from cometbot.channels.simplex.protocol import ChatRef, Command, Record, commands
from cometbot.channels.simplex.protocol.contents import text_content
from cometbot.errors import ConfigurationError, PayloadError
from cometbot.settings import Settings

log = logging.getLogger(__name__)

MAX_DESCRIPTION_LENGTH = 160
"""Maximum characters of the short description in a profile."""

CHAT_PAGE_SIZE = 50
ITEM_PAGE_SIZE = 100
MAX_MISSED_ITEMS = 10_000
"""Maximum items that are fetched of one chat."""

BUSY_RETRY_INTERVALS = (0.5, 1.0, 2.0)
"""Seconds to wait between attempts while the CLI's database is busy; fetching missed items uses each only once."""

_PROFILE_FIELDS = (
    "displayName", "fullName", "shortDescr", "description", "image", "contactLink", "preferences", "peerType", "badge",
    "contactDomain",
)  # fmt: skip

_SWITCHED_PREFERENCES = ("calls", "files", "voice")

SendCommand = Callable[["Command | str"], Record]


@dataclass(frozen=True, slots=True, kw_only=True)
class BotProfile:
    """The wanted profile of the bot.

    ``name`` is for a profile that has to be created, ``display_name`` changes an existing one (empty: leave it).
    ``existing_name`` selects the profile if the CLI has several (empty: the active one). ``menu`` is a list of
    ``ChatBotCommand`` objects.
    """

    name: str
    existing_name: str = ""
    display_name: str = ""
    description: str = ""
    menu: list[dict[str, Any]] = field(default_factory=list)
    accept_files: bool = True

    @classmethod
    def from_bot(cls, bot: Bot, settings: Settings) -> BotProfile:
        """Return the profile of ``bot``, from its name, description, commands and the settings."""
        return cls(
            name=settings.simplex_display_name or settings.simplex_profile or bot.name,
            existing_name=settings.simplex_profile,
            display_name=settings.simplex_display_name,
            description=bot.description.strip().partition("\n")[0][:MAX_DESCRIPTION_LENGTH],
            menu=make_menu(bot),
            accept_files=settings.simplex_accept_files,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressConfig:
    """The wanted address of the bot.

    Without ``create`` an existing address is used unchanged. ``welcome`` is the first message to new contacts (empty:
    leave the existing one).
    """

    create: bool = True
    auto_accept: bool = True
    is_business: bool = False
    welcome: str = ""

    @classmethod
    def from_settings(cls, settings: Settings) -> AddressConfig:
        """Return the configuration from the ``SIMPLEX_…`` settings."""
        return cls(
            create=settings.simplex_address,
            auto_accept=settings.simplex_auto_accept,
            is_business=settings.simplex_business_address,
            welcome=settings.simplex_welcome,
        )


@dataclass(frozen=True, slots=True)
class Session:
    """The profile that the bot is connected as, and its address (None if it has none)."""

    user: User
    address: Address | None = None


def prepare(send_command: SendCommand, profile: BotProfile, config: AddressConfig) -> Session:
    """Create or select the profile and the address, bring them up to date, and return both.

    Writes nothing if all is up to date. Raises the errors of ``send_command``, and :class:`ConfigurationError` for a
    name that SimpleX does not accept.
    """
    user = _get_or_create_user(send_command, profile)
    address = _sync_address(send_command, user, config)
    user = _sync_profile(send_command, user, profile, address if config.create else None)
    return Session(user, address)


def _get_or_create_user(send_command: SendCommand, profile: BotProfile) -> User:
    if not profile.existing_name:
        try:
            return _read_user(send_command(commands.show_active_user()))
        except CommandFailed as error:
            if error.tag != "noActiveUser":
                raise
        return _create_user(send_command, profile)
    users: list[User] = schemas.read_field(send_command(commands.list_users()), "users") or []
    for user in users:
        if profile.existing_name in (user.profile.display_name, user.name):
            return user if user.is_active else _read_user(send_command(commands.set_active_user(user.user_id)))
    return _create_user(send_command, profile)


def _create_user(send_command: SendCommand, profile: BotProfile) -> User:
    profile_json = {
        "displayName": profile.name,
        "fullName": "",
        "peerType": "bot",
        "preferences": _make_preferences({}, profile),
    }
    user = _read_user(_send_with_name_errors(send_command, commands.create_active_user(profile_json)))
    log.info("the SimpleX profile %r was made", user.name or profile.name)
    return user


def _read_user(record: Record) -> User:
    user: User | None = schemas.read_field(record, "user")
    if user is None:
        raise PayloadError(f"the SimpleX CLI's answer {record.type} names no user")
    return user


def _sync_address(send_command: SendCommand, user: User, config: AddressConfig) -> Address | None:
    try:
        address: Address | None = schemas.read_field(
            send_command(commands.show_my_address(user.user_id)), "contactLink"
        )
    except CommandFailed as error:
        if error.tag != "userContactLinkNotFound":
            raise
        address = None
    if not config.create:
        return address
    if address is None:
        address = schemas.read_field(send_command(commands.create_my_address(user.user_id)), "connLinkContact")
        log.info("a SimpleX address was made")
    if address is None:
        raise PayloadError("the SimpleX CLI's answer to making an address holds none")
    if _matches_config(address.settings, config):
        return address
    wanted = _make_address_settings(address.settings, config)
    changed: Address | None = schemas.read_field(
        send_command(commands.set_address_settings(user.user_id, wanted)), "contactLink"
    )
    return changed or address


def _make_address_settings(current: Mapping[str, Any], config: AddressConfig) -> dict[str, Any]:
    """Return the settings to write: the wanted ones, and the other existing ones."""
    wanted = {key: value for key, value in current.items() if key != "autoAccept" and value is not None}
    wanted["businessAddress"] = config.is_business
    if config.auto_accept:
        wanted["autoAccept"] = current.get("autoAccept") or {"acceptIncognito": False}
    if config.welcome:
        wanted["autoReply"] = text_content(config.welcome)
    return wanted


def _matches_config(current: Mapping[str, Any], config: AddressConfig) -> bool:
    """Return True if the known fields of the settings are as wanted; null counts as absent."""
    reply = current.get("autoReply")
    welcome = reply if isinstance(reply, Mapping) and reply.get("type") == "text" else {}
    return (
        bool(current.get("businessAddress")) == config.is_business
        and (current.get("autoAccept") is not None) == config.auto_accept
        and (not config.welcome or welcome.get("text") == config.welcome)
    )


def _sync_profile(send_command: SendCommand, user: User, profile: BotProfile, address: Address | None) -> User:
    raw = user.profile.raw
    current = {key: raw[key] for key in _PROFILE_FIELDS if raw.get(key) is not None}
    wanted = {**current, "peerType": "bot", "preferences": _make_preferences(user.profile.preferences, profile)}
    wanted["displayName"] = profile.display_name or user.profile.display_name
    wanted.setdefault("fullName", "")
    if profile.description:
        wanted["shortDescr"] = profile.description
    if address is not None and address.link:
        wanted["contactLink"] = address.link
    if _is_same_profile(current, wanted):
        return user
    record = _send_with_name_errors(send_command, commands.update_profile(user.user_id, wanted))
    return _read_user(record) if record.raw.get("user") is not None else user


def _is_same_profile(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return True if the known fields of a profile are as wanted."""
    if any(current.get(name) != wanted.get(name) for name in ("displayName", "peerType", "shortDescr", "contactLink")):
        return False
    given = current.get("preferences")
    given = given if isinstance(given, Mapping) else {}
    for name in _SWITCHED_PREFERENCES:
        preference = given.get(name)
        if not isinstance(preference, Mapping) or preference.get("allow") != wanted["preferences"][name]["allow"]:
            return False
    return is_same_menu(given.get("commands"), wanted["preferences"]["commands"])


def _make_preferences(current: Mapping[str, Any], profile: BotProfile) -> dict[str, Any]:
    allowed = {"allow": "yes" if profile.accept_files else "no"}
    kept = {key: value for key, value in current.items() if value is not None}
    return {**kept, "calls": {"allow": "no"}, "files": allowed, "voice": allowed, "commands": profile.menu}


def _send_with_name_errors(send_command: SendCommand, command: Command) -> Record:
    try:
        return send_command(command)
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


def get_newest_item_id(send_command: SendCommand, user_id: int) -> int:
    """Return the id of the newest item in any chat, or 0 if there is none.

    :func:`fetch_missed_items` finds newer items later.
    """
    return max((_get_newest_id(chat) for chat in _list_chats(send_command, user_id, CHAT_PAGE_SIZE)[0]), default=0)


def fetch_missed_items(
    send_command: SendCommand, user_id: int, after: int, postponed: list[str]
) -> Iterator[dict[str, Any]]:
    """Yield the items with an id above ``after``, as ``{"chatInfo": …, "chatItem": …}``, oldest first in each chat.

    These are items of every kind and direction in all chats, chats with a group's moderators included. Of each chat the
    newest :data:`MAX_MISSED_ITEMS` at most are yielded. Invalid chats and items are left out, and so is a chat that
    does not exist or whose command the CLI does not know. A chat that the CLI cannot return now is added to
    ``postponed``: none of its items were yielded, and it must be requested again.
    """
    retrying_send = retry_while_busy(send_command)
    for ref in _find_changed_chats(retrying_send, user_id, after, postponed):
        try:
            items = fetch_items_after(retrying_send, ref, after)
        except (CommandFailed, AnswerMissing) as error:
            _skip_or_postpone(f"what was missed in the chat {ref}", str(ref), error, postponed)
        else:
            yield from items


def retry_while_busy(send_command: SendCommand) -> SendCommand:
    """Return a ``send_command`` that retries while the CLI's database is busy.

    A chat that is fetched later instead would be stored after newer messages.
    """
    pauses = list(BUSY_RETRY_INTERVALS)

    def send_retrying(command: Command | str) -> Record:
        while True:
            try:
                return send_command(command)
            except CommandDelayed:
                if not pauses:
                    raise
                time.sleep(pauses.pop(0))

    return send_retrying


def _skip_or_postpone(what: str, name: str, error: CommandFailed | AnswerMissing, postponed: list[str]) -> None:
    """Leave a chat out if it can never be fetched; otherwise add it to ``postponed``."""
    if isinstance(error, CommandNotFound) or (isinstance(error, CommandFailed) and error.tag == "commandError"):
        log.warning("%s cannot be fetched and is left out: %s", what, error)
    else:
        log.warning("%s cannot be fetched now and is asked for again later: %s", what, error)
        postponed.append(name)


def _find_changed_chats(send_command: SendCommand, user_id: int, after: int, postponed: list[str]) -> list[ChatRef]:
    """Return the chats with items above ``after``. The list is sorted by change, so a run of old chats ends it."""
    count = CHAT_PAGE_SIZE
    while True:
        chats, listed = _list_chats(send_command, user_id, count)
        if listed < count or all(_get_newest_id(chat) <= after for chat in chats[-CHAT_PAGE_SIZE // 2 :]):
            break
        count *= 4
    found = [chat.chat.ref for chat in chats if _get_newest_id(chat) > after]
    scopes = [scope for chat in chats for scope in _find_support_scopes(send_command, chat, postponed)]
    return [ref for ref in found if ref is not None] + scopes


def _list_chats(send_command: SendCommand, user_id: int, count: int) -> tuple[list[ChatSummary], int]:
    """Return the chats that changed last, without unreadable ones, and their number including those."""
    raw = send_command(commands.get_chats(user_id, count=count)).raw.get("chats")
    listed = raw if isinstance(raw, list) else []
    chats = []
    for item in listed:
        try:
            chats.append(schemas.read_chat(item))
        except PayloadError as error:
            log.debug("a chat of the SimpleX CLI's list was left out: %s", error)
    return chats, len(listed)


def _get_newest_id(chat: ChatSummary) -> int:
    return max((item.item_id for item in chat.items), default=0)


def _find_support_scopes(send_command: SendCommand, chat: ChatSummary, postponed: list[str]) -> list[ChatRef]:
    """Return the chats with moderators; none if the CLI cannot list their members."""
    try:
        return list(_iter_support_scopes(send_command, chat))
    except PayloadError as error:
        log.warning("who waits for the moderators of a group cannot be read: %s", error)
    except (CommandFailed, AnswerMissing) as error:
        _skip_or_postpone(
            "who waits for the moderators of a group", f"the moderators of {chat.chat.ref}", error, postponed
        )
    return []


def _iter_support_scopes(send_command: SendCommand, chat: ChatSummary) -> Iterator[ChatRef]:
    """Yield the chats of single members with the moderators that have unread items, the bot's own included."""
    group = chat.chat.group
    if chat.chat.type != "group" or group is None:
        return
    if group.membership is not None and _has_unread(group.membership.raw):
        yield ChatRef("group", group.group_id, "support")
    waiting = group.raw.get("membersRequireAttention")
    if not isinstance(waiting, int) or waiting <= 0:
        return
    for member in schemas.read_field(send_command(commands.list_members(group.group_id)), "group") or ():
        if _has_unread(member.raw):
            yield ChatRef("group", group.group_id, "support", member.group_member_id)


def _has_unread(member: Mapping[str, Any]) -> bool:
    support_chat = member.get("supportChat")
    return (
        isinstance(support_chat, Mapping) and isinstance(support_chat.get("unread"), int) and support_chat["unread"] > 0
    )


def fetch_items_after(send_command: SendCommand, ref: ChatRef, after: int, *, page: int = 0) -> list[dict[str, Any]]:
    """Return the items of one chat with an id above ``after``, in the form of :func:`fetch_missed_items`.

    They are requested in pages from the newest back, since an item of another chat cannot be a starting point in this
    one.
    """
    found: dict[int, dict[str, Any]] = {}
    before: int | None = None
    page = page or ITEM_PAGE_SIZE
    while len(found) < MAX_MISSED_ITEMS:
        record = send_command(commands.get_chat(ref, count=page, before=before))
        chat = record.raw.get("chat")
        info = chat.get("chatInfo") if isinstance(chat, Mapping) else None
        items = chat.get("chatItems") if isinstance(chat, Mapping) else None
        given = {_read_item_id(item): {"chatInfo": info, "chatItem": item} for item in items or ()}
        new = {number: item for number, item in given.items() if number > after and number not in found}
        found |= new
        if len(new) < page:
            break
        before = min(new)
    else:
        log.warning("more than %d messages were missed in one chat; the oldest are left out", MAX_MISSED_ITEMS)
    return [found[number] for number in sorted(found)]


def _read_item_id(item: object) -> int:
    meta = item.get("meta") if isinstance(item, Mapping) else None
    number = meta.get("itemId") if isinstance(meta, Mapping) else None
    return number if isinstance(number, int) else 0
