"""Signed addresses of buttons: only what this server signed counts, for its bot, until its end."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometbot import Button, Card
from cometbot.channels.base import IncomingEvent
from cometbot.channels.cometchat.press_urls import (
    MAX_URL_LENGTH,
    ExpiredPress,
    InvalidPress,
    PressSigner,
    parse_press_event,
)
from cometbot.errors import PayloadError
from cometbot.messages import Operation, QuickReply
from cometbot.models import Conversation
from cometbot.press_limits import apply_limits

NOW, DAY = 1_800_000_000.0, 86400.0
HERE = Conversation("cometchat", "app", "helpdesk", "helpdesk_user_maria", "maria")
OFFER = QuickReply("Buy", "buy", "=5")


def make_signer(secret: str = "a secret of sixteen", account: str = "app", now: float = NOW) -> PressSigner:
    return PressSigner("https://bots.test", account, lambda: secret, lifetime=7 * DAY, clock=lambda: now)


def make_token(offer: QuickReply = OFFER, *, thread_id: str = "", conversation: Conversation = HERE) -> str:
    url = make_signer().make_url(Operation(conversation=conversation, thread_id=thread_id), offer)
    return url.removeprefix("https://bots.test/cometchat/helpdesk/press/")


def test_address_says_what_is_pressed() -> None:
    press = make_signer().verify("helpdesk", make_token(thread_id="17"))
    assert (press.conversation, press.thread_id, press.name, press.value) == (HERE, "17", "buy", "=5")
    event = parse_press_event(press.to_incoming())
    assert (event.key, event.conversation, event.sender.uid) == (f"press:{press.id}", HERE, "maria")
    assert (event.name, event.value, event.thread_id, event.message) == ("buy", "=5", "17", None)


def test_each_address_has_an_id_of_its_own() -> None:
    signer = make_signer()
    assert signer.verify("helpdesk", make_token()).id != signer.verify("helpdesk", make_token()).id


def test_address_in_a_group_or_of_a_long_value_does_not_exist() -> None:
    group = Conversation("cometchat", "app", "helpdesk", "group_ops", "ops", is_group=True)
    assert make_token(conversation=group) == ""
    assert make_token(QuickReply("Buy", "buy", "x" * MAX_URL_LENGTH)) == ""
    assert make_token(QuickReply("Buy", "buy", "x" * 1000))


@pytest.mark.parametrize(
    ("signer", "bot"),
    [
        (make_signer("another secret of 16"), "helpdesk"),
        (make_signer(account="other"), "helpdesk"),
        (make_signer(), "other"),
    ],
)
def test_signature_for_another_server_app_or_bot_is_refused(signer: PressSigner, bot: str) -> None:
    with pytest.raises(InvalidPress):
        signer.verify(bot, make_token())


TOKEN = make_token()


@given(position=st.integers(0, len(TOKEN) - 1), character=st.sampled_from("Aab01-_.=%é\0"))
def test_token_with_any_other_character_is_refused(position: int, character: str) -> None:
    changed = TOKEN[:position] + character + TOKEN[position + 1 :]
    if changed != TOKEN:
        with pytest.raises(InvalidPress):
            make_signer().verify("helpdesk", changed)


@pytest.mark.parametrize("cut", [*range(1, 60), len(TOKEN)])
def test_token_that_is_cut_off_is_refused(cut: int) -> None:
    for token in (TOKEN[:-cut], TOKEN[cut:]):
        with pytest.raises(InvalidPress):
            make_signer().verify("helpdesk", token)


@given(st.text(max_size=50))
def test_any_other_text_is_refused(text: str) -> None:
    for token in (text, f"{text}.{text}", f"{TOKEN}.{text}", "A" * 100_000):
        with pytest.raises(InvalidPress):
            make_signer().verify("helpdesk", token)


def test_address_ends_after_its_lifetime_or_with_its_button() -> None:
    limited: Any = apply_limits(Card("x", buttons=[Button("y")], expires="1h"), "m1.0.0", NOW)
    long: Any = apply_limits(Card("x", buttons=[Button("y")], expires="30d"), "m1.0.0", NOW)
    for offer, seconds in ((OFFER, 7 * DAY), (limited.offers()[0], 3600.0), (long.offers()[0], 7 * DAY)):
        token = make_token(offer)
        assert make_signer(now=NOW + seconds - 1).verify("helpdesk", token)
        with pytest.raises(ExpiredPress):
            make_signer(now=NOW + seconds).verify("helpdesk", token)


def test_secret_is_asked_for_once_and_in_no_repr() -> None:
    asked: list[str] = []
    signer = PressSigner("https://x", "app", lambda: asked.append("") or "secret", lifetime=1.0)  # type: ignore[func-returns-value]
    assert asked == []
    for _ in range(2):
        signer.make_url(Operation(conversation=HERE), OFFER)
    assert asked == [""]
    assert "secret" not in repr(signer)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"name": "a"}'])
def test_stored_press_of_another_shape_is_refused(body: bytes) -> None:
    with pytest.raises(PayloadError, match="the stored press is invalid"):
        parse_press_event(IncomingEvent(HERE, "press:1", body, "maria"))
