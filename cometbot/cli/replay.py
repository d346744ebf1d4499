"""``cometbot replay``: runs the current code on a stored message, or writes its conversation as a test."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cometbot.cli import CommandError
from cometbot.cli._database import open_delivery
from cometbot.cli._output import format_time, print_json, sanitize
from cometbot.cli._params import IntegerParam
from cometbot.errors import ConfigurationError

if TYPE_CHECKING:
    from cometbot.bot import Bot
    from cometbot.channels.base import Channel
    from cometbot.delivery.dry_run import DryRun, PlannedOperation, StateKeyChange
    from cometbot.inspection.stored_messages import StoredMessage
    from cometbot.settings import Settings
    from cometbot.store.database import Database

_INDENT = 14


@click.command()
@click.argument("id", metavar="ID")
@click.argument("bot", required=False, metavar="[BOT]")
@click.option("--send", is_flag=True, help="Let the running bot handle the message again and send its replies.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option("--as-test", is_flag=True, help="Write the conversation up to the message as a test for pytest.")
@click.option(
    "--last", type=IntegerParam(example=10), metavar="N", help="With --as-test: only the last N messages of it."
)
@click.option("--keep-users", is_flag=True, help="With --as-test: keep the uids and names of users.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="With --as-test: write the test to a new file.",
)
@click.option("--force", is_flag=True, help="With --output: replace the file.")
def replay(id: str, bot: str | None, send: bool, as_json: bool, as_test: bool, **test_options: Any) -> None:
    """Run the current code on a stored message, by default as a dry run.

    ID is the id of the message, such as m12; handled messages are kept for COMETBOT_KEEP_DAYS. BOT is module:attribute.
    Default: COMETBOT_BOT, else the only bot of bot.py.

    Without --send nothing is stored or sent: the command shows which handler matches the message, what it would send,
    and what it would store, with the current state. ctx.client reads but changes nothing. Other effects of a handler,
    such as a write to your own database, do happen. The exit code is 1 if the handler fails.

    With --as-test, no handler runs. The command prints a test that sends the bot what the users have sent, and asserts
    what the bot has answered. ID may then also be the id of a conversation. Users are called user-1, user-2, …; texts
    stay as they are.
    """
    _check_options(send, as_json, as_test, **test_options)
    if as_test:
        _write_test(id, bot, **test_options)
        return
    if send:
        _requeue(id, as_json)
        return
    dry_run = _dry_run(id, bot)
    if as_json:
        print_json(_to_json(dry_run))
    else:
        _print(dry_run)
    if dry_run.error is not None:
        raise SystemExit(1)


def _check_options(send: bool, as_json: bool, as_test: bool, *, output: Path | None, force: bool, **more: Any) -> None:
    if as_test and (send or as_json):
        raise CommandError(f"--as-test cannot be combined with {'--send' if send else '--json'}; leave out one of them")
    given = [name for name, value in {"output": output, "force": force, **more}.items() if value]
    if given and not as_test:
        raise CommandError(f"--{given[0].replace('_', '-')} is an option of --as-test; add --as-test, or leave it out")
    if force and output is None:
        raise CommandError("--force is an option of --output; name the file with --output, or leave out --force")


def _write_test(
    id: str, bot: str | None, *, last: int | None, keep_users: bool, output: Path | None, force: bool
) -> None:
    """Print the conversation as a test, or write it to the file ``output``."""
    from cometbot.cli.regression_test import Subject, write_test
    from cometbot.delivery.dry_run import get_bot
    from cometbot.inspection.stored_conversations import load_conversation
    from cometbot.jobs import JOBS_CHANNEL
    from cometbot.loading import load_bots_or_explain, locate_bot
    from cometbot.settings import Settings

    settings = Settings.from_environment()
    spec = bot or settings.default_bot_spec
    bots = load_bots_or_explain(spec)
    with open_delivery(settings) as delivery:
        conversation = load_conversation(delivery.store, id, last)
    newest = conversation.newest
    if newest.conversation.channel == JOBS_CHANNEL:
        raise CommandError(f"{newest.id} is a job, which no user wrote. Test it with BotClient.advance")
    with open_delivery(settings, bots, lambda source: _channels_for(newest, bots, settings, source)) as delivery:
        found = get_bot(delivery, newest)
        apps = [one for one in settings.split_apps() if one.cometchat_app_id == newest.conversation.account]
        of_app = apps[0] if apps else settings
        subject = Subject(
            found,
            *locate_bot(spec, found),
            delivery.channels.of(newest.conversation),
            of_app.cometchat_rich,
            of_app.cometchat_card_buttons,
        )
        source = write_test(conversation, subject, keeps_users=keep_users)
    if output is None:
        click.echo(source, nl=False)
        return
    try:
        with output.open("w" if force else "x", encoding="utf-8") as file:
            file.write(source)
    except FileExistsError as error:
        raise CommandError(f"{output} exists; name another file, or replace it with --force") from error
    except OSError as error:
        raise CommandError(f"cannot write {output}: {error.strerror}. Name another file with --output.") from error
    click.echo(f"Wrote {output}. Run it with: pytest {output}")


def _requeue(id: str, as_json: bool) -> None:
    from cometbot.settings import Settings

    with open_delivery(Settings.from_environment()) as delivery:
        message = delivery.replay(id)
        is_handled = delivery.count_handling_processes() > 0
    if as_json:
        print_json({**_message_json(message), "is_running": is_handled})
    elif is_handled:
        click.echo(f"Requeued {message.id}. The running bot handles it again and sends its replies.")
    else:
        click.echo(f"Requeued {message.id}. No bot is running; the next one that starts handles it.")


def _dry_run(id: str, bot: str | None) -> DryRun:
    from cometbot.delivery.dry_run import dry_run
    from cometbot.inspection.stored_messages import find_message
    from cometbot.loading import load_bots_or_explain
    from cometbot.settings import Settings

    settings = Settings.from_environment()
    bots = load_bots_or_explain(bot or settings.default_bot_spec)
    with open_delivery(settings) as delivery:
        message = find_message(delivery.store, id)
    with open_delivery(settings, bots, lambda source: _channels_for(message, bots, settings, source)) as delivery:
        return dry_run(delivery, id)


def _channels_for(message: StoredMessage, bots: Sequence[Bot], settings: Settings, database: Database) -> list[Channel]:
    """Return the message's channel, with the other channels of its process if the settings name it among others.

    Raises :class:`ConfigurationError` if a channel's settings are incomplete.
    """
    from cometbot.jobs import JOBS_CHANNEL
    from cometbot.observer import Observer
    from cometbot.web.channels import channels_from_settings

    channel_name = message.conversation.channel
    is_configured = channel_name in (*settings.channels, JOBS_CHANNEL)
    names = settings.channels if is_configured else (channel_name,)
    try:
        return channels_from_settings(replace(settings, channels=names), bots, Observer(), database)
    except ConfigurationError as error:
        raise ConfigurationError(f"cannot replay {message.id} of the channel {channel_name}: {error}") from error


def _print(dry_run: DryRun) -> None:
    for title, text in _rows(dry_run):
        lines = sanitize(text).splitlines() or [""]
        click.echo(click.style(f"{title:<{_INDENT}}", bold=True) + lines[0])
        for line in lines[1:]:
            click.echo(" " * _INDENT + line)
    if dry_run.error is not None:
        click.echo()
        click.echo(sanitize(_format_traceback(dry_run.error)))
    click.echo()
    click.echo(f"Nothing was stored or sent. To send: cometbot replay {dry_run.message.id} --send")


def _format_traceback(error: BaseException) -> str:
    """Return the traceback from the first frame of the author's code, or the whole one if there is none."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("cometbot."):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace or error.__traceback__)).rstrip()


def _rows(dry_run: DryRun) -> Iterator[tuple[str, str]]:
    message = dry_run.message
    at = format_time(message.received_at)
    sender = message.sender or (dry_run.event.sender.uid if dry_run.event else "")
    by = f" from {sender}" if sender else ""
    yield message.id, f"{message.event}{by} in {message.conversation.id}, received {at}"
    if text := str(getattr(dry_run.event, "text", "")):
        yield "text", text
    yield "result", " ".join(filter(None, (message.state, message.handler and f"by {message.handler}", message.error)))
    yield "handler", _describe_handler(dry_run)
    for planned in dry_run.planned:
        yield _title(planned), f"→ {planned.operation.conversation.id}\n{planned.text}".rstrip()
    for change in dry_run.changes:
        yield "would store", _describe_change(change)
    for request in dry_run.blocked_calls:
        yield "would request", request
    if dry_run.error is not None:
        yield "error", f"{type(dry_run.error).__name__}: {dry_run.error}"
        if dry_run.retry_in is not None:
            yield "", f"retry after {dry_run.retry_in:g} s, as requested by the handler"
    elif not dry_run.planned:
        yield "would send", "nothing"


def _describe_handler(dry_run: DryRun) -> str:
    reasons = {
        "own": "none: the bot wrote this itself",
        "bot": "none: another bot wrote this (handle_bots=True would handle it)",
        "brake": "none: too many messages of bots in a row",
        "press": "none: the press does not count: it is not for this user, late, used or withdrawn",
    }
    if dry_run.stopped_by:
        return reasons.get(dry_run.stopped_by) or f"none: stopped by the middleware {dry_run.stopped_by}"
    return dry_run.handler or ("none: the body does not parse" if dry_run.event is None else "none matches")


def _title(planned: PlannedOperation) -> str:
    titles = {"react": "would react", "unban": "would lift the ban of"}
    return titles.get(planned.operation.kind, f"would {planned.operation.kind}")


def _describe_change(change: StateKeyChange) -> str:
    scope_text = f"of the {change.scope}"
    if change.after is None:
        return f"{change.name} {scope_text}: {change.before} → removed"
    return f"{change.name} {scope_text}: {'nothing' if change.before is None else change.before} → {change.after}"


def _message_json(message: StoredMessage) -> dict[str, Any]:
    conversation = message.conversation
    return {
        "id": message.id,
        "bot": conversation.bot,
        "channel": conversation.channel,
        "conversation": conversation.id,
        "event": message.event,
        "sender": message.sender,
        "received_at": message.received_at,
        "state": message.state,
        "generation": message.generation,
        "handler": message.handler,
        "error": message.error,
    }


def _to_json(dry_run: DryRun) -> dict[str, Any]:
    error = dry_run.error
    return {
        "message": _message_json(dry_run.message),
        "handler": dry_run.handler,
        "stopped_by": dry_run.stopped_by,
        "said": [_operation_json(planned) for planned in dry_run.planned],
        "changes": [_change_json(change) for change in dry_run.changes],
        "withheld": list(dry_run.blocked_calls),
        "error": None if error is None else f"{type(error).__name__}: {error}",
        "retry_in": dry_run.retry_in,
    }


def _operation_json(planned: PlannedOperation) -> dict[str, Any]:
    conversation = planned.operation.conversation
    requests = [dict(request) for request in planned.requests]
    return {"kind": planned.operation.kind, "conversation": conversation.id, "text": planned.text, "requests": requests}


def _change_json(change: StateKeyChange) -> dict[str, Any]:
    before, after = (None if text is None else json.loads(text) for text in (change.before, change.after))
    return {
        "scope": change.scope,
        "owner": change.owner,
        "name": change.name,
        "before": before,
        "after": after,
        "is_removed": change.after is None,
    }
