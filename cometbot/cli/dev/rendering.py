"""Rendering of messages, callbacks and REST calls for the terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from rich.console import Group, RenderableType
from rich.json import JSON
from rich.markdown import Markdown
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cometbot.author_error import ErrorReport
from cometbot.cli._output import sanitize
from cometbot.cli.dev.reports import HttpCall, Logged
from cometbot.simulator import CallbackEntry, RequestEntry
from cometbot.simulator.agents import AGENT_ROLE

_INDENT = "    "
_CODE = re.compile(r"(```.*?```|`[^`\n]+`)", re.DOTALL)
_MENTION = re.compile(r"<@(?:uid|all):([^<>\s]+)>")
_AFTER_LIST = re.compile(r"(?m:^)(?P<item>[ ]*(?:\d+\.|[-*+]) [^\n]*)\n(?=\w)(?!\d+\. )")
_EXCERPT_LENGTH = 40
_LONG_EXCERPT_LENGTH = 80
_NAME_WIDTH = 14
_WARNING, _ERROR = 30, 40


@dataclass(frozen=True)
class ActiveChat:
    """The active conversation: the acting user, and the user, bot or group that they write to."""

    user: str
    peer: str
    is_group: bool = False

    def contains(self, message: Mapping[str, Any]) -> bool:
        """Return True if a message belongs to this conversation."""
        if self.is_group or message["receiverType"] == "group":
            return self.is_group and message["receiver"] == self.peer
        return {message["sender"], message["receiver"]} == {self.user, self.peer}


def render_message(message: Mapping[str, Any], active: ActiveChat) -> RenderableType:
    """Render a message: its sender, its id for ``:thread``, and its content."""
    where = "" if active.contains(message) else _receiver(message)
    thread = f"in thread #{message['parentId']}" if message.get("parentId") else ""
    remark = ", ".join(filter(None, (where, thread)))
    return _message_grid(message, [Text(remark, style="dim")] if remark else [])


def render_change(trigger: str, data: Mapping[str, Any]) -> RenderableType | None:
    """Render a change to a message or a group. Return None for a change that is not shown."""
    message = data.get("message", {})
    match trigger:
        case "message_edited":
            return _message_grid(message, [Text("edited", style="dim")])
        case "message_deleted":
            return Text(f"{message.get('deletedBy') or message['sender']} deleted #{message['id']}", style="dim")
        case "message_reaction_added" | "message_reaction_removed":
            reaction = data["reaction"]
            verb, link = ("added", "to") if trigger.endswith("added") else ("removed", "from")
            emoji = sanitize(reaction["reaction"])
            return Text(f"{reaction['uid']} {verb} {emoji} {link} #{reaction['messageId']}")
        case "moderation_engine_blocked":
            return Text(f"#{message['id']} of {message['sender']} was blocked by moderation", style="yellow")
        case "moderation_engine_failed":
            causes = ", ".join(failure["category"] for failure in data["failures"])
            text = f"moderation of #{data['resource']['id']} gave no decision ({causes}): {data['outcome']}"
            return Text(sanitize(text), style="yellow")
    if trigger.startswith("group_member_"):
        what = trigger.removeprefix("group_member_").replace("_", " ")
        verb = {"joined": "joined", "left": "left", "scope changed": "has a new role in"}.get(what, f"was {what}:")
        return Text(f"{', '.join(data['members'])} {verb} {data['group']['guid']}", style="dim")
    return None


def render_callback(entry: CallbackEntry) -> Text:
    """Render a callback in one line."""
    text = _call_columns("callback", entry.status, entry.seconds)
    text.append(f"POST {urlsplit(entry.url).path}  ", style="blue not dim")
    text.append(f"#{entry.message_id} {_excerpt(entry.body.get('data', {}))}" if entry.message_id else entry.trigger)
    again = [f"attempt {entry.attempt}"] * (entry.attempt > 1)
    return _annotate(text, [sanitize(entry.error), *again, *["simulated duplicate"] * bool(entry.copy)])


def render_request(entry: RequestEntry) -> Text:
    """Render a REST call in one line."""
    text = _call_columns("REST", entry.status, entry.seconds)
    text.append(f"{entry.method} {entry.path}", style="magenta not dim")
    text.append(f"?{'&'.join(f'{name}={value}' for name, value in entry.query.items())}" if entry.query else "")
    text.append(f"  {_excerpt(entry.body)}")
    return _annotate(text, [f"simulated {name.replace('_', ' ')}" for name in entry.misbehaviour])


def is_background_call(what: str) -> bool:
    """Return True for the REST call that lists the bots.

    A bot's process makes it at its start and every few minutes.
    """
    return what.startswith("GET ") and what.endswith("/bots")


def render_http_call(call: HttpCall) -> Text:
    """Render a call between the bot and the real CometChat in one line."""
    text = _call_columns(call.kind, call.status, call.seconds)
    text.append(sanitize(call.what), style="blue not dim" if call.kind == "callback" else "magenta not dim")
    short = _shorten(call.text, _LONG_EXCERPT_LENGTH)
    return text.append(f"  {short}" if short else "")


def render_details(entry: CallbackEntry | RequestEntry) -> Padding:
    """Render the headers and bodies of a callback or a REST call, with secrets masked."""
    headers = Text("\n".join(f"{name}: {sanitize(value)}" for name, value in entry.headers.items()), style="dim")
    parts: list[RenderableType] = [headers]
    query = getattr(entry, "query", None)
    for name, value in (("query", query), ("body", entry.body), ("answer", entry.answer)):
        if value:
            parts += [Text(name, style="dim bold"), _json(value)]
    return Padding(Group(*parts), (0, 0, 1, len(_INDENT) + 10))


def render_log(logged: Logged, *, full_traceback: bool = False) -> RenderableType:
    """Render a log record, and for an exception its location in the author's code.

    With ``full_traceback``, render the traceback instead of the location.
    """
    style = "bold red" if logged.level >= _ERROR else "yellow" if logged.level >= _WARNING else "dim"
    line = Text("! " if logged.level >= _WARNING else "· ", style=style)
    line.append(sanitize(logged.text))
    if logged.fault is None:
        return line
    return Group(line, render_fault(logged.fault, full_traceback=full_traceback))


def render_fault(fault: ErrorReport, *, full_traceback: bool = False) -> RenderableType:
    """Render an error with its location, or with its traceback if ``full_traceback``."""
    if full_traceback:
        return Padding(Text(sanitize(fault.trace.rstrip())), (0, 0, 0, 2))
    lines = Text()
    if fault.place:
        lines.append(f"  {fault.place}", style="bold")
        lines.append(f": {sanitize(fault.text)}")
        if fault.code:
            lines.append(f"\n    {sanitize(fault.code)}", style="dim")
    else:
        lines.append(f"  {sanitize(fault.text)}")
    return lines


def _message_grid(message: Mapping[str, Any], remarks: Sequence[RenderableType]) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(min_width=_NAME_WIDTH, no_wrap=True)
    grid.add_column(ratio=1, overflow="fold")
    head = Text.assemble((_name(message, "sender"), "bold cyan"), (f" #{message['id']}", "dim"))
    grid.add_row(head, Group(*remarks, *_content(message)))
    return grid


def _content(message: Mapping[str, Any]) -> Iterator[RenderableType]:
    data: Mapping[str, Any] = message.get("data", {})
    text = str(data.get("text", ""))
    if message["category"] == "interactive":
        text = str(data.get("interactiveData", {}).get("text", text))
    if text:
        yield Markdown(_to_markdown(text), hyperlinks=False)
    for attachment in data.get("attachments", ()):
        yield _attachment(str(message["type"]), attachment)
    if "customData" in data:
        yield Text.assemble(f"{message['type']} ", (json.dumps(data["customData"], ensure_ascii=False), "dim"))
    yield from _buttons(data)


def _attachment(kind: str, attachment: Mapping[str, Any]) -> Text:
    name, url = sanitize(str(attachment.get("name", ""))), sanitize(str(attachment.get("url", "")))
    return Text.assemble((f"[{kind}] ", "green"), (name, "bold"), f"  {url}")


def _buttons(data: Mapping[str, Any]) -> Iterator[Text]:
    """Yield the buttons of a card or an interactive message. A button is pressed by its label."""
    elements: Sequence[Mapping[str, Any]] = data.get("card", {}).get("body", ())
    for element in elements:
        if element.get("type") == "button":
            action = element.get("action", {})
            yield _button(str(element.get("label", "")), str(action.get("url", "")))
    for element in data.get("interactiveData", {}).get("cardActions", ()):
        yield _button(str(element.get("buttonText", "")), str(element.get("action", {}).get("url", "")))


def _button(label: str, url: str) -> Text:
    return Text.assemble((f"[ {sanitize(label)} ]", "reverse"), f"  {sanitize(url)}" if url else "")


def _to_markdown(text: str) -> str:
    """Escape ``text`` so that Markdown renders it like chat apps.

    Line breaks are kept, and angle brackets are not HTML.
    """
    parts = _CODE.split(_MENTION.sub(r"@\1", sanitize(text)))
    parts[::2] = [
        _AFTER_LIST.sub(r"\g<item>\n\n", part).replace("<", "\\<").replace("\n", "  \n") for part in parts[::2]
    ]
    return "".join(parts)


def _receiver(message: Mapping[str, Any]) -> str:
    return f"in {message['receiver']}" if message["receiverType"] == "group" else f"to {_name(message, 'receiver')}"


def _name(message: Mapping[str, Any], side: str) -> str:
    """Return the uid of a message's sender or receiver, and of an agent, whose uid says nothing, the name."""
    entity = message.get("data", {}).get("entities", {}).get(side, {}).get("entity", {})
    return f"{sanitize(str(entity.get('name')))} (agent)" if entity.get("role") == AGENT_ROLE else str(message[side])


def _excerpt(body: Any) -> str:
    """Return the beginning of a body's text."""
    data = body.get("data") if isinstance(body, Mapping) else None
    if not isinstance(data, Mapping):
        return ""
    text = data.get("text") or ", ".join(str(item.get("name")) for item in data.get("attachments", ()))
    short = _shorten(str(text), _EXCERPT_LENGTH)
    return f'"{short}"' if short else ""


def _shorten(text: str, length: int) -> str:
    """Return the first ``length`` characters of ``text`` in one line."""
    short = " ".join(sanitize(text).split())
    return f"{short[:length]}…" if len(short) > length else short


def _call_columns(kind: str, status: int, seconds: float) -> Text:
    """Render the columns of a call: its kind, status and duration."""
    text = Text(f"{_INDENT}{kind:<9}", style="dim")
    style = "green not dim" if 200 <= status < 300 else "bold red not dim"
    text.append(f"{status or '---'}", style=style)
    text.append(f"{seconds * 1000:6.0f} ms  ")
    return text


def _annotate(text: Text, notes: Sequence[str]) -> Text:
    for note in filter(None, notes):
        text.append(f"  ({note})", style="yellow not dim")
    return text


def _json(value: Any) -> RenderableType:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return Text(sanitize(value))
    return JSON.from_data(value, default=_to_builtin)


def _to_builtin(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else list(value)
