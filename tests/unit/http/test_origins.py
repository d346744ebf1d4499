"""The header ``Origin`` beside the header ``Host``."""

from __future__ import annotations

import flask
import pytest

from cometbot.http.origins import allow_origins, is_same_origin


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://chat.example.com", "chat.example.com"),
        ("https://chat.example.com", "chat.example.com:443"),
        ("https://chat.example.com:443", "chat.example.com"),
        ("http://chat.example.com", "chat.example.com:80"),
        ("https://CHAT.example.com", "chat.Example.com:443"),
        ("http://localhost:8000", "localhost:8000"),
        ("http://[::1]:8000", "[::1]:8000"),
        ("https://[::1]", "[::1]:443"),
    ],
)
def test_same_host_and_port_is_own(origin: str, host: str) -> None:
    assert is_same_origin(origin, host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("null", "chat.example.com"),
        ("", ""),
        ("null", ""),
        ("https://", ""),
        ("https://evil.example", "chat.example.com"),
        ("https://chat.example.com.evil.example", "chat.example.com"),
        ("http://localhost:8001", "localhost:8000"),
        ("http://localhost", "localhost:443"),
        ("https://localhost:8000", "localhost"),
        ("https://chat.example.com:x", "chat.example.com"),
        ("https://[::1", "[::1"),
        ("chat.example.com", "chat.example.com"),
    ],
)
def test_other_host_or_port_is_foreign(origin: str, host: str) -> None:
    assert not is_same_origin(origin, host)


@pytest.mark.parametrize(
    ("origins", "origin", "method", "expected"),
    [
        ((), "https://a.example", "GET", {}),
        (("https://a.example",), "", "GET", {}),
        (("https://a.example",), "https://b.example", "OPTIONS", {}),
        (("https://a.example",), "https://a.example", "GET", {"Allow-Origin": "https://a.example"}),
        (("*",), "https://b.example", "OPTIONS", {"Allow-Origin": "https://b.example", "Max-Age": "600"}),
    ],
)
def test_only_allowed_origins_may_read(
    origins: tuple[str, ...], origin: str, method: str, expected: dict[str, str]
) -> None:
    response = flask.Response()
    headers = {"Origin": origin} if origin else {}
    with flask.Flask("test").test_request_context(method=method, headers=headers):
        allow_origins(response, origins, preflight_headers={"Max-Age": "600"})
    prefix = "Access-Control-"
    assert {n.removeprefix(prefix): v for n, v in response.headers if n.startswith(prefix)} == expected
    assert ("Origin" in response.vary) == bool(origins)


def test_credentials_are_allowed_on_demand() -> None:
    response = flask.Response()
    with flask.Flask("test").test_request_context(headers={"Origin": "https://a.example"}):
        allow_origins(response, ("*",), preflight_headers={}, with_credentials=True)
    assert response.headers["Access-Control-Allow-Credentials"] == "true"
