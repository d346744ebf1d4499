"""Checks of the bots as agents: AG-UI's token, their registration on CometChat, and the route at its public URL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cometbot.bot import Bot
from cometbot.channels.cometchat.agents import RegisteredAgent, agent_url, find_agent, list_agents
from cometbot.channels.cometchat.client import CometChatClient
from cometbot.cli.checks.http_client import CheckClient, CheckResponse, redact_url
from cometbot.cli.checks.result import CheckResult, failed, for_bot, passed, skip_all, skipped
from cometbot.errors import ChannelError, ConfigurationError, Unreachable
from cometbot.settings import Secret

CHECK_NAMES = ("agent", "agent refused", "agent accepted")

_SERVE_REMEDY = "start cometbot serve, and let the proxy forward /agui/ to it unchanged"
_SETTINGS_REMEDY = "restart the service with the settings of this folder"
_EMPTY_INPUT = b'{"threadId":"doctor","runId":"doctor","messages":[],"tools":[],"context":[],"state":{}}'
"""A request without a message, which is answered with an error in the stream and stores nothing."""


@dataclass(frozen=True, slots=True)
class ExpectedAgent:
    """The expected agent of a bot: the URL of the server ("" if unknown), the token, and the command to register it."""

    bot: Bot
    base_url: str
    token: Secret
    sync_command: str

    @property
    def url(self) -> str:
        """The URL that clients of AG-UI call."""
        return agent_url(self.base_url, self.bot.name) if self.base_url else ""


def check_agents(
    expected: Sequence[ExpectedAgent], cometchat: CometChatClient | None, client: CheckClient
) -> list[CheckResult]:
    """Check each bot as an agent. Without ``cometchat``, the registration is not checked."""
    registered, unknown = _list_agents(cometchat)
    results: list[CheckResult] = []
    for agent in expected:
        registration = unknown or _check_registration(agent, registered)
        results += for_bot(agent.bot.name, [registration, *_check_route(agent, client)])
    return results


def _list_agents(cometchat: CometChatClient | None) -> tuple[list[RegisteredAgent], CheckResult | None]:
    """Return the agents of the app, or the result of the check if they cannot be listed."""
    name = CHECK_NAMES[0]
    if cometchat is None:
        return [], skipped(name, "no settings of CometChat; other clients need no registration")
    try:
        return list_agents(cometchat), None
    except ChannelError as error:
        return [], failed(name, str(error), "try again; see also the lines about CometChat")


def _check_registration(expected: ExpectedAgent, registered: Sequence[RegisteredAgent]) -> CheckResult:
    name, command = CHECK_NAMES[0], expected.sync_command
    try:
        found = find_agent(registered, expected.bot.name, expected.url)
    except ConfigurationError as error:
        return failed(name, str(error), f"{command} --uid UID")
    if found is None:
        return skipped(name, f"not registered on CometChat; to register it: {command}")
    if expected.url and found.url != expected.url:
        return failed(name, f"expected {redact_url(expected.url)}, got {redact_url(found.url)}", command)
    if not found.speaks_agui:
        return failed(name, f"expected the provider AG-UI, got {found.provider}", command)
    if not found.enabled:
        return failed(name, "not active: CometChat does not call it", command)
    if not found.sends(expected.token):
        return failed(name, "CometChat sends another token than the first of AGUI_TOKEN, or none", command)
    return passed(name, f"{found.name} calls {redact_url(found.url)}")


def _check_route(expected: ExpectedAgent, client: CheckClient) -> Iterator[CheckResult]:
    refused, accepted = CHECK_NAMES[1:]
    if not expected.url:
        yield from skip_all((refused, accepted), "unknown URL: pass --url, or set COMETBOT_PUBLIC_URL")
        return
    try:
        without = client.post(expected.url, _EMPTY_INPUT, None)
        with_token = client.post(expected.url, _EMPTY_INPUT, None, _bearer(expected.token))
    except Unreachable as error:
        yield failed(refused, str(error), _SERVE_REMEDY)
        yield skipped(accepted, "no response")
        return
    yield _check_refusal(without, expected)
    yield _check_acceptance(with_token, expected)


def _check_refusal(reply: CheckResponse, expected: ExpectedAgent) -> CheckResult:
    name = CHECK_NAMES[1]
    if reply.status == 401:
        return passed(name, "a request without the token is refused")
    if _is_stream(reply):
        return failed(name, "a request without the token is accepted: anyone can talk to the bot", _SETTINGS_REMEDY)
    return failed(name, *_explain(reply, expected))


def _check_acceptance(reply: CheckResponse, expected: ExpectedAgent) -> CheckResult:
    name = CHECK_NAMES[2]
    if reply.status == 200 and _is_stream(reply):
        return passed(name, f"the token is accepted, the answer is a stream ({reply.seconds:.2f} s)")
    if reply.status == 401:
        remedy = f"{_SETTINGS_REMEDY}; a proxy must forward the header Authorization"
        return failed(name, "the token of AGUI_TOKEN is refused", remedy)
    return failed(name, *_explain(reply, expected))


def _explain(reply: CheckResponse, expected: ExpectedAgent) -> tuple[str, str]:
    """Return the cause and the remedy of an unexpected response."""
    if reply.code == "ERR_BOT_NOT_FOUND":
        return (
            f"the service does not have the bot {expected.bot.name}",
            "restart it with the COMETBOT_BOT of this folder",
        )
    if reply.status == 404:
        return "nothing at this path (404): agui is not in the COMETBOT_CHANNELS of the service", _SERVE_REMEDY
    if reply.status in (502, 503, 504):
        return f"the proxy cannot reach the bot (status {reply.status})", "start cometbot serve"
    return f"expected a stream of AG-UI, got status {reply.status}", _SERVE_REMEDY


def _is_stream(reply: CheckResponse) -> bool:
    return reply.headers.get("content-type", "").startswith("text/event-stream") and b"RUN_STARTED" in reply.body


def _bearer(token: Secret) -> dict[str, str]:
    return {"Authorization": f"Bearer {token.reveal()}"}
