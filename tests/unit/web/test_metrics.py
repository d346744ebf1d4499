from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from cometbot.delivery import Backlog
from cometbot.inspection.problems import ProblemKind
from cometbot.store.jobs import JobCounts
from cometbot.web.metrics import (
    ALERTS_ENDED,
    APPROVALS_ENDED,
    DIALOGS_ENDED,
    HANDLED,
    MAX_MODELS,
    MODERATED,
    OTHER_MODELS,
    RECEIVED,
    RECIPIENTS,
    SENT,
    TOKENS,
    Metrics,
)
from cometbot.web.server import forget_gauges

Samples = dict[tuple[str, str, str], float]


def nothing_waits() -> dict[str, Backlog]:
    return {}


def read(text: bytes) -> Samples:
    """The numbers by name, bot and outcome."""
    return {
        (sample.name, sample.labels.get("bot", ""), sample.labels.get("outcome", "")): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if "le" not in sample.labels
    }


def samples(metrics: Metrics) -> Samples:
    return read(metrics.to_text(nothing_waits))


@pytest.mark.parametrize("outcome", RECEIVED)
def test_received_is_counted_by_bot_and_outcome(outcome: str) -> None:
    metrics = Metrics(["shop", "desk"])
    metrics.received("shop", outcome)
    metrics.received("shop", outcome)
    numbers = samples(metrics)
    assert numbers["cometbot_events_received_total", "shop", outcome] == 2
    assert numbers["cometbot_events_received_total", "desk", outcome] == 0


def test_apps_are_counted_apart() -> None:
    metrics = Metrics(["shop"], ["eu", "us"])
    metrics.received("shop", "received", app="us")
    metrics.handled("shop", 0.25, "done", app="us")
    metrics.sent("shop", 0.25, "held", app="us")
    metrics.moderated("shop", 0.25, "match", app="us")
    numbers = {
        (sample.name, sample.labels["app"], sample.labels.get("outcome", "")): sample.value
        for family in text_string_to_metric_families(metrics.to_text(nothing_waits).decode())
        for sample in family.samples
        if "app" in sample.labels and "le" not in sample.labels
    }
    for name, outcome in (("events_received", "received"), ("events_handled", "done"), ("sends", "held")):
        assert [numbers[f"cometbot_{name}_total", app, outcome] for app in ("eu", "us")] == [0, 1]
    assert numbers["cometbot_moderations_total", "us", "match"] == 1
    for name in ("handler", "send", "moderation"):
        assert numbers[f"cometbot_{name}_seconds_count", "us", ""] == 1


def test_one_app_has_no_label() -> None:
    metrics = Metrics(["shop"])
    metrics.received("shop", "received")
    assert b"app=" not in metrics.to_text(nothing_waits)


@pytest.mark.parametrize("outcome", HANDLED)
def test_handled_is_counted_and_timed(outcome: str) -> None:
    metrics = Metrics(["shop"])
    metrics.handled("shop", 0.25, outcome)
    metrics.handled("shop", 0.5, outcome)
    numbers = samples(metrics)
    assert numbers["cometbot_events_handled_total", "shop", outcome] == 2
    assert numbers["cometbot_handler_seconds_count", "shop", ""] == 2
    assert numbers["cometbot_handler_seconds_sum", "shop", ""] == 0.75


@pytest.mark.parametrize("outcome", SENT)
def test_sent_is_counted_and_timed(outcome: str) -> None:
    metrics = Metrics(["shop"])
    metrics.sent("shop", 0.125, outcome)
    numbers = samples(metrics)
    assert numbers["cometbot_sends_total", "shop", outcome] == 1
    assert numbers["cometbot_send_seconds_sum", "shop", ""] == 0.125


@pytest.mark.parametrize("outcome", MODERATED)
def test_moderated_is_counted_and_timed(outcome: str) -> None:
    metrics = Metrics(["shop"])
    assert samples(metrics)["cometbot_moderations_total", "shop", outcome] == 0
    metrics.moderated("shop", 0.125, outcome)
    numbers = samples(metrics)
    assert numbers["cometbot_moderations_total", "shop", outcome] == 1
    assert numbers["cometbot_moderation_seconds_sum", "shop", ""] == 0.125


@pytest.mark.parametrize("outcome", DIALOGS_ENDED)
def test_ends_of_dialogs_are_counted(outcome: str) -> None:
    metrics = Metrics(["shop"])
    assert samples(metrics)["cometbot_dialogs_ended_total", "shop", outcome] == 0
    metrics.dialog_ended("shop", outcome)
    assert samples(metrics)["cometbot_dialogs_ended_total", "shop", outcome] == 1


@pytest.mark.parametrize("outcome", ALERTS_ENDED)
@pytest.mark.parametrize("kind", get_args(ProblemKind))
def test_alerts_are_counted_by_kind_and_outcome(kind: str, outcome: str) -> None:
    metrics, series = Metrics(["shop"]), f'cometbot_alerts_total{{kind="{kind}",outcome="{outcome}"}}'
    assert f"{series} 0.0" in metrics.to_text(nothing_waits).decode()
    metrics.alert_ended(kind, outcome)
    assert f"{series} 1.0" in metrics.to_text(nothing_waits).decode()


@pytest.mark.parametrize("outcome", APPROVALS_ENDED)
def test_ends_of_approvals_are_counted(outcome: str) -> None:
    metrics = Metrics(["shop"])
    assert samples(metrics)["cometbot_approvals_total", "shop", outcome] == 0
    metrics.approval_ended("shop", outcome)
    assert samples(metrics)["cometbot_approvals_total", "shop", outcome] == 1


@pytest.mark.parametrize("outcome", RECIPIENTS)
def test_recipients_of_broadcasts_are_counted(outcome: str) -> None:
    metrics = Metrics(["shop"])
    assert samples(metrics)["cometbot_broadcast_recipients_total", "shop", outcome] == 0
    metrics.broadcast("shop", outcome, 20)
    assert samples(metrics)["cometbot_broadcast_recipients_total", "shop", outcome] == 20


def read_tokens(text: bytes) -> dict[tuple[str, str, str], float]:
    """The tokens by bot, model and kind."""
    return {
        (sample.labels["bot"], sample.labels["model"], sample.labels["kind"]): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name == "cometbot_model_tokens_total"
    }


def test_tokens_are_counted_by_bot_model_and_kind() -> None:
    metrics = Metrics(["shop", "desk"])
    metrics.model_called("shop", "gpt-5", input=100, output=20, cached=80)
    metrics.model_called("shop", "gpt-5", input=1, output=2, cached=0)
    metrics.model_called("desk", "local", input=0, output=0, cached=0)
    expected = {("shop", "gpt-5", "input"): 101, ("shop", "gpt-5", "output"): 22, ("shop", "gpt-5", "cached"): 80}
    expected |= {("desk", "local", kind): 0 for kind in TOKENS}
    assert read_tokens(metrics.to_text(dict)) == expected


def test_models_beyond_a_number_share_a_label() -> None:
    metrics = Metrics(["shop", "desk"])
    for number in range(3 * MAX_MODELS):
        metrics.model_called(("shop", "desk")[number % 2], f"model-{number}", input=1, output=0, cached=0)
    metrics.model_called("shop", "model-0", input=1, output=0, cached=0)
    found = read_tokens(metrics.to_text(dict))
    assert len({model for _, model, _ in found}) == MAX_MODELS + 1
    assert found["shop", "model-0", "input"] == 2
    assert found["shop", OTHER_MODELS, "input"] + found["desk", OTHER_MODELS, "input"] == 2 * MAX_MODELS


def test_answers_are_timed() -> None:
    metrics = Metrics(["shop"])
    metrics.question_answered("shop", 90_000.0)
    text = metrics.to_text(nothing_waits)
    assert read(text)["cometbot_answer_seconds_sum", "shop", ""] == 90_000
    assert b'cometbot_answer_seconds_bucket{bot="shop",le="86400.0"} 0.0' in text
    assert b'cometbot_answer_seconds_bucket{bot="shop",le="259200.0"} 1.0' in text


def test_recovered_is_counted() -> None:
    metrics = Metrics(["shop"])
    metrics.recovered("shop")
    assert samples(metrics)["cometbot_conversations_recovered_total", "shop", ""] == 1


def test_load_is_shown() -> None:
    metrics = Metrics(["shop"])
    metrics.load_measured(3, 2)
    assert b"cometbot_conversations_running 3.0" in metrics.to_text(dict)
    assert b"cometbot_conversations_queued 2.0" in metrics.to_text(dict)


def test_files_without_room_are_counted() -> None:
    metrics = Metrics(["shop"])
    metrics.storage_full()
    assert b"cometbot_uploads_without_room_total 1.0" in metrics.to_text(dict)


def test_writes_without_room_are_counted() -> None:
    metrics = Metrics(["shop"])
    assert b"cometbot_writes_without_room_total 0.0" in metrics.to_text(dict)
    metrics.database_full()
    assert b"cometbot_writes_without_room_total 1.0" in metrics.to_text(dict)


def test_every_known_series_stands_at_zero_from_the_start() -> None:
    numbers = samples(Metrics(["shop"]))
    for name, outcomes in [("events_received", RECEIVED), ("events_handled", HANDLED), ("sends", SENT)]:
        assert [numbers[f"cometbot_{name}_total", "shop", outcome] for outcome in outcomes] == [0.0] * len(outcomes)


def test_an_outcome_that_is_new_is_counted_too() -> None:
    metrics = Metrics(["shop"])
    metrics.handled("shop", 0.1, "postponed")
    assert samples(metrics)["cometbot_events_handled_total", "shop", "postponed"] == 1


def test_names_that_belong_to_no_bot_are_counted_under_none() -> None:
    metrics = Metrics(["shop"])
    for number in range(50):
        metrics.received(f"stranger-{number}", "refused")
    numbers = samples(metrics)
    assert numbers["cometbot_events_received_total", "", "refused"] == 50
    assert not [bot for _, bot, _ in numbers if bot.startswith("stranger")]


def test_what_waits_is_asked_for_at_each_reading() -> None:
    backlog = {"shop": Backlog(3, 1.5, 1, 2, 7, JobCounts(5, 2, 30.5, 4, 1))}
    metrics = Metrics(["shop"])
    first = read(metrics.to_text(lambda: backlog))
    backlog["shop"] = Backlog(0, 0.0, 2)
    second = read(metrics.to_text(lambda: backlog))
    names = ("waiting", "oldest_waiting_seconds", "dead_letters", "stuck_conversations", "open_dialogs")
    assert [first[f"cometbot_{name}", "shop", ""] for name in names] == [3, 1.5, 1, 2, 7]
    assert [second[f"cometbot_{name}", "shop", ""] for name in names] == [0, 0, 2, 0, 0]
    of_jobs = [f"cometbot_jobs_{name}" for name in ("scheduled", "overdue", "next_seconds", "running", "failed")]
    assert [first[name, "shop", ""] for name in of_jobs] == [5, 2, 30.5, 4, 1]
    assert [second.get((name, "shop", "")) for name in of_jobs] == [0, 0, None, 0, 0]


def test_a_backlog_that_cannot_be_read_hides_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> dict[str, Backlog]:
        raise OSError("disk gone")

    metrics = Metrics(["shop"])
    metrics.received("shop", "received")
    numbers = read(metrics.to_text(fail))
    assert numbers["cometbot_events_received_total", "shop", "received"] == 1
    assert ("cometbot_waiting", "shop", "") not in numbers
    assert "cannot read the backlog: disk gone" in caplog.text


def test_the_view_answers_in_prometheus_text_format() -> None:
    app = Flask(__name__)
    app.register_blueprint(Metrics(["shop"]).blueprint(nothing_waits))
    answer = app.test_client().get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    assert ("cometbot_sends_total", "shop", "sent") in read(answer.data)


COUNT = "from cometbot.web.metrics import Metrics; m = Metrics(['shop']); m.sent('shop', 0.5, 'sent')"
SHOW = "; import sys; sys.stdout.buffer.write(m.to_text(dict))"


def test_metrics_of_all_processes_are_merged(tmp_path: Path) -> None:
    environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    root = Path(__file__).parents[3]
    for _ in range(2):
        subprocess.run([sys.executable, "-c", COUNT], env=environ, cwd=root, check=True)
    shown = subprocess.run([sys.executable, "-c", COUNT + SHOW], env=environ, cwd=root, check=True, capture_output=True)
    numbers = read(shown.stdout)
    assert numbers["cometbot_sends_total", "shop", "sent"] == 3
    assert numbers["cometbot_send_seconds_sum", "shop", ""] == 1.5


def test_tokens_of_all_processes_are_merged(tmp_path: Path) -> None:
    environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    root = Path(__file__).parents[3]
    count = "from cometbot.web.metrics import Metrics; m = Metrics(['shop'])"
    count += "; m.model_called('shop', 'gpt-5', input=100, output=20, cached=80)"
    subprocess.run([sys.executable, "-c", count], env=environ, cwd=root, check=True)
    shown = subprocess.run([sys.executable, "-c", count + SHOW], env=environ, cwd=root, check=True, capture_output=True)
    found = read_tokens(shown.stdout)
    assert [found["shop", "gpt-5", kind] for kind in TOKENS] == [200, 40, 160]


def test_load_of_processes_that_live_is_summed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    measure = "from cometbot.web.metrics import Metrics; m = Metrics(['shop']); m.load_measured(3, 2)"
    root = Path(__file__).parents[3]
    ended = subprocess.Popen([sys.executable, "-c", measure], cwd=root)
    assert ended.wait(60) == 0
    command = [sys.executable, "-c", measure + SHOW]
    both = read(subprocess.run(command, cwd=root, check=True, capture_output=True).stdout)
    forget_gauges(ended.pid)
    rest = read(subprocess.run(command, cwd=root, check=True, capture_output=True).stdout)
    names = ("cometbot_conversations_running", "cometbot_conversations_queued")
    assert [both[name, "", ""] for name in names] == [6, 4]
    assert [rest[name, "", ""] for name in names] == [6, 4]  # the two that have shown their metrics
