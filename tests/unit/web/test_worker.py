from __future__ import annotations

import time

import pytest
from gunicorn.workers.gthread import ThreadWorker

from cometbot.web.worker import COURTESY, CROWD, Worker


@pytest.mark.parametrize(("connections", "waited"), [(0, 0), (3, 3 * COURTESY), (500, CROWD * COURTESY)])
def test_who_has_connections_leaves_a_new_one_to_others_for_a_moment(
    connections: int, waited: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[object] = []
    monkeypatch.setattr(time, "sleep", done.append)
    monkeypatch.setattr(ThreadWorker, "accept", lambda self, listener: done.append(listener))
    worker = Worker.__new__(Worker)
    worker.nr_conns = connections
    worker.accept("listener")
    assert done == [waited, "listener"]
