"""``cometbot jobs``: lists, shows, runs and cancels what bots have scheduled."""

from __future__ import annotations

import json
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

    from cometbot.inspection.job_list import JobInfo


@click.group(cls=CommandGroup)
def jobs() -> None:
    """List, show, run or cancel the jobs of bots.

    j12 is a job that is still to come. Jobs are in the database of COMETBOT_DATABASE_URL.
    """


@jobs.command("list")
@list_options
def list_jobs(bot: str, app: str, as_json: bool, limit: int) -> None:
    """Show the jobs and messages that are still to come, the next first."""
    account = find_account(app)
    with open_delivery() as delivery:
        found = delivery.jobs.list(bot, limit + 1, account=account)
    none_text = f"No jobs{describe_selection(bot, app)}."
    _output.print_rows(found, limit, as_json=as_json, to_json=asdict, make_table=_make_table, none_text=none_text)


@jobs.command()
@click.argument("id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def show(id: str, as_json: bool) -> None:
    """Show a job with its arguments."""
    with open_delivery() as delivery:
        job = delivery.jobs.get(id)
    if as_json:
        _output.print_json(asdict(job))
        return
    for name, value in _describe(job):
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
    """Cancel a job that a handler has scheduled."""
    with open_delivery() as delivery:
        delivery.jobs.cancel(id)
    click.echo(f"Cancelled the job {id}.")


def _make_table(jobs: Sequence[JobInfo]) -> Table:
    table = _output.make_table("ID", "Bot", "Next", "Last", "Schedule", last_column="Job")
    for job in jobs:
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


def _arguments(job: JobInfo) -> str:
    return f" {json.dumps(job.arguments, ensure_ascii=False)}" if job.arguments else ""
