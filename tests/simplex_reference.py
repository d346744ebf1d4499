"""The tables of SimpleX's bot API reference, release 7.0.2: commands, responses, events and types, with examples."""

from __future__ import annotations

import copy
import functools
import json
import re
from pathlib import Path
from typing import Any

_TABLES: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text())
_PLACEHOLDER_PATTERN = re.compile(r"‹(\w+)(?:\.(\w+))?›")
_PLAIN = {"string": str, "bool": bool, "int": int, "int64": int, "word32": int, "double": (int, float)}

COMMANDS: list[dict[str, Any]] = _TABLES["commands"]
RESPONSES: dict[str, Any] = _TABLES["responses"]
EVENTS: dict[str, Any] = _TABLES["events"]
UNIONS: dict[str, Any] = _TABLES["unions"]
ENUMS: dict[str, list[str]] = _TABLES["enums"]
UNDOCUMENTED_EVENTS: list[str] = _TABLES["undocumented_events"]
OBJECTS = (*_TABLES["objects"], *_TABLES["variants"])


@functools.cache
def _resolve_type(name: str) -> Any:
    if name in _TABLES["variants"]:
        variant = _TABLES["variants"][name]
        made = copy.deepcopy(_resolve_type(variant["like"]))
        for path, value in variant["set"].items():
            *places, last = path.split(".")
            functools.reduce(lambda found, key: found[key], places, made)[last] = value
        return made
    return expand(_TABLES["objects"][name])


def expand(value: Any) -> Any:
    """``value`` with every name in angle quotes replaced by the object of that name."""
    if isinstance(value, dict):
        return {key: expand(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [expand(inner) for inner in value]
    match = _PLACEHOLDER_PATTERN.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    found = copy.deepcopy(_resolve_type(match[1]))
    return found[match[2]] if match[2] else found


def example(tag: str, kind: str = "events") -> dict[str, Any]:
    """The whole record that the reference shows for an event or a response."""
    found: dict[str, Any] = expand(_TABLES[kind][tag]["example"])
    return found


def find_errors(value: Any, kind: str, path: str = "") -> list[str]:
    """What is wrong with a value that should be of a type of the reference; empty if nothing is."""
    if kind.startswith("["):
        if not isinstance(value, list):
            return [f"{path}: no list"]
        return [fault for at, item in enumerate(value) for fault in find_errors(item, kind[1:-1], f"{path}[{at}]")]
    if kind.startswith("{"):
        inner = kind[1:-1].partition(":")[2].strip()
        if not isinstance(value, dict):
            return [f"{path}: no object"]
        return [fault for key, item in value.items() for fault in find_errors(item, inner, f"{path}.{key}")]
    if kind == "any":
        return []
    if kind == "UTCTime":
        good = isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,12})?Z", value)
        return [] if good else [f"{path}: no time"]
    if kind in _PLAIN:
        good = isinstance(value, _PLAIN[kind]) and (kind == "bool" or not isinstance(value, bool))
        return [] if good else [f"{path}: no {kind}"]
    if kind in ENUMS:
        return [] if value in ENUMS[kind] else [f"{path}: {value!r} is no {kind}"]
    if kind in UNIONS:
        tag = value.get("type") if isinstance(value, dict) else None
        if tag not in UNIONS[kind]:
            return [f"{path}: {tag!r} is no {kind}"]
        return _find_field_errors({k: v for k, v in value.items() if k != "type"}, UNIONS[kind][tag], path)
    return _find_field_errors(value, _TABLES["records"][kind], path)


def _find_field_errors(value: Any, fields: dict[str, str], path: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path}: no object"]
    found = [f"{path}.{name}: not in the reference" for name in value if name not in fields]
    for name, kind in fields.items():
        if name in value:
            found += find_errors(value[name], kind.removesuffix("?"), f"{path}.{name}")
        elif not kind.endswith("?"):
            found.append(f"{path}.{name}: missing")
    return found


def find_record_errors(record: dict[str, Any], *, is_answer: bool) -> list[str]:
    """What is wrong with an answer or an event, by the reference's tables."""
    tag = record.get("type", "")
    table = RESPONSES if is_answer else EVENTS
    if tag not in table:
        return [f"{tag!r} is not in the reference"]
    fields = {key: value for key, value in record.items() if key != "type"}
    return _find_field_errors(fields, table[tag]["fields"], tag)
