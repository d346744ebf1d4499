"""Checks of the settings, of the bots that they name, and of the bots' callback credentials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cometbot.author_error import ErrorReport
from cometbot.bot import Bot
from cometbot.cli.checks.result import CheckResult, failed, for_bot, passed, skipped
from cometbot.errors import CometbotError, ConfigurationError
from cometbot.loading import load_bots
from cometbot.settings import Credentials, Settings


def check_settings() -> tuple[Settings | None, CheckResult]:
    """Return the settings from the environment and ``.env``, or None if they are invalid, with the result."""
    try:
        settings = Settings.from_environment()
    except ConfigurationError as error:
        return None, failed(
            "settings", str(error), f"correct it in .env or in the environment{_escaping_hint(str(error))}"
        )
    notes = "".join(f"; {warning}" for warning in settings.warnings)
    return settings, passed("settings", f"read from the environment and .env{notes}")


def _escaping_hint(cause: str) -> str:
    """Return a hint about the most frequent mistake in a URL: a password that is not percent-encoded."""
    return "; in a password / is written %2F, # %23, ? %3F and @ %40" if cause.startswith("SIMPLEX_URL") else ""


def check_bots(settings: Settings, spec: str) -> tuple[list[Bot], CheckResult]:
    """Return the bots that ``spec`` names, or none if they cannot be loaded, with the result."""
    try:
        bots = load_bots(spec)
        notes = "".join(f"; {warning}" for warning in settings.check_bots(bot.name for bot in bots))
        handlers = sum(len(bot.handlers) for bot in bots)
    except CometbotError as error:
        return [], failed("bots", str(error), "cometbot doctor MODULE:BOT, or set COMETBOT_BOT")
    except (Exception, SystemExit) as error:
        fault = ErrorReport.from_exception(error)
        return [], failed("bots", f"cannot import the bot: {fault.text}", f"correct {fault.place or spec}")
    names = ", ".join(bot.name for bot in bots)
    if not handlers and not any(bot.moderation for bot in bots):
        return bots, failed("bots", f"{names}: no handler", "decorate a function with @bot.message()")
    return bots, passed("bots", f"{names}: {handlers} handler{'s' * (handlers != 1)}{notes}")


def check_callback_credentials(
    settings: Settings, bots: Sequence[Bot]
) -> tuple[Mapping[str, Credentials | None], list[CheckResult]]:
    """Return each bot's callback credentials (None: anonymous) and the results.

    Bots with invalid or missing credentials are left out.
    """
    found: dict[str, Credentials | None] = {}
    results: list[CheckResult] = []
    for bot in bots:
        try:
            credentials = settings.callback_credentials(bot.name, bot.callback_username, bot.callback_password)
        except ConfigurationError as error:
            result = failed("callback settings", str(error), "correct it where the Bot is created")
        else:
            if credentials is not None or settings.allow_anonymous_callbacks:
                found[bot.name] = credentials
            result = _describe_credentials(settings, bot, credentials)
        results += for_bot(bot.name, [result])
    return found, results


def _describe_credentials(settings: Settings, bot: Bot, credentials: Credentials | None) -> CheckResult:
    name = "callback settings"
    if credentials is not None:
        note = f"; {weak}" if (weak := settings.weak_password_warning(bot.name, bot.callback_password)) else ""
        return passed(name, f"CometChat must log in as {credentials.username}{note}")
    if settings.allow_anonymous_callbacks:
        return skipped(name, "COMETBOT_ALLOW_ANONYMOUS_CALLBACKS allows anyone to call the bot")
    return failed(
        name,
        "no credentials are set, so the bot is not served",
        "set COMETBOT_CALLBACK_USERNAME and COMETBOT_CALLBACK_PASSWORD",
    )
