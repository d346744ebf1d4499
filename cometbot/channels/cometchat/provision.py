"""Finds, registers and changes bots on CometChat, and compares them with the code. No output, no prompts."""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from cometbot.bot import Bot
from cometbot.channels.cometchat.client import CometChatClient
from cometbot.channels.cometchat.group_setting import MENTIONED, NOTHING, group_setting_needed
from cometbot.channels.cometchat.settings import get_cometchat_uid
from cometbot.errors import ConfigurationError, NotFound, Rejected
from cometbot.settings import Credentials, Secret, Settings

DEFAULT_USERNAME = "cometchat"
MAX_URL_LENGTH = 255
MAX_UID_LENGTH = 50
MAX_CREDENTIAL_LENGTH = 50
_NO_SECRET = Secret()


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredBot:
    """A bot as registered on CometChat. Its password appears in no repr and no JSON."""

    uid: str
    url: str = ""
    group_setting: str = NOTHING
    enabled: bool = False
    uses_basic_auth: bool = False
    username: str = ""
    password: Secret = field(default=_NO_SECRET)
    created_at: int = 0
    is_ai: bool = False

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> RegisteredBot:
        """Return the bot in CometChat's response, which omits properties that are empty or false.

        See docs/protocols/cometchat.md, "Bot object".
        """
        created_at = record.get("createdAt")
        return cls(
            uid=_get_text(record, "uid"),
            url=_get_text(record, "webhookURL"),
            group_setting=_get_text(record, "groupChatSetting") or NOTHING,
            enabled=record.get("enabled") is True,
            uses_basic_auth=record.get("useBasicAuth") is True,
            username=_get_text(record, "username"),
            password=Secret(_get_text(record, "password")),
            created_at=created_at if isinstance(created_at, int) else 0,
            is_ai=record.get("isAIBot") is True,
        )

    @property
    def masked_url(self) -> str:
        """The URL with a password in it masked."""
        return re.sub(r"//([^/@:]*):[^/@]*@", r"//\1:***@", self.url)

    def to_json(self) -> dict[str, Any]:
        """Return the bot with CometChat's names, and with its password masked."""
        return {
            "uid": self.uid,
            "webhookURL": self.masked_url,
            "groupChatSetting": self.group_setting,
            "enabled": self.enabled,
            "useBasicAuth": self.uses_basic_auth,
            "username": self.username,
            "password": "***" if self.password else "",
            "isAIBot": self.is_ai,
            "createdAt": self.created_at,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class BotPlan:
    """The wanted registration of a bot.

    With ``credentials`` None, CometChat's callbacks have none. ``name`` and ``avatar`` apply only to a user that must
    be created.
    """

    uid: str
    url: str
    name: str = ""
    avatar: str = ""
    group_setting: str = MENTIONED
    credentials: Credentials | None = None
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between the registration and the code, as texts for people; ``current`` may be empty.

    The texts contain no secrets.
    """

    field: str
    current: str
    wanted: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncPlan:
    """The registration of a bot on CometChat, the wanted one, and the differences.

    ``has_new_credentials`` is true if the credentials were generated for this plan and have not been shown yet.
    """

    wanted: BotPlan
    registered: RegisteredBot | None
    is_user_missing: bool = False
    has_new_credentials: bool = False

    @property
    def differences(self) -> tuple[Difference, ...]:
        """The changes that :meth:`apply` would make; empty if CometChat matches the code."""
        wanted, now = self.wanted, self.registered or RegisteredBot(uid="")
        found = []
        if self.is_user_missing:
            found.append(Difference("user", "does not exist", f"{wanted.uid}, named {wanted.name}"))
        if self.registered is None:
            found.append(Difference("bot", "is not registered", "registered"))
        pairs = [
            ("URL", now.masked_url, wanted.url),
            ("messages of groups", now.group_setting if self.registered else "", wanted.group_setting),
            ("enabled", ("yes" if now.enabled else "no") if self.registered else "", "yes" if wanted.enabled else "no"),
        ]
        found += [Difference(what, before, after) for what, before, after in pairs if before != after]
        return (*found, *self._basic_auth_differences(now))

    def _basic_auth_differences(self, now: RegisteredBot) -> Iterator[Difference]:
        credentials = self.wanted.credentials
        if credentials is None:
            return
        username = now.username if now.uses_basic_auth else ""
        if username != credentials.username:
            yield Difference("user name", username, credentials.username)
        if not now.uses_basic_auth or now.password != credentials.password:
            before = "***" if now.uses_basic_auth and now.password else ""
            yield Difference("password", before, "a new one" if self.has_new_credentials else "the one of the settings")

    def apply(self, client: CometChatClient) -> RegisteredBot:
        """Create or update the bot, and return its registration. Raises the client's errors."""
        wanted = self.wanted
        if self.registered is None:
            return create_bot(client, wanted)[0]
        changes = {"webhookURL": wanted.url, "groupChatSetting": wanted.group_setting, "enabled": wanted.enabled}
        login = make_basic_auth_changes(wanted.credentials) if wanted.credentials else {}
        return update_bot(client, wanted.uid, {**changes, **login})


def find_bot(client: CometChatClient, uid: str) -> RegisteredBot | None:
    """Return the bot as registered on CometChat, or None if ``uid`` is not a bot there."""
    try:
        return RegisteredBot.from_record(client.get_bot(uid))
    except NotFound as error:
        _reraise_unless_code(error, "ERR_BOT_NOT_FOUND", "ERR_UID_NOT_FOUND")
        return None


def has_user(client: CometChatClient, uid: str) -> bool:
    """Return whether the user exists and is not deactivated."""
    try:
        client.get_user(uid)
    except NotFound as error:
        _reraise_unless_code(error, "ERR_UID_NOT_FOUND")
        return False
    return True


def list_bots(client: CometChatClient, *, search: str = "", ai: bool = False) -> Iterator[RegisteredBot]:
    """Iterate over the bots whose uid begins with ``search``, by uid; with ``ai`` over those of the AI product."""
    return (RegisteredBot.from_record(record) for record in client.bots(search=search, ai=ai))


def create_bot(client: CometChatClient, plan: BotPlan) -> tuple[RegisteredBot, bool]:
    """Create a bot, and before it its user if there is none.

    Returns the bot, and whether its user was created. Raises the client's errors.
    """
    is_user_new = ensure_user(client, plan.uid, plan.name, plan.avatar)
    credentials = plan.credentials or Credentials("", _NO_SECRET)
    record = client.create_bot(
        plan.uid,
        plan.url,
        username=credentials.username,
        password=credentials.password.reveal(),
        group_setting=plan.group_setting,
        enabled=plan.enabled,
    )
    return RegisteredBot.from_record(record), is_user_new


def ensure_user(client: CometChatClient, uid: str, name: str = "", avatar: str = "") -> bool:
    """Create the user if it does not exist; return whether it was created."""
    if has_user(client, uid):
        return False
    client.create_user(uid, name or name_from_uid(uid), {"avatar": avatar} if avatar else None)
    return True


def update_bot(client: CometChatClient, uid: str, changes: Mapping[str, Any]) -> RegisteredBot:
    """Change a bot and return it; ``changes`` has CometChat's names, and other properties stay unchanged.

    ``enabled`` and ``groupChatSetting`` are always sent, so that CometChat does not reset them to its defaults.
    """
    now = RegisteredBot.from_record(client.get_bot(uid))
    body = {"enabled": now.enabled, "groupChatSetting": now.group_setting, **changes}
    return RegisteredBot.from_record(client.update_bot(uid, body))


def plan_sync(
    client: CometChatClient, bot: Bot, settings: Settings, *, url: str = "", group_setting: str = ""
) -> SyncPlan:
    """Return the plan that makes the registration on CometChat match ``bot``. Reads from CometChat, changes nothing.

    ``url`` is the public URL of the server (empty: ``COMETBOT_PUBLIC_URL``, else the registered URL).
    ``group_setting`` overrides the one that the handlers need. The credentials come from the settings or the code; if
    there are none, new ones are generated, unless anonymous callbacks are allowed. Raises :class:`ConfigurationError`
    for values that CometChat would not accept, or if the URL is unknown, and the client's errors.
    """
    uid = get_cometchat_uid(bot).lower()
    if len(uid) > MAX_UID_LENGTH:
        raise ConfigurationError(f"the UID {uid} has {len(uid)} characters; CometChat takes {MAX_UID_LENGTH} for a bot")
    given = settings.callback_credentials(bot.name, bot.callback_username, bot.callback_password)
    made = given is None and not settings.allow_anonymous_callbacks
    credentials = check_credentials(given) if given else generate_credentials() if made else None
    registered = find_bot(client, uid)
    base = url or settings.public_url
    if not base and not (registered and registered.url):
        raise ConfigurationError(
            f"the public URL of {bot.name} is not configured. Pass it, for example --url https://bots.example.com, or "
            "set COMETBOT_PUBLIC_URL."
        )
    own_url = callback_url(base, bot.name, settings.callback_path) if base else ""
    wanted = BotPlan(
        uid=uid,
        url=check_url(own_url, client.api_url) if base else registered.url if registered else "",
        name=name_from_uid(bot.name),
        group_setting=group_setting or group_setting_needed(bot),
        credentials=credentials,
    )
    is_user_missing = registered is None and not has_user(client, uid)
    return SyncPlan(wanted=wanted, registered=registered, is_user_missing=is_user_missing, has_new_credentials=made)


def make_basic_auth_changes(credentials: Credentials | None) -> dict[str, Any]:
    """Return the part of an update's body that sets the credentials of CometChat's callbacks (None: no credentials)."""
    if credentials is None:
        return {"useBasicAuth": False}
    return {"useBasicAuth": True, "username": credentials.username, "password": credentials.password.reveal()}


def generate_credentials(username: str = "") -> Credentials:
    """Return new credentials with a random password within CometChat's limit of 50 characters."""
    return Credentials(username or DEFAULT_USERNAME, Secret(secrets.token_urlsafe(24)))


def check_credentials(credentials: Credentials) -> Credentials:
    """Return ``credentials``. Raises :class:`ConfigurationError` if CometChat cannot use them.

    See docs/protocols/cometchat.md, "Bots".
    """
    for what, text in (("user name", credentials.username), ("password", credentials.password.reveal())):
        if not 0 < len(text) <= MAX_CREDENTIAL_LENGTH:
            raise ConfigurationError(
                f"the {what} of the callback has {len(text)} characters, and CometChat takes 1 to "
                f"{MAX_CREDENTIAL_LENGTH}; choose another one"
            )
    if ":" in credentials.username:
        raise ConfigurationError("the user name of the callback holds a colon, which Basic Auth cannot carry")
    return credentials


def callback_url(base: str, name: str, root: str = "/cometchat") -> str:
    """Return the callback URL of the bot ``name`` on the server at ``base``, whose bots are below ``root``.

    For ``https://host`` it is ``https://host/cometchat/NAME``. A ``base`` that is already the callback URL is returned
    unchanged.
    """
    base, path = base.rstrip("/"), f"{root}/{quote(name, safe='')}"
    return base if base.endswith(path) else base.removesuffix(root).removesuffix("/cometchat") + path


def check_url(url: str, api_url: str) -> str:
    """Return ``url``. Raises :class:`ConfigurationError` if the CometChat at ``api_url`` cannot call it.

    If ``api_url`` is on this machine or a private network, ``url`` may be so too, and needs no TLS.
    """
    parts = _split_url(url)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host or parts.username is not None or " " in url:
        raise ConfigurationError("the URL of the bot must be one such as https://bots.example.com, without a password")
    if len(url) > MAX_URL_LENGTH:
        raise ConfigurationError(f"the URL of the bot has {len(url)} characters; CometChat takes {MAX_URL_LENGTH}")
    if _is_private(_split_url(api_url).hostname or ""):
        return url
    if parts.scheme != "https":
        raise ConfigurationError(
            f"CometChat calls bots over HTTPS only; give a URL that begins with https://, not {url}"
        )
    if _is_private(host):
        raise ConfigurationError(
            f"CometChat cannot reach {host} from outside; give the URL that the world reaches it at"
        )
    return url


def name_from_uid(uid: str) -> str:
    """Return a display name for a uid: ``Help desk`` for ``help-desk``."""
    return uid.replace("-", " ").replace("_", " ").strip().capitalize() or uid


def _reraise_unless_code(error: Rejected, *codes: str) -> None:
    """Raise ``error`` unless its code is one of ``codes``, because a wrong base URL is answered with 404 too."""
    if error.code not in codes:
        raise error


def _split_url(url: str) -> Any:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return urlsplit("")
    return parts


def _is_private(host: str) -> bool:
    if host == "localhost" or host.endswith((".localhost", ".local")):
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False


def _get_text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    return value if isinstance(value, str) else ""
