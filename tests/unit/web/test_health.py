from __future__ import annotations

from collections.abc import Iterable

import pytest
from flask import Flask

from cometbot.delivery import Check
from cometbot.web.health import Checks, make_health_views

FINE = Check("database", True, "reachable")


def client(checks: Checks):  # type: ignore[no-untyped-def]
    app = Flask(__name__)
    app.register_blueprint(make_health_views(checks))
    return app.test_client()


def test_healthz_answers_without_looking_at_anything() -> None:
    def fail() -> Iterable[Check]:
        raise AssertionError("looked")

    answer = client(fail).get("/healthz")
    assert (answer.status_code, answer.json) == (200, {"alive": True})


def test_readyz_is_200_where_every_check_is_fine() -> None:
    answer = client(lambda: [FINE, Check("threads", True)]).get("/readyz")
    assert answer.status_code == 200
    assert answer.json == {"ready": True, "checks": {"database": "ok: reachable", "threads": "ok"}}


def test_readyz_is_503_with_the_reason_where_one_check_fails() -> None:
    answer = client(lambda: [FINE, Check("threads", False, "3 handlers hang")]).get("/readyz")
    assert answer.status_code == 503
    assert answer.json == {
        "ready": False,
        "checks": {"database": "ok: reachable", "threads": "failed: 3 handlers hang"},
    }


def test_readyz_is_503_for_an_unknown_check(caplog: pytest.LogCaptureFixture) -> None:
    answer = client(lambda: [Check("database", False, "cannot be read: gone"), Check("schema", None)]).get("/readyz")
    assert answer.status_code == 503
    assert answer.json["checks"] == {"database": "failed: cannot be read: gone", "schema": "unknown"}
    assert [record.getMessage() for record in caplog.records] == ["not ready: database: cannot be read: gone"]


def test_readyz_logs_nothing_if_all_checks_pass(caplog: pytest.LogCaptureFixture) -> None:
    client(lambda: [FINE]).get("/readyz")
    assert not caplog.records


def test_readyz_has_one_line_for_each_check() -> None:
    text = client(lambda: [FINE, Check("threads", False, "3 handlers hang")]).get("/readyz").text
    assert '    "threads": "failed: 3 handlers hang"\n' in text


def test_readyz_is_503_where_the_checks_themselves_break(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> Iterable[Check]:
        raise OSError("the disk of /secret/path is gone")

    answer = client(fail).get("/readyz")
    assert answer.status_code == 503
    assert answer.json == {
        "ready": False,
        "checks": {"delivery": "failed: the check raised an error; see the log"},
    }
    assert "the disk of /secret/path is gone" in caplog.text


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_never_answered_from_a_cache(path: str) -> None:
    assert client(lambda: [FINE]).get(path).headers["Cache-Control"] == "no-store"
