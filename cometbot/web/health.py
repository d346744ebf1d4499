"""Liveness and readiness endpoints for load balancers and orchestrators."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import orjson
from flask import Blueprint, Response

from cometbot.delivery import Check
from cometbot.http.json_response import json_response

_log = logging.getLogger(__name__)


Checks = Callable[[], Iterable[Check]]

_STATUS_TEXTS = {True: "ok", False: "failed", None: "unknown"}


def make_health_views(checks: Checks) -> Blueprint:
    """Create the views ``/healthz`` (200 as long as the process answers) and ``/readyz`` (503 if a check is not ok).

    ``/readyz`` answers ``{"ready": …, "checks": {"database": "ok", "threads": "failed: …"}}``: one text for each check,
    "unknown" where the result is not known. Failed checks are also logged.
    """
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/healthz")
    def healthz() -> Response:
        return _to_json({"alive": True}, 200)

    @blueprint.get("/readyz")
    def readyz() -> Response:
        ready, lines = _run_checks(checks)
        return _to_json({"ready": ready, "checks": lines}, 200 if ready else 503)

    return blueprint


def _run_checks(checks: Checks) -> tuple[bool, dict[str, str]]:
    try:
        results = list(checks())
    except Exception:
        # The caller gets "not ready" with a reason instead of a bare 500.
        _log.exception("cannot check the delivery")
        return False, {"delivery": "failed: the check raised an error; see the log"}
    texts = {check.name: ": ".join(filter(None, (_STATUS_TEXTS[check.ok], check.detail))) for check in results}
    failures = [f"{check.name}: {check.detail}" for check in results if check.ok is False]
    if failures:
        _log.warning("not ready: %s", "; ".join(failures))
    return all(check.ok for check in results), texts


def _to_json(body: object, status: int) -> Response:
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return json_response(body, status, {"Cache-Control": "no-store"}, option=option)
