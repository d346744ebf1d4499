"""How the stand-in puts records on the wire, in every form that CLIs were seen to use."""

from __future__ import annotations

import itertools
import re
from typing import Any, Literal

import orjson

from cometbot.testing.simplex.objects import Obj

Form = Literal["flat", "either", "remote_host"]

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{6})Z")
_DIGITS = itertools.cycle((0, 3, 6, 9, 12))
_MAPS = ("mentions", "customData")


def encode(record: Obj, form: Form, *, corr_id: str | None = None, noisy: bool = False) -> str:
    """The frame that carries a record: an answer if there is a ``corr_id``, else an event.

    A ``noisy`` frame has fields that nobody knows everywhere, and times with up to twelve digits of a fraction.
    """
    content: Any = _noisy(record) if noisy else record
    if form == "either":
        side = "Left" if record["type"] in ("chatCmdError", "chatError") else "Right"
        content = {side: content}
    frame: Obj = {"resp": content}
    if corr_id is not None:
        frame = {"corrId": corr_id, **frame}
    if form == "remote_host":
        frame["remoteHostId"] = 1
    return orjson.dumps(frame).decode()


def _noisy(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        strange = {} if name in _MAPS else {"fieldOfTomorrow": {"type": "unheardOf", "value": [1, None]}, "gone": None}
        return {**{key: _noisy(inner, key) for key, inner in value.items()}, **strange}
    if isinstance(value, list):
        return [_noisy(item) for item in value]
    if isinstance(value, str) and (match := _TIME.fullmatch(value)):
        digits = next(_DIGITS)
        fraction = (match[2] + "000000")[:digits]
        return f"{match[1]}.{fraction}Z" if digits else f"{match[1]}Z"
    return value
