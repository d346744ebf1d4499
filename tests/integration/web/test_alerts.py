"""Alerts over each database: which problems are found, how often they are sent, and what happens if that fails."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from cometbot import Bot, Context
from cometbot.alert_targets import AlertTarget, parse_alert_targets
from cometbot.delivery import Backoff, Delivery, SendPolicy, ThreadEngine
from cometbot.errors import ConfigurationError, Rejected, Unreachable
from cometbot.observer import Observer
from cometbot.settings import Settings
from cometbot.store.alerts import load_claims
from cometbot.store.tables import facts
from cometbot.testing.fake_channel import FakeChannel
from cometbot.web import alerts
from cometbot.web.alerts import AlertWatcher, make_alert_watcher, send_test
from cometbot.web.app import create_app

SLOW_POLICY = SendPolicy(timeout=5, outage_backoff=Backoff(600.0, 600.0, 0.0))
SECRET_PATH = "/services/T0/B0/secret"


class Outcomes(Observer):
    """Remembers how alerts ended."""

    def __init__(self) -> None:
        self.alerts: list[tuple[str, str]] = []

    def alert_ended(self, kind: str, outcome: str) -> None:
        self.alerts.append((kind, outcome))


class Setup:
    """Processes (several deliveries) around one database, one platform and one webhook."""

    def __init__(self, url: str, server: HTTPServer) -> None:
        self.url = url
        self.bot = Bot("shop")
        self.channel = FakeChannel()
        self.observer = Outcomes()
        self.bodies: list[dict[str, Any]] = []
        self.statuses: list[int] = []
        self.target = AlertTarget(url=parse_alert_targets(server.url_for(SECRET_PATH))[0].url)
        self._deliveries: list[Delivery] = []
        self._watchers: list[AlertWatcher] = []
        server.expect_request(SECRET_PATH, method="POST").respond_with_handler(self._receive)

    def _receive(self, request: Request) -> Response:
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.bodies.append(request.get_json())
        return Response("ok", status)

    @property
    def texts(self) -> list[str]:
        return [body["text"] for body in self.bodies]

    def start(self, *others: FakeChannel, handles: bool = True) -> Delivery:
        channels = [self.channel, *others]
        delivery = Delivery([self.bot], channels, self.url, engine=ThreadEngine(4, 0), policy=SLOW_POLICY)
        self._deliveries.append(delivery)
        if handles:
            delivery.start()
        else:
            delivery.database.open()
        return delivery

    def watch(
        self, delivery: Delivery, *targets: AlertTarget, after: float = 0.0, interval: float = 600.0
    ) -> AlertWatcher:
        watcher = AlertWatcher(
            delivery, targets or (self.target,), after=after, observer=self.observer, interval=interval
        )
        self._watchers.append(watcher)
        return watcher

    def fail(self, delivery: Delivery, text: str = "my card is 4711") -> None:
        """Have a message end as a dead letter."""
        before = len(delivery.dead_letters.list())
        delivery.enqueue(self.channel.incoming(self.bot, text))
        self.channel.wait_for(lambda: len(delivery.dead_letters.list()) > before and delivery.is_idle)

    def close(self) -> None:
        for watcher in self._watchers:
            watcher.stop()
        for delivery in self._deliveries:
            delivery.stop(5)
            delivery.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def setup(request: pytest.FixtureRequest, tmp_path: Path, httpserver: HTTPServer) -> Iterator[Setup]:
    is_server = request.param == "postgresql"
    made = Setup(
        request.getfixturevalue("postgres_url") if is_server else f"sqlite:///{tmp_path}/cometbot.db", httpserver
    )
    yield made
    made.close()


@pytest.fixture
def repeat_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the hour for over at each check."""
    monkeypatch.setattr(alerts, "REPEAT_INTERVAL", 0.0)


def add_raising_handler(setup: Setup, error: type[Exception] = KeyError) -> None:
    @setup.bot.message()
    def track(ctx: Context) -> None:
        raise error(ctx.text)


def start_with_held_reply(setup: Setup) -> Delivery:
    """Start a process whose first reply waits, because its platform cannot be reached."""

    @setup.bot.message()
    def answer(ctx: Context) -> str:
        return "hello"

    setup.channel.faults = [Unreachable("no network")]
    delivery = setup.start()
    delivery.enqueue(setup.channel.incoming(setup.bot, "hi"))
    setup.channel.wait_for(lambda: _count(delivery, "outbox", "held") == 1)
    return delivery


def make_older(delivery: Delivery, seconds: float) -> None:
    """Have what has happened so far happen ``seconds`` earlier: dead letters, and claims of alerts."""
    with delivery.database.write() as connection:
        connection.exec_driver_sql(f"UPDATE mailbox SET ended_at = ended_at - {seconds} WHERE state = 'dead'")
        for key, found in load_claims(connection).items():
            value = json.dumps([found.sent_at - seconds, found.seen_to - seconds])
            connection.execute(sa.update(facts).where(facts.c.name == f"alert:{key}").values(value=value))


def test_a_dead_letter_is_reported_once_by_all_processes(setup: Setup) -> None:
    add_raising_handler(setup)
    first, second = setup.start(), setup.start()
    setup.fail(first)
    watchers = [setup.watch(first), setup.watch(second)]
    threads = [threading.Thread(target=watcher.check) for watcher in watchers * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (letter,) = first.dead_letters.list()
    assert setup.bodies == [
        {
            "text": f"cometbot: shop: 1 new dead letter: KeyError in the handler {letter.handler}. "
            f"Run: cometbot deadletters show {letter.id}",
            "alert": "dead_letters",
            "bot": "shop",
            "cause": f"KeyError in the handler {letter.handler}",
            "count": 1,
        }
    ]
    assert setup.observer.alerts == [("dead_letters", "sent")]


def test_an_alert_has_no_text_of_a_user(setup: Setup) -> None:
    add_raising_handler(setup, ValueError)
    delivery = setup.start()
    setup.fail(delivery, "Rejected: my card is 4711")
    setup.watch(delivery).check()
    assert "4711" in delivery.dead_letters.list()[0].error
    assert setup.bodies
    assert "4711" not in str(setup.bodies)


def test_within_the_hour_a_cause_is_not_repeated_and_another_is_sent(setup: Setup) -> None:
    @setup.bot.message()
    def track(ctx: Context) -> None:
        raise KeyError if ctx.text == "key" else ValueError

    delivery = setup.start()
    watcher = setup.watch(delivery)
    for text in ("key", "key", "value"):
        setup.fail(delivery, text)
        watcher.check()
    assert [(body["cause"].split()[0], body["count"]) for body in setup.bodies] == [("KeyError", 1), ("ValueError", 1)]


@pytest.mark.usefixtures("repeat_at_once")
def test_after_the_hour_only_new_dead_letters_count(setup: Setup) -> None:
    add_raising_handler(setup)
    delivery = setup.start()
    watcher = setup.watch(delivery)
    setup.fail(delivery)
    watcher.check()
    watcher.check()
    setup.fail(delivery)
    setup.fail(delivery)
    watcher.check()
    watcher.check()
    assert [body["count"] for body in setup.bodies] == [1, 2]


def test_a_refused_reply_is_reported_with_its_code(setup: Setup) -> None:
    @setup.bot.message()
    def answer(ctx: Context) -> str:
        return "no"

    setup.channel.faults = [Rejected("no 4711", code="ERR_BLOCKED_RECEIVER")]
    delivery = setup.start()
    setup.fail(delivery)
    setup.watch(delivery).check()
    assert [body["cause"] for body in setup.bodies] == ["ERR_BLOCKED_RECEIVER on fake"]


def test_replies_that_wait_are_failing_sends(setup: Setup) -> None:
    delivery = start_with_held_reply(setup)
    setup.watch(delivery, after=3600.0).check()
    assert setup.bodies == []
    setup.watch(delivery).check()
    assert [(body["alert"], body["cause"]) for body in setup.bodies] == [("failing_sends", "Unreachable on fake")]
    assert re.search(r"1 reply cannot be sent, the oldest for \d+ s: ", setup.texts[0])


def test_messages_behind_a_reply_that_waits_are_no_problem_of_their_own(setup: Setup) -> None:
    delivery = start_with_held_reply(setup)
    delivery.enqueue(setup.channel.incoming(setup.bot, "are you there?"))
    with delivery.database.write() as connection:
        connection.exec_driver_sql("UPDATE mailbox SET ended_at = ended_at - 1000 WHERE state = 'done'")
    setup.watch(delivery).check()
    assert [body["alert"] for body in setup.bodies] == ["failing_sends"]


def test_a_check_sends_a_bounded_number_of_alerts(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    @setup.bot.message()
    def track(ctx: Context) -> None:
        raise {"a": KeyError, "b": ValueError, "c": TypeError}[ctx.text]

    delivery = setup.start()
    for text in "abc":
        setup.fail(delivery, text)
    monkeypatch.setattr(alerts, "MAX_ALERTS", 2)
    watcher = setup.watch(delivery)
    for expected in (2, 3, 3):
        watcher.check()
        assert len(setup.bodies) == expected


def test_messages_without_a_worker_are_reported_by_a_process_that_handles_none(setup: Setup) -> None:
    delivery = setup.start(handles=False)
    delivery.enqueue(setup.channel.incoming(setup.bot, "hi", user="maria"))
    delivery.enqueue(setup.channel.incoming(setup.bot, "hi", user="tom"))
    setup.watch(delivery, after=3600.0).check()
    assert setup.bodies == []
    setup.watch(delivery).check()
    assert [(body["alert"], body["count"]) for body in setup.bodies] == [("no_worker", 2)]


def test_waiting_messages_of_which_none_is_handled_are_no_progress(setup: Setup) -> None:
    entered, released = threading.Event(), threading.Event()

    @setup.bot.message()
    def wait(ctx: Context) -> None:
        entered.set()
        released.wait(60)

    delivery = setup.start()
    watcher = setup.watch(delivery)
    delivery.enqueue(setup.channel.incoming(setup.bot, "first"))
    assert entered.wait(60)
    delivery.enqueue(setup.channel.incoming(setup.bot, "second"))
    watcher.check()
    released.set()
    assert [body["alert"] for body in setup.bodies] == ["no_progress"]
    setup.channel.wait_for(lambda: delivery.is_idle)


def test_messages_that_wait_while_others_are_handled_are_no_problem(setup: Setup) -> None:
    entered, released = threading.Event(), threading.Event()

    @setup.bot.message()
    def wait(ctx: Context) -> None:
        if ctx.text == "first":
            entered.set()
            released.wait(60)

    delivery = setup.start()
    delivery.enqueue(setup.channel.incoming(setup.bot, "first"))
    assert entered.wait(60)
    delivery.enqueue(setup.channel.incoming(setup.bot, "second"))
    delivery.enqueue(setup.channel.incoming(setup.bot, "elsewhere", user="tom"))
    setup.channel.wait_for(lambda: _count(delivery, "mailbox", "done") == 1)
    with delivery.database.write() as connection:
        connection.exec_driver_sql("UPDATE mailbox SET received_at = received_at - 1000 WHERE state = 'waiting'")
    setup.watch(delivery, after=500.0).check()
    released.set()
    assert setup.bodies == []


def test_an_alert_can_go_to_a_group_of_the_bot(setup: Setup) -> None:
    add_raising_handler(setup)
    delivery = setup.start()
    setup.fail(delivery)
    setup.watch(delivery, *parse_alert_targets("fake:group:ops")).check()
    setup.channel.wait_for(lambda: any("dead letter" in text for text in setup.channel.texts()))
    (said,) = [said for said in setup.channel.said if "dead letter" in said.text]
    assert said.conversation.target == "ops"
    assert said.conversation.is_group


def test_of_several_apps_an_alert_names_one_and_goes_to_one(setup: Setup) -> None:
    @setup.bot.message()
    def answer(ctx: Context) -> str:
        return "no"

    other = FakeChannel(account="us")
    setup.channel.app, other.app = "shop_eu", "shop_us"
    delivery = setup.start(other)
    other.faults = [Rejected("no", code="ERR_BLOCKED_RECEIVER")]
    delivery.enqueue(other.incoming(setup.bot, "hi"))
    other.wait_for(lambda: bool(delivery.dead_letters.list()) and delivery.is_idle)
    setup.watch(delivery, setup.target, *parse_alert_targets("fake/shop_eu:group:ops")).check()
    setup.channel.wait_for(lambda: bool(setup.channel.said))
    assert [body["cause"] for body in setup.bodies] == ["ERR_BLOCKED_RECEIVER on fake, app shop_us"]
    assert [said.conversation.target for said in setup.channel.said] == ["ops"]


@pytest.mark.usefixtures("repeat_at_once")
def test_an_alert_that_a_bot_cannot_send_causes_no_other(setup: Setup) -> None:
    add_raising_handler(setup)
    delivery = setup.start()
    setup.fail(delivery)
    setup.channel.faults = [Rejected("no", code="ERR_GUID_NOT_FOUND")]
    watcher = setup.watch(delivery, *parse_alert_targets("fake:group:nowhere"))
    watcher.check()
    setup.channel.wait_for(lambda: len(delivery.dead_letters.list()) == 2)
    watcher.check()
    setup.channel.wait_for(lambda: delivery.is_idle)
    assert setup.observer.alerts == [("dead_letters", "sent")]


def test_an_alert_that_no_target_takes_is_tried_again(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    add_raising_handler(setup)
    delivery = setup.start()
    setup.fail(delivery)
    setup.statuses = [500, 404]
    watcher = setup.watch(delivery)
    for _ in range(4):
        watcher.check()
    assert len(setup.bodies) == 1
    assert setup.observer.alerts == [("dead_letters", "failed")] * 2 + [("dead_letters", "sent")]
    failures = [record.getMessage() for record in caplog.records if "cannot send alerts" in record.getMessage()]
    assert len(failures) == 1
    assert all("secret" not in record.getMessage() for record in caplog.records if "cometbot" in record.name)


def test_an_alert_arrives_when_its_target_has_failed_for_hours(setup: Setup) -> None:
    add_raising_handler(setup)
    delivery = setup.start()
    setup.fail(delivery)
    setup.statuses = [500]
    watcher = setup.watch(delivery)
    watcher.check()
    make_older(delivery, 7200.0)
    watcher.check()
    assert [body["alert"] for body in setup.bodies] == ["dead_letters"]


def test_a_target_that_fails_does_not_keep_the_alert_from_others(setup: Setup) -> None:
    add_raising_handler(setup)
    delivery = setup.start()
    setup.fail(delivery)
    closed = parse_alert_targets("http://127.0.0.1:9/secret")[0]
    watcher = setup.watch(delivery, closed, setup.target)
    watcher.check()
    watcher.check()
    assert len(setup.bodies) == 1
    assert sorted(setup.observer.alerts) == [("dead_letters", "failed"), ("dead_letters", "sent")]


def test_the_thread_checks_until_it_is_stopped(setup: Setup) -> None:
    add_raising_handler(setup)
    delivery = setup.start()
    setup.fail(delivery)
    watcher = setup.watch(delivery, interval=0.01)
    watcher.start()
    watcher.start()
    setup.channel.wait_for(lambda: bool(setup.bodies))
    running = [thread for thread in threading.enumerate() if thread.name == "cometbot-alerts"]
    assert len(running) == 1
    watcher.stop()
    running[0].join(60)
    assert not running[0].is_alive()


def test_a_check_that_fails_is_logged_and_repeated(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    delivery = setup.start()
    watcher = setup.watch(delivery, interval=0.0)
    monkeypatch.setattr(watcher, "check", _raise)
    watcher.check_safely()
    assert "a check for alerts failed" in caplog.text


def test_one_process_checks_in_an_interval(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[Delivery] = []
    for delivery in (setup.start(), setup.start()):
        watcher = setup.watch(delivery, interval=600.0)
        monkeypatch.setattr(watcher, "check", _recorder(checks, delivery))
        watcher.check_safely()
        watcher.check_safely()
    assert len(checks) == 1


def test_old_claims_are_deleted(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    add_raising_handler(setup)
    delivery = setup.start()
    setup.fail(delivery)
    watcher = setup.watch(delivery)
    watcher.check()
    monkeypatch.setattr(alerts, "RETENTION", -1.0)
    watcher.check()
    with delivery.database.read() as connection:
        assert load_claims(connection) == {}


def test_a_cause_that_is_back_after_days_is_sent_once(setup: Setup) -> None:
    add_raising_handler(setup)
    delivery = setup.start()
    setup.fail(delivery)
    watcher = setup.watch(delivery)
    watcher.check()
    make_older(delivery, 2 * alerts.RETENTION)
    setup.fail(delivery)
    for _ in range(2):
        watcher.check()
    assert [body["count"] for body in setup.bodies] == [1, 1]


def test_alerts_go_on_after_a_clock_was_ahead(setup: Setup) -> None:
    add_raising_handler(setup)
    delivery = setup.start()
    setup.fail(delivery)
    watcher = setup.watch(delivery)
    watcher.check()
    make_older(delivery, -2 * alerts.RETENTION)
    setup.fail(delivery)
    for _ in range(2):
        watcher.check()
    assert [body["count"] for body in setup.bodies] == [1, 1]


def test_a_target_on_a_channel_that_is_not_served_is_refused(setup: Setup) -> None:
    delivery = setup.start(handles=False)
    with pytest.raises(ConfigurationError, match="COMETBOT_ALERTS: cannot send to cometchat:group:ops: the channel"):
        setup.watch(delivery, *parse_alert_targets("cometchat:group:ops"))


def test_without_targets_nothing_is_started(setup: Setup) -> None:
    watcher = make_alert_watcher(Settings(), setup.start(), setup.observer)
    watcher.start()
    assert all(thread.name != "cometbot-alerts" for thread in threading.enumerate())


def test_an_application_sends_alerts_of_its_settings(
    tmp_path: Path, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot, channel = Bot("shop"), FakeChannel()

    @bot.message()
    def track(ctx: Context) -> None:
        raise KeyError

    monkeypatch.setattr(alerts, "CHECK_INTERVAL", 0.01)
    httpserver.expect_request(SECRET_PATH).respond_with_data("ok")
    settings = Settings(
        database_url=f"sqlite:///{tmp_path}/cometbot.db", alerts=parse_alert_targets(httpserver.url_for(SECRET_PATH))
    )
    app = create_app(bot, settings, [channel])
    runtime = app.extensions["cometbot"]
    try:
        assert app.test_client().get("/healthz").status_code == 200
        runtime.delivery.enqueue(channel.incoming(bot, "hi"))
        channel.wait_for(lambda: bool(httpserver.log))
        metrics = app.test_client().get("/metrics").get_data(as_text=True)
    finally:
        runtime.stop()
    assert httpserver.log[0][0].get_json()["bot"] == "shop"
    assert 'cometbot_alerts_total{kind="dead_letters",outcome="sent"}' in metrics
    assert all(thread.name != "cometbot-alerts" for thread in threading.enumerate())


def test_a_web_process_on_postgresql_reports_that_no_worker_is_left(
    postgres_url: str, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot, channel = Bot("shop"), FakeChannel()
    monkeypatch.setattr(alerts, "CHECK_INTERVAL", 0.05)
    httpserver.expect_request(SECRET_PATH).respond_with_data("ok")
    settings = Settings(
        database_url=postgres_url, alerts=parse_alert_targets(httpserver.url_for(SECRET_PATH)), alert_after=0.001
    )
    app = create_app(bot, settings, [channel])
    runtime = app.extensions["cometbot"]
    try:
        assert app.test_client().get("/healthz").status_code == 200
        runtime.delivery.enqueue(channel.incoming(bot, "hi"))
        channel.wait_for(lambda: bool(httpserver.log))
    finally:
        runtime.stop()
    assert httpserver.log[0][0].get_json()["alert"] == "no_worker"


def test_the_page_shows_setting_and_body_as_they_are(setup: Setup) -> None:
    page = (Path(__file__).parents[3] / "docs" / "monitoring.md").read_text()
    setting, body = re.findall(r"^```text\n(.*?)^```", page, re.S | re.M)
    name, _, text = setting.strip().partition("=")
    assert [str(target) for target in Settings.from_environment({name: text}, None).alerts] == [
        "https://hooks.slack.com/…",
        "cometchat:group:ops",
    ]

    add_raising_handler(setup)
    delivery = setup.start()
    setup.fail(delivery)
    setup.fail(delivery)
    setup.watch(delivery).check()
    handler = delivery.dead_letters.list()[0].handler
    shown = json.loads(json.dumps(setup.bodies[0]).replace(handler, "track").replace(" m2", " m12"))
    assert shown == json.loads(body)


def test_a_test_names_what_went_wrong_for_each_target(setup: Setup) -> None:
    delivery = setup.start()
    closed = parse_alert_targets("http://127.0.0.1:9/secret")[0]
    group = parse_alert_targets("fake:group:ops")[0]
    results = send_test(delivery, (setup.target, closed, group))
    assert (results[setup.target], results[group]) == ("", "")
    assert "could not be reached" in results[closed]
    assert "secret" not in results[closed]
    assert setup.bodies[0]["alert"] == "test"
    setup.channel.wait_for(lambda: alerts.TEST_TEXT in setup.channel.texts())


def _raise() -> None:
    raise ZeroDivisionError


def _recorder(checks: list[Delivery], delivery: Delivery) -> Callable[[], None]:
    return lambda: checks.append(delivery)


def _count(delivery: Delivery, table: str, state: str) -> int:
    with delivery.database.read() as connection:
        query = f"SELECT count(*) FROM {table} WHERE state = '{state}'"
        return int(connection.exec_driver_sql(query).scalar() or 0)
