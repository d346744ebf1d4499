"""The channel against the simulator, over HTTP in both directions."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import make_server

from cometbot import Bot
from cometbot.channels.base import IncomingEvent, OutgoingRequest
from cometbot.channels.cometchat import CallbackSettings, CometChatChannel, CometChatClient
from cometbot.channels.cometchat.callback import make_blueprint
from cometbot.errors import NotFound, OutcomeUnknown, RateLimited
from cometbot.events import DeleteEvent, EditEvent, MembershipEvent, MessageEvent, ReactionEvent
from cometbot.messages import Button, Card, Choices, Custom, Media, Operation, Text
from cometbot.models import Conversation, ConversationKey
from cometbot.simulator import Simulator

PASSWORD = "s3cr3t"


class Harness:
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
        self.incoming: dict[str, IncomingEvent] = {}
        self.said: dict[str, Conversation] = {}
        self.remembered: list[Conversation] = []
        self._changed = threading.Condition()

    def enqueue(self, incoming: IncomingEvent) -> bool:
        with self._changed:
            is_new = incoming.key not in self.incoming
            self.incoming.setdefault(incoming.key, incoming)
            self._changed.notify_all()
            return is_new

    def has_conversation(self, key: ConversationKey) -> bool:
        return any(incoming.conversation.key == key for incoming in self.incoming.values())

    def add_conversations(self, conversations: Iterable[Conversation]) -> None:
        self.remembered += conversations

    def find_received_conversation(self, channel: str, account: str, bot: str, key: str) -> Conversation | None:
        return None

    def find_sent_conversation(self, channel: str, account: str, platform_id: str) -> Conversation | None:
        return self.said.get(platform_id)

    def event(self, prefix: str) -> Any:
        """The event whose key begins so, once it has come in."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._find(prefix) is not None, timeout=10), list(self.incoming)
            found = self._find(prefix)
        assert found is not None
        return self.channel.parse(found)

    def _find(self, prefix: str) -> IncomingEvent | None:
        return next((incoming for key, incoming in self.incoming.items() if key.startswith(prefix)), None)

    def prepare(self, operation: Operation, muid: str = "muid-1", target: str | None = None) -> list[OutgoingRequest]:
        payloads = self.channel.render(operation)
        return [
            OutgoingRequest(operation.conversation, f"{muid}.{part}", one, target) for part, one in enumerate(payloads)
        ]

    def carry_out(self, operation: Operation, target: str | None = None) -> list[str]:
        return [self.channel.send(one, timeout=5) for one in self.prepare(operation, target=target)]


@pytest.fixture
def harness() -> Iterator[Harness]:
    with Simulator() as simulator:
        harness = Harness(simulator)
        app = Flask("site")
        app.register_blueprint(make_blueprint(harness.channel, harness))
        server = make_server("127.0.0.1", 0, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/cometchat/helpdesk"
        simulator.add_bot("helpdesk-bot", url, username="cc", password=PASSWORD)
        simulator.add_group("ops-room", members=["maria", "tom", "helpdesk-bot"])
        simulator.add_webhook(f"{url}/webhook", username="hook", password=PASSWORD)
        yield harness
        harness.client.close()
        server.shutdown()
        thread.join()
        server.server_close()


def text_in(event: Any, text: str = "hello", **options: Any) -> Operation:
    operation = {"conversation": event.conversation, "message": Text(text), "reply_to": event.id} | options
    return Operation(**operation)


def test_a_message_and_its_reply_go_to_and_fro_one_to_one(harness: Harness) -> None:
    asked = harness.simulator.user("maria").say("hi", to="helpdesk-bot", tags=["vip"])
    event = harness.event("message:")
    assert isinstance(event, MessageEvent)
    assert (event.id, event.text, event.sender.uid, event.sender.name) == (asked.id, "hi", "maria", "Maria")
    assert event.conversation == harness.channel.conversation(harness.bots["helpdesk"], user="maria")
    (sent,) = harness.carry_out(text_in(event))
    said = harness.simulator.message(sent)
    assert (said.sender, said.receiver, said.receiver_type, said.text) == ("helpdesk-bot", "maria", "user", "hello")


def test_a_reply_in_a_group_thread_stays_in_the_thread(harness: Harness) -> None:
    root = harness.simulator.user("maria").say("topic", group="ops-room")
    harness.simulator.user("tom").say("<@uid:helpdesk-bot> well?", parent=root)
    event = harness.event(f"message:{int(root.id) + 1}")
    assert (event.thread_id, event.group.guid, event.conversation.is_group) == (root.id, "ops-room", True)
    assert [mention.uid for mention in event.mentions] == ["helpdesk-bot"]
    (sent,) = harness.carry_out(text_in(event, thread_id=event.thread_id))
    assert harness.simulator.message(sent).parent_id == root.id


@pytest.mark.parametrize("rich", ["text", "interactive", "card"])
def test_every_kind_of_message_is_accepted(harness: Harness, rich: Any) -> None:
    channel = CometChatChannel(harness.simulator.app_id, harness.client, bots=harness.bots, rich=rich)
    conversation = channel.conversation(harness.bots["helpdesk"], user="maria")
    harness.simulator.user("maria")
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
            assert channel.send(OutgoingRequest(conversation, "m", payload), timeout=5)
    categories = {said.category for said in harness.simulator.messages(between=("maria", "helpdesk-bot"))}
    assert categories == {"message", "custom"} | ({rich} - {"text"})


def test_edit_reaction_and_deletion_are_the_bots_own(harness: Harness) -> None:
    asked = harness.simulator.user("maria").say("hi", to="helpdesk-bot")
    event = harness.event("message:")
    (sent,) = harness.carry_out(text_in(event, "draft"))
    harness.carry_out(text_in(event, "final", kind="edit", target=0), target=sent)
    assert harness.simulator.message(sent).text == "final"
    harness.channel.preview(event.conversation, sent, "sketched")
    assert harness.simulator.message(sent).text == "sketched"
    harness.carry_out(Operation(conversation=event.conversation, kind="react", message_id=asked.id, reaction="👍"))
    assert harness.client.reactions(asked.id)[0]["uid"] == "helpdesk-bot"
    deletion = Operation(conversation=event.conversation, kind="delete", target=0)
    assert harness.carry_out(deletion, target=sent) == [sent]
    assert harness.carry_out(deletion, target=sent) == [sent]


def test_message_sent_before_disconnect_is_found(harness: Harness) -> None:
    harness.simulator.user("maria").say("hi", to="helpdesk-bot")
    (sending,) = harness.prepare(text_in(harness.event("message:")))
    assert harness.channel.find_sent(sending, timeout=5) is None
    harness.simulator.misbehave.drop(before=False, times=1)
    with pytest.raises(OutcomeUnknown):
        harness.channel.send(sending, timeout=5)
    found = harness.channel.find_sent(sending, timeout=5)
    assert found is not None
    assert harness.simulator.message(found).text == "hello"


def test_what_never_arrived_is_not_found(harness: Harness) -> None:
    harness.simulator.user("maria").say("hi", group="ops-room")
    (sending,) = harness.prepare(text_in(harness.event("message:")))
    harness.simulator.misbehave.drop(before=True, times=1)
    with pytest.raises(OutcomeUnknown):
        harness.channel.send(sending, timeout=5)
    assert harness.channel.find_sent(sending, timeout=5) is None


def test_a_reply_in_a_thread_is_found_again(harness: Harness) -> None:
    root = harness.simulator.user("maria").say("topic", group="ops-room")
    (sending,) = harness.prepare(text_in(harness.event("message:"), thread_id=root.id))
    sent = harness.channel.send(sending, timeout=5)
    assert harness.channel.find_sent(sending, timeout=5) == sent


def test_a_429_is_raised_with_its_wait(harness: Harness) -> None:
    harness.simulator.user("maria").say("hi", to="helpdesk-bot")
    (sending,) = harness.prepare(text_in(harness.event("message:")))
    harness.simulator.misbehave.rate_limit(retry_after=7, times=1)
    with pytest.raises(RateLimited) as caught:
        harness.channel.send(sending, timeout=5)
    assert caught.value.retry_after == 7
    assert harness.channel.send(sending, timeout=5)


@pytest.mark.parametrize(
    ("reset", "low", "high"),
    [("milliseconds", 0, 7), ("relative", 7, 7), ("date", 4, 8), ("past", 0, 0), ("none", 10, 10)],
)
def test_429_in_another_form_is_raised_with_its_wait(harness: Harness, reset: str, low: float, high: float) -> None:
    harness.simulator.user("maria").say("hi", to="helpdesk-bot")
    (sending,) = harness.prepare(text_in(harness.event("message:")))
    harness.simulator.misbehave.rate_limit(retry_after=7, times=1, reset=reset)
    with pytest.raises(RateLimited) as caught:
        harness.channel.send(sending, timeout=5)
    assert low <= caught.value.retry_after <= high


def test_non_member_bot_joins_to_reply(harness: Harness) -> None:
    harness.simulator.add_group("elsewhere", members=["maria"])
    conversation = harness.channel.conversation(harness.bots["helpdesk"], group="elsewhere")
    (sent,) = harness.carry_out(Operation(conversation=conversation, message=Text("hello")))
    assert harness.simulator.message(sent).receiver == "elsewhere"
    assert "helpdesk-bot" in {member["uid"] for member in harness.client.members("elsewhere")}


def test_a_group_that_does_not_exist_is_not_found(harness: Harness) -> None:
    conversation = harness.channel.conversation(harness.bots["helpdesk"], group="nowhere")
    with pytest.raises(NotFound):
        harness.carry_out(Operation(conversation=conversation, message=Text("hello")))


@pytest.mark.parametrize("place", [{"to": "helpdesk-bot"}, {"group": "ops-room"}])
def test_history_holds_the_newest_messages_oldest_first(harness: Harness, place: dict[str, str]) -> None:
    maria = harness.simulator.user("maria")
    for text in ("one", "two", "three"):
        asked = maria.say(text, **place)
    maria.edit(asked, "drei")
    event = harness.event(f"message:{asked.id}")
    harness.carry_out(text_in(event, "four"))
    history = harness.channel.history(event.conversation, 3)
    assert [said.text for said in history] == ["two", "drei", "four"]
    assert [said.sender.uid for said in history] == ["maria", "maria", "helpdesk-bot"]
    assert history[0].conversation == event.conversation


def test_webhooks_report_events_without_callback(harness: Harness) -> None:
    maria = harness.simulator.user("maria")
    asked = maria.say("hi", to="helpdesk-bot")
    event = harness.event("message:")
    (sent,) = harness.carry_out(text_in(event))
    harness.said[sent] = event.conversation
    maria.edit(asked, "hello")
    edited = harness.event("edit:")
    assert isinstance(edited, EditEvent)
    assert (edited.message.text, edited.conversation) == ("hello", event.conversation)
    maria.react(sent, "👍")
    reacted = harness.event("reaction:")
    assert isinstance(reacted, ReactionEvent)
    assert (reacted.message_id, reacted.reaction, reacted.conversation) == (sent, "👍", event.conversation)
    maria.delete(asked)
    deleted = harness.event("delete:")
    assert isinstance(deleted, DeleteEvent)
    assert deleted.message_id == asked.id


def test_webhook_reports_new_member_of_known_group(harness: Harness) -> None:
    harness.simulator.user("maria").say("hi", group="ops-room")
    harness.event("message:")
    harness.simulator.user("ann").join("ops-room")
    event = harness.event("member:")
    assert isinstance(event, MembershipEvent)
    assert (event.action, [user.uid for user in event.members]) == ("joined", ["ann"])
    assert event.conversation.id == "group_ops-room"


def test_changes_in_the_message_shape_are_understood_too(harness: Harness) -> None:
    url = next(iter(harness.simulator.world.webhooks.values())).url
    harness.simulator.world.webhooks.clear()
    harness.simulator.add_webhook(url, ["message_edited", "message_deleted"], "hook", PASSWORD, edits_as="message")
    asked = harness.simulator.user("maria").say("hi", to="helpdesk-bot")
    harness.simulator.user("maria").edit(asked, "hello")
    event = harness.event("edit:")
    assert (event.message.id, event.message.text, event.sender.uid) == (asked.id, "hello", "maria")
    harness.simulator.user("maria").delete(asked)
    assert harness.event("delete:").message_id == asked.id


def test_the_apps_bots_are_known_after_a_refresh(harness: Harness) -> None:
    harness.simulator.add_bot("weather", "http://127.0.0.1:9/")
    assert not harness.channel.is_bot("weather")
    harness.channel.refresh()
    assert harness.channel.is_bot("Weather")
    assert not harness.channel.is_bot("maria")


@pytest.mark.parametrize("access", ["presigned", "token"])
def test_a_file_is_downloaded_in_both_access_modes(harness: Harness, access: str) -> None:
    harness.simulator.configure(media_access=access)
    assert harness.client.download(harness.simulator.add_file("a.png", b"PNG")) == b"PNG"


def test_a_conversation_is_marked_as_read_by_the_bot(harness: Harness) -> None:
    asked = harness.simulator.user("maria").say("hi", to="helpdesk-bot")
    harness.client.mark_read(reader="helpdesk-bot", user="maria", message_id=asked.id)
    conversations = harness.client.conversations(on_behalf_of="helpdesk-bot", query={"conversationType": "user"})
    assert [int(conversation["unreadMessageCount"]) for conversation in conversations] == [0]


def test_joined_groups_are_known_after_refresh(harness: Harness) -> None:
    harness.bots["helpdesk"].event(MembershipEvent)(lambda ctx: None)
    harness.simulator.add_group("quiet", members=["maria", "helpdesk-bot"])
    harness.simulator.add_group("others", members=["maria"])
    harness.channel.attach(harness)  # type: ignore[arg-type]
    harness.channel.refresh()
    found = {conversation.id for conversation in harness.remembered}
    assert "group_quiet" in found
    assert "group_others" not in found
    assert all(conversation.is_group and conversation.bot == "helpdesk" for conversation in harness.remembered)
