"""Applications that are tried out before a server starts."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cometbot.errors import ConfigurationError
from cometbot.settings import Secret, Settings
from cometbot.web import preflight
from cometbot.web.preflight import check_application, check_bind, check_reload

Make = Callable[[str], Settings]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Settings for a bot of this code."""
    monkeypatch.chdir(tmp_path)

    def make(code: str) -> Settings:
        (tmp_path / "tried.py").write_text(f"from cometbot import Bot\nbot = Bot('shop')\n{code}\n")
        return Settings(
            bot="tried.py:bot",
            database_url=f"sqlite:///{tmp_path / 'bot.db'}",
            callback_username="cc",
            callback_password=Secret("secret"),
            cometchat_app_id="app1",
            cometchat_api_url="http://127.0.0.1:9/v3",
            cometchat_api_key=Secret("key"),
        )

    return make


def test_a_bot_that_can_be_served_passes_and_leaves_nothing(
    make: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert check_application(make("print('imported')")) == ["shop"]
    assert capfd.readouterr() == ("", "")
    assert not (tmp_path / "bot.db").exists()


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("def f(:", r"the bot tried.py:bot cannot be loaded; tried.py, line 3: SyntaxError"),
        ("raise SystemExit(0)", r"tried.py, line 3: SystemExit: 0"),
        ("del bot", r"the module tried has no 'bot'; it has no Bot at all"),
        ("raise RuntimeError('\\ud800 Gr\\u00fc\\u00dfe')", r"line 3: RuntimeError: . Grüße"),
    ],
)
def test_why_a_bot_cannot_be_served_is_one_sentence(make: Make, code: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        check_application(make(code))


def test_a_process_that_ends_by_itself_is_left_to_the_server(make: Make) -> None:
    check_application(make("import os; os._exit(3)"))


def list_children() -> set[str]:
    """Return the ids of this process's children, those of other tests and ended ones too."""
    found = [file.read_text().split() for file in Path("/proc/self/task").glob("*/children")]
    return {child for children in found for child in children}


def test_check_without_an_end_times_out(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "CHECK_TIMEOUT", 0.5)
    others = list_children()
    check_application(make("import time; time.sleep(3600)"))
    assert list_children() == others


def fail() -> None:
    raise ValueError("no such table")


def end_because_of_a_setting() -> None:
    try:
        raise ConfigurationError("COMETBOT_BIND is wrong")
    except ConfigurationError:
        sys.exit(4)


@pytest.mark.parametrize(
    ("load", "sentence"),
    [
        (fail, r"test_preflight\.py, line \d+: ValueError: no such table"),
        (end_because_of_a_setting, "^COMETBOT_BIND is wrong$"),
        (lambda: os._exit(3), "ended its process"),
        (lambda: time.sleep(3600), r"was not loaded within 0\.5 s"),
    ],
    ids=["error", "setting", "exit", "endless"],
)
def test_reload_is_refused_for_any_failure(load: Callable[[], None], sentence: str) -> None:
    others = list_children()
    with pytest.raises(ConfigurationError, match=sentence):
        check_reload(load, 60 if load in (fail, end_because_of_a_setting) else 0.5)
    assert list_children() == others


def test_reload_of_a_loadable_application_passes() -> None:
    check_reload(lambda: None, 60)


def test_an_address_in_use_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(
            ConfigurationError, match=f"cannot listen at {place}: the address is in use. Stop the server"
        ):
            check_bind(Settings(bind=place))
    check_bind(Settings(bind=place))


@pytest.mark.parametrize(("bind", "cause"), [("192.0.2.1:8000", "Cannot assign"), ("no-such-host.invalid:8000", "")])
def test_an_address_that_is_not_here_is_one_sentence(bind: str, cause: str) -> None:
    with pytest.raises(ConfigurationError, match=f"cannot listen at {bind}: .*{cause}.*hoose another address"):
        check_bind(Settings(bind=bind))


def test_an_address_that_somebody_hands_over_is_not_tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check_bind(Settings(bind=f"unix:{tmp_path / 'socket'}"))
    monkeypatch.setenv("LISTEN_FDS", "1")
    check_bind(Settings(bind="192.0.2.1:8000"))
