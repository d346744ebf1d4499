"""Keys of bots and of the admin."""

from __future__ import annotations

import re

import pytest

from cometbot.channels.platform.keys import BotKeys, KeyHash, is_admin_secret, is_valid_token, split_key


def test_keys_have_the_protocols_form_and_differ() -> None:
    keys = BotKeys("admin")
    first, second = keys.create("01m7x"), keys.create("01m7x")

    assert re.fullmatch(r"01m7x:[A-Za-z0-9]{26}", first[0])
    assert first[0] != second[0]


def test_stored_hash_verifies_the_key_and_hides_it() -> None:
    key, stored = BotKeys("admin").create("01m7x")
    token = key.partition(":")[2]

    assert is_valid_token(token, stored)
    assert not is_valid_token(token + "x", stored)
    assert not is_valid_token("", stored)
    assert not is_valid_token(stored.hashed, stored)
    assert token not in f"{stored.salt}{stored.hashed}{stored!r}"
    assert stored.hashed not in repr(stored)


def test_no_token_opens_what_has_no_key() -> None:
    assert not is_valid_token("", None)
    assert not is_valid_token("0" * 64, None)


def test_only_the_admin_secret_recovers_a_key() -> None:
    key, stored = BotKeys("admin").create("01m7x")

    assert BotKeys("admin").recover("01m7x", stored) == key
    assert BotKeys("other").recover("01m7x", stored) is None
    assert BotKeys("admin").recover("01m7y", stored) is None
    assert BotKeys("admin").recover("01m7x", KeyHash("0" * 32, stored.hashed)) is None


@pytest.mark.parametrize(
    ("header", "parts"),
    [
        ("id:token", ("id", "token")),
        ("id:token:more", ("id", "token")),
        (":", ("", "")),
        ("nothing", None),
        ("", None),
        ("id:" + "x" * 600, None),
    ],
)
def test_a_key_is_split_at_its_first_colons(header: str, parts: tuple[str, str] | None) -> None:
    assert split_key(header) == parts


@pytest.mark.parametrize("secret", ["adminkey", "clé", "with space", "\udcff"])
def test_the_admin_is_who_says_the_whole_secret(secret: str) -> None:
    sent = secret.encode("utf-8", "surrogateescape").decode("latin-1")

    assert is_admin_secret(sent, secret)
    for wrong in ("", secret[:-1], f"{secret}x", f"Bearer {secret}", secret.upper() + "1"):
        assert not is_admin_secret(wrong, secret)


def test_without_a_secret_nobody_is_the_admin() -> None:
    for header in ("", "x", " "):
        assert not is_admin_secret(header, "")
