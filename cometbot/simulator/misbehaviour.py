"""Rules that make the simulator refuse, fail, delay, drop connections, and duplicate or reorder callbacks."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from cometbot.simulator.callback_queue import Callback, Shuffle

SEND_ROUTES = ("POST /bots/*/messages", "POST /messages", "POST /messages/*/thread")
RESETS = ("seconds", "milliseconds", "relative", "date", "past", "none")
"""The formats in which a 429 gives the time to wait.

``seconds``: in ``Retry-After``, and as a Unix time in ``X-Rate-Limit-Reset``. ``milliseconds``: a Unix time in
milliseconds, in ``X-Rate-Limit-Reset`` alone. ``relative``: seconds from now, in ``X-Rate-Limit-Reset`` alone.
``date``: a date in ``Retry-After``. ``past``: a date in ``Retry-After`` that is over. ``none``: no time at all.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One kind of misbehaviour, and how often it applies.

    ``routes`` are patterns like ``POST /bots/*/messages`` (without ``/v3``). Of the requests that match, the first
    ``skip`` are not affected. After these, every ``every``-th is affected, with ``probability``, until ``times``
    requests were. A rule for callbacks counts callbacks instead of requests.
    """

    kind: str
    routes: tuple[str, ...] = SEND_ROUTES
    times: int | None = None
    skip: int = 0
    every: int = 1
    probability: float = 1.0
    seed: int = 0
    retry_after: float = 1.0
    reset: str = "seconds"
    status: int = 500
    code: str = "ERR_EXCEPTION"
    after: bool = False
    seconds: float = 0.0
    n: int = 1
    window: int = 2
    timeout: float = 0.2


class ActiveRule:
    """A rule in force, with counts of the requests that it saw and affected."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.seen = 0
        self.hits = 0
        self._random = random.Random(rule.seed)

    def matches(self, method: str, path: str) -> bool:
        """Return True if the rule applies to this route."""
        return any(fnmatchcase(f"{method} {path}", pattern) for pattern in self.rule.routes)

    def should_apply(self) -> bool:
        """Count one request and return True if the rule affects it.

        The same seed gives the same sequence of results.
        """
        rule = self.rule
        if rule.times is not None and self.hits >= rule.times:
            return False
        self.seen += 1
        if self.seen <= rule.skip or (self.seen - rule.skip) % rule.every:
            return False
        if rule.probability < 1 and self._random.random() >= rule.probability:
            return False
        self.hits += 1
        return True

    def to_json(self) -> dict[str, Any]:
        """Return the rule with its counts."""
        return {**asdict(self.rule), "seen": self.seen, "hits": self.hits}


class Misbehaviour:
    """The active rules.

    Every method that adds one accepts ``routes``, ``times``, ``skip``, ``every``, ``probability`` and ``seed`` as
    :class:`Rule` describes them. Without ``routes`` it applies to sending messages; without the others to each request.

    ::

        simulator.misbehave.rate_limit(times=3, retry_after=2)
        simulator.misbehave.fail(503, probability=0.1, seed=7, routes=["GET /bots"])
        simulator.misbehave.drop(before=False, times=1)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active_rules: list[ActiveRule] = []

    def rate_limit(self, *, retry_after: float = 1.0, reset: str = "seconds", **how_often: Any) -> None:
        """Answer 429 with ``Retry-After`` and do nothing.

        ``reset`` is one of :data:`RESETS`. All but ``seconds`` contradict CometChat's documentation; some servers send
        them.
        """
        self.add(_make_rule("rate_limit", how_often, retry_after=retry_after, reset=reset))

    def fail(self, status: int = 500, *, code: str = "ERR_EXCEPTION", after: bool = False, **how_often: Any) -> None:
        """Answer ``status`` with error ``code`` and do nothing, or process the request first if ``after``."""
        self.add(_make_rule("fail", how_often, status=status, code=code, after=after))

    def slow(self, seconds: float, **how_often: Any) -> None:
        """Wait ``seconds`` before processing the request."""
        self.add(_make_rule("slow", how_often, seconds=seconds))

    def drop(self, *, before: bool = True, **how_often: Any) -> None:
        """Close the connection without a response, before processing the request or after it."""
        self.add(_make_rule("drop", how_often, after=not before))

    def duplicate_callbacks(self, n: int = 1, **how_often: Any) -> None:
        """Post each callback ``n`` more times."""
        self.add(_make_rule("duplicate_callbacks", how_often, n=n))

    def reorder_callbacks(self, window: int = 2, *, timeout: float = 0.2, seed: int = 0) -> None:
        """Hold back up to ``window`` callbacks, at most ``timeout`` seconds, and post them shuffled."""
        self.add(Rule(kind="reorder_callbacks", window=window, timeout=timeout, seed=seed))

    def add(self, rule: Rule) -> None:
        """Activate a rule, after the existing ones."""
        with self._lock:
            self._active_rules.append(ActiveRule(rule))

    def add_json(self, values: Mapping[str, Any]) -> None:
        """Activate the rule that these values (validated by ``RuleSchema``) describe."""
        values = dict(values)
        if "before" in values:
            values["after"] = not values.pop("before")
        if "routes" in values:
            values["routes"] = tuple(values["routes"])
        self.add(Rule(**values))

    def clear(self, kind: str = "") -> None:
        """Remove all rules, or those of one ``kind``."""
        with self._lock:
            self._active_rules = [effect for effect in self._active_rules if kind and effect.rule.kind != kind]

    @property
    def active_rules(self) -> list[ActiveRule]:
        """The active rules with their counts, oldest first."""
        with self._lock:
            return list(self._active_rules)

    def select_rules(self, method: str, path: str) -> list[Rule]:
        """Return the rules that apply to this request: any number of ``slow``, and the first other one that applies."""
        struck: list[Rule] = []
        if not self._active_rules:
            return struck
        with self._lock:
            for effect in self._active_rules:
                is_slow = effect.rule.kind == "slow"
                if effect.rule.kind not in ("rate_limit", "fail", "drop", "slow") or not effect.matches(method, path):
                    continue
                if (is_slow or not any(rule.kind != "slow" for rule in struck)) and effect.should_apply():
                    struck.append(effect.rule)
        return struck

    def with_duplicates(self, callback: Callback) -> Iterable[Callback]:
        """Return ``callback`` and its deliberate duplicates."""
        extra = sum(effect.rule.n for effect in self._select_callback_rules("duplicate_callbacks"))
        return [callback, *(replace(callback, copy=number) for number in range(1, extra + 1))]

    def get_shuffle(self) -> Shuffle | None:
        """Return how callbacks are shuffled now, or None if they are not."""
        for effect in self.active_rules:
            if effect.rule.kind == "reorder_callbacks":
                return Shuffle(effect.rule.window, effect.rule.timeout, effect._random)
        return None

    def _select_callback_rules(self, kind: str) -> list[ActiveRule]:
        if not self._active_rules:
            return []
        with self._lock:
            return [effect for effect in self._active_rules if effect.rule.kind == kind and effect.should_apply()]


def _make_rule(kind: str, how_often: Mapping[str, Any], **values: Any) -> Rule:
    routes = how_often.get("routes", SEND_ROUTES)
    routes = (routes,) if isinstance(routes, str) else tuple(routes)
    return Rule(kind=kind, **{**how_often, "routes": routes}, **values)
