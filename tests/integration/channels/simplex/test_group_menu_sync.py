"""Members see the bot's commands where the group's own profile has them: in business chats and in the bot's groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cometbot import Bot, Context
from cometbot.channels.simplex.service import SimplexService
from cometbot.channels.simplex.socket_session import Timing
from cometbot.delivery import Delivery
from cometbot.settings import Settings
from cometbot.testing import FakeSimplexCLI

Start = Callable[..., SimplexService]


@pytest.fixture
def cli() -> Iterator[FakeSimplexCLI]:
    with FakeSimplexCLI() as cli:
        yield cli


@pytest.fixture
def start(cli: FakeSimplexCLI, tmp_path: Path) -> Iterator[Start]:
    """Starts a bot with these commands; one that ran before ends."""
    running: list[Delivery] = []

    def start(*commands: str) -> SimplexService:
        while running:
            running.pop().close()
        bot = Bot("shop")
        for name in commands:
            bot.command(name, description=f"Does {name}.")(_answer)
        settings = Settings(simplex_url=cli.url, data=tmp_path, simplex_group_messages="all")
        owner = SimplexService(settings, bot, timing=Timing(initial_backoff=0.02, max_backoff=0.1))
        running.append(Delivery([bot], [owner.channel], f"sqlite:///{tmp_path}/bot.db", threads=2))
        running[0].start()
        owner.open(running[0])
        assert owner.connection.wait_ready(10)
        return owner

    yield start
    for delivery in running:
        delivery.close()


def _answer(ctx: Context) -> str:
    return "done"


def menu(cli: FakeSimplexCLI, chat: str) -> list[str] | None:
    """The keywords in a group's profile, None where it has no menu at all."""
    preferences: dict[str, Any] = cli.do("group_profile", chat=chat).get("groupPreferences") or {}
    commands = preferences.get("commands")
    return None if commands is None else [command["keyword"] for command in commands]


def changes(cli: FakeSimplexCLI) -> list[str]:
    return [command for command in cli.commands if command.startswith("/_group_profile")]


def wait_for_group_lists(cli: FakeSimplexCLI, times: int) -> None:
    cli.wait_for(lambda: sum(command.startswith("/_groups") for command in cli.commands) >= times)


def test_a_business_chat_has_the_menu_as_soon_as_it_appears(cli: FakeSimplexCLI, start: Start) -> None:
    start("track", "stop")
    dave = cli.business("dave")

    cli.wait_for(lambda: menu(cli, dave.chat) == ["track", "stop", "help"])
    profile = cli.do("group_profile", chat=dave.chat)
    assert profile["displayName"] == "dave"


def test_what_else_the_profile_of_a_group_has_stays(cli: FakeSimplexCLI, start: Start) -> None:
    start()
    dave = cli.business("dave")
    preferences = {"files": {"enable": "on"}, "history": {"enable": "on"}}
    profile = {"displayName": "dave", "fullName": "", "description": "A customer", "groupPreferences": preferences}
    cli.handlers.state.group(int(dave.chat[1:]))["info"]["groupProfile"] = profile
    start("track")

    cli.wait_for(lambda: menu(cli, dave.chat) == ["track", "help"])
    changed = cli.do("group_profile", chat=dave.chat)
    assert changed["description"] == "A customer"
    assert changed["groupPreferences"].keys() == {"files", "history", "commands"}


def test_only_a_changed_menu_is_written_to_every_group(cli: FakeSimplexCLI, start: Start) -> None:
    start("track")
    chats = [cli.business(name).chat for name in ("dave", "erin")]
    cli.wait_for(lambda: all(menu(cli, chat) == ["track", "help"] for chat in chats))
    start("track", "stop")
    cli.wait_for(lambda: all(menu(cli, chat) == ["track", "stop", "help"] for chat in chats))
    count = len(changes(cli))
    start("track", "stop")
    wait_for_group_lists(cli, 3)
    cli.drop()
    wait_for_group_lists(cli, 4)
    frank = cli.business("frank")
    cli.wait_for(lambda: menu(cli, frank.chat) is not None)
    assert len(changes(cli)) == count + 1

    start()
    cli.wait_for(lambda: all(menu(cli, chat) == [] for chat in chats))


def test_groups_of_others_are_left_alone(cli: FakeSimplexCLI, start: Start) -> None:
    cli.add_group("Team", ["alice"], role="admin")
    cli.add_group("Invited", ["alice"], role="owner", invited=True)
    own = cli.add_group("Own", ["bob"], role="owner")
    start("track")
    other = cli.add_group("Later", ["alice"], role="member")
    cli.wait_for(lambda: menu(cli, own.chat) == ["track", "help"])
    dave = cli.business("dave")
    cli.wait_for(lambda: menu(cli, dave.chat) == ["track", "help"])

    assert menu(cli, other.chat) is None
    assert len(changes(cli)) == 2


def test_bot_without_commands_keeps_menus_of_its_groups(cli: FakeSimplexCLI, start: Start) -> None:
    own = cli.add_group("Own", ["bob"], role="owner")
    start("track")
    cli.wait_for(lambda: menu(cli, own.chat) == ["track", "help"])
    start()
    wait_for_group_lists(cli, 2)
    cli.business("dave").say("hello")

    assert menu(cli, own.chat) == ["track", "help"]


@pytest.mark.parametrize("fault", ["refuse", "drop", "no_resp"])
def test_one_failing_group_does_not_block_others(cli: FakeSimplexCLI, start: Start, fault: Any) -> None:
    start()
    chats = [cli.business(name).chat for name in ("dave", "erin")]
    cli.misbehave(fault, on=f"/_group_profile {chats[0]} ")
    start("track")
    cli.wait_for(lambda: menu(cli, chats[1]) == ["track", "help"] or None)
    cli.drop()

    cli.wait_for(lambda: menu(cli, chats[0]) == ["track", "help"] or None)


def test_removed_business_chat_menu_is_restored(cli: FakeSimplexCLI, start: Start) -> None:
    start("track")
    dave = cli.business("dave")
    cli.wait_for(lambda: menu(cli, dave.chat) is not None)
    info = cli.handlers.state.group(int(dave.chat[1:]))["info"]
    before = {**info}
    info["groupProfile"] = {"displayName": "David", "fullName": ""}
    cli.emit({"type": "groupUpdated", "user": cli.handlers.state.user, "fromGroup": before, "toGroup": info})

    cli.wait_for(lambda: menu(cli, dave.chat) == ["track", "help"])
    assert cli.do("group_profile", chat=dave.chat)["displayName"] == "David"


@pytest.mark.parametrize(
    "record",
    [
        {"type": "acceptingBusinessRequest"},
        {"type": "acceptingBusinessRequest", "user": {"userId": 99}, "groupInfo": {"groupId": 31}},
        {"type": "userJoinedGroup", "groupInfo": {"groupId": "x"}},
        {"type": "groupUpdated", "toGroup": {"groupId": 31, "groupProfile": "none"}},
    ],
)
def test_an_event_that_names_no_group_of_ours_does_no_harm(
    cli: FakeSimplexCLI, start: Start, record: dict[str, Any]
) -> None:
    start("track")
    cli.emit(record)
    dave = cli.business("dave")

    cli.wait_for(lambda: menu(cli, dave.chat) == ["track", "help"])
    assert len(changes(cli)) == 1


def test_a_group_menu_with_unknown_fields_is_left_alone(cli: FakeSimplexCLI, start: Start) -> None:
    chat = cli.business("dave").chat
    start("order")
    cli.wait_for(lambda: menu(cli, chat) is not None)
    state = cli.handlers.state
    with state.lock:
        profile = state.group(int(chat[1:]))["info"]["groupProfile"]
        for command in profile["groupPreferences"]["commands"]:
            command.update(params=None, icon="?")
    written = sum(command.startswith("/_group_profile") for command in cli.commands)
    start("order")
    wait_for_group_lists(cli, 2)
    other = cli.business("erin").chat
    cli.wait_for(lambda: menu(cli, other) is not None)
    assert sum(command.startswith("/_group_profile") for command in cli.commands) == written + 1


def test_menus_come_where_the_space_is_not_read(cli: FakeSimplexCLI, start: Start) -> None:
    chat = cli.business("dave").chat
    cli.misbehave("unread", on="/_groups ")
    start("order")
    cli.wait_for(lambda: menu(cli, chat) is not None)
    assert any(command.startswith("/_groups1") for command in cli.commands)
