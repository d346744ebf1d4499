"""``cometbot jobs``: lists, shows, runs and cancels what bots have scheduled, and their broadcasts."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from cometbot.cli import CommandGroup, _output
from cometbot.cli._database import describe_selection, find_account, open_delivery
from cometbot.cli._output import sanitize
from cometbot.cli._params import list_options

if TYPE_CHECKING:
    from rich.table import Table

    from cometbot.inspection.broadcast_list import BroadcastInfo
    from cometbot.inspection.job_list import JobInfo


@click.group(cls=CommandGroup)
def jobs() -> None:
    """List, show, run or cancel the jobs of bots, and their broadcasts.

    j12 is the id of a job that is still to come, b3 that of a broadcast, which can be given by its name, too. They are
    in the database of COMETBOT_DATABASE_URL.
    """


@jobs.command("list")
@list_options
def list_jobs(bot: str, app: str, as_json: bool, limit: int) -> None:
    """Show the jobs and messages that are still to come, the next first, and the newest broadcasts."""
    account = find_account(app)
    with open_delivery() as delivery:
        found: list[JobInfo | BroadcastInfo] = [*delivery.jobs.list(bot, limit + 1, account=account)]
        found += delivery.broadcasts.list(bot, limit + 1, account=account)
    none_text = f"No jobs{describe_selection(bot, app)}."
    _output.print_rows(found, limit, as_json=as_json, to_json=asdict, make_table=_make_table, none_text=none_text)


@jobs.command()
@click.argument("id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def show(id: str, as_json: bool) -> None:
    """Show a job with its arguments, or the progress of a broadcast."""
    from cometbot.inspection.broadcast_list import BroadcastInfo

    with open_delivery() as delivery:
        found = delivery.broadcasts.get(id) if delivery.broadcasts.has(id) else delivery.jobs.get(id)
    if as_json:
        _output.print_json(asdict(found))
        return
    for name, value in _describe_broadcast(found) if isinstance(found, BroadcastInfo) else _describe(found):
        if value:
            click.echo(f"{click.style(f'{name:<13}', bold=True)} {sanitize(value)}")


@jobs.command()
@click.argument("id", metavar="ID")
def run(id: str) -> None:
    """Run a job now.

    One that is scheduled by the bot's code keeps its times; any other runs now instead of later. The running bot does
    the work, or the next one that starts.
    """
    with open_delivery() as delivery:
        delivery.run_job(id)
    click.echo(f"Started the job {id}.")


@jobs.command()
@click.argument("id", metavar="ID")
def cancel(id: str) -> None:
    """Cancel a job that a handler has scheduled, or a broadcast.

    What a broadcast has handed over to conversations is sent.
    """
    with open_delivery() as delivery:
        is_broadcast = delivery.broadcasts.has(id)
        (delivery.broadcasts if is_broadcast else delivery.jobs).cancel(id)
    click.echo(f"Cancelled the {'broadcast' if is_broadcast else 'job'} {id}.")


@jobs.command()
@click.argument("id", metavar="ID")
def pause(id: str) -> None:
    """Pause a broadcast, which hands over nothing more then."""
    with open_delivery() as delivery:
        delivery.broadcasts.pause(id)
    click.echo(f"Paused the broadcast {id}. Go on with: cometbot jobs resume {shlex.quote(id)}")


@jobs.command()
@click.argument("id", metavar="ID")
def resume(id: str) -> None:
    """Resume a paused broadcast."""
    with open_delivery() as delivery:
        delivery.resume_broadcast(id)
    click.echo(f"The broadcast {id} goes on.")


def _make_table(jobs: Sequence[JobInfo | BroadcastInfo]) -> Table:
    from cometbot.inspection.broadcast_list import BroadcastInfo

    table = _output.make_table("ID", "Bot", "Next", "Last", "Schedule", last_column="Job")
    for job in jobs:
        if isinstance(job, BroadcastInfo):
            progress = f"broadcast {job.name}: {job.sent} of {job.recipients} sent"
            table.add_row(*map(_output.to_cell, (job.id, job.bot, job.status, "", job.pace, progress)))
            continue
        last = _output.format_time(job.last_at) if job.last_at is not None else ""
        row = (job.id, job.bot, _output.format_time(job.due_at), last, job.schedule or "once", _summarize(job))
        table.add_row(*map(_output.to_cell, row))
    return table


def _summarize(job: JobInfo) -> str:
    if not job.job:
        return f"to {job.conversation}: {job.text}"
    name = "" if job.name.startswith("#") else f"{job.name}: "
    return f"{name}{job.job}{_arguments(job)}"


def _describe(job: JobInfo) -> list[tuple[str, str]]:
    return [
        ("job", f"{job.id}, {job.name}"),
        ("bot", job.bot),
        ("function", f"{job.job}{_arguments(job)}" if job.job else ""),
        ("text", job.text),
        ("to", job.conversation),
        ("schedule", job.schedule or "once"),
        ("next", _output.format_time(job.due_at)),
        ("last", _output.format_time(job.last_at) if job.last_at is not None else ""),
        ("missed", job.missed if job.schedule else ""),
        ("scheduled", _output.format_time(job.created_at)),
        ("in", job.scheduled_in),
    ]


def _describe_broadcast(broadcast: BroadcastInfo) -> list[tuple[str, str]]:
    outcomes = ("waiting", "sending", "sent", "refused", "dropped", "opted_out")
    counts = [(name.replace("_", " "), str(getattr(broadcast, name) or "")) for name in outcomes]
    ended = _output.format_time(broadcast.ended_at) if broadcast.ended_at is not None else ""
    return [
        ("broadcast", f"{broadcast.id}, {broadcast.name}"),
        ("bot", broadcast.bot),
        ("channel", broadcast.channel),
        ("account", broadcast.account),
        ("text", broadcast.text),
        ("status", broadcast.status),
        ("pace", broadcast.pace),
        ("began", _output.format_time(broadcast.created_at)),
        ("ended", ended),
        ("recipients", str(broadcast.recipients)),
        *counts,
        *(("", f"{count}: {reason}") for reason, count in broadcast.reasons.items()),
    ]


def _arguments(job: JobInfo) -> str:
    return f" {json.dumps(job.arguments, ensure_ascii=False)}" if job.arguments else ""
