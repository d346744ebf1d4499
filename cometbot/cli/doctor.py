"""``cometbot doctor``: finds the problems that keep a bot from answering, and their remedies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from cometbot.cli._sanitize import sanitize

if TYPE_CHECKING:
    from cometbot.cli.checks import CheckResult

_SIGNS = {True: ("✓", "green"), False: ("✗", "red"), None: ("\N{EN DASH}", "bright_black")}


@click.command()
@click.argument("bot", required=False, metavar="[BOT]")
@click.option("--url", default="", help="Where CometChat reaches the service, such as https://bots.example.com.")
@click.option("--simplex", is_flag=True, help="The way over SimpleX instead of that over CometChat.")
@click.option("--json", "as_json", is_flag=True, help="As a JSON object.")
def doctor(bot: str | None, url: str, simplex: bool, as_json: bool) -> None:
    """Check everything on the way of a message, and print how to fix what is wrong.

    Run it in the bot's folder, on the machine that serves the bot. BOT is module:attribute; without it COMETBOT_BOT
    counts. Without --url COMETBOT_PUBLIC_URL counts, else the URL that CometChat has for the bot.

    Nothing is changed, stored or sent to anybody: the callback is called with a message of the bot's own, which is
    taken and dropped. With --simplex the SimpleX CLI is asked; an event that it tells of just then is fetched later by
    the running bot. The exit code is 0 if no check fails, else 1.
    """
    if simplex and url:
        raise click.UsageError("--url is CometChat's way to the bot; SimpleX has SIMPLEX_URL.")
    results = _run_simplex_checks(bot or "") if simplex else _run_checks(bot or "", _validate_url(url))
    has_passed = all(result.ok is not False for result in results)
    if as_json:
        body = {"ok": has_passed, "checks": [asdict(result) for result in results]}
        click.echo(json.dumps(body, ensure_ascii=False, indent=2))
    else:
        _print(results)
    if not has_passed:
        raise SystemExit(1)


def _run_checks(spec: str, url: str) -> list[CheckResult]:
    from cometbot.cli.checks import CheckSuite

    return CheckSuite(spec, url).run()


def _run_simplex_checks(spec: str) -> list[CheckResult]:
    from cometbot.errors import ConfigurationError

    try:
        from cometbot.cli.checks.simplex import check_simplex
    except ImportError as error:
        raise ConfigurationError(str(error)) from error
    return check_simplex(spec)


def _validate_url(url: str) -> str:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        is_valid = not url or (parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0)
    except ValueError:
        is_valid = False
    if not is_valid:
        raise click.BadParameter("give a URL such as https://bots.example.com", param_hint="--url")
    return url


def _print(results: Sequence[CheckResult]) -> None:
    width = max(len(_title(result)) for result in results)
    for result in results:
        sign, colour = _SIGNS[result.ok]
        line = f"{click.style(sign, fg=colour)} {_title(result):<{width}}  {_one_line(result.cause)}"
        if result.remedy:
            line += click.style(f"  → {_one_line(result.remedy)}", bold=True)
        click.echo(line)
    failures = sum(result.ok is False for result in results)
    click.echo()
    click.echo(f"{failures} of {len(results)} checks failed." if failures else "Nothing is wrong.")


def _title(result: CheckResult) -> str:
    return f"{result.bot}: {result.name}" if result.bot else result.name


def _one_line(text: str) -> str:
    return " ".join(sanitize(text).split())
