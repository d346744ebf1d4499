from __future__ import annotations

import logging
from base64 import b64encode

import pytest

from cometbot.channels.cometchat.rotation_log import RotationLog
from cometbot.http.auth import BasicCredentials
from cometbot.http.rate_limiter import RateLimiter

SETTING = "COMETBOT_CALLBACK_PREVIOUS_PASSWORD"


def header(password: str) -> str:
    return f"Basic {b64encode(f'cc:{password}'.encode()).decode()}"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> RotationLog:
    caplog.set_level(logging.INFO)
    credentials = BasicCredentials({"shop": ("cc", "new"), "desk": ("cc", "new")}, {"shop": ("cc", "old")})
    return RotationLog(credentials, SETTING, "cometbot bots sync")


def test_password_in_use_is_said_once_without_it(log: RotationLog, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        log.record("shop", header("old"), "/cometchat/shop")
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(
        f"CometChat calls /cometchat/shop with the previous password, {SETTING}; set the new one"
    )
    assert "old" not in caplog.text.replace("previous", "")


def test_change_of_the_password_is_said(log: RotationLog, caplog: pytest.LogCaptureFixture) -> None:
    log._limiter = RateLimiter(0, 60)
    for password in ("old", "new", "new"):
        log.record("shop", header(password), "/cometchat/shop")
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.INFO]
    assert (
        caplog.records[1].getMessage()
        == f"CometChat calls /cometchat/shop with the new password; {SETTING} is not needed any more"
    )


def test_changes_are_said_once_a_minute(log: RotationLog, caplog: pytest.LogCaptureFixture) -> None:
    for password in ("old", "new") * 5:
        log.record("shop", header(password), "/cometchat/shop")
    assert len(caplog.records) == 1


def test_bot_with_one_password_is_not_said(log: RotationLog, caplog: pytest.LogCaptureFixture) -> None:
    log.record("desk", header("new"), "/cometchat/desk")
    assert not caplog.records
