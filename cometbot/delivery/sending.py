"""Send stored replies to a platform, and classify the results."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cometbot.backoff import Backoff
from cometbot.channels.base import Channels, OutgoingRequest
from cometbot.delivery.transactions import Transactions
from cometbot.dispatch import ErrorClasses
from cometbot.error_text import describe_error
from cometbot.errors import ChannelError, LeaseLost, OutcomeUnknown, RateLimited, Rejected, StoreBusy, Unreachable
from cometbot.observer import Observer
from cometbot.store.leases import Lease
from cometbot.store.outbox import OutboxMessage, SendAttempt, SendResult
from cometbot.store.tables import DEAD, DISCARDED, HELD, READY, SENT, UNKNOWN

log = logging.getLogger(__name__)

_LEASE_MARGIN = 1.0
"""Seconds by which a request must end before the lease does."""


@dataclass(frozen=True, slots=True)
class SendPolicy:
    """The limits for sending a reply.

    ``timeout`` is in seconds for each request. ``max_attempts`` counts the requests that may have failed because of the
    reply itself. ``max_age`` is in seconds for the whole time. ``rate_limit_backoff`` gives the minimum wait after a
    refusal for too many requests, whatever the platform requests.
    """

    timeout: float = 8.0
    max_attempts: int = 12
    max_age: float = 24 * 3600.0
    retry_backoff: Backoff = Backoff()
    outage_backoff: Backoff = Backoff(initial=0.5, maximum=30.0)
    rate_limit_backoff: Backoff = Backoff(initial=1.0, maximum=60.0)


class ReplySender:
    """Sends stored replies to their platforms while the lease holds, and returns the results."""

    def __init__(
        self,
        transactions: Transactions,
        channels: Channels,
        policy: SendPolicy,
        observer: Observer,
        *,
        reraise: ErrorClasses = (),
    ) -> None:
        self._reraise: ErrorClasses = (LeaseLost, *reraise)
        self._transactions = transactions
        self._channels = channels
        self.policy = policy
        self._observer = observer

    def send_all(self, lease: Lease, attempts: Sequence[SendAttempt]) -> list[SendResult]:
        """Send the replies one after the other, and return the results that are not saved yet, in order.

        Each result is saved before the next reply is sent. The first reply that is neither sent nor dead stops the
        rest, which become ready again. Raises :class:`LeaseLost`.
        """
        for index, attempt in enumerate(attempts):
            result = self.send(lease, attempt)
            remaining = attempts[index + 1 :]
            if not result.is_final:
                return [result, *(SendResult(later.reply, READY) for later in remaining)]
            if not remaining:
                return [result]
            self._transactions.save_results(lease, [result], durable=False)
        return []

    def send(self, lease: Lease, attempt: SendAttempt) -> SendResult:
        """Send one reply and return the result.

        Raises :class:`LeaseLost`, before anything is sent, if another process holds the lease.
        """
        began = time.monotonic()
        result = self._attempt(lease, attempt)
        if attempt.is_trial and result.throttle_seconds <= 0:
            # A trial that failed for another reason shows that the account works: other replies need not wait for its
            # result.
            result = replace(result, ends_throttle=True)
        if result.state == DISCARDED:
            return result
        app = self._channels.of(lease.conversation).app
        self._observer.sent(lease.conversation.bot, time.monotonic() - began, result.state, app=app)
        has_waited = attempt.reply.state in (HELD, UNKNOWN)
        if has_waited or result.state != SENT:
            self._log_result(result, has_waited=has_waited)
        return result

    def _log_result(self, result: SendResult, *, has_waited: bool) -> None:
        reply = result.reply
        extra, attempt = {"event": reply.event, "conversation": reply.conversation_key}, reply.attempts + 1
        if result.state == DEAD:
            log.error("gave up the reply to %s: %s", reply.event, result.error, extra=extra)
        elif result.state != SENT:
            # A long outage must not log each attempt of each reply.
            level = logging.DEBUG if has_waited else logging.WARNING
            wait = max((result.due_at or 0) - self._transactions.clock(), 0)
            text = "the reply to %s waits: %s; next attempt in %.1f s (attempt %d)"
            log.log(level, text, reply.event, result.error, wait, attempt, extra=extra)
        else:
            log.info("sent the reply to %s that waited (attempt %d)", reply.event, attempt, extra=extra)

    def _attempt(self, lease: Lease, attempt: SendAttempt) -> SendResult:
        reply, channel = attempt.reply, self._channels.of(lease.conversation)
        if self._transactions.clock() - reply.created_at > self.policy.max_age:
            return SendResult(reply, DEAD, error=f"not sent within {self.policy.max_age / 3600:.0f} hours")
        target_id = None
        if reply.target is not None:
            target_id = self._transactions.get_target_id(reply)
            if target_id is None and not self._transactions.has_target(reply):
                return SendResult(reply, DISCARDED)  # outgoing middleware has dropped the message that this changes
            if target_id is None:
                return SendResult(reply, DEAD, error="the message that this changes was never sent")
        sending = OutgoingRequest(lease.conversation, reply.client_id, reply.body, target_id)
        try:
            if attempt.verify_first and channel.capabilities.look_up:
                found = channel.find_sent(sending, timeout=self._time_left(lease))
                if found is not None:
                    return SendResult(reply, SENT, platform_id=found)
        except self._reraise:
            raise
        except StoreBusy:
            raise
        except BaseException as error:
            if not isinstance(error, ChannelError):
                log.error(
                    "a channel failed: unexpected error while it verified a reply",
                    exc_info=error,
                    extra={"conversation": reply.conversation_key},
                )
            return self._make_failure(reply, error, lease, is_verifying=True)
        timeout = self._time_left(lease)
        try:
            platform_id = channel.send(sending, timeout=timeout)
        except self._reraise:
            raise
        except BaseException as error:
            return self._make_failure(reply, error, lease)
        cooldown, sent_id = channel.cooldown(), platform_id or None
        return SendResult(reply, SENT, sent_id, throttle_seconds=cooldown)

    def _time_left(self, lease: Lease) -> float:
        """Return the seconds that a request may take now, so that it ends before the lease does.

        Raises :class:`LeaseLost`.
        """
        process, needed = self._transactions.process, self.policy.timeout + _LEASE_MARGIN
        time_left = process.lease_time_left()
        if time_left < needed:
            process.heartbeat()
            if not self._transactions.holds(lease):
                raise LeaseLost
            time_left = process.lease_time_left()
        return min(time_left, needed) - _LEASE_MARGIN

    def _make_failure(
        self, reply: OutboxMessage, error: BaseException, lease: Lease, *, is_verifying: bool = False
    ) -> SendResult:
        now, text = self._transactions.clock(), _describe_send_error(error)
        retry_state = UNKNOWN if is_verifying else HELD
        if isinstance(error, RateLimited):
            delay = max(
                error.retry_after, self.policy.rate_limit_backoff.delay(self._transactions.count_rate_limits(lease))
            )
            return SendResult(
                reply, retry_state, error=text, due_at=now + delay, throttle_seconds=delay, is_rate_limited=True
            )
        if isinstance(error, Unreachable):
            delay = self.policy.outage_backoff.delay(reply.attempts)
            return SendResult(
                reply, retry_state, error=text, due_at=now + delay, throttle_seconds=delay, counted_attempts=1
            )
        if isinstance(error, OutcomeUnknown | StoreBusy) or (is_verifying and not isinstance(error, Rejected)):
            return self._make_uncertain(reply, error, text)
        if is_verifying:
            return SendResult(reply, DEAD, error=f"cannot verify whether it arrived: {text}")
        if not isinstance(error, Rejected):
            log.error(
                "a channel failed: unexpected error", exc_info=error, extra={"conversation": reply.conversation_key}
            )
        return SendResult(reply, DEAD, error=text)

    def _make_uncertain(self, reply: OutboxMessage, error: BaseException, text: str) -> SendResult:
        # A channel that stores its messages in cometbot's database has an outage whenever the database has one.
        is_down = isinstance(error, StoreBusy) or (isinstance(error, OutcomeUnknown) and error.down)
        if reply.attempts + 1 >= self.policy.max_attempts and not is_down:
            return SendResult(reply, DEAD, error=f"{text}; tried {reply.attempts + 1} times", counted_attempts=1)
        backoff = self.policy.outage_backoff if is_down else self.policy.retry_backoff
        delay = backoff.delay(reply.attempts)
        due_at = self._transactions.clock() + delay
        return SendResult(
            reply, UNKNOWN, error=text, due_at=due_at, counted_attempts=1, throttle_seconds=delay if is_down else 0.0
        )


def _describe_send_error(error: BaseException) -> str:
    return describe_error(error, error.code if isinstance(error, Rejected) else "")
