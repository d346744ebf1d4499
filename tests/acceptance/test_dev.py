"""``cometbot dev`` as an author uses it: through a pipe, in a terminal, with code that changes."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import requests

from .conftest import ROOT, WAIT_TIMEOUT

pytestmark = pytest.mark.process

COMETBOT = (sys.executable, "-c", "from cometbot.cli import main; main(prog_name='cometbot')")
BOT = """
import os
from cometbot import Bot

bot = Bot("shop")

@bot.message("hi")
def greet(ctx):
    return "Hello, version one!"

@bot.message("boom")
def boom(ctx):
    print("about to fail")
    return 1 / 0

@bot.message("die")
def die(ctx):
    os._exit(3)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bot.py").write_text(BOT)
    return tmp_path


def environ(folder: Path) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("COMET", "PROMETHEUS"))}
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    return {**kept, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary), "TERM": "xterm", "COLUMNS": "120"}


def pipe(folder: Path, *lines: str, options: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """What came of a run whose input is these lines."""
    return subprocess.run(
        [*COMETBOT, "dev", "--port", "0", *options],
        input="".join(f"{line}\n" for line in lines),
        cwd=folder,
        env=environ(folder),
        capture_output=True,
        text=True,
        timeout=3 * WAIT_TIMEOUT,
        check=False,
    )


class Terminal:
    """A run in a terminal of its own; what it shows is kept without colours."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._output = b""
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [*COMETBOT, "dev", "--port", "0", *options],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env=environ(folder),
            start_new_session=True,
        )
        os.close(slave)

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def wait_for(self, text: str, times: int = 1, seconds: float = WAIT_TIMEOUT) -> str:
        """Everything shown so far, once ``text`` is there so many times."""
        end = time.monotonic() + seconds
        while self.shown.count(text) < times:
            if not self._read(end - time.monotonic()):
                pytest.fail(f"waited in vain for {text!r}; shown is:\n{self.shown}")
        return self.shown

    def wait_end(self, seconds: float = WAIT_TIMEOUT) -> int:
        end = time.monotonic() + seconds
        while self._read(end - time.monotonic()):
            continue
        return self.process.wait(max(end - time.monotonic(), 0.1))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(WAIT_TIMEOUT)
        os.close(self.master)

    def _read(self, seconds: float) -> bool:
        if seconds <= 0 or not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            read = os.read(self.master, 65536)
        except OSError:
            return False
        self._output += read
        return bool(read)

    @property
    def shown(self) -> str:
        """Everything shown so far, without colours and movements of the cursor."""
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self._output.decode(errors="replace"))


@pytest.fixture
def terminal(folder: Path) -> Iterator[Callable[..., Terminal]]:
    started: list[Terminal] = []

    def start(*options: str) -> Terminal:
        started.append(Terminal(folder, *options))
        return started[-1]

    yield start
    for one in started:
        one.close()


def children(folder: Path) -> list[str]:
    """The bot's processes that a run in this folder has left behind."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_child = b"cometbot.cli.dev.bot_main" in (process / "cmdline").read_bytes()
            if is_child and (process / "cwd").resolve() == folder.resolve():
                found.append(process.name)
        except OSError:
            continue
    return found


def wait_until(condition: Callable[[], bool], seconds: float = WAIT_TIMEOUT) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_lines_of_a_pipe_are_answered_one_after_the_other(folder: Path) -> None:
    done = pipe(folder, "hi", "boom", ":dead")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    typed = lines.index("maria → shop > hi")
    said = next(number for number, line in enumerate(lines) if line.endswith("Hello, version one!"))
    second = lines.index("maria → shop > boom")
    assert typed < said < second
    between = " ".join(lines[typed:second])
    assert re.search(r'callback 200 \d+ ms POST /cometchat/shop #\d+ "hi"', between)
    assert re.search(r'REST 200 \d+ ms POST /v3/bots/shop/messages "Hello, version one!"', between)
    after = "\n".join(lines[second:])
    assert "│ about to fail" in after
    assert "bot.py, line 14: ZeroDivisionError: division by zero\nreturn 1 / 0" in after
    assert "boom: ZeroDivisionError: division by zero" in after.replace("\n", " ")
    assert children(folder) == []
    assert list((folder / "tmp").glob("cometbot-dev-*")) == []


def test_dev_never_calls_the_real_cometchat(folder: Path) -> None:
    (folder / ".env").write_text(
        "COMETBOT_BOT=bot:bot\nCOMETCHAT_API_URL=https://real.example.com/v3\nCOMETCHAT_API_KEY=realkey\n"
        "COMETBOT_DATABASE_URL=sqlite:///real.db\nCOMETBOT_CALLBACK_USERNAME__SHOP=u\n"
        "COMETBOT_CALLBACK_PASSWORD__SHOP=p\nCOMETBOT_LOG_LEVEL=error\n"
    )
    done = pipe(folder, "hi")
    assert "Hello, version one!" in done.stdout
    assert not (folder / "real.db").exists()


@pytest.mark.parametrize(
    ("options", "files", "sentence"),
    [
        (["nowhere:bot"], {}, "cometbot: there is no module 'nowhere'"),
        (["bot:bott"], {}, "cometbot: the module bot has no 'bott'; it has: bot"),
        (["bot:"], {}, "cometbot: 'bot:' names no bot"),
        (["bad.py:bot"], {"bad.py": "x = 1\ndef f(:\n"}, "cometbot: cannot start the bot: bad.py, line 2: SyntaxError"),
        (["bad.py:bot"], {"bad.py": "import nonesuch"}, "bad.py, line 1: ModuleNotFoundError"),
        (["bad.py:bot"], {"bad.py": "raise SystemExit('no')"}, "bad.py, line 1: SystemExit: no"),
    ],
)
def test_bot_that_cannot_run_exits_with_2(
    folder: Path, options: list[str], files: dict[str, str], sentence: str
) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)
    done = pipe(folder, "hi", options=options)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert children(folder) == []


def test_no_bot_at_all_says_how_to_name_one(folder: Path) -> None:
    (folder / "bot.py").rename(folder / "shop.py")
    done = pipe(folder)
    assert done.returncode == 2
    assert "cometbot: no bot is named and there is no bot.py here in" in done.stderr


def test_dev_without_terminal_and_pipe_says_what_to_do(folder: Path) -> None:
    done = pipe(folder)
    assert done.returncode == 2
    assert done.stderr.startswith("cometbot: cannot start the chat: ")
    assert "--no-chat" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_gives_way_to_the_next_free_one(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = pipe(folder, ":quit", options=["--port", str(port)])
    assert done.returncode == 0
    assert re.search(rf"Port {port} is in use; using \d+\.", done.stdout)


def test_dev_survives_a_handler_that_kills_its_process(folder: Path) -> None:
    # The next process waits for the leases of the last one to end, five times.
    (folder / "bot.py").write_text(
        f"{BOT}\nfrom tests.acceptance.bots.short_leases import shorten_leases\nshorten_leases(4.0)\n"
    )
    # CometChat tells once, and waits for 10 s: a busy machine may need longer to start the bot again.
    done = pipe(folder, "die", "hi", "hi", "hi", ":dead")
    assert "✗ the bot's process exited with status 3; restarting" in done.stdout
    assert "Hello, version one!" in done.stdout
    assert "died 5 times" in " ".join(done.stdout.split())


def test_in_a_terminal_a_reply_appears_and_the_prompt_comes_back(terminal: Callable[..., Terminal]) -> None:
    run = terminal()
    run.wait_for("maria → shop > ")
    run.type("hi\n")
    run.wait_for("Hello, version one!")
    run.wait_for("maria → shop > ", times=2)
    run.type(":qu\t\n")
    assert run.wait_end() == 0, run.shown


def test_broken_code_leaves_the_old_bot_running(folder: Path, terminal: Callable[..., Terminal]) -> None:
    run = terminal("bot.py:bot", "--traffic", "off")
    run.wait_for("maria → shop > ")
    (folder / "bot.py").write_text(BOT.replace("version one", "version two"))
    run.wait_for("↻ bot.py changed: the bot runs with the new code")
    run.type("hi\n")
    run.wait_for("Hello, version two!")
    (folder / "bot.py").write_text(BOT + "\ndef broken(:\n")
    run.wait_for("bot.py, line 20: SyntaxError: invalid syntax")
    assert "✗ bot.py changed, but the bot cannot start; the previous version keeps running" in run.shown
    run.type("hi\n")
    run.wait_for("Hello, version two!", times=2)
    (folder / "bot.py").write_text(BOT.replace("version one", "version three"))
    run.wait_for("↻ bot.py changed", times=2)
    run.type("hi\n")
    run.wait_for("Hello, version three!")
    assert wait_until(lambda: len(children(folder)) == 1), "old processes must go"


def test_a_terminal_waits_for_code_that_is_broken_at_the_start(folder: Path, terminal: Callable[..., Terminal]) -> None:
    (folder / "bot.py").write_text("def broken(:\n")
    run = terminal()
    run.wait_for("✗ the bot cannot start; retrying when you save a file")
    (folder / "bot.py").write_text(BOT)
    run.wait_for("maria → shop > ")
    run.type("hi\n")
    run.wait_for("Hello, version one!")


@pytest.mark.parametrize("how", ["ctrl-c", "ctrl-d", "term", "hangup"])
def test_every_exit_ends_all_processes(folder: Path, terminal: Callable[..., Terminal], how: str) -> None:
    run = terminal()
    run.wait_for("maria → shop > ")
    assert len(children(folder)) == 1
    match how:
        case "ctrl-c":
            run.process.send_signal(signal.SIGINT)
        case "ctrl-d":
            run.type("\x04")
        case "term":
            run.process.send_signal(signal.SIGTERM)
        case "hangup":
            run.process.send_signal(signal.SIGHUP)
    assert run.wait_end() == 0, run.shown
    assert "Traceback" not in run.shown
    assert wait_until(lambda: not children(folder))
    assert list((folder / "tmp").glob("cometbot-dev-*")) == []


def test_the_bot_ends_even_if_its_parent_is_killed(folder: Path, terminal: Callable[..., Terminal]) -> None:
    run = terminal()
    run.wait_for("maria → shop > ")
    run.process.kill()
    assert wait_until(lambda: not children(folder))


def test_dev_without_chat_runs_until_a_signal(folder: Path, terminal: Callable[..., Terminal]) -> None:
    run = terminal("--no-chat")
    shown = run.wait_for("Ctrl-C quits.")
    url = re.search(r"http://127\.0\.0\.1:\d+", shown)
    assert url is not None
    said = requests.post(f"{url[0]}/simulator/users/maria/say", json={"to": "shop", "text": "hi"}, timeout=WAIT_TIMEOUT)
    assert said.ok, said.text
    run.wait_for("Hello, version one!")
    run.process.send_signal(signal.SIGTERM)
    assert run.wait_end() == 0, run.shown


EVENTS = """
from cometbot import Bot, DeleteEvent, EditEvent, MembershipEvent, ReactionEvent

bot = Bot("shop")

@bot.event(EditEvent)
def edited(ctx):
    return f"edited to {ctx.event.message.text}"

@bot.event(DeleteEvent)
def deleted(ctx):
    return f"deleted {ctx.event.message_id}"

@bot.event(ReactionEvent)
def reacted(ctx):
    return f"reacted {ctx.event.reaction}"

@bot.event(MembershipEvent)
def member(ctx):
    return f"{ctx.event.action} {ctx.event.members[0].uid}"

@bot.message("hi")
def greet(ctx):
    return "Hello!"
"""


def test_the_bot_hears_edits_deletions_reactions_and_members(folder: Path, terminal: Callable[..., Terminal]) -> None:
    (folder / "bot.py").write_text(EVENTS)
    run = terminal("--no-chat")
    url = re.search(r"http://127\.0\.0\.1:\d+", run.wait_for("Ctrl-C quits."))
    assert url is not None

    def post(uid: str, what: str, **body: str) -> str:
        said = requests.post(f"{url[0]}/simulator/users/{uid}/{what}", json=body, timeout=WAIT_TIMEOUT)
        assert said.ok, said.text
        return str(said.json()["data"]["id"])

    reply_sent = '/messages  "Hello!"'
    message = post("maria", "say", to="shop", text="hi")
    answer = re.search(r"shop #(\d+)", run.wait_for(reply_sent))
    assert answer is not None
    # The id of a reply is stored before the next message of its conversation is handled; a reaction needs that id.
    post("maria", "say", to="shop", text="hi")
    run.wait_for(reply_sent, times=2)
    post("maria", "act", act="react", message=answer[1], reaction="👍")
    run.wait_for("reacted 👍")
    post("maria", "act", act="edit", message=message, text="ho")
    run.wait_for("edited to ho")
    post("maria", "act", act="delete", message=message)
    run.wait_for(f"deleted {message}")
    post("maria", "say", group="ops-room", text="hi")
    run.wait_for(reply_sent, times=3)
    post("tom", "act", act="leave", group="ops-room")
    run.wait_for("left tom")
    post("tom", "act", act="join", group="ops-room")
    run.wait_for("joined tom")


def test_message_that_the_bot_blocks_is_shown(folder: Path) -> None:
    (folder / "bot.py").write_text(BOT + '\n@bot.moderate\ndef check(item):\n    return "casino" in item.text\n')
    ended = pipe(folder, "our casino", "hi")
    assert ended.returncode == 0, ended.stderr
    assert "of maria was blocked by moderation" in ended.stdout
    assert "Hello, version one!" in ended.stdout
