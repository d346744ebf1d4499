from __future__ import annotations

import time

import pytest
from gunicorn.config import Config
from gunicorn.workers.gthread import ThreadWorker

from cometbot.web.worker import COURTESY, CROWD, Worker, settle


@pytest.mark.parametrize(("connections", "waited"), [(0, 0), (3, 3 * COURTESY), (500, CROWD * COURTESY)])
def test_who_has_connections_leaves_a_new_one_to_others_for_a_moment(
    connections: int, waited: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[object] = []
    monkeypatch.setattr(time, "sleep", done.append)
    monkeypatch.setattr(ThreadWorker, "accept", lambda self, listener: done.append(listener))
    worker = Worker.__new__(Worker)
    worker.nr_conns = connections + 2
    worker._leaving = [object(), object()]  # type: ignore[assignment]
    worker.accept("listener")
    assert done == [waited, "listener"]


def test_settings_say_the_same_when_they_are_settled() -> None:
    config = Config()
    config.set("keepalive", 65)
    config.set("worker_class", "cometbot.web.worker.Worker")
    names = [*config.settings, "address", "is_ssl", "worker_class", "env"]
    before = {name: getattr(config, name) for name in names}
    settle(config)
    assert {name: getattr(config, name) for name in names} == before
    assert vars(config)["keepalive"] == 65
