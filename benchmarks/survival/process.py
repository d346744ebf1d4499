"""The process of a bot, which is killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_START_TIMEOUT = 60.0


class BotProcess:
    """A bot, with all processes that it starts. ``is_ready`` returns true once it can get messages."""

    def __init__(
        self, command: Sequence[str], folder: Path, environ: Mapping[str, str], is_ready: Callable[[], bool]
    ) -> None:
        self._command = command
        self._folder = folder
        self._environ = {"PATH": os.environ["PATH"], "TMPDIR": str(folder), **environ}
        self._is_ready = is_ready
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, env=self._environ, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + _START_TIMEOUT
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the bot did not start:\n{(self._folder / 'log').read_text()}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as the end of the machine would."""
        assert self._process is not None
        group = self._process.pid
        os.killpg(group, signal.SIGKILL)
        self._process.wait()
        while _is_group_alive(group):  # its port is open until the last one has gone
            time.sleep(0.01)

    def restart(self) -> None:
        """Kill it, and start it again."""
        self.kill()
        self.start()


def _is_group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
