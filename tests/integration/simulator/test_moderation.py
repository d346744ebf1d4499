"""Rules of the moderation, which ask a URL about each message before others get it."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import requests

from cometbot.simulator import Simulator
from cometbot.simulator.server import LoopbackServer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class Judge:
    """A Custom API: ``bodies`` are what it was asked, ``decide`` makes the status and the body of each answer."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.credentials: list[str] = []
        self.decide: Callable[[dict[str, Any]], tuple[int, Any]] = self.block_casinos
        self.server = LoopbackServer(self.handle, 0)
        self.url = f"http://127.0.0.1:{self.server.port}/moderation"

    def handle(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = json.loads(environ["wsgi.input"].read())
        self.bodies.append(body)
        self.credentials.append(environ.get("HTTP_AUTHORIZATION", ""))
        (message,) = body["contextMessages"][-1].values()
        status, answer = self.decide(message)
        start_response(f"{status} X", [("Content-Type", "application/json")])
        return [answer if isinstance(answer, bytes) else json.dumps(answer).encode()]

    @staticmethod
    def block_casinos(message: dict[str, Any]) -> tuple[int, Any]:
        match = "casino" in message["data"].get("text", "")
        return 200, {"isMatchingCondition": match, "confidence": 0.95, "reason": "gambling" if match else ""}


@pytest.fixture
def judge() -> Iterator[Judge]:
    judge = Judge()
    yield judge
    judge.server.stop()


@pytest.fixture
def moderated(simulator: Simulator, judge: Judge) -> Simulator:
    simulator.add_moderation_rule("No gambling", judge.url, username="mod", password="s3cr3t", id="gambling")
    return simulator


def status_of(simulator: Simulator, message_id: str) -> str:
    return str(simulator.message(message_id).data["moderation"]["status"])


def changes(simulator: Simulator, prefix: str = "") -> list[str]:
    triggers = [entry.trigger for entry in simulator.world.journal.changes]
    return [trigger for trigger in triggers if trigger.startswith(prefix)]


def test_approved_message_is_relayed_once(moderated: Simulator, judge: Judge, receiver: Any) -> None:
    said = moderated.user("maria").say("hello", to="helpdesk")
    assert said.data["moderation"] == {"status": "pending"}
    moderated.wait_idle()
    assert status_of(moderated, said.id) == "approved"
    assert receiver.texts == ["hello"]
    assert receiver.bodies[0]["data"]["data"]["moderation"]["status"] == "approved"
    assert changes(moderated, "moderation") == ["moderation_engine_approved"]


def test_blocked_message_reaches_nobody(moderated: Simulator, judge: Judge, receiver: Any) -> None:
    said = moderated.user("maria").say("our casino", to="helpdesk")
    moderated.user("maria").say("sorry", to="helpdesk")
    moderated.wait_idle()
    assert status_of(moderated, said.id) == "disapproved"
    assert receiver.texts == ["sorry"]
    assert changes(moderated, "moderation") == ["moderation_engine_blocked", "moderation_engine_approved"]
    data = next(item.data for item in moderated.world.journal.changes if item.trigger == "moderation_engine_blocked")
    assert data["message"]["data"]["moderation"]["rule"]["id"] == "gambling"
    assert data["moderation"][0]["rule"]["action"] == ["blockMessage"]


def test_rule_is_asked_as_documented(moderated: Simulator, judge: Judge) -> None:
    moderated.user("maria").say("first", to="tom")
    moderated.user("tom").say("second", to="maria")
    said = moderated.user("maria").say("third", to="tom")
    moderated.wait_idle()
    *context, last = judge.bodies[-1]["contextMessages"]
    assert context == [{"maria": "first"}, {"tom": "second"}]
    assert list(last) == ["tom"]
    assert (last["tom"]["id"], last["tom"]["sender"], last["tom"]["data"]["text"]) == (said.id, "maria", "third")
    assert last["tom"]["data"]["moderation"] == {"status": "pending"}
    assert base64.b64decode(judge.credentials[0].removeprefix("Basic ")) == b"mod:s3cr3t"
    assert "s3cr3t" not in repr(list(moderated.callbacks))


@pytest.mark.parametrize(("count", "context"), [(0, []), (1, [{"maria": "b"}])])
def test_context_is_as_long_as_set(moderated: Simulator, judge: Judge, count: int, context: Any) -> None:
    moderated.configure(moderation_context=count)
    for text in ("a", "b", "c"):
        moderated.user("maria").say(text, to="tom")
    moderated.wait_idle()
    assert judge.bodies[-1]["contextMessages"][:-1] == context


def test_captioned_picture_is_judged_twice(moderated: Simulator, judge: Judge) -> None:
    url = moderated.add_file("a.png", b"x", "image/png")
    moderated.user("maria").say("look", to="tom", attachments=[url])
    moderated.wait_idle()
    assert len(judge.bodies) == 2
    assert [decision.content for decision in moderated.moderator.decisions] == ["text", "image"]


def test_only_chosen_contents_are_judged(simulator: Simulator, judge: Judge, receiver: Any) -> None:
    simulator.add_moderation_rule("Pictures", judge.url, ["image"])
    said = simulator.user("maria").say("our casino", to="helpdesk")
    simulator.user("maria").say("", to="helpdesk", custom={"a": 1})
    simulator.wait_idle()
    assert "moderation" not in said.data
    assert judge.bodies == []
    assert len(receiver.bodies) == 2


def test_confidence_must_exceed_the_threshold(simulator: Simulator, judge: Judge, receiver: Any) -> None:
    simulator.add_moderation_rule("No gambling", judge.url, threshold=95)
    simulator.user("maria").say("our casino", to="helpdesk")
    simulator.wait_idle()
    assert receiver.texts == ["our casino"]


def test_flagged_message_is_relayed(simulator: Simulator, judge: Judge, receiver: Any) -> None:
    simulator.add_moderation_rule("No gambling", judge.url, action="flag")
    simulator.user("maria").say("our casino", to="helpdesk")
    simulator.wait_idle()
    assert receiver.texts == ["our casino"]
    (decision,) = simulator.moderator.decisions
    assert (decision.outcome, decision.rule, decision.confidence, decision.reason) == (
        "flagged", "No gambling", 0.95, "gambling",
    )  # fmt: skip


def test_rule_that_is_off_asks_nobody(moderated: Simulator, judge: Judge) -> None:
    moderated.enable_moderation_rule("gambling", enabled=False)
    moderated.user("maria").say("our casino", to="helpdesk")
    moderated.add_moderation_rule("No gambling", judge.url, id="gambling")  # as a restarted bot does
    moderated.user("maria").say("our casino", to="helpdesk")
    moderated.wait_idle()
    assert judge.bodies == []


@pytest.mark.parametrize(
    ("answer", "category"),
    [
        ((503, {"error": {}}), "http_5xx"),
        ((401, b"no"), "http_4xx"),
        ((200, b"maybe"), "invalid_response"),
        ((200, {"isMatchingCondition": "yes", "confidence": 1}), "invalid_response"),
        ((200, {"isMatchingCondition": True}), "invalid_response"),
        ((200, {"isMatchingCondition": True, "confidence": 1.5}), "invalid_response"),
    ],
)
@pytest.mark.parametrize(("setting", "status"), [("approve-message", "approved"), ("drop-message", "disapproved")])
def test_failure_is_decided_by_the_setting(
    moderated: Simulator, judge: Judge, answer: Any, category: str, setting: str, status: str
) -> None:
    moderated.configure(moderation_error=setting)
    judge.decide = lambda message: answer
    said = moderated.user("maria").say("hello", to="tom")
    moderated.wait_idle()
    assert status_of(moderated, said.id) == status
    name = "moderation_engine_approved" if status == "approved" else "moderation_engine_blocked"
    assert changes(moderated, "moderation") == [name, "moderation_engine_failed"]
    data = moderated.world.journal.changes[-1].data
    assert (data["contentType"], data["outcome"], data["resource"]["id"]) == ("text", status, said.id)
    assert "data" not in data["resource"]
    (failure,) = data["failures"]
    assert (failure["category"], failure["context"]["setting"]) == (category, setting)
    assert failure["context"]["request"]["basicAuthSent"] is True
    assert ("validationErrors" in failure) == (category == "invalid_response")


def test_late_answer_is_a_failure(moderated: Simulator, judge: Judge) -> None:
    gate = threading.Event()

    def decide(message: dict[str, Any]) -> tuple[int, Any]:
        gate.wait(60)
        return judge.block_casinos(message)

    moderated.configure(moderation_timeout=0.1)
    judge.decide = decide
    moderated.user("maria").say("our casino", to="tom")
    moderated.wait_idle()
    gate.set()
    assert moderated.moderator.decisions[-1].error == "timeout"


def test_unreachable_url_is_a_failure(simulator: Simulator) -> None:
    simulator.add_moderation_rule("Nobody", "http://127.0.0.1:9/")
    simulator.user("maria").say("hello", to="tom")
    simulator.wait_idle()
    assert simulator.moderator.decisions[-1].error == "connection_error"


def test_webhook_gets_the_triggers(moderated: Simulator, judge: Judge, receiver: Any) -> None:
    moderated.add_webhook(receiver.url, ["moderation_engine_blocked", "moderation_engine_failed"])
    moderated.user("maria").say("our casino", to="tom")
    moderated.wait_idle()
    judge.decide = lambda message: (500, {})
    moderated.user("maria").say("hello", to="tom")
    moderated.wait_idle()
    assert [body["trigger"] for body in receiver.bodies] == ["moderation_engine_blocked", "moderation_engine_failed"]


def test_other_conversations_do_not_wait(moderated: Simulator, judge: Judge, receiver: Any) -> None:
    gate = threading.Event()

    def decide(message: dict[str, Any]) -> tuple[int, Any]:
        if message["receiver"] == "tom":
            gate.wait(60)
        return judge.block_casinos(message)

    moderated.configure(moderation_timeout=60.0)
    judge.decide = decide
    moderated.user("maria").say("slow", to="tom")
    moderated.user("maria").say("quick", to="helpdesk")
    moderated.wait_for(lambda _: receiver.bodies)
    assert receiver.texts == ["quick"]
    gate.set()
    moderated.wait_idle()


def test_messages_wait_while_it_is_stopped(moderated: Simulator, judge: Judge, receiver: Any) -> None:
    moderated.stop()
    moderated.user("maria").say("hello", to="helpdesk")
    assert not moderated.is_idle
    moderated.start()
    moderated.wait_idle()
    assert receiver.texts == ["hello"]


def test_message_that_is_deleted_meanwhile_is_not_relayed(moderated: Simulator, judge: Judge, receiver: Any) -> None:
    moderated.stop()
    said = moderated.user("maria").say("hello", to="helpdesk")
    moderated.user("maria").delete(said)
    moderated.start()
    moderated.wait_idle()
    assert receiver.bodies == []


def test_reset_forgets_rules_and_decisions(moderated: Simulator, judge: Judge) -> None:
    moderated.user("maria").say("our casino", to="tom")
    moderated.wait_idle()
    moderated.reset()
    assert moderated.moderator.to_json() == {"rules": [], "onError": "approve-message", "decisions": []}


def test_other_process_makes_and_switches_rules(simulator: Simulator, judge: Judge) -> None:
    url = f"{simulator.url}/simulator/moderation"
    made = requests.post(url, json={"name": "R", "url": judge.url, "contents": ["text"], "id": "r"}, timeout=60)
    assert made.json() == {"data": {"id": "r"}}
    simulator.user("maria").say("our casino", to="tom")
    simulator.wait_idle()
    shown = requests.get(url, timeout=60).json()["data"]
    assert shown["decisions"][0]["outcome"] == "blocked"
    assert "credentials" not in shown["rules"][0]
    changed = requests.patch(f"{url}/r", json={"enabled": False}, timeout=60).json()["data"]
    assert changed["rules"][0]["enabled"] is False
    assert requests.patch(f"{url}/none", json={"enabled": False}, timeout=60).status_code == 400
    assert (
        requests.post(url, json={"name": "R", "url": judge.url, "contents": ["smell"]}, timeout=60).status_code == 400
    )
