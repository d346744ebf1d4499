"""The profile and the address, from the answers of a fake CLI without a socket."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cometbot import Bot
from cometbot.channels.simplex import startup
from cometbot.channels.simplex.errors import (
    CommandRejected,
)
from cometbot.channels.simplex.protocol import Record, commands
from cometbot.channels.simplex.startup import (
    AddressConfig,
    BotProfile,
    Session,
    prepare,
)
from cometbot.errors import ConfigurationError, PayloadError
from cometbot.settings import Settings
from cometbot.testing import FakeSimplexCLI
from tests.unit.channels.simplex.fake_cli import FakeCLI

MENU = [{"type": "command", "keyword": "help", "label": "Help"}]
PROFILE = BotProfile(name="helpdesk", description="Answers questions.", menu=MENU)


def test_profile_and_address_are_updated(fake_cli: FakeCLI, cli: FakeSimplexCLI) -> None:
    session = prepare(fake_cli, PROFILE, AddressConfig(welcome="Hi!"))
    profile = cli.do("profile")["profile"]
    assert session.user.user_id == 1
    assert session.user.profile.is_bot
    assert profile["displayName"] == "Echo bot"
    assert (profile["peerType"], profile["shortDescr"]) == ("bot", "Answers questions.")
    assert profile["preferences"]["commands"] == MENU
    assert profile["preferences"]["files"] == profile["preferences"]["voice"] == {"allow": "yes"}
    assert profile["preferences"]["calls"] == {"allow": "no"}
    assert session.address is not None
    assert profile["contactLink"] == session.address.link
    assert cli.do("address")["addressSettings"] == {
        "businessAddress": False,
        "autoAccept": {"acceptIncognito": False},
        "autoReply": {"type": "text", "text": "Hi!"},
    }
    assert (session.address.auto_accept, session.address.is_business) == (True, False)
    assert fake_cli.written == ["/_address", "/_address_settings", "/_profile"]


def test_the_second_start_writes_nothing(fake_cli: FakeCLI) -> None:
    config = AddressConfig(welcome="Hi!", is_business=True)
    first = prepare(fake_cli, PROFILE, config)
    fake_cli.asked.clear()
    second = prepare(fake_cli, PROFILE, config)
    assert fake_cli.asked == ["/user", "/_show_address 1"]
    assert second.address == first.address
    assert isinstance(second, Session)


@pytest.mark.parametrize(
    ("change", "written"),
    [
        ({"profile": replace(PROFILE, menu=[])}, ["/_profile"]),
        ({"profile": replace(PROFILE, display_name="Helper")}, ["/_profile"]),
        ({"profile": replace(PROFILE, accept_files=False)}, ["/_profile"]),
        ({"wish": AddressConfig(is_business=True)}, ["/_address_settings"]),
        ({"wish": AddressConfig(auto_accept=False)}, ["/_address_settings"]),
        ({"wish": AddressConfig(welcome="Welcome")}, ["/_address_settings"]),
        ({"wish": AddressConfig(create=False, welcome="x")}, []),
    ],
)
def test_what_changed_and_nothing_else_is_written(
    fake_cli: FakeCLI, change: dict[str, Any], written: list[str]
) -> None:
    prepare(fake_cli, PROFILE, AddressConfig())
    fake_cli.asked.clear()
    prepare(fake_cli, change.get("profile", PROFILE), change.get("wish", AddressConfig()))
    assert fake_cli.written == written


def test_what_somebody_set_by_hand_stays(fake_cli: FakeCLI, cli: FakeSimplexCLI) -> None:
    fake_cli("/_address 1")
    fake_cli('/_address_settings 1 {"businessAddress":false,"autoReply":{"type":"text","text":"By hand"}}')
    by_hand = {"displayName": "Echo bot", "fullName": "The Echo", "image": "data:image/png;base64,x"}
    fake_cli(commands.update_profile(1, {**by_hand, "preferences": {"timedMessages": {"allow": "yes"}}}))
    session = prepare(fake_cli, replace(PROFILE, description=""), AddressConfig())
    assert session.address is not None
    assert session.address.welcome is not None
    assert session.address.welcome.text == "By hand"
    profile = cli.do("profile")["profile"]
    assert (profile["fullName"], profile["image"]) == ("The Echo", "data:image/png;base64,x")
    assert profile["preferences"]["timedMessages"] == {"allow": "yes"}


def test_existing_address_is_used_without_create(fake_cli: FakeCLI, cli: FakeSimplexCLI) -> None:
    assert prepare(fake_cli, PROFILE, AddressConfig(create=False)).address is None
    assert cli.do("address") is None
    assert "contactLink" not in cli.do("profile")["profile"]
    fake_cli("/_address 1")
    assert prepare(fake_cli, PROFILE, AddressConfig(create=False)).address is not None


def test_a_cli_without_a_profile_gets_one() -> None:
    fake_cli = FakeCLI(FakeSimplexCLI(display_name=""))
    session = prepare(fake_cli, PROFILE, AddressConfig())
    assert (session.user.name, session.user.profile.is_bot) == ("helpdesk", True)
    assert fake_cli.written == ["/_create", "/_address", "/_address_settings", "/_profile"]


def test_the_profile_that_is_named_is_activated_or_made(fake_cli: FakeCLI, cli: FakeSimplexCLI) -> None:
    helper = replace(PROFILE, name="Helper", existing_name="Helper")
    assert prepare(fake_cli, helper, AddressConfig()).user.user_id == 2
    prepare(fake_cli, replace(PROFILE, existing_name="Echo bot"), AddressConfig())
    assert cli.do("profile")["userId"] == 1
    fake_cli.asked.clear()
    assert prepare(fake_cli, helper, AddressConfig()).user.user_id == 2
    assert fake_cli.written == ["/_user"]
    assert fake_cli.asked[:2] == ["/users", "/_user 2"]


def test_invalid_display_name_names_the_setting() -> None:
    fake_cli = FakeCLI(FakeSimplexCLI(display_name=""))
    with pytest.raises(ConfigurationError, match="set SIMPLEX_DISPLAY_NAME to 'help'"):
        prepare(fake_cli, replace(PROFILE, name="#help"), AddressConfig())
    fake_cli = FakeCLI(FakeSimplexCLI(display_name="Echo bot"))
    with pytest.raises(ConfigurationError, match="SIMPLEX_DISPLAY_NAME"):
        prepare(fake_cli, replace(PROFILE, display_name="it's"), AddressConfig())
    taken = replace(PROFILE, name="Echo bot", existing_name="Nobody")
    with pytest.raises(ConfigurationError, match="another profile or contact of this name"):
        prepare(fake_cli, taken, AddressConfig())


def test_any_other_refusal_goes_through(fake_cli: FakeCLI) -> None:
    refusal = {"type": "error", "errorType": {"type": "chatNotStarted"}}
    fake_cli.change = lambda record: Record("chatCmdError", {"type": "chatCmdError", "chatError": refusal})
    with pytest.raises(CommandRejected, match="chatNotStarted"):
        prepare(fake_cli, PROFILE, AddressConfig())
    fake_cli.change = lambda record: (
        record if record.type != "userContactLink" else Record("chatCmdError", {"chatError": refusal})
    )
    fake_cli("/_address 1")
    with pytest.raises(CommandRejected, match="chatNotStarted"):
        prepare(fake_cli, PROFILE, AddressConfig())


def test_malformed_answers_raise_payload_error(fake_cli: FakeCLI) -> None:
    fake_cli.change = lambda record: Record("activeUser", {"type": "activeUser"})
    with pytest.raises(PayloadError, match="lacks its user"):
        prepare(fake_cli, PROFILE, AddressConfig())
    fake_cli.change = lambda record: record if record.type == "activeUser" else Record("hello", {"type": "hello"})
    with pytest.raises(PayloadError, match="lacks its connLinkContact"):
        prepare(fake_cli, PROFILE, AddressConfig())


def test_the_settings_make_the_profile_and_the_wish() -> None:
    bot = Bot("helpdesk", description="Answers questions.\nAnd more.")
    settings = Settings(
        simplex_profile="Desk",
        simplex_business_address=True,
        simplex_welcome="Hi",
        simplex_auto_accept=False,
        simplex_accept_files=False,
    )
    made = BotProfile.from_bot(bot, settings)
    assert made == BotProfile(name="Desk", existing_name="Desk", description="Answers questions.", accept_files=False)
    assert AddressConfig.from_settings(settings) == AddressConfig(is_business=True, welcome="Hi", auto_accept=False)
    assert BotProfile.from_bot(bot, Settings()).name == "helpdesk"
    assert BotProfile.from_bot(bot, Settings(simplex_display_name="Help")).name == "Help"
    assert (
        len(BotProfile.from_bot(Bot("x", description="y" * 500), Settings()).description)
        == startup.MAX_DESCRIPTION_LENGTH
    )


# What was missed


NEWER = {"fieldOfTomorrow": {"allow": "always"}, "gone": None}


def _like_a_newer_cli(value: Any, name: str = "") -> Any:
    """Return an answer with fields in every object that this release does not know."""
    if isinstance(value, dict):
        return {**{key: _like_a_newer_cli(inner, key) for key, inner in value.items()}, **NEWER}
    return [_like_a_newer_cli(item) for item in value] if isinstance(value, list) else value


def test_unknown_fields_and_nulls_are_no_change(fake_cli: FakeCLI) -> None:
    profile, config = replace(PROFILE, display_name="shop"), AddressConfig(welcome="Hi!")
    prepare(fake_cli, profile, config)
    fake_cli.asked.clear()
    fake_cli.change = lambda record: Record(record.type, _like_a_newer_cli(record.raw))
    prepare(fake_cli, profile, config)
    assert fake_cli.written == []


def test_a_profile_without_full_name_is_no_change(fake_cli: FakeCLI) -> None:
    prepare(fake_cli, PROFILE, AddressConfig())
    fake_cli.asked.clear()

    def change(record: Record) -> Record:
        user = record.raw.get("user")
        if isinstance(user, dict):
            user["profile"].pop("fullName", None)
        return record

    fake_cli.change = change
    prepare(fake_cli, PROFILE, AddressConfig())
    assert fake_cli.written == []


def test_a_menu_with_other_known_fields_is_written(fake_cli: FakeCLI) -> None:
    prepare(fake_cli, replace(PROFILE, menu=[{**MENU[0], "params": "<topic>"}]), AddressConfig())
    fake_cli.asked.clear()
    prepare(fake_cli, PROFILE, AddressConfig())
    assert fake_cli.written == ["/_profile"]
