"""What the servers offer: routes, OpenAPI documents, metrics."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from flask import Flask
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from cometbot.simulator import Simulator
from cometbot.web.monitoring import make_monitoring_app
from tests.snapshot.site import make_site
from tests.snapshot.statements import conversation

PACKAGE = Path(__file__).parents[2] / "cometbot"
_OWN_ROUTE = re.compile(r'\bRoute\(\s*"([A-Z]+)", "([^"]+)"')


def routes() -> str:
    """Return the routes of the application, the simulator and the worker's monitoring server."""
    with make_site() as (app, _):
        running = app.extensions["cometbot"]
        apps = {
            "app": app,
            "simulator": Simulator().app,
            "worker": make_monitoring_app(running.delivery, running.metrics),
        }
        lines = [line for name, one in apps.items() for line in _rules(name, one)]
    # The platform matches its paths below /v1 itself.
    found = {match.groups() for file in PACKAGE.rglob("*.py") for match in _OWN_ROUTE.finditer(file.read_text())}
    lines += sorted(f"platform {method} /v1/{path}" for method, path in found)
    return to_text(lines)


def _rules(name: str, app: Flask) -> list[str]:
    found = [
        f"{name} {rule.rule} {','.join(sorted(rule.methods or ()))} of {rule.endpoint.rpartition('.')[0] or '-'}"
        for rule in app.url_map.iter_rules()
    ]
    return sorted(found)


def openapi() -> str:
    """Return the OpenAPI document of a bot."""
    with make_site() as (app, _):
        document = app.test_client().get("/chat/helpdesk/openapi.json").json
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


_MEASURED_BY_A_MESSAGE = ("cometbot_handler_seconds", "cometbot_send_seconds")


def metrics() -> str:
    """Return names, types, help, labels and the values of all labels but the bot's."""
    # What measures times has samples only after a message; that of answers would need a question.
    with conversation() as (app, say):
        say("hello")
        end, families = time.monotonic() + 30, _families(app)
        while not all(family.samples for family in families if family.name in _MEASURED_BY_A_MESSAGE):
            assert time.monotonic() < end, "some times were not measured"
            time.sleep(0.1)
            families = _families(app)
    return to_text(sorted(_facts(families)))


def _families(app: Flask) -> list[Metric]:
    return list(text_string_to_metric_families(app.test_client().get("/metrics").text))


def _facts(families: list[Metric]) -> Iterator[str]:
    for family in families:
        yield f"{family.name}: {family.type}, {family.documentation}"
        for name in {sample.name for sample in family.samples}:
            series = [sample.labels for sample in family.samples if sample.name == name]
            yield f"{family.name}: sample {name} with {', '.join(sorted(series[0])) or 'no labels'}"
            for label in sorted(set(series[0]) - {"bot"}):
                yield f"{family.name}: {name}, {label} is {' '.join(dict.fromkeys(one[label] for one in series))}"


def to_text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
