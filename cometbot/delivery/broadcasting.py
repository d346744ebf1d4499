"""Broadcasts in delivery: stored by the process that calls, and handed over in batches by one that handles messages."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace

from cometbot.backoff import Backoff
from cometbot.bot import Bot
from cometbot.broadcasts import (
    Broadcast,
    BroadcastRequest,
    Pace,
    find_digest,
    make_broadcast_conversation,
    make_event,
    make_file_event,
    make_unique_name,
    split_users,
)
from cometbot.channels.base import Channel, Channels
from cometbot.delivery.outgoing_files import describe_file, store_file
from cometbot.delivery.transactions import Transactions
from cometbot.delivery.work import MessageEnd
from cometbot.dispatch import ErrorClasses
from cometbot.error_text import describe_error
from cometbot.errors import BotError, LeaseLost, StoreBusy
from cometbot.message_json import message_from_json, message_to_json
from cometbot.messages import Message, Operation
from cometbot.models import Conversation
from cometbot.observer import Observer
from cometbot.outgoing import filter_operation
from cometbot.press_limits import apply_limits, find_presses
from cometbot.quick_replies import serialize_quick_replies
from cometbot.store.broadcasts import CANCELLED, DROPPED, PAUSED, PREPARING, REFUSED, BroadcastRow, Delivered
from cometbot.store.delivery_store import DeliveryStore
from cometbot.store.leases import Lease
from cometbot.store.mailbox import MailboxMessage
from cometbot.store.outbox import Draft
from cometbot.store.sent_files import Said
from cometbot.store.tables import QUEUED, WAITING

log = logging.getLogger(__name__)

_STOPPED = (PREPARING, PAUSED, CANCELLED)
_RETRY_BACKOFF = Backoff(initial=1.0, maximum=300.0)


def store_broadcast(
    store: DeliveryStore, channel: Channel, bot: Bot, request: BroadcastRequest, users: object
) -> tuple[Broadcast, Conversation | None]:
    """Store a broadcast durably, with its users in chunks.

    Return it, with the conversation to notify if there is something to do. A call that is repeated with the same name
    adds the users that the broadcast does not have. Raises :class:`BotError` if the broadcast of that name has another
    message, channel or app, :class:`MessageError` if the platform would never accept the message.
    """
    chunks = split_users(users)
    first = next(chunks, [])
    row = _find_or_create(store, channel, bot, request)
    if row.content is None:
        _store_content(store, channel, row, request.message)
    while first:
        with store.database.write() as connection:
            store.broadcasts.add_recipients(connection, row.id, map(channel.normalize_uid, first))
        first = next(chunks, [])
    with store.database.write() as connection:
        is_started = store.broadcasts.start(connection, row.id)
        count = store.broadcasts.count_recipients(connection, row.id)
    return Broadcast(row.name, count), make_broadcast_conversation(bot.name, row.id) if is_started else None


def _find_or_create(store: DeliveryStore, channel: Channel, bot: Bot, request: BroadcastRequest) -> BroadcastRow:
    """Return the broadcast of this name, created if there is none. A repeated one keeps its message."""
    name = request.name or make_unique_name()
    if request.is_repeated:
        with store.database.read() as connection:
            found = store.broadcasts.find(connection, name, bot.name)
        if found is not None and found.content is not None:
            return found
    digest = find_digest(request.message)
    nobody = Conversation(channel.name, channel.account, bot.name, "broadcast", "broadcast")
    channel.render(describe_file(Operation(conversation=nobody, message=request.message)))
    with store.database.write() as connection:
        row = store.broadcasts.create(connection, bot.name, name, channel.name, channel.account, digest, request.pace)
    is_same = row.digest == digest or request.is_repeated
    if not is_same or (row.channel, row.account) != (channel.name, channel.account):
        raise BotError(
            f"the broadcast {name!r} of {bot.name} has another message, channel or app; give this one another name, or "
            "call with the same message to add users"
        )
    return row


def _store_content(store: DeliveryStore, channel: Channel, row: BroadcastRow, message: Message) -> None:
    """Store the message of a broadcast, and before that its file, which all recipients share."""
    conversation = make_broadcast_conversation(row.bot, row.id)
    said = Said(make_file_event(row.id), 0, 0, conversation.key_text)
    stored = store_file(store.files, channel, Operation(conversation=conversation, message=message), said)
    assert stored.message is not None
    content = message_to_json(stored.message)
    with store.database.write() as connection:
        if stored.message is not message:
            # The message that the file belongs to: a file without one is deleted after a day.
            store.outbox.add_done(connection, Draft(said.event, 0, 0, conversation, [{}]))
        store.broadcasts.set_content(connection, row.id, content)


@dataclass(frozen=True, slots=True)
class _Batch:
    """The recipients of one commit of a broadcast, with its bot, channel and message."""

    row: BroadcastRow
    bot: Bot
    channel: Channel
    message: Message
    now: float


class Broadcaster:
    """Hands over the messages of broadcasts to the conversations of their recipients, in small batches at a pace.

    A broadcast has a conversation of its own, so one process works on it at a time. A batch is one commit: the
    recipients' states are stored with the messages in the outbox.
    """

    def __init__(
        self, transactions: Transactions, channels: Channels, observer: Observer, reraise: ErrorClasses
    ) -> None:
        self._transactions = transactions
        self._channels = channels
        self._observer = observer
        self._reraise: ErrorClasses = (LeaseLost, StoreBusy, *reraise)

    def handle(self, lease: Lease, bot: Bot, message: MailboxMessage) -> MessageEnd:
        """Hand over the next batch, and return when to go on: the end of the message that lets a broadcast work."""
        try:
            seconds = self._hand_over(lease, bot, int(json.loads(message.body)["broadcast"]))
        except self._reraise:
            raise
        except BaseException as error:
            extra = {"event": message.key, "conversation": lease.conversation_key}
            log.error("cannot go on with a broadcast; it is tried again", exc_info=error, extra=extra)
            delay = _RETRY_BACKOFF.delay(message.failures)
            return MessageEnd(message, "", WAITING, describe_error(error), delay)
        if seconds is None:
            return MessageEnd(message, "broadcast")
        return MessageEnd(message, "", WAITING, retry_in=seconds, is_held=True)

    def _hand_over(self, lease: Lease, bot: Bot, id: int) -> float | None:
        """Hand over a batch. Return the seconds until the next one, None if there is none."""
        broadcasts, read = self._transactions.broadcasts, self._transactions.read
        row = read(lambda connection: broadcasts.get(connection, id))
        if row is None or row.state in _STOPPED or row.content is None:
            return None
        pace, now = Pace.parse(row.pace), self._transactions.clock()
        # The clock of another boot of the machine may be ahead.
        seconds = min(row.next_at - now, pace.seconds_for(pace.batch))
        if seconds > 0:
            return seconds
        recipients = read(lambda connection: broadcasts.list_waiting(connection, id, pace.batch))
        if not recipients:
            self._transactions.store_elsewhere(lease, (), lambda connection: broadcasts.finish(connection, id))
            return None
        channel = self._channels.of_account(row.channel, row.account)
        batch = _Batch(row, bot, channel, message_from_json(row.content), now)
        delivered = [self._deliver(batch, recipient, uid) for recipient, uid in recipients]
        seconds = pace.seconds_for(len(recipients))
        drafts = [item.draft for item in delivered if item.draft is not None]
        counts = self._transactions.store_elsewhere(
            lease, drafts, lambda connection: broadcasts.save_batch(connection, id, delivered, now + seconds)
        )
        if counts is None:
            return None
        for state, count in sorted(counts.items()):
            self._observer.broadcast(bot.name, state, count)
        return seconds

    def _deliver(self, batch: _Batch, recipient: int, uid: str) -> Delivered:
        """Return the message to one user, or why there is none."""
        try:
            return self._render(batch, recipient, uid)
        except self._reraise:
            raise
        except BaseException as error:
            if not isinstance(error, BotError):
                extra = {"bot": batch.bot.name}
                log.warning("refused the message of a broadcast to a user", exc_info=error, extra=extra)
            return Delivered(recipient, REFUSED, error=describe_error(error))

    def _render(self, batch: _Batch, recipient: int, uid: str) -> Delivered:
        channel = batch.channel
        wanted = channel.conversation(batch.bot, user=uid)
        target = wanted if channel.has_stored_conversations else self._transactions.find_target(wanted)
        operation = filter_operation(Operation(conversation=target, message=batch.message), batch.bot, None)
        if operation.message is None:
            return Delivered(recipient, DROPPED)
        event = make_event(recipient)
        message = apply_limits(operation.message, f"{event}.0", batch.now)
        payloads = channel.render(replace(operation, message=message))
        key = target.key
        return Delivered(
            recipient,
            QUEUED,
            Draft(event, 0, 0, target, payloads),
            user=f"{key.channel}/{key.account}/{key.bot}/{channel.lasting_id(target)}",
            offers=serialize_quick_replies([message]),
            has_limits=bool(find_presses(message)),
        )
