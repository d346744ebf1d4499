"""How CometChat is made to misbehave: to refuse, fail, be slow, hang up, tell things twice or out of order."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from cometbot.simulator.callback_queue import Callback, Shuffle

SEND_ROUTES = ("POST /bots/*/messages", "POST /messages", "POST /messages/*/thread")
EVERYTHING = ("*",)
RESETS = ("seconds", "milliseconds", "relative", "date", "past", "none")
"""The form in which a 429 says how long to wait.

``seconds`` in ``Retry-After`` and as a Unix time in ``X-RateLimitStatus-Limit-Reset``;
a Unix time in ``milliseconds`` or seconds ``relative`` to now in ``X-RateLimitStatus-Limit-Reset`` alone; a ``date`` in
``Retry-After``, or one that is ``past``; ``none``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One way to misbehave, and how often.

    ``routes`` are patterns like ``POST /bots/*/messages`` (without ``/v3``). Of the requests that match, the first
    ``skip`` are spared; of the others every ``every``-th is hit, with ``probability``, until ``times`` were. A rule
    for callbacks looks at callbacks in place of requests.
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
    patience: float = 0.2


class ActiveRule:
    """A rule at work: counts what it saw and what it hit."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.seen = 0
        self.hits = 0
        self._random = random.Random(rule.seed)

    def matches(self, method: str, path: str) -> bool:
        """Whether the rule looks at this request."""
        return any(fnmatchcase(f"{method} {path}", pattern) for pattern in self.rule.routes)

    def should_apply(self) -> bool:
        """Whether the rule hits what it sees now. The same seed gives the same row of answers."""
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
        """The rule and its counts."""
        return {**asdict(self.rule), "seen": self.seen, "hits": self.hits}


class Misbehaviour:
    """The rules in force.

    Every method that adds one takes ``routes``, ``times``, ``skip``, ``every``, ``probability`` and ``seed`` as
    :class:`Rule` describes them; without ``routes`` it is for sending messages, without the rest for each of them.

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

        ``reset`` is one of :data:`RESETS`. All but ``seconds`` are what servers send against CometChat's documentation.
        """
        self.add(_make_rule("rate_limit", how_often, retry_after=retry_after, reset=reset))

    def fail(self, status: int = 500, *, code: str = "ERR_EXCEPTION", after: bool = False, **how_often: Any) -> None:
        """Answer ``status`` with error ``code`` and do nothing, or do all of it first where ``after``."""
        self.add(_make_rule("fail", how_often, status=status, code=code, after=after))

    def slow(self, seconds: float, **how_often: Any) -> None:
        """Wait before doing anything."""
        self.add(_make_rule("slow", how_often, seconds=seconds))

    def drop(self, *, before: bool = True, **how_often: Any) -> None:
        """Close the connection without an answer: before doing anything, or after having done all of it."""
        self.add(_make_rule("drop", how_often, after=not before))

    def duplicate_callbacks(self, n: int = 1, **how_often: Any) -> None:
        """Post each callback ``n`` times more."""
        self.add(_make_rule("duplicate_callbacks", how_often, n=n))

    def reorder_callbacks(self, window: int = 2, *, patience: float = 0.2, seed: int = 0) -> None:
        """Hold back up to ``window`` callbacks, at most ``patience`` seconds, and post them shuffled."""
        self.add(Rule(kind="reorder_callbacks", window=window, patience=patience, seed=seed))

    def add(self, rule: Rule) -> None:
        """Put a rule in force, behind those that are."""
        with self._lock:
            self._active_rules.append(ActiveRule(rule))

    def add_json(self, values: Mapping[str, Any]) -> None:
        """Put the rule that these values (checked by ``RuleSchema``) describe in force."""
        values = dict(values)
        if "before" in values:
            values["after"] = not values.pop("before")
        if "routes" in values:
            values["routes"] = tuple(values["routes"])
        self.add(Rule(**values))

    def clear(self, kind: str = "") -> None:
        """Behave again; with ``kind`` only what rules of that kind did ends."""
        with self._lock:
            self._active_rules = [effect for effect in self._active_rules if kind and effect.rule.kind != kind]

    @property
    def active_rules(self) -> list[ActiveRule]:
        """The rules in force with what they did so far, oldest first."""
        with self._lock:
            return list(self._active_rules)

    def select_rules(self, method: str, path: str) -> list[Rule]:
        """What is to happen to this request: any number of ``slow``, and of the others the first that hits."""
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
        """``callback`` and its deliberate doubles."""
        extra = sum(effect.rule.n for effect in self._select_callback_rules("duplicate_callbacks"))
        return [callback, *(replace(callback, copy=number) for number in range(1, extra + 1))]

    def get_shuffle(self) -> Shuffle | None:
        """How callbacks are to be shuffled now, None for not at all."""
        for effect in self.active_rules:
            if effect.rule.kind == "reorder_callbacks":
                return Shuffle(effect.rule.window, effect.rule.patience, effect._random)
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
