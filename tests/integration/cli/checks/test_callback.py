"""The lines about the callback at its real URL, against servers that are wrong in one way each."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Any

import pytest

from cometbot.cli.checks import callback as checks
from cometbot.cli.checks.callback import check_server
from cometbot.cli.checks.http_client import CheckClient
from cometbot.errors import Unreachable

REAL = "https://app.api-eu.cometchat.io/v3"
HERE = "http://127.0.0.1:1/v3"


def lines(results: Any) -> dict[str, Any]:
    return {result.name: result for result in results}


def test_a_bot_that_does_not_run_is_told(doctor_setup: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        results = doctor_setup.run_checks(url=f"http://127.0.0.1:{port}")
    assert results["reachable"].cause == f"nothing listens on 127.0.0.1, port {port}"
    assert "cometbot serve" in results["reachable"].remedy
    assert {results[name].ok for name in checks.CHECK_NAMES} == {None}


@pytest.mark.parametrize("url", ["https://127.0.0.1", "https://localhost:8443", "https://10.0.0.5"])
def test_an_address_that_the_real_cometchat_cannot_reach_is_told(url: str) -> None:
    found = lines(check_server(url, CheckClient(), REAL))
    assert found["reachable"].ok is False
    assert "from outside" in found["reachable"].cause


def test_plain_http_is_told_for_the_real_cometchat() -> None:
    found = lines(check_server("http://bots.example.com", CheckClient(), REAL))
    assert "HTTPS only" in found["reachable"].cause


def test_a_name_that_does_not_exist_is_told() -> None:
    found = lines(check_server("https://bots.nowhere.invalid", CheckClient(), REAL))
    assert found["reachable"].cause == "unknown host bots.nowhere.invalid"
    assert found["certificate"].ok is None


def test_a_name_with_a_private_address_here_is_noted(monkeypatch: pytest.MonkeyPatch, certificates: Any) -> None:
    caller = CheckClient()
    monkeypatch.setattr(caller, "connect", lambda url: "10.0.0.5")
    monkeypatch.setattr(caller, "certificate_days", lambda url: 60.0)
    found = lines(check_server("https://bots.example.com", caller, REAL))
    assert found["reachable"].ok
    assert "a private address" in found["reachable"].cause


def test_a_good_certificate_passes_with_its_days(certificates: Any) -> None:
    with certificates.serve(_nothing) as (origin, file):
        found = lines(check_server(origin, CheckClient(ca_file=str(file)), HERE))
    assert found["certificate"].ok
    assert found["certificate"].cause in ("valid for 90 days", "valid for 89 days")


def test_a_certificate_that_nobody_vouches_for_is_told(certificates: Any) -> None:
    with certificates.serve(_nothing) as (origin, _):
        found = lines(check_server(origin, CheckClient(), HERE))
    assert found["reachable"].ok
    assert found["certificate"].ok is False
    assert "self-signed certificate" in found["certificate"].cause
    assert "certbot renew" in found["certificate"].remedy


def test_a_certificate_for_another_name_is_told(certificates: Any) -> None:
    with certificates.serve(_nothing, host="other.example.com") as (origin, file):
        found = lines(check_server(origin, CheckClient(ca_file=str(file)), HERE))
    assert "ostname mismatch" in found["certificate"].cause


def test_a_certificate_that_ends_soon_is_told(certificates: Any) -> None:
    with certificates.serve(_nothing, days=3) as (origin, file):
        found = lines(check_server(origin, CheckClient(ca_file=str(file)), HERE))
    assert found["certificate"].ok is False
    assert "it expires in 3.0 days" in found["certificate"].cause


def test_a_server_without_tls_at_an_https_url_is_told(doctor_setup: Any) -> None:
    origin = doctor_setup.url.replace("http://", "https://")
    found = lines(check_server(origin, CheckClient(timeout=2), HERE))
    assert found["certificate"].ok is False
    assert "TLS" in found["certificate"].cause


def test_a_whole_bot_behind_tls_is_well(doctor_setup: Any, certificates: Any) -> None:
    from cometbot import Bot
    from cometbot.settings import Settings
    from cometbot.web.app import create_app

    app = create_app(Bot("helpdesk"), Settings.from_environment(), handles=False)
    with certificates.serve(app) as (origin, file):
        results = doctor_setup.run_checks(url=origin, client=CheckClient(ca_file=str(file)))
    app.extensions["cometbot"].stop()
    assert [name for name, line in results.items() if line.ok is False] == ["callback URL"]
    assert results["credentials accepted"].ok


def test_a_bad_certificate_leaves_the_password_unsent(doctor_setup: Any, certificates: Any) -> None:
    asked: list[str] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        asked.append(environ["PATH_INFO"])
        start_response("200 OK", [])
        return [b""]

    with certificates.serve(app) as (origin, _):
        results = doctor_setup.run_checks(url=origin)
    assert results["certificate"].ok is False
    assert results["credentials accepted"].ok is None
    assert asked == []


def test_a_service_that_lets_anybody_in_is_told(bare_setup: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bare_setup.set_variables(COMETBOT_ALLOW_ANONYMOUS_CALLBACKS="1")
    bare_setup.unset_variables("COMETBOT_CALLBACK_USERNAME", "COMETBOT_CALLBACK_PASSWORD")
    bare_setup.serve_bot()
    bare_setup.set_variables(COMETBOT_CALLBACK_USERNAME="cc", COMETBOT_CALLBACK_PASSWORD="s3cret-word")
    results = bare_setup.run_checks(url=bare_setup.url)
    assert results["credentials refused"].ok is False
    assert "anyone can impersonate" in results["credentials refused"].cause
    assert results["credentials accepted"].ok


def test_a_service_with_other_credentials_is_told(doctor_setup: Any) -> None:
    doctor_setup.set_variables(COMETBOT_CALLBACK_PASSWORD="another-word")
    results = doctor_setup.run_checks()
    assert results["credentials refused"].ok
    assert results["credentials accepted"].ok is False
    assert "Authorization" in results["credentials accepted"].remedy


def test_a_service_of_another_app_is_told(doctor_setup: Any) -> None:
    doctor_setup.set_variables(COMETCHAT_APP_ID="anotherapp")
    result = doctor_setup.run_checks(url=doctor_setup.url)["credentials accepted"]
    assert "another app than anotherapp" in result.cause


def test_a_service_of_other_bots_is_told(bare_setup: Any) -> None:
    bare_setup.serve_bot("sales")
    result = bare_setup.run_checks(url=bare_setup.url)["credentials accepted"]
    assert "does not have the bot helpdesk" in result.cause
    assert "COMETBOT_BOT" in result.remedy


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        ("502 Bad Gateway", "<html>", "cannot reach the bot"),
        ("404 Not Found", "<html>", "nothing at /cometchat/helpdesk"),
        ("200 OK", "<html>Welcome", "got another program"),
        ("500 Internal Server Error", "", "got another program"),
        ("503 Unavailable", '{"error":{"code":"ERR_BUSY"}}', "is busy"),
        ("400 Bad Request", '{"error":{"code":"ERR_WRONG_BOT"}}', "that of another bot"),
    ],
)
def test_what_answers_in_the_bots_place_is_told(bare_setup: Any, status: str, body: str, words: str) -> None:
    bare_setup.serve_response(status, body)
    result = bare_setup.run_checks(url=bare_setup.url)["credentials accepted"]
    assert result.ok is False
    assert words in result.cause


def test_a_redirect_is_told_and_not_followed(bare_setup: Any) -> None:
    bare_setup.serve_response("301 Moved", "", ("Location", "https://me:hidden@elsewhere.example.com/x?y=1"))
    result = bare_setup.run_checks(url=bare_setup.url)["credentials refused"]
    assert "redirects to https://elsewhere.example.com/x" in result.cause
    assert "hidden" not in str(result)


def test_an_answer_that_takes_too_long_is_told(doctor_setup: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "CALLBACK_TIMEOUT", 0.0)
    results = doctor_setup.run_checks()
    assert results["response time"].ok is False
    assert "COMETBOT_THREADS" in results["response time"].remedy


def test_a_service_that_does_not_answer_is_not_waited_for_long(bare_setup: Any) -> None:
    released = threading.Event()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        released.wait(60)
        start_response("200 OK", [])
        return [b""]

    bare_setup.serve(app)
    results = bare_setup.run_checks(url=bare_setup.url, client=CheckClient(timeout=0.2))
    released.set()
    assert results["credentials accepted"].cause == "no response from 127.0.0.1 within 0.2 s"
    assert results["response time"].ok is None


def test_an_answer_that_never_ends_is_cut_off(bare_setup: Any) -> None:
    stopped = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while not stopped.wait(0.02):
                connection.sendall(b"x" * 20_000)

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    with pytest.raises(Unreachable, match="no response from"):
        CheckClient(timeout=0.2).post(f"http://127.0.0.1:{listener.getsockname()[1]}", b"{}", None)
    stopped.set()
    listener.close()
    thread.join(60)


def _nothing(environ: Any, start_response: Any) -> list[bytes]:
    start_response("204 No Content", [])
    return []
