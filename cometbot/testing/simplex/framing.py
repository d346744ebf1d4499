"""Encodes the fake CLI's records as frames, in all formats that real CLIs use."""

from __future__ import annotations

import itertools
import re
from typing import Any, Literal

import orjson

from cometbot.testing.simplex.api_objects import JsonObject

FrameForm = Literal["flat", "either", "remote_host"]

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{6})Z")
_DIGITS = itertools.cycle((0, 3, 6, 9, 12))
_MAPS = ("mentions", "customData")


def encode_frame(
    record: JsonObject, form: FrameForm, *, corr_id: str | None = None, has_unknown_fields: bool = False
) -> str:
    """Return the frame of a record: an answer if there is a ``corr_id``, otherwise an event.

    With ``has_unknown_fields`` every object has unknown fields, and times have up to twelve fractional digits.
    """
    content: Any = _add_unknown_fields(record) if has_unknown_fields else record
    if form == "either":
        side = "Left" if record["type"] in ("chatCmdError", "chatError") else "Right"
        content = {side: content}
    frame: JsonObject = {"resp": content}
    if corr_id is not None:
        frame = {"corrId": corr_id, **frame}
    if form == "remote_host":
        frame["remoteHostId"] = 1
    return orjson.dumps(frame).decode()


def _add_unknown_fields(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        strange = {} if name in _MAPS else {"fieldOfTomorrow": {"type": "unheardOf", "value": [1, None]}, "gone": None}
        return {**{key: _add_unknown_fields(inner, key) for key, inner in value.items()}, **strange}
    if isinstance(value, list):
        return [_add_unknown_fields(item) for item in value]
    if isinstance(value, str) and (match := _TIME.fullmatch(value)):
        digits = next(_DIGITS)
        fraction = (match[2] + "000000")[:digits]
        return f"{match[1]}.{fraction}Z" if digits else f"{match[1]}Z"
    return value
