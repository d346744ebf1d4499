from __future__ import annotations

import threading

import pytest

from cometbot.errors import Rejected
from cometbot.simulator import Refusal, Simulator


def test_names_and_keys_are_the_same_for_the_same_seed() -> None:
    first, second, third = Simulator(seed=1), Simulator(seed=1), Simulator(seed=2)
    assert first.api_key == second.api_key != third.api_key
    assert len(first.api_key) == 40
    assert first.api_key != first.auth_key
    assert (
        first.user("maria").say("x", to=first.user("tom").uid).muid
        == second.user("maria").say("x", to=second.user("tom").uid).muid
    )


def test_no_secret_is_in_the_repr(simulator: Simulator) -> None:
    assert "s3cr3t-value" not in repr(simulator.world.directory.bots)
    assert simulator.api_key not in repr(simulator)


def test_say_goes_to_a_user_a_group_or_a_thread(simulator: Simulator) -> None:
    maria = simulator.user("maria")
    direct = maria.say("hi", to="HELPDESK")
    grouped = maria.say("hi", group="ops-room")
    assert (direct.conversation_id, grouped.conversation_id) == ("helpdesk_user_maria", "group_ops-room")
    assert maria.say("more", parent=direct).receiver == "helpdesk"
    assert simulator.user("helpdesk").say("more", parent=direct.id).receiver == "maria"
    threaded = simulator.user("tom").say("more", parent=grouped)
    assert (threaded.receiver, threaded.parent_id) == ("ops-room", grouped.id)


@pytest.mark.parametrize("where", [{}, {"to": "tom", "group": "ops-room"}])
def test_say_to_nobody_or_two_is_refused(simulator: Simulator, where: dict[str, str]) -> None:
    with pytest.raises(Refusal, match="Name"):
        simulator.user("maria").say("hi", **where)


def test_say_guesses_what_an_attachment_is(simulator: Simulator) -> None:
    maria = simulator.user("maria")
    picture = maria.say("look", to="tom", attachments=["https://cdn.example.org/a%20b.png?x=1"])
    assert (picture.type, picture.text) == ("image", "look")
    assert picture.attachments[0] == {
        "url": "https://cdn.example.org/a%20b.png?x=1", "name": "a b.png", "mimeType": "image/png", "extension": "png",
    }  # fmt: skip
    assert maria.say(to="tom", attachments=["https://cdn.example.org/a.pdf"]).type == "file"


def test_say_looks_like_it_came_from_an_app(simulator: Simulator) -> None:
    said = simulator.user("maria").say("hi", to="tom", metadata={"a": 1}, tags=["t"])
    assert str(said.data["resource"]).startswith("WEB-4_1_10-")
    assert said.muid.startswith("_")
    assert (said.data["metadata"], said.tags) == ({"a": 1}, ("t",))


def test_say_can_send_an_empty_text_only_to_be_refused(simulator: Simulator) -> None:
    with pytest.raises(Rejected) as caught:
        simulator.user("maria").say("", to="tom")
    assert caught.value.code == "ERR_EMPTY_MESSAGE_TEXT"


def test_write_sends_any_body(simulator: Simulator) -> None:
    data = {"interactiveData": {"title": "x"}}
    body = {"receiver": "tom", "receiverType": "user", "category": "interactive", "type": "form", "data": data}
    assert simulator.user("maria").write(body).category == "interactive"


def test_actors_edit_react_and_delete(simulator: Simulator) -> None:
    maria = simulator.user("maria")
    said = maria.say("helo", to="helpdesk")
    assert maria.edit(said, "hello").text == "hello"
    assert simulator.user("helpdesk").react(said, "👍").reactions[0].uid == "helpdesk"
    assert simulator.user("helpdesk").unreact(said, "👍").reactions == ()
    assert maria.delete(said).data["action"] == "deleted"
    with pytest.raises(Refusal):
        simulator.user("tom").edit(said, "not mine")


def test_messages_are_chosen_by_conversation_pair_and_place(simulator: Simulator) -> None:
    first = simulator.user("maria").say("1", to="helpdesk")
    second = simulator.user("helpdesk").say("2", to="maria")
    third = simulator.user("tom").say("3", group="ops-room")
    assert simulator.messages(between=("Maria", "helpdesk")) == [first, second]
    assert simulator.messages("group_ops-room") == [third]
    assert simulator.messages(after=first) == [second, third]
    assert simulator.messages(after=second.id) == [third]
    assert simulator.messages() == [first, second, third]
    assert len(simulator.messages(actions=True)) > 3


def test_replies_are_later_bot_messages_of_conversation(simulator: Simulator) -> None:
    bot, maria = simulator.user("helpdesk"), simulator.user("maria")
    bot.say("before", to="maria")
    question = maria.say("hi", to="helpdesk")
    bot.say("elsewhere", to="tom")
    answer = bot.say("hello", to="maria")
    assert simulator.replies(question) == [answer]
    assert simulator.replies("maria") == [answer]
    assert simulator.wait_reply(question) == [answer]
    with pytest.raises(Refusal, match="tom"):
        simulator.replies("tom")


def test_wait_for_wakes_at_a_change(simulator: Simulator) -> None:
    question = simulator.user("maria").say("hi", to="helpdesk")
    timer = threading.Timer(0.02, lambda: simulator.user("helpdesk").say("hello", to="maria"))
    timer.start()
    assert [reply.text for reply in simulator.wait_reply(question, timeout=5)] == ["hello"]
    timer.join()


def test_wait_for_gives_up_and_says_what_happened_last(simulator: Simulator) -> None:
    question = simulator.user("maria").say("hi", to="helpdesk")
    simulator.app.test_client().get("/v3/bots")
    with pytest.raises(TimeoutError, match=r"not met within 0\.01 s.*GET /v3/bots: 401"):
        simulator.wait_reply(question, timeout=0.01)


def test_add_group_makes_members_who_are_missing(simulator: Simulator) -> None:
    simulator.add_group("lab", members=["anna", "tom", "anna"], owner="anna")
    assert list(simulator.world.directory.groups["lab"].members) == ["anna", "tom"]
    assert simulator.world.directory.users["anna"].name == "Anna"


def test_add_webhook_refuses_a_trigger_that_is_none(simulator: Simulator) -> None:
    with pytest.raises(Refusal, match="message_sung"):
        simulator.add_webhook("http://127.0.0.1:1/", ["message_sung"])


def test_configure_refuses_what_there_is_not(simulator: Simulator) -> None:
    with pytest.raises(TypeError, match="colour"):
        simulator.configure(colour="red")


def test_reset_forgets_everything_and_keeps_the_keys(simulator: Simulator) -> None:
    key = simulator.api_key
    simulator.user("maria").say("hi", to="helpdesk")
    simulator.misbehave.fail()
    simulator.reset()
    assert (simulator.messages(), list(simulator.requests), simulator.misbehave.active_rules) == ([], [], [])
    assert simulator.world.directory.users == {}
    assert simulator.api_key == key
    assert simulator.seed_demo().user("maria").say("hi", to="helpdesk").id == "3"
