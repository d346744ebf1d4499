"""Marshmallow fields for the CLI's objects: strict for values that cannot be done without, otherwise lenient."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, missing

from cometbot.channels.simplex.protocol.refs import MAX_ID

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,12}))?(?:Z|\+00:00)")


class Identifier(fields.Field[int]):
    """An id from 1 up."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_ID:
            raise ValidationError("Not a valid id: a whole number from 1 up.")
        return value


class NonEmptyString(fields.Field[str]):
    """A tag or an enum value: a non-empty string."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        if not isinstance(value, str) or not value:
            raise ValidationError("Not a valid tag: a text that is not empty.")
        return value


class TypeTag(fields.Field[str]):
    """The tag of an object with a ``type``."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        tag = value.get("type") if isinstance(value, Mapping) else None
        if not isinstance(tag, str) or not tag:
            raise ValidationError("Not a valid record: an object with a type.")
        return tag


class UtcTime(fields.Field[float]):
    """A UTCTime with zero to twelve fractional digits, as seconds since 1970."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> float:
        match = _TIME.fullmatch(value) if isinstance(value, str) else None
        try:
            if match is None:
                raise ValueError
            whole = datetime.datetime.fromisoformat(match[1]).replace(tzinfo=datetime.timezone.utc)
        except ValueError:
            raise ValidationError("Not a valid time, such as 2026-03-01T10:00:00.123456Z.") from None
        return whole.timestamp() + float(f"0.{match[2] or 0}")


class LenientField(fields.Field[Any]):
    """A field that loads with ``inner``, and is omitted if the value is absent or invalid."""

    def __init__(self, inner: fields.Field[Any] | Schema, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._inner = inner

    def deserialize(
        self, value: Any, attr: str | None = None, data: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        if value is missing or value is None:
            return missing
        try:
            return self._inner.load(value) if isinstance(self._inner, Schema) else self._inner.deserialize(value)
        except ValidationError:
            return missing


class LenientList(fields.Field[tuple[Any, ...]]):
    """A tuple of the list's objects that are valid for ``schema``; empty if the value is not a list."""

    def __init__(self, schema: Schema | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._schema = schema

    def deserialize(
        self, value: Any, attr: str | None = None, data: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        objects = [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
        if self._schema is None:
            return tuple(objects)
        return tuple(self._schema.load(item) for item in objects if not self._schema.validate(item))


class MemberIds(fields.Field[dict[str, str]]):
    """The mentioned members of a text: name → ``memberId``."""

    def deserialize(
        self, value: Any, attr: str | None = None, data: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        found = value.items() if isinstance(value, Mapping) else ()
        ids = {name: item.get("memberId") for name, item in found if isinstance(item, Mapping)}
        return {name: member for name, member in ids.items() if isinstance(member, str) and member}
