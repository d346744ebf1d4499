"""``cometbot users`` against a simulated CometChat over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result

from cometbot.simulator import Simulator

Call = Callable[..., Result]


def test_create_makes_a_user_with_all_that_is_said(cometbot: Call, simulator: Simulator) -> None:
    words = ("--name", "Ann B", "--avatar", "https://x.example/a.png", "--tag", "vip", "--tag", "test")
    result = cometbot("users", "create", "Ann", *words)
    assert (result.exit_code, result.stdout) == (0, "Created the user ann, named Ann B.\n")
    user = simulator.world.directory.users["ann"]
    assert (user.name, user.avatar, user.tags) == ("Ann B", "https://x.example/a.png", ("vip", "test"))


def test_create_without_a_name_one_is_made_of_the_uid(cometbot: Call, simulator: Simulator) -> None:
    told = json.loads(cometbot("users", "create", "ann-b", "--json").stdout)
    assert (told["uid"], told["name"]) == ("ann-b", "Ann b")
    assert simulator.world.directory.users["ann-b"].name == "Ann b"


@pytest.mark.parametrize(
    ("uid", "words", "said"),
    [
        ("tom", (), "the user tom exists already"),
        ("a b", (), "without spaces"),
        ("x" * 101, (), "1 to 100 characters"),
        ("ann", ("--name", "x" * 101), "1 to 100 characters"),
        ("ann", ("--avatar", "no-url"), "avatar"),
        ("ann", ("--tag", ""), "tags"),
    ],
)
def test_create_rejected_by_cometchat_is_an_error(
    cometbot: Call, simulator: Simulator, uid: str, words: tuple[str, ...], said: str
) -> None:
    simulator.add_user("tom")
    result = cometbot("users", "create", uid, *words)
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (2, "", 1)
    assert said in result.stderr
    assert set(simulator.world.directory.users) == {"tom"}


def test_create_answer_moves_the_cursor_it_is_shown_without(cometbot: Call) -> None:
    assert "\x1b" not in cometbot("users", "create", "ann", "--name", "A\x1b[2Jnn").stdout
