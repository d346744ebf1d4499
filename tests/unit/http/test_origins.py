"""The header ``Origin`` beside the header ``Host``."""

from __future__ import annotations

import pytest

from cometbot.http.origins import is_same_origin


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
