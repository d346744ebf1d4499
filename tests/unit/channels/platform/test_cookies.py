"""The token in the cookie."""

from __future__ import annotations

from datetime import datetime, timezone

import jwt
import pytest

from cometbot.channels.platform.keys import TokenSigner

LONG = "a-secret-that-is-long-enough-for-hs256"


class Clock:
    now = 1_795_225_502.7

    def __call__(self) -> float:
        return self.now


def test_token_has_the_protocols_claims_and_signature() -> None:
    cookie = TokenSigner(LONG, Clock()).create("01m7x", "user", 10080)
    claims = jwt.decode(cookie.value, LONG, algorithms=["HS256"], options={"verify_exp": False})

    assert claims == {"id": "01m7x", "nickname": "user", "exp": 1_795_225_502 + 604_800, "iat": 1_795_225_502}
    assert cookie.expires == datetime.fromtimestamp(claims["exp"], timezone.utc)
    assert cookie.value not in repr(cookie)


@pytest.mark.parametrize("secret", [LONG, "short"])
def test_a_token_is_read_until_it_ends(secret: str) -> None:
    clock = Clock()
    tokens = TokenSigner(secret, clock)
    token = tokens.create("01m7x", "user", 1).value

    assert tokens.verify(token) == "01m7x"
    clock.now += 59
    assert tokens.verify(token) == "01m7x"
    clock.now += 1
    assert tokens.verify(token) is None


def test_secret_verifies_only_its_own_tokens() -> None:
    token = TokenSigner("one").create("01m7x", "user", 1).value

    assert TokenSigner("one").verify(token) == "01m7x"
    assert TokenSigner("two").verify(token) is None
    with pytest.raises(ValueError, match="empty secret"):
        TokenSigner("")


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "\ud800", "é.é.é", "." * 1000])
def test_what_is_no_token_is_nobodys(token: str) -> None:
    assert TokenSigner("one").verify(token) is None
