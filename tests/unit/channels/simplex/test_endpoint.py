"""Which URLs of a CLI are taken, and what is made of them."""

from __future__ import annotations

import base64
import ssl

import pytest

from cometbot.channels.simplex.endpoint import Endpoint
from cometbot.errors import ConfigurationError
from cometbot.settings import Settings

STRONG = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("ws://localhost:5225", "ws://localhost:5225/"),
        ("ws://127.0.0.1:5225/", "ws://127.0.0.1:5225/"),
        ("ws://127.9.9.9", "ws://127.9.9.9/"),
        ("ws://[::1]:5225/x?y=1", "ws://[::1]:5225/x?y=1"),
        ("WS://LOCALHOST:5225", "ws://localhost:5225/"),
        (f"wss://bot:{STRONG}@chat.example.com/cli", "wss://chat.example.com/cli"),
        (f"wss://bot:{STRONG}@chat.example.com:8443", "wss://chat.example.com:8443/"),
    ],
)
def test_safe_url_has_no_warning(url: str, bare: str) -> None:
    endpoint = Endpoint.from_url(url)
    assert (endpoint.url, endpoint.warnings) == (bare, ())


@pytest.mark.parametrize(
    "url",
    [
        "ws://chat.example.com",
        "ws://192.168.1.5:5225",
        "ws://0.0.0.0:5225",
        "ws://localhost.example.com",
        "ws://127.0.0.1.example.com",
        "ws://2130706433.example/",
    ],
)
def test_unencrypted_remote_url_needs_permission(url: str) -> None:
    with pytest.raises(ConfigurationError, match="SIMPLEX_ALLOW_UNENCRYPTED=1"):
        Endpoint.from_url(url)
    allowed = Endpoint.from_url(url, allow_unencrypted=True)
    assert "not encrypted" in allowed.warnings[0]


@pytest.mark.parametrize("host", ["localhost:5225", "chat.example.com"])
def test_credentials_are_refused_where_anybody_could_read_them(host: str) -> None:
    with pytest.raises(ConfigurationError, match="credentials and no encryption") as error:
        Endpoint.from_url(f"ws://bot:hush-hush@{host}/", allow_unencrypted=True)
    assert "hush" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:5225",
        "http://localhost",
        "ws://",
        "wss://:5225",
        "ws://localhost:99999",
        "ws://localhost:x",
        "ws://localhost:0",
        "ws://[::1",
        "ws://a b/",
        "ws://localhost/#x",
        "ws://localhost\n"[:-1] + "\x00",
    ],
)
def test_what_is_no_url_of_a_cli_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ConfigurationError, match="ws://localhost:5225"):
        Endpoint.from_url(url)


@pytest.mark.parametrize("user_info", ["bot", "bot:", ":secret", "a%3Ab:secret"])
def test_half_of_the_credentials_is_refused(user_info: str) -> None:
    with pytest.raises(ConfigurationError, match="user name without a colon and a password"):
        Endpoint.from_url(f"wss://{user_info}@chat.example.com/")


def test_credentials_become_a_header_decoded_and_show_nowhere() -> None:
    endpoint = Endpoint.from_url("wss://b%40t:Secret%2F1%C3%A9@chat.example.com/")
    assert endpoint.url == "wss://chat.example.com/"
    assert base64.b64decode(endpoint.headers["Authorization"].removeprefix("Basic ")).decode() == "b@t:Secret/1é"
    assert "Secret" not in repr(endpoint)
    assert Endpoint.from_url("ws://localhost:1/x?token=hush").display_url == "ws://localhost:1/x"
    assert "hush" not in repr(Endpoint.from_url("ws://localhost:1/x?token=hush"))
    assert "Basic" not in repr(endpoint)


@pytest.mark.parametrize(
    ("password", "is_weak"),
    [
        ("secret", True),
        ("a" * 100, True),
        ("abcd" * 50, True),
        ("Tr0ub4dor&3", True),
        (STRONG, False),
        ("aB3" * 4 + "xY7zQ9wE5rT1uI8oP2sD4fG6hJ0kL", True),
        ("Zm9vYmFyQUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo", False),
    ],
)
def test_a_weak_password_is_warned_of(password: str, is_weak: bool) -> None:
    endpoint = Endpoint.from_url(f"wss://bot:{password}@chat.example.com/")
    assert bool(endpoint.warnings) == is_weak
    assert not is_weak or "256 random bits" in endpoint.warnings[0]
    assert all(password not in warning for warning in endpoint.warnings)


def test_a_remote_cli_without_credentials_is_warned_of() -> None:
    assert "no credentials" in Endpoint.from_url("wss://chat.example.com/").warnings[0]
    assert Endpoint.from_url("wss://localhost/").warnings == ()


def test_certificates_and_host_names_are_always_verified() -> None:
    context = Endpoint.from_url(f"wss://bot:{STRONG}@chat.example.com/").make_ssl_context()
    assert context is not None
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert Endpoint.from_url("ws://localhost:5225").make_ssl_context() is None


def test_endpoint_from_settings() -> None:
    assert Endpoint.from_settings(Settings()).url == "ws://localhost:5225/"
    far = Settings(simplex_url="ws://10.0.0.1:5225")
    with pytest.raises(ConfigurationError):
        Endpoint.from_settings(far)
    assert Endpoint.from_settings(Settings(simplex_url="ws://10.0.0.1:5225", simplex_allow_unencrypted=True)).warnings
