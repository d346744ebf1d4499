"""Bots of an app that are pointed elsewhere for a while."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cometbot.channels.cometchat import CometChatClient
from cometbot.channels.cometchat.provision import BotPlan, RegisteredBot, find_bot
from cometbot.cli.dev import registrations as module
from cometbot.cli.dev.registrations import TemporaryRegistrations
from cometbot.cli.dev.undo_journal import UndoJournal
from cometbot.errors import NotFound, OutcomeUnknown, Rejected
from cometbot.settings import Credentials, Secret
from cometbot.simulator import Simulator

OLD = "https://old.example/cometchat/shop"
PLAN = BotPlan(
    uid="shop",
    url="https://tunnel.example/cometchat/shop",
    group_setting="allMessages",
    credentials=Credentials("cometchat", Secret("for-this-run")),
)


@pytest.fixture
def client(simulator: Simulator) -> Iterator[CometChatClient]:
    client = CometChatClient(simulator.api_url, simulator.api_key, app_id=simulator.app_id)
    yield client
    client.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[UndoJournal]:
    with UndoJournal(tmp_path / "ledger") as journal:
        yield journal


@pytest.fixture
def registrations(
    client: CometChatClient, journal: UndoJournal, monkeypatch: pytest.MonkeyPatch
) -> TemporaryRegistrations:
    monkeypatch.setattr(module, "_RETRY_INTERVAL", 0.01)
    return TemporaryRegistrations(client, journal)


def registered(client: CometChatClient) -> RegisteredBot:
    found = find_bot(client, "shop")
    assert found is not None
    return found


def add(simulator: Simulator, *, username: str = "old", enabled: bool = False) -> None:
    password = "old-secret" if username else ""
    simulator.add_bot(
        "shop", OLD, username=username, password=password, group_setting="mentionedMessages", enabled=enabled
    )


@pytest.mark.parametrize("username", ["old", ""])
@pytest.mark.parametrize("enabled", [True, False])
def test_a_bot_is_put_back_in_all_that_was_changed(
    simulator: Simulator, client: CometChatClient, registrations: TemporaryRegistrations, username: str, enabled: bool
) -> None:
    add(simulator, username=username, enabled=enabled)
    before = registered(client)
    assert registrations.register(PLAN) == before
    now = registered(client)
    assert (now.url, now.group_setting, now.enabled) == (PLAN.url, "allMessages", True)
    assert (now.uses_basic_auth, now.username, now.password) == (True, "cometchat", Secret("for-this-run"))
    assert [item.text for item in registrations.restore_all()] == [f"CometChat calls {OLD} for shop again"]
    after = registered(client)
    assert (after.url, after.group_setting, after.enabled) == (OLD, "mentionedMessages", enabled)
    assert after.uses_basic_auth is bool(username)
    if username:
        assert (after.username, after.password) == (before.username, before.password)
    assert not registrations.uids


def test_the_group_setting_can_be_left_as_it_is(
    simulator: Simulator, client: CometChatClient, registrations: TemporaryRegistrations
) -> None:
    add(simulator)
    registrations.register(PLAN, keeps_group_setting=True)
    assert registered(client).group_setting == "mentionedMessages"


def test_what_was_no_bot_is_none_afterwards(client: CometChatClient, registrations: TemporaryRegistrations) -> None:
    assert registrations.register(PLAN, keeps_group_setting=True) is None
    assert registered(client).group_setting == "allMessages"
    assert [item.text for item in registrations.restore_all()] == ["shop is unregistered again; its user is kept"]
    assert find_bot(client, "shop") is None
    assert client.get_user("shop")["uid"] == "shop"


def test_what_somebody_else_has_changed_meanwhile_stays(
    simulator: Simulator, client: CometChatClient, registrations: TemporaryRegistrations
) -> None:
    add(simulator)
    registrations.register(PLAN)
    client.update_bot("shop", {"webhookURL": "https://new.example/cometchat/shop"})
    assert [item.text for item in registrations.restore_all()] == [
        "shop was changed on CometChat meanwhile; left as it is"
    ]
    assert registered(client).url == "https://new.example/cometchat/shop"
    assert not registrations.uids


def test_a_bot_that_somebody_has_deleted_meanwhile_stays_deleted(
    simulator: Simulator, client: CometChatClient, registrations: TemporaryRegistrations
) -> None:
    add(simulator)
    registrations.register(PLAN)
    client.delete_bot("shop")
    assert "left as it is" in registrations.restore("shop").text
    with pytest.raises(NotFound):
        client.get_bot("shop")


def test_a_change_that_was_refused_leaves_everything_as_it_was(
    simulator: Simulator, client: CometChatClient, registrations: TemporaryRegistrations
) -> None:
    add(simulator)
    simulator.misbehave.fail(500, times=1, routes=["PUT /bots/shop"])
    with pytest.raises(OutcomeUnknown):
        registrations.register(PLAN)
    assert registrations.uids == {"shop"}
    assert [item.text for item in registrations.restore_all()] == ["shop is unchanged"]
    assert registered(client).url == OLD


def test_a_change_whose_answer_was_lost_is_put_back(
    simulator: Simulator, client: CometChatClient, registrations: TemporaryRegistrations
) -> None:
    add(simulator)
    simulator.misbehave.drop(before=False, times=1, routes=["PUT /bots/shop"])
    with pytest.raises(OutcomeUnknown):
        registrations.register(PLAN)
    assert registered(client).url == PLAN.url
    assert registrations.restore("shop").error is None
    assert registered(client).url == OLD


def test_putting_back_is_tried_anew_while_cometchat_fails(
    simulator: Simulator, client: CometChatClient, registrations: TemporaryRegistrations
) -> None:
    add(simulator)
    registrations.register(PLAN)
    simulator.misbehave.fail(503, times=2, routes=["GET /bots/shop"])
    assert registrations.restore("shop").error is None
    assert registered(client).url == OLD


def test_what_cannot_be_put_back_stays_noted_for_later(
    simulator: Simulator, client: CometChatClient, registrations: TemporaryRegistrations, journal: UndoJournal
) -> None:
    add(simulator)
    registrations.register(PLAN)
    simulator.misbehave.fail(503, times=module.MAX_ATTEMPTS, routes=["PUT /bots/shop"])
    result = registrations.restore("shop")
    assert isinstance(result.error, OutcomeUnknown)
    assert set(journal.entries) == {"shop"}
    assert registrations.restore("shop").error is None


def test_a_refusal_is_not_tried_anew(
    simulator: Simulator, client: CometChatClient, registrations: TemporaryRegistrations
) -> None:
    add(simulator)
    registrations.register(PLAN)
    asked = len(simulator.requests)
    simulator.misbehave.fail(400, code="ERR_BAD_REQUEST", routes=["PUT /bots/shop"])
    assert isinstance(registrations.restore("shop").error, Rejected)
    assert sum(entry.method == "PUT" for entry in simulator.requests[asked:]) == 1
