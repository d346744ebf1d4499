"""Alerts: a thread of each process looks for problems, and one process sends each to the targets of the settings."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from cometbot.alert_targets import AlertTarget
from cometbot.bot import Bot
from cometbot.delivery import Delivery
from cometbot.errors import BotError, ChannelError, ConfigurationError, OutcomeUnknown, StoreBusy, StoreUnavailable
from cometbot.forking import PerProcess
from cometbot.http.client import HttpClient, make_session
from cometbot.inspection.problems import FIRST_WINDOW, Problem, find_problems
from cometbot.messages import Operation, Text
from cometbot.observer import Observer
from cometbot.settings import Settings
from cometbot.store.alerts import ALERT_EVENT_PREFIX, Claim, begin_check, claim, delete_old_claims, release

CHECK_INTERVAL = 30.0
"""Seconds between two checks, whichever process makes them."""

REPEAT_INTERVAL = 3600.0
"""Seconds in which no other alert about the same cause is sent."""

MAX_ALERTS = 10
"""The alerts that one check sends at most; the next ones send the rest."""

RETENTION = 86400.0
SEND_TIMEOUT = 10.0
TEST_TEXT = "cometbot: a test of COMETBOT_ALERTS. Alerts arrive here."

_MAX_ANSWER_BYTES = 64 * 1024
_log = logging.getLogger(__name__)


class AlertSender:
    """Sends alerts to ``targets``: a POST of JSON to a URL, or a message of the bot.

    The JSON's ``text`` is what Slack's incoming webhooks show. Raises :class:`ConfigurationError` for a target whose
    channel is not served here.
    """

    def __init__(self, delivery: Delivery, targets: Sequence[AlertTarget]) -> None:
        self._delivery = delivery
        self.targets = tuple(targets)
        for target in self.targets:
            self._check(target)

    def _check(self, target: AlertTarget) -> None:
        try:
            if not target.url:
                self._delivery.channels.choose(target.channel, target.app)
        except BotError as error:
            raise ConfigurationError(f"COMETBOT_ALERTS: cannot send to {target}: {error}") from None

    def send_problem(self, target: AlertTarget, problem: Problem, number: str) -> None:
        """Send the alert about a problem, which the target gets once for each ``number``. Raises like :meth:`send`."""
        text = f"cometbot: {problem.describe()}"
        details = {"alert": problem.kind, "bot": problem.bot, "cause": problem.cause, "count": problem.count}
        bot = self._delivery.bots.get(problem.bot) or next(iter(self._delivery.bots.values()))
        self.send(target, bot, text, details, f"{problem.key}:{number}")

    def send(self, target: AlertTarget, bot: Bot, text: str, details: dict[str, Any], event: str) -> None:
        """Send a text to one target.

        Raises :class:`ChannelError` if a URL does not take it, :class:`BotError` if the bot cannot write to that group
        or user.
        """
        if target.url:
            self._post(target, {"text": text, **details})
        else:
            self._enqueue(target, bot, text, event)

    def _post(self, target: AlertTarget, body: dict[str, Any]) -> None:
        client = HttpClient(make_session(1), peer="the webhook of COMETBOT_ALERTS")
        try:
            response = client.send(
                "POST",
                target.url.reveal(),
                f"POST {target}",
                SEND_TIMEOUT,
                limit=_MAX_ANSWER_BYTES,
                headers={"Content-Type": "application/json"},
                data=orjson.dumps(body),
            )
        finally:
            client.close()
        if not 200 <= response.status < 300:
            raise OutcomeUnknown(f"POST {target}: answered with {response.status}", status=response.status)

    def _enqueue(self, target: AlertTarget, bot: Bot, text: str, event: str) -> None:
        """Store the text as a message of the bot, without its outgoing middleware, which may be what fails."""
        delivery = self._delivery
        channel = delivery.channels.choose(target.channel, target.app)
        conversation = channel.conversation(bot, user=target.user, group=target.group)
        payloads = channel.render(Operation(conversation=conversation, message=Text(text)))
        name = f"{ALERT_EVENT_PREFIX.removeprefix('w')}{event}"
        must_notify = delivery.database.group_commit(
            lambda transaction: delivery.enqueue_outgoing_in(transaction, conversation, payloads, name),
            is_idempotent=True,
        )
        if must_notify:
            delivery.notify(str(conversation.key), to_send=True)


class AlertWatcher:
    """Looks for problems every half minute in a thread of its own, and sends each cause once an hour.

    All processes of a database share what was sent. Nothing that fails here is raised: it is logged, and tried again.
    """

    def __init__(
        self,
        delivery: Delivery,
        targets: Sequence[AlertTarget],
        *,
        after: float,
        observer: Observer,
        interval: float,
    ) -> None:
        self._delivery = delivery
        self._sender = AlertSender(delivery, targets)
        self._after = after
        self._observer = observer
        self._interval = interval
        self._threads = PerProcess(self._start_thread)
        self._failed_targets: set[AlertTarget] = set()

    def start(self) -> None:
        """Start the thread of this process, unless it runs."""
        if self._sender.targets:
            self._threads.get()

    def stop(self) -> None:
        """Stop the thread of this process. An alert that is being sent is not waited for."""
        if (running := self._threads.clear()) is not None:
            running.stop()

    def _start_thread(self) -> _Repeater:
        return _Repeater(self.check_safely, self._interval)

    def check_safely(self) -> None:
        """Do what :meth:`check` does, and log what it raises."""
        try:
            if begin_check(self._delivery.database, self._delivery.bots, self._interval * 0.9):
                self.check()
        except (StoreBusy, StoreUnavailable) as error:
            _log.debug("skipped a check for alerts: %s", error)
        except Exception:
            _log.exception("a check for alerts failed; it is repeated")

    def check(self) -> None:
        """Look for problems, and send those that were not sent in the last hour."""
        delivery = self._delivery
        apps = {channel.account: channel.app for channel in delivery.channels.all if channel.app}
        problems, claims = find_problems(delivery.store, delivery.bots, self._after, apps)
        now = delivery.database.clock()
        due = [problem for problem in problems if _is_due(claims.get(problem.key), now)]
        for problem in due[:MAX_ALERTS]:
            self._send_once(problem, claims.get(problem.key), Claim(now, problem.newest or now))
        delete_old_claims(delivery.database, claims, now - RETENTION)

    def _send_once(self, problem: Problem, previous: Claim | None, new: Claim) -> None:
        if not claim(self._delivery.database, problem.key, previous, new):
            return
        results = [self._send(target, problem, f"{new.sent_at:.0f}") for target in self._sender.targets]
        if not any(results):
            release(self._delivery.database, problem.key, new, previous or _make_unsent_claim(new.sent_at))

    def _send(self, target: AlertTarget, problem: Problem, number: str) -> bool:
        try:
            self._sender.send_problem(target, problem, number)
        except (ChannelError, BotError, StoreBusy) as error:
            self._observer.alert_ended(problem.kind, "failed")
            level = logging.DEBUG if target in self._failed_targets else logging.ERROR
            self._failed_targets.add(target)
            _log.log(level, "cannot send alerts to %s: %s; they are tried again", target, type(error).__name__)
            return False
        self._failed_targets.discard(target)
        self._observer.alert_ended(problem.kind, "sent")
        _log.info("sent an alert to %s: %s", target, problem.kind, extra={"bot": problem.bot})
        return True


def _make_unsent_claim(now: float) -> Claim:
    """Return the claim of a cause whose first alert failed now: due at once, with all that this alert counted.

    Without it, a target that fails for longer than the first window would never get the alert.
    """
    return Claim(now - REPEAT_INTERVAL, now - FIRST_WINDOW)


def _is_due(sent: Claim | None, now: float) -> bool:
    return sent is None or not 0 <= now - sent.sent_at < REPEAT_INTERVAL


class _Repeater:
    """A thread that runs ``function`` every ``interval`` seconds until it is stopped."""

    def __init__(self, function: Callable[[], None], interval: float) -> None:
        self._function = function
        self._interval = interval
        self._is_stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cometbot-alerts", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._is_stopped.set()
        self._thread.join(1)

    def _run(self) -> None:
        while not self._is_stopped.wait(self._interval * random.uniform(0.5, 1.0)):
            self._function()


def make_alert_watcher(settings: Settings, delivery: Delivery, observer: Observer) -> AlertWatcher:
    """Return the watcher that the settings ask for, which does nothing without ``COMETBOT_ALERTS``.

    Raises :class:`ConfigurationError` for a target whose channel is not served here.
    """
    return AlertWatcher(
        delivery, settings.alerts, after=settings.alert_after, observer=observer, interval=CHECK_INTERVAL
    )


def send_test(delivery: Delivery, targets: Sequence[AlertTarget]) -> dict[AlertTarget, str]:
    """Send a test to each target, and return what went wrong, empty for success.

    A message of the bot is only stored: the running bot sends it.
    """
    sender, bot = AlertSender(delivery, targets), next(iter(delivery.bots.values()))
    results = {}
    for target in targets:
        try:
            sender.send(target, bot, TEST_TEXT, {"alert": "test", "bot": bot.name}, f"test:{time.time_ns()}")
            results[target] = ""
        except (ChannelError, BotError, StoreBusy) as error:
            results[target] = str(error)
    return results
