"""What is told of bots, and which URLs and credentials CometChat can take."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cometbot.channels.cometchat.provision import (
    BotPlan,
    RegisteredBot,
    SyncPlan,
    callback_url,
    check_credentials,
    check_url,
    generate_credentials,
    make_basic_auth_changes,
    name_from_uid,
)
from cometbot.channels.cometchat.responses import Record
from cometbot.errors import ConfigurationError
from cometbot.settings import Credentials, Secret

REAL = "https://app.api-eu.cometchat.io/v3"
LOCAL = "http://127.0.0.1:8000/v3"
RECORD = Record(
    uid="shop",
    webhookURL="https://bots.example.org/cometchat/shop",
    groupChatSetting="allMessages",
    enabled=True,
    useBasicAuth=True,
    username="cc",
    password="s3cr3t-value",
    createdAt=1767225600,
)
LOGIN = Credentials("cc", Secret("s3cr3t-value"))


def plan(**changes: Any) -> SyncPlan:
    wanted = BotPlan(
        **{"uid": "shop", "url": str(RECORD["webhookURL"]), "group_setting": "allMessages", "credentials": LOGIN}
        | changes
    )
    return SyncPlan(wanted=wanted, registered=RegisteredBot.from_record(RECORD))


def test_registered_bot_left_out_properties_are_empty_or_false() -> None:
    bot = RegisteredBot.from_record({"uid": "shop", "webhookURL": "https://x.example/", "createdAt": 1})
    assert (bot.group_setting, bot.enabled, bot.uses_basic_auth, bool(bot.password)) == ("none", False, False, False)


def test_registered_bot_ignores_wrong_types() -> None:
    bot = RegisteredBot.from_record({"uid": 5, "enabled": "yes", "createdAt": None, "password": ["x"]})
    assert bot == RegisteredBot(uid="")


def test_registered_bot_password_shows_nowhere() -> None:
    bot = RegisteredBot.from_record(RECORD | {"webhookURL": "https://me:s3cr3t-value@x.example/a"})
    shown = f"{bot!r} {bot} {json.dumps(bot.to_json())}"
    assert "s3cr3t-value" not in shown.replace(bot.url, "")
    assert bot.to_json()["password"] == "***"
    assert bot.to_json()["webhookURL"] == "https://me:***@x.example/a"


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("https://h.example", "https://h.example/cometchat/shop"),
        ("https://h.example/", "https://h.example/cometchat/shop"),
        ("https://h.example/bots", "https://h.example/bots/cometchat/shop"),
        ("https://h.example/cometchat", "https://h.example/cometchat/shop"),
        ("https://h.example/cometchat/shop", "https://h.example/cometchat/shop"),
    ],
)
def test_callback_url_is_the_servers_url_and_the_bots_path(base: str, expected: str) -> None:
    assert callback_url(base, "shop") == expected


@pytest.mark.parametrize(
    ("url", "api_url"),
    [
        ("https://bots.example.org/cometchat/shop", REAL),
        ("https://8.8.8.8:8443/cometchat/shop", REAL),
        ("http://127.0.0.1:9000/cometchat/shop", LOCAL),
        ("http://localhost/x", "http://10.0.0.5/v3"),
    ],
)
def test_check_url_cometchat_could_call_it_it_stays(url: str, api_url: str) -> None:
    assert check_url(url, api_url) == url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://bots.example.org", "HTTPS only"),
        ("https://127.0.0.1/x", "from outside"),
        ("https://localhost/x", "from outside"),
        ("https://192.168.1.5/x", "from outside"),
        ("https://[::1]/x", "from outside"),
        ("bots.example.org", "must be one such as"),
        ("ftp://bots.example.org", "must be one such as"),
        ("https://", "must be one such as"),
        ("https://h:99999/", "must be one such as"),
        ("https://[", "must be one such as"),
        ("https://a b.example/", "must be one such as"),
        ("https://me:pw@bots.example.org", "without a password"),
        ("https://bots.example.org/" + "x" * 255, "takes 255"),
    ],
)
def test_check_url_explains_unreachable_url(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        check_url(url, REAL)


def test_check_url_with_a_password_the_error_does_not_show_it() -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_url("https://me:s3cr3t@bots.example.org", REAL)
    assert "s3cr3t" not in str(caught.value)


def test_credentials_made_are_random_and_fit() -> None:
    first, second = generate_credentials(), generate_credentials("me")
    assert (first.username, second.username) == ("cometchat", "me")
    assert first.password != second.password
    assert 30 <= len(first.password.reveal()) <= 50
    assert check_credentials(first) is first


@pytest.mark.parametrize(
    ("username", "password"), [("x" * 51, "pw"), ("me", "x" * 51), ("me", ""), ("", "pw"), ("a:b", "s3cr3t-value")]
)
def test_credentials_that_cometchat_cannot_carry_are_refused(username: str, password: str) -> None:
    with pytest.raises(ConfigurationError, match=r"CometChat takes|colon") as caught:
        check_credentials(Credentials(username, Secret(password)))
    assert "s3cr3t" not in str(caught.value)


def test_basic_auth_changes() -> None:
    assert make_basic_auth_changes(None) == {"useBasicAuth": False}
    assert make_basic_auth_changes(LOGIN) == {"useBasicAuth": True, "username": "cc", "password": "s3cr3t-value"}


@pytest.mark.parametrize(("uid", "name"), [("shop", "Shop"), ("help-desk_2", "Help desk 2"), ("--", "--")])
def test_name_from_uid_reads_well(uid: str, name: str) -> None:
    assert name_from_uid(uid) == name


def test_differences_cometchat_agrees_there_are_none() -> None:
    assert plan().differences == ()


@pytest.mark.parametrize(
    ("changes", "what", "now", "then"),
    [
        ({"url": "https://new.example/"}, "URL", RECORD["webhookURL"], "https://new.example/"),
        ({"group_setting": "none"}, "messages of groups", "allMessages", "none"),
        ({"enabled": False}, "enabled", "yes", "no"),
        ({"credentials": Credentials("me", LOGIN.password)}, "user name", "cc", "me"),
        ({"credentials": Credentials("cc", Secret("other"))}, "password", "***", "the one of the settings"),
    ],
)
def test_differences_contain_only_what_differs(changes: dict[str, Any], what: str, now: str, then: str) -> None:
    assert [(item.field, item.current, item.wanted) for item in plan(**changes).differences] == [(what, now, then)]


def test_differences_keep_foreign_credentials() -> None:
    assert plan(credentials=None).differences == ()


def test_differences_of_missing_bot_hide_secrets() -> None:
    wanted = BotPlan(uid="shop", url="https://h.example/", name="Shop", credentials=LOGIN)
    found = SyncPlan(wanted=wanted, registered=None, is_user_missing=True, has_new_credentials=True).differences
    assert [item.field for item in found] == [
        "user", "bot", "URL", "messages of groups", "enabled", "user name", "password",
    ]  # fmt: skip
    assert "s3cr3t" not in repr(found)
    assert found[-1].wanted == "a new one"
