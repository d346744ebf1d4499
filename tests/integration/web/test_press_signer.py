"""The secret that signs the addresses of buttons, and the settings that they need."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cometbot import Bot, Conversation
from cometbot.channels.cometchat import CometChatChannel
from cometbot.channels.cometchat.press_urls import InvalidPress, PressSigner
from cometbot.errors import ConfigurationError
from cometbot.messages import Form, Operation, QuickReply
from cometbot.observer import Observer
from cometbot.settings import Secret, Settings
from cometbot.store.factory import database_from_url
from cometbot.web.channels import channels_from_settings

HERE = Conversation("cometchat", "app", "helpdesk", "helpdesk_user_maria", "maria")


def make_settings(path: Path, **options: Any) -> Settings:
    plain = Settings(
        cometchat_app_id="app",
        cometchat_region="us",
        cometchat_api_key=Secret("key"),
        cometchat_rich="card",
        cometchat_card_buttons="url",
        public_url="https://bots.example.com",
        database_url=f"sqlite:///{path}/bot.db",
    )
    return replace(plain, **options)


def make_signer(settings: Settings) -> PressSigner:
    """Return the signer of a process of its own."""
    database = database_from_url(settings.database_url)
    database.open()
    [channel] = channels_from_settings(settings, [Bot("helpdesk")], Observer(), database)
    assert isinstance(channel, CometChatChannel)
    assert channel.press_signer is not None
    return channel.press_signer


def make_token(signer: PressSigner) -> str:
    return signer.make_url(Operation(conversation=HERE), QuickReply("Buy", "buy", "5")).rpartition("/")[2]


def test_processes_of_a_database_share_a_secret(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    token = make_token(make_signer(settings))
    assert make_signer(settings).verify("helpdesk", token).value == "5"


def test_another_database_has_another_secret(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    token = make_token(make_signer(make_settings(tmp_path)))
    with pytest.raises(InvalidPress):
        make_signer(make_settings(tmp_path / "other")).verify("helpdesk", token)


def test_secret_key_is_used_with_every_database(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    key = Secret("a key of thirty-two characters..")
    token = make_token(make_signer(make_settings(tmp_path, secret_key=key)))
    assert make_signer(make_settings(tmp_path / "other", secret_key=key)).verify("helpdesk", token)
    with pytest.raises(InvalidPress):
        make_signer(make_settings(tmp_path)).verify("helpdesk", token)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"cometchat_rich": "text"}, "COMETCHAT_CARD_BUTTONS=url is for cards; set COMETCHAT_RICH=card as well"),
        ({"public_url": ""}, "set COMETBOT_PUBLIC_URL to the https URL of this server, which is not set now"),
        ({"public_url": "http://bots.example.com"}, "which is http://bots.example.com now"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path: Path, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        channels_from_settings(make_settings(tmp_path, **options), [Bot("helpdesk")], Observer())


def test_buttons_send_messages_by_default(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, cometchat_card_buttons="message", public_url="")
    [channel] = channels_from_settings(settings, [Bot("helpdesk")], Observer())
    assert isinstance(channel, CometChatChannel)
    assert channel.press_signer is None


@pytest.mark.parametrize(
    ("rich", "url", "shows_forms"),
    [
        ("interactive", "https://bots.example.com", True),
        ("interactive", "http://127.0.0.1:8000", True),
        ("interactive", "http://bots.example.com", False),
        ("interactive", "", False),
        ("card", "https://bots.example.com", False),
        ("text", "https://bots.example.com", False),
    ],
)
def test_interactive_forms_need_a_public_url(tmp_path: Path, rich: Any, url: str, shows_forms: bool) -> None:
    settings = make_settings(tmp_path, cometchat_rich=rich, cometchat_card_buttons="message", public_url=url)
    [channel] = channels_from_settings(settings, [Bot("helpdesk")], Observer())
    assert isinstance(channel, CometChatChannel)
    assert (channel.press_signer is not None) == (Form in channel.capabilities.native) == shows_forms
