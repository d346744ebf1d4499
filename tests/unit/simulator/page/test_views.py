"""The page's routes: who may ask, what a page gets, and what it can do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

import cometbot.http.page
import cometbot.simulator.page
from cometbot.simulator import Simulator
from cometbot.simulator.page import page_data
from cometbot.simulator.workbench import Workbench

FILES = [
    file
    for package in (cometbot.simulator.page, cometbot.http.page)
    for file in (Path(package.__file__).parent / "static").iterdir()
]


@pytest.fixture
def client(simulator: Simulator) -> FlaskClient:
    return simulator.app.test_client()


class RecordingWorkbench(Workbench):
    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def expire(self, name: str) -> bool:
        self.asked.append(("expire", name))
        return name == "m1"

    def run_job(self, name: str) -> bool:
        self.asked.append(("run", name))
        return name == "j1"

    def retry(self, name: str) -> bool:
        self.asked.append(("retry", name))
        return name == "m1"

    def discard(self, name: str) -> bool:
        self.asked.append(("discard", name))
        return name == "m1"


def test_content_security_policy_forbids_inline_scripts(client: FlaskClient) -> None:
    response = client.get("/")
    policy = response.headers["Content-Security-Policy"]
    assert response.status_code == 200
    assert response.mimetype == "text/html"
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"<script(?![^>]*src=)|style=|\son\w+=", response.text)


def test_everything_that_the_pages_files_name_exists(client: FlaskClient) -> None:
    named = set(re.findall(r'(?:href|src)="(/page/[^"]+)"', client.get("/").text))
    for file in (file for file in FILES if file.suffix == ".js"):
        named |= {f"/page/{name}" for name in re.findall(r'from "\./([^"]+)"', file.read_text())}
    assert len(named) > 20
    assert {name for name in named if client.get(name).status_code != 200} == set()


def test_no_file_reaches_for_another_machine_or_writes_markup() -> None:
    text = "\n".join(file.read_text() for file in FILES)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text)
    assert not re.search(r"(?:src|href|import|url)\s*[(=]?\s*[\"'(]https?://", text)


@pytest.mark.parametrize(("name", "mime_type"), [("main.js", "text/javascript"), ("base.css", "text/css")])
def test_a_file_has_its_type_and_is_not_sent_again_unchanged(client: FlaskClient, name: str, mime_type: str) -> None:
    first = client.get(f"/page/{name}")
    again = client.get(f"/page/{name}", headers={"If-None-Match": first.headers["ETag"]})
    assert first.mimetype == mime_type
    assert again.status_code == 304


@pytest.mark.parametrize("path", ["/page/none.js", "/page/../views.py", "/page/%2e%2e/views.py"])
def test_a_file_that_is_not_the_pages_is_not_there(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("path", ["/", "/page/main.js", "/simulator/page", "/simulator/events"])
@pytest.mark.parametrize(
    "foreign", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}], ids=["host", "origin"]
)
def test_a_page_of_another_site_is_refused(client: FlaskClient, path: str, foreign: dict[str, str]) -> None:
    assert client.get(path, headers=foreign).status_code == 403


def test_snapshot_holds_state_and_last_id(client: FlaskClient, simulator: Simulator) -> None:
    said = simulator.user("maria").say("Hello", to="helpdesk")
    simulator.user("helpdesk").react(said, "👍")
    data = client.get("/simulator/page").get_json()["data"]
    assert {user["uid"]: user["isBot"] for user in data["directory"]["users"]} == {
        "maria": False,
        "tom": False,
        "helpdesk": True,
    }
    assert data["directory"]["groups"][0]["members"] == ["maria", "tom", "helpdesk"]
    assert data["directory"]["groups"][0]["scopes"].keys() == {"maria", "tom", "helpdesk"}
    assert [message["data"]["text"] for message in data["messages"]] == ["Hello"]
    assert data["messages"][0]["reactedBy"] == {"👍": ["helpdesk"]}
    assert data["lastId"] == simulator.world.journal.last_id
    assert simulator.api_key not in client.get("/simulator/page").text


@pytest.fixture
def simulator_with_messages(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """Two conversations, of which a page begins with the newest message, and gets three older ones at once."""
    monkeypatch.setattr(page_data, "MAX_FIRST_MESSAGES", 1)
    monkeypatch.setattr(page_data, "MESSAGES_PER_PAGE", 3)
    for number in range(5):
        simulator.user("maria").say(f"one {number}", to="tom")
    simulator.user("maria").say("two", group="ops-room")
    return simulator


def texts(page: Any) -> list[str]:
    return [message["data"]["text"] for message in page["messages"]]


@pytest.mark.usefixtures("simulator_with_messages")
def test_older_messages_of_a_conversation_come_page_by_page(client: FlaskClient) -> None:
    begun = client.get("/simulator/page").get_json()["data"]
    assert (texts(begun), begun["hasEarlier"]) == (["two"], True)
    before = begun["messages"][0]["id"]
    first = client.get(f"/simulator/users/maria/earlier?user=tom&before={before}").get_json()["data"]
    assert (texts(first), first["more"]) == (["one 2", "one 3", "one 4"], True)
    second = client.get(f"/simulator/users/tom/earlier?user=Maria&before={first['before']}").get_json()["data"]
    assert (texts(second), second["more"]) == (["one 0", "one 1"], False)
    nothing = client.get(f"/simulator/users/maria/earlier?group=ops-room&before={before}").get_json()["data"]
    assert (texts(nothing), nothing["more"]) == ([], False)


def test_a_page_that_begins_with_everything_says_so(client: FlaskClient, simulator: Simulator) -> None:
    simulator.user("maria").say("hi", to="tom")
    assert client.get("/simulator/page").get_json()["data"]["hasEarlier"] is False


@pytest.mark.parametrize(
    "query", ["", "user=tom", "before=3", "user=tom&group=ops-room&before=3", "user=tom&before=x", "user=tom&before=-1"]
)
def test_older_messages_need_a_user_or_group(client: FlaskClient, query: str) -> None:
    answer = client.get(f"/simulator/users/maria/earlier?{query}")
    assert answer.status_code == 400
    assert answer.get_json()["error"]["code"] == "ERR_BAD_REQUEST"


def test_a_snapshot_has_another_run_name_after_a_reset(client: FlaskClient, simulator: Simulator) -> None:
    before = client.get("/simulator/page").get_json()["data"]["run"]
    simulator.reset()
    assert client.get("/simulator/page").get_json()["data"]["run"] != before


@pytest.mark.parametrize("act", ["retry", "discard"])
def test_a_dead_letter_is_settled_by_the_workbench(client: FlaskClient, simulator: Simulator, act: str) -> None:
    bench = RecordingWorkbench()
    simulator.workbench = bench
    assert client.post(f"/simulator/dead/m1/{act}", json={}).status_code == 200
    assert client.post(f"/simulator/dead/m2/{act}", json={}).status_code == 404
    assert bench.asked == [(act, "m1"), (act, "m2")]


def test_dialog_is_expired_by_the_workbench(client: FlaskClient, simulator: Simulator) -> None:
    bench = RecordingWorkbench()
    simulator.workbench = bench
    assert client.post("/simulator/dialogs/m1/expire", json={}).status_code == 200
    answer = client.post("/simulator/dialogs/m2/expire", json={})
    assert answer.status_code == 404
    assert "no dialog m2 that waits for a time" in answer.get_json()["error"]["message"]
    assert bench.asked == [("expire", "m1"), ("expire", "m2")]


@pytest.mark.parametrize(
    "foreign", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}], ids=["host", "origin"]
)
def test_another_site_expires_no_dialog(client: FlaskClient, simulator: Simulator, foreign: dict[str, str]) -> None:
    bench = RecordingWorkbench()
    simulator.workbench = bench
    assert client.post("/simulator/dialogs/m1/expire", json={}, headers=foreign).status_code == 403
    assert bench.asked == []


def test_job_is_run_by_the_workbench(client: FlaskClient, simulator: Simulator) -> None:
    assert client.post("/simulator/jobs/j1/run", json={}).status_code == 404
    bench = RecordingWorkbench()
    simulator.workbench = bench
    assert client.post("/simulator/jobs/j1/run", json={}).status_code == 200
    answer = client.post("/simulator/jobs/j2/run", json={})
    assert answer.status_code == 404
    assert "no job j2" in answer.get_json()["error"]["message"]
    assert client.post("/simulator/jobs/j1/run", json={}, headers={"Host": "evil.example"}).status_code == 403
    assert bench.asked == [("run", "j1"), ("run", "j2")]


def test_a_simulator_by_itself_has_no_dialogs(client: FlaskClient) -> None:
    assert client.post("/simulator/dialogs/m1/expire", json={}).status_code == 404


def test_an_unknown_act_does_nothing_to_a_dead_letter(client: FlaskClient, simulator: Simulator) -> None:
    bench = RecordingWorkbench()
    simulator.workbench = bench
    assert client.post("/simulator/dead/m1/burn", json={}).status_code == 404
    assert bench.asked == []


def test_a_simulator_by_itself_has_no_dead_letters_to_retry(client: FlaskClient) -> None:
    answer = client.post("/simulator/dead/m1/retry", json={})
    assert answer.status_code == 404
    assert "no dead letter m1" in answer.get_json()["error"]["message"]


def test_one_kind_of_misbehaviour_ends_by_itself(client: FlaskClient, simulator: Simulator) -> None:
    simulator.misbehave.fail(500)
    simulator.misbehave.slow(1)
    left: Any = client.delete("/simulator/misbehave?kind=fail").get_json()["data"]
    assert [rule["kind"] for rule in left] == ["slow"]
    assert client.delete("/simulator/misbehave").get_json()["data"] == []
