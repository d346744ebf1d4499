"""Checks of ``COMETBOT_ALERTS``: the targets, and on request a test message to each."""

from __future__ import annotations

from collections.abc import Sequence

from cometbot.alert_targets import AlertTarget
from cometbot.bot import Bot
from cometbot.cli._database import open_delivery
from cometbot.cli.checks.result import CheckResult, failed, passed, skipped
from cometbot.errors import CometbotError
from cometbot.observer import Observer
from cometbot.settings import Settings
from cometbot.web.alerts import send_test
from cometbot.web.channels import channels_from_settings

_NAME = "alerts"


def check_alerts(settings: Settings, bots: Sequence[Bot], *, send: bool) -> list[CheckResult]:
    """Return the results for the targets of alerts; with ``send``, each gets a message first."""
    if not settings.alerts:
        return [
            failed(_NAME, "COMETBOT_ALERTS is not set", "set it to a URL or to a group, such as cometchat:group:ops")
        ]
    problems = [problem for target in settings.alerts if (problem := _find_problem(settings, target))]
    if problems:
        return [failed(_NAME, problems[0], "correct COMETBOT_ALERTS, or add what it names")]
    if not send:
        targets = ", ".join(map(str, settings.alerts))
        return [passed(_NAME, f"go to {targets}; cometbot doctor --test-alerts sends a test")]
    if not bots:
        return [skipped(_NAME, "no bot can be loaded")]
    try:
        with open_delivery(
            settings, bots, lambda database: channels_from_settings(settings, bots, Observer(), database)
        ) as delivery:
            results = send_test(delivery, settings.alerts)
    except CometbotError as error:
        return [failed(_NAME, f"cannot send a test: {error}", "see the other checks")]
    return [_describe(target, problem) for target, problem in results.items()]


def _find_problem(settings: Settings, target: AlertTarget) -> str:
    """Return why a target cannot be served with these settings, empty if it can."""
    if not target.url and target.channel not in settings.channels:
        return f"{target}: the channel {target.channel} is not in COMETBOT_CHANNELS"
    if target.app and target.app not in settings.cometchat_apps:
        return f"{target}: the app {target.app} is not in COMETCHAT_APPS"
    return ""


def _describe(target: AlertTarget, problem: str) -> CheckResult:
    if problem:
        return failed(_NAME, f"cannot send a test to {target}: {problem}", "correct COMETBOT_ALERTS, or the receiver")
    done = "sent a test to" if target.url else "stored a test, which the running bot sends to"
    return passed(_NAME, f"{done} {target}")
