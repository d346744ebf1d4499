"""What may be a webhook's address, and what its origin is."""

from __future__ import annotations

import pytest

from cometbot.http.client import url_origin
from cometbot.http.webhooks import WebhookClient


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://example.com/hook", ""),
        ("http://example.com:8080/?a=b", ""),
        ("HTTPS://EXAMPLE.COM", ""),
        ("https://93.184.216.34/x", ""),
        ("", "printable ASCII characters"),
        ("https://example.com/" + "x" * 2000, "printable ASCII characters"),
        ("https://example.com/a b", "printable ASCII characters"),
        ("https://example.com/\r\nX: y", "printable ASCII characters"),
        ("https://bücher.example/", "printable ASCII characters"),
        ("ftp://example.com/", "http or https"),
        ("javascript:alert(1)", "http or https"),
        ("https:///path", "http or https"),
        ("https://example.com:99999/", "not a URL"),
        ("https://[::1/", "not a URL"),
        ("https://user:secret@example.com/", "user name or a password"),
        ("https://user@example.com/", "user name or a password"),
        ("http://localhost/", "this machine"),
        ("http://app.localhost:3000/", "this machine"),
        ("http://127.0.0.1:9000/", "this machine"),
        ("http://[::1]/", "this machine"),
        ("http://[::ffff:10.0.0.1]/", "private network"),
        ("http://169.254.169.254/latest/meta-data", "private network"),
    ],
)
def test_invalid_webhook_url_is_refused_with_the_reason(url: str, says: str) -> None:
    problem = WebhookClient().check_url(url)
    assert says in problem
    assert bool(problem) == bool(says)


def test_addresses_of_this_machine_can_be_allowed() -> None:
    allowing = WebhookClient(allow_private=True)
    assert allowing.check_url("http://127.0.0.1:9000/") == ""
    assert allowing.check_url("http://localhost/") == ""


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Example.com/a?b#c", "https://example.com:443"),
        ("http://example.com", "http://example.com:80"),
        ("http://example.com:8080/x", "http://example.com:8080"),
        ("http://[2001:db8::1]:81/", "http://[2001:db8::1]:81"),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: str) -> None:
    assert url_origin(url) == origin
