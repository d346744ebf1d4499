"""``cometbot doctor --simplex``: each line is right where things are, and says how to mend them where they are not."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cometbot.cli import main
from cometbot.cli.checks.result import CheckResult
from cometbot.cli.checks.simplex import check_simplex
from cometbot.delivery import Delivery
from cometbot.testing import FakeSimplexCLI
from cometbot.testing.simplex.command_grammar import read_command
from tests.ports import free_port

BOT = """
from cometbot import Bot
bot = Bot("shop", description="Sells.")
@bot.fallback
def answer(ctx):
    return "hello"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "examined_shop.py").write_text(BOT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMETBOT_BOT", "examined_shop.py:bot")
    monkeypatch.setenv("COMETBOT_DATABASE_URL", f"sqlite:///{tmp_path}/bot.db")
    return tmp_path


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSimplexCLI]:
    with FakeSimplexCLI() as cli:
        monkeypatch.setenv("SIMPLEX_URL", cli.url)
        yield cli


def run_checks() -> dict[str, CheckResult]:
    return {result.name: result for result in check_simplex(timeout=2.0)}


def test_a_cli_without_an_address_is_fine_and_nothing_is_changed(cli: FakeSimplexCLI) -> None:
    found = run_checks()

    assert [name for name, result in found.items() if result.ok is False] == ["worker"]
    assert found["worker"].remedy == "cometbot simplex"
    assert (found["SimpleX CLI"].ok, found["profile"].ok, found["address"].ok) == (True, True, None)
    assert "Echo bot (becomes a bot profile" in found["profile"].cause
    assert cli.do("address") is None
    assert not any(text.startswith(("/_address", "/_profile", "/_create")) for text in cli.commands)


def test_a_cli_with_an_address_shows_it(cli: FakeSimplexCLI) -> None:
    cli.handlers.handle(read_command("/_address 1"))
    found = run_checks()

    assert found["address"].ok is True
    assert found["address"].cause.startswith("https://")


def test_a_fresh_cli_has_no_profile_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeSimplexCLI(display_name="") as cli:
        monkeypatch.setenv("SIMPLEX_URL", cli.url)
        found = run_checks()

    assert found["profile"].ok is None
    assert "cometbot simplex creates it" in found["profile"].cause


def test_named_profile_is_found_by_name(cli: FakeSimplexCLI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMPLEX_PROFILE", "Echo bot")
    assert run_checks()["profile"].ok is True
    monkeypatch.setenv("SIMPLEX_PROFILE", "Other")
    assert run_checks()["profile"].ok is None


def test_missing_address_that_is_not_created_fails(cli: FakeSimplexCLI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMPLEX_ADDRESS", "0")
    found = run_checks()["address"]

    assert (found.ok, found.remedy) == (False, "set SIMPLEX_ADDRESS=1")


def test_unreachable_cli_explains_how_to_start_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeSimplexCLI() as cli:
        url = cli.url
    monkeypatch.setenv("SIMPLEX_URL", url)
    found = run_checks()

    assert found["SimpleX CLI"].ok is False
    assert "nothing listens" in found["SimpleX CLI"].cause
    assert "simplex-chat -p 5225" in found["SimpleX CLI"].remedy
    assert found["profile"].ok is None


def test_unsafe_url_is_refused_before_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMPLEX_URL", "ws://chat.example.com:5225")
    found = run_checks()

    assert found["SimpleX URL"].ok is False
    assert "uses unencrypted ws://" in found["SimpleX URL"].cause


@pytest.mark.parametrize("fault", ["no_resp", "no_json", "silent"])
def test_other_server_is_distinguished_from_cli(cli: FakeSimplexCLI, fault: Any) -> None:
    cli.misbehave(fault, on="/users")
    found = run_checks()["SimpleX CLI"]

    assert found.ok is False
    assert "not a SimpleX CLI" in found.cause


@pytest.fixture
def plain_port() -> Iterator[int]:
    """Where something listens that answers, and speaks no TLS."""

    def answer() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_tls_failure_points_at_the_proxy(monkeypatch: pytest.MonkeyPatch, plain_port: int) -> None:
    monkeypatch.setenv("SIMPLEX_URL", f"wss://bot:{'0123456789abcdef' * 4}@127.0.0.1:{plain_port}/")
    found = run_checks()["SimpleX CLI"]

    assert (found.ok, "does not speak TLS" in found.cause) == (False, True)
    assert found.remedy.startswith("check the proxy and the CLI")
    assert "start it" not in found.remedy


def test_a_proxy_that_is_not_there_is_what_is_to_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMPLEX_URL", f"wss://bot:{'0123456789abcdef' * 4}@127.0.0.1:{free_port()}/")
    found = run_checks()["SimpleX CLI"]

    assert (found.ok, "the proxy before the SimpleX CLI" in found.cause) == (False, True)
    assert "simplex-chat -p" not in found.cause + found.remedy


@pytest.mark.parametrize("url", ["ws://127.0.0.1:{port}", "wss://127.0.0.1:{port}/"])
def test_check_results_are_not_logged_twice(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, url: str
) -> None:
    monkeypatch.setenv("SIMPLEX_URL", url.format(port=free_port()))
    assert run_checks()["SimpleX CLI"].ok is False
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO] == []


@pytest.mark.parametrize("password", ["sec/ret", "sec#ret", "sec?ret"])
def test_unescaped_password_gets_a_hint(monkeypatch: pytest.MonkeyPatch, password: str) -> None:
    monkeypatch.setenv("SIMPLEX_URL", f"wss://bot:{password}@chat.example.com/")
    found = run_checks()["settings"]

    assert found.ok is False
    assert "in a password / is written %2F, # %23, ? %3F and @ %40" in found.remedy
    assert "sec" not in found.cause + found.remedy
    assert ".env.example" not in found.remedy


def test_credentials_are_in_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "0123456789abcdef" * 4
    monkeypatch.setenv("SIMPLEX_URL", f"wss://bot:{secret}@127.0.0.1:9/")
    found = run_checks()

    assert found["SimpleX CLI"].ok is False
    assert secret not in str(found)


def test_a_folder_for_files_must_be_there(cli: FakeSimplexCLI, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMPLEX_FILES", "/srv/cli")
    monkeypatch.setenv("SIMPLEX_FILES_HERE", str(folder / "files"))
    assert run_checks()["files"].ok is False
    (folder / "files").mkdir()
    assert run_checks()["files"].ok is True


def test_wrong_settings_skip_the_other_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMPLEX_URL", "nowhere")
    found = run_checks()

    assert found["settings"].ok is False
    assert found["SimpleX CLI"].ok is None


def test_command_prints_results_and_sets_exit_code(cli: FakeSimplexCLI, folder: Path) -> None:
    delivery = Delivery([], [], f"sqlite:///{folder}/bot.db")
    delivery.start()
    well = CliRunner().invoke(main, ["doctor", "--simplex"])
    delivery.close()
    cli.close()
    ill = CliRunner().invoke(main, ["doctor", "--simplex", "--json"])

    assert (well.exit_code, ill.exit_code) == (0, 1)
    assert "✓ SimpleX CLI" in well.output
    assert json.loads(ill.output)["ok"] is False
    assert CliRunner().invoke(main, ["doctor", "--simplex", "--url", "https://x.example"]).exit_code == 2
