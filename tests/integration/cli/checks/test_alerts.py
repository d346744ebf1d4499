"""The doctor's line about alerts, and the test that it sends on request."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_httpserver import HTTPServer


def test_without_alerts_there_is_no_line(doctor_setup: Any) -> None:
    assert "alerts" not in doctor_setup.run_checks()


def test_a_test_without_targets_fails(doctor_setup: Any) -> None:
    result = doctor_setup.run_checks(test_alerts=True)["alerts"]
    assert (result.ok, result.cause) == (False, "COMETBOT_ALERTS is not set")


def test_targets_are_named_by_their_hosts_and_get_nothing(doctor_setup: Any, httpserver: HTTPServer) -> None:
    doctor_setup.set_variables(COMETBOT_ALERTS=f"{httpserver.url_for('/secret')},cometchat:group:ops-room")
    result = doctor_setup.run_checks()["alerts"]
    assert result.ok is True
    assert f"go to http://{httpserver.host}:{httpserver.port}/…, cometchat:group:ops-room" in result.cause
    assert "secret" not in result.cause
    assert httpserver.log == []


def test_each_target_gets_a_test_on_request(doctor_setup: Any, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/secret", method="POST").respond_with_data("ok")
    doctor_setup.simulator.add_group("ops-room", members=["helpdesk"])
    doctor_setup.set_variables(COMETBOT_ALERTS=httpserver.url_for("/secret"))
    assert doctor_setup.run_checks(test_alerts=True)["alerts"].ok is True
    assert httpserver.log[0][0].get_json() == {
        "text": "cometbot: a test of COMETBOT_ALERTS. Alerts arrive here.",
        "alert": "test",
        "bot": "helpdesk",
    }
    doctor_setup.set_variables(COMETBOT_ALERTS="cometchat:group:ops-room")
    result = doctor_setup.run_checks(test_alerts=True)["alerts"]
    assert result.cause == "stored a test, which the running bot sends to cometchat:group:ops-room"
    doctor_setup.simulator.wait_for(lambda simulator: simulator.messages("group_ops-room"))


def test_a_target_that_takes_no_test_fails(doctor_setup: Any, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/secret").respond_with_data("no", status=403)
    doctor_setup.set_variables(COMETBOT_ALERTS=httpserver.url_for("/secret"))
    result = doctor_setup.run_checks(test_alerts=True)["alerts"]
    assert result.ok is False
    assert "answered with 403" in result.cause
    assert "secret" not in result.cause + result.remedy


@pytest.mark.parametrize(
    ("target", "cause"),
    [
        ("platform:group:ops", "platform:group:ops: the channel platform is not in COMETBOT_CHANNELS"),
        ("cometchat/shop_eu:user:ann", "cometchat/shop_eu:user:ann: the app shop_eu is not in COMETCHAT_APPS"),
    ],
)
def test_a_target_that_is_not_served_fails(doctor_setup: Any, target: str, cause: str) -> None:
    doctor_setup.set_variables(COMETBOT_ALERTS=target)
    result = doctor_setup.run_checks()["alerts"]
    assert (result.ok, result.cause) == (False, cause)
