"""The channel against the simulator, over HTTP in both directions."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import make_server

from cometbot import Bot
from cometbot.channels.base import Incoming, Sending
from cometbot.channels.cometchat import CallbackSettings, CometChatChannel, CometChatClient
from cometbot.errors import NotFound, RateLimited, Uncertain
from cometbot.events import DeleteEvent, EditEvent, MembershipEvent, MessageEvent, ReactionEvent
from cometbot.messages import Button, Card, Choices, Custom, Media, Operation, Text
from cometbot.models import Conversation, LaneKey
from cometbot.simulator import Simulator

PASSWORD = "s3cr3t"


class World:
    """A simulated app, a bot called ``helpdesk``, and the channel between them; what comes in is kept."""

    def __init__(self, simulator: Simulator) -> None:
        self.bots = {"helpdesk": Bot("helpdesk", cometchat_uid="helpdesk-bot")}
        self.simulator = simulator
        self.client = CometChatClient(simulator.api_url, simulator.api_key, app_id=simulator.app_id)
        self.channel = CometChatChannel(
            simulator.app_id,
            self.client,
            bots=self.bots,
            callback=CallbackSettings(
                credentials={"helpdesk": ("cc", PASSWORD)}, webhook_credentials=("hook", PASSWORD)
            ),
        )
        self.incoming: dict[str, Incoming] = {}
        self.said: dict[str, Conversation] = {}
        self.remembered: list[Conversation] = []
        self._came = threading.Condition()

    def put(self, incoming: Incoming) -> bool:
        with self._came:
            is_new = incoming.key not in self.incoming
            self.incoming.setdefault(incoming.key, incoming)
            self._came.notify_all()
            return is_new

    def knows(self, key: LaneKey) -> bool:
        return any(incoming.conversation.key == key for incoming in self.incoming.values())

    def remember(self, conversations: Iterable[Conversation]) -> None:
        self.remembered += conversations

    def find_received(self, channel: str, account: str, bot: str, key: str) -> Conversation | None:
        return None

    def find_sent(self, channel: str, account: str, platform_id: str) -> Conversation | None:
        return self.said.get(platform_id)

    def event(self, prefix: str) -> Any:
        """The event whose key begins so, once it has come in."""
        with self._came:
            assert self._came.wait_for(lambda: self._find(prefix) is not None, timeout=10), list(self.incoming)
            found = self._find(prefix)
        assert found is not None
        return self.channel.parse(found)

    def _find(self, prefix: str) -> Incoming | None:
        return next((incoming for key, incoming in self.incoming.items() if key.startswith(prefix)), None)

    def prepare(self, operation: Operation, muid: str = "muid-1", target: str | None = None) -> list[Sending]:
        payloads = self.channel.render(operation)
        return [Sending(operation.conversation, f"{muid}.{part}", one, target) for part, one in enumerate(payloads)]

    def carry_out(self, operation: Operation, target: str | None = None) -> list[str]:
        return [self.channel.send(one, timeout=5) for one in self.prepare(operation, target=target)]


@pytest.fixture
def world() -> Iterator[World]:
    with Simulator() as simulator:
        world = World(simulator)
        app = Flask("site")
        app.register_blueprint(world.channel.blueprint(world))
        server = make_server("127.0.0.1", 0, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/cometchat/helpdesk"
        simulator.add_bot("helpdesk-bot", url, username="cc", password=PASSWORD)
        simulator.add_group("ops-room", members=["maria", "tom", "helpdesk-bot"])
        simulator.add_webhook(f"{url}/webhook", username="hook", password=PASSWORD)
        yield world
        world.client.close()
        server.shutdown()
        thread.join()
        server.server_close()


def text_in(event: Any, text: str = "hello", **options: Any) -> Operation:
    operation = {"conversation": event.conversation, "message": Text(text), "answers": event.id} | options
    return Operation(**operation)


def test_a_message_and_its_reply_go_to_and_fro_one_to_one(world: World) -> None:
    asked = world.simulator.user("maria").say("hi", to="helpdesk-bot", tags=["vip"])
    event = world.event("message:")
    assert isinstance(event, MessageEvent)
    assert (event.id, event.text, event.sender.uid, event.sender.name) == (asked.id, "hi", "maria", "Maria")
    assert event.conversation == world.channel.conversation(world.bots["helpdesk"], user="maria")
    (sent,) = world.carry_out(text_in(event))
    said = world.simulator.message(sent)
    assert (said.sender, said.receiver, said.receiver_type, said.text) == ("helpdesk-bot", "maria", "user", "hello")


def test_a_reply_in_a_group_thread_stays_in_the_thread(world: World) -> None:
    root = world.simulator.user("maria").say("topic", group="ops-room")
    world.simulator.user("tom").say("<@uid:helpdesk-bot> well?", parent=root)
    event = world.event(f"message:{int(root.id) + 1}")
    assert (event.thread_id, event.group.guid, event.conversation.is_group) == (root.id, "ops-room", True)
    assert [mention.uid for mention in event.mentions] == ["helpdesk-bot"]
    (sent,) = world.carry_out(text_in(event, thread_id=event.thread_id))
    assert world.simulator.message(sent).parent_id == root.id


@pytest.mark.parametrize("rich", ["text", "interactive", "card"])
def test_every_kind_of_message_is_accepted(world: World, rich: Any) -> None:
    channel = CometChatChannel(world.simulator.app_id, world.client, bots=world.bots, rich=rich)
    conversation = channel.conversation(world.bots["helpdesk"], user="maria")
    world.simulator.user("maria")
    messages = [
        Text("word " * 5000),
        Media("https://cdn.example.org/a.png", caption="look", size=5),
        Custom("location", {"lat": 48.1}),
        Card(
            title="Order",
            text="Shipped",
            image="https://x/a.png",
            buttons=[Button("Track"), Button("S", url="https://x")],
        ),
        Choices("Colour?", ["red", "blue"]),
    ]
    for message in messages:
        for payload in channel.render(Operation(conversation=conversation, message=message)):
            assert channel.send(Sending(conversation, "m", payload), timeout=5)
    categories = {said.category for said in world.simulator.messages(between=("maria", "helpdesk-bot"))}
    assert categories == {"message", "custom"} | ({rich} - {"text"})


def test_edit_reaction_and_deletion_are_the_bots_own(world: World) -> None:
    asked = world.simulator.user("maria").say("hi", to="helpdesk-bot")
    event = world.event("message:")
    (sent,) = world.carry_out(text_in(event, "draft"))
    world.carry_out(text_in(event, "final", kind="edit", target=0), target=sent)
    assert world.simulator.message(sent).text == "final"
    world.channel.sketch(event.conversation, sent, "sketched")
    assert world.simulator.message(sent).text == "sketched"
    world.carry_out(Operation(conversation=event.conversation, kind="react", message_id=asked.id, reaction="👍"))
    assert world.client.reactions(asked.id)[0]["uid"] == "helpdesk-bot"
    deletion = Operation(conversation=event.conversation, kind="delete", target=0)
    assert world.carry_out(deletion, target=sent) == [sent]
    assert world.carry_out(deletion, target=sent) == [sent]


def test_what_went_through_although_the_connection_broke_is_found_again(world: World) -> None:
    world.simulator.user("maria").say("hi", to="helpdesk-bot")
    (sending,) = world.prepare(text_in(world.event("message:")))
    assert world.channel.find(sending, timeout=5) is None
    world.simulator.misbehave.drop(before=False, times=1)
    with pytest.raises(Uncertain):
        world.channel.send(sending, timeout=5)
    found = world.channel.find(sending, timeout=5)
    assert found is not None
    assert world.simulator.message(found).text == "hello"


def test_what_never_arrived_is_not_found(world: World) -> None:
    world.simulator.user("maria").say("hi", group="ops-room")
    (sending,) = world.prepare(text_in(world.event("message:")))
    world.simulator.misbehave.drop(before=True, times=1)
    with pytest.raises(Uncertain):
        world.channel.send(sending, timeout=5)
    assert world.channel.find(sending, timeout=5) is None


def test_a_reply_in_a_thread_is_found_again(world: World) -> None:
    root = world.simulator.user("maria").say("topic", group="ops-room")
    (sending,) = world.prepare(text_in(world.event("message:"), thread_id=root.id))
    sent = world.channel.send(sending, timeout=5)
    assert world.channel.find(sending, timeout=5) == sent


def test_a_429_is_raised_with_its_wait(world: World) -> None:
    world.simulator.user("maria").say("hi", to="helpdesk-bot")
    (sending,) = world.prepare(text_in(world.event("message:")))
    world.simulator.misbehave.rate_limit(retry_after=7, times=1)
    with pytest.raises(RateLimited) as caught:
        world.channel.send(sending, timeout=5)
    assert caught.value.retry_after == 7
    assert world.channel.send(sending, timeout=5)


@pytest.mark.parametrize(
    ("reset", "low", "high"),
    [("milliseconds", 0, 7), ("relative", 7, 7), ("date", 4, 8), ("past", 0, 0), ("none", 10, 10)],
)
def test_429_in_another_form_is_raised_with_its_wait(world: World, reset: str, low: float, high: float) -> None:
    world.simulator.user("maria").say("hi", to="helpdesk-bot")
    (sending,) = world.prepare(text_in(world.event("message:")))
    world.simulator.misbehave.rate_limit(retry_after=7, times=1, reset=reset)
    with pytest.raises(RateLimited) as caught:
        world.channel.send(sending, timeout=5)
    assert low <= caught.value.retry_after <= high


def test_a_bot_that_is_no_member_joins_to_answer(world: World) -> None:
    world.simulator.add_group("elsewhere", members=["maria"])
    conversation = world.channel.conversation(world.bots["helpdesk"], group="elsewhere")
    (sent,) = world.carry_out(Operation(conversation=conversation, message=Text("hello")))
    assert world.simulator.message(sent).receiver == "elsewhere"
    assert "helpdesk-bot" in {member["uid"] for member in world.client.members("elsewhere")}


def test_a_group_that_does_not_exist_is_not_found(world: World) -> None:
    conversation = world.channel.conversation(world.bots["helpdesk"], group="nowhere")
    with pytest.raises(NotFound):
        world.carry_out(Operation(conversation=conversation, message=Text("hello")))


@pytest.mark.parametrize("place", [{"to": "helpdesk-bot"}, {"group": "ops-room"}])
def test_history_holds_the_newest_messages_oldest_first(world: World, place: dict[str, str]) -> None:
    maria = world.simulator.user("maria")
    for text in ("one", "two", "three"):
        asked = maria.say(text, **place)
    maria.edit(asked, "drei")
    event = world.event(f"message:{asked.id}")
    world.carry_out(text_in(event, "four"))
    history = world.channel.history(event.conversation, 3)
    assert [said.text for said in history] == ["two", "drei", "four"]
    assert [said.sender.uid for said in history] == ["maria", "maria", "helpdesk-bot"]
    assert history[0].conversation == event.conversation


def test_webhooks_tell_what_callbacks_do_not(world: World) -> None:
    maria = world.simulator.user("maria")
    asked = maria.say("hi", to="helpdesk-bot")
    event = world.event("message:")
    (sent,) = world.carry_out(text_in(event))
    world.said[sent] = event.conversation
    maria.edit(asked, "hello")
    edited = world.event("edit:")
    assert isinstance(edited, EditEvent)
    assert (edited.message.text, edited.conversation) == ("hello", event.conversation)
    maria.react(sent, "👍")
    reacted = world.event("reaction:")
    assert isinstance(reacted, ReactionEvent)
    assert (reacted.message_id, reacted.reaction, reacted.conversation) == (sent, "👍", event.conversation)
    maria.delete(asked)
    deleted = world.event("delete:")
    assert isinstance(deleted, DeleteEvent)
    assert deleted.message_id == asked.id


def test_a_webhook_tells_who_came_into_a_known_group(world: World) -> None:
    world.simulator.user("maria").say("hi", group="ops-room")
    world.event("message:")
    world.simulator.user("ann").join("ops-room")
    event = world.event("member:")
    assert isinstance(event, MembershipEvent)
    assert (event.action, [user.uid for user in event.members]) == ("joined", ["ann"])
    assert event.conversation.id == "group_ops-room"


def test_changes_in_the_message_shape_are_understood_too(world: World) -> None:
    url = next(iter(world.simulator.world.webhooks.values())).url
    world.simulator.world.webhooks.clear()
    world.simulator.add_webhook(url, ["message_edited", "message_deleted"], "hook", PASSWORD, edits_as="message")
    asked = world.simulator.user("maria").say("hi", to="helpdesk-bot")
    world.simulator.user("maria").edit(asked, "hello")
    event = world.event("edit:")
    assert (event.message.id, event.message.text, event.sender.uid) == (asked.id, "hello", "maria")
    world.simulator.user("maria").delete(asked)
    assert world.event("delete:").message_id == asked.id


def test_the_apps_bots_are_known_after_a_refresh(world: World) -> None:
    world.simulator.add_bot("weather", "http://127.0.0.1:9/")
    assert not world.channel.is_bot("weather")
    world.channel.refresh()
    assert world.channel.is_bot("Weather")
    assert not world.channel.is_bot("maria")


@pytest.mark.parametrize("access", ["presigned", "token"])
def test_a_file_is_downloaded_in_both_access_modes(world: World, access: str) -> None:
    world.simulator.configure(media_access=access)
    assert world.client.download(world.simulator.add_file("a.png", b"PNG")) == b"PNG"


def test_a_conversation_is_marked_as_read_by_the_bot(world: World) -> None:
    asked = world.simulator.user("maria").say("hi", to="helpdesk-bot")
    world.client.mark_read(reader="helpdesk-bot", user="maria", message_id=asked.id)
    conversations = world.client.conversations(on_behalf_of="helpdesk-bot", query={"conversationType": "user"})
    assert [int(conversation["unreadMessageCount"]) for conversation in conversations] == [0]


def test_groups_that_the_bot_was_put_into_are_known_after_a_refresh(world: World) -> None:
    world.bots["helpdesk"].event(MembershipEvent)(lambda ctx: None)
    world.simulator.add_group("quiet", members=["maria", "helpdesk-bot"])
    world.simulator.add_group("others", members=["maria"])
    world.channel.attach(world)  # type: ignore[arg-type]
    world.channel.refresh()
    found = {conversation.id for conversation in world.remembered}
    assert "group_quiet" in found
    assert "group_others" not in found
    assert all(conversation.is_group and conversation.bot == "helpdesk" for conversation in world.remembered)
