"""Marshmallow schemas of AG-UI's request: what comes in is read, and never refused for what is new in it.

A member of the wrong type counts as absent. Messages and parts of an unknown kind are left out.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, missing, post_load

from cometbot.channels.agui.run_input import InputMessage, ResumeEntry, RunInput
from cometbot.content_types import media_family
from cometbot.models import Attachment, ClientTool
from cometbot.text import replace_surrogates

MAX_CLIENT_TOOLS = 200
"""The tools of a client that are kept."""

_MAX_RESUME_ENTRIES = 20
"""The answers to interrupts that are read; a bot asks one question after the other."""

_MEDIA_PARTS = frozenset({"image", "audio", "video", "document", "binary"})
_FILE_HANDLE = "file"
"""The kind of source that names a file at a provider of models, which nobody else can load."""


def read_input(value: Mapping[str, Any]) -> RunInput:
    """Return the request in a JSON object."""
    loaded: RunInput = _load(_RunInputSchema, value)
    return loaded


def drop_earlier_messages(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON of a request without what was said before its last message of a user.

    Each request repeats the whole conversation, and each is stored for days.
    """
    messages = value.get("messages")
    if not isinstance(messages, list):
        return dict(value)
    found = [index for index, item in enumerate(messages) if isinstance(item, dict) and item.get("role") == "user"]
    return {**value, "messages": messages[found[-1] :] if found else messages}


class _Lenient(fields.Field[Any]):
    """A value that ``parse`` returns; a value of another type counts as absent."""

    def __init__(self, parse: Callable[[Any], Any], default: Any, **kwargs: Any) -> None:
        super().__init__(load_default=default, **kwargs)
        self._parse = parse
        self._fallback = default

    def deserialize(
        self, value: Any, attr: str | None = None, data: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        if value is missing or value is None:
            return self._fallback
        try:
            return self._parse(value)
        except ValidationError:
            return self._fallback


def _parse_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValidationError("not a text")
    return replace_surrogates(value.replace("\0", "\ufffd"))


def _parse_object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValidationError("not an object")
    return value


def _parse_objects(kind: type[Schema], member: str, value: Any, limit: int | None = None) -> tuple[Any, ...]:
    """Return the first ``limit`` objects of a list. Entries of another type, or without this member, are left out.

    The member is looked at before the schema is: a megabyte of empty objects would keep it busy for seconds.
    """
    entries = value if isinstance(value, list) else ()
    objects = (entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get(member), str))
    return tuple(itertools.islice(_load_valid(kind, objects), limit))


def _load_valid(kind: type[Schema], objects: Iterable[Any]) -> Iterator[Any]:
    for entry in objects:
        try:
            yield _load(kind, entry)
        except ValidationError:
            continue


class _Schema(Schema):
    class Meta:
        unknown = EXCLUDE


class _SourceSchema(_Schema):
    """The source of the bytes of a part."""

    type = _Lenient(_parse_text, "")
    value = _Lenient(_parse_text, "")
    mimeType = _Lenient(_parse_text, "", data_key="mimeType", attribute="mime_type")


class _PartSchema(_Schema):
    """A part of a message's content, in the form of 1.0 or in the older one."""

    type = _Lenient(_parse_text, "")
    text = _Lenient(_parse_text, "")
    filename = _Lenient(_parse_text, "")
    url = _Lenient(_parse_text, "")
    data = _Lenient(_parse_text, "")
    mimeType = _Lenient(_parse_text, "", attribute="mime_type")
    source = _Lenient(lambda value: _load(_SourceSchema, value), None)


class _MessageSchema(_Schema):
    role = _Lenient(_parse_text, "")
    id = _Lenient(_parse_text, "")
    content = _Lenient(lambda value: value, "")
    toolCallId = _Lenient(_parse_text, "", attribute="tool_call_id")

    @post_load
    def make_message(self, data: dict[str, Any], **kwargs: Any) -> InputMessage:
        """Return the message."""
        text, attachments = _read_content(data.pop("content"))
        return InputMessage(**data, text=text, attachments=attachments)


class _ToolSchema(_Schema):
    name = _Lenient(_parse_text, "")
    description = _Lenient(_parse_text, "")
    parameters = _Lenient(_parse_object, {})

    @post_load
    def make_tool(self, data: dict[str, Any], **kwargs: Any) -> ClientTool:
        """Return the tool. A tool without a name is left out."""
        if not data["name"].strip():
            raise ValidationError("no name")
        return ClientTool(**data)


class _ResumeSchema(_Schema):
    interruptId = _Lenient(_parse_text, "", attribute="interrupt_id")
    status = _Lenient(_parse_text, "")
    payload = _Lenient(lambda value: value, None)

    @post_load
    def make_entry(self, data: dict[str, Any], **kwargs: Any) -> ResumeEntry:
        """Return the entry. An entry that names no interrupt is left out."""
        if not data["interrupt_id"]:
            raise ValidationError("no interrupt")
        return ResumeEntry(data["interrupt_id"], data["status"] == "cancelled", data["payload"])


class _RunInputSchema(_Schema):
    threadId = _Lenient(_parse_text, "", attribute="thread_id")
    runId = _Lenient(_parse_text, "", attribute="run_id")
    messages = _Lenient(lambda value: _parse_objects(_MessageSchema, "role", value), ())
    tools = _Lenient(lambda value: _parse_objects(_ToolSchema, "name", value, MAX_CLIENT_TOOLS), ())
    resume = _Lenient(lambda value: _parse_objects(_ResumeSchema, "interruptId", value, _MAX_RESUME_ENTRIES), ())
    protocolVersion = _Lenient(_parse_text, "", attribute="protocol_version")

    @post_load
    def make_input(self, data: dict[str, Any], **kwargs: Any) -> RunInput:
        """Return the request."""
        version = data.pop("protocol_version")
        return RunInput(**data, is_versioned=bool(version.strip()))


@functools.cache
def _schema(kind: type[Schema]) -> Schema:
    return kind()


def _load(kind: type[Schema], value: Any) -> Any:
    """Return the object in JSON of this kind. Raises :class:`ValidationError` for JSON that is no object."""
    return _schema(kind).load(_parse_object(value))


def _read_content(content: Any) -> tuple[str, tuple[Attachment, ...]]:
    """Return the text and the files of a message's content, which is a text or a list of parts."""
    if isinstance(content, str):
        return _parse_text(content), ()
    parts: Sequence[Mapping[str, Any]] = _parse_objects(_PartSchema, "type", content)
    texts = [part["text"] for part in parts if part["type"] == "text" and part["text"]]
    attachments = [found for part in parts if (found := _read_attachment(part)) is not None]
    return "\n".join(texts), tuple(attachments)


def _read_attachment(part: Mapping[str, Any]) -> Attachment | None:
    """Return the file of a part, or None if it has none that can be loaded."""
    if part["type"] not in _MEDIA_PARTS:
        return None
    source = part["source"] or {"type": "", "value": part["url"] or part["data"], "mime_type": part["mime_type"]}
    mime_type, value = source["mime_type"] or part["mime_type"], source["value"]
    if not value or source["type"] == _FILE_HANDLE:
        return None
    is_data = source["type"] == "data" or (not source["type"] and not part["url"])
    if not mime_type and media_family(part["type"]) != "file":
        mime_type = f"{part['type']}/*"
    url = f"data:{mime_type or 'application/octet-stream'};base64,{value}" if is_data else value
    return Attachment(url, part["filename"], mime_type)
