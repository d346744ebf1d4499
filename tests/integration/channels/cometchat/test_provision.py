"""Bots registered, compared and changed on a simulated CometChat over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cometbot import Bot
from cometbot.channels.cometchat import CometChatClient
from cometbot.channels.cometchat import provision as it
from cometbot.channels.cometchat.provision import plan_sync
from cometbot.errors import ConfigurationError, NotFound, Rejected
from cometbot.settings import Credentials, Secret, Settings
from cometbot.simulator import Simulator

URL = "http://127.0.0.1:9/cometchat/shop"
PLAN = it.BotPlan(uid="shop", url=URL, credentials=Credentials("cc", Secret("s3cr3t-value")))
SETTINGS = Settings(callback_username="cc", callback_password=Secret("s3cr3t-value"))


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def client(simulator: Simulator) -> Iterator[CometChatClient]:
    client = CometChatClient(simulator.api_url, simulator.api_key)
    yield client
    client.close()


def changes(simulator: Simulator) -> list[str]:
    return [f"{entry.method} {entry.path}" for entry in simulator.requests if entry.method != "GET"]


def test_create_bot_user_is_missing_it_is_made_first(client: CometChatClient, simulator: Simulator) -> None:
    bot, is_new = it.create_bot(client, PLAN)
    assert (bot.uid, bot.enabled, is_new) == ("shop", True, True)
    assert changes(simulator) == ["POST /v3/users", "POST /v3/bots"]


def test_create_bot_user_is_there_it_stays_as_it_is(client: CometChatClient, simulator: Simulator) -> None:
    simulator.add_user("shop", "Shoes")
    assert it.create_bot(client, PLAN)[1] is False
    assert simulator.world.directory.users["shop"].name == "Shoes"


def test_create_bot_as_registered_it_is_found_and_listed(client: CometChatClient) -> None:
    made, _ = it.create_bot(client, PLAN)
    assert it.find_bot(client, "shop") == made
    assert list(it.list_bots(client)) == [made]
    assert made.password == Secret("s3cr3t-value")


def test_find_bot_and_has_user_without_match(client: CometChatClient) -> None:
    assert it.find_bot(client, "shop") is None
    assert it.has_user(client, "shop") is False


def test_find_bot_with_wrong_base_url_raises(simulator: Simulator) -> None:
    client = CometChatClient(simulator.url + "/v3/x", simulator.api_key)
    for find in (it.find_bot, it.has_user):
        with pytest.raises(NotFound):
            find(client, "shop")
    client.close()


def test_update_bot_is_disabled_it_stays_disabled(client: CometChatClient, simulator: Simulator) -> None:
    simulator.add_bot("shop", URL, enabled=False, group_setting="slashedMessages", username="cc", password="pw")
    bot = it.update_bot(client, "shop", {"webhookURL": URL + "2"})
    assert (bot.enabled, bot.group_setting, bot.url, bot.username) == (False, "slashedMessages", URL + "2", "cc")


def test_plan_sync_only_reads_and_apply_writes(client: CometChatClient, simulator: Simulator) -> None:
    bot = Bot("shop")
    plan = plan_sync(client, bot, SETTINGS, url="http://127.0.0.1:9")
    assert plan.is_user_missing
    assert changes(simulator) == []
    plan.apply(client)
    assert plan_sync(client, bot, SETTINGS).differences == ()


def test_plan_sync_changes_a_differing_password(client: CometChatClient, simulator: Simulator) -> None:
    simulator.add_bot("shop", URL, username="cc", password="old", group_setting="none")
    plan = plan_sync(client, Bot("shop"), SETTINGS)
    assert [item.field for item in plan.differences] == ["password"]
    plan.apply(client)
    assert simulator.world.directory.bots["shop"].password == "s3cr3t-value"


def test_plan_sync_with_anonymous_calls_ignores_credentials(client: CometChatClient, simulator: Simulator) -> None:
    simulator.add_bot("shop", URL, username="cc", password="old", group_setting="none")
    plan = plan_sync(client, Bot("shop"), Settings(allow_anonymous_callbacks=True), group_setting="allMessages")
    assert [item.field for item in plan.differences] == ["messages of groups"]
    plan.apply(client)
    assert simulator.world.directory.bots["shop"].credentials == ("cc", "old")


def test_plan_sync_url_argument_overrides_public_url(client: CometChatClient) -> None:
    settings = Settings(public_url="http://127.0.0.1:8", allow_anonymous_callbacks=True)
    assert plan_sync(client, Bot("shop"), settings).wanted.url == "http://127.0.0.1:8/cometchat/shop"
    given = plan_sync(client, Bot("shop"), settings, url="http://127.0.0.1:7")
    assert given.wanted.url == "http://127.0.0.1:7/cometchat/shop"


def test_plan_sync_rejects_long_uid_before_any_request(client: CometChatClient, simulator: Simulator) -> None:
    with pytest.raises(ConfigurationError, match="takes 50"):
        plan_sync(client, Bot("shop", cometchat_uid="x" * 51), SETTINGS)
    assert len(simulator.requests) == 0


def test_carry_out_somebody_was_faster_it_is_refused(client: CometChatClient, simulator: Simulator) -> None:
    plan = plan_sync(client, Bot("shop"), SETTINGS, url="http://127.0.0.1:9")
    simulator.add_bot("shop", URL)
    with pytest.raises(Rejected) as caught:
        plan.apply(client)
    assert caught.value.code == "ERR_BOT_ALREADY_EXISTS"
