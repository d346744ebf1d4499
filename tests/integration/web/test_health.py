"""``/readyz`` over a PostgreSQL that is stopped, and over one that does not answer."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg
import pytest
from werkzeug.test import Client, TestResponse

from cometbot.bot import Bot
from cometbot.delivery import Delivery, delivery
from cometbot.testing.fake_channel import FakeChannel
from cometbot.web.metrics import Metrics
from cometbot.web.monitoring import make_monitoring_app
from tests.postgres_server import PostgresServer

Probe = Callable[[], TestResponse]


@pytest.fixture
def probe(postgres_url: str) -> Iterator[Probe]:
    """Asks a process that takes messages in and leaves them to workers."""
    with closing(Delivery([Bot("shop")], [FakeChannel()], postgres_url)) as made:
        client = Client(make_monitoring_app(made, Metrics(["shop"])))
        yield lambda: client.get("/readyz")


def test_unreachable_database_is_logged_in_one_line(
    probe: Probe, postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert probe().json["checks"]["database"] == "ok: reachable"
    postgres.pg_ctl_stop()
    try:
        for _ in range(3):
            caplog.clear()
            began = time.monotonic()
            answer = probe()
            assert time.monotonic() - began < 60
            assert answer.status_code == 503
            checks = answer.json["checks"]
            assert checks["database"].startswith("failed: cannot be read: cannot read or write in the database: ")
            assert {name: text for name, text in checks.items() if name != "database"} == {
                "schema": "unknown",
                "workers": "unknown",
            }
            (record,) = (record for record in caplog.records if record.name == "cometbot.web.health")
            assert record.getMessage().startswith("not ready: database: cannot be read: ")
            assert "\n" not in record.getMessage()
            assert record.exc_info is None
    finally:
        postgres.pg_ctl_start()
    answers = (probe() for _ in itertools.count())
    ready = next(answer for answer in answers if answer.json["checks"]["database"] == "ok: reachable")
    assert ready.json["checks"]["workers"] == "failed: no worker is running; start one with cometbot worker"


def test_silent_database_is_waited_for_until_the_timeout(monkeypatch: pytest.MonkeyPatch, postgres_url: str) -> None:
    monkeypatch.setattr(delivery, "DATABASE_CHECK_TIMEOUT", 0.5)
    with (
        closing(Delivery([Bot("shop")], [FakeChannel()], postgres_url)) as made,
        psycopg.connect(postgres_url) as busy,
    ):
        client = Client(make_monitoring_app(made, Metrics(["shop"])))
        busy.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
        for _ in range(2):
            assert client.get("/readyz").json == {
                "ready": False,
                "checks": {
                    "database": "failed: cannot be read: no result within 0.5 s",
                    "schema": "unknown",
                    "workers": "unknown",
                },
            }
        busy.rollback()
        monkeypatch.setattr(made._database_check, "_timeout", 60.0)
        made._database_check._call.get()[0].result(60)
        assert client.get("/readyz").json["checks"]["database"] == "ok: reachable"
