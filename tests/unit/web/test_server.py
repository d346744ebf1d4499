from __future__ import annotations

import ipaddress
import os
from dataclasses import replace
from pathlib import Path

import pytest
from gunicorn.config import Config

from cometbot.settings import Settings
from cometbot.web import server

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if nothing had been shared yet."""
    monkeypatch.setenv(VARIABLE, "")
    server.share_metrics.cache_clear()


def config(settings: Settings) -> Config:
    made = Config()
    for name, value in server.gunicorn_config(settings).items():
        made.set(name, value)
    return made


def test_every_value_is_one_that_gunicorn_takes() -> None:
    made = config(Settings())
    assert made.worker_class_str == "cometbot.web.gunicorn_overrides.GunicornWorker"
    assert (made.workers, made.threads, made.bind) == (2, 8, ["0.0.0.0:8000"])
    assert not made.preload_app


def test_what_is_set_reaches_gunicorn() -> None:
    made = config(Settings(bind="unix:/run/bot.sock", processes=3, threads=5, log_level="error"))
    assert (made.workers, made.threads, made.bind) == (3, 5, ["unix:/run/bot.sock"])
    assert made.loglevel == "error"


def test_moderation_has_threads_beside_the_others() -> None:
    allowed = Settings(threads=5, cometchat_allow_anonymous_moderation=True, cometchat_moderation_threads=3)
    assert config(allowed).threads == 8
    assert config(replace(allowed, cometchat_allow_anonymous_moderation=False)).threads == 5
    assert config(replace(allowed, channels=("platform",), streams=0)).threads == 5


def test_gunicorn_trusts_no_forwarding_header() -> None:
    made = config(Settings(trusted_proxies=(ipaddress.ip_network("10.0.0.0/8"),)))
    assert (made.forwarded_allow_ips, made.forwarder_headers, made.secure_scheme_headers) == ([], [], {})


def test_no_control_socket_is_opened() -> None:
    assert config(Settings()).control_socket_disable


@pytest.mark.parametrize(("stop_timeout", "expected"), [(5.0, 30), (20.0, 30), (60.5, 71)])
def test_graceful_timeout_covers_requests_and_handlers(stop_timeout: float, expected: int) -> None:
    assert config(Settings(stop_timeout=stop_timeout, body_timeout=10.0)).graceful_timeout == expected


def test_metrics_folder_is_created_and_removed() -> None:
    server.share_metrics()
    folder = Path(os.environ[VARIABLE])
    assert folder.is_dir()
    server.share_metrics()
    assert os.environ[VARIABLE] == str(folder)
    config(Settings()).on_exit(None)
    assert not folder.exists()


def test_named_metrics_folder_is_emptied_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir()
    (folder / "counter_1.db").touch()
    (folder / "notes.txt").touch()
    monkeypatch.setenv(VARIABLE, str(folder))
    server.share_metrics()
    assert [file.name for file in folder.iterdir()] == ["notes.txt"]
    (folder / "counter_2.db").touch()
    server.share_metrics()
    assert (folder / "counter_2.db").exists()
    config(Settings()).on_exit(None)
    assert folder.exists()
