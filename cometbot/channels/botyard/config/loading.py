"""The config file and the variables that stand for its fields, read and checked."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cometbot.channels.botyard.config.fields import Config
from cometbot.channels.botyard.config.places import lines_of
from cometbot.channels.botyard.config.schemas import Fault, check, paths
from cometbot.errors import ConfigurationError

PREFIX = "BOTYARD_"

_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")


def load_config(path: Path | None, environ: Mapping[str, str] | None = None) -> Config:
    """What the file at ``path`` says (None: nothing), and the variables of :func:`variables` over it.

    A limit that is missing, null or 0 has its default. Raises :class:`ConfigurationError` with one sentence: the file
    and the line, or the variable; what is wrong there; and what to set.
    """
    given, text = ({}, "") if path is None else _read(path)
    overridden = {name: value for name, value in (environ or {}).items() if value.strip()}
    known = variables()
    if strangers := sorted(set(overridden) - set(known)):
        raise ConfigurationError(f"{strangers[0]} is no field of the platform's config{_suggest(strangers[0], known)}")
    for name, value in overridden.items():
        _set(given, known[name], value.strip())
    try:
        return check(given)
    except Fault as fault:
        by_variable = next((name for name in overridden if known[name] == fault.path), "")
        where = by_variable or _place(path, text, fault.path)
        raise ConfigurationError(f"{where}: {_sentence(fault)}") from None


def variables() -> dict[str, tuple[str, ...]]:
    """The environment variable of each field that is a text or a number, with the field's path in the file."""
    return {_variable(path): path for path in paths()}


def _variable(path: tuple[str, ...]) -> str:
    return PREFIX + "_".join(_WORDS.sub("_", part).upper() for part in path)


def _read(path: Path) -> tuple[dict[str, Any], str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigurationError(
            f"the platform's config file {path} cannot be read: {error.strerror}; set BOTYARD_CONFIG to one that can"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the platform's config file {path} is not UTF-8 text; save it as such") from error
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        said = error.msg if isinstance(error, json.JSONDecodeError) else "it is nested too deep"
        raise ConfigurationError(f"{path}{where}: this is no JSON ({said})") from error
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path}, line 1: the file must hold a JSON object, {{…}}")
    return found, text


def _set(given: dict[str, Any], path: tuple[str, ...], value: str) -> None:
    holder = given
    for part in path[:-1]:
        inner = holder.get(part)
        holder[part] = holder = dict(inner) if isinstance(inner, dict) else {}
    is_number = path[0] == "limits" and re.fullmatch(r"-?[0-9]{1,18}", value)
    holder[path[-1]] = int(value) if is_number else value


def _place(path: Path | None, text: str, found: tuple[Any, ...]) -> str:
    try:
        places = lines_of(text)
    except RecursionError:
        places = {}
    while found and found not in places:
        found = found[:-1]
    return f"{path}, line {places.get(found, 1)}"


def _sentence(fault: Fault) -> str:
    name = ".".join(str(part) for part in fault.path) or "the file"
    if not fault.is_unknown:
        return f"{name} {fault}"
    return f"there is no field {name}{_suggest(name, _all_names())}"


def _all_names() -> list[str]:
    found = paths()
    groups = sorted({path[:depth] for path in found for depth in (1, 2) if len(path) > depth})
    return [".".join(path) for path in (*found, ("service", "socials"), *groups)]


def _suggest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
