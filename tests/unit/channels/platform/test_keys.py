"""Keys of bots and of the admin."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from cometbot.channels.platform.keys import BotKeys, is_admin_secret, is_valid_token, split_key
from cometbot.chat import ListedBot


def make_bot(bot_id: str = "01m7x") -> tuple[str, ListedBot]:
    key, stored = BotKeys("admin").create(bot_id)
    return key, ListedBot(bot_id, "Echo", **stored)


def test_keys_have_the_protocols_form_and_differ() -> None:
    keys = BotKeys("admin")
    first, second = keys.create("01m7x"), keys.create("01m7x")

    assert re.fullmatch(r"01m7x:[A-Za-z0-9]{26}", first[0])
    assert first[0] != second[0]


def test_stored_hash_verifies_the_key_and_hides_it() -> None:
    key, bot = make_bot()
    token = key.partition(":")[2]

    assert is_valid_token(token, bot)
    assert not is_valid_token(token + "x", bot)
    assert not is_valid_token("", bot)
    assert not is_valid_token(bot.key_hash, bot)
    assert token not in f"{bot.key_salt}{bot.key_hash}{bot!r}"
    assert bot.key_hash not in repr(bot)


def test_no_token_opens_what_has_no_key() -> None:
    assert not is_valid_token("", None)
    assert not is_valid_token("0" * 64, None)
    assert not is_valid_token("", ListedBot("helpdesk", "Helpdesk"))


def test_only_the_admin_secret_recovers_a_key() -> None:
    key, bot = make_bot()

    assert BotKeys("admin").recover(bot) == key
    assert BotKeys("other").recover(bot) is None
    assert BotKeys("admin").recover(replace(bot, id="01m7y")) is None
    assert BotKeys("admin").recover(replace(bot, key_salt="0" * 32)) is None
    assert BotKeys("admin").recover(ListedBot("helpdesk", "Helpdesk")) is None


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
