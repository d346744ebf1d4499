"""``cometbot replay``: a stored message against today's code."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from cometbot.cli.text import plain

if TYPE_CHECKING:
    from cometbot.bot import Bot
    from cometbot.channels.base import Channel
    from cometbot.delivery.rehearsal import KeyChange, Rehearsal, Spoken
    from cometbot.delivery.replay import StoredMessage
    from cometbot.settings import Settings
    from cometbot.store.database import Database

_INDENT = 14


@click.command()
@click.argument("id", metavar="ID")
@click.argument("bot", required=False, metavar="[BOT]")
@click.option("--send", is_flag=True, help="For real: let the running bot handle the message anew, and answer it.")
@click.option("--json", "as_json", is_flag=True, help="As a JSON object.")
def replay(id: str, bot: str | None, send: bool, as_json: bool) -> None:
    """Try a stored message with the code as it is now.

    ID is the message's, such as m12; what is done is kept for COMETBOT_KEEP_DAYS. BOT is module:attribute; without it
    COMETBOT_BOT counts, else the only bot of bot.py.

    Without --send nothing is stored or sent: you see which handler takes the message, what it would say, and what it
    would remember, with the state of today. ctx.client reads, and changes nothing. What else a handler does by itself,
    such as a write to your own database, does happen. The exit code is 1 where the handler fails.
    """
    if send:
        _send(id, as_json)
        return
    rehearsal = _rehearse(id, bot)
    if as_json:
        click.echo(json.dumps(_to_json(rehearsal), ensure_ascii=False, indent=2))
    else:
        _print(rehearsal)
    if rehearsal.error is not None:
        raise SystemExit(1)


def _send(id: str, as_json: bool) -> None:
    from cometbot.cli.opened import opened_delivery
    from cometbot.delivery.replay import handling_processes, replay
    from cometbot.settings import Settings

    with opened_delivery(Settings.from_environment()) as delivery:
        message = replay(delivery, id)
        is_handled = handling_processes(delivery.store) > 0
    if as_json:
        click.echo(json.dumps({**_message_json(message), "is_running": is_handled}, ensure_ascii=False, indent=2))
    elif is_handled:
        click.echo(f"{message.id} is handled anew by the running bot; what it answers is sent.")
    else:
        click.echo(f"{message.id} waits to be handled anew. No bot is running: the next one that is started does it.")


def _rehearse(id: str, bot: str | None) -> Rehearsal:
    from cometbot.cli.opened import opened_delivery
    from cometbot.delivery.rehearsal import rehearse
    from cometbot.delivery.replay import find_message
    from cometbot.loading import load_working_bots
    from cometbot.settings import Settings

    settings = Settings.from_environment()
    bots = load_working_bots(bot or settings.named_bot)
    with opened_delivery(settings) as delivery:
        message = find_message(delivery.store, id)
    with opened_delivery(settings, bots, lambda source: _channels_for(message, bots, settings, source)) as delivery:
        return rehearse(delivery, id)


def _channels_for(message: StoredMessage, bots: Sequence[Bot], settings: Settings, source: Database) -> list[Channel]:
    """The channel of the message, with those that its process has beside it where the settings name it among others.

    Raises :class:`ConfigurationError` for settings that one of them lacks.
    """
    from cometbot.delivery import Observer
    from cometbot.errors import ConfigurationError
    from cometbot.web.app import channels_from_settings

    own = message.conversation.channel
    names = settings.channels if own in settings.channels else (own,)
    try:
        return channels_from_settings(replace(settings, channels=names), bots, Observer(), source)
    except ConfigurationError as error:
        raise ConfigurationError(f"{message.id} came through the channel {own}: {error}") from error


def _print(rehearsal: Rehearsal) -> None:
    for title, text in _rows(rehearsal):
        lines = plain(text).splitlines() or [""]
        click.echo(click.style(f"{title:<{_INDENT}}", bold=True) + lines[0])
        for line in lines[1:]:
            click.echo(" " * _INDENT + line)
    if rehearsal.error is not None:
        click.echo()
        click.echo(plain(_trace(rehearsal.error)))
    click.echo()
    click.echo(f"Nothing was stored or sent. For real: cometbot replay {rehearsal.message.id} --send")


def _trace(error: BaseException) -> str:
    """Where it was raised, beginning with the author's own code where that was reached."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("cometbot."):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace or error.__traceback__)).rstrip()


def _rows(rehearsal: Rehearsal) -> Iterator[tuple[str, str]]:
    message = rehearsal.message
    at = datetime.fromtimestamp(message.received_at).strftime("%Y-%m-%d %H:%M:%S")
    sender = message.sender or (rehearsal.event.sender.uid if rehearsal.event else "")
    by = f" from {sender}" if sender else ""
    yield message.id, f"{message.event}{by} in {message.conversation.id}, came in {at}"
    if text := str(getattr(rehearsal.event, "text", "")):
        yield "text", text
    yield "so far", " ".join(filter(None, (message.state, message.handler and f"by {message.handler}", message.error)))
    yield "handler", _describe_handler(rehearsal)
    for spoken in rehearsal.said:
        yield _title(spoken), f"→ {spoken.operation.conversation.id}\n{spoken.text}".rstrip()
    for change in rehearsal.changes:
        yield "would store", _describe_change(change)
    for request in rehearsal.withheld:
        yield "would ask", f"the platform: {request}"
    if rehearsal.error is not None:
        yield "error", f"{type(rehearsal.error).__name__}: {rehearsal.error}"
        if rehearsal.retry_in is not None:
            yield "", f"tried again after {rehearsal.retry_in:g} s, as the handler asks for"
    elif not rehearsal.said:
        yield "would say", "nothing"


def _describe_handler(rehearsal: Rehearsal) -> str:
    reasons = {
        "own": "none: the bot wrote this itself",
        "bot": "none: another bot wrote this (handle_bots=True would handle it)",
        "brake": "none: too many messages of bots in a row",
    }
    if rehearsal.stopped_by:
        return reasons.get(rehearsal.stopped_by) or f"none: stopped by the middleware {rehearsal.stopped_by}"
    return rehearsal.handler or ("none: the body does not parse" if rehearsal.event is None else "none wants it")


def _title(spoken: Spoken) -> str:
    words = {"send": "would say", "edit": "would edit", "delete": "would delete", "react": "would react"}
    return words[spoken.operation.kind]


def _describe_change(change: KeyChange) -> str:
    where = f"of the {change.scope}"
    if change.after is None:
        return f"{change.name} {where}: {change.before} → removed"
    return f"{change.name} {where}: {'nothing' if change.before is None else change.before} → {change.after}"


def _message_json(message: StoredMessage) -> dict[str, Any]:
    where = message.conversation
    return {
        "id": message.id,
        "bot": where.bot,
        "channel": where.channel,
        "conversation": where.id,
        "event": message.event,
        "sender": message.sender,
        "received_at": message.received_at,
        "state": message.state,
        "generation": message.generation,
        "handler": message.handler,
        "error": message.error,
    }


def _to_json(rehearsal: Rehearsal) -> dict[str, Any]:
    error = rehearsal.error
    return {
        "message": _message_json(rehearsal.message),
        "handler": rehearsal.handler,
        "stopped_by": rehearsal.stopped_by,
        "said": [_spoken_json(spoken) for spoken in rehearsal.said],
        "changes": [_change_json(change) for change in rehearsal.changes],
        "withheld": list(rehearsal.withheld),
        "error": None if error is None else f"{type(error).__name__}: {error}",
        "retry_in": rehearsal.retry_in,
    }


def _spoken_json(spoken: Spoken) -> dict[str, Any]:
    where = spoken.operation.conversation
    requests = [dict(request) for request in spoken.requests]
    return {"kind": spoken.operation.kind, "conversation": where.id, "text": spoken.text, "requests": requests}


def _change_json(change: KeyChange) -> dict[str, Any]:
    before, after = (None if text is None else json.loads(text) for text in (change.before, change.after))
    return {
        "scope": change.scope,
        "owner": change.owner,
        "name": change.name,
        "before": before,
        "after": after,
        "is_removed": change.after is None,
    }
