"""Who is told of what: bots of the messages that are for them, app webhooks of the triggers they asked for."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

from cometbot.simulator.client import CallbackAnswer
from cometbot.simulator.journal import mask_headers
from cometbot.simulator.lane import Callback, Lane, LaneRules
from cometbot.simulator.misbehaviour import Misbehaviour
from cometbot.simulator.records import BotRecord, Happening, StoredMessage, WebhookRecord
from cometbot.simulator.world import World

CHAT_API_VERSION = "3.0"


class Relay:
    """Puts callbacks into the lanes of those who must be told; once started, the lanes post them in the background."""

    def __init__(self, world: World, misbehaviour: Misbehaviour) -> None:
        self._world = world
        self._misbehaviour = misbehaviour
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._running = False
        self._rules = LaneRules(
            timeout=lambda: world.behaviour.callback_timeout,
            redeliver=lambda: world.behaviour.redeliver,
            shuffle=misbehaviour.shuffle,
            record=self._record,
        )

    def take(self, happening: Happening) -> None:
        """Queue the callbacks that ``happening`` causes. Called with the world's lock held."""
        if happening.trigger == "message_sent" and happening.message is not None:
            for bot in self._world.directory.bots.values():
                if self._concerns(bot, happening.message):
                    self._put(self._bot_callback(bot, happening), happening.message.conversation_id)
        for webhook in self._world.webhooks.values():
            if happening.trigger in webhook.triggers:
                self._put(self._webhook_callback(webhook, happening), webhook.id)

    def start(self) -> None:
        """Post what is queued, and what comes."""
        self._running = True
        for lane in list(self._lanes.values()):
            lane.start()

    def stop(self, timeout: float) -> None:
        """End all lanes after the callback they are at; what is queued, or comes now, waits for the next start."""
        self._running = False
        for lane in list(self._lanes.values()):
            lane.stop(timeout)

    def post_queued(self, post: Callable[[Callback], CallbackAnswer]) -> None:
        """Let ``post`` carry everything that is queued, in the caller's thread; for a relay that is stopped."""
        for lane in list(self._lanes.values()):
            while (callback := lane.take()) is not None:
                self._record(callback, post(callback))

    def clear(self) -> None:
        """Forget what is queued."""
        for lane in list(self._lanes.values()):
            lane.clear()

    @property
    def is_idle(self) -> bool:
        """Whether everything was posted, redeliveries included."""
        return all(lane.is_idle for lane in list(self._lanes.values()))

    def _concerns(self, bot: BotRecord, message: StoredMessage) -> bool:
        behaviour = self._world.behaviour
        if not bot.enabled or message.is_action:
            return False
        if message.sender == bot.uid and not behaviour.relay_own_messages:
            return False
        if message.sender in self._world.directory.bots and not behaviour.relay_messages_of_bots:
            return False
        if message.receiver_type == "user":
            return bot.uid in (message.receiver, message.sender if behaviour.relay_own_messages else "")
        return self._is_there(bot, message) and _wants(bot, message)

    def _is_there(self, bot: BotRecord, message: StoredMessage) -> bool:
        group = self._world.directory.groups.get(message.receiver)
        return self._world.behaviour.relay_to_non_members or (group is not None and bot.uid in group.members)

    def _bot_callback(self, bot: BotRecord, happening: Happening) -> Callback:
        message = happening.message
        assert message is not None
        body = {
            "trigger": "after_message",
            "data": happening.data["message"],
            **self._signature(),
            "chatAPIVersion": CHAT_API_VERSION,
            "origin": dict(happening.origin),
            "bot": bot.uid,
        }
        return Callback(bot.uid, bot.webhook_url, "after_message", message.id, body, bot.credentials)

    def _webhook_callback(self, webhook: WebhookRecord, happening: Happening) -> Callback:
        data: Mapping[str, Any] = happening.data
        if happening.action is not None and webhook.edits_as == "action":
            data = {"message": self._world.shapes.message(happening.action)}
        body = {"trigger": happening.trigger, "data": data, **self._signature(), "webhook": webhook.id}
        message_id = happening.message.id if happening.message else ""
        return Callback(webhook.id, webhook.url, happening.trigger, message_id, body, webhook.credentials)

    def _signature(self) -> dict[str, Any]:
        return {"appId": self._world.app_id, "region": self._world.region}

    def _put(self, callback: Callback, order_by: str) -> None:
        threads = self._world.behaviour.callback_threads
        name = f"{callback.trigger == 'after_message'}:{callback.target}"
        place = (name, zlib.crc32(order_by.encode()) % threads)
        if place not in self._lanes:
            self._lanes[place] = Lane(f"{callback.target}-{place[1]}", self._rules)
        for double in self._misbehaviour.copies(callback):
            self._lanes[place].put(double)
        if self._running:
            self._lanes[place].start()

    def _record(self, callback: Callback, answer: CallbackAnswer) -> None:
        self._world.journal.note_callback(
            self._world.clock(),
            target=callback.target,
            url=callback.url,
            trigger=callback.trigger,
            message_id=callback.message_id,
            headers=mask_headers(callback.headers()),
            body=callback.body,
            status=answer.status,
            answer=answer.text,
            error=answer.error,
            seconds=answer.seconds,
            attempt=callback.attempt,
            copy=callback.copy,
        )


def _wants(bot: BotRecord, message: StoredMessage) -> bool:
    match bot.group_chat_setting:
        case "allMessages":
            return True
        case "slashedMessages":
            return message.text.startswith("/")
        case "mentionedMessages":
            return bot.uid in message.mentions
    return False
