"""Turns: a conversation as language models want it, and the formats of the two usual APIs."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Literal, get_args

from cometbot.content_types import sniff
from cometbot.errors import BotError
from cometbot.models import Attachment

Role = Literal["system", "user", "assistant", "tool"]

OPENING_TEXT = "(The assistant writes first.)"
"""The user's turn before an assistant's that comes first, which some providers refuse, such as the Messages API."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's call of a tool. ``id`` is the model's, by which the result names the call.

    ``arguments`` are an object, or its JSON text, as providers send it.
    """

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)
    id: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation with a model.

    ``role`` is ``user``, ``assistant`` (the bot), ``tool`` (the result of a call) or ``system``. ``name`` is who wrote
    a user's turn in a group; both formats put it before the text (``Maria: Hello``). ``images`` are those of a user's
    turn; both formats name one whose address no server can load (see :func:`embed_images`). ``tool_calls`` are those of
    an assistant's turn, ``tool_call_id`` is the id of the call that a tool's turn answers. Raises :class:`BotError` for
    another role.
    """

    role: Role
    text: str = ""
    name: str = ""
    images: tuple[Attachment, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""

    def __post_init__(self) -> None:
        if self.role not in get_args(Role):
            raise BotError(f"a Turn's role: expected one of {', '.join(get_args(Role))}, got {self.role!r}")

    def to_openai(self) -> Any:
        """Return this turn as a message of OpenAI's Chat Completions API."""
        return to_openai([self])[0]

    def to_anthropic(self) -> Any:
        """Return this turn as a message of Anthropic's Messages API. Raises :class:`BotError` for a system turn."""
        return {"role": _anthropic_role(self), "content": _anthropic_blocks(self)}

    @property
    def signed_text(self) -> str:
        """The text with the name before it, as both formats have it."""
        return f"{clean_name(self.name)}: {self.text}".rstrip() if self.name else self.text


def clean_name(name: str) -> str:
    """Return the name of a user in one line and without colons, so that it cannot look like a turn of somebody else."""
    return " ".join(re.sub("[:\uff1a]", " ", name).split())


def to_openai(turns: Iterable[Turn]) -> list[Any]:
    """Return turns as messages of OpenAI's Chat Completions API, which many other servers understand.

    ::

        client.chat.completions.create(model=..., messages=to_openai(ctx.turns()))

    Adjacent turns of a user or of the assistant become one message: many servers want the two to take turns. A text
    alone is a str, which every server accepts; with pictures, the content is a list of parts. Type checkers see Any,
    which the client accepts for its own types.
    """
    messages: list[Any] = []
    for role, group in groupby(turns, lambda turn: turn.role):
        if role in ("user", "assistant"):
            messages.append(_merge_openai(role, [*group]))
        else:
            messages += map(_openai_message, group)
    return messages


def to_anthropic(turns: Iterable[Turn]) -> list[Any]:
    """Return turns as messages of Anthropic's Messages API.

    ::

        client.messages.create(model=..., max_tokens=1000, system=PROMPT, messages=to_anthropic(ctx.turns()))

    Adjacent turns of one role become one message, and results of tools are a user's, as the API wants it. If the
    assistant comes first, a short user's turn stands before it. Raises :class:`BotError` for a system turn.
    """
    messages = [
        {"role": role, "content": [block for turn in group for block in _anthropic_blocks(turn)]}
        for role, group in groupby(turns, _anthropic_role)
    ]
    if messages and messages[0]["role"] == "assistant":
        messages.insert(0, Turn("user", OPENING_TEXT).to_anthropic())
    return messages


def embed_images(turns: Iterable[Turn], load: Callable[[str], bytes] | None = None) -> list[Turn]:
    """Return turns whose pictures are in their addresses, for a model that cannot load them from where they are.

    ::

        turns = embed_images(ctx.turns())

    ``load`` returns the bytes of an address; without it, each picture is read (:meth:`Attachment.read`), which works in
    handlers. Pictures are loaded in each run, and what that raises is raised.
    """
    return [replace(turn, images=tuple(_embed(image, load) for image in turn.images)) for turn in turns]


def _embed(image: Attachment, load: Callable[[str], bytes] | None) -> Attachment:
    if image.url.startswith("data:"):
        return image
    content = image.read() if load is None else load(image.url)
    mime_type = sniff(content, image.name)
    url = f"data:{mime_type};base64,{base64.b64encode(content).decode()}"
    return replace(image, url=url, mime_type=mime_type, size=len(content))


def _merge_openai(role: str, turns: list[Turn]) -> dict[str, Any]:
    """Return one message for turns of one role."""
    if any(turn.images for turn in turns):
        return {"role": role, "content": [part for turn in turns for part in _openai_parts(turn)]}
    texts = [text for turn in turns if (text := turn.signed_text)]
    message: dict[str, Any] = {"role": role, "content": "\n\n".join(texts)}
    if calls := [_openai_call(call) for turn in turns for call in turn.tool_calls]:
        message |= {"content": message["content"] or None, "tool_calls": calls}
    return message


def _openai_message(turn: Turn) -> dict[str, Any]:
    message = {"role": turn.role, "content": turn.text}
    return {**message, "tool_call_id": turn.tool_call_id} if turn.role == "tool" else message


def _openai_parts(turn: Turn) -> list[dict[str, Any]]:
    text = turn.signed_text
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    return parts + [
        {"type": "image_url", "image_url": {"url": image.url}} if _has_address(image) else _name_image(image)
        for image in turn.images
    ]


def _openai_call(call: ToolCall) -> dict[str, Any]:
    arguments = call.arguments
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False, sort_keys=True)
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}


def _anthropic_role(turn: Turn) -> str:
    if turn.role == "system":
        raise BotError("the Messages API has no system turns; pass that text to the client as system=")
    return "assistant" if turn.role == "assistant" else "user"


def _anthropic_blocks(turn: Turn) -> list[dict[str, Any]]:
    if turn.role == "tool":
        return [{"type": "tool_result", "tool_use_id": turn.tool_call_id, "content": turn.text}]
    text = turn.signed_text
    blocks: list[dict[str, Any]] = [{"type": "text", "text": text}] if text.strip() else []
    blocks += [
        {"type": "image", "source": _anthropic_source(image.url)} if _has_address(image) else _name_image(image)
        for image in turn.images
    ]
    return blocks + [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": _to_object(call.arguments)}
        for call in turn.tool_calls
    ]


def _has_address(image: Attachment) -> bool:
    """Return True if a server can load a picture from its address, or find it there."""
    return image.url.startswith(("https://", "http://", "data:"))


def _name_image(image: Attachment) -> dict[str, Any]:
    return {"type": "text", "text": f"[image: {image.name or 'without a name'}]"}


def _to_object(arguments: Mapping[str, Any] | str) -> dict[str, Any]:
    """Return arguments as an object, an empty one for a text that is none."""
    parsed: Any = arguments
    if isinstance(arguments, str):
        with suppress(ValueError, RecursionError):
            parsed = json.loads(arguments)
    return dict(parsed) if isinstance(parsed, Mapping) else {}


def _anthropic_source(url: str) -> dict[str, str]:
    """Return the source of a picture. An address with the picture's own data is one of base64 there."""
    kind, comma, data = url.removeprefix("data:").partition(";base64,")
    if url.startswith("data:") and comma:
        return {"type": "base64", "media_type": kind, "data": data}
    return {"type": "url", "url": url}
