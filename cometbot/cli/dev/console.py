"""Shows the events of the bot's processes on the screen."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.text import Text

from cometbot.author_error import display_path
from cometbot.cli._output import sanitize
from cometbot.cli.dev.rendering import is_background_call, render_fault, render_http_call, render_log
from cometbot.cli.dev.reports import Failed, HttpCall, Logged, Printed, Report
from cometbot.cli.dev.screen import Screen


class ConsoleLog:
    """Shows the bot's starts, failures and reports. ``full_tracebacks`` shows exceptions with their tracebacks.

    If ``shows_calls`` is True, HTTP calls reported by the bot's process are shown, except its background calls.
    """

    def __init__(self, screen: Screen, *, full_tracebacks: bool) -> None:
        self._screen = screen
        self._full_tracebacks = full_tracebacks
        self.shows_calls = False

    def started(self, files: Sequence[Path]) -> None:
        """Show that the bot runs again, because ``files`` changed if there are any."""
        why = f"{format_files(files)} changed: the bot runs with the new code" if files else "the bot is running again"
        self._screen.show(Text(f"↻ {why}", style="green"))

    def failed(self, failed: Failed, files: Sequence[Path], *, is_running: bool) -> None:
        """Show that the bot cannot start. ``is_running`` is True if an old process still serves."""
        consequence = "the previous version keeps running" if is_running else "retrying when you save a file"
        changed = f"{format_files(files)} changed, but " if files else ""
        self._screen.show(
            Text(f"✗ {changed}the bot cannot start; {consequence}", style="bold red"),
            render_fault(failed.fault, full_traceback=self._full_tracebacks),
        )

    def exited(self, status: int) -> None:
        """Show that the bot's process ended unexpectedly."""
        how = f"was killed by signal {-status}" if status < 0 else f"exited with status {status}"
        self._screen.show(Text(f"✗ the bot's process {how}; restarting", style="bold red"))

    def reported(self, report: Report) -> None:
        """Show a log record, an output line or an HTTP call of the bot."""
        if isinstance(report, Logged):
            self._screen.show(render_log(report, full_traceback=self._full_tracebacks))
        elif isinstance(report, Printed):
            self._screen.show(Text(f"│ {sanitize(report.text)}", style="dim"))
        elif isinstance(report, HttpCall) and self.shows_calls and not is_background_call(report.what):
            self._screen.show(render_http_call(report), crop=True)

    @contextmanager
    def capture_warnings(self) -> Iterator[None]:
        """Show this process's own warnings too while the context is active."""
        handler = _ScreenHandler(self._screen)
        logging.getLogger().addHandler(handler)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(handler)


def describe_start_failure(failed: Failed) -> str:
    """Return the error message of a run that cannot start."""
    return failed.fault.text if failed.is_configuration_error else f"cannot start the bot: {failed.fault}"


def format_files(files: Sequence[Path]) -> str:
    """Return the first files, relative to the current folder, and the number of the others."""
    shown = [display_path(file) for file in files]
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")


class _ScreenHandler(logging.Handler):
    """Shows warnings on the screen."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(logging.WARNING)
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        """Show one warning."""
        self._screen.show(Text(f"! {sanitize(self.format(record))}", style="yellow"))
