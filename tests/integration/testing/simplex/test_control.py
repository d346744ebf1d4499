"""The people of a stand-in, spoken of from another process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from cometbot.testing import FakeSimplexCLI, FakeSimplexControl
from cometbot.testing.simplex import Person


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[FakeSimplexCLI]:
    with FakeSimplexCLI(files_folder=tmp_path) as made:
        yield made


@pytest.fixture
def control(cli: FakeSimplexCLI) -> Iterator[FakeSimplexControl]:
    with FakeSimplexControl(cli.url) as made:
        yield made


def test_people_do_and_see_the_same_from_afar(cli: FakeSimplexCLI, control: FakeSimplexControl) -> None:
    alice = control.connect("alice", is_bot=True)
    number = alice.say("look", file=("cat.jpg", b"\x00\xff"), live=True, ttl=60)
    alice.edit(number, "look here")
    alice.react(number, "👍")
    team = control.add_group("Team", [alice, "bob"])
    team.say("bob", "hi", mention=True)
    assert control.lines() == cli.lines()
    assert control.lines(alice.chat)[0].text == "look here"
    assert (control.commands, control.clients) == ([], 0)
    control.emit({"type": "x"})
    control.misbehave("drop", "busy", on="/user")
    control.drop()
    assert cli.records[-1] == {"type": "x"}
    assert list(cli.server._faults) == [("drop", "/user"), ("busy", "/user")]


def test_what_cannot_be_done_is_an_error_with_the_reason(control: FakeSimplexControl) -> None:
    with pytest.raises(RuntimeError, match="ValueError: nobody can do 'fly'"):
        control.do("fly")
    with pytest.raises(RuntimeError, match="contactNotFound"):
        Person(control, "@999", "nobody").say("hi")
    with pytest.raises(RuntimeError, match="TypeError"):
        control.do("say")
    assert control.connect("alice").chat == "@4"


@pytest.mark.parametrize("order", ["hello", "[]", "{}", '{"do": 5, "with": {}}'])
def test_invalid_control_request_is_an_error(order: str, cli: FakeSimplexCLI) -> None:
    with connect(f"{cli.url}/control", proxy=None) as socket:
        socket.send(order)
        assert '"error"' in str(socket.recv(5))


def test_fake_cli_restarts_on_request(cli: FakeSimplexCLI, control: FakeSimplexControl) -> None:
    alice = control.connect("alice")
    control.emit({"type": "lost"})
    control.restart(pause=0.1)
    cli.wait_for(lambda: cli.server.waiting_events == 0)
    assert alice.say("still here") > 0
    assert [line.text for line in control.lines()] == ["still here"]
