from __future__ import annotations

from typing import Any

import pytest

from cometbot.simulator import Simulator

PATH = "/users/maria/messages"


@pytest.fixture
def message_ids(simulator: Simulator, clock: Any) -> list[str]:
    """The ids of twelve messages, a second apart, between maria and the bot."""
    ids = []
    for number in range(12):
        clock.time += 1
        sender, other = ("maria", "helpdesk") if number % 2 == 0 else ("helpdesk", "maria")
        ids.append(simulator.user(sender).say(f"text {number}", to=other, muid=f"m{number}").id)
    return ids


def ids_of(answer: Any) -> list[str]:
    return [message["id"] for message in answer.get_json()["data"]]


def test_history_gives_the_newest_ten_oldest_first(rest: Any, message_ids: list[str]) -> None:
    answer = rest("GET", PATH, acting="helpdesk")
    assert ids_of(answer) == message_ids[2:]
    assert answer.get_json()["data"][0]["muid"] == "m2"
    meta = answer.get_json()["meta"]
    assert meta["current"] == {"limit": 10, "count": 10}
    assert (meta["next"]["affix"], meta["next"]["id"]) == ("prepend", message_ids[2])


def test_prepend_pages_back_to_the_beginning(rest: Any, message_ids: list[str]) -> None:
    pages, query = [], "limit=5"
    for _ in range(4):
        answer = rest("GET", f"{PATH}?{query}", acting="helpdesk")
        pages.append(ids_of(answer))
        follow = answer.get_json()["meta"].get("next")
        if not follow:
            break
        query = f"limit=5&affix={follow['affix']}&id={follow['id']}"
    assert pages == [message_ids[7:], message_ids[2:7], message_ids[:2]]


def test_append_gives_what_comes_next_after_an_id(rest: Any, message_ids: list[str]) -> None:
    answer = rest("GET", f"{PATH}?affix=append&id={message_ids[3]}&limit=4", acting="helpdesk")
    assert ids_of(answer) == message_ids[4:8]
    assert answer.get_json()["meta"]["next"]["id"] == message_ids[7]
    last = rest("GET", f"{PATH}?affix=append&id={message_ids[-1]}", acting="helpdesk").get_json()
    assert (last["data"], "next" in last["meta"]) == ([], False)


def test_sent_at_is_a_cursor_too(rest: Any, message_ids: list[str], simulator: Simulator) -> None:
    middle = simulator.message(message_ids[6]).sent_at
    assert ids_of(rest("GET", f"{PATH}?affix=append&sentAt={middle}", acting="helpdesk")) == message_ids[7:]
    assert ids_of(rest("GET", f"{PATH}?affix=prepend&sentAt={middle}", acting="helpdesk")) == message_ids[:6]
    assert (
        ids_of(rest("GET", f"{PATH}?fromTimestamp={middle}&toTimestamp={middle + 1}", acting="helpdesk"))
        == message_ids[6:8]
    )


def test_filters_choose_messages(rest: Any, simulator: Simulator) -> None:
    maria = simulator.user("maria")
    plain = maria.say("plain", to="helpdesk")
    link = maria.say("see https://example.org", to="helpdesk", tags=["red"])
    picture = maria.say(to="helpdesk", attachments=["https://cdn.example.org/a.png"])
    reply = maria.say("reply", parent=plain)
    mention = maria.say("<@uid:tom>", to="helpdesk")
    place = maria.say(to="helpdesk", custom={"lat": 1}, type="location")
    maria.delete(maria.say("gone", to="helpdesk"))
    maria.react(plain, "👍")
    expected = {
        "categories=message&types=image": [picture],
        "category=custom": [place],
        "type=location": [place],
        "tags=red,blue": [link],
        "searchKey=SEE": [link],
        "hasAttachments=true": [picture],
        "attachmentTypes=image,video": [picture],
        "hasMentions=true": [mention],
        "mentionedUids=TOM": [mention],
        "hasLinks=true": [link],
        "hasReactions=true": [plain],
        "hideReplies=true&hideDeleted=true&category=message": [plain, link, picture, mention],
        "sender=helpdesk": [],
    }
    found = {query: ids_of(rest("GET", f"{PATH}?{query}", acting="helpdesk")) for query in expected}
    assert found == {query: [message.id for message in messages] for query, messages in expected.items()}
    assert reply.id in ids_of(rest("GET", PATH, acting="helpdesk"))
    assert len(ids_of(rest("GET", f"{PATH}?onlyDeleted=true", acting="helpdesk"))) == 1


def test_with_tags_shows_tags(rest: Any, simulator: Simulator) -> None:
    simulator.user("maria").say("x", to="helpdesk", tags=["red"])
    assert "tags" not in rest("GET", PATH, acting="helpdesk").get_json()["data"][0]
    assert rest("GET", f"{PATH}?withTags=true", acting="helpdesk").get_json()["data"][0]["tags"] == ["red"]


def test_group_history_is_for_its_members(rest: Any, simulator: Simulator) -> None:
    said = simulator.user("tom").say("x", group="ops-room")
    assert ids_of(rest("GET", "/groups/ops-room/messages?category=message", acting="maria")) == [said.id]
    simulator.add_user("eve")
    answer = rest("GET", "/groups/ops-room/messages", acting="eve")
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (404, "ERR_GROUP_NOT_JOINED")


def test_list_all_shows_a_user_only_their_own_conversations(rest: Any, simulator: Simulator) -> None:
    private = simulator.user("maria").say("x", to="tom")
    public = simulator.user("maria").say("x", group="ops-room")
    simulator.add_group("lab", members=["tom"])
    simulator.user("tom").say("x", group="lab")
    own = ids_of(rest("GET", "/messages?category=message", acting="helpdesk"))
    assert own == [public.id]
    assert ids_of(rest("GET", "/users/tom/messages?category=message&receiverType=user")) == [private.id]
    assert len(ids_of(rest("GET", "/messages?category=message"))) == 3


def test_unread_leaves_out_own_and_read_messages(rest: Any, message_ids: list[str]) -> None:
    rest("POST", "/users/maria/conversation/read", {"messageId": int(message_ids[8])}, acting="helpdesk")
    assert ids_of(rest("GET", f"{PATH}?unread=true", acting="helpdesk")) == [message_ids[10]]
    assert len(ids_of(rest("GET", f"{PATH}?undelivered=true", acting="helpdesk"))) == 6


@pytest.mark.parametrize("query", ["limit=1001", "affix=middle", "id=first", "limit=x"])
def test_wrong_queries_are_refused(rest: Any, query: str) -> None:
    answer = rest("GET", f"{PATH}?{query}", acting="helpdesk")
    assert answer.status_code == 400
    assert set(answer.get_json()["error"]["details"]) == {query.partition("=")[0]}
