"""The terminal: an input line at the bottom, and output above it."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

from rich.cells import cell_len
from rich.console import Console, RenderableType

_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"

Completer = Callable[[str], Sequence[str]]


class Screen:
    """Shows output and reads lines, from a terminal or a pipe.

    Output appears above a line that is being typed. All methods are thread-safe except :meth:`read_line`, which must be
    called from one thread only. Used as a context manager, the screen does not echo keys typed between two prompts in
    the middle of the output; they appear at the next prompt.
    """

    def __init__(self, console: Console | None = None, source: TextIO | None = None) -> None:
        self._source = source or sys.stdin
        self.console = console or Console(highlight=False)
        self.is_interactive = self._source is sys.stdin and self._source.isatty() and self.console.is_terminal
        self._lock = threading.RLock()
        self._prompt: str | None = None
        self._shown_count = 0
        self._readline: Any = _find_readline() if self.is_interactive else None
        self._cursor_variable = _find_cursor_variable(self._readline) if self._readline else None

    def __enter__(self) -> Screen:
        self._set_echo(False)
        return self

    def __exit__(self, *reason: object) -> None:
        self._set_echo(True)

    def show(self, *things: RenderableType, crop: bool = False) -> None:
        """Show things, each on its own lines. ``crop`` cuts off long lines."""
        with self._lock:
            self._shown_count += 1
            if self._prompt is not None:
                self._erase(self._prompt)
            for thing in things:
                self._print(thing, crop)
            if self._prompt is not None:
                self._draw(self._prompt)

    def read_line(self, prompt: str) -> str:
        """Read the next line, without its line end.

        Raises ``EOFError`` at the end of the input, and ``KeyboardInterrupt`` at Ctrl-C.
        """
        if not self.is_interactive:
            return self._read_from_pipe(prompt)
        self._set_echo(True)
        try:
            with self._prompting(prompt):
                return input(self._bold_prompt(prompt))
        except (EOFError, KeyboardInterrupt):
            self.console.print()
            raise
        finally:
            self._set_echo(False)

    def set_completer(self, completer: Completer) -> None:
        """Complete the last word of the line on Tab from the results of ``completer(line)``."""
        if self._readline is None:
            return
        found: list[str] = []

        def complete(word: str, number: int) -> str | None:
            if number == 0:
                line = self._readline.get_line_buffer()[: self._readline.get_endidx()]
                found[:] = [f"{offer} " for offer in completer(line) if offer.startswith(word)]
            return found[number] if number < len(found) else None

        self._readline.set_completer_delims(" ")
        self._readline.set_completer(complete)
        is_libedit = "libedit" in (self._readline.__doc__ or "")
        self._readline.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")

    def _print(self, thing: RenderableType, crop: bool) -> None:
        options: dict[str, Any] = {"no_wrap": True, "overflow": "ellipsis"} if crop else {}
        if self.console.is_terminal:
            self.console.print(thing, **options)
            return
        with self.console.capture() as captured:
            self.console.print(thing, **options)
        lines = (line.rstrip() for line in captured.get().splitlines())
        self.console.file.write("".join(f"{line}\n" for line in lines))
        self.console.file.flush()

    def _read_from_pipe(self, prompt: str) -> str:
        line = self._source.readline()
        if not line:
            raise EOFError
        text = line.rstrip("\r\n")
        with self._lock:
            self.console.print(f"{prompt}{text}", markup=False, soft_wrap=True)
        return text

    @contextlib.contextmanager
    def _prompting(self, prompt: str) -> Iterator[None]:
        before = self._shown_count

        def begin() -> None:
            with self._lock:
                self._prompt = prompt
                if self._shown_count != before:
                    self._erase(prompt)
                    self._draw(prompt)

        hook = getattr(self._readline, "set_pre_input_hook", None)
        if hook is None:
            begin()
        else:
            hook(begin)  # called when the prompt is shown and input begins
        try:
            yield
        finally:
            with self._lock:
                self._prompt = None

    def _typed_text(self) -> str:
        return str(self._readline.get_line_buffer()) if self._readline else ""

    def _erase(self, prompt: str) -> None:
        rows = cell_len(prompt + self._typed_text()) // max(self.console.width, 1)
        self.console.file.write(f"\r{f'{chr(27)}[{rows}A' if rows else ''}\x1b[J")

    def _draw(self, prompt: str) -> None:
        typed = self._typed_text()
        behind = cell_len(typed.encode()[self._cursor() :].decode(errors="replace"))
        self.console.file.write(f"{_BOLD}{prompt}{_PLAIN}{typed}{f'{chr(27)}[{behind}D' if behind else ''}")
        self.console.file.flush()

    def _cursor(self) -> int:
        """Return the cursor's byte offset in the typed line, or a large number for its end if the offset is unknown."""
        return int(self._cursor_variable.value) if self._cursor_variable is not None else sys.maxsize

    def _bold_prompt(self, prompt: str) -> str:
        """Return the prompt in bold, with the control characters marked as zero-width for readline."""
        if self._readline is None:
            return prompt
        return f"\x01{_BOLD}\x02{prompt}\x01{_PLAIN}\x02"

    def _set_echo(self, on: bool) -> None:
        if self._readline is None:
            return
        import termios

        with contextlib.suppress(termios.error):
            mode = termios.tcgetattr(self._source)
            mode[3] = mode[3] | termios.ECHO if on else mode[3] & ~termios.ECHO
            termios.tcsetattr(self._source, termios.TCSANOW, mode)


def _find_readline() -> Any:
    """Return the readline module, or None if Python was built without it."""
    with contextlib.suppress(ImportError):
        return importlib.import_module("readline")
    return None


def _find_cursor_variable(readline: Any) -> Any:
    """Return readline's own variable for the cursor's position, which Python's module does not expose."""
    import ctypes

    with contextlib.suppress(OSError, ValueError):
        return ctypes.c_int.in_dll(ctypes.CDLL(getattr(readline, "__file__", None)), "rl_point")
    return None
