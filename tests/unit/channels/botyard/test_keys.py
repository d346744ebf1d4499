"""Keys of bots and of the admin."""

from __future__ import annotations

import re

import pytest

from cometbot.channels.botyard.keys import BotKeys, StoredKey, is_admin, opens, split_key


def test_a_key_has_the_form_of_the_protocol_and_is_another_one_each_time() -> None:
    keys = BotKeys("admin")
    first, second = keys.make("01m7x"), keys.make("01m7x")

    assert re.fullmatch(r"01m7x:[A-Za-z0-9]{26}", first[0])
    assert first[0] != second[0]


def test_what_is_stored_recognises_the_key_and_says_nothing_of_it() -> None:
    key, stored = BotKeys("admin").make("01m7x")
    token = key.partition(":")[2]

    assert opens(token, stored)
    assert not opens(token + "x", stored)
    assert not opens("", stored)
    assert not opens(stored.hashed, stored)
    assert token not in f"{stored.salt}{stored.hashed}{stored!r}"
    assert stored.hashed not in repr(stored)


def test_no_token_opens_what_has_no_key() -> None:
    assert not opens("", None)
    assert not opens("0" * 64, None)


def test_who_has_the_admins_secret_can_say_a_key_again_and_nobody_else() -> None:
    key, stored = BotKeys("admin").make("01m7x")

    assert BotKeys("admin").recall("01m7x", stored) == key
    assert BotKeys("other").recall("01m7x", stored) is None
    assert BotKeys("admin").recall("01m7y", stored) is None
    assert BotKeys("admin").recall("01m7x", StoredKey("0" * 32, stored.hashed)) is None


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

    assert is_admin(sent, secret)
    for wrong in ("", secret[:-1], f"{secret}x", f"Bearer {secret}", secret.upper() + "1"):
        assert not is_admin(wrong, secret)


def test_without_a_secret_nobody_is_the_admin() -> None:
    for header in ("", "x", " "):
        assert not is_admin(header, "")
