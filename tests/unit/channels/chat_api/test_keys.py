"""Who is let in by a user key, and who is not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest

from cometbot.channels.chat_api.keys import LEEWAY, UserKeys, check_secret, is_valid_id, read_user_id, sign
from cometbot.errors import ConfigurationError
from cometbot.http.errors import HttpError

SECRET = "my-key"
LONG_AGO, FAR = 1_000_000_000, 10_000_000_000
"""Unix seconds: in 2001, and in 2286."""
SECRETS = ["k", "x" * 31, "x" * 32, "x" * 63, "x" * 64, "x" * 65, "é" * 100, "a secret with spaces \t and ü"]


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def make_jwt(claims: object, secret: str = SECRET, header: object = None) -> str:
    """A key made as the protocol says it, without a library."""
    signed = f"{encoded(header or {'alg': 'HS256'})}.{encoded(claims)}"
    digest = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


@pytest.fixture
def keys() -> UserKeys:
    return UserKeys(lambda: SECRET, can_issue=False)


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_of_any_length_signs_as_the_protocol_says(secret: str) -> None:
    key = sign("ann-7", secret)
    header, claims, _ = key.split(".")
    assert key == sign_jwt(header, claims, secret)
    assert UserKeys(lambda: secret, can_issue=False).verify(make_jwt({"id": "ann-7"}, secret)).user_id == "ann-7"
    assert UserKeys(lambda: secret, can_issue=False).verify(key).user_id == "ann-7"


def sign_jwt(header: str, claims: str, secret: str) -> str:
    digest = hmac.new(secret.encode(), f"{header}.{claims}".encode(), hashlib.sha256).digest()
    return f"{header}.{claims}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


@pytest.mark.parametrize("header", [{"alg": "HS256", "typ": "JWT"}, {"alg": "HS256"}])
def test_the_keys_of_both_official_clients_are_taken(keys: UserKeys, header: object) -> None:
    assert keys.verify(make_jwt({"id": "ann-7", "iat": 1772366400}, header=header)).user_id == "ann-7"


def test_what_the_server_issues_it_takes_and_it_has_no_end(keys: UserKeys) -> None:
    key = keys.issue("ann", "account-1")
    claims = jwt.decode(key, options={"verify_signature": False})
    assert keys.verify(key).user_id == "ann"
    assert set(claims) == {"id", "iat", "account"}
    assert keys.verify(key).account == "account-1"
    assert keys.verify(key).lifetime is None
    assert abs(claims["iat"] - time.time()) < 5


@pytest.mark.parametrize(
    "claims",
    [
        {"id": "ann", "iat": FAR},
        {"id": "ann", "iat": "nonsense"},
        {"id": "ann", "exp": FAR},
        {"id": "ann", "nbf": LONG_AGO},
        {"id": "ann", "aud": "somebody", "iss": 7, "sub": ["odd"], "jti": {}},
    ],
)
def test_unknown_claims_are_ignored(keys: UserKeys, claims: dict[str, Any]) -> None:
    assert keys.verify(make_jwt(claims)).user_id == "ann"


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"id": 7},
        {"id": None},
        {"id": ["ann"]},
        {"id": ""},
        {"sub": "ann"},
        {"id": "ann", "exp": LONG_AGO},
        {"id": "ann", "exp": "soon"},
        {"id": "ann", "exp": float("inf")},
        {"id": "ann", "nbf": FAR},
        {"id": "ann", "nbf": []},
        ["id"],
        "ann",
        7,
        None,
    ],
)
def test_claims_that_name_nobody_now_are_refused(keys: UserKeys, claims: object) -> None:
    refuse(keys, make_jwt(claims))


def test_a_key_lasts_as_long_as_its_signer_said(keys: UserKeys) -> None:
    assert keys.verify(make_jwt({"id": "ann"})).lifetime is None
    left = keys.verify(make_jwt({"id": "ann", "exp": time.time() + 60})).lifetime
    assert left is not None
    assert 50 < left - LEEWAY <= 60


@pytest.mark.parametrize("claim", ["nbf", "exp"])
def test_key_is_read_though_clocks_differ_by_seconds(keys: UserKeys, claim: str) -> None:
    skew = LEEWAY - 3
    key = keys.verify(make_jwt({"id": "ann", claim: time.time() + (skew if claim == "nbf" else -skew)}))

    assert key.user_id == "ann"
    assert key.lifetime is None or 0 < key.lifetime <= 3


@pytest.mark.parametrize(
    ("claims", "cause"),
    [
        ({"id": "ann", "exp": LONG_AGO}, "the claim exp is in the past"),
        ({"id": "ann", "nbf": FAR}, "the claim nbf is in the future"),
        ({"sub": "ann"}, "the claim id is not a text"),
    ],
)
def test_refusal_of_a_signed_key_names_the_claim(keys: UserKeys, claims: dict[str, Any], cause: str) -> None:
    with pytest.raises(HttpError) as caught:
        keys.verify(make_jwt(claims))
    assert caught.value.message == f"Invalid user key: {cause}"


def test_refusal_of_a_foreign_key_names_no_claim(keys: UserKeys) -> None:
    with pytest.raises(HttpError) as caught:
        keys.verify(jwt.encode({"id": "ann", "exp": LONG_AGO}, b"x" * 64, algorithm="HS256"))
    assert caught.value.message == "Invalid user key"


@pytest.mark.parametrize(
    ("signed_at", "read"),
    [(LONG_AGO, LONG_AGO), (1.5, 1.5), ("nonsense", None), (None, None), (float("nan"), None), ([1], None)],
)
def test_time_of_signing_is_read_where_it_is_a_number(keys: UserKeys, signed_at: object, read: float | None) -> None:
    assert keys.verify(make_jwt({"id": "ann", "iat": signed_at})).issued_at == read


def refuse(keys: UserKeys, key: str) -> None:
    with pytest.raises(HttpError) as caught:
        keys.verify(key)
    assert (caught.value.status, caught.value.code) == (401, "Unauthorized")
    assert caught.value.message.startswith("Invalid user key")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("algorithm", ["none", "None", "HS384", "HS512", "RS256", "ES256", "", None, 7, ["HS256"]])
def test_no_other_algorithm_is_taken(keys: UserKeys, algorithm: object) -> None:
    refuse(keys, make_jwt({"id": "ann"}, header={"alg": algorithm}))
    refuse(keys, f"{encoded({'alg': algorithm})}.{encoded({'id': 'ann'})}.")


@pytest.mark.parametrize("key", ["", "x", "a.b", "a.b.c", "....", "\0", "é.ü.ä", "e30.e30.", "x" * 100_000, "🙂" * 10])
def test_what_is_no_token_is_refused(keys: UserKeys, key: str) -> None:
    refuse(keys, key)


def test_a_damaged_foreign_or_changed_key_is_refused(keys: UserKeys) -> None:
    key = sign("ann", SECRET)
    header, claims, signature = key.split(".")
    changed = f"{header}.{encoded({'id': 'bob'})}.{signature}"
    middle = len(signature) // 2
    other = "A" if signature[middle] != "A" else "B"
    damaged = f"{header}.{claims}.{signature[:middle]}{other}{signature[middle + 1 :]}"
    for bad in (changed, damaged, sign("ann", "another"), key[:-3], f"{key}.x", key.replace(".", ":")):
        refuse(keys, bad)


def test_a_header_that_asks_for_something_special_is_refused(keys: UserKeys) -> None:
    refuse(keys, make_jwt({"id": "ann"}, header={"alg": "HS256", "crit": ["unknown"], "unknown": 1}))
    refuse(keys, make_jwt({"id": "ann"}, header={"alg": "HS256", "kid": 7}))


@pytest.mark.parametrize("secret", ["", "ssh-rsa AAAA"])
def test_a_secret_that_cannot_sign_is_a_wrong_setting(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="THE_SETTING cannot sign"):
        check_secret(secret, "THE_SETTING")
    with pytest.raises(ConfigurationError, match="the encryption key cannot sign"):
        sign("ann", secret)


def test_the_secret_is_asked_for_once_and_shown_nowhere() -> None:
    asked: list[int] = []

    def secret() -> str:
        asked.append(1)
        return SECRET

    keys = UserKeys(secret, can_issue=True)
    assert keys.verify(keys.issue("ann", "account-1")).user_id == "ann"
    assert len(asked) == 1
    assert SECRET not in repr(keys)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("a", True),
        ("A-z_0/9\\", True),
        ("x" * 70, True),
        ("x" * 71, False),
        ("", False),
        ("a b", False),
        ("a\n", False),
        ("é", False),
        ("a:b", False),
        ("a.b", False),
    ],
)
def test_what_an_own_id_looks_like(text: str, is_one: bool) -> None:
    assert is_valid_id(text) is is_one


def test_who_a_key_is_for_can_be_read_without_its_secret() -> None:
    assert read_user_id(sign("ann", SECRET)) == "ann"
    assert [read_user_id(key) for key in ("", "x", "a.b.c", make_jwt([1]))] == [""] * 4
