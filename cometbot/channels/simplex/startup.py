"""The start-up of every connection, before events are processed: the profile and the address."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cometbot.bot import Bot
from cometbot.channels.simplex.command_menu import is_same_menu, make_menu
from cometbot.channels.simplex.errors import CommandFailed
from cometbot.channels.simplex.models import Address, User
from cometbot.channels.simplex.protocol import Command, Record, SendCommand, commands
from cometbot.channels.simplex.protocol.contents import text_content
from cometbot.channels.simplex.protocol.objects import find, find_object
from cometbot.channels.simplex.schemas import read_field, require_field
from cometbot.errors import ConfigurationError
from cometbot.settings import Settings

log = logging.getLogger(__name__)

MAX_DESCRIPTION_LENGTH = 160
"""Maximum characters of the short description in a profile."""

_PROFILE_FIELDS = (
    "displayName", "fullName", "shortDescr", "description", "image", "contactLink", "preferences", "peerType", "badge",
    "contactDomain",
)  # fmt: skip

_SWITCHED_PREFERENCES = ("calls", "files", "voice")


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
    users: list[User] = read_field(send_command(commands.list_users()), "users") or []
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
    log.info("created the SimpleX profile %r", user.name or profile.name)
    return user


def _read_user(record: Record) -> User:
    user: User = require_field(record, "user")
    return user


def _sync_address(send_command: SendCommand, user: User, config: AddressConfig) -> Address | None:
    try:
        address: Address | None = read_field(send_command(commands.show_my_address(user.user_id)), "contactLink")
    except CommandFailed as error:
        if error.tag != "userContactLinkNotFound":
            raise
        address = None
    if not config.create:
        return address
    if address is None:
        address = require_field(send_command(commands.create_my_address(user.user_id)), "connLinkContact")
        log.info("created a SimpleX address")
    if _matches_config(address.settings, config):
        return address
    wanted = _make_address_settings(address.settings, config)
    answer = send_command(commands.set_address_settings(user.user_id, wanted))
    changed: Address | None = read_field(answer, "contactLink")
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
    reply = find_object(current, "autoReply")
    return (
        bool(current.get("businessAddress")) == config.is_business
        and (current.get("autoAccept") is not None) == config.auto_accept
        and (not config.welcome or (reply.get("type"), reply.get("text")) == ("text", config.welcome))
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
    given, new = current.get("preferences"), wanted["preferences"]
    if any(find(given, f"{name}.allow") != new[name]["allow"] for name in _SWITCHED_PREFERENCES):
        return False
    return is_same_menu(find(given, "commands"), new["commands"])


def _make_preferences(current: Mapping[str, Any], profile: BotProfile) -> dict[str, Any]:
    allowed = {"allow": "yes" if profile.accept_files else "no"}
    kept = {key: value for key, value in current.items() if value is not None}
    return {**kept, "calls": {"allow": "no"}, "files": allowed, "voice": allowed, "commands": profile.menu}


def _send_with_name_errors(send_command: SendCommand, command: Command) -> Record:
    try:
        return send_command(command)
    except CommandFailed as error:
        if error.tag == "invalidDisplayName":
            valid_name = find(error.chat_error, "errorType.validName")
            raise ConfigurationError(
                f"SimpleX rejects this display name; set SIMPLEX_DISPLAY_NAME to {valid_name!r}"
            ) from error
        if error.tag == "userExists":
            raise ConfigurationError(
                "the SimpleX CLI has another profile or contact of this name; set SIMPLEX_DISPLAY_NAME to another one"
            ) from error
        raise
