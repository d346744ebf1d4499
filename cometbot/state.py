"""The state of conversations and users, as handlers see it, and the changes to be stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from cometbot.durations import Duration, to_seconds
from cometbot.errors import BotError
from cometbot.steps import Suspended
from cometbot.text import replace_surrogates

RESERVED_PREFIX = "cometbot:"
"""The prefix of the state keys that cometbot reserves for itself."""

MAX_STATE_KEY_BYTES = 500
"""The UTF-8 bytes that a state key may have at most: databases limit the size of an index entry."""


@dataclass(frozen=True, slots=True)
class StateChange:
    """The changes to one owner's state.

    ``values`` are JSON texts by key, ``removed`` the deleted keys. ``increments`` are added to the stored numbers.
    ``lifetimes`` are the seconds after which keys end, None for never; any other key keeps the end that it has.
    """

    scope: str
    owner: str
    values: dict[str, str] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()
    increments: dict[str, int | float] = field(default_factory=dict)
    lifetimes: dict[str, float | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.values or self.removed or self.increments)


def to_json(name: str, value: Any) -> str:
    """Return ``value`` as JSON, as it is stored under ``name``. U+FFFD replaces lone surrogates.

    Raises :class:`BotError` if it cannot be expressed in JSON.
    """
    try:
        return json.dumps(replace_surrogates(value), separators=(",", ":"), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise BotError(f"state {name!r} must be JSON (str, number, bool, None, list, dict): {error}") from error


def check_state_key(name: str) -> None:
    """Raise :class:`BotError` if ``name`` cannot be a state key in every database."""
    if not isinstance(name, str):
        raise BotError(f"a state key is a str, not {type(name).__name__}")
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise BotError(f"a state key is whole text; {name[:50]!r} holds half a character") from None
    if "\0" in name:
        raise BotError(f"a state key holds no NUL, and {name[:50]!r} does")
    if length > MAX_STATE_KEY_BYTES:
        raise BotError(
            f"a state key has at most {MAX_STATE_KEY_BYTES} bytes of UTF-8; this one has {length}: '{name[:50]}…'; "
            "keep what is long in the value"
        )


def _check_own_key(name: str) -> None:
    """Raise :class:`BotError` if handlers cannot store something under ``name``.

    A bot may make keys of what users write: they must not change its dialogs, approvals and quick replies.
    """
    check_state_key(name)
    if name.startswith(RESERVED_PREFIX):
        raise BotError(f"state {name!r}: keys that begin with {RESERVED_PREFIX!r} are reserved; choose another key")


class State(MutableMapping[str, Any]):
    """The state of a conversation or user: JSON values by key.

    It is loaded on first access and stored together with the result of the event. Changes inside a value are detected,
    too (``ctx.state["cart"].append("tea")`` is enough). Only changed keys are written; between conversations the last
    writer wins. If the handler raises, its changes are discarded. :meth:`set` stores a value that ends after a time; an
    assignment changes the value and keeps its end. A key has at most :data:`MAX_STATE_KEY_BYTES` bytes
    and no NUL; assigning to another key raises :class:`BotError`. Keys that begin with ``cometbot:`` are reserved for
    cometbot; they are neither counted nor listed, and changing one raises :class:`BotError`.
    """

    def __init__(self, scope: str, owner: str, load: Callable[[str, str], dict[str, str]]) -> None:
        self.is_loaded = False
        """True once the state was accessed. Without that it has no changes."""
        self.is_frozen = False
        """True once the run of the handler is suspended. Every change then raises."""
        self._scope = scope
        self._owner = owner
        self._load = load
        self._stored: dict[str, str] = {}
        self._values: dict[str, Any] = {}
        self._increments: dict[str, int | float] = {}
        self._lifetimes: dict[str, float | None] = {}

    def set(self, name: str, value: Any, *, expires: Duration | None = None) -> None:
        """Store ``value`` under ``name`` until the duration ``expires`` is over, or for ever.

        ::

            ctx.state.set("code", "4711", expires="10m")

        ``expires`` is a text such as ``"90s"`` or ``"1d"``, a number of seconds, or a ``timedelta``. It counts from the
        commit that stores the value, by the clock of the database. Then the key is absent. Raises :class:`BotError`
        for a duration that is not above 0 or longer than a year, and for a key or value that cannot be stored.
        """
        lifetime = None if expires is None else to_seconds(expires, f"state {name!r}: expires")
        self[name] = value
        self._lifetimes[name] = lifetime

    def increment(self, name: str, by: int | float = 1) -> int | float:
        """Add ``by`` to the counter ``name`` and return its new value, as far as this process knows it.

        The addition in the database is atomic. Raises :class:`BotError` if the value is no number.
        """
        if self.is_frozen:
            raise Suspended
        _check_own_key(name)
        values = self._load_values()
        value = values.get(name, 0)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise BotError(f"state {name!r} holds a {type(value).__name__}; only a number can be incremented")
        if name in self._increments or not self._is_changed(name):
            self._increments[name] = self._increments.get(name, 0) + by
        values[name] = value + by
        return value + by

    def changes(self) -> StateChange:
        """Return the changes to be written. Raises :class:`BotError` with the key of a value that is not JSON."""
        if not (self._stored or self._values):
            return StateChange(self._scope, self._owner)
        written = {
            name: text
            for name, value in self._values.items()
            if name not in self._increments
            and ((text := to_json(name, value)) != self._stored.get(name) or name in self._lifetimes)
        }
        removed = frozenset(self._stored.keys() - self._values.keys())
        lifetimes = {name: seconds for name, seconds in self._lifetimes.items() if name in self._values}
        return StateChange(self._scope, self._owner, written, removed, dict(self._increments), lifetimes)

    def discard_changes(self) -> None:
        """Discard the changes that are not stored yet."""
        self.is_loaded = self.is_frozen = False
        self._stored = {}
        self._values = {}
        self._increments = {}
        self._lifetimes = {}

    def _is_changed(self, name: str) -> bool:
        return (to_json(name, self._values[name]) if name in self._values else None) != self._stored.get(name)

    def _load_values(self) -> dict[str, Any]:
        if not self.is_loaded:
            self._stored = self._load(self._scope, self._owner)
            for name, text in self._stored.items():
                self._values[name] = json.loads(text)
            self.is_loaded = True
        return self._values

    def __getitem__(self, name: str) -> Any:
        return self._load_values()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if self.is_frozen:
            raise Suspended
        _check_own_key(name)
        to_json(name, value)
        self._increments.pop(name, None)
        self._load_values()[name] = value

    def __delitem__(self, name: str) -> None:
        if self.is_frozen:
            raise Suspended
        if name in self._load_values():
            _check_own_key(name)
        del self._values[name]
        self._increments.pop(name, None)
        self._lifetimes[name] = None  # what is assigned later is a new entry

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._load_values() if not name.startswith(RESERVED_PREFIX))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def owner_of(state: State) -> str:
    """Return the conversation or user whose state this is, as it is stored."""
    return state._owner


def set_reserved(state: State, name: str, value: Any) -> None:
    """Store ``value`` under a key of cometbot's own."""
    if state.is_frozen:
        raise Suspended
    state._load_values()[name] = value


def pop_reserved(state: State, name: str) -> Any:
    """Remove a key of cometbot's own, and return its value, None if there was none."""
    if state.is_frozen:
        raise Suspended
    return state._load_values().pop(name, None)


def checkpoint(state: State) -> dict[str, str] | None:
    """Return the current values as JSON texts by key, for :func:`take_changes`; None before the first access."""
    return {name: to_json(name, value) for name, value in state._values.items()} if state.is_loaded else None


def take_changes(state: State, before: dict[str, str] | None) -> StateChange:
    """Return the changes since the checkpoint ``before``, which count as stored from now on."""
    if before is None:
        before = state._stored
    now = checkpoint(state) or {}
    written = {name: text for name, text in now.items() if before.get(name) != text or name in state._lifetimes}
    removed = frozenset(before.keys() - now.keys())
    state._stored = {name: text for name, text in {**state._stored, **written}.items() if name not in removed}
    for name in written:
        state._increments.pop(name, None)
    lifetimes = {name: state._lifetimes.pop(name) for name in written if name in state._lifetimes}
    return StateChange(state._scope, state._owner, written, removed, lifetimes=lifetimes)
