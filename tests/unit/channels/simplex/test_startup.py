"""The profile, the address, and what was missed; asked of the stand-in's answers without a socket."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cometbot import Bot
from cometbot.channels.simplex import startup
from cometbot.channels.simplex.errors import (
    AnswerMissing,
    CommandDelayed,
    CommandFailed,
    CommandNotFound,
    CommandOutcomeUnknown,
    CommandRejected,
    ConnectionLost,
    error_from,
)
from cometbot.channels.simplex.protocol import Command, Record, commands
from cometbot.channels.simplex.startup import (
    AddressConfig,
    BotProfile,
    Session,
    fetch_missed_items,
    get_newest_item_id,
    prepare,
)
from cometbot.errors import ChannelError, ConfigurationError, PayloadError
from cometbot.settings import Settings
from cometbot.testing import FakeSimplexCLI
from cometbot.testing.simplex.command_grammar import read_command
from tests.simplex_reference import find_errors

MENU = [{"type": "command", "keyword": "help", "label": "Help"}]
PROFILE = BotProfile(name="helpdesk", description="Answers questions.", menu=MENU)
WRITING = ("/_create", "/_address ", "/_address_settings", "/_profile", "/_user")


class FakeCLI:
    """A stand-in that is asked directly; ``asked`` are the commands."""

    def __init__(self, cli: FakeSimplexCLI) -> None:
        self.cli = cli
        self.asked: list[str] = []
        self.change: Callable[[Record], Record] = lambda record: record

    def __call__(self, command: Command | str) -> Record:
        asked = Command.raw(command) if isinstance(command, str) else command
        self.asked.append(asked.text)
        raw = self.cli.handlers.handle(read_command(asked.text))
        record = self.change(Record(raw["type"], raw))
        if record.is_error:
            raise error_from(record, asked)
        return record

    @property
    def written(self) -> list[str]:
        return [text.split()[0] for text in self.asked if text.startswith(WRITING)]


@pytest.fixture
def cli() -> FakeSimplexCLI:
    return FakeSimplexCLI(display_name="Echo bot")


@pytest.fixture
def fake_cli(cli: FakeSimplexCLI) -> FakeCLI:
    return FakeCLI(cli)


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
    with pytest.raises(PayloadError, match="names no user"):
        prepare(fake_cli, PROFILE, AddressConfig())
    fake_cli.change = lambda record: record if record.type == "activeUser" else Record("hello", {"type": "hello"})
    with pytest.raises(PayloadError, match="holds none"):
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


def texts(found: list[dict[str, Any]]) -> list[str]:
    return [entry["chatItem"]["meta"]["itemText"] for entry in found]


def test_missed_items_are_found_in_every_chat(fake_cli: FakeCLI, cli: FakeSimplexCLI) -> None:
    alice, bob = cli.connect("alice"), cli.connect("bob")
    team = cli.add_group("Team", [alice, bob])
    quiet = cli.connect("quiet")
    quiet.say("long ago")
    seen = alice.say("seen")
    alice.say("one")
    team.say(bob, "two")
    alice.say("three")
    found = list(fetch_missed_items(fake_cli, 1, seen, []))
    assert sorted(texts(found)) == ["one", "three", "two"]
    assert texts([entry for entry in found if entry["chatInfo"]["type"] == "direct"]) == ["one", "three"]
    assert all(find_errors(entry, "AChatItem") == [] for entry in found)
    assert list(fetch_missed_items(fake_cli, 1, get_newest_item_id(fake_cli, 1), [])) == []


def test_the_newest_item_of_an_empty_cli_is_none(fake_cli: FakeCLI, cli: FakeSimplexCLI) -> None:
    assert get_newest_item_id(fake_cli, 1) == 0
    number = cli.connect("alice").say("hi")
    assert get_newest_item_id(fake_cli, 1) == number


def test_long_gaps_are_read_in_pages(fake_cli: FakeCLI, cli: FakeSimplexCLI) -> None:
    alice = cli.connect("alice")
    seen = alice.say("seen")
    for number in range(startup.ITEM_PAGE_SIZE * 2 + 5):
        alice.say(str(number), silent=True)
    assert texts(list(fetch_missed_items(fake_cli, 1, seen, []))) == [str(number) for number in range(205)]
    assert sum(text.startswith("/_get chat @") for text in fake_cli.asked) == 3


def test_many_chats_are_read_as_far_as_they_have_something_new(fake_cli: FakeCLI, cli: FakeSimplexCLI) -> None:
    people = [cli.connect(f"p{number}") for number in range(120)]
    seen = people[0].say("seen")
    for person in people[1:101]:
        person.say(person.name)
    assert sorted(texts(list(fetch_missed_items(fake_cli, 1, seen, [])))) == sorted(
        person.name for person in people[1:101]
    )


def test_an_endless_gap_is_cut_to_the_newest(
    fake_cli: FakeCLI, cli: FakeSimplexCLI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(startup, "MAX_MISSED_ITEMS", 20)
    monkeypatch.setattr(startup, "ITEM_PAGE_SIZE", 10)
    alice = cli.connect("alice")
    for number in range(50):
        alice.say(str(number))
    assert texts(list(fetch_missed_items(fake_cli, 1, 1, []))) == [str(number) for number in range(30, 50)]
    assert "more than 20 messages were missed" in caplog.text


def test_talks_with_the_moderators_are_found_as_well(fake_cli: FakeCLI, cli: FakeSimplexCLI) -> None:
    alice = cli.connect("alice")
    team = cli.add_group("Team", [alice])
    alice.say("elsewhere")
    group = cli.handlers.state.group(team.group_id)
    member = next(iter(group["members"].values()))
    talk = {"chatTs": "2026-03-01T10:00:00Z", "unread": 1, "memberAttention": 1, "mentions": 0}
    member["supportChat"] = group["info"]["membership"]["supportChat"] = talk
    group["info"]["membersRequireAttention"] = 1
    team.scope(member["groupMemberId"]).say("alice", "help me")
    team.scope().say("alice", "and you")
    assert sorted(texts(list(fetch_missed_items(fake_cli, 1, 0, [])))) == ["and you", "elsewhere", "help me"]


def test_chats_that_nobody_can_read_are_left_out(fake_cli: FakeCLI, cli: FakeSimplexCLI) -> None:
    cli.connect("alice").say("hi")

    def spoil(record: Record) -> Record:
        chats = [{"chatInfo": {}}, 5, {"chatInfo": {"type": "feed"}, "chatItems": None}, *record.raw.get("chats", [])]
        return Record(record.type, {**record.raw, "chats": chats}) if record.type == "apiChats" else record

    fake_cli.change = spoil
    assert texts(list(fetch_missed_items(fake_cli, 1, 0, []))) == ["hi"]
    fake_cli.change = lambda record: Record(record.type, {"type": record.type})
    assert list(fetch_missed_items(fake_cli, 1, 0, [])) == []


def tagged(error: CommandFailed, tag: str) -> CommandFailed:
    error.tags = ("error", tag)
    return error


@pytest.mark.parametrize(
    ("error", "is_postponed"),
    [
        (CommandNotFound("it is gone"), False),
        (tagged(CommandRejected("not parsed"), "commandError"), False),
        (tagged(CommandRejected("its disk is full"), "dBException"), True),
        (AnswerMissing("too late"), True),
        (CommandOutcomeUnknown("the network failed"), True),
        (CommandDelayed("busy", retry_after=1.0), True),
    ],
)
def test_unavailable_chat_does_not_block_others(
    fake_cli: FakeCLI, error: ChannelError, is_postponed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(startup, "BUSY_RETRY_INTERVALS", (0.0,))
    alice, bob = fake_cli.cli.connect("alice"), fake_cli.cli.connect("bob")
    alice.say("lost")
    bob.say("found")

    def send_command(command: Command | str) -> Record:
        text = command if isinstance(command, str) else command.text
        if text.startswith(f"/_get chat {alice.chat} "):
            raise error
        return fake_cli(command)

    postponed: list[str] = []
    assert texts(list(fetch_missed_items(send_command, 1, 0, postponed))) == ["found"]
    assert postponed == ([alice.chat] if is_postponed else [])


def test_busy_cli_is_retried(fake_cli: FakeCLI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "BUSY_RETRY_INTERVALS", (0.0, 0.0, 0.0))
    fake_cli.cli.connect("alice").say("found")
    left = ["/_get chats", "/_get chat @", "/_get chat @"]

    def send_command(command: Command | str) -> Record:
        if left and str(getattr(command, "text", command)).startswith(left[0]):
            left.pop(0)
            raise CommandDelayed("busy", retry_after=1.0)
        return fake_cli(command)

    postponed: list[str] = []
    assert texts(list(fetch_missed_items(send_command, 1, 0, postponed))) == ["found"]
    assert (left, postponed) == ([], [])


@pytest.mark.parametrize(
    ("error", "is_postponed"),
    [(AnswerMissing("too late"), True), (CommandNotFound("gone"), False), (PayloadError("no list"), False)],
)
def test_unavailable_support_chats_are_postponed(fake_cli: FakeCLI, error: Exception, is_postponed: bool) -> None:
    alice = fake_cli.cli.connect("alice")
    team = fake_cli.cli.add_group("Team", [alice])
    alice.say("found")
    fake_cli.cli.handlers.state.group(team.group_id)["info"]["membersRequireAttention"] = 1

    def send_command(command: Command | str) -> Record:
        if str(getattr(command, "text", command)).startswith("/_members "):
            raise error
        return fake_cli(command)

    postponed: list[str] = []
    assert "found" in texts(list(fetch_missed_items(send_command, 1, 0, postponed)))
    assert postponed == ([f"the moderators of {team.chat}"] if is_postponed else [])


def test_a_connection_that_breaks_ends_the_fetching(fake_cli: FakeCLI) -> None:
    fake_cli.cli.connect("alice").say("hello")

    def send_command(command: Command | str) -> Record:
        if not isinstance(command, str) and command.text.startswith("/_get chat @"):
            raise ConnectionLost("broke")
        return fake_cli(command)

    with pytest.raises(ConnectionLost):
        list(fetch_missed_items(send_command, 1, 0, []))


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
