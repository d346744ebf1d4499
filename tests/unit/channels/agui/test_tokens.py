"""Tokens are compared in constant time: all of them, and digests of the same length."""

from __future__ import annotations

import hmac
from types import SimpleNamespace
from typing import Any

import flask
import pytest

from cometbot.channels.agui.settings import AguiSettings
from cometbot.channels.agui.views import AguiViews
from cometbot.http.errors import HttpError
from cometbot.settings import Secret

TOKENS = ["first" * 8, "second" * 8, "third" * 8]


def count_comparisons(monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]) -> tuple[bool, int]:
    """Return whether a request with these headers is let in, and how many comparisons that took."""
    lengths: list[int] = []

    def compare(one: bytes, other: bytes) -> bool:
        lengths.extend((len(one), len(other)))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    channel: Any = SimpleNamespace(settings=AguiSettings(tokens=tuple(map(Secret, TOKENS))), chat=None)
    delivery: Any = SimpleNamespace(bots={})
    views = AguiViews(channel, delivery)
    request = flask.Flask("test").test_request_context("/agui/shop", method="POST", headers=headers)
    with request, pytest.raises(HttpError) as caught:
        views.handle_run("shop")
    assert set(lengths) == {32}
    return caught.value.status == 404, len(lengths) // 2  # there is no such bot


@pytest.mark.parametrize("token", [*TOKENS, f"  {TOKENS[1]} "])
def test_each_token_is_compared_with_all(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    assert count_comparisons(monkeypatch, {"Authorization": f"Bearer {token}"}) == (True, 6)
    assert count_comparisons(monkeypatch, {"X-API-Key": token}) == (True, 6)


@pytest.mark.parametrize("token", ["", "x", TOKENS[0][:-1], TOKENS[0] + "x", TOKENS[0].upper(), "x" * 10_000, "é"])
def test_wrong_token_is_compared_as_often(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    assert count_comparisons(monkeypatch, {"Authorization": f"Bearer {token}"}) == (False, 6)
    assert count_comparisons(monkeypatch, {"Authorization": f"Basic {token}", "X-API-Key": token}) == (False, 6)
    assert count_comparisons(monkeypatch, {}) == (False, 6)
