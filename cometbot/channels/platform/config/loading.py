"""Loads and validates the config file and the environment variables that override its fields."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cometbot.channels.platform.config.fields import Config
from cometbot.channels.platform.config.json_lines import find_lines
from cometbot.channels.platform.config.schemas import InvalidField, field_paths, parse_config
from cometbot.errors import ConfigurationError

VARIABLE_PREFIX = "PLATFORM_"

_WORD_BOUNDARY = re.compile(r"(?<=[a-z])(?=[A-Z])")


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
        raise ConfigurationError(f"{unknown[0]} is no field of the platform's config{_suggest(unknown[0], known)}")
    for name, value in set_variables.items():
        _set_field(values, known[name], value.strip())
    try:
        return parse_config(values)
    except InvalidField as error:
        by_variable = next((name for name in set_variables if known[name] == error.path), "")
        where = by_variable or _locate(path, text, error.path)
        raise ConfigurationError(f"{where}: {_describe(error)}") from None


def config_variables() -> dict[str, tuple[str, ...]]:
    """Return the environment variable of each text and number in the config, with the field's path in the file."""
    return {_variable_name(path): path for path in field_paths()}


def _variable_name(path: tuple[str, ...]) -> str:
    return VARIABLE_PREFIX + "_".join(_WORD_BOUNDARY.sub("_", part).upper() for part in path)


def _read_file(path: Path) -> tuple[dict[str, Any], str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigurationError(
            f"the platform's config file {path} cannot be read: {error.strerror}; set PLATFORM_CONFIG to one that can"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the platform's config file {path} is not UTF-8 text; save it as such") from error
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        cause = error.msg if isinstance(error, json.JSONDecodeError) else "it is nested too deep"
        raise ConfigurationError(f"{path}{where}: this is no JSON ({cause})") from error
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path}, line 1: the file must hold a JSON object, {{…}}")
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
    return f"there is no field {name}{_suggest(name, _all_field_names())}"


def _all_field_names() -> list[str]:
    found = field_paths()
    groups = sorted({path[:depth] for path in found for depth in (1, 2) if len(path) > depth})
    return [".".join(path) for path in (*found, ("service", "socials"), *groups)]


def _suggest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
