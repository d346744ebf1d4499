"""A process that gets no requests notices that its SQLite file is gone, whatever it does beside that."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from pathlib import Path

import pytest

from cometbot.bot import Bot
from cometbot.delivery import Delivery
from cometbot.testing.fake_channel import FakeChannel

TIMEOUT = 60.0


@pytest.mark.parametrize("handles", [True, False], ids=["handles", "only sends"])
def test_lost_file_is_logged_once_without_requests(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, handles: bool
) -> None:
    def errors() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]

    path = tmp_path / "bot.db"
    with closing(Delivery([Bot("shop")], [FakeChannel()], f"sqlite:///{path}", handles=handles)) as delivery:
        delivery.start()
        path.unlink()
        end = time.monotonic() + TIMEOUT
        while not errors():
            assert time.monotonic() < end, caplog.text
            time.sleep(0.01)
        checks = {check.name: check.ok for check in delivery.checks()}
        assert checks["database"] is False
        (error,) = errors()
        assert error.startswith(f"{path} was removed or moved while it was in use. ")
