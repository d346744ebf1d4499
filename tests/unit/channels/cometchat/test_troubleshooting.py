"""What is said about CometChat's errors."""

from __future__ import annotations

import pytest

from cometbot.channels.cometchat.troubleshooting import _HINTS, get_troubleshooting_hint
from cometbot.errors import AuthenticationFailed, ChannelError, OutcomeUnknown, RateLimited, Rejected, Unreachable


@pytest.mark.parametrize("code", sorted(_HINTS))
def test_hint_of_known_code_is_one_sentence(code: str) -> None:
    said = get_troubleshooting_hint(Rejected("POST /bots: 400", code=code), "shop")
    assert said.endswith("(POST /bots: 400)")
    assert "{" not in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Rejected("x", code="ERR_BOT_ALREADY_EXISTS"), "cometbot bots update shop"),
        (AuthenticationFailed("x", code="AUTH_ERR_NO_ACCESS"), "fullAccess"),
        (AuthenticationFailed("x", code="AUTH_ERR_SOMETHING_NEW"), "COMETCHAT_API_KEY"),
        (RateLimited("x", retry_after=7.2), "in 7 seconds"),
        (OutcomeUnknown("GET /bots: 500"), "try again in a moment"),
        (OutcomeUnknown("POST /bots: 500"), "the outcome is unknown"),
        (Unreachable("check COMETCHAT_API_URL"), "check COMETCHAT_API_URL"),
        (Rejected("x", details={"webhookURL": ["is", "odd"]}), "webhookURL: is odd"),
        (Rejected("x", code="ERR_UNHEARD_OF"), "refused it (x)"),
    ],
)
def test_hint_names_the_fix(error: ChannelError, said: str) -> None:
    assert said in get_troubleshooting_hint(error, "shop")


def test_hint_about_bot_names_the_bot() -> None:
    assert get_troubleshooting_hint(Rejected("x", code="ERR_BOT_NOT_FOUND"), "tom", bot="shop").startswith(
        "there is no bot shop"
    )
    assert "no user tom" in get_troubleshooting_hint(Rejected("x", code="ERR_UID_NOT_FOUND"), "tom", bot="shop")
