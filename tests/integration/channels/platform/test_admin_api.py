"""The Admin API: bots, keys, and the config at run time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from cometbot.settings import Secret
from tests.integration.channels.platform.conftest import ADMIN, ApiClient, Person, Site, wait_until

KEY = re.compile(r"[0-9a-z]{26}:[A-Za-z0-9]{26}")


def test_a_bot_is_made_with_a_key_that_opens_the_bot_api(site: Site) -> None:
    answer = site.admin.post("admin-api/bot", {"name": "Test bot", "description": "Just testing bot."})
    bot = answer.json["bot"]

    assert answer.status_code == 201
    assert set(answer.json) == {"bot", "key"}
    assert bot == {"id": bot["id"], "name": "Test bot", "description": "Just testing bot."}
    assert KEY.fullmatch(answer.json["key"])
    assert answer.json["key"].startswith(bot["id"] + ":")
    assert site.anonymous.get("bot-api/bot", headers={"Authorization": answer.json["key"]}).json == bot


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "bot name must not be empty"),
        ({"name": "helpdesk"}, "Bot with this name already exists."),
        ({"name": "HelpDesk"}, "Bot with this name already exists."),
        ({"name": " helpdesk "}, "Bot with this name already exists."),
        ({"name": "Taken"}, "Bot with this name already exists."),
        ({"name": "x", "description": "x" * 513}, "bot description should not be longer than 512 characters"),
        ({"name": "x", "avatar": "nonsense"}, "specified url is not valid"),
    ],
)
def test_a_bot_that_may_not_be_is_not_made(site: Site, body: dict[str, Any], message: str) -> None:
    site.external_bot("Taken")
    answer = site.admin.post("admin-api/bot", body)

    assert (answer.status_code, answer.json) == (400, {"message": message})
    assert len(site.anonymous.get("client-api/bots").json) == 2


def test_key_is_stored_as_a_hash_and_can_be_recovered(site: Site, tmp_path: Path) -> None:
    made = site.admin.post("admin-api/bot", {"name": "Test bot"}).json
    path, old = f"admin-api/bot/{made['bot']['id']}/key", made["key"]

    assert site.admin.get(path).json == {"key": old}
    new = site.admin.put(path).json["key"]
    assert new != old
    assert site.admin.get(path).json == {"key": new}
    assert site.anonymous.get("bot-api/bot", headers={"Authorization": old}).json == {"message": "Invalid bot key."}
    assert site.anonymous.get("bot-api/bot", headers={"Authorization": new}).status_code == 200
    stored = b"".join(file.read_bytes() for file in tmp_path.rglob("platform.db*"))
    assert made["bot"]["id"].encode() in stored
    assert old.partition(":")[2].encode() not in stored
    assert new.partition(":")[2].encode() not in stored


def test_key_works_but_is_unrecoverable_after_secret_change(make_site: Callable[..., Site], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    first = make_site(database_url=url)
    answer = first.admin.post("admin-api/bot", {"name": "Test bot"})
    assert answer.status_code == 201, answer.text
    made = answer.json
    second = make_site(database_url=url, platform_admin_secret_key=Secret("another-secret"))
    admin = ApiClient(second.app.test_client(), "another-secret")

    assert second.anonymous.get("bot-api/bot", headers={"Authorization": made["key"]}).status_code == 200
    unknown = admin.get(f"admin-api/bot/{made['bot']['id']}/key")
    assert (unknown.status_code, unknown.json) == (404, {"message": "Key not found."})


def test_deleted_bot_leaves_nothing(site: Site, maria: Person) -> None:
    bot_id, bot = site.external_bot()
    bot.post("bot-api/bot/commands", [{"alias": "help"}])
    chats = [maria.create_chat(bot_id) for _ in range(3)]
    maria.send_message(chats[0], "hi")
    gone = site.admin.delete(f"admin-api/bot/{bot_id}")

    assert (gone.status_code, gone.json) == (200, {"message": "Bot deleted."})
    assert bot.get("bot-api/bot").json == {"message": "Invalid bot key."}
    assert [item["id"] for item in site.anonymous.get("client-api/bots").json] == ["helpdesk"]
    assert maria.get(f"client-api/chat/{chats[0]}/messages").json == {"message": "Chat not found."}
    assert maria.get(f"client-api/chats?bot_id={bot_id}").json == {"message": "Bot not found."}
    assert maria.get("page-api/start").json["chats"] == []


def test_key_of_a_deleted_bot_does_not_open_one_of_the_same_name(site: Site) -> None:
    bot_id, old = site.external_bot("Weather")
    site.admin.delete(f"admin-api/bot/{bot_id}")
    new_id, new = site.external_bot("Weather")

    assert new_id != bot_id
    assert old.get("bot-api/bot").json == {"message": "Invalid bot key."}
    assert new.get("bot-api/bot").status_code == 200


@pytest.mark.parametrize(("method", "part"), [("DELETE", ""), ("GET", "/key"), ("PUT", "/key")])
def test_local_bot_has_no_key_and_cannot_be_deleted(site: Site, method: str, part: str) -> None:
    unknown = site.admin.call_api(method, f"admin-api/bot/nothing{part}")
    served = site.admin.call_api(method, f"admin-api/bot/helpdesk{part}")

    assert unknown.status_code == 404
    assert served.status_code == (404 if method == "GET" else 409)
    assert [bot["id"] for bot in site.anonymous.get("client-api/bots").json] == ["helpdesk"]


def test_wrong_admin_keys_name_their_setting(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    for key in ("wr0ng-key", "wr0ng-again"):
        site.anonymous.post("admin-api/bot", {"name": "Mallory"}, headers={"Authorization": key})
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1  # once a minute
    assert "PLATFORM_ADMIN_SECRET_KEY" in warnings[0]
    assert "wr0ng" not in warnings[0]


@pytest.mark.parametrize(
    "key",
    ["admin", f"Bearer {ADMIN}", f"{ADMIN} x", f"{ADMIN}x", ADMIN[:-1], ADMIN.upper(), f"{ADMIN}:", "\xff", "a" * 8000],
)
def test_a_wrong_admin_key_in_any_form_opens_nothing(site: Site, key: str) -> None:
    answer = site.anonymous.post("admin-api/bot", {"name": "Mallory"}, headers={"Authorization": key})

    assert (answer.status_code, answer.json) == (403, {"message": "Access denied."})
    assert len(site.anonymous.get("client-api/bots").json) == 1


def test_admin_api_is_closed_without_a_key_or_setting(
    make_site: Callable[..., Site],
) -> None:
    site = make_site()
    open_to_nobody = make_site(platform_admin_secret_key=Secret(""))

    assert site.anonymous.put("admin-api/config").json == {"message": "Admin key is required."}
    for key in ("", " ", "x", "\x00"):
        answer = open_to_nobody.anonymous.put(
            "admin-api/config", headers={"Authorization": key} if key.strip("\x00") else {}
        )
        assert answer.status_code == 403


def guess(site: Site, key: str, address: str) -> TestResponse:
    """Send an admin key from ``address``."""
    given = {"Authorization": key}
    return site.anonymous.put("admin-api/config", headers=given, environ_overrides={"REMOTE_ADDR": address})


def test_address_that_guesses_the_admin_key_is_slowed_down(site: Site) -> None:
    answers = [guess(site, f"guess{number}", "192.0.2.1") for number in range(40)]
    statuses = [answer.status_code for answer in answers]

    assert statuses[:30] == [403] * 30
    assert set(statuses[31:]) == {429}
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert guess(site, ADMIN, "192.0.2.1").status_code == 429, "a key that is compared can be guessed"


def test_guesses_of_others_do_not_lock_out_the_right_key(site: Site) -> None:
    for number in range(310):
        guess(site, f"guess{number}", f"192.0.2.{number % 200}")

    assert guess(site, "guess", "192.0.2.1").status_code == 429
    assert guess(site, ADMIN, "198.51.100.1").status_code == 200


def test_wrong_bot_keys_of_an_address_lock_out_no_bot(site: Site) -> None:
    _, bot = site.external_bot()
    wrong = [site.anonymous.get("bot-api/bot", headers={"Authorization": "x:y"}).status_code for _ in range(40)]

    assert set(wrong[31:]) == {429}
    assert bot.get("bot-api/bot").status_code == 200
    assert site.admin.put("admin-api/config").status_code == 200


def test_config_is_reloaded_and_an_invalid_one_is_ignored(make_site: Callable[..., Site], tmp_path: Path) -> None:
    file = tmp_path / "botyard.config.json"
    file.write_text('{"service": {"name": "One"}}')
    site = make_site(platform_config=str(file))
    file.write_text('{"service": {"name": "Two"}, "limits": {"message": {"maxBodyLength": 3}}}')
    before = site.anonymous.get("client-api/service-info").json["name"]
    reloaded = site.admin.put("admin-api/config")

    assert before == "One"
    assert (reloaded.status_code, reloaded.json) == (200, {"message": "Config reloaded."})
    assert site.anonymous.get("client-api/service-info").json["name"] == "Two"
    maria = site.sign_up()
    refused = maria.post("client-api/chat/message", {"chatId": maria.create_chat(), "body": "long"})
    assert refused.json == {"message": "maximum allowed body length is 3 characters"}
    file.write_text('{"service":\n {"naem": "Three"}}')
    wrong = site.admin.put("admin-api/config")
    assert wrong.status_code == 409
    assert "line 2: unknown field service.naem. Did you mean service.name?" in wrong.json["message"]
    assert site.anonymous.get("client-api/service-info").json["name"] == "Two"


def test_a_config_that_is_read_again_reaches_the_other_processes(
    make_site: Callable[..., Site], tmp_path: Path
) -> None:
    file = tmp_path / "botyard.config.json"
    file.write_text(json.dumps({"service": {"name": "One"}}))
    url = f"sqlite:///{tmp_path}/shared.db"
    first, second = (make_site(database_url=url, platform_config=str(file)) for _ in range(2))
    assert second.anonymous.get("client-api/service-info").json["name"] == "One"
    file.write_text(json.dumps({"service": {"name": "Two"}}))
    first.admin.put("admin-api/config")

    assert wait_until(lambda: second.anonymous.get("client-api/service-info").json["name"] == "Two")
