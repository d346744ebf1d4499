"""A word of feedback on its way to the readers, and an answer on its way back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cometbot import Custom, Media
from cometbot.models import User
from cometbot.testing import BotClient
from examples.feedback import make_bot


@pytest.fixture(params=["fake", "cometchat", "simplex"])
def maria(request: pytest.FixtureRequest) -> Iterator[BotClient]:
    """Maria, where Rita reads."""
    is_simplex = request.param == "simplex"  # which gives numbers: the first contact gets 4
    with BotClient(make_bot(("4" if is_simplex else "rita",)), user="rita", channel=request.param) as client:
        client.send("/whoami")
        yield client.as_user("maria")


def test_feedback_reaches_the_readers_and_is_thanked_for_once(maria: BotClient) -> None:
    assert maria.send("Too loud").text == "Thank you! We read it."
    assert not maria.send("Really")
    assert "Maria writes:\nToo loud" in maria.as_user("rita").said().text


def test_an_answer_goes_back_by_name(maria: BotClient) -> None:
    maria.send("Too loud")

    assert maria.as_user("rita").send("/answer maria We turn it down").text == "Sent to maria."
    assert maria.said()[-1].text == "We turn it down"


def test_an_answer_goes_back_by_quoting(maria: BotClient) -> None:
    maria.send("Too loud")
    rita = maria.as_user("rita")

    assert rita.send("We turn it down", quote=rita.said()[-1].id).text == "Sent to Maria."
    assert maria.said()[-1].text == "We turn it down"


def test_people_of_one_name_are_told_apart_by_their_number() -> None:
    client = BotClient(make_bot(("rita",)), user="rita")
    client.as_user(User("m1", "Maria")).send("Too loud")
    client.as_user(User("m2", "Maria")).send("Too quiet")

    assert client.said()[-1].text == "Maria (m2) writes:\nToo quiet"
    assert client.send("/answer Maria Which?").text == "Maria may be any of m1, m2: answer the number."
    assert client.send("Better now?", quote=client.said()[1].id).text == "Sent to m2."
    assert client.as_user(User("m2", "Maria")).said()[-1].text == "Better now?"


def test_nobody_is_answered_who_has_not_written(maria: BotClient) -> None:
    assert maria.as_user("rita").send("/answer tom hello").text == "tom has not written."


def test_only_readers_answer(maria: BotClient) -> None:
    assert maria.send("/answer 4 hello").text == "Only readers can answer."


def test_a_reader_is_told_how_to_answer(maria: BotClient) -> None:
    assert "/answer NAME" in maria.as_user("rita").send("hello").text


def test_a_file_is_passed_on_with_its_words(maria: BotClient) -> None:
    maria.send_file(b"%PDF-1.7", name="loud.pdf", caption="See page 3")
    (file,) = (said.message for said in maria.as_user("rita").said() if "writes" in said.text)

    assert isinstance(file, Media | Custom)
    assert "Maria writes:\nSee page 3" in file.to_text()


def test_writers_are_remembered_in_a_file(tmp_path: Path) -> None:
    path = f"{tmp_path}/feedback.db"
    BotClient(make_bot(("rita",), path)).send("Too loud")

    assert BotClient(make_bot(("rita",), path), user="rita").send("/answer maria Thanks").text == "Sent to maria."
