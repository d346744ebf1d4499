"""The simulated app: its users, groups, bots and messages, and how a test or a page drives and observes them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal, TypeVar

from cometbot.simulator import membership
from cometbot.simulator.actor import Actor
from cometbot.simulator.agent_runs import AgentRuns
from cometbot.simulator.agents import create_agent
from cometbot.simulator.errors import Refusal, bad_request
from cometbot.simulator.journal import CallbackEntry, Log, RequestEntry
from cometbot.simulator.media import MediaServer
from cometbot.simulator.misbehaviour import Misbehaviour
from cometbot.simulator.moderation import Moderator
from cometbot.simulator.records import (
    APP_SYSTEM,
    MODERATED_CONTENTS,
    SCOPES,
    ModerationRule,
    StoredMessage,
    WebhookEvent,
    WebhookRecord,
)
from cometbot.simulator.relay import Relay
from cometbot.simulator.server import HOST
from cometbot.simulator.triggers import TRIGGERS
from cometbot.simulator.workbench import Workbench
from cometbot.simulator.world import World, conversation_id

T = TypeVar("T")
App = TypeVar("App", bound="SimulatedApp")

_RECHECK_INTERVAL = 0.05


class SimulatedApp:
    """The simulated app without its HTTP interface, which :class:`~cometbot.simulator.Simulator` adds.

    The state is in memory; all methods are thread-safe.
    """

    def __init__(self, world: World, api_key: str, port: int) -> None:
        self.name = secrets.token_hex(4)
        self.app_id = world.app_id
        self.region = world.region
        self.api_key = api_key
        self.world = world
        self.misbehave = Misbehaviour()
        self.workbench = Workbench()
        """The source of the page's data about the bots: their process, output and dead letters."""
        self._port = port
        self._relay = Relay(world, self.misbehave)
        self._media = MediaServer(world, lambda: self.url, api_key)
        self.agent_runs = AgentRuns(world)
        self.moderator = Moderator(world)
        world.on_event = self._handle_event
        world.hold_message = self.moderator.hold

    @property
    def url(self) -> str:
        """The address of the server, without a trailing slash."""
        return f"http://{HOST}:{self._port}" if self._port else "http://localhost"

    @property
    def api_url(self) -> str:
        """The base URL of the REST API, for ``COMETCHAT_API_URL``."""
        return f"{self.url}/v3"

    @property
    def requests(self) -> Log[RequestEntry]:
        """The newest REST calls, oldest first. ``.dropped`` counts the older ones that were evicted."""
        return self.world.journal.requests

    @property
    def callbacks(self) -> Log[CallbackEntry]:
        """The newest callback attempts to bots and webhooks, oldest first, each with its response."""
        return self.world.journal.callbacks

    def configure(self, **changes: Any) -> None:
        """Change fields of the :class:`Behaviour`: ``simulator.configure(redeliver=(10, 30))``."""
        with self.world.condition:
            self.world.behaviour = replace(self.world.behaviour, **changes)

    def reset(self) -> None:
        """Delete users, messages, logs, misbehaviour and queued callbacks. Addresses and keys stay."""
        with self.world.condition:
            self._relay.clear()
            self.agent_runs.clear()
            self.moderator.clear()
            self.misbehave.clear()
            self.world.clear()
            self.world.journal.clear()

    def user(self, uid: str) -> Actor:
        """Return the user with this uid, to act as. Creates the user if there is none."""
        with self.world.condition:
            if self.world.directory.find_user(uid) is None:
                self.add_user(uid)
            return Actor(self.world, self.world.directory.user(uid).uid)

    def add_user(self, uid: str, name: str = "", **fields: Any) -> Actor:
        """Create a user. ``fields`` are those of CometChat's user body (``avatar``, ``metadata``, ``tags`` …)."""
        with self.world.condition:
            body = {"uid": uid, "name": name or uid.replace("-", " ").title(), **fields}
            return Actor(self.world, self.world.directory.create_user(body, self.world.now()).uid)

    def add_group(
        self,
        guid: str,
        name: str = "",
        *,
        type: Literal["public", "password", "private"] = "public",
        members: Iterable[str] = (),
        owner: str = "",
        password: str = "",
    ) -> None:
        """Create a group with its members. Creates the named users that do not exist."""
        with self.world.condition:
            uids = [self.user(uid).uid for uid in members]
            body: dict[str, Any] = {"guid": guid, "name": name or guid.title(), "type": type, "password": password}
            if owner:
                body["owner"] = self.user(owner).uid
            group = membership.create_group(self.world, APP_SYSTEM, body)
            for uid in uids:
                if uid not in group.members:
                    membership.add(self.world, APP_SYSTEM, group, uid)

    def set_scope(self, group: str, uid: str, scope: str) -> None:
        """Make a user ``admin``, ``moderator`` or ``participant`` of a group, and a member if that is necessary."""
        if scope not in SCOPES:
            raise bad_request("scope", f"Expected one of {', '.join(SCOPES)}.")
        with self.world.condition:
            found, user = self.world.directory.group(group), self.world.directory.user(uid).uid
            if user not in found.members:
                membership.add(self.world, APP_SYSTEM, found, user, scope)
            elif found.members[user].scope != scope:
                membership.change_scope(self.world, APP_SYSTEM, found, user, scope)

    def add_bot(
        self,
        uid: str,
        webhook_url: str,
        *,
        name: str = "",
        username: str = "",
        password: str = "",
        group_setting: str = "allMessages",
        enabled: bool = True,
    ) -> Actor:
        """Create a bot and return its user, creating the user if needed.

        With ``username``, its callbacks carry Basic Auth.
        """
        with self.world.condition:
            if self.world.directory.find_user(uid) is None:
                self.add_user(uid, name)
            body = {
                "uid": uid,
                "webhookURL": webhook_url,
                "groupChatSetting": group_setting,
                "useBasicAuth": bool(username),
                "username": username,
                "password": password,
                "enabled": enabled,
            }
            return Actor(self.world, self.world.directory.create_bot(body, self.world.now()).uid)

    def add_agent(self, name: str, url: str, token: str = "") -> Actor:
        """Create an agent that is called over AG-UI at ``url``, with ``token`` as Bearer token if it is given.

        A user talks to it by sending a text to the uid of the returned actor. The answer is a message of the agent.
        """
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        body = {
            "name": name,
            "icon": "",
            "integrateWith": "ag-ui",
            "integrationMeta": {"url": url, "headers": headers},
        }
        with self.world.condition:
            return Actor(self.world, create_agent(self.world, body).uid)

    def add_webhook(
        self,
        url: str,
        triggers: Iterable[str] = (),
        username: str = "",
        password: str = "",
        *,
        id: str = "",
        edits_as: Literal["message", "action"] = "action",
    ) -> str:
        """Create an app webhook and return its id. It receives ``triggers``, or all if none is given."""
        chosen = frozenset(triggers) or frozenset(TRIGGERS)
        unknown = sorted(chosen - frozenset(TRIGGERS))
        if unknown:
            raise bad_request("triggers", f"The simulator does not know {', '.join(unknown)}.")
        with self.world.condition:
            webhook_id = id or f"webhook{len(self.world.webhooks) + 1}"
            credentials = (username, password) if username else None
            self.world.webhooks[webhook_id] = WebhookRecord(webhook_id, url, chosen, credentials, edits_as)
            return webhook_id

    def add_moderation_rule(
        self,
        name: str,
        url: str,
        contents: Iterable[str] = MODERATED_CONTENTS,
        *,
        threshold: int = 80,
        action: Literal["block", "flag"] = "block",
        username: str = "",
        password: str = "",
        id: str = "",
    ) -> str:
        """Create a rule of the moderation that asks ``url``, a Custom API, and return its id.

        It asks about each new message with one of the ``contents`` (``text``, ``image``, ``video``, ``audio``,
        ``file``), and acts if the answer matches with a confidence greater than ``threshold`` percent: it blocks the
        message, or flags it. With ``username``, the requests carry Basic Auth. A rule of the same ``id`` is replaced.
        """
        chosen = tuple(contents)
        if unknown := sorted(set(chosen) - set(MODERATED_CONTENTS)):
            raise bad_request("contents", f"The contents are {', '.join(MODERATED_CONTENTS)}, not {unknown[0]}.")
        with self.world.condition:
            rule_id = id or f"rule{len(self.world.moderation_rules) + 1}"
            credentials = (username, password) if username else None
            known = self.world.moderation_rules.get(rule_id)
            self.world.moderation_rules[rule_id] = ModerationRule(
                rule_id,
                name,
                url,
                chosen,
                threshold,
                action,
                credentials,
                enabled=known.enabled if known else True,
            )
            return rule_id

    def enable_moderation_rule(self, id: str, *, enabled: bool = True) -> None:
        """Switch a rule of the moderation on or off. Raises :class:`Refusal` if there is none of this id."""
        with self.world.condition:
            rule = self.world.moderation_rules.get(id)
            if rule is None:
                raise Refusal("ERR_BAD_REQUEST", f"The moderation has no rule {id}.")
            self.world.moderation_rules[id] = replace(rule, enabled=enabled)

    def report(self, trigger: str, data: Mapping[str, Any]) -> None:
        """Send ``data`` to the webhooks with this trigger, for what the simulator cannot do itself, such as calls.

        ::

            simulator.report("call_started", {"sessionId": "v1.eu.1", "created_at": 1696934572})
        """
        if trigger not in TRIGGERS:
            raise bad_request("trigger", f"The simulator does not know {trigger}.")
        with self.world.condition:
            self.world.emit(trigger, dict(data))

    def add_file(self, name: str, content: bytes, mime_type: str = "", *, expires_in: int = 86_400) -> str:
        """Store a file and return its URL. The behaviour's ``media_access`` decides how it is protected."""
        return self._media.add(name, content, mime_type, expires_in=expires_in)

    def seed_demo(
        self: App,
        bot_uid: str = "helpdesk",
        callback_url: str = "http://127.0.0.1:8000/cometchat/helpdesk",
        username: str = "",
        password: str = "",
        group_setting: str = "allMessages",
    ) -> App:
        """Create a bot, the users maria and tom, and the group ops-room with all three. Return this simulator."""
        self.add_user("maria", "Maria Keller")
        self.add_user("tom", "Tom Berger")
        self.add_bot(bot_uid, callback_url, username=username, password=password, group_setting=group_setting)
        self.add_group("ops-room", "Ops room", owner="maria", members=["tom", bot_uid])
        return self

    def messages(
        self,
        conversation: str = "",
        *,
        between: tuple[str, str] | None = None,
        after: StoredMessage | str = "",
        actions: bool = False,
    ) -> list[StoredMessage]:
        """Return the messages of one conversation (``group_ops-room``), between two users, or all, oldest first.

        ``after`` restricts them to those later than that message. ``actions`` includes the messages that record edits,
        deletions and changes of membership.
        """
        if between is not None:
            conversation = conversation_id("user", *(uid.lower() for uid in between))
        oldest = int(after if isinstance(after, str) else after.id) if after else 0
        with self.world.condition:
            found = self.world.message_store.messages(conversation, after=oldest)
            return [message for message in found if actions or not message.is_action]

    def message(self, message_id: str) -> StoredMessage:
        """Return the current version of the message with this id. Raises :class:`Refusal` if there is none."""
        with self.world.condition:
            return self.world.message_store.get(message_id)

    def replies(self, to: StoredMessage | str) -> list[StoredMessage]:
        """Return the messages that bots sent in the conversation of ``to`` since.

        A uid stands for the last message of that user.
        """
        with self.world.condition:
            question = to if isinstance(to, StoredMessage) else self._last_message_of(to)
            later = self.messages(question.conversation_id, after=question)
            bots = self.world.directory.bots
            return [message for message in later if message.sender in bots and message.sender != question.sender]

    def wait_for(self: App, condition: Callable[[App], T], timeout: float = 60.0) -> T:
        """Wait until ``condition(simulator)`` is true and return its value.

        The condition is checked after each change and every 50 ms.

        Raises ``TimeoutError``, which describes the latest events.
        """
        deadline = time.monotonic() + timeout
        with self.world.condition:
            while not (value := condition(self)):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"the condition was not met within {timeout:g} s. {self._describe_latest()}")
                self.world.condition.wait(min(left, _RECHECK_INTERVAL))
            return value

    def wait_reply(self, to: StoredMessage | str, count: int = 1, timeout: float = 60.0) -> list[StoredMessage]:
        """Wait for at least ``count`` :meth:`replies` and return them.

        Raises ``TimeoutError``, which describes the latest events.
        """
        return self.wait_for(lambda _: len(found := self.replies(to)) >= count and found, timeout) or []

    @property
    def is_idle(self) -> bool:
        """True if every message was moderated, every callback posted, also again, and every agent has answered."""
        return self.moderator.is_idle and self._relay.is_idle and self.agent_runs.is_idle

    def wait_idle(self, timeout: float = 60.0) -> None:
        """Wait until every callback was posted, redeliveries included, and every agent has answered."""
        self.wait_for(lambda _: self.is_idle, timeout)

    def _handle_event(self, event: WebhookEvent) -> None:
        self._relay.handle_event(event)
        self.agent_runs.handle_event(event)

    def _last_message_of(self, uid: str) -> StoredMessage:
        message_store = self.world.message_store
        for number in reversed(message_store.numbers()):
            message = message_store[number]
            if message.sender == uid.lower() and not message.is_action:
                return message
        raise Refusal("ERR_MESSAGE_ID_NOT_FOUND", f"The user {uid} has not written anything yet.")

    def _describe_latest(self) -> str:
        callback = self.callbacks[-1] if len(self.callbacks) else None
        call = self.requests[-1] if len(self.requests) else None
        last_callback = f"{callback.url}: {callback.status or callback.error}" if callback else "none"
        asked = f"{call.method} {call.path}: {call.status or 'dropped'}" if call else "none"
        return f"Last callback: {last_callback}. Last REST call: {asked}."
