"""Says on the screen what becomes of the bot's processes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.text import Text

from cometbot.cli._sanitize import sanitize
from cometbot.cli.dev.rendering import is_background_call, render_fault, render_http_call, render_log
from cometbot.cli.dev.reports import Failed, HttpCall, Logged, Printed, Report
from cometbot.cli.dev.screen import Screen


class ConsoleLog:
    """What a run says of the bot. ``full_traceback``: exceptions with their tracebacks.

    ``shows_calls`` says whether calls that the bot's process reports are shown; those by which it keeps itself up to
    date are not.
    """

    def __init__(self, screen: Screen, *, full_tracebacks: bool) -> None:
        self._screen = screen
        self._full_tracebacks = full_tracebacks
        self.shows_calls = False

    def started(self, files: Sequence[Path]) -> None:
        """The bot runs again; with ``files`` because these were changed."""
        why = f"{format_files(files)} changed: the bot runs with the new code" if files else "the bot runs again"
        self._screen.show(Text(f"↻ {why}", style="green"))

    def failed(self, failed: Failed, files: Sequence[Path], *, is_running: bool) -> None:
        """The bot cannot start; ``is_running``: an old one goes on."""
        consequence = "the old one goes on" if is_running else "it is tried again when you save a file"
        changed = f"{format_files(files)} changed, but " if files else ""
        self._screen.show(
            Text(f"✗ {changed}the bot cannot start; {consequence}", style="bold red"),
            render_fault(failed.fault, full_traceback=self._full_tracebacks),
        )

    def exited(self, status: int) -> None:
        """The bot's process has gone by itself."""
        how = f"was killed by signal {-status}" if status < 0 else f"ended with the status {status}"
        self._screen.show(Text(f"✗ the bot's process {how}; another one is started", style="bold red"))

    def reported(self, report: Report) -> None:
        """What the bot logged or printed, and whom it called."""
        if isinstance(report, Logged):
            self._screen.show(render_log(report, full_traceback=self._full_tracebacks))
        elif isinstance(report, Printed):
            self._screen.show(Text(f"│ {sanitize(report.text)}", style="dim"))
        elif isinstance(report, HttpCall) and self.shows_calls and not is_background_call(report.what):
            self._screen.show(render_http_call(report), crop=True)

    @contextmanager
    def capture_warnings(self) -> Iterator[None]:
        """Shows warnings of this process too, for as long as it lasts."""
        handler = _ScreenHandler(self._screen)
        logging.getLogger().addHandler(handler)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(handler)


def describe_start_failure(failed: Failed) -> str:
    """The sentence with which a run ends that cannot begin."""
    place = f"{failed.fault.place}: " if failed.fault.place else ""
    return failed.fault.text if failed.is_configuration_error else f"the bot cannot start; {place}{failed.fault.text}"


def format_files(files: Sequence[Path]) -> str:
    """The first files by their names from here, and how many more there are."""
    here = Path.cwd()
    shown = [str(file.relative_to(here) if file.is_relative_to(here) else file) for file in files]
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")


class _ScreenHandler(logging.Handler):
    """Shows warnings on the screen."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(logging.WARNING)
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        """Show one."""
        self._screen.show(Text(f"! {sanitize(self.format(record))}", style="yellow"))
