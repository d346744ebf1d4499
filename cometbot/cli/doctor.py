"""``cometbot doctor``: finds the problems that keep a bot from answering, and their remedies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from cometbot.cli._output import print_json, sanitize
from cometbot.errors import ConfigurationError

if TYPE_CHECKING:
    from cometbot.cli.checks import CheckResult

_SIGNS = {True: ("✓", "green"), False: ("✗", "red"), None: ("\N{EN DASH}", "bright_black")}


@click.command()
@click.argument("bot", required=False, metavar="[BOT]")
@click.option("--url", default="", help="Public base URL of the service, such as https://bots.example.com.")
@click.option("--simplex", is_flag=True, help="Check SimpleX instead of CometChat.")
@click.option("--test-alerts", is_flag=True, help="Send a test to each target of COMETBOT_ALERTS.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def doctor(bot: str | None, url: str, simplex: bool, test_alerts: bool, as_json: bool) -> None:
    """Check the settings, the database and the connection to CometChat, and print a fix for each problem.

    Run it in the bot's folder, on the machine that serves the bot. BOT is module:attribute (default: COMETBOT_BOT). The
    default of --url is COMETBOT_PUBLIC_URL, else the URL that is registered on CometChat.

    Nothing is changed, stored or sent to users, except with --test-alerts. The callback is called with a message of the
    bot itself, which is accepted and ignored. A function for moderation is asked about the text "cometbot doctor". Each
    app of COMETCHAT_APPS is checked. With --simplex the checks connect to the SimpleX CLI; the running bot fetches
    events that arrive meanwhile. The exit code is 0 if no check fails, else 1.
    """
    if simplex and url:
        raise click.UsageError("--url cannot be combined with --simplex; set SIMPLEX_URL.")
    if simplex and test_alerts:
        raise click.UsageError("--test-alerts cannot be combined with --simplex.")
    results = _run_simplex_checks(bot or "") if simplex else _run_checks(bot or "", _validate_url(url), test_alerts)
    has_passed = all(result.ok is not False for result in results)
    if as_json:
        print_json({"ok": has_passed, "checks": [asdict(result) for result in results]})
    else:
        _print(results)
    if not has_passed:
        raise SystemExit(1)


def _run_checks(spec: str, url: str, test_alerts: bool) -> list[CheckResult]:
    from cometbot.cli.checks import CheckSuite

    return CheckSuite(spec, url, test_alerts=test_alerts).run()


def _run_simplex_checks(spec: str) -> list[CheckResult]:

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
        raise click.BadParameter("expected a URL such as https://bots.example.com", param_hint="--url")
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
    click.echo(f"{failures} of {len(results)} checks failed." if failures else "All checks passed.")


def _title(result: CheckResult) -> str:
    about = "/".join(filter(None, (result.app, result.bot)))
    return f"{about}: {result.name}" if about else result.name


def _one_line(text: str) -> str:
    return " ".join(sanitize(text).split())
