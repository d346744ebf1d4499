"""Prometheus metrics, summed over all processes of a gunicorn that share them."""

from __future__ import annotations

import functools
import itertools
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import get_args

from flask import Blueprint, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from cometbot.delivery import Backlog
from cometbot.inspection.problems import ProblemKind
from cometbot.observer import Observer
from cometbot.store.failures import KINDS
from cometbot.store.jobs import JobCounts

RECEIVED = ("received", "duplicate", "ignored", "refused")
HANDLED = ("done", "failed", "dead", "stopped", "unhandled", "retried")
APPROVALS_ENDED = ("approved", "declined", "expired", "withdrawn", "refused")
DIALOGS_ENDED = ("done", "cancelled", "timeout", "given_up", "replaced", "refused", "failed", "restarted")
MODERATED = ("match", "no_match", "late", "failed", "busy", "refused")
TOKENS = ("input", "output", "cached")
RECIPIENTS = ("queued", "opted_out", "refused", "dropped")
SENT = ("sent", "held", "unknown", "dead")
ALERT_KINDS = get_args(ProblemKind)
ALERTS_ENDED = ("sent", "failed")

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_ANSWER_BUCKETS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0, 259200.0, 604800.0)
"""Seconds in which people answer: up to a week."""

MAX_MODELS = 50
"""The models that a process counts by their names. Authors and providers name them, so there may be any number."""

OTHER_MODELS = "other"
"""The label of all further models."""

_log = logging.getLogger(__name__)

ReadBacklog = Callable[[], Mapping[str, Backlog]]
"""A function that returns the backlog of each bot."""


class Metrics(Observer):
    """Metrics of the messages of ``bots``; the observer of delivery and of the channels' views.

    A name that belongs to none of the bots is counted under an empty label, so that callers cannot fill the memory with
    names. With ``apps``, what CometChat's apps send and get is counted for each of them. The values of all processes
    are summed if ``PROMETHEUS_MULTIPROC_DIR`` was set before this module was imported.
    """

    def __init__(self, bots: Iterable[str], apps: Iterable[str] = ()) -> None:
        self._is_multiprocess = bool(os.environ.get("PROMETHEUS_MULTIPROC_DIR"))
        self._registry = CollectorRegistry()
        self._labels = {bot: bot for bot in bots}
        self._apps = tuple(apps)
        by_app = self._counter_by_app
        self._received = by_app("cometbot_events_received", "Events received", RECEIVED)
        self._handled = by_app("cometbot_events_handled", "Events that were handled", HANDLED)
        self._sent = by_app("cometbot_sends", "Requests to a platform; held and unknown are retried", SENT)
        self._dialogs_ended = self._counter("cometbot_dialogs_ended", "Dialogs that ended, by how", DIALOGS_ENDED)
        self._recipients = self._counter(
            "cometbot_broadcast_recipients", "Recipients of broadcasts, by what became of their message", RECIPIENTS
        )
        self._approvals = self._counter("cometbot_approvals", "Approvals that ended, by how", APPROVALS_ENDED)
        self._moderated = by_app("cometbot_moderations", "Messages that were to be judged", MODERATED)
        counter = functools.partial(Counter, registry=self._registry)
        self._tokens = counter(
            "cometbot_model_tokens", "Tokens of models, as handlers report", ("bot", "model", "kind")
        )
        self._models: set[str] = set()
        self._recovered = counter(
            "cometbot_conversations_recovered", "Conversations taken over from processes that died", ("bot",)
        )
        self._uploads_without_room = counter(
            "cometbot_uploads_without_room", "Files refused because the file storage or the disk is full"
        )
        self._writes_without_room = counter(
            "cometbot_writes_without_room", "Writes of users refused because the database or its disk is full"
        )
        alerts = counter("cometbot_alerts", "Alerts of COMETBOT_ALERTS", ("kind", "outcome"))
        self._alerts = _start_at_zero(alerts, ALERT_KINDS, ALERTS_ENDED)
        failures = counter("cometbot_database_failures", "Database errors that need a repair", ("kind",))
        self._store_failures = _start_at_zero(failures, KINDS)
        self._make_gauges()
        self._make_histograms()

    def _make_gauges(self) -> None:
        gauge = functools.partial(Gauge, registry=self._registry, multiprocess_mode="livesum")
        self._running = gauge(
            "cometbot_conversations_running", "Conversations whose handler runs or whose replies are sent"
        )
        self._queued = gauge("cometbot_conversations_queued", "Conversations that wait for a thread of their process")

    def _make_histograms(self) -> None:
        labels = ("bot", "app") if self._apps else ("bot",)
        self._handler_seconds = self._histogram("cometbot_handler_seconds", "Time in middleware and handlers", labels)
        self._send_seconds = self._histogram(
            "cometbot_send_seconds", "Time until a request was answered or given up", labels
        )
        self._moderation_seconds = self._histogram(
            "cometbot_moderation_seconds", "Time until a message was judged", labels
        )
        self._answer_seconds = self._histogram(
            "cometbot_answer_seconds", "Time from a question of a handler to its answer", ("bot",), _ANSWER_BUCKETS
        )

    def received(self, bot: str, outcome: str, *, app: str = "") -> None:
        """Count a received event."""
        self._received(*self._label(bot, app), outcome).inc()

    def handled(self, bot: str, seconds: float, outcome: str, *, app: str = "") -> None:
        """Count a handled event, and observe its ``seconds``."""
        label = self._label(bot, app)
        self._handled(*label, outcome).inc()
        self._handler_seconds(*label).observe(seconds)

    def sent(self, bot: str, seconds: float, outcome: str, *, app: str = "") -> None:
        """Count a request to a platform, and observe its ``seconds``."""
        label = self._label(bot, app)
        self._sent(*label, outcome).inc()
        self._send_seconds(*label).observe(seconds)

    def question_answered(self, bot: str, seconds: float) -> None:
        """Observe the ``seconds`` for which a question waited."""
        self._answer_seconds(self._labels.get(bot, "")).observe(seconds)

    def dialog_ended(self, bot: str, outcome: str) -> None:
        """Count a dialog that ended."""
        self._dialogs_ended(self._labels.get(bot, ""), outcome).inc()

    def approval_ended(self, bot: str, outcome: str) -> None:
        """Count an approval that ended."""
        self._approvals(self._labels.get(bot, ""), outcome).inc()

    def moderated(self, bot: str, seconds: float, outcome: str, *, app: str = "") -> None:
        """Count a request of CometChat's moderation, and observe its ``seconds``."""
        label = self._label(bot, app)
        self._moderated(*label, outcome).inc()
        self._moderation_seconds(*label).observe(seconds)

    def model_called(self, bot: str, model: str, *, input: int, output: int, cached: int) -> None:
        """Count the tokens of a call of a model."""
        label = self._labels.get(bot, "")
        if model not in self._models:
            if len(self._models) >= MAX_MODELS:
                model = OTHER_MODELS
            self._models.add(model)
        for kind, tokens in zip(TOKENS, (input, output, cached), strict=True):
            self._tokens.labels(label, model, kind).inc(tokens)

    def alert_ended(self, kind: str, outcome: str) -> None:
        """Count an alert."""
        self._alerts.labels(kind, outcome).inc()

    def broadcast(self, bot: str, outcome: str, count: int) -> None:
        """Count recipients of a broadcast."""
        self._recipients(self._labels.get(bot, ""), outcome).inc(count)

    def storage_full(self) -> None:
        """Count a file that was refused because the storage is full."""
        self._uploads_without_room.inc()

    def database_full(self) -> None:
        """Count a user's write that was refused because the database is full."""
        self._writes_without_room.inc()

    def recovered(self, bot: str) -> None:
        """Count a conversation that was taken over from a process that died."""
        self._recovered.labels(self._labels.get(bot, "")).inc()

    def load_measured(self, running: int, waiting: int) -> None:
        """Set how many conversations this process works on, and how many wait for a thread."""
        self._running.set(running)
        self._queued.set(waiting)

    def store_failed(self, kind: str) -> None:
        """Count a failure of the database that needs a repair."""
        self._store_failures.labels(kind).inc()

    def blueprint(self, backlog: ReadBacklog) -> Blueprint:
        """Create the view ``/metrics``, which calls ``backlog`` at each scrape."""
        blueprint = Blueprint("metrics", __name__)

        @blueprint.get("/metrics")
        def metrics() -> Response:
            return Response(self.to_text(backlog), content_type=CONTENT_TYPE_PLAIN_0_0_4)

        return blueprint

    def to_text(self, backlog: ReadBacklog) -> bytes:
        """Return all metrics in Prometheus' text format."""
        backlog_registry = CollectorRegistry()
        backlog_registry.register(_BacklogCollector(backlog))
        registry = self._registry
        if self._is_multiprocess:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry) + generate_latest(backlog_registry)

    def _counter(self, name: str, text: str, outcomes: tuple[str, ...]) -> Callable[[str, str], Counter]:
        """Return a function that finds the series of a label and an outcome, and remembers it."""
        counter = Counter(name, text, ("bot", "outcome"), registry=self._registry)
        # A series that starts at 0 shows its first increase; one that appears with 1 does not.
        for bot in sorted(self._labels):
            for outcome in outcomes:
                counter.labels(bot, outcome)
        return functools.cache(counter.labels)

    def _counter_by_app(self, name: str, text: str, outcomes: tuple[str, ...]) -> Callable[..., Counter]:
        """Return a function like :meth:`_counter`; the app is a label behind the bot, if there are apps."""
        if not self._apps:
            return self._counter(name, text, outcomes)
        counter = Counter(name, text, ("bot", "app", "outcome"), registry=self._registry)
        for labels in itertools.product(sorted(self._labels), self._apps, outcomes):
            counter.labels(*labels)
        return functools.cache(counter.labels)

    def _label(self, bot: str, app: str) -> tuple[str, ...]:
        label = self._labels.get(bot, "")
        return (label, app) if self._apps else (label,)

    def _histogram(
        self, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...] = _BUCKETS
    ) -> Callable[..., Histogram]:
        """Return a function that finds the series of its labels, and remembers it."""
        histogram = Histogram(name, text, labels, registry=self._registry, buckets=buckets)
        return functools.cache(histogram.labels)


def _start_at_zero(counter: Counter, *labels: Iterable[str]) -> Counter:
    """Create the series of all combinations of labels: a series that appears with 1 does not show that increase."""
    for values in itertools.product(*labels):
        counter.labels(*values)
    return counter


class _BacklogCollector(Collector):
    """Reads the backlog from the database at each scrape, because no process can count it alone."""

    def __init__(self, backlog: ReadBacklog) -> None:
        self._backlog = backlog

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        try:
            backlog = self._backlog()
        except Exception as error:
            # The other metrics show why the database cannot be read; they must not be lost with it.
            _log.warning("cannot read the backlog: %s", error)
            return
        waiting = GaugeMetricFamily("cometbot_waiting", "Events that wait for a handler", labels=["bot"])
        oldest = GaugeMetricFamily("cometbot_oldest_waiting_seconds", "Age of the oldest of them", labels=["bot"])
        dead = GaugeMetricFamily("cometbot_dead_letters", "Messages and replies that failed for good", labels=["bot"])
        stuck = GaugeMetricFamily(
            "cometbot_stuck_conversations",
            "Conversations whose work has waited for more than a minute without a worker",
            labels=["bot"],
        )
        open_dialogs = GaugeMetricFamily(
            "cometbot_open_dialogs", "Handlers that wait for an answer or a time", labels=["bot"]
        )
        jobs = _JobGauges()
        for bot, bot_backlog in backlog.items():
            jobs.add(bot, bot_backlog.jobs)
            waiting.add_metric([bot], bot_backlog.waiting)
            oldest.add_metric([bot], bot_backlog.oldest_seconds)
            dead.add_metric([bot], bot_backlog.dead)
            stuck.add_metric([bot], bot_backlog.stuck)
            open_dialogs.add_metric([bot], bot_backlog.open_dialogs)
        yield from (waiting, oldest, dead, stuck, open_dialogs, *jobs.gauges)


class _JobGauges:
    """The gauges of jobs, filled bot by bot."""

    def __init__(self) -> None:
        names = {
            "scheduled": "Jobs and messages that are still to come",
            "overdue": "Those of them that have not begun a minute after their time",
            "running": "Jobs that have begun and have not ended",
            "failed": "Jobs that are dead letters",
            "next_seconds": "Seconds until the next job is due",
        }
        self._by_name = {
            name: GaugeMetricFamily(f"cometbot_jobs_{name}", text, labels=["bot"]) for name, text in names.items()
        }

    @property
    def gauges(self) -> Iterable[Metric]:
        """The gauges; the time of the next job is missing for bots that have none."""
        return self._by_name.values()

    def add(self, bot: str, counts: JobCounts) -> None:
        """Add the values of one bot."""
        for name, gauge in self._by_name.items():
            value = getattr(counts, name)
            if value is not None:
                gauge.add_metric([bot], value)
