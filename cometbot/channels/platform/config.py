"""The platform's config file: its fields and defaults, loading with variables over it, and reloading."""

from __future__ import annotations

import dataclasses
import difflib
import json
import logging
import re
import secrets
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from cometbot.channels.platform.schemas import InvalidField, camel_case, load_dataclass
from cometbot.errors import ConfigurationError, StoreBusy
from cometbot.store.database import Database
from cometbot.store.metadata import get_metadata, set_metadata

JsonPath = tuple[str | int, ...]

VARIABLE_PREFIX = "PLATFORM_"

VERSION_NAME = "platform.config"
CHECK_INTERVAL = 1.0
"""Seconds after which a process checks whether another one has reloaded the file."""


_WORD_BOUNDARY = re.compile(r"(?<=[a-z])(?=[A-Z])")
_SYMBOL = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[{}\[\]:,]|[^\s{}\[\]:,"]+')
_log = logging.getLogger(__name__)


def _limit(default: int, **metadata: Any) -> Any:
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Social:
    """A link that the service shows."""

    title: str
    url: str = field(metadata={"is_url": True})


@dataclass(frozen=True, slots=True)
class Service:
    """The name, description, avatar and links of the service."""

    name: str = "Service name"
    description: str = "Some info about your service."
    avatar: str = field(default="", metadata={"is_url": True})
    socials: tuple[Social, ...] = ()


@dataclass(frozen=True, slots=True)
class UserLimits:
    """Lengths of nicknames in bytes, and the lifetime of a cookie in minutes."""

    min_nickname_length: int = _limit(3, at_most="max_nickname_length")
    max_nickname_length: int = 32
    auth_token_lifetime: int = _limit(10080, maximum=10 * 366 * 1440, error="must be at most ten years, in minutes")


@dataclass(frozen=True, slots=True)
class MessageLimits:
    """The longest text in bytes, and the number of files that a message or an upload may have."""

    max_body_length: int = _limit(4096, maximum=2**20, error="must be at most 1048576 bytes")
    max_attached_files: int = _limit(10, maximum=100, error="must be at most 100")


@dataclass(frozen=True, slots=True)
class FileLimits:
    """The largest file of each kind, in bytes."""

    max_image_size: int = 2097152
    max_audio_size: int = 5242880
    max_video_size: int = 26214400
    max_file_size: int = 10485760

    @property
    def by_kind(self) -> dict[str, int]:
        """The limits by the kinds of files."""
        return {
            "image": self.max_image_size,
            "audio": self.max_audio_size,
            "video": self.max_video_size,
            "file": self.max_file_size,
        }


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits for users, messages and files."""

    user: UserLimits = field(default_factory=UserLimits)
    message: MessageLimits = field(default_factory=MessageLimits)
    file: FileLimits = field(default_factory=FileLimits)


@dataclass(frozen=True, slots=True)
class Config:
    """The content of the config file."""

    service: Service = field(default_factory=Service)
    limits: Limits = field(default_factory=Limits)


class ReloadableConfig:
    """The content of the config file, loaded on creation and by :meth:`reload` in any process.

    The constructor raises :class:`ConfigurationError` if the file is invalid.
    """

    def __init__(self, path: Path | None, overrides: Mapping[str, str], database: Database) -> None:
        self._path = path
        self._overrides = dict(overrides)
        self._database = database
        self._lock = threading.Lock()
        self._config = load_config(path, overrides)
        self._version = ""
        self._checked_at = float("-inf")

    @property
    def current(self) -> Config:
        """The current config. If the file became invalid after it was loaded, the old config stays in force."""
        if time.monotonic() - self._checked_at > CHECK_INTERVAL and self._lock.acquire(blocking=False):
            try:
                self._check_version()
            finally:
                self._lock.release()
        return self._config

    def reload(self) -> Config:
        """Load the file again and return the config; all other processes have it a second later.

        Raises :class:`ConfigurationError` if the file is invalid. Then the old config stays in force.
        """
        with self._lock:
            config = load_config(self._path, self._overrides)
            version = secrets.token_hex(8)
            set_metadata(self._database, VERSION_NAME, version)
            self._config, self._version = config, version
            return config

    def _check_version(self) -> None:
        self._checked_at = time.monotonic()
        try:
            version = get_metadata(self._database, VERSION_NAME)
            if version == self._version:
                return
            self._version = version
            self._config = load_config(self._path, self._overrides)
        except StoreBusy:
            return
        except ConfigurationError as error:
            _log.warning("cannot reload the platform's config: %s. The old one stays in force.", error)


def load_config(path: Path | None, overrides: Mapping[str, str] | None = None) -> Config:
    """Return the config in the file at ``path`` (None: no file).

    The variables of :func:`config_variables` override its fields. A limit that is missing, null or 0 has its default.

    Raises :class:`ConfigurationError` with one sentence: the file and line, or the variable; the problem; and the
    remedy.
    """
    values, text = ({}, "") if path is None else _read_file(path)
    set_variables = {name: value for name, value in (overrides or {}).items() if value.strip()}
    known = config_variables()
    if unknown := sorted(set(set_variables) - set(known)):
        raise ConfigurationError(f"unknown setting {unknown[0]}{_suggest(unknown[0], known)}")
    for name, value in set_variables.items():
        _set_field(values, known[name], value.strip())
    try:
        return load_dataclass(Config, values)
    except InvalidField as error:
        by_variable = next((name for name in set_variables if known[name] == error.path), "")
        where = by_variable or _locate(path, text, error.path)
        raise ConfigurationError(f"{where}: {_describe(error)}") from None


def config_variables() -> dict[str, tuple[str, ...]]:
    """Return the environment variable of each text and number in the config, with the field's path in the file."""
    return {_variable_name(path): path for path in _field_paths(Config)}


def _variable_name(path: tuple[str, ...]) -> str:
    return VARIABLE_PREFIX + "_".join(_WORD_BOUNDARY.sub("_", part).upper() for part in path)


def _read_file(path: Path) -> tuple[dict[str, Any], str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the platform's config file {path}: {error.strerror}. Set PLATFORM_CONFIG to a readable file."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: expected UTF-8, got another encoding. Save it as UTF-8.") from error
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        cause = error.msg if isinstance(error, json.JSONDecodeError) else "it is nested too deep"
        raise ConfigurationError(f"{path}{where}: invalid JSON ({cause})") from error
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path}, line 1: expected a JSON object, {{…}}")
    return found, text


def _set_field(values: dict[str, Any], path: tuple[str, ...], value: str) -> None:
    holder = values
    for part in path[:-1]:
        inner = holder.get(part)
        holder[part] = holder = dict(inner) if isinstance(inner, dict) else {}
    is_number = path[0] == "limits" and re.fullmatch(r"-?[0-9]{1,18}", value)
    holder[path[-1]] = int(value) if is_number else value


def _locate(path: Path | None, text: str, found: tuple[Any, ...]) -> str:
    try:
        lines = find_lines(text)
    except RecursionError:
        lines = {}
    while found and found not in lines:
        found = found[:-1]
    return f"{path}, line {lines.get(found, 1)}"


def _describe(error: InvalidField) -> str:
    name = ".".join(str(part) for part in error.path) or "the file"
    if not error.is_unknown:
        return f"{name} {error}"
    return f"unknown field {name}{_suggest(name, _all_field_names())}"


def _all_field_names() -> list[str]:
    found = _field_paths(Config)
    groups = sorted({path[:depth] for path in found for depth in (1, 2) if len(path) > depth})
    return [".".join(path) for path in (*found, ("service", "socials"), *groups)]


def _suggest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f". Did you mean {close[0]}?" if close else ""


def _field_paths(kind: Any, before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the path of each text and number in the file."""
    found: list[tuple[str, ...]] = []
    for name, inner in get_type_hints(kind).items():
        path = (*before, camel_case(name))
        if dataclasses.is_dataclass(inner):
            found += _field_paths(inner, path)
        elif inner in (int, str):
            found.append(path)
    return found


def find_lines(text: str) -> dict[JsonPath, int]:
    """Return the line, counted from 1, of each value in a valid JSON ``text``, by the value's path.

    The line of an object's member is that of its name. For a duplicate name, the last one counts.
    """
    symbols = [(match[0], text.count("\n", 0, match.start()) + 1) for match in _SYMBOL.finditer(text)]
    lines: dict[JsonPath, int] = {(): symbols[0][1]} if symbols else {}
    symbols.reverse()
    if symbols:
        _read_lines(symbols, (), lines)
    return lines


def _read_lines(symbols: list[tuple[str, int]], path: JsonPath, lines: dict[JsonPath, int]) -> None:
    """Remove the symbols of one value from the end of ``symbols``, and add the lines of the values in it."""
    opening, _ = symbols.pop()
    if opening not in ("{", "["):
        return
    index = 0
    while symbols[-1][0] not in ("}", "]"):
        symbol, line = symbols[-1]
        name: str | int = index
        if opening == "{":
            name = json.loads(symbol)
            del symbols[-2:]
        member = (*path, name)
        lines[member] = line
        _read_lines(symbols, member, lines)
        index += 1
        if symbols[-1][0] == ",":
            symbols.pop()
    symbols.pop()
