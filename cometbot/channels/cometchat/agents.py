"""Finds, registers and changes agents on CometChat, which CometChat calls over AG-UI. No output, no prompts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from cometbot.bot import Bot
from cometbot.channels.cometchat.client import CometChatClient
from cometbot.channels.cometchat.operations import MAX_AGENT_NAME_LENGTH
from cometbot.channels.cometchat.provision import Difference, check_url, name_from_uid
from cometbot.channels.cometchat.settings import get_cometchat_uid
from cometbot.errors import ConfigurationError, NotFound
from cometbot.http.auth import BearerTokens
from cometbot.settings import Secret

PROVIDER = "ag-ui"
"""The provider of new agents. CometChat's reference does not list the names of providers other than Mastra."""

_URL_KEYS = ("url", "deploymentUrl", "agentUrl", "baseUrl")
"""Where an agent's configuration may have its URL; each provider names it differently."""
_TOKEN_HEADERS = ("authorization", "x-api-key")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredAgent:
    """An agent as registered on CometChat. Its headers, which hold the token, appear in no repr and no JSON.

    ``settings`` is its provider's configuration, with the URL and the headers.
    """

    uid: str
    name: str = ""
    provider: str = ""
    enabled: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> RegisteredAgent:
        """Return the agent in CometChat's response, in which any property may be missing."""
        settings = record.get("integrationMeta")
        return cls(
            uid=_get_text(record, "uid"),
            name=_get_text(record, "name"),
            provider=_get_text(record, "integrateWith"),
            enabled=record.get("isActive") is True,
            settings=settings if isinstance(settings, Mapping) else {},
        )

    @property
    def speaks_agui(self) -> bool:
        """True if CometChat calls the agent over AG-UI."""
        return re.sub(r"[^a-z]", "", self.provider.lower()) == "agui"

    @property
    def url_key(self) -> str:
        """The name of the URL in the agent's configuration."""
        return next((key for key in _URL_KEYS if self.settings.get(key)), _URL_KEYS[0])

    @property
    def url(self) -> str:
        """The URL that CometChat calls."""
        return _get_text(self.settings, self.url_key)

    @property
    def masked_url(self) -> str:
        """The URL with a password and the query in it masked."""
        return re.sub(r"\?.*", "?***", re.sub(r"//[^/@]*@", "//***@", self.url))

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that CometChat sends."""
        headers = self.settings.get("headers")
        found = headers.items() if isinstance(headers, Mapping) else ()
        return {name: text for name, text in found if isinstance(text, str)}

    def sends(self, token: Secret) -> bool:
        """Return True if CometChat sends ``token`` in one of the headers that cometbot reads."""
        sent = {name.lower(): text for name, text in self.headers.items()}
        return BearerTokens([token.reveal()]).matches(sent.get("authorization", ""), sent.get("x-api-key", ""))

    def to_json(self) -> dict[str, Any]:
        """Return the agent with CometChat's names, and with the values of its headers masked."""
        return {
            "uid": self.uid,
            "name": self.name,
            "integrateWith": self.provider,
            "url": self.masked_url,
            "headers": dict.fromkeys(self.headers, "***"),
            "isActive": self.enabled,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSyncPlan:
    """The wanted registration of a bot as an agent, and the registered one, or None if it must be created.

    ``name`` and ``icon`` apply only to an agent that must be created.
    """

    bot: str
    url: str
    token: Secret
    name: str = ""
    icon: str = ""
    registered: RegisteredAgent | None = None

    @property
    def differences(self) -> tuple[Difference, ...]:
        """The changes that :meth:`apply` would make, without secrets; empty if CometChat matches the settings."""
        return tuple(self._find_differences())

    def _find_differences(self) -> Iterator[Difference]:
        now = self.registered
        if now is None:
            yield Difference("agent", "is not registered", f"registered as {self.name}")
            yield Difference("picture", "", self.icon)
        else:
            if not now.speaks_agui:
                yield Difference("provider", now.provider, PROVIDER)
            if not now.enabled:
                yield Difference("enabled", "no", "yes")
        if now is None or now.url != self.url:
            yield Difference("URL", now.masked_url if now else "", self.url)
        if now is None or not now.sends(self.token):
            has_token = now is not None and any(name.lower() in _TOKEN_HEADERS for name in now.headers)
            yield Difference("token", "***" if has_token else "", "the first of AGUI_TOKEN")

    def apply(self, client: CometChatClient) -> str:
        """Create or update the agent, and return its uid. Raises the client's errors."""
        now = self.registered
        if now is not None:
            client.update_agent(now.uid, self._to_body(now))
            return now.uid
        created = client.create_agent({"name": self.name, "icon": self.icon, **self._to_body(RegisteredAgent(uid=""))})
        return _get_text(created, "uid")

    def _to_body(self, now: RegisteredAgent) -> dict[str, Any]:
        """Return the body that registers the bot; other headers and settings of the agent stay unchanged."""
        others = {name: text for name, text in now.headers.items() if name.lower() not in _TOKEN_HEADERS}
        headers = {**others, "Authorization": f"Bearer {self.token.reveal()}"}
        return {
            "integrateWith": now.provider if now.speaks_agui else PROVIDER,
            "integrationType": "agent",
            "integrationMeta": {**now.settings, now.url_key: self.url, "headers": headers},
            "isActive": True,
        }


def list_agents(client: CometChatClient) -> list[RegisteredAgent]:
    """Return the agents of the app, of every provider, by name."""
    found = map(RegisteredAgent.from_record, client.agents())
    return sorted(found, key=lambda agent: (agent.name.lower(), agent.uid))


def plan_agent_sync(
    client: CometChatClient,
    bot: Bot,
    agents: Sequence[RegisteredAgent],
    *,
    url: str,
    token: Secret,
    uid: str = "",
    icon: str = "",
) -> AgentSyncPlan:
    """Return the plan that makes ``bot`` an agent of the app, or updates the agent that it is. Changes nothing.

    The bot's agent is the one of ``agents`` with ``uid``, else the one with the bot's URL. ``url`` is the public URL of
    the server. ``icon`` is the URL of a new agent's picture; the default is the picture of the bot's user. Raises
    :class:`ConfigurationError` for values that CometChat would not accept, if there is no picture, or if several agents
    could be the bot's, and the client's errors.
    """
    address = check_url(agent_url(url, bot.name), client.api_url)
    registered = find_agent(agents, bot.name, address, uid=uid)
    if registered is None and not icon:
        icon = _find_picture(client, get_cometchat_uid(bot).lower())
        if not icon:
            raise ConfigurationError(
                f"CometChat needs a picture for the new agent {bot.name}. Pass its URL, for example "
                "--icon https://example.com/agent.png"
            )
    name = name_from_uid(bot.name)[:MAX_AGENT_NAME_LENGTH]
    return AgentSyncPlan(bot=bot.name, url=address, token=token, name=name, icon=icon, registered=registered)


def find_agent(agents: Iterable[RegisteredAgent], bot: str, url: str, *, uid: str = "") -> RegisteredAgent | None:
    """Return the agent with ``uid``, else the one with ``url``, else the only one with the path of ``bot``, or None.

    Raises :class:`ConfigurationError` if there is no agent ``uid``, or if several have the bot's path.
    """
    agents = list(agents)
    if uid:
        chosen = next((agent for agent in agents if agent.uid == uid), None)
        if chosen is None:
            raise ConfigurationError(f"the app has no agent {uid}. List the agents with cometbot agents list")
        return chosen
    same_path = [agent for agent in agents if urlsplit(agent.url).path.rstrip("/").endswith(_agent_path(bot))]
    same_url = [agent for agent in same_path if agent.url == url]
    found = same_url or same_path
    if len(found) > 1:
        uids = ", ".join(agent.uid for agent in found)
        raise ConfigurationError(f"several agents have the path of {bot}: {uids}. Choose one with --uid")
    return found[0] if found else None


def agent_url(base: str, bot: str) -> str:
    """Return the URL of the agent ``bot`` on the server at ``base``: ``https://host/agui/BOT`` for ``https://host``."""
    base, path = base.rstrip("/"), _agent_path(bot)
    return base if base.endswith(path) else base.removesuffix("/agui") + path


def _agent_path(bot: str) -> str:
    return f"/agui/{quote(bot, safe='')}"


def _find_picture(client: CometChatClient, uid: str) -> str:
    try:
        return _get_text(client.get_user(uid), "avatar")
    except NotFound:
        return ""


def _get_text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    return value if isinstance(value, str) else ""
