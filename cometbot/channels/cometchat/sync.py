"""Compares a bot's registration on CometChat with the code, and updates it to match."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cometbot.bot import Bot
from cometbot.channels.cometchat.channel import get_cometchat_uid
from cometbot.channels.cometchat.client import CometChatClient
from cometbot.channels.cometchat.group_setting import group_setting_needed
from cometbot.channels.cometchat.provision import (
    MAX_UID_LENGTH,
    BotPlan,
    RegisteredBot,
    callback_url,
    check_credentials,
    check_url,
    create_bot,
    find_bot,
    generate_credentials,
    has_user,
    make_basic_auth_changes,
    name_from_uid,
    update_bot,
)
from cometbot.errors import ConfigurationError
from cometbot.settings import Settings


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
            f"where CometChat can call {bot.name} is not known: say it, for example --url https://bots.example.com, or "
            "set COMETBOT_PUBLIC_URL"
        )
    wanted = BotPlan(
        uid=uid,
        url=check_url(callback_url(base, bot.name), client.api_url) if base else registered.url if registered else "",
        name=name_from_uid(bot.name),
        group_setting=group_setting or group_setting_needed(bot),
        credentials=credentials,
    )
    is_user_missing = registered is None and not has_user(client, uid)
    return SyncPlan(wanted=wanted, registered=registered, is_user_missing=is_user_missing, has_new_credentials=made)
