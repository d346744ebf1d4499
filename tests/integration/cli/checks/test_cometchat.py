"""The lines about CometChat itself, against a simulated one in each broken state."""

from __future__ import annotations

import time
from typing import Any

from cometbot.cli.checks.http_client import CheckClient

LINES = ("CometChat", "app id and region", "API key", "clock", "rate limit")


def states(results: dict[str, Any]) -> dict[str, bool | None]:
    return {name: results[name].ok for name in LINES}


def test_without_an_app_id_it_says_what_to_copy(doctor_setup: Any) -> None:
    doctor_setup.unset_variables("COMETCHAT_APP_ID")
    results = doctor_setup.run_checks()
    assert states(results) == {"CometChat": False, **dict.fromkeys(LINES[1:])}
    assert "COMETCHAT_APP_ID" in results["CometChat"].cause
    assert "dashboard" in results["CometChat"].remedy


def test_without_a_region_it_says_what_to_set(doctor_setup: Any) -> None:
    doctor_setup.unset_variables("COMETCHAT_API_URL")
    assert "COMETCHAT_REGION" in doctor_setup.run_checks()["CometChat"].cause


def test_without_a_key_it_says_what_to_set(doctor_setup: Any) -> None:
    doctor_setup.unset_variables("COMETCHAT_API_KEY")
    assert "COMETCHAT_API_KEY" in doctor_setup.run_checks()["CometChat"].cause


def test_an_address_where_nothing_listens_is_told(doctor_setup: Any) -> None:
    doctor_setup.set_variables(COMETCHAT_API_URL="http://127.0.0.1:9/v3")
    results = doctor_setup.run_checks()
    assert states(results) == {"CometChat": False, **dict.fromkeys(LINES[1:])}
    assert results["CometChat"].cause == "nothing listens on 127.0.0.1, port 9"
    assert results["bot"].ok is None


def test_a_host_that_does_not_exist_is_told(doctor_setup: Any) -> None:
    doctor_setup.set_variables(COMETCHAT_API_URL="https://app.api-nowhere.invalid/v3")
    assert doctor_setup.run_checks()["CometChat"].cause == "unknown host app.api-nowhere.invalid"


def test_something_else_than_cometchat_is_told(doctor_setup: Any) -> None:
    doctor_setup.serve_response("200 OK", "<html>Welcome</html>")
    doctor_setup.set_variables(COMETCHAT_API_URL=f"{doctor_setup.url}/v3")
    results = doctor_setup.run_checks()
    assert results["CometChat"].ok is False
    assert "COMETCHAT_API_URL" in results["CometChat"].remedy


def test_an_api_of_another_version_is_told(doctor_setup: Any) -> None:
    doctor_setup.set_variables(COMETCHAT_API_URL=f"{doctor_setup.simulator.url}/v2")
    results = doctor_setup.run_checks()
    assert results["CometChat"].ok is False
    assert "/v3" in results["CometChat"].remedy


def test_trouble_of_cometchats_own_is_no_fault_of_the_key(doctor_setup: Any) -> None:
    doctor_setup.simulator.misbehave.fail(503, code="ERR_EXCEPTION", routes=["GET /bots"])
    results = doctor_setup.run_checks()
    assert results["CometChat"].ok is False
    assert "later" in results["CometChat"].remedy
    assert results["API key"].ok is None


def test_a_cometchat_that_does_not_answer_is_not_waited_for_long(bare_setup: Any) -> None:
    bare_setup.simulator.misbehave.slow(60, routes=["GET /bots"])
    began = time.monotonic()
    results = bare_setup.run_checks(client=CheckClient(timeout=0.3))
    assert results["CometChat"].cause == "no response from 127.0.0.1 within 0.3 s"
    assert time.monotonic() - began < 30


def test_a_connection_that_breaks_is_told(doctor_setup: Any) -> None:
    doctor_setup.simulator.misbehave.drop(routes=["GET /bots"])
    assert "lost the connection" in doctor_setup.run_checks()["CometChat"].cause


def test_a_foreign_app_id_is_told(doctor_setup: Any) -> None:
    doctor_setup.set_variables(COMETCHAT_APP_ID="anotherapp")
    results = doctor_setup.run_checks()
    assert states(results)["app id and region"] is False
    assert results["API key"].ok is None
    assert "anotherapp" in results["app id and region"].cause
    assert "COMETCHAT_REGION" in results["app id and region"].remedy


def test_a_wrong_key_is_told(doctor_setup: Any) -> None:
    doctor_setup.set_variables(COMETCHAT_API_KEY="0" * 40)
    results = doctor_setup.run_checks()
    assert results["API key"].ok is False
    assert "AUTH_ERR_APIKEY_NOT_FOUND" in results["API key"].cause
    assert results["app id and region"].ok
    assert results["enabled"].ok is None


def test_a_key_without_rights_is_told(doctor_setup: Any) -> None:
    doctor_setup.set_variables(COMETCHAT_API_KEY=doctor_setup.simulator.auth_key)
    result = doctor_setup.run_checks()["API key"]
    assert result.ok is False
    assert "authOnly" in result.cause
    assert "fullAccess" in result.remedy


def test_a_clock_that_is_wrong_is_told_with_its_direction(doctor_setup: Any) -> None:
    ahead = doctor_setup.run_checks(now=lambda: time.time() + 300)["clock"]
    behind = doctor_setup.run_checks(now=lambda: time.time() - 300)["clock"]
    assert (ahead.ok, behind.ok) == (False, False)
    assert "s ahead of CometChat" in ahead.cause
    assert "s behind CometChat" in behind.cause
    assert "timedatectl" in ahead.remedy


def test_a_rate_limit_that_is_nearly_used_up_is_told(doctor_setup: Any) -> None:
    doctor_setup.simulator.configure(standard_limit=20)
    for _ in range(10):
        doctor_setup.run_checks()
        left = doctor_setup.run_checks()["rate limit"]
        if left.ok is False:
            break
    assert left.ok is False
    assert "20" in left.cause or "used up" in left.cause


def test_a_rate_limit_that_is_used_up_is_told_with_the_wait(doctor_setup: Any) -> None:
    doctor_setup.simulator.misbehave.rate_limit(retry_after=7, routes=["GET /bots"])
    results = doctor_setup.run_checks()
    assert "retry in 7 s" in results["rate limit"].cause
    assert results["CometChat"].ok
    assert results["API key"].ok is None
