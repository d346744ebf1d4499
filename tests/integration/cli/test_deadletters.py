"""``cometbot deadletters`` over a real database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cometbot.channels.base import IncomingEvent
from cometbot.cli import main
from cometbot.delivery import Delivery
from cometbot.models import Conversation

MARIA = Conversation("cometchat", "app1", "shop", "maria_user_shop", "maria")


@pytest.fixture
def delivery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Delivery]:
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path / 'bot.db'}"
    monkeypatch.setenv("COMETBOT_DATABASE_URL", url)
    delivery = Delivery([], [], url)
    yield delivery
    delivery.close()


def add_dead_letter(
    delivery: Delivery,
    key: str,
    conversation: Conversation = MARIA,
    error: str = "ValueError: no shoes",
    body: bytes = b"",
) -> str:
    """The id of a new dead letter."""
    body = body or json.dumps({"text": f"Grüße {key}"}).encode()
    delivery.enqueue(IncomingEvent(conversation, key, body, "maria", 1_700_000_000.0))
    with delivery.database.write() as connection:
        mail = delivery.store.mailbox.get_oldest(connection, str(conversation.key))
        assert mail is not None
        delivery.store.mailbox.mark_running(connection, mail)
        delivery.store.mailbox.end(connection, mail, "dead", "shop.track", error)
    return delivery.dead_letters.list()[0].id


def run_command(*words: str) -> Result:
    return CliRunner().invoke(main, ["deadletters", *words])


def test_list_without_dead_letters_says_so(delivery: Delivery) -> None:
    delivery.database.open()
    result = run_command("list")
    assert (result.exit_code, result.output) == (0, "No dead letters.\n")
    assert run_command("list", "--bot", "shop").output == "No dead letters of the bot shop.\n"
    assert json.loads(run_command("list", "--json").output) == []


def test_list_shows_each_with_bot_conversation_and_cause(delivery: Delivery) -> None:
    first, second = (
        add_dead_letter(delivery, "message:1"),
        add_dead_letter(delivery, "message:2", error="KeyError: 'size'"),
    )
    lines = [line.split() for line in run_command("list").output.splitlines()]
    assert ["ID", "Failed", "Bot", "Conversation", "Cause"] in lines
    rows = {line[0]: line for line in lines if line and line[0] in (first, second)}
    assert rows[first][3:] == ["shop", "maria_user_shop", "shop.track:", "ValueError:", "no", "shoes"]
    assert rows[second][-2:] == ["KeyError:", "'size'"]


def test_list_tells_the_same_conversation_of_two_apps_apart(delivery: Delivery) -> None:
    first = add_dead_letter(delivery, "message:1")
    second = add_dead_letter(
        delivery, "message:1", Conversation("cometchat", "app2", "shop", "maria_user_shop", "maria")
    )
    lines = [line.split() for line in run_command("list").output.splitlines()]
    rows = {line[0]: line[3:6] for line in lines if line and line[0] in ("ID", first, second)}
    assert rows["ID"][:2] == ["Account", "Conversation"]
    assert rows[first] == ["shop", "app1", "maria_user_shop"]
    assert rows[second] == ["shop", "app2", "maria_user_shop"]


def test_list_of_one_bot_leaves_out_the_others(delivery: Delivery) -> None:
    add_dead_letter(delivery, "message:1")
    other = add_dead_letter(
        delivery, "message:2", Conversation("cometchat", "app1", "news", "maria_user_news", "maria")
    )
    letters = json.loads(run_command("list", "--bot", "news", "--json").output)
    assert [letter["id"] for letter in letters] == [other]
    assert letters[0]["kind"] == "message"


def test_list_says_when_there_are_more_than_it_shows(delivery: Delivery) -> None:
    for number in range(3):
        add_dead_letter(delivery, f"message:{number}")
    assert "There are more. Show them with --limit 20." in run_command("list", "--limit", "2").output
    assert "There are more" not in run_command("list", "--limit", "3").output


@pytest.mark.parametrize("depth", [500, 1000, 5000])
def test_body_that_is_nested_deep_is_shown(delivery: Delivery, depth: int) -> None:
    body = "[" * depth + "]" * depth
    name = add_dead_letter(delivery, "message:1", body=body.encode())
    result = run_command("show", name)
    assert result.exit_code == 0
    assert "".join(result.output.split()).endswith(body)
    assert json.loads(run_command("show", name, "--json").output)["body"] == body


def test_a_cause_cannot_write_to_the_terminal_what_it_likes(delivery: Delivery) -> None:
    name = add_dead_letter(delivery, "message:1", error="ValueError: \x1b[2J[red]x")
    for result in (run_command("list"), run_command("show", name)):
        assert "\x1b" not in result.output
        assert "[red]x" in result.output


def test_show_shows_cause_handler_and_body(delivery: Delivery) -> None:
    name = add_dead_letter(delivery, "message:1")
    output = run_command("show", name).output
    assert f"dead letter   {name}, a message that could not be handled\n" in output
    assert "handler       shop.track\n" in output
    assert "cause         ValueError: no shoes\n" in output
    assert "after 1 attempt\n" in output
    assert '"text": "Grüße message:1"' in output


def test_show_as_json_is_one_object(delivery: Delivery) -> None:
    name = add_dead_letter(delivery, "message:1")
    letter = json.loads(run_command("show", name, "--json").output)
    assert (letter["id"], letter["error"], letter["handler"]) == (name, "ValueError: no shoes", "shop.track")


@pytest.mark.parametrize("command", ["show", "retry", "discard"])
def test_a_letter_that_does_not_exist_is_wrong_use_and_says_so(delivery: Delivery, command: str) -> None:
    delivery.database.open()
    result = run_command(command, "m99")
    assert result.exit_code == 2
    assert result.stderr == ("cometbot: no dead letter 'm99'. List them with: cometbot deadletters list\n")


def test_retry_makes_a_message_wait_again(delivery: Delivery) -> None:
    name = add_dead_letter(delivery, "message:1")
    result = run_command("retry", name)
    assert (result.exit_code, result.output) == (0, "Requeued 1 dead letter.\n")
    assert delivery.dead_letters.list() == []
    assert delivery.backlog()["shop"].waiting == 1
    assert not delivery.is_idle


def test_retry_of_all_of_one_bot_leaves_the_others(delivery: Delivery) -> None:
    add_dead_letter(delivery, "message:1")
    add_dead_letter(delivery, "message:2")
    other = add_dead_letter(
        delivery, "message:3", Conversation("cometchat", "app1", "news", "maria_user_news", "maria")
    )
    assert run_command("retry", "--all", "--bot", "shop").output == "Requeued 2 dead letters.\n"
    assert [letter.id for letter in delivery.dead_letters.list()] == [other]


def test_discard_gives_up_one_or_all(delivery: Delivery) -> None:
    name = add_dead_letter(delivery, "message:1")
    add_dead_letter(delivery, "message:2")
    assert run_command("discard", name).output == "Discarded 1 dead letter.\n"
    assert run_command("discard", "--all").output == "Discarded 1 dead letter.\n"
    assert run_command("discard", "--all").output == "Discarded 0 dead letters.\n"
    assert delivery.backlog().get("shop") is None or delivery.backlog()["shop"].waiting == 0


@pytest.mark.parametrize("words", [["retry"], ["discard"], ["retry", "m1", "--all"], ["retry", "m1", "--bot", "shop"]])
def test_neither_or_both_of_an_id_and_all_is_a_wrong_use(delivery: Delivery, words: list[str]) -> None:
    name = add_dead_letter(delivery, "message:1")
    result = run_command(*words)
    assert result.exit_code == 2
    assert [letter.id for letter in delivery.dead_letters.list()] == [name]


def test_a_database_that_is_not_there_is_named_and_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COMETBOT_DATABASE_URL", raising=False)
    result = run_command("list")
    assert result.exit_code == 2
    assert f"database not found: {tmp_path / 'cometbot.db'}" in result.stderr
    assert list(tmp_path.iterdir()) == []
