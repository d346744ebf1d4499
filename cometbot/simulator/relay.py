"""Routing of events: messages to the bots they are for, and every event to the app webhooks that have its trigger."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

from cometbot.simulator.callback_queue import Callback, CallbackQueue
from cometbot.simulator.client import CallbackResponse
from cometbot.simulator.journal import mask_headers
from cometbot.simulator.misbehaviour import Misbehaviour
from cometbot.simulator.records import BotRecord, StoredMessage, WebhookEvent, WebhookRecord
from cometbot.simulator.triggers import session_kind
from cometbot.simulator.world import World

CHAT_API_VERSION = "3.0"


class Relay:
    """Adds callbacks to the queue of each receiver. Once started, the queues post them in the background."""

    def __init__(self, world: World, misbehaviour: Misbehaviour) -> None:
        self._world = world
        self._misbehaviour = misbehaviour
        self._queues: dict[tuple[str, int], CallbackQueue] = {}
        self._running = False

    def handle_event(self, event: WebhookEvent) -> None:
        """Queue the callbacks that ``event`` causes. Called with the world's lock held."""
        if event.trigger == "message_sent" and event.message is not None:
            for bot in self._world.directory.bots.values():
                if self._is_for_bot(bot, event.message):
                    self._enqueue(self._bot_callback(bot, event), event.message.conversation_id)
        for webhook in self._world.webhooks.values():
            if event.trigger in webhook.triggers:
                self._enqueue(self._webhook_callback(webhook, event), webhook.id)

    def start(self) -> None:
        """Post the queued callbacks, and those that are added later."""
        self._running = True
        for queue in list(self._queues.values()):
            queue.start()

    def stop(self, timeout: float) -> None:
        """Stop each queue after its current callback, waiting up to ``timeout`` seconds for it.

        Callbacks that are queued, or added later, wait for the next start.
        """
        self._running = False
        for queue in list(self._queues.values()):
            queue.stop(timeout)

    def post_queued(self, post: Callable[[Callback], CallbackResponse]) -> None:
        """Call ``post`` for each due callback, in the caller's thread. The relay must be stopped."""
        for queue in list(self._queues.values()):
            while (callback := queue.pop_due()) is not None:
                self._record(callback, post(callback))

    def clear(self) -> None:
        """Discard all queued callbacks."""
        for queue in list(self._queues.values()):
            queue.clear()

    @property
    def is_idle(self) -> bool:
        """True if every callback was posted, redeliveries included."""
        return all(queue.is_idle for queue in list(self._queues.values()))

    def _is_for_bot(self, bot: BotRecord, message: StoredMessage) -> bool:
        behaviour = self._world.behaviour
        if not bot.enabled or message.is_action:
            return False
        if message.sender == bot.uid and not behaviour.relay_own_messages:
            return False
        if message.sender in self._world.directory.bots and not behaviour.relay_messages_of_bots:
            return False
        if message.receiver_type == "user":
            return bot.uid in (message.receiver, message.sender if behaviour.relay_own_messages else "")
        return self._is_bot_member(bot, message) and _fits_group_setting(bot, message)

    def _is_bot_member(self, bot: BotRecord, message: StoredMessage) -> bool:
        group = self._world.directory.groups.get(message.receiver)
        return self._world.behaviour.relay_to_non_members or (group is not None and bot.uid in group.members)

    def _bot_callback(self, bot: BotRecord, event: WebhookEvent) -> Callback:
        message = event.message
        assert message is not None
        body = {
            "trigger": "after_message",
            "data": event.data["message"],
            **self._app_fields(),
            "chatAPIVersion": CHAT_API_VERSION,
            "origin": dict(event.origin),
            "bot": bot.uid,
        }
        return Callback(bot.uid, bot.webhook_url, "after_message", message.id, body, bot.credentials)

    def _webhook_callback(self, webhook: WebhookRecord, event: WebhookEvent) -> Callback:
        data: Mapping[str, Any] = event.data
        if event.action is not None and webhook.edits_as == "action":
            data = {"message": self._world.serializer.message(event.action)}
        kind = session_kind(event.trigger)
        body = {
            "trigger": event.trigger,
            "data": data,
            **({"type": kind} if kind else {}),
            **self._app_fields(),
            "webhook": webhook.id,
        }
        message_id = event.message.id if event.message else ""
        return Callback(webhook.id, webhook.url, event.trigger, message_id, body, webhook.credentials)

    def _app_fields(self) -> dict[str, Any]:
        return {"appId": self._world.app_id, "region": self._world.region}

    def _enqueue(self, callback: Callback, order_by: str) -> None:
        threads = self._world.behaviour.callback_threads
        name = f"{callback.trigger == 'after_message'}:{callback.target}"
        queue_key = (name, zlib.crc32(order_by.encode()) % threads)
        if queue_key not in self._queues:
            name = f"{callback.target}-{queue_key[1]}"
            self._queues[queue_key] = CallbackQueue(name, self._world, self._misbehaviour.get_shuffle, self._record)
        for duplicate in self._misbehaviour.with_duplicates(callback):
            self._queues[queue_key].enqueue(duplicate)
        if self._running:
            self._queues[queue_key].start()

    def _record(self, callback: Callback, answer: CallbackResponse) -> None:
        self._world.journal.add_callback(
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


def _fits_group_setting(bot: BotRecord, message: StoredMessage) -> bool:
    match bot.group_chat_setting:
        case "allMessages":
            return True
        case "slashedMessages":
            return message.text.startswith("/")
        case "mentionedMessages":
            return bot.uid in message.mentions
    return False
