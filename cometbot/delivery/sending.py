"""One request to a platform, and what its end means."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from cometbot.channels.base import Channel, Sending
from cometbot.delivery.causes import describe
from cometbot.delivery.leases import Lease, Process
from cometbot.delivery.observer import Observer
from cometbot.delivery.outbox import DEAD, HELD, READY, SENT, UNKNOWN, Note, Reply
from cometbot.delivery.pacing import SendPolicy
from cometbot.delivery.store import Store
from cometbot.dispatch import Raised
from cometbot.errors import ChannelError, LeaseLost, RateLimited, Rejected, StoreBusy, Uncertain, Unreachable

log = logging.getLogger(__name__)

_MARGIN = 1.0
"""Seconds by which a request must end before the lease does."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A stored reply whose turn has come. ``look``: it may have arrived already; ``probing``: it tries out an ended
    pause."""

    reply: Reply
    look: bool = False
    probing: bool = False


class Sender:
    """Carries stored replies to their platforms, for as long as the lease holds; what becomes of them it only
    reports."""

    def __init__(
        self,
        store: Store,
        process: Process,
        channels: Mapping[str, Channel],
        policy: SendPolicy,
        observer: Observer,
        lets_out: Raised = (),
    ) -> None:
        self._lets_out: Raised = (LeaseLost, *lets_out)
        self._store = store
        self._process = process
        self._channels = channels
        self.policy = policy
        self._observer = observer

    def send_all(self, lease: Lease, attempts: list[Attempt]) -> list[Note]:
        """What became of each, in order, as far as it is not noted in the database yet.

        They go out one after the other, each noted before the next. The first that is neither sent nor dead stops
        the rest, which are ready again.
        """
        for nth, attempt in enumerate(attempts):
            note = self.send(lease, attempt)
            rest = attempts[nth + 1 :]
            if not note.is_final:
                return [note, *(Note(later.reply, READY) for later in rest)]
            if not rest:
                return [note]
            with self._store.database.write(durable=False) as connection:
                self._store.leases.check(connection, lease)
                self._store.record(connection, lease, [note])
        return []

    def send(self, lease: Lease, attempt: Attempt) -> Note:
        """What became of one reply. Raises :class:`LeaseLost`, before anything is sent, if this is not ours to send."""
        began = time.monotonic()
        note = self._attempt(lease, attempt)
        if attempt.probing and note.pause <= 0:
            # It may have failed, but not for the account's sake: nobody needs to wait on for what becomes of it.
            note = replace(note, ends_pause=True)
        self._observer.sent(lease.conversation.bot, time.monotonic() - began, note.state)
        self._log_result(note, has_waited=attempt.reply.state in (HELD, UNKNOWN))
        return note

    def _log_result(self, note: Note, *, has_waited: bool) -> None:
        reply = note.reply
        extra, attempt = {"event": reply.event, "conversation": reply.lane}, reply.attempts + 1
        if note.state == DEAD:
            log.error("gave up the reply to %s: %s", reply.event, note.error, extra=extra)
        elif note.state != SENT:
            # A long outage must not log each attempt of each reply.
            level = logging.DEBUG if has_waited else logging.WARNING
            wait = max((note.due_at or 0) - self._store.database.clock(), 0)
            text = "the reply to %s waits: %s; next attempt in %.1f s (attempt %d)"
            log.log(level, text, reply.event, note.error, wait, attempt, extra=extra)
        elif has_waited:
            log.info("sent the reply to %s that waited (attempt %d)", reply.event, attempt, extra=extra)

    def _attempt(self, lease: Lease, attempt: Attempt) -> Note:
        reply, channel = attempt.reply, self._channels[lease.conversation.channel]
        if self._store.database.clock() - reply.created_at > self.policy.age:
            return Note(reply, DEAD, error=f"not sent within {self.policy.age / 3600:.0f} hours")
        sending = Sending(lease.conversation, reply.client_id, reply.body, self._target(reply))
        if reply.target is not None and sending.target_id is None:
            return Note(reply, DEAD, error="the message that this changes was never sent")
        try:
            if attempt.look and channel.capabilities.look_up:
                found = channel.find(sending, timeout=self._time_left(lease))
                if found is not None:
                    return Note(reply, SENT, platform_id=found)
        except self._lets_out:
            raise
        except StoreBusy:
            raise
        except BaseException as error:
            if not isinstance(error, ChannelError):
                log.error(
                    "a channel's look failed in an unforeseen way", exc_info=error, extra={"conversation": reply.lane}
                )
            return self._failed(reply, error, lease, looking=True)
        timeout = self._time_left(lease)
        try:
            platform_id = channel.send(sending, timeout=timeout)
        except self._lets_out:
            raise
        except BaseException as error:
            return self._failed(reply, error, lease)
        pause, said = channel.cooldown(), platform_id or None
        return Note(reply, SENT, said, pause=pause)

    def _target(self, reply: Reply) -> str | None:
        if reply.target is None:
            return None
        with self._store.database.read() as connection:
            return self._store.outbox.target_id(connection, reply)

    def _time_left(self, lease: Lease) -> float:
        """Seconds that a request may take now: it must surely end before the lease does."""
        if self._process.remaining() < self.policy.timeout + _MARGIN:
            self._process.beat()
            with self._store.database.read() as connection:
                if not self._store.leases.holds(connection, lease):
                    raise LeaseLost
        return min(self.policy.timeout, self._process.remaining() - _MARGIN)

    def _failed(self, reply: Reply, error: BaseException, lease: Lease, *, looking: bool = False) -> Note:
        now, text = self._store.database.clock(), _describe(error)
        held = UNKNOWN if looking else HELD
        if isinstance(error, RateLimited):
            wait = max(error.retry_after, self.policy.throttle.seconds(self._refusals(lease)))
            return Note(reply, held, error=text, due_at=now + wait, pause=wait, is_refusal=True)
        if isinstance(error, Unreachable):
            wait = self.policy.outage.seconds(reply.attempts)
            return Note(reply, held, error=text, due_at=now + wait, pause=wait, tried=1)
        if isinstance(error, Uncertain | StoreBusy) or (looking and not isinstance(error, Rejected)):
            return self._uncertain(reply, error, text)
        if looking:
            return Note(reply, DEAD, error=f"could not look whether it had arrived: {text}")
        if not isinstance(error, Rejected):
            log.error("a channel failed in an unforeseen way", exc_info=error, extra={"conversation": reply.lane})
        return Note(reply, DEAD, error=text)

    def _refusals(self, lease: Lease) -> int:
        try:
            with self._store.database.read() as connection:
                return self._store.pauses.refusals(connection, lease.conversation.key)
        except StoreBusy:
            return 0

    def _uncertain(self, reply: Reply, error: BaseException, text: str) -> Note:
        # A channel that keeps its messages in our own database has a platform that is down when that is away.
        is_down = isinstance(error, StoreBusy) or (isinstance(error, Uncertain) and error.down)
        if reply.attempts + 1 >= self.policy.tries and not is_down:
            return Note(reply, DEAD, error=f"{text}; tried {reply.attempts + 1} times", tried=1)
        backoff = self.policy.outage if is_down else self.policy.backoff
        wait = backoff.seconds(reply.attempts)
        due_at = self._store.database.clock() + wait
        return Note(reply, UNKNOWN, error=text, due_at=due_at, tried=1, pause=wait if is_down else 0.0)


def _describe(error: BaseException) -> str:
    return describe(error, error.code if isinstance(error, Rejected) else "")
