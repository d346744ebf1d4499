"""The chat over a simulator in this process; the bot's own process is left out."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from rich.console import Console

from cometbot.channels.base import IncomingEvent
from cometbot.channels.cometchat import CometChatClient
from cometbot.cli.dev.chat import Chat, ChatContext, is_colon_command
from cometbot.cli.dev.colon_commands import ColonCommands
from cometbot.cli.dev.feed import EventFeed
from cometbot.cli.dev.rendering import ActiveChat
from cometbot.cli.dev.reports import BotInfo, CommandInfo
from cometbot.cli.dev.runner import BotRunner
from cometbot.cli.dev.screen import Screen
from cometbot.delivery import Delivery
from cometbot.errors import ConfigurationError
from cometbot.models import Conversation
from cometbot.simulator import Simulator


@dataclass
class FakeRunner:
    """Stands in for the runner of the bot's process."""

    is_running: bool = True
    has_given_up: bool = False
    bots: tuple[BotInfo, ...] = (BotInfo("shop", "shop", (CommandInfo("/track"), CommandInfo("/help"))),)


@dataclass
class DevChat:
    """A chat whose lines come from a test."""

    simulator: Simulator
    delivery: Delivery
    running: FakeRunner = field(default_factory=FakeRunner)
    place: ActiveChat = field(default_factory=lambda: ActiveChat("maria", "shop"))

    def chat(self, *lines: str) -> str:
        """All that is shown while these lines are typed, spaces at the ends of lines aside."""
        console = Console(file=io.StringIO(), width=100, highlight=False)
        screen = Screen(console, io.StringIO("".join(f"{line}\n" for line in lines)))
        self.desk = ChatContext(self.simulator, cast(BotRunner, self.running), self.delivery, screen, self.place)
        feed = EventFeed(self.simulator, screen, lambda: self.desk.active, "on")
        self.orders = ColonCommands(self.desk, feed)
        feed.start()
        try:
            Chat(self.desk, feed, self.orders).run()
        finally:
            feed.stop()
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue()

    def said(self) -> list[tuple[str, str, str]]:
        """Sender, receiver and text of all messages."""
        return [(message.sender, message.receiver, message.text) for message in self.simulator.messages()]


@pytest.fixture
def dev_chat(tmp_path: Path) -> Iterator[DevChat]:
    delivery = Delivery([], [], f"sqlite:///{tmp_path / 'dev.db'}")
    with Simulator() as simulator:
        simulator.seed_demo("shop", f"{simulator.url}/nowhere")
        yield DevChat(simulator, delivery)
    delivery.close()


def test_a_line_is_said_to_the_bot_and_shown_once(dev_chat: DevChat) -> None:
    shown = dev_chat.chat("hi there")
    assert dev_chat.said() == [("maria", "shop", "hi there")]
    assert shown.splitlines()[0] == "maria → shop > hi there"
    assert shown.count("hi there") == 2, "typed, and in the callback's line"
    assert "callback" in shown


def test_background_calls_are_shown_in_full_detail(dev_chat: DevChat) -> None:
    shown = io.StringIO()
    screen = Screen(Console(file=shown, width=100, highlight=False), io.StringIO())
    feed = EventFeed(dev_chat.simulator, screen, lambda: dev_chat.place, "on")
    feed.start()
    with closing(CometChatClient(dev_chat.simulator.api_url, dev_chat.simulator.api_key)) as client:
        list(client.bots())
        client.get_bot("shop")
        feed.flush(10)
        assert [line.split()[-1] for line in shown.getvalue().splitlines()] == ["/v3/bots/shop"]
        feed.calls = "full"
        list(client.bots())
        feed.flush(10)
    feed.stop()
    assert "GET /v3/bots?" in shown.getvalue()


def test_one_can_write_as_the_bot_and_press_as_anybody(dev_chat: DevChat) -> None:
    shown = dev_chat.chat(":to ops-room", ":as shop", "I am the bot", ":as tom", ":press 2")
    assert "You write as the bot shop" in shown
    assert dev_chat.said() == [("shop", "ops-room", "I am the bot"), ("tom", "ops-room", "2")]


@pytest.mark.parametrize(
    ("line", "expected"),
    [(":help", True), (":as tom", True), (":-)", False), (": x", False), ("/help", False), (" :help", False)],
)
def test_colon_command_is_a_colon_and_a_letter(line: str, expected: bool) -> None:
    assert is_colon_command(line) is expected


def test_a_line_with_a_space_before_a_colon_is_said(dev_chat: DevChat) -> None:
    dev_chat.chat(" :help")
    assert dev_chat.said() == [("maria", "shop", ":help")]


def test_an_empty_line_says_nothing(dev_chat: DevChat) -> None:
    dev_chat.chat("", "   ")
    assert dev_chat.said() == []


def test_quit_ends_the_chat_before_the_next_line(dev_chat: DevChat) -> None:
    dev_chat.chat("one", ":quit", "two")
    assert dev_chat.said() == [("maria", "shop", "one")]


def test_unknown_colon_command_suggests_a_similar_one(dev_chat: DevChat) -> None:
    assert "Unknown command :user. Did you mean :users?" in dev_chat.chat(":user")


def test_as_makes_who_does_not_exist_and_changes_the_prompt(dev_chat: DevChat) -> None:
    shown = dev_chat.chat(":as Ann", "hi")
    assert "Created the user ann." in shown
    assert "ann → shop > hi" in shown
    assert dev_chat.said() == [("ann", "shop", "hi")]


def test_who_is_no_member_joins_a_group_by_writing_to_it(dev_chat: DevChat) -> None:
    shown = dev_chat.chat(":to ops-room", ":as ann", "hi all")
    assert "ann joined ops-room" in shown
    assert dev_chat.said() == [("ann", "ops-room", "hi all")]


def test_to_somebody_who_does_not_exist_lists_who_does(dev_chat: DevChat) -> None:
    shown = dev_chat.chat(":to nobody")
    assert "No bot, group or user nobody. There are: shop, ops-room, maria, tom." in " ".join(shown.split())


def test_a_message_that_no_bot_is_told_of_says_why(dev_chat: DevChat) -> None:
    assert "No bot received this: tom is a user." in dev_chat.chat(":to tom", "hi")
    dev_chat.simulator.world.directory.bots["shop"].group_chat_setting = "mentionedMessages"
    assert "the group setting is mentionedMessages" in dev_chat.chat(":to ops-room", "hi")


def test_a_bot_that_does_not_run_is_said_to(dev_chat: DevChat) -> None:
    dev_chat.running.is_running, dev_chat.running.has_given_up = False, True
    assert "The bot is not running" in dev_chat.chat("hi")


def test_thread_goes_to_where_the_message_is_and_out_of_it_again(dev_chat: DevChat) -> None:
    root = dev_chat.simulator.user("tom").say("question", group="ops-room")
    shown = dev_chat.chat(f":thread #{root.id}", "answer", ":thread", "aside")
    assert f"maria → #ops-room (thread #{root.id}) > answer" in shown
    answer, aside = dev_chat.simulator.messages()[-2:]
    assert (answer.receiver, answer.parent_id) == ("ops-room", root.id)
    assert (aside.receiver, aside.parent_id) == ("ops-room", "")


def test_thread_of_others_or_of_nothing_is_refused(dev_chat: DevChat) -> None:
    root = dev_chat.simulator.user("tom").say("secret", to="shop")
    assert "is between tom and shop; maria cannot see it" in dev_chat.chat(f":thread {root.id}")
    assert "999" in dev_chat.chat(":thread 999")
    assert dev_chat.desk.thread == ""


def test_image_sends_a_file_or_url_with_caption(dev_chat: DevChat, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"png")
    dev_chat.chat(f":image {tmp_path / 'a.png'} look at this", ":image https://example.com/b.jpg")
    first, second = dev_chat.simulator.messages()
    assert (first.type, first.text, first.attachments[0]["name"]) == ("image", "look at this", "a.png")
    assert str(first.attachments[0]["url"]).startswith(dev_chat.simulator.url)
    assert second.attachments[0]["url"] == "https://example.com/b.jpg"


def test_image_that_is_not_there_is_said(dev_chat: DevChat) -> None:
    assert "File not found: nowhere.png" in dev_chat.chat(":image nowhere.png")


@pytest.mark.parametrize("order", [":as", ":to", ":image", ":press", ":retry", ":misbehave", ":traffic", ":calls 7"])
def test_colon_command_without_argument_gives_an_example(dev_chat: DevChat, order: str) -> None:
    shown = dev_chat.chat(order)
    expected = "Expected on, full or off, got" if order in (":traffic", ":calls 7") else f"Example: {order.split()[0]} "
    assert expected in shown


def test_wire_shows_lines_all_or_nothing(dev_chat: DevChat) -> None:
    line = "POST /nowhere"
    assert line not in dev_chat.chat(":traffic off", "hi")
    assert '"trigger": "after_message"' in dev_chat.chat(":traffic full", "hi")
    assert line not in dev_chat.chat(":callbacks off", "hi")
    assert line in dev_chat.chat(":calls off", "hi")
    assert line in dev_chat.chat(":traffic off", ":traffic on", "hi")


def test_users_and_groups_are_listed(dev_chat: DevChat) -> None:
    shown = dev_chat.chat(":users", ":groups")
    assert [
        line.split() for line in shown.splitlines() if line.startswith(("maria ", "shop ")) and "→" not in line
    ] == [
        ["maria", "Maria", "Keller", "you"],
        ["shop", "Shop", "bot"],
    ]
    assert "maria, tom, shop" in shown


def test_scope_of_a_member_is_changed(dev_chat: DevChat) -> None:
    shown = dev_chat.chat(":scope shop admin", ":to #ops-room", ":scope shop king", ":scope shop admin")
    assert "This chat is no group" in shown
    assert "got 'king'" in shown
    assert "shop is admin of ops-room." in shown


def test_help_lists_every_colon_command(dev_chat: DevChat) -> None:
    shown = dev_chat.chat(":help")
    for name in dev_chat.orders._commands:
        assert f":{name}" in shown


def test_dead_letters_are_listed_and_tried_again(dev_chat: DevChat) -> None:
    assert "There are no dead letters." in dev_chat.chat(":dead")
    maria = Conversation("cometchat", "app1", "shop", "maria_user_shop", "maria")
    dev_chat.delivery.enqueue(IncomingEvent(maria, "message:1", b"{}", "maria", 1.0))
    with dev_chat.delivery.database.write() as connection:
        mail = dev_chat.delivery.store.mailbox.get_oldest(connection, str(maria.key))
        assert mail is not None
        dev_chat.delivery.store.mailbox.mark_running(connection, mail)
        dev_chat.delivery.store.mailbox.end(connection, mail, "dead", "shop.track", "ValueError: no shoes")
        connection.exec_driver_sql("UPDATE conversations SET mail = 0")
    assert "ValueError: no shoes" in dev_chat.chat(":dead", ":retry m99")
    dev_chat.running.has_given_up = True  # nobody handles it here
    assert "Retrying m1" in dev_chat.chat(":retry m1")
    assert dev_chat.delivery.dead_letters.list() == []


@pytest.mark.parametrize(
    ("order", "rule", "remark"),
    [
        ("429", ("rate_limit", 1), "The bot's next request to CometChat: status 429, retry after 2 s."),
        ("500 3", ("fail", 3), "The bot's next 3 requests to CometChat: status 500."),
        ("slow", ("slow", 1), "The bot's next request to CometChat: answered after 3 s."),
        ("drop", ("drop", 1), "The bot's next request to CometChat: performed, but not answered."),
        ("duplicate", ("duplicate_callbacks", 1), "CometChat's next request to the bot: sent twice."),
    ],
)
def test_misbehave_puts_a_rule_in_force_and_says_what_comes(
    dev_chat: DevChat, order: str, rule: tuple[str, int], remark: str
) -> None:
    shown = dev_chat.chat(f":misbehave {order}")
    assert [(effect.rule.kind, effect.rule.times) for effect in dev_chat.simulator.misbehave.active_rules] == [rule]
    assert remark in shown


def test_misbehave_off_ends_it_and_an_unknown_kind_lists_all(dev_chat: DevChat) -> None:
    shown = dev_chat.chat(":misbehave 429", ":misbehave off", ":misbehave badly", ":misbehave 500 often")
    assert "CometChat behaves normally again." in shown
    assert "Choose from: 429, 500, slow, drop, duplicate, off" in " ".join(shown.split())
    assert "Expected a number of times, got" in shown
    assert dev_chat.simulator.misbehave.active_rules == []


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("/t", ["/track", "/help"]),
        (":as ", ["maria", "tom"]),
        (":to ", ["maria", "tom", "shop", "ops-room"]),
        (":traffic o", ["on", "full", "off"]),
        (":help x", []),
        (":image a ", []),
    ],
)
def test_the_tabulator_offers_what_may_come_there(dev_chat: DevChat, line: str, offers: list[str]) -> None:
    dev_chat.chat(":help")
    assert list(dev_chat.orders.complete(line)) == offers
    assert ":misbehave" in dev_chat.orders.complete(":m")


def test_changes_by_others_are_shown(dev_chat: DevChat) -> None:
    dev_chat.chat("hi")
    [message] = dev_chat.simulator.messages()
    bot = dev_chat.simulator.user("shop")
    console = Console(file=io.StringIO(), width=100, highlight=False)
    feed = EventFeed(dev_chat.simulator, Screen(console, io.StringIO()), lambda: dev_chat.place, "off")
    feed.start()
    bot.react(message, "👍")
    reply = bot.say("Hello", to="maria")
    bot.edit(reply, "Hello, Maria")
    bot.delete(reply)
    feed.flush(5)
    feed.stop()
    assert isinstance(console.file, io.StringIO)
    assert [line.split() for line in console.file.getvalue().splitlines()] == [
        f"shop added 👍 to #{message.id}".split(),
        f"shop #{reply.id} Hello".split(),
        f"shop #{reply.id} edited".split(),
        ["Hello,", "Maria"],
        f"shop deleted #{reply.id}".split(),
    ]


def test_the_feed_goes_on_after_the_simulator_forgot_everything(dev_chat: DevChat) -> None:
    console = Console(file=io.StringIO(), width=100, highlight=False)
    feed = EventFeed(dev_chat.simulator, Screen(console, io.StringIO()), lambda: dev_chat.place, "on")
    with dev_chat.simulator.world.condition:
        dev_chat.simulator.add_user("ann")
        dev_chat.simulator.add_group("team", owner="ann")
        dev_chat.simulator.world.journal.clear()
    feed.start()
    dev_chat.simulator.user("tom").say("still here?", to="maria")
    feed.flush(5)
    feed.stop()
    assert isinstance(console.file, io.StringIO)
    assert "still here?" in console.file.getvalue()


def test_chat_without_terminal_and_pipe_is_an_error(dev_chat: DevChat) -> None:
    with pytest.raises(ConfigurationError, match="--no-chat runs without a chat"):
        dev_chat.chat()


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("@shop hi", "<@uid:shop> hi"),
        ("hi @Shop, and @Tom Berger!", "hi <@uid:shop>, and <@uid:tom>!"),
        ("<@uid:shop> hi", "<@uid:shop> hi"),
        ("shop@example.com, @shopping and @nobody", "shop@example.com, @shopping and @nobody"),
    ],
)
def test_a_name_typed_after_an_at_is_a_mention(dev_chat: DevChat, typed: str, text: str) -> None:
    dev_chat.chat(typed)
    assert [said for _, _, said in dev_chat.said()] == [text]


@pytest.mark.parametrize(
    ("name", "uid"),
    [("Zoë", "zoe"), ("Tom Berger", "tom"), ("李雷", "user-4"), ("Ana María", "ana-maria"), ("TOM", "tom")],
)
def test_as_takes_any_name(dev_chat: DevChat, name: str, uid: str) -> None:
    shown = dev_chat.chat(f":as {name}", "hi", f":as {name}", "again")
    assert [sender for sender, _, _ in dev_chat.said()] == [uid, uid]
    assert shown.count("Created the user") == (uid != "tom")
    if uid != "tom":
        assert dev_chat.simulator.world.directory.users[uid].name == name
