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
    CommandRejected,
    CommandUncertain,
    ConnectionLost,
    error_from,
)
from cometbot.channels.simplex.protocol import Command, Record, commands
from cometbot.channels.simplex.startup import AddressWish, BotProfile, Session, missed, newest_item, prepare
from cometbot.errors import ChannelError, ConfigurationError, PayloadError
from cometbot.settings import Settings
from cometbot.testing import FakeSimplexCLI
from cometbot.testing.simplex.grammar import read_command
from tests.simplex_reference import faults

MENU = [{"type": "command", "keyword": "help", "label": "Help"}]
PROFILE = BotProfile(name="helpdesk", description="Answers questions.", menu=MENU)
WRITING = ("/_create", "/_address ", "/_address_settings", "/_profile", "/_user")


class Desk:
    """A stand-in that is asked directly; ``asked`` are the commands."""

    def __init__(self, cli: FakeSimplexCLI) -> None:
        self.cli = cli
        self.asked: list[str] = []
        self.change: Callable[[Record], Record] = lambda record: record

    def __call__(self, command: Command | str) -> Record:
        asked = Command.raw(command) if isinstance(command, str) else command
        self.asked.append(asked.text)
        raw = self.cli.answers.answer(read_command(asked.text))
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
def desk(cli: FakeSimplexCLI) -> Desk:
    return Desk(cli)


def test_the_bots_profile_and_address_are_brought_up_to_date(desk: Desk, cli: FakeSimplexCLI) -> None:
    session = prepare(desk, PROFILE, AddressWish(welcome="Hi!"))
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
    assert desk.written == ["/_address", "/_address_settings", "/_profile"]


def test_the_second_start_writes_nothing(desk: Desk) -> None:
    wish = AddressWish(welcome="Hi!", is_business=True)
    first = prepare(desk, PROFILE, wish)
    desk.asked.clear()
    second = prepare(desk, PROFILE, wish)
    assert desk.asked == ["/user", "/_show_address 1"]
    assert second.address == first.address
    assert isinstance(second, Session)


@pytest.mark.parametrize(
    ("change", "written"),
    [
        ({"profile": replace(PROFILE, menu=[])}, ["/_profile"]),
        ({"profile": replace(PROFILE, display_name="Helper")}, ["/_profile"]),
        ({"profile": replace(PROFILE, accept_files=False)}, ["/_profile"]),
        ({"wish": AddressWish(is_business=True)}, ["/_address_settings"]),
        ({"wish": AddressWish(auto_accept=False)}, ["/_address_settings"]),
        ({"wish": AddressWish(welcome="Welcome")}, ["/_address_settings"]),
        ({"wish": AddressWish(make=False, welcome="x")}, []),
    ],
)
def test_what_changed_and_nothing_else_is_written(desk: Desk, change: dict[str, Any], written: list[str]) -> None:
    prepare(desk, PROFILE, AddressWish())
    desk.asked.clear()
    prepare(desk, change.get("profile", PROFILE), change.get("wish", AddressWish()))
    assert desk.written == written


def test_what_somebody_set_by_hand_stays(desk: Desk, cli: FakeSimplexCLI) -> None:
    desk("/_address 1")
    desk('/_address_settings 1 {"businessAddress":false,"autoReply":{"type":"text","text":"By hand"}}')
    by_hand = {"displayName": "Echo bot", "fullName": "The Echo", "image": "data:image/png;base64,x"}
    desk(commands.update_profile(1, {**by_hand, "preferences": {"timedMessages": {"allow": "yes"}}}))
    session = prepare(desk, replace(PROFILE, description=""), AddressWish())
    assert session.address is not None
    assert session.address.welcome is not None
    assert session.address.welcome.text == "By hand"
    profile = cli.do("profile")["profile"]
    assert (profile["fullName"], profile["image"]) == ("The Echo", "data:image/png;base64,x")
    assert profile["preferences"]["timedMessages"] == {"allow": "yes"}


def test_without_a_wish_for_an_address_none_is_made_and_the_one_there_is_told(desk: Desk, cli: FakeSimplexCLI) -> None:
    assert prepare(desk, PROFILE, AddressWish(make=False)).address is None
    assert cli.do("address") is None
    assert "contactLink" not in cli.do("profile")["profile"]
    desk("/_address 1")
    assert prepare(desk, PROFILE, AddressWish(make=False)).address is not None


def test_a_cli_without_a_profile_gets_one() -> None:
    desk = Desk(FakeSimplexCLI(display_name=""))
    session = prepare(desk, PROFILE, AddressWish())
    assert (session.user.name, session.user.profile.is_bot) == ("helpdesk", True)
    assert desk.written == ["/_create", "/_address", "/_address_settings", "/_profile"]


def test_the_profile_that_is_named_is_activated_or_made(desk: Desk, cli: FakeSimplexCLI) -> None:
    helper = replace(PROFILE, name="Helper", select="Helper")
    assert prepare(desk, helper, AddressWish()).user.user_id == 2
    prepare(desk, replace(PROFILE, select="Echo bot"), AddressWish())
    assert cli.do("profile")["userId"] == 1
    desk.asked.clear()
    assert prepare(desk, helper, AddressWish()).user.user_id == 2
    assert desk.written == ["/_user"]
    assert desk.asked[:2] == ["/users", "/_user 2"]


def test_a_name_that_simplex_does_not_take_is_a_setting_to_mend() -> None:
    desk = Desk(FakeSimplexCLI(display_name=""))
    with pytest.raises(ConfigurationError, match="set SIMPLEX_DISPLAY_NAME to 'help'"):
        prepare(desk, replace(PROFILE, name="#help"), AddressWish())
    desk = Desk(FakeSimplexCLI(display_name="Echo bot"))
    with pytest.raises(ConfigurationError, match="SIMPLEX_DISPLAY_NAME"):
        prepare(desk, replace(PROFILE, display_name="it's"), AddressWish())
    taken = replace(PROFILE, name="Echo bot", select="Nobody")
    with pytest.raises(ConfigurationError, match="another profile or contact of this name"):
        prepare(desk, taken, AddressWish())


def test_any_other_refusal_goes_through(desk: Desk) -> None:
    refusal = {"type": "error", "errorType": {"type": "chatNotStarted"}}
    desk.change = lambda record: Record("chatCmdError", {"type": "chatCmdError", "chatError": refusal})
    with pytest.raises(CommandRejected, match="chatNotStarted"):
        prepare(desk, PROFILE, AddressWish())
    desk.change = lambda record: (
        record if record.type != "userContactLink" else Record("chatCmdError", {"chatError": refusal})
    )
    desk("/_address 1")
    with pytest.raises(CommandRejected, match="chatNotStarted"):
        prepare(desk, PROFILE, AddressWish())


def test_answers_of_another_shape_are_refused_and_say_so(desk: Desk) -> None:
    desk.change = lambda record: Record("activeUser", {"type": "activeUser"})
    with pytest.raises(PayloadError, match="names no user"):
        prepare(desk, PROFILE, AddressWish())
    desk.change = lambda record: record if record.type == "activeUser" else Record("hello", {"type": "hello"})
    with pytest.raises(PayloadError, match="holds none"):
        prepare(desk, PROFILE, AddressWish())


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
    assert made == BotProfile(name="Desk", select="Desk", description="Answers questions.", accept_files=False)
    assert AddressWish.from_settings(settings) == AddressWish(is_business=True, welcome="Hi", auto_accept=False)
    assert BotProfile.from_bot(bot, Settings()).name == "helpdesk"
    assert BotProfile.from_bot(bot, Settings(simplex_display_name="Help")).name == "Help"
    assert (
        len(BotProfile.from_bot(Bot("x", description="y" * 500), Settings()).description) == startup.DESCRIPTION_LIMIT
    )


# What was missed


def texts(found: list[dict[str, Any]]) -> list[str]:
    return [entry["chatItem"]["meta"]["itemText"] for entry in found]


def test_what_came_after_an_item_is_found_in_every_chat_oldest_first(desk: Desk, cli: FakeSimplexCLI) -> None:
    alice, bob = cli.connect("alice"), cli.connect("bob")
    team = cli.add_group("Team", [alice, bob])
    quiet = cli.connect("quiet")
    quiet.say("long ago")
    seen = alice.say("seen")
    alice.say("one")
    team.say(bob, "two")
    alice.say("three")
    found = list(missed(desk, 1, seen, []))
    assert sorted(texts(found)) == ["one", "three", "two"]
    assert texts([entry for entry in found if entry["chatInfo"]["type"] == "direct"]) == ["one", "three"]
    assert all(faults(entry, "AChatItem") == [] for entry in found)
    assert list(missed(desk, 1, newest_item(desk, 1), [])) == []


def test_the_newest_item_of_an_empty_cli_is_none(desk: Desk, cli: FakeSimplexCLI) -> None:
    assert newest_item(desk, 1) == 0
    number = cli.connect("alice").say("hi")
    assert newest_item(desk, 1) == number


def test_long_gaps_are_read_in_pages(desk: Desk, cli: FakeSimplexCLI) -> None:
    alice = cli.connect("alice")
    seen = alice.say("seen")
    for number in range(startup.ITEMS_A_PAGE * 2 + 5):
        alice.say(str(number), silent=True)
    assert texts(list(missed(desk, 1, seen, []))) == [str(number) for number in range(205)]
    assert sum(text.startswith("/_get chat @") for text in desk.asked) == 3


def test_many_chats_are_read_as_far_as_they_have_something_new(desk: Desk, cli: FakeSimplexCLI) -> None:
    people = [cli.connect(f"p{number}") for number in range(120)]
    seen = people[0].say("seen")
    for person in people[1:101]:
        person.say(person.name)
    assert sorted(texts(list(missed(desk, 1, seen, [])))) == sorted(person.name for person in people[1:101])


def test_an_endless_gap_is_cut_to_the_newest(
    desk: Desk, cli: FakeSimplexCLI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(startup, "MISSED_LIMIT", 20)
    monkeypatch.setattr(startup, "ITEMS_A_PAGE", 10)
    alice = cli.connect("alice")
    for number in range(50):
        alice.say(str(number))
    assert texts(list(missed(desk, 1, 1, []))) == [str(number) for number in range(30, 50)]
    assert "more than 20 messages were missed" in caplog.text


def test_talks_with_the_moderators_are_found_as_well(desk: Desk, cli: FakeSimplexCLI) -> None:
    alice = cli.connect("alice")
    team = cli.add_group("Team", [alice])
    alice.say("elsewhere")
    group = cli.answers.state.group(team.group_id)
    member = next(iter(group["members"].values()))
    talk = {"chatTs": "2026-03-01T10:00:00Z", "unread": 1, "memberAttention": 1, "mentions": 0}
    member["supportChat"] = group["info"]["membership"]["supportChat"] = talk
    group["info"]["membersRequireAttention"] = 1
    team.scope(member["groupMemberId"]).say("alice", "help me")
    team.scope().say("alice", "and you")
    assert sorted(texts(list(missed(desk, 1, 0, [])))) == ["and you", "elsewhere", "help me"]


def test_chats_that_nobody_can_read_are_left_out(desk: Desk, cli: FakeSimplexCLI) -> None:
    cli.connect("alice").say("hi")

    def spoil(record: Record) -> Record:
        chats = [{"chatInfo": {}}, 5, {"chatInfo": {"type": "feed"}, "chatItems": None}, *record.raw.get("chats", [])]
        return Record(record.type, {**record.raw, "chats": chats}) if record.type == "apiChats" else record

    desk.change = spoil
    assert texts(list(missed(desk, 1, 0, []))) == ["hi"]
    desk.change = lambda record: Record(record.type, {"type": record.type})
    assert list(missed(desk, 1, 0, [])) == []


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
        (CommandUncertain("the network failed"), True),
        (CommandDelayed("busy", retry_after=1.0), True),
    ],
)
def test_a_chat_that_cannot_be_given_takes_no_other_with_it(
    desk: Desk, error: ChannelError, is_postponed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(startup, "BUSY_PAUSES", (0.0,))
    alice, bob = desk.cli.connect("alice"), desk.cli.connect("bob")
    alice.say("lost")
    bob.say("found")

    def ask(command: Command | str) -> Record:
        text = command if isinstance(command, str) else command.text
        if text.startswith(f"/_get chat {alice.chat} "):
            raise error
        return desk(command)

    postponed: list[str] = []
    assert texts(list(missed(ask, 1, 0, postponed))) == ["found"]
    assert postponed == ([alice.chat] if is_postponed else [])


def test_a_cli_that_is_busy_is_asked_again_a_few_times(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "BUSY_PAUSES", (0.0, 0.0, 0.0))
    desk.cli.connect("alice").say("found")
    left = ["/_get chats", "/_get chat @", "/_get chat @"]

    def ask(command: Command | str) -> Record:
        if left and str(getattr(command, "text", command)).startswith(left[0]):
            left.pop(0)
            raise CommandDelayed("busy", retry_after=1.0)
        return desk(command)

    postponed: list[str] = []
    assert texts(list(missed(ask, 1, 0, postponed))) == ["found"]
    assert (left, postponed) == ([], [])


@pytest.mark.parametrize(
    ("error", "is_postponed"),
    [(AnswerMissing("too late"), True), (CommandNotFound("gone"), False), (PayloadError("no list"), False)],
)
def test_moderators_that_cannot_be_asked_for_now_are_asked_for_again(
    desk: Desk, error: Exception, is_postponed: bool
) -> None:
    alice = desk.cli.connect("alice")
    team = desk.cli.add_group("Team", [alice])
    alice.say("found")
    desk.cli.answers.state.group(team.group_id)["info"]["membersRequireAttention"] = 1

    def ask(command: Command | str) -> Record:
        if str(getattr(command, "text", command)).startswith("/_members "):
            raise error
        return desk(command)

    postponed: list[str] = []
    assert "found" in texts(list(missed(ask, 1, 0, postponed)))
    assert postponed == ([f"the moderators of {team.chat}"] if is_postponed else [])


def test_a_connection_that_breaks_ends_the_fetching(desk: Desk) -> None:
    desk.cli.connect("alice").say("hello")

    def ask(command: Command | str) -> Record:
        if not isinstance(command, str) and command.text.startswith("/_get chat @"):
            raise ConnectionLost("broke")
        return desk(command)

    with pytest.raises(ConnectionLost):
        list(missed(ask, 1, 0, []))


NEWER = {"fieldOfTomorrow": {"allow": "always"}, "gone": None}


def _like_a_newer_cli(value: Any, name: str = "") -> Any:
    """Return an answer with fields in every object that this release does not know."""
    if isinstance(value, dict):
        return {**{key: _like_a_newer_cli(inner, key) for key, inner in value.items()}, **NEWER}
    return [_like_a_newer_cli(item) for item in value] if isinstance(value, list) else value


def test_unknown_fields_and_nulls_are_no_change(desk: Desk) -> None:
    profile, wish = replace(PROFILE, display_name="shop"), AddressWish(welcome="Hi!")
    prepare(desk, profile, wish)
    desk.asked.clear()
    desk.change = lambda record: Record(record.type, _like_a_newer_cli(record.raw))
    prepare(desk, profile, wish)
    assert desk.written == []


def test_a_profile_without_full_name_is_no_change(desk: Desk) -> None:
    prepare(desk, PROFILE, AddressWish())
    desk.asked.clear()

    def change(record: Record) -> Record:
        user = record.raw.get("user")
        if isinstance(user, dict):
            user["profile"].pop("fullName", None)
        return record

    desk.change = change
    prepare(desk, PROFILE, AddressWish())
    assert desk.written == []


def test_a_menu_with_other_known_fields_is_written(desk: Desk) -> None:
    prepare(desk, replace(PROFILE, menu=[{**MENU[0], "params": "<topic>"}]), AddressWish())
    desk.asked.clear()
    prepare(desk, PROFILE, AddressWish())
    assert desk.written == ["/_profile"]
